//! What the store holds of cases, consents, bundles and what came in.
//!
//! Rule: whatever names or describes a person stands only in sealed parts under that person's key; a bundle becomes
//! delivered only through [`BundleRecord::delivered`], which wants a verified receipt.

mod alarm;
mod attempt;
mod emergency;
mod holds;

use serde::{Deserialize, Serialize};

use crate::bundle::descriptor::DescribedPatient;
use crate::bundle::identity::PatientOfCase;
use crate::clock::{self, Timestamp};
use crate::decision::Approval;
use crate::id::{BundleId, CaseId, ConsentId, Country, Digest, InstitutionId, Purpose, SubjectId};
use crate::reason::Reason;
use crate::statement::Kind;
use crate::statement::dispatch::{Answers, Release, SealedBundle};
use crate::statement::recall::{Cause, Recalled, RecalledText};
use crate::statement::receipt::Receipt;

pub use alarm::{Alarm, AlarmEnd, AlarmRecord, OVERDUE};
pub use attempt::{Attempt, AttemptOutcome, Decision};
pub use emergency::{Emergency, EmergencyPrivate, PURPOSE as EMERGENCY_PURPOSE};
pub use holds::{ErasedCounts, ErasureRecord, HoldRecord, Word};

/// Whose case it is: the one that asks, or the one that answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "side", content = "of")]
pub enum Side {
    /// We ask; the partner answers.
    Ours,
    /// The partner asks; the case id is theirs.
    Theirs(InstitutionId),
}

/// How a case ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Diagnosis and treatment confirmed.
    Confirmed,
    /// Diagnosis confirmed, treatment modified.
    TreatmentModified,
    /// Diagnosis changed, treatment changed.
    DiagnosisChanged,
    /// A completely different diagnosis and treatment strategy.
    Different,
}

impl Outcome {
    /// The word as it stands on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::TreatmentModified => "treatment-modified",
            Self::DiagnosisChanged => "diagnosis-changed",
            Self::Different => "different",
        }
    }
}

/// One second opinion. Its question and its patient stand in the sealed part.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CaseRecord {
    /// The case.
    pub case: CaseId,
    /// Whose it is.
    pub side: Side,
    /// The patient's pseudonym.
    pub subject: SubjectId,
    /// The other institution.
    pub partner: InstitutionId,
    /// Why data is sent, a code of v3-ActReason.
    pub purpose: Purpose,
    /// When it was opened, or first heard of.
    pub opened: String,
    /// When it was closed; `None` while it is open.
    pub closed: Option<String>,
}

impl CaseRecord {
    /// The store key: a partner's ids are kept apart by the partner's name.
    pub fn key(side: &Side, case: &CaseId) -> Vec<u8> {
        match side {
            Side::Ours => format!("ours/{case}"),
            Side::Theirs(partner) => format!("theirs/{partner}/{case}"),
        }
        .into_bytes()
    }
}

/// What a case's sealed part holds.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct CasePrivate {
    /// The patient.
    #[serde(default)]
    pub patient: Option<DescribedPatient>,
    /// What is asked.
    #[serde(default)]
    pub question: String,
    /// What the opinion said, once it was opened here.
    #[serde(default)]
    pub opinions: Vec<OpinionRead>,
    /// How the case ended.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

impl std::fmt::Debug for CasePrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CasePrivate(hidden)")
    }
}

impl CasePrivate {
    /// The patient as identity is compared.
    pub fn patient_of_case(&self) -> Option<PatientOfCase> {
        self.patient.as_ref().map(PatientOfCase::from)
    }
}

/// What an opened opinion said.
#[derive(Clone, Deserialize, Serialize)]
pub struct OpinionRead {
    /// The bundle that it came in.
    pub bundle: BundleId,
    /// Its outcome.
    pub outcome: Outcome,
    /// Who wrote it.
    #[serde(default)]
    pub author: Option<String>,
    /// When it was opened.
    pub opened: String,
    /// Why its documents count as this patient's although they do not say so, in a clerk's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_confirmed: Option<String>,
}

impl std::fmt::Debug for OpinionRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpinionRead(hidden)")
    }
}

/// A consent on file. The resource itself stands in the sealed part.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ConsentRecord {
    /// Our id of it.
    pub consent: ConsentId,
    /// Counts the changes, from 1.
    pub version: u64,
    /// The patient's pseudonym.
    pub subject: SubjectId,
    /// When it was recorded.
    pub added: String,
    /// The country of each registered partner when it was recorded.
    pub countries: Vec<(InstitutionId, Country)>,
    /// When it was withdrawn.
    pub withdrawn: Option<String>,
}

impl ConsentRecord {
    /// The store key.
    pub fn key(subject: &SubjectId, consent: &ConsentId) -> Vec<u8> {
        [Self::keys_of(subject), consent.as_str().as_bytes().to_vec()].concat()
    }

