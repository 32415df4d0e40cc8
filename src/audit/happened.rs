//! Everything that can happen at a gateway, as entries of the log: one entry for every change of state.
//!
//! Rule: facts are public to whoever holds the log, so they carry codes, ids, pseudonyms and digests of ciphertext;
//! whatever names or describes a person goes into the detail, which is sealed under that person's key.

mod retired;
mod scoped;
mod witnessed;

use serde::Serialize;
use serde_json::{Value, json};

use super::event::{Entry, Event};
use crate::decision::{Approval, Basis, Denied, Permit};
use crate::id::{BundleId, CaseId, ConsentId, Digest, InstitutionId, SubjectId};
use crate::json::Object;
use crate::reason::Reason;
use crate::records::{
    AttemptOutcome, BundleRecord, CaseRecord, Emergency, EmergencyPrivate, ErasedCounts, InboxRecord, Outcome, Side,
};
use crate::statement::dispatch::{Dispatch, Release, SealedBundle};
use crate::statement::recall::{Cause, Recall, Recalled};
use crate::statement::receipt::Receipt;

pub use retired::{RETENTION, Retired};

/// A change of state that carries no proof: what it was, on whom, and what only the subject's key may show.
#[derive(Clone, Debug)]
pub struct Happened(Entry);

impl Event for Happened {
    fn entry(&self) -> Entry {
        self.0.clone()
    }
}

impl Happened {
    fn new(kind: &'static str, facts: Value) -> Self {
        Self(Entry { kind, facts: object(facts), subject: None, detail: None })
    }

    fn on(mut self, subject: &SubjectId) -> Self {
        self.0.subject = Some(subject.clone());
        self
    }

    fn and(mut self, facts: Object) -> Self {
        self.0.facts.extend(facts);
        self
    }

    fn with_detail(mut self, detail: Value) -> Self {
        self.0.detail = Some(object(detail));
        self
    }

    /// Names who asked for it: the user of the operating system on whose behalf the staff API was called.
    #[must_use]
    pub fn by(mut self, uid: u32) -> Self {
        self.0.facts.insert("by".to_owned(), json!(format!("uid:{uid}")));
        self
    }

    /// Adds the decision that was taken early, at intake: a yes, or a no that may pass by itself.
    #[must_use]
    pub fn decided_early(mut self, early: &Result<Permit, Denied>) -> Self {
        self.0.facts.extend(early_facts(early));
        let asked = early.as_ref().map_or_else(Denied::asked, Permit::asked);
        self.0.detail.get_or_insert_default().insert(ASKED.to_owned(), json!(asked));
        self
    }

    /// The gateway started with this configuration and this policy set.
    pub fn started(config: Digest, policy: Digest, version: &str) -> Self {
        Self::new("config", json!({ "config": config, "policy": policy, "software": version }))
    }

    /// How many witnesses were asked before that what they saw of our log, and how many said that it is not behind.
    #[must_use]
    pub fn after_asking(mut self, asked: usize, answered: usize) -> Self {
        self.0.facts.insert("witnesses_asked".to_owned(), json!(asked));
        self.0.facts.insert("witnesses_agreed".to_owned(), json!(answered));
        self
    }

    /// The policy folder was read anew: this set decides from here on.
    pub fn policy_reloaded(before: Digest, after: Digest) -> Self {
        Self::new("policy", json!({ "action": "reloaded", "before": before, "policy": after, "by": "signal" }))
    }

    /// The policy folder holds no valid set: the one in force stays.
    pub fn policy_refused(in_force: Digest, reason: Reason) -> Self {
        Self::new("policy", json!({ "action": "refused", "policy": in_force, "reason": reason, "by": "signal" }))
    }

    /// A partner's card was registered or renewed.
    pub fn partner_added(partner: &InstitutionId, card: Digest, serial: u64, country: &str, renewed: bool) -> Self {
        let action = if renewed { "renewed" } else { "added" };
        Self::new(
            "partner",
            json!({ "action": action, "partner": partner, "card": card, "serial": serial, "country": country }),
        )
    }

    /// A partner's standing changed: `suspended`, `resumed` or `removed`.
    pub fn partner_standing(partner: &InstitutionId, action: &str) -> Self {
        Self::new("partner", json!({ "action": action, "partner": partner }))
    }

