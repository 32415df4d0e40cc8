//! Why a bundle may leave, or why not: one page that a records clerk understands.
//!
//! Rule: of a bundle that was delivered the decision that let it go is told, taken again from what was recorded; of every
//! other the decision as everything stands now. Nothing is released and nothing recorded.

mod changes;
mod gates;
mod needs;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::replay::{self, NotAsItWas, Policies};
use crate::clock::{self, Timestamp};
use crate::consent::Consent;
use crate::decision::{self, Denied, Gates, Kind, Permit, Request};
use crate::gateway::Gateway;
use crate::id::{BundleId, CaseId, ConsentId, InstitutionId};
use crate::leaf::Leaf;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{BundleRecord, State};
use crate::release;

pub use changes::{Advice, Way};
pub use gates::{ConsentGate, ExplainedDocument, PolicyGate, SaidRule};
pub use needs::Needs;

/// Why a bundle may leave, or why not.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// The bundle.
    pub bundle: BundleId,
    /// Its case.
    pub case: CaseId,
    /// Where it goes.
    pub partner: InstitutionId,
    /// What it carries.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// `permit` or `deny`.
    pub decision: &'static str,
    /// `now`, or `delivery`: the decision that let it go.
    pub of: &'static str,
    /// When that was decided.
    pub decided: String,
    /// The verdict in one sentence.
    pub verdict: String,
    /// The consent that permits, with its version.
    pub consent: Option<String>,
    /// What that consent says, and until when it permits.
    pub consent_says: Option<ConsentSays>,
    /// The rules that decided, by id.
    pub policies: Vec<String>,
    /// The reason code of a denial.
    pub reason: Option<Reason>,
    /// Plain sentences: why.
    pub says: Vec<String>,
    /// The rules that stand in the way of any document, or that let it pass.
    pub rules: Vec<SaidRule>,
    /// What must be observed with the documents.
    pub obligations: Vec<Obligation>,
    /// Each document before each gate.
    pub documents: Vec<ExplainedDocument>,
    /// What would turn a no into a yes, as far as it could be tried.
    pub changes: Vec<Way>,
    /// What the table of reasons advises, where no way to a yes was found.
    pub remedies: Vec<String>,
}

/// A consent in words.
#[derive(Clone, Debug, Serialize)]
pub struct ConsentSays {
    /// When it stops permitting.
    pub until: Option<String>,
    /// What it says.
    pub says: Vec<String>,
}

/// Something that must be observed with the documents.
#[derive(Clone, Debug, Serialize)]
pub struct Obligation {
    /// Its code, of v3-ActCode where it is one.
    pub code: String,
    /// What it means.
    pub says: &'static str,
}

/// Explains a bundle.
pub fn explain(gateway: &Gateway, bundle: &BundleId) -> Result<Explained, Problem> {
    let record = super::bundles::found(gateway, bundle)?.value;
    if let Some(number) = record.attempts.iter().position(crate::records::Attempt::was_delivered) {
        return delivered(gateway, &record, number);
    }
    match gateway.documents_of(&record)? {
        Some(documents) if !documents.is_empty() => now(gateway, &record),
        // Refused for what its documents are, before anything was decided; or erased.
        _ => Ok(undecided(gateway, &record)),
    }
}

/// The decision as everything stands now.
fn now(gateway: &Gateway, record: &BundleRecord) -> Result<Explained, Problem> {
    let (gates, at) = (gateway.gates(), gateway.now());
    let mut request = release::question_of(gateway, record, None)?;
    request.read_at = at;
    let answer = decision::decide(&gates, &request, at);
    let mut page = page(gateway, record, &gates, &mut request, at, &answer)?;
    if let Err(denied) = &answer {
        let fresh = || {
            release::question_of(gateway, record, None).map(|mut request| {
                request.read_at = at;
                request
            })
        };
        page.changes = changes::ways(&gates, at, record.state().is_final(), fresh)?;
        if page.changes.is_empty() {
            let reasons: BTreeSet<Reason> = denied.causes.iter().map(|cause| cause.reason).collect();
            page.remedies = reasons.into_iter().map(|reason| reason.remedy().to_owned()).collect();
        }
    }
    Ok(page)
}

/// The decision that let a delivered bundle go.
fn delivered(gateway: &Gateway, record: &BundleRecord, number: usize) -> Result<Explained, Problem> {
    let unknown = |why: String| {
        let mut page = undecided(gateway, record);
        (page.decision, page.of, page.reason) = ("permit", "delivery", None);
        page.decided.clone_from(&record.attempts[number].at);
        page.verdict = format!("It was delivered; why it was allowed can only be read in the log: {why}.");
        page.obligations = obligations(&record.attempts[number].obligations.iter().cloned().collect());
        page.remedies.clear();
        page
    };
    let Some(place) = release::place_of(gateway, record, number)? else {
        return Ok(unknown("the entry of its release is not known".to_owned()));
    };
    let line = gateway.log.reader().entries(place.seq, 1).map_err(|error| Problem::internal("the log", &error))?;
    let leaf = line.first().and_then(|(_, line)| Leaf::read(line).ok());
    let Some(leaf) = leaf else { return Ok(unknown(format!("entry {} cannot be read", place.seq))) };
    let mut past = match replay::past(gateway, &leaf, &mut Policies::default()) {
        Ok(past) => past,
        Err(NotAsItWas::Cannot { why, .. }) => return Ok(unknown(why)),
        Err(NotAsItWas::Changed(_)) => {
            return Ok(unknown(format!("what it rested on is not as it was; `medseal audit replay {}`", place.seq)));
        }
        Err(NotAsItWas::Problem(problem)) => return Err(problem),
    };
    let answer = past.again();
    let gates = Gates::new(Arc::clone(&past.policy));
    let at = past.asked.at;
    let mut page = page(gateway, record, &gates, &mut past.request.0, at, &answer)?;
    page.of = "delivery";
    page.verdict = match answer {
        Ok(_) => {
            format!("It was delivered to {}: both the patient's consent and the policy allowed it.", record.partner)
        }
        Err(denied) => format!(
            "It was delivered, but taken again the decision is no ({}): `medseal audit replay {}`.",
            denied.reason, place.seq
        ),
    };
    if record.kind == Kind::Opinion {
        page.verdict = format!("It was delivered to {}, whose records it answers.", record.partner);
    }
    Ok(page)
}

