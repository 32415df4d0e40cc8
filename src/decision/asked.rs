//! What a decision was told, in the form in which the log keeps it, so that it can be taken again later.
//!
//! Rule: values for what changes (partner, case, clock), digests for what is kept and never changes (documents,
//! consents, policy set, code tables). [`Asked::of`] names every field of a [`Request`]: one that is added there and
//! forgotten here does not compile.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Basis, CaseState, Confirmation, ENGINE_SEMANTICS, Kind, PartnerState, Request};
use crate::bundle::document::Document;
use crate::clock::{Timestamp, stamped, stamped_if_any};
use crate::consent::{self, ConsentError, OnFile};
use crate::id::{BundleId, ConsentId, Country, Digest, PatientIdentifier};
use crate::policy;
use crate::reason::Reason;

/// What one decision was told. It holds the patient's identifiers, so it is kept only under the patient's key.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The version of the rules by which it was decided: [`rules`] of that day.
    pub engine: String,
    /// The digest of the policy set.
    pub policy: Digest,
    /// The digest of the code tables.
    pub terminology: Digest,
    /// The time of the decision.
    #[serde(with = "stamped")]
    pub at: Timestamp,
    /// When everything was read from the store.
    #[serde(with = "stamped")]
    pub read_at: Timestamp,
    /// What was to be sent.
    pub bundle: BundleId,
    /// The number of the attempt.
    pub attempt: u32,
    /// Records or an opinion.
    pub kind: Kind,
    /// What was to authorise it.
    pub basis: Basis,
    /// The case, as it stood.
    pub case: CaseState,
    /// The receiver, as it stood.
    pub partner: PartnerState,
    /// Who had sent it, and who else had confirmed it.
    pub confirmation: Confirmation,
    /// [`documents_digest`] of the bundle's documents.
    pub documents: Digest,
    /// Every identifier under which the patient was known.
    pub patient: Vec<PatientIdentifier>,
    /// The patient's birth date, as 1970-01-31; absent: none was stated, which attests an adult.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    /// Every consent of the patient that was on file.
    pub consents: Vec<AskedConsent>,
    /// What this way of delivery did.
    pub obligations_met: BTreeSet<String>,
    /// Our own country.
    pub origin_country: Country,
    /// The zone in which days began and ended, by its IANA name.
    pub zone: String,
}

/// A consent that was on file, by the version that was read.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskedConsent {
    /// Which.
    pub consent: ConsentId,
    /// Which version of its record.
    pub version: u64,
    /// SHA-256 of the resource.
    pub sha256: Digest,
    /// Digest of what of our configuration decided how it read; `None`: nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends: Option<Digest>,
    /// Why it could not be read, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<Reason>,
    /// When the patient withdrew it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stamped_if_any")]
    pub withdrawn: Option<Timestamp>,
    /// The receiver's country when the consent was recorded, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
}

/// What cannot be taken again is known before it is tried.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AgainError {
    /// Another version of medseal decided by other rules.
    #[error("it was decided by the rules {0}, which this version of medseal does not know")]
    Engine(String),
    /// The code tables have changed since.
    #[error("it was decided with other tables of purposes and sensitivities than this version has")]
    Terminology,
    /// The entry holds no facts in a form that this version reads.
    #[error("its facts are not in the form that this version of medseal reads")]
    Form,
    /// The zone is not known here.
    #[error("the time zone {0} is not known here")]
    Zone(String),
}

impl Asked {
    /// What this request tells a decision at `at` by the policy set `policy`.
    pub fn of(request: &Request, policy: Digest, at: Timestamp) -> Self {
        let Request {
            bundle,
            attempt,
            kind,
            basis,
            case,
            partner,
            confirmation,
            documents,
            patient,
            birth_date,
            consents,
            obligations_met,
            origin_country,
            zone,
            read_at,
        } = request;
        let consent = |kept: &OnFile| AskedConsent {
            consent: kept.id.clone(),
            version: kept.version,
            sha256: kept.sha256,
            depends: kept.depends,
            unreadable: kept.consent.as_ref().err().map(ConsentError::reason),
            withdrawn: kept.withdrawn,
            country: kept.countries.get(&partner.id).cloned(),
        };
        Self {
            engine: rules(),
            policy,
            terminology: policy::terminology_digest(),
            at,
            read_at: *read_at,
            bundle: bundle.clone(),
            attempt: *attempt,
            kind: *kind,
            basis: basis.clone(),
            case: case.clone(),
            partner: partner.clone(),
            confirmation: confirmation.clone(),
            documents: documents_digest(documents),
            patient: patient.clone(),
            birth_date: birth_date.map(|date| date.to_string()),
            consents: consents.iter().map(consent).collect(),
            obligations_met: obligations_met.clone(),
            origin_country: origin_country.clone(),
            zone: zone.iana_name().unwrap_or_default().to_owned(),
        }
    }

    /// Reads the facts of an entry, if this version of medseal can take the decision again.
    pub fn read(facts: &serde_json::Value) -> Result<Self, AgainError> {
        let engine = facts.get("engine").and_then(serde_json::Value::as_str).ok_or(AgainError::Form)?;
        if engine != rules() {
            return Err(AgainError::Engine(engine.chars().take(64).collect()));
        }
        let asked = Self::deserialize(facts).map_err(|_| AgainError::Form)?;
        if asked.terminology != policy::terminology_digest() {
            return Err(AgainError::Terminology);
        }
        Ok(asked)
    }

    /// The request that was decided on, with the documents and consents that [`Asked::documents`] and
    /// [`Asked::consents`] name.
    pub fn request(&self, documents: Vec<Document>, consents: Vec<OnFile>) -> Result<Request, AgainError> {
        let birth_date = self.birth_date.as_deref().map(str::parse).transpose().map_err(|_| AgainError::Form)?;
        let zone = TimeZone::get(&self.zone).map_err(|_| AgainError::Zone(self.zone.chars().take(64).collect()))?;
        Ok(Request {
            bundle: self.bundle.clone(),
            attempt: self.attempt,
            kind: self.kind,
            basis: self.basis.clone(),
            case: self.case.clone(),
            partner: self.partner.clone(),
            confirmation: self.confirmation.clone(),
            documents,
            patient: self.patient.clone(),
            birth_date,
            consents,
            obligations_met: self.obligations_met.clone(),
            origin_country: self.origin_country.clone(),
            zone,
            read_at: self.read_at,
        })
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(hidden)")
    }
}

impl std::fmt::Debug for AskedConsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AskedConsent({} version {})", self.consent, self.version)
    }
}

/// The rules of this version: how a request is decided, and how a consent is read.
pub fn rules() -> String {
    format!("{ENGINE_SEMANTICS}; {}", consent::ENGINE_SEMANTICS)
}

/// SHA-256 over the documents of a bundle as they are stored.
pub fn documents_digest(documents: &[Document]) -> Digest {
    Digest::of(&serde_json::to_vec(documents).expect("documents serialise"))
}