    /// A consent was recorded.
    pub fn consent_added<T: Serialize>(
        consent: &ConsentId,
        subject: &SubjectId,
        words: &str,
        sha256: Digest,
        evidence: &[T],
    ) -> Self {
        Self::new("consent", json!({ "action": "added", "consent": consent, "version": 1 }))
            .on(subject)
            .with_detail(json!({ "permits": words, "sha256": sha256, "evidence": evidence }))
    }

    /// A consent was withdrawn.
    pub fn consent_withdrawn(
        consent: &ConsentId,
        version: u64,
        subject: &SubjectId,
        reason: &str,
        cancelled: &[BundleId],
        recalled: &[BundleId],
    ) -> Self {
        let some = |bundles: &[BundleId]| json!(bundles.iter().take(100).collect::<Vec<_>>());
        Self::new(
            "consent",
            json!({
                "action": "withdrawn", "consent": consent, "version": version, "cancelled": cancelled.len(),
                "recalled": recalled.len(),
            }),
        )
        .on(subject)
        .with_detail(json!({ "reason": reason, "cancelled": some(cancelled), "recalled": some(recalled) }))
    }

    /// A case was opened here, or first heard of from a partner.
    pub fn case_opened(
        case: &CaseId,
        side: &Side,
        partner: &InstitutionId,
        purpose: &str,
        subject: &SubjectId,
    ) -> Self {
        let ours = matches!(side, Side::Ours);
        Self::new(
            "case",
            json!({ "action": "opened", "case": case, "ours": ours, "partner": partner, "purpose": purpose }),
        )
        .on(subject)
    }

    /// A case was closed. The outcome is the patient's, so it is sealed.
    pub fn case_closed(case: &CaseId, subject: &SubjectId, outcome: Outcome) -> Self {
        Self::new("case", json!({ "action": "closed", "case": case }))
            .on(subject)
            .with_detail(json!({ "outcome": outcome.word() }))
    }

    /// Documents were sealed into a bundle.
    pub fn sealed(
        sealed: &SealedBundle,
        subject: &SubjectId,
        documents: u32,
        confirmed: Option<&str>,
        paths: &[String],
    ) -> Self {
        let mut detail = json!({ "paths": paths.iter().take(PATHS_MAX).collect::<Vec<_>>() });
        if let (Some(why), Value::Object(fields)) = (confirmed, &mut detail) {
            fields.insert("patient_confirmed".to_owned(), json!(why));
        }
        Self::new(
            "intake",
            json!({
                "bundle": sealed.bundle, "case": sealed.case, "to": sealed.to, "content": sealed.kind.word(),
                "documents": documents, "sealed_sha256": sealed.sealed_sha256, "sealed_bytes": sealed.sealed_bytes,
                "patient_confirmed": confirmed.is_some(),
            }),
        )
        .on(subject)
        .with_detail(detail)
    }

    /// A bundle was refused for what its documents are, before anything was sealed.
    pub fn intake_refused(
        bundle: &BundleId,
        case: &CaseId,
        subject: &SubjectId,
        reason: Reason,
        items: &[String],
    ) -> Self {
        Self::new("refusal", json!({ "bundle": bundle, "case": case, "reason": reason.code(), "at": "intake" }))
            .on(subject)
            .with_detail(json!({ "items": items.iter().take(PATHS_MAX).collect::<Vec<_>>() }))
    }

    /// A decision said no.
    pub fn denied(
        bundle: &BundleId,
        case: &CaseId,
        to: &InstitutionId,
        subject: &SubjectId,
        denied: &Denied,
        at: &str,
    ) -> Self {
        Self::new("refusal", json!({ "bundle": bundle, "case": case, "to": to, "at": at }))
            .and(refused_facts(denied))
            .on(subject)
            .with_detail(json!({ "causes": denied.causes, ASKED: denied.asked() }))
    }

    /// A second person confirmed a release: what exactly, and until when that counts.
    pub fn approved(record: &BundleRecord, approval: &Approval) -> Self {
        Self::new(
            "approval",
            json!({
                "action": "approved", "bundle": record.bundle, "case": record.case, "to": record.partner,
                "sealed_sha256": approval.sealed_sha256, "manifest_sha256": approval.manifest_sha256,
                "card": approval.card, "consents": approval.consents, "until": approval.until,
            }),
        )
        .and(emergency_facts(record.emergency.is_some()))
        .on(&record.subject)
    }