    /// How the store keys of all consents of a patient begin.
    pub fn keys_of(subject: &SubjectId) -> Vec<u8> {
        format!("{subject}/").into_bytes()
    }
}

/// Where a bundle stands on its way.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for a second person.
    Approval,
    /// Waits for its next attempt.
    Waiting,
    /// An attempt is under way.
    Sending,
    /// The partner's receipt is verified and recorded.
    Delivered,
    /// Denied; a person must act.
    Refused,
    /// Stopped before it left: consent withdrawn, case closed.
    Cancelled,
    /// Given up after the limits; a person must act.
    Failed,
    /// Delivered, then recalled: the partner's signed word that it destroyed it is verified and recorded.
    Recalled,
}

impl State {
    /// Whether nothing more will happen by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Refused | Self::Cancelled | Self::Failed | Self::Recalled)
    }

    /// The word as it stands in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Recalled => "recalled",
        }
    }
}

/// A recall that was ordered: the signed recall is made of it, the same every time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RecallOrder {
    /// Why.
    pub cause: Cause,
    /// When it was ordered.
    pub issued: String,
    /// The dispatch that delivered the bundle, by digest.
    pub dispatch: Digest,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try brought no answer.
    pub reason: Option<Reason>,
    /// When it is tried next; `None` once it is answered or given up.
    pub next_try: Option<String>,
    /// What the partner answered, signed and verified.
    pub answer: Option<RecalledText>,
}

/// A bundle on its way out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BundleRecord {
    /// The bundle.
    pub bundle: BundleId,
    /// The case.
    pub case: CaseId,
    /// Whose case.
    pub side: Side,
    /// Where it goes.
    pub partner: InstitutionId,
    /// The patient's pseudonym.
    pub subject: SubjectId,
    /// What it carries.
    pub kind: Kind,
    /// Why it is sent.
    pub purpose: Purpose,
    /// What it answers, if it is an opinion.
    pub answers: Option<Answers>,
    /// Goes before others.
    pub urgent: bool,
    /// Who sent it: a user of the operating system.
    pub sent_by: u32,
    /// Who else confirmed it.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// The emergency under which it leaves without a consent.
    #[serde(default)]
    pub emergency: Option<Emergency>,
    /// When it was sealed or refused.
    pub created: String,
    /// The sealed file; `None` when it was refused before sealing.
    pub sealed: Option<SealedBundle>,
    /// How many documents it holds.
    pub documents: u32,
    /// Every try.
    pub attempts: Vec<Attempt>,
    /// Why it is where it is.
    pub reason: Option<Reason>,
    /// When it is tried next.
    pub next_attempt: Option<String>,
    /// Its recall, once one was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<RecallOrder>,
    /// When it was taken up again after it was given up in doubt: its consent was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_up: Option<String>,
    /// When its sealed file was destroyed because its time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
    state: State,
}

/// What a new bundle record starts from.
#[derive(Clone, Debug)]
pub struct NewBundle {
    /// The bundle.
    pub bundle: BundleId,
    /// Its case.
    pub case: CaseRecord,
    /// Where it goes.
    pub partner: InstitutionId,
    /// What it carries.
    pub kind: Kind,
    /// What it answers, if it is an opinion.
    pub answers: Option<Answers>,
    /// Goes before others.
    pub urgent: bool,
    /// Who sends it: a user of the operating system.
    pub sent_by: u32,
    /// The emergency under which it is to leave without a consent.
    pub emergency: Option<Emergency>,
    /// How many documents it holds.
    pub documents: u32,
}

impl BundleRecord {
    /// A bundle that is sealed and waits for its first attempt.
    pub fn sealed(new: NewBundle, sealed: SealedBundle, now: Timestamp) -> Self {
        let mut record = Self::of(new, State::Waiting, now);
        record.sealed = Some(sealed);
        record.next_attempt = Some(clock::stamp(now));
        record
    }

    /// A bundle that was refused before anything was sealed.
    pub fn refused_early(new: NewBundle, reason: Reason, now: Timestamp) -> Self {
        let mut record = Self::of(new, State::Refused, now);
        record.reason = Some(reason);
        record.attempts.push(Attempt::denied(now, reason, AttemptOutcome::RefusedAtIntake));
        record
    }

