//! Request in, permit or denial out: the patient's will and the institution's policy, both, now.
//!
//! Rule: [`decide`] is the only maker of a [`Permit`], and a permit has no other form than itself: what waits in a
//! queue earns a new one at every attempt. What is missing, unknown or contradictory in a request is a denial.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::bundle::document::{ConfidentialityCode, Document};
use crate::clock::{Timestamp, stamped, stamped_if_any};
use crate::consent::{self, Answer, Granted, OnFile, Question};
use crate::id::{BundleId, CaseId, ConsentId, Country, Digest, InstitutionId, PatientIdentifier, Purpose, SubjectId};
use crate::partner::{Standing, TransferBasis};
use crate::policy::{self, BundleFacts, CaseFacts, Facts, Policy, Verdict, Way};

pub use crate::consent::PART2_NOTICE;
pub use asked::{AgainError, Asked, AskedConsent, documents_digest, rules};
pub use confirmation::{Approval, Confirmation, Confirmed};
pub use denied::{CAUSES_MAX, Cause, Denied};
pub use emergency::BreakGlass;

mod asked;
pub mod cases;
mod confirmation;
mod denied;
mod emergency;
mod told;

/// The version of the rules by which a decision is taken, and that of the rules by which consents are read; it stands in
/// every permit and denial.
pub const ENGINE_SEMANTICS: &str = "medseal-decision-2/medseal-consent-2";

/// A permit lives no longer than this, in seconds, unless the gates say less.
pub const PERMIT_AGE_S_MAX: u32 = 60;

/// What every delivery between gateways does (v3-ActCode): it encrypts, on the way and as it lies; its descriptor carries
/// the labels; and its dispatch, signed, forbids to pass on without the patient's consent and to use for another purpose,
/// and says that, and by when, everything is to be erased.
pub const DELIVERY_MEETS: [&str; 7] =
    ["DELAU", "ENCRYPT", "ENCRYPTT", "NORDSCLCD", "NORDSCLCDS", "NOREUSE", "PERSISTLABEL"];

/// What the sealed notices do beside: they tell the receiver, and nobody else, what may not stand in a dispatch.
pub const NOTICES_MEET: [&str; 1] = [PART2_NOTICE];

/// What decides.
#[derive(Clone, Debug)]
pub struct Gates {
    /// The institution's policy.
    pub policy: Arc<Policy>,
    /// How long a permit lives, in seconds.
    pub permit_age_s_max: u32,
}

impl Gates {
    /// Gates with the usual life of a permit.
    pub const fn new(policy: Arc<Policy>) -> Self {
        Self { policy, permit_age_s_max: PERMIT_AGE_S_MAX }
    }
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A patient's records, to an expert.
    Records,
    /// The expert's opinion, back.
    Opinion,
}

impl Kind {
    /// The word as it stands in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Opinion => "opinion",
        }
    }
}

/// What authorises it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The patient's consent.
    Consent,
    /// The dispatch that an opinion answers, by digest.
    Answers(Digest),
    /// An emergency in which no consent can be asked for.
    BreakGlass(BreakGlass),
}

/// The case, as it stands now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseState {
    /// Which.
    pub id: CaseId,
    /// Whether it is open.
    pub open: bool,
    /// The partners who are part of it.
    pub partners: BTreeSet<InstitutionId>,
    /// Why records are sent in it.
    pub purpose: Purpose,
    /// The patient's pseudonym.
    pub subject: SubjectId,
}

/// The receiver, as it stands now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerState {
    /// Who.
    pub id: InstitutionId,
    /// Where, by its card.
    pub country: Country,
    /// Whether it may receive at all.
    pub standing: Standing,
    /// When the agreement begins.
    #[serde(with = "stamped")]
    pub agreement_from: Timestamp,
    /// When it ends; `None`: until further notice.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stamped_if_any")]
    pub agreement_until: Option<Timestamp>,
    /// What makes a transfer abroad lawful.
    pub transfer_basis: TransferBasis,
    /// The fingerprint of its card, as it stands now.
    pub card: Digest,
    /// When its card ends.
    #[serde(with = "stamped")]
    pub card_expires: Timestamp,
    /// Whether it has undertaken what 42 CFR Part 2 asks.
    #[serde(default)]
    pub part2: bool,
    /// Whether a key that the bundle is sealed to is valid on its card now.
    pub has_valid_recipient_key: bool,
    /// Whether none is, but one stands on its card from a later time on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recipient_key_begins_later: bool,
}