    /// A second person said no to a release.
    pub fn approval_rejected(record: &BundleRecord, reason: &str) -> Self {
        Self::new(
            "approval",
            json!({ "action": "rejected", "bundle": record.bundle, "case": record.case, "to": record.partner }),
        )
        .and(emergency_facts(record.emergency.is_some()))
        .on(&record.subject)
        .with_detail(json!({ "reason": reason }))
    }

    /// Somebody asks that records leave in an emergency, without a consent.
    pub fn emergency_requested(
        bundle: &BundleId,
        case: &CaseRecord,
        to: &InstitutionId,
        emergency: &Emergency,
        private: &EmergencyPrivate,
    ) -> Self {
        Self::new(
            BREAK_GLASS,
            json!({
                "action": "requested", "bundle": bundle, "case": case.case, "to": to,
                "requested": emergency.requested, "until": emergency.until,
            }),
        )
        .on(&case.subject)
        .with_detail(json!({ "clinician": private.clinician, "reason": private.reason }))
    }

    /// What was owed after an emergency is done.
    pub fn emergency_step(record: &BundleRecord, step: EmergencyStep, words: &str) -> Self {
        let action = match step {
            EmergencyStep::PatientTold => "patient-told",
            EmergencyStep::Reviewed => "reviewed",
        };
        Self::new(BREAK_GLASS, json!({ "action": action, "bundle": record.bundle, "case": record.case }))
            .on(&record.subject)
            .with_detail(json!({ "words": words }))
    }

    /// An attempt did not deliver.
    pub fn attempt_failed(
        record: &BundleRecord,
        attempt: u32,
        reason: Reason,
        outcome: AttemptOutcome,
        gave_up: bool,
    ) -> Self {
        Self::new(
            "attempt",
            json!({
                "bundle": record.bundle, "case": record.case, "attempt": attempt, "to": record.partner,
                "reason": reason.code(), "outcome": outcome.word(), "gave_up": gave_up,
            }),
        )
        .on(&record.subject)
    }

    /// A job that was left of a bundle at its end was dropped.
    pub fn job_dropped(record: &BundleRecord) -> Self {
        Self::new("job", json!({ "bundle": record.bundle, "case": record.case, "state": record.state().word() }))
            .on(&record.subject)
    }

    /// Somebody recalls a bundle that was delivered.
    pub fn recall_ordered(record: &BundleRecord, cause: Cause, why: &str) -> Self {
        Self::new(
            "recall",
            json!({
                "action": "ordered", "bundle": record.bundle, "case": record.case, "to": record.partner,
                "reason": cause.reason().code(),
            }),
        )
        .on(&record.subject)
        .with_detail(json!({ "reason": why }))
    }

    /// A recall got no answer that counts.
    pub fn recall_unanswered(record: &BundleRecord, reason: Reason, gave_up: bool) -> Self {
        Self::new(
            "recall",
            json!({
                "action": "unanswered", "bundle": record.bundle, "case": record.case, "to": record.partner,
                "reason": reason.code(), "gave_up": gave_up,
            }),
        )
        .on(&record.subject)
    }

    /// A partner's recall is verified; it is carried out next.
    pub fn recall_taken(taken: &InboxRecord, recall: Digest, subject: &SubjectId, cause: Cause) -> Self {
        Self::new(
            "recall",
            json!({
                "action": "taken", "bundle": taken.bundle, "case": taken.case, "from": taken.from, "recall": recall,
                "reason": cause.reason().code(), "opened": taken.opened.is_some(),
            }),
        )
        .on(subject)
    }

    /// A partner's recall was not accepted. Nothing that stands in it is repeated: whoever made it may have lied.
    pub fn recall_refused(from: &InstitutionId, recall: Digest, why: &str) -> Self {
        Self::new("recall", json!({ "action": "refused", "from": from, "recall": recall, "why": why }))
    }