    fn of(new: NewBundle, state: State, now: Timestamp) -> Self {
        Self {
            bundle: new.bundle,
            case: new.case.case,
            side: new.case.side,
            partner: new.partner,
            subject: new.case.subject,
            kind: new.kind,
            // What leaves in an emergency says so to whoever receives it.
            purpose: match new.emergency {
                Some(_) => EMERGENCY_PURPOSE.parse().expect("a constant code"),
                None => new.case.purpose,
            },
            answers: new.answers,
            urgent: new.urgent,
            sent_by: new.sent_by,
            approvals: Vec::new(),
            emergency: new.emergency,
            created: clock::stamp(now),
            sealed: None,
            documents: new.documents,
            attempts: Vec::new(),
            reason: None,
            next_attempt: None,
            recall: None,
            taken_up: None,
            expired: None,
            state,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// An attempt begins: the decision allows it.
    #[must_use]
    pub fn sending(mut self, at: Timestamp, release: &Release) -> Self {
        self.doubt_open_attempts();
        self.attempts.push(Attempt::permitted(at, release));
        self.state = State::Sending;
        self.reason = None;
        self.next_attempt = None;
        self
    }

    /// The partner's receipt is here, and verified: the only way to delivered.
    #[must_use]
    pub fn delivered(mut self, receipt: &Receipt, attempt: usize) -> Self {
        debug_assert_eq!(receipt.text().bundle, self.bundle, "Receipt::verify compared the bundle");
        self = self.none_arrived();
        if let Some(answered) = self.attempts.get_mut(attempt) {
            answered.outcome = Some(AttemptOutcome::Delivered);
            answered.dispatch = Some(receipt.text().dispatch);
            answered.reason = None;
        }
        self.state = State::Delivered;
        self.reason = None;
        self.next_attempt = None;
        self
    }

    /// It did not arrive, or nobody knows; it is tried again at `next`.
    #[must_use]
    pub fn waits(mut self, reason: Reason, outcome: AttemptOutcome, next: Timestamp) -> Self {
        if let Some(last) = self.attempts.last_mut().filter(|last| last.outcome.is_none()) {
            last.reason = Some(reason);
            last.outcome = Some(outcome);
        }
        self.state = State::Waiting;
        self.reason = Some(reason);
        self.next_attempt = Some(clock::stamp(next));
        self
    }

    /// The attempt that runs has not handed over its header, and will not.
    #[must_use]
    pub fn header_stayed(mut self) -> Self {
        if let Some(last) = self.attempts.last_mut().filter(|last| last.outcome.is_none()) {
            last.outcome = Some(AttemptOutcome::NotDelivered);
        }
        self
    }

    /// The partner has none of it and has promised to take none: no attempt arrives any more.
    #[must_use]
    pub fn none_arrived(mut self) -> Self {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.is_open()) {
            attempt.outcome = Some(AttemptOutcome::NotDelivered);
        }
        self
    }

    /// A decision said no: it stays here, refused or cancelled. Whoever says so has made sure that no earlier attempt
    /// arrives any more.
    #[must_use]
    pub fn denied(mut self, reason: Reason, at: Timestamp) -> Self {
        self = self.none_arrived();
        self.attempts.push(Attempt::denied(at, reason, AttemptOutcome::Denied));
        self.state = match reason {
            Reason::ConsentWithdrawn | Reason::CaseClosed => State::Cancelled,
            _ => State::Refused,
        };
        self.reason = Some(reason);
        self.next_attempt = None;
        self
    }

    /// A decision said no for a reason that passes: it waits and is decided anew at `next`.
    #[must_use]
    pub fn denied_for_now(mut self, reason: Reason, at: Timestamp, next: Timestamp) -> Self {
        // The same denial again and again, over a long suspension, is one line of the history: the log has them all.
        if self.attempts.last().is_some_and(|last| !last.was_permitted() && last.reason == Some(reason)) {
            self.attempts.pop();
        }
        self.doubt_open_attempts();
        self.attempts.push(Attempt::denied(at, reason, AttemptOutcome::Denied));
        self.state = State::Waiting;
        self.reason = Some(reason);
        self.next_attempt = Some(clock::stamp(next));
        self
    }

    /// A second person must confirm it; what nobody confirmed by `until` is given up.
    #[must_use]
    pub fn awaits_approval(self, at: Timestamp, until: Timestamp) -> Self {
        let mut record = self.denied_for_now(Reason::ApprovalNeeded, at, until);
        record.state = State::Approval;
        record
    }

    /// A second person said yes.
    #[must_use]
    pub fn approved(mut self, approval: Approval) -> Self {
        self.approvals.retain(|before| before.by != approval.by);
        self.approvals.push(approval);
        self
    }

    /// Nobody else is waited for: it is decided again at once.
    #[must_use]
    pub fn due(mut self, now: Timestamp) -> Self {
        self.state = State::Waiting;
        self.next_attempt = Some(clock::stamp(now));
        self
    }

    /// The limits are reached, or it can never succeed. What nobody could find out about an attempt stays unknown.
    #[must_use]
    pub fn failed(mut self, reason: Reason) -> Self {
        self.doubt_open_attempts();
        self.state = State::Failed;
        self.reason = Some(reason);
        self.next_attempt = None;
        self
    }

    /// It was given up while nobody knew whether it arrived, and now that must be found out.
    #[must_use]
    pub fn taken_up(mut self, now: Timestamp) -> Self {
        self.taken_up = Some(clock::stamp(now));
        self.due(now)
    }

    /// The attempt that the partner's receipt answers.
    pub fn delivering_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.was_delivered())
    }

    /// Whether a recall was ordered and is neither answered nor given up.
    pub fn recall_is_on_its_way(&self) -> bool {
        self.recall.as_ref().is_some_and(|order| order.next_try.is_some())
    }

    /// A recall is ordered, due now. An order that was given up, or answered by a partner who had to keep the bundle, is
    /// taken up as it was, so that the partner is asked with the same bytes.
    #[must_use]
    pub fn recall_ordered(mut self, cause: Cause, dispatch: Digest, now: Timestamp) -> Self {
        let issued = clock::stamp(now);
        let order = self.recall.get_or_insert_with(|| RecallOrder {
            cause,
            issued: issued.clone(),
            dispatch,
            tries: 0,
            reason: None,
            next_try: None,
            answer: None,
        });
        order.answer = None;
        order.next_try = Some(issued);
        self
    }

    /// The recall brought no answer; it is tried again at `next`, or given up.
    #[must_use]
    pub fn recall_unanswered(mut self, reason: Reason, next: Option<Timestamp>) -> Self {
        if let Some(order) = &mut self.recall {
            order.tries = order.tries.saturating_add(1);
            order.reason = Some(reason);
            order.next_try = next.map(clock::stamp);
        }
        self
    }

    /// The partner's answer to the recall is here, and verified: the only way to recalled. A partner that had to keep
    /// the bundle leaves it delivered.
    #[must_use]
    pub fn recalled(mut self, answer: &Recalled) -> Self {
        debug_assert_eq!(answer.text().bundle, self.bundle, "Recalled::verify compared the bundle");
        if let Some(order) = &mut self.recall {
            order.tries = order.tries.saturating_add(1);
            order.reason = None;
            order.next_try = None;
            order.answer = Some(answer.text().clone());
            if answer.text().destroyed.is_some() {
                self.state = State::Recalled;
                self.reason = Some(order.cause.reason());
            }
        }
        self
    }

    /// Attempts whose outcome nobody knows yet: the partner may hold the bundle.
    pub fn open_attempts(&self) -> impl Iterator<Item = (usize, &Attempt)> {
        self.attempts.iter().enumerate().filter(|(_, attempt)| attempt.is_open())
    }

    /// An attempt that broke off, or that a crash cut short, may have arrived, and may yet: its header may still be on
    /// its way while the partner says that it has none.
    fn doubt_open_attempts(&mut self) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.outcome.is_none()) {
            attempt.outcome = Some(AttemptOutcome::Unknown);
        }
    }
}

