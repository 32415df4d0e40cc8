//! The patient's will: FHIR Consent (R4, R5), read strictly, and asked about each document of each release.
//!
//! Rule: only an active consent that is wholly understood can permit, and only by itself; anything else that it might
//! mean is a no. docs/CONSENT.md lists what is evaluated.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::id::{ConsentId, Country, Digest, InstitutionId, PatientIdentifier};
use crate::keys::ManagerError;
use crate::reason::Reason;

pub use abdm::{ABHA_ADDRESS_SYSTEM, ABHA_NUMBER_SYSTEM, Network, Notice, NoticeStatus};
pub use evaluate::{Answer, Finding, Granted, Question, evaluate};
pub use obligations::{ALWAYS, PART2_NOTICE, obligations};

pub(crate) mod abdm;
mod evaluate;
mod extensions;
mod matching;
mod moment;
mod obligations;
mod provision;
mod reader;
mod shape;
pub(crate) mod terminology;
mod tree;
mod words;

/// The version of the rules by which consents are read; it stands, in [`crate::decision::ENGINE_SEMANTICS`], in every
/// decision.
pub const ENGINE_SEMANTICS: &str = "medseal-consent-2";

/// The identifier system under which a consent names institutions.
pub const INSTITUTION_SYSTEM: &str = "urn:medseal:institution";

/// No consent resource is larger than this, in bytes.
pub const CONSENT_BYTES_MAX: usize = tree::BYTES_MAX;

/// A consent that names no end permits for this long from the day it was given.
pub const OPEN_ENDED_DAYS_MAX: i64 = 365;

/// One consent, understood, whatever it was written in.
///
/// `Debug` shows no identifier.
#[derive(Debug)]
pub struct Consent {
    source: Source,
    status: Status,
    about_privacy: bool,
    patient: PatientIdentifier,
    given: Option<moment::Moment>,
    /// When it holds as a whole.
    period: Option<moment::Period>,
    /// What it says first: the root provision of R4, the decision of R5. Its exceptions say the opposite.
    base: Provision,
    /// Permits beside the base: IHE PCF reads a permit nested under a permit so.
    added: Vec<Provision>,
    terms: Terms,
}

/// One provision, with the exceptions to it.
#[derive(Debug)]
struct Provision {
    effect: Effect,
    /// When it holds, within the period of its consent. A denial's end is not counted on.
    period: Option<moment::Period>,
    limits: Limits,
    /// Each of the opposite effect.
    exceptions: Vec<Provision>,
    /// Where it stands, as a FHIR path.
    path: String,
}

/// What a consent asks for beside saying yes or no.
#[derive(Debug, Default)]
struct Terms {
    /// Obligations and refrains that it names (v3-ActCode).
    obligations: BTreeSet<String>,
    /// Until when the recipient may keep what it gets.
    erase_at: Option<moment::Moment>,
    grantor: Grantor,
    /// Which notice about a transfer without adequate protection the patient was given.
    risk_notice: Option<String>,
    /// The countries to which it is limited; none: it says nothing about countries.
    countries: BTreeSet<Country>,
}

/// In which form the patient's will was written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A FHIR R4 or R4B Consent.
    FhirR4,
    /// A FHIR R5 Consent.
    FhirR5,
    /// A consent artefact of India's health network.
    Abdm,
}

impl Source {
    /// The word as it stands in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FhirR4 => "fhir-r4",
            Self::FhirR5 => "fhir-r5",
            Self::Abdm => "abdm",
        }
    }
}

/// Who gave the consent, as far as it says so.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Grantor {
    /// The patient.
    SelfGiven,
    /// A parent.
    Parent {
        /// Whether somebody at the hospital checked that it is the parent.
        verified: bool,
    },
    /// A guardian, or another legal representative.
    Guardian {
        /// Whether somebody at the hospital checked the appointment.
        verified: bool,
    },
    /// It does not say.
    #[default]
    NotStated,
}

/// FHIR `Consent.status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Active,
    /// Draft, proposed, rejected, inactive, not done or entered in error.
    NotActive,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Effect {
    Permit,
    Deny,
}

impl Effect {
    const fn opposite(self) -> Self {
        match self {
            Self::Permit => Self::Deny,
            Self::Deny => Self::Permit,
        }
    }
}

/// What one provision is limited to. Elements are joined by AND, the values of one element by OR; an empty element
/// limits nothing.
#[derive(Debug, Default)]
struct Limits {
    recipients: Vec<Recipient>,
    purposes: Vec<Code>,
    actions: Vec<Code>,
    labels: Vec<Label>,
    classes: Vec<Class>,
    data_period: Option<moment::Period>,
    /// Obligations and refrains on which a permission is given; a denial has none.
    handling: BTreeSet<String>,
    /// Elements that are read but not evaluated: they satisfy no permit and every denial.
    unsupported: BTreeSet<&'static str>,
}

#[derive(Debug, Eq, PartialEq)]
enum Recipient {
    Institution(InstitutionId),
    /// A person, a group, or an institution named otherwise.
    Unresolved,
}

/// A code of the table that the element takes, or one from elsewhere.
#[derive(Debug, Eq, PartialEq)]
enum Code {
    Known(String),
    Elsewhere,
}