    /// The sealed file of a recalled bundle is destroyed.
    pub fn destroyed(record: &InboxRecord, subject: &SubjectId) -> Self {
        Self::new(
            "destroyed",
            json!({
                "bundle": record.bundle, "case": record.case, "from": record.from,
                "sealed_sha256": record.sealed_sha256, "opened": record.opened.is_some(),
            }),
        )
        .on(subject)
    }

    /// Everything on file of a patient is about to be destroyed. The basis names no person, because it stays.
    pub fn erasure(subject: &SubjectId, basis: &str, without_recall: Option<&str>, counts: ErasedCounts) -> Self {
        let mut facts = json!({ "basis": basis, "counts": counts });
        if let Some(why) = without_recall {
            facts["without_recall"] = why.into();
        }
        Self::new(ERASURE, facts).on(subject)
    }

    /// A word about a legal hold: `place-asked`, `placed`, `lift-asked` or `lifted`.
    pub fn hold(subject: &SubjectId, action: &str, reason: Option<&str>) -> Self {
        let word = Self::new("hold", json!({ "action": action })).on(subject);
        match reason {
            Some(reason) => word.with_detail(json!({ "reason": reason })),
            None => word,
        }
    }

    /// A bundle came in, is stored and verified.
    pub fn received(dispatch: &Dispatch, digest: Digest, subject: &SubjectId, again: bool) -> Self {
        Self::new(
            "inbox",
            json!({
                "bundle": dispatch.bundle, "case": dispatch.case, "from": dispatch.from, "content": dispatch.kind.word(),
                "dispatch": digest, "sealed_sha256": dispatch.sealed_sha256, "sealed_bytes": dispatch.sealed_bytes,
                "again": again, "their_log": dispatch.head,
            }),
        )
        .on(subject)
    }

    /// A received bundle was opened with a reader's key.
    pub fn opened(
        bundle: &BundleId,
        from: &InstitutionId,
        subject: &SubjectId,
        manifest: Digest,
        documents: u32,
        opinion: Option<Outcome>,
        confirmed: Option<&str>,
    ) -> Self {
        let opened = Self::new(
            "opened",
            json!({ "bundle": bundle, "from": from, "manifest_sha256": manifest, "documents": documents }),
        )
        .on(subject);
        match (opinion, confirmed) {
            (Some(outcome), None) => opened.with_detail(json!({ "outcome": outcome.word() })),
            (Some(outcome), Some(why)) => {
                opened.with_detail(json!({ "outcome": outcome.word(), "patient_confirmed": why }))
            }
            (None, _) => opened,
        }
    }

    /// An opinion was given to a case of a partner; it travels as a bundle of its own.
    pub fn opinion_given(
        case: &CaseId,
        bundle: &BundleId,
        answers: &BundleId,
        subject: &SubjectId,
        outcome: Outcome,
        author: Option<&str>,
    ) -> Self {
        Self::new("opinion", json!({ "case": case, "bundle": bundle, "answers": answers }))
            .on(subject)
            .with_detail(object_without_absent(&[("outcome", Some(outcome.word())), ("author", author)]))
    }
}

impl Event for Release {
    fn entry(&self) -> Entry {
        let (sealed, permit) = (self.sealed(), self.permit());
        let mut facts = object(json!({
            "bundle": sealed.bundle, "case": sealed.case, "to": sealed.to, "content": sealed.kind.word(),
            "sealed_sha256": sealed.sealed_sha256, "sealed_bytes": sealed.sealed_bytes,
            "manifest_sha256": sealed.manifest_sha256, "attempt": self.attempt(), "purpose": self.purpose(),
            "notices_sha256": self.notices().sha256(),
        }));
        facts.extend(permit_facts(permit));
        if let Some(erase_at) = permit.erase_at() {
            facts.insert("erase_at".to_owned(), json!(crate::clock::stamp(erase_at)));
        }
        if let Some(answers) = self.answers() {
            facts.insert("answers".to_owned(), json!(answers));
        }
        // All obligations, which may tell what the records hold, stand where the patient's key closes them.
        let detail = object(json!({ ASKED: permit.asked(), "obligations": permit.obligations() }));
        Entry { kind: "release", facts, subject: Some(self.subject().clone()), detail: Some(detail) }
    }
}