/// Everything that one decision needs, read from the store for it.
///
/// No `Debug`: it holds the patient's identifiers and the names of files.
#[allow(missing_debug_implementations, reason = "it holds the patient's identifiers and file names")]
pub struct Request {
    /// What is to be sent.
    pub bundle: BundleId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Records or an opinion.
    pub kind: Kind,
    /// What authorises it.
    pub basis: Basis,
    /// The case.
    pub case: CaseState,
    /// The receiver.
    pub partner: PartnerState,
    /// Who sent it, and who else confirmed it.
    pub confirmation: Confirmation,
    /// Every document of the bundle.
    pub documents: Vec<Document>,
    /// Every identifier under which the patient is known, aliases included.
    pub patient: Vec<PatientIdentifier>,
    /// The patient's birth date; `None`: none is stated, which attests an adult.
    pub birth_date: Option<Date>,
    /// Every consent of the patient on file, withdrawn ones included.
    pub consents: Vec<OnFile>,
    /// What this way of delivery does; [`DELIVERY_MEETS`] and what the bundle carries beside.
    pub obligations_met: BTreeSet<String>,
    /// Our own country.
    pub origin_country: Country,
    /// The zone in which days begin and end.
    pub zone: TimeZone,
    /// When all this was read from the store.
    pub read_at: Timestamp,
}

/// Leave for one attempt to send one bundle to one partner.
///
/// Only [`decide`] makes one. It cannot be cloned, stored or sent on.
#[must_use = "a permit that is not used sends nothing"]
#[derive(Debug)]
pub struct Permit {
    bundle: BundleId,
    attempt: u32,
    kind: Kind,
    partner: InstitutionId,
    at: Timestamp,
    expires: Timestamp,
    basis: Basis,
    consent: Option<(ConsentId, u64)>,
    policy: Digest,
    policies: Vec<String>,
    obligations: BTreeSet<String>,
    erase_at: Option<Timestamp>,
    consent_until: Option<Timestamp>,
    reason: String,
    asked: Box<Asked>,
}

impl Permit {
    /// What may be sent.
    pub const fn bundle(&self) -> &BundleId {
        &self.bundle
    }

    /// In which attempt.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Records or an opinion.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// To whom.
    pub const fn partner(&self) -> &InstitutionId {
        &self.partner
    }

    /// When it was decided.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The first instant at which it is worth nothing.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether it may still be used. A clock that was set back makes it worth nothing too.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.expires
    }

    /// What authorised it.
    pub const fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The consent that permits, with the version of its record. `None` for an opinion.
    pub fn consent(&self) -> Option<(&ConsentId, u64)> {
        self.consent.as_ref().map(|(id, version)| (id, *version))
    }

    /// The digest of the policy set that allowed it.
    pub const fn policy(&self) -> Digest {
        self.policy
    }

    /// The rules of the policy that allowed it, by id.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// What must accompany the documents.
    pub const fn obligations(&self) -> &BTreeSet<String> {
        &self.obligations
    }

    /// Those of them that every delivery meets: they tell nothing of what the records hold, and may stand in clear.
    pub fn open_obligations(&self) -> Vec<String> {
        self.obligations.iter().filter(|code| DELIVERY_MEETS.contains(&code.as_str())).cloned().collect()
    }

    /// When the receiver must have erased what it gets; `None`: the consent does not say.
    pub const fn erase_at(&self) -> Option<Timestamp> {
        self.erase_at
    }

    /// When the consent that permits ends. `None` without one.
    pub const fn consent_until(&self) -> Option<Timestamp> {
        self.consent_until
    }

    /// Why, in one plain sentence.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What the decision was told.
    pub const fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The version of the rules by which it was decided.
    #[allow(clippy::unused_self, reason = "it belongs to the permit, whose maker knows one version only")]
    pub const fn engine_semantics(&self) -> &'static str {
        ENGINE_SEMANTICS
    }
}