/// A bundle that came in.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InboxRecord {
    /// The bundle.
    pub bundle: BundleId,
    /// Who sent it.
    pub from: InstitutionId,
    /// Its case; ours if it is an opinion, theirs if it is records.
    pub case: CaseId,
    /// What it carries.
    pub kind: Kind,
    /// Why it was sent.
    pub purpose: Purpose,
    /// When it was first received.
    pub received: String,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: u64,
    /// What it answers, if it is an opinion.
    pub answers: Option<Answers>,
    /// When everything in it must be erased, as the sender's dispatch says.
    #[serde(default)]
    pub erase_at: Option<String>,
    /// The dispatch that it came with first, by digest.
    pub dispatch: Digest,
    /// When it was first opened here.
    pub opened: Option<String>,
    /// Its recall, once its sender recalled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<TakenRecall>,
    /// When its sealed file was destroyed because its time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
}

/// A recall that was verified: first recorded, then carried out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TakenRecall {
    /// Why the sender recalls it.
    pub cause: Cause,
    /// When it was first received.
    pub received: String,
    /// When the bundle was first opened here, as it was known when the recall was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<String>,
    /// When the sealed file was destroyed; `None` while it still is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<String>,
}

impl InboxRecord {
    /// The store key: a partner's ids are kept apart by the partner's name.
    pub fn key(from: &InstitutionId, bundle: &BundleId) -> Vec<u8> {
        format!("{from}/{bundle}").into_bytes()
    }
}

/// A dispatch that was accepted, so that the same dispatch gets the same receipt.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AcceptedDispatch {
    /// The bundle.
    pub bundle: BundleId,
    /// When this dispatch was received.
    pub received: String,
    /// The statement as it came.
    pub signed: crate::statement::Signed,
    /// The sealed notices that came with it, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notices: Option<String>,
}

impl AcceptedDispatch {
    /// The store key, for the record and for the stamp of its entry.
    pub fn key(from: &InstitutionId, dispatch: &Digest) -> Vec<u8> {
        format!("{from}/{dispatch}").into_bytes()
    }
}