/// A page of a bundle about which nothing can be decided.
fn undecided(gateway: &Gateway, record: &BundleRecord) -> Explained {
    let reason = record.reason.unwrap_or(Reason::RequestIncomplete);
    Explained {
        bundle: record.bundle.clone(),
        case: record.case.clone(),
        partner: record.partner.clone(),
        kind: record.kind,
        state: record.state(),
        decision: "deny",
        of: "now",
        decided: clock::stamp(gateway.now()),
        verdict: format!("It may not leave: {}.", reason.meaning()),
        consent: None,
        consent_says: None,
        policies: Vec::new(),
        reason: Some(reason),
        says: vec![reason.meaning().to_owned()],
        rules: Vec::new(),
        obligations: Vec::new(),
        documents: Vec::new(),
        changes: Vec::new(),
        remedies: vec![reason.remedy().to_owned()],
    }
}

fn page(
    gateway: &Gateway,
    record: &BundleRecord,
    gates: &Gates,
    request: &mut Request,
    at: Timestamp,
    answer: &Result<Permit, Denied>,
) -> Result<Explained, Problem> {
    let asked = gates::ask(gates, request, at);
    let mut page = Explained {
        documents: asked.documents,
        decided: clock::stamp(at),
        reason: None,
        remedies: Vec::new(),
        says: Vec::new(),
        ..undecided(gateway, record)
    };
    match answer {
        Ok(permit) => {
            page.decision = "permit";
            page.verdict = allowed(record);
            page.policies = permit.policies().to_vec();
            page.rules = permit.policies().iter().filter_map(|id| gates.policy.rule(id)).map(SaidRule::from).collect();
            page.obligations = obligations(permit.obligations());
            page.says = vec![permit.reason().to_owned()];
            if let Some((consent, version)) = permit.consent() {
                page.consent = Some(format!("{consent} version {version}"));
                page.consent_says = consent_says(gateway, &page, consent, version)?;
            }
        }
        Err(denied) => {
            page.reason = Some(denied.reason);
            page.policies = denied.policies.to_vec();
            page.rules = asked.rules;
            page.says = super::bundles::items_of(denied).iter().map(crate::problem::Item::sentence).collect();
            page.verdict = refused(record, denied, &page.documents);
        }
    }
    Ok(page)
}

fn allowed(record: &BundleRecord) -> String {
    let to = &record.partner;
    match record.kind {
        Kind::Opinion => format!("It may go back to {to}, whose records it answers."),
        Kind::Records => format!("It may leave for {to}: both the patient's consent and the policy allow it."),
    }
}

/// The verdict of a denial: the most helpful cause, and how many documents it is about.
fn refused(record: &BundleRecord, denied: &Denied, documents: &[ExplainedDocument]) -> String {
    let first = denied.causes.first();
    let text = first.map_or_else(|| denied.reason.meaning(), |cause| cause.text.as_str());
    let stopped = documents.iter().filter(|document| document.is_stopped()).count();
    let about = match (first.and_then(|cause| cause.document.as_ref()), documents.len()) {
        (None, _) | (Some(_), 1) => String::new(),
        (Some(_), all) => format!(", because of {stopped} of its {all} documents"),
    };
    format!("It may not leave for {}{about}: {text}.", record.partner)
}

fn consent_says(
    gateway: &Gateway,
    page: &Explained,
    consent: &ConsentId,
    version: u64,
) -> Result<Option<ConsentSays>, Problem> {
    let Some(record) = gateway.consent_as_of(consent, version)? else { return Ok(None) };
    let Some(private) = gateway.consent_private(&record)? else { return Ok(None) };
    let says = Consent::parse(private.resource.as_bytes()).map_or_else(|_| Vec::new(), |consent| consent.in_words());
    let until =
        page.documents.iter().filter_map(|document| document.consent.as_ref()).find_map(|gate| gate.until.clone());
    Ok(Some(ConsentSays { until, says }))
}

fn obligations(codes: &BTreeSet<String>) -> Vec<Obligation> {
    codes.iter().map(|code| Obligation { code: code.clone(), says: obligation_in_words(code) }).collect()
}

/// What a code of v3-ActCode obliges to; empty where the code itself is all that is known.
fn obligation_in_words(code: &str) -> &'static str {
    match code {
        "ENCRYPT" => "encrypted on the way and at rest until it is opened",
        "PERSISTLABEL" => "the documents keep their labels",
        "PRIVMARK" => "the documents stay marked as confidential",
        "NORDSCLCD" => "not passed on without the patient's consent",
        "NORDSLCD" | "NORDSCLW" => "not passed on beyond what the law allows",
        "DELAU" => "deleted after use, or at the date that the consent names",
        "CPLYCD" => "handled as the patient's consent says",
        "PART2-NOTICE" => "travels with the notice on records of substance use (42 CFR 2.32)",
        _ => "",
    }
}