/// Takes the one decision that lets a bundle leave: consent AND policy, as things stand at `now`.
pub fn decide(gates: &Gates, request: &Request, now: Timestamp) -> Result<Permit, Denied> {
    let asked = Box::new(Asked::of(request, gates.policy.digest(), now));
    if let Some(missing) = missing(request) {
        return Err(Denied::incomplete(asked, missing));
    }
    let candidates = match request.basis {
        Basis::Answers(_) => vec![None],
        Basis::BreakGlass(_) => {
            let objections = emergency::objections(request, now);
            if !objections.is_empty() {
                let confirmed = request.confirmed(now);
                let obligations = consent::obligations(&request.documents, None);
                let facts = facts(gates, request, Will::Objects, &confirmed, &obligations, now);
                return Err(Denied::new(request, asked, objections, gates.policy.evaluate(&facts)));
            }
            vec![None]
        }
        Basis::Consent => match ask_consents(request, now) {
            Answer::Permits(granted) => granted.into_iter().map(Some).collect(),
            Answer::Refuses(findings) => {
                let confirmed = request.confirmed(now);
                let facts = facts(
                    gates,
                    request,
                    Will::Silent,
                    &confirmed,
                    &consent::obligations(&request.documents, None),
                    now,
                );
                return Err(Denied::new(request, asked, findings, gates.policy.evaluate(&facts)));
            }
        },
    };
    // The policy may ask more of a consent than that it permits. So each that permits is put before it, the one that
    // ends first before the others: the decision claims no more than it needs, and none stands in another's way.
    let confirmed = request.confirmed(now);
    let mut refused: Option<Verdict> = None;
    for granted in candidates {
        let obligations = consent::obligations(&request.documents, granted.as_ref());
        let verdict =
            gates.policy.evaluate(&facts(gates, request, Will::of(granted.as_ref()), &confirmed, &obligations, now));
        if verdict.allowed {
            let of_age = told::patient_of_age(request, &gates.policy);
            return Ok(permit(gates, asked, granted, &confirmed, &verdict, obligations, of_age));
        }
        // What a second person's yes would let go is nearer to a yes than anything else.
        if refused.is_none() || verdict.lacks_only_approval() {
            refused = Some(verdict);
        }
    }
    Err(Denied::new(request, asked, Vec::new(), refused.unwrap_or_default()))
}

/// Whether no consent of the patient permits this release at `now`, whatever the institution's policy says to it.
pub fn patient_forbids(request: &Request, now: Timestamp) -> bool {
    missing(request).is_some() || matches!(ask_consents(request, now), Answer::Refuses(_))
}

/// What the patient's consents come to, as the policy is told.
#[derive(Clone, Copy)]
enum Will<'a> {
    Permits(&'a Granted),
    /// None permits, or none was asked.
    Silent,
    /// One says no.
    Objects,
}

impl<'a> Will<'a> {
    const fn of(granted: Option<&'a Granted>) -> Self {
        match granted {
            Some(granted) => Self::Permits(granted),
            None => Self::Silent,
        }
    }
}

/// What the request lacks, as a sentence; a decision on half a request could only be wrong.
fn missing(request: &Request) -> Option<&'static str> {
    let distinct: BTreeSet<_> = request.documents.iter().map(|document| &document.path).collect();
    match (request.kind, &request.basis) {
        (Kind::Records, Basis::Answers(_)) => return Some("records leave only under a consent"),
        (Kind::Opinion, Basis::Consent | Basis::BreakGlass(_)) => {
            return Some("an opinion must name the dispatch that it answers");
        }
        _ => {}
    }
    if request.documents.is_empty() {
        return Some("there is no document to decide on");
    }
    if distinct.len() != request.documents.len() {
        return Some("two documents have the same path");
    }
    if request.kind == Kind::Records && request.patient.is_empty() {
        return Some("the patient has no identifier here");
    }
    if request.documents.iter().any(|document| document.media_type.trim().is_empty()) {
        return Some("a document has no media type");
    }
    if request.attempt == 0 {
        return Some("the attempt has no number");
    }
    None
}

/// Asks the patient's consents alone, as [`decide`] does.
pub fn ask_consents(request: &Request, now: Timestamp) -> Answer {
    let question = Question {
        patient: &request.patient,
        recipient: &request.partner.id,
        country: &request.partner.country,
        purpose: &request.case.purpose,
        documents: &request.documents,
        obligations_met: &request.obligations_met,
        zone: &request.zone,
        now,
    };
    consent::evaluate(&request.consents, &question)
}