impl Event for Receipt {
    fn entry(&self) -> Entry {
        let text = self.text();
        let facts = object(json!({
            "bundle": text.bundle, "case": self.about().case, "partner": text.from, "dispatch": text.dispatch, "receipt": self.signed().digest(),
            "received": text.received, "first_received": text.first_received, "their_log": text.head,
        }));
        Entry { kind: "receipt", facts, subject: Some(self.about().subject.clone()), detail: None }
    }
}

impl Event for Recall {
    fn entry(&self) -> Entry {
        let text = self.text();
        let facts = object(json!({
            "action": "sent", "bundle": text.bundle, "case": text.case, "to": text.to, "dispatch": text.dispatch,
            "recall": self.signed().digest(), "reason": text.reason.reason().code(), "attempt": self.attempt(),
        }));
        Entry { kind: "recall", facts, subject: Some(self.about().subject.clone()), detail: None }
    }
}

impl Event for Recalled {
    fn entry(&self) -> Entry {
        let text = self.text();
        let mut facts = object(json!({
            "bundle": text.bundle, "case": self.about().case, "partner": text.from, "recall": text.recall,
            "answer": self.signed().digest(), "their_log": text.head,
        }));
        let said = [("destroyed", &text.destroyed), ("opened", &text.opened)];
        facts.extend(said.iter().filter_map(|(name, at)| Some(((*name).to_owned(), json!(at.as_ref()?)))));
        if let Some(kept) = text.kept {
            facts.insert("kept".to_owned(), json!(kept));
        }
        Entry { kind: "recalled", facts, subject: Some(self.about().subject.clone()), detail: None }
    }
}

/// What an entry says of a yes, beside what it is about: a replay compares it with the same of today.
pub fn permit_facts(permit: &Permit) -> Object {
    let mut facts = object(json!({
        "policies": permit.policies(), "policy_set": permit.policy(), "engine": permit.engine_semantics(),
        "obligations": permit.open_obligations(),
    }));
    facts.extend(emergency_facts(matches!(permit.basis(), Basis::BreakGlass(_))));
    if let Some((consent, version)) = permit.consent() {
        facts.insert("consent".to_owned(), json!(consent));
        facts.insert("consent_version".to_owned(), json!(version));
    }
    facts
}

/// What an entry says of a no, beside what it is about.
pub fn refused_facts(denied: &Denied) -> Object {
    let mut facts = object(json!({
        "reason": denied.reason.code(), "causes": denied.codes(), "policies": denied.policies,
        "policy_set": denied.policy, "engine": denied.engine_semantics,
    }));
    facts.extend(emergency_facts(matches!(denied.asked().basis, Basis::BreakGlass(_))));
    facts
}

/// Marks an entry that is about an emergency.
fn emergency_facts(is_one: bool) -> Object {
    let mark = ("basis".to_owned(), json!(BREAK_GLASS));
    is_one.then_some(mark).into_iter().collect()
}

/// What an entry says of the decision at intake.
pub fn early_facts(early: &Result<Permit, Denied>) -> Object {
    object(match early {
        Ok(_) => json!({ "decision": "permit" }),
        Err(denied) => json!({ "decision": "deny", "reason": denied.reason.code() }),
    })
}

/// What is owed after an emergency.
#[derive(Clone, Copy, Debug)]
pub enum EmergencyStep {
    /// The patient, or who speaks for the patient, was told.
    PatientTold,
    /// Somebody else looked at it.
    Reviewed,
}

/// The kind of the entries about emergencies, and the mark of every other entry about one.
pub const BREAK_GLASS: &str = "break-glass";

/// The kind of the entry after which a patient's key is destroyed.
pub const ERASURE: &str = "erasure";

/// Where an entry's sealed part holds what the decision was told.
pub const ASKED: &str = "asked";

/// How many paths or findings an entry's detail lists: with the longest paths they stay below what the store takes.
const PATHS_MAX: usize = 20;

fn object(value: Value) -> Object {
    match value {
        Value::Object(fields) => fields.into_iter().collect(),
        _ => Object::new(),
    }
}

fn object_without_absent<T: Serialize>(fields: &[(&str, Option<T>)]) -> Value {
    fields.iter().filter_map(|(name, value)| value.as_ref().map(|value| ((*name).to_owned(), json!(value)))).collect()
}