#[derive(Debug, Eq, PartialEq)]
enum Label {
    Confidentiality(crate::bundle::document::ConfidentialityCode),
    Sensitivity(String),
    Elsewhere,
}

#[derive(Debug, Eq, PartialEq)]
enum Class {
    Loinc(String),
    MediaType(String),
    Elsewhere,
}

/// Why a resource is not a consent that medseal can evaluate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsentError {
    /// The resource is larger than any consent.
    #[error("the consent is {found} bytes long; {allowed} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        allowed: usize,
    },
    /// Not JSON, or not as FHIR writes it.
    #[error("the consent is not FHIR JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// An element has another shape than FHIR gives it.
    #[error("{at} of the consent must be {expected}")]
    Invalid {
        /// The element, as a path.
        at: String,
        /// What it must be.
        expected: &'static str,
    },
    /// An element that is not evaluated, and that may change what the consent means.
    #[error("{at} of the consent {what}")]
    Unsupported {
        /// The element, as a path.
        at: String,
        /// What is wrong with it, in words.
        what: &'static str,
    },
    /// Elements of two FHIR releases, which read the same provisions as opposites.
    #[error("{r4} of the consent is an element of FHIR R4, and {r5} is one of FHIR R5: it must be one or the other")]
    MixedReleases {
        /// The element of R4.
        r4: &'static str,
        /// The element of R5.
        r5: &'static str,
    },
    /// A consent artefact that is not signed as it must be.
    #[error("the consent artefact is not proved: {what}")]
    BadSignature {
        /// What is wrong with the signature, in words.
        what: &'static str,
    },
    /// A consent artefact whose signature nobody here can verify.
    #[error("the consent artefact comes from the consent manager {manager}: {cause}")]
    Unverified {
        /// The manager, as the artefact names it.
        manager: String,
        /// Why its signature cannot be verified.
        #[source]
        cause: ManagerError,
    },
    /// The parts of the consent say different things.
    #[error("the consent contradicts itself: {what}")]
    Ambiguous {
        /// Which parts, in words.
        what: &'static str,
    },
}

impl ConsentError {
    /// The code under which this is refused.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::LimitExceeded,
            Self::Json(_) | Self::Invalid { .. } => Reason::BadInput,
            Self::Unsupported { .. } | Self::MixedReleases { .. } => Reason::ConsentUnsupported,
            Self::Ambiguous { .. } => Reason::ConsentAmbiguous,
            Self::BadSignature { .. } => Reason::BadSignature,
            Self::Unverified { .. } => Reason::ConsentUnverified,
        }
    }

    /// What mends it, where the code's own remedy is too general.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::BadSignature { .. } => Some(
                "hand in the consent manager's notification as it came, byte for byte; if it still fails, ask the manager",
            ),
            _ => None,
        }
    }
}

impl Consent {
    /// Reads a FHIR Consent resource (JSON, R4 or R5) by the profile of docs/CONSENT.md.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConsentError> {
        reader::read(&tree::Tree::read(bytes)?)
    }

    /// Reads a FHIR Consent, or a consent artefact of India's health network whose signature verifies now.
    pub fn read(bytes: &[u8], network: &Network<'_>) -> Result<Self, ConsentError> {
        let tree = tree::Tree::read(bytes)?;
        if abdm::is_notification(&tree) { abdm::read(bytes, &tree, network) } else { reader::read(&tree) }
    }

    /// The patient whose will this is.
    pub fn patient(&self) -> &PatientIdentifier {
        &self.patient
    }

    /// In which form it was written.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// The institutions that it names as recipients of a permission.
    pub fn recipients(&self) -> BTreeSet<&InstitutionId> {
        self.grants().into_iter().flat_map(Provision::institutions).collect()
    }

    /// Whether it may still permit something now or later; whether it does is the decision's question.
    pub fn may_hold(&self, now: Timestamp, zone: &jiff::tz::TimeZone) -> bool {
        self.grants().into_iter().any(|grant| self.until(grant, zone).is_none_or(|until| now < until))
    }

    /// The classes of documents (LOINC) that its permissions are limited to.
    pub fn classes(&self) -> BTreeSet<&str> {
        let classes = self.grants().into_iter().flat_map(|grant| &grant.limits.classes);
        classes
            .filter_map(|class| match class {
                Class::Loinc(code) => Some(code.as_str()),
                Class::MediaType(_) | Class::Elsewhere => None,
            })
            .collect()
    }

    /// What it permits, to whom and until when, in plain sentences.
    pub fn in_words(&self) -> Vec<String> {
        words::of(self)
    }
}

/// A consent as it is kept here.
#[derive(Debug)]
pub struct OnFile {
    /// Our id of it.
    pub id: ConsentId,
    /// How often its record has changed; a permit names the version that it rests on.
    pub version: u64,
    /// When the patient withdrew it.
    pub withdrawn: Option<Timestamp>,
    /// The country on the card of each institution that it names, as the card stood when the consent was recorded.
    pub countries: BTreeMap<InstitutionId, Country>,
    /// SHA-256 of the resource as it was given.
    pub sha256: Digest,
    /// Digest of what of our configuration decides how it reads beside the resource; `None`: nothing does.
    pub depends: Option<Digest>,
    /// The resource, or why it can no longer be understood.
    pub consent: Result<Consent, ConsentError>,
}