fn facts(
    gates: &Gates,
    request: &Request,
    will: Will<'_>,
    confirmed: &Confirmed,
    obligations: &BTreeSet<String>,
    now: Timestamp,
) -> Facts {
    let (partner, documents) = (&request.partner, &request.documents);
    let way = match &request.basis {
        Basis::Answers(dispatch) => Way::ReturnOpinion { answers: *dispatch },
        Basis::BreakGlass(emergency) => Way::BreakGlass {
            purpose: request.case.purpose.clone(),
            enabled: emergency.enabled,
            justified: emergency.justified,
            patient_objects: matches!(will, Will::Objects),
            requested: emergency.requested,
            until: emergency.until,
        },
        Basis::Consent => Way::Release {
            purpose: request.case.purpose.clone(),
            consent: match will {
                Will::Permits(granted) => Some(told::of_consent(granted)),
                Will::Silent | Will::Objects => None,
            },
        },
    };
    let highest = documents.iter().map(|document| document.confidentiality.code).max();
    Facts {
        way,
        now,
        attempt: request.attempt,
        // Whole seconds, rounded away from zero: 60.1 s is past 60, and a moment in the future is the future.
        facts_age_s: rounded_out(now.duration_since(request.read_at)),
        partner: policy::PartnerFacts {
            id: partner.id.clone(),
            country: partner.country.clone(),
            standing: standing(partner.standing).to_owned(),
            agreement_from: partner.agreement_from,
            agreement_until: partner.agreement_until,
            transfer_basis: transfer_basis(partner.transfer_basis).to_owned(),
            card_expires: partner.card_expires,
            key_valid: partner.has_valid_recipient_key,
            key_begins_later: partner.recipient_key_begins_later,
            part2: partner.part2,
        },
        case: CaseFacts {
            id: request.case.id.clone(),
            open: request.case.open,
            partners: request.case.partners.clone(),
        },
        bundle: BundleFacts {
            id: request.bundle.clone(),
            documents: u32::try_from(documents.len()).unwrap_or(u32::MAX),
            confidentiality: highest.map_or(RANK_OF_V, rank),
            sensitivity: documents.iter().flat_map(|document| document.sensitivity.iter().cloned()).collect(),
            classes: documents.iter().filter_map(|document| document.class.clone()).collect(),
            media_types: documents.iter().map(|document| document.media_type.clone()).collect(),
            origin_country: request.origin_country.clone(),
        },
        approvals: u32::try_from(confirmed.by.len()).unwrap_or(u32::MAX),
        patient_of_age: told::patient_of_age(request, &gates.policy),
        restricted_countries: gates.policy.restricted_from(&request.origin_country),
        obligations: obligations.clone(),
        obligations_met: request.obligations_met.clone(),
    }
}

fn permit(
    gates: &Gates,
    asked: Box<Asked>,
    granted: Option<Granted>,
    confirmed: &Confirmed,
    verdict: &Verdict,
    obligations: BTreeSet<String>,
    of_age: Option<Timestamp>,
) -> Permit {
    let now = asked.at;
    let lives = now.checked_add(i64::from(gates.permit_age_s_max.min(PERMIT_AGE_S_MAX)).seconds()).unwrap_or(now);
    // A permit never outlives what it rests on.
    let emergency = match &asked.basis {
        Basis::BreakGlass(emergency) => Some(emergency.until),
        Basis::Consent | Basis::Answers(_) => None,
    };
    let consent = granted.as_ref().map(|granted| told::ends(granted, of_age, now));
    let ends = [Some(asked.partner.card_expires), consent, confirmed.until, emergency];
    let agreement = asked.partner.agreement_until.filter(|_| asked.kind == Kind::Records);
    let expires = ends.into_iter().chain([agreement]).flatten().fold(lives, Timestamp::min);
    let rule = verdict.rules.first().map(|rule| rule.says.as_str()).unwrap_or_default();
    let reason = match &granted {
        Some(granted) => format!("{} permits it, and {rule}", granted.consent),
        None => rule.to_owned(),
    };
    Permit {
        bundle: asked.bundle.clone(),
        attempt: asked.attempt,
        kind: asked.kind,
        partner: asked.partner.id.clone(),
        at: now,
        expires,
        basis: asked.basis.clone(),
        erase_at: granted.as_ref().and_then(|granted| granted.erase_at),
        consent_until: consent,
        consent: granted.map(|granted| (granted.consent, granted.version)),
        policy: asked.policy,
        policies: verdict.rules.iter().map(|rule| rule.id.clone()).collect(),
        obligations,
        reason,
        asked,
    }
}

fn rounded_out(age: jiff::SignedDuration) -> i64 {
    let seconds = age.as_secs();
    match age.subsec_nanos().signum() {
        0 => seconds,
        sign => seconds.saturating_add(i64::from(sign)),
    }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Suspended => "suspended",
        Standing::Removed => "removed",
    }
}

const fn transfer_basis(basis: TransferBasis) -> &'static str {
    match basis {
        TransferBasis::Adequacy => "adequacy",
        TransferBasis::Scc => "scc",
        TransferBasis::UkIdta => "uk-idta",
        TransferBasis::Domestic => "domestic",
        TransferBasis::Attested => "attested",
        TransferBasis::None => "none",
    }
}

const fn rank(code: ConfidentialityCode) -> u8 {
    match code {
        ConfidentialityCode::U => 0,
        ConfidentialityCode::L => 1,
        ConfidentialityCode::M => 2,
        ConfidentialityCode::N => 3,
        ConfidentialityCode::R => 4,
        ConfidentialityCode::V => RANK_OF_V,
    }
}

const RANK_OF_V: u8 = 5;
