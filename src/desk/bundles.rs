//! Bundles: announced with what the documents say of themselves, sealed as they stream in, looked at on their way.
//!
//! Rule: what the caller claims only refuses early; what is sealed was surveyed here, byte by byte, and nothing is
//! published before every check on it has passed.

mod sealing;

use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approvals::{self, ApprovalView};
use super::emergencies::{self, AskEmergency, EmergencyView};
use super::{Staff, cases, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::bundle::claim::Claim;
use crate::bundle::document::{Document, PatientCheck};
use crate::decision::{Denied, Permit};
use crate::gateway::{Draft, Gateway, Row, put};
use crate::id::{BundleId, CaseId, InstitutionId};
use crate::problem::{Item, Problem};
use crate::queue;
use crate::reason::Reason;
use crate::recall;
use crate::records::{Attempt, BundleRecord, NewBundle, RecallOrder, Side, State};
use crate::release;
use crate::statement::{Kind, Signed};
use crate::store::{Expect, Put, Space};

/// What `send` is given before the documents come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// The case.
    pub case: CaseId,
    /// Where it goes; the case's partner unless it says otherwise.
    #[serde(default)]
    pub partner: Option<InstitutionId>,
    /// Goes before others.
    #[serde(default)]
    pub urgent: bool,
    /// Why documents that name another patient belong to the case all the same.
    #[serde(default)]
    pub confirm_patient: Option<String>,
    /// The emergency in which nobody can be asked for a consent.
    #[serde(default)]
    pub break_glass: Option<AskEmergency>,
    /// The documents, in the order in which they will come.
    pub documents: Vec<Claim>,
}

impl std::fmt::Debug for Announce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Announce(hidden)")
    }
}

/// What `send` is told.
#[derive(Debug, Serialize)]
pub struct Announced {
    /// The bundle.
    pub bundle: BundleId,
    /// `draft` until the documents are here.
    pub state: &'static str,
}

/// Announces a bundle of records. Refuses early what would be refused later: another patient, no consent, a policy.
pub async fn announce(gateway: &Gateway, staff: Staff, request: Announce) -> Result<Announced, Problem> {
    let row = cases::find(gateway, &request.case)?;
    let case = row.value;
    if case.side != Side::Ours {
        return Err(Problem::conflict(format!("{} is the partner's case", case.case))
            .hint("records go out in a case of ours; answer with `medseal opinion`"));
    }
    if case.closed.is_some() {
        return Err(Problem::refused(Reason::CaseClosed, format!("{} is closed", case.case)));
    }
    let confirm_patient =
        request.confirm_patient.as_deref().map(|why| free_text("reason", why, &gateway.config.limits)).transpose()?;
    let draft = Draft {
        bundle: BundleId::random(),
        by: staff.uid,
        private: gateway.case_private(&case)?,
        partner: request.partner.unwrap_or_else(|| case.partner.clone()),
        case,
        kind: Kind::Records,
        answers: None,
        opinion: None,
        emergency: request.break_glass.map(|asked| emergencies::begin(gateway, &asked)).transpose()?,
        urgent: request.urgent,
        confirm_patient,
        claims: request.documents,
        announced: gateway.now(),
    };
    announce_draft(gateway, staff, draft).await
}

/// Checks a draft as far as its claims go, and keeps it.
pub async fn announce_draft(gateway: &Gateway, staff: Staff, draft: Draft) -> Result<Announced, Problem> {
    sealing::check_claims(gateway, &draft)?;
    let patient = draft.private.patient_of_case();
    let mismatches = sealing::claimed_mismatches(&draft.claims, patient.as_ref());
    if !mismatches.is_empty() && draft.confirm_patient.is_none() {
        return Err(refuse_documents(gateway, staff, &draft, Reason::PatientMismatch, mismatches).await);
    }
    let documents = sealing::claimed_documents(gateway, &draft)?;
    if let Some((emergency, private)) = &draft.emergency {
        let event = Happened::emergency_requested(&draft.bundle, &draft.case, &draft.partner, emergency, private);
        gateway.enter(event.by(staff.uid), Change::default()).await?;
    }
    drop(ask_early(gateway, staff, &draft, &documents).await?);
    let announced = Announced { bundle: draft.bundle.clone(), state: "draft" };
    tracing::debug!(bundle = %draft.bundle, "announced");
    gateway.drafts.keep(draft);
    Ok(announced)
}

/// What sealing ended with.
#[derive(Debug, Serialize)]
pub struct Sealed {
    /// The bundle.
    pub bundle: BundleId,
    /// Where it stands.
    pub state: State,
    /// How many documents it holds.
    pub documents: u32,
    /// What nobody could check, in words.
    pub not_checked: Vec<String>,
}

/// Takes the documents of an announced bundle as a plain tar stream, surveys and seals them in one pass, and queues it.
pub async fn fill(
    gateway: &Arc<Gateway>,
    staff: Staff,
    bundle: &BundleId,
    documents: impl Read + Send + 'static,
) -> Result<Sealed, Problem> {
    let draft = gateway.drafts.take(bundle, staff.uid).ok_or_else(|| {
        Problem::not_found(format!("{bundle} was not announced by you, or its documents came before"))
    })?;
    let work = Arc::clone(gateway);
    let sealing = tokio::task::spawn_blocking(move || {
        let outcome = sealing::seal(&work, &draft, documents);
        (draft, outcome)
    });
    let (draft, outcome) = sealing.await.map_err(|error| Problem::internal("sealing", &error))?;
    let done = match outcome {
        Ok(done) => done,
        Err(sealing::SealingError::Documents { reason, items }) => {
            return Err(refuse_documents(gateway, staff, &draft, reason, items).await);
        }
        Err(sealing::SealingError::Problem(problem)) => return Err(problem.about(&draft.bundle)),
    };
    // What the documents turned out to be may differ from what was claimed.
    let early = match ask_early(gateway, staff, &draft, &done.documents).await {
        Ok(early) => early,
        Err(problem) => {
            done.discard(gateway);
            return Err(problem);
        }
    };
    tracing::debug!(%bundle, "sealed");
    done.publish(gateway)?;
    tracing::debug!(%bundle, "published");
    let now = gateway.now();
    let mut record = BundleRecord::sealed(new_bundle(&draft, done.documents.len()), done.sealed.clone(), now);
    let mut job = queue::first_job(&record, now);
    match &early {
        Err(denied) if denied.reason == Reason::ApprovalNeeded => {
            job.due = queue::given_up_at(gateway, &record, now);
            record = record.awaits_approval(now, job.due);
        }
        Err(denied) => record.reason = Some(denied.reason),
        Ok(_) => {}
    }
    let paths: Vec<String> = done.documents.iter().map(|document| document.path.to_string()).collect();
    let event =
        Happened::sealed(&done.sealed, &record.subject, record.documents, draft.confirm_patient.as_deref(), &paths)
            .decided_early(&early);
    let mut puts = gateway.seal_parts(Space::Bundle, bundle.as_str().as_bytes(), &record.subject, &done.documents)?;
    puts.extend(new_rows(&record));
    if let Some((_, private)) = &draft.emergency {
        puts.extend(gateway.seal_emergency(&record, private)?);
    }
    let change = Change { puts, enqueue: vec![job], ..Change::default() };
    if let Some(opinion) = &draft.opinion {
        let answers = draft.answers.as_ref().expect("an opinion answers a dispatch");
        let given = Happened::opinion_given(
            &draft.case.case,
            bundle,
            &answers.bundle,
            &record.subject,
            opinion.outcome,
            opinion.author.as_deref(),
        );
        gateway.enter(given.by(staff.uid), Change::default()).await?;
    }
    gateway.enter(event.by(staff.uid), change).await?;
    tracing::debug!(%bundle, "queued");
    let not_checked = done
        .documents
        .iter()
        .filter(|document| document.patient_check == PatientCheck::NotChecked)
        .map(|document| document.path.to_string())
        .collect();
    Ok(Sealed { bundle: bundle.clone(), state: record.state(), documents: record.documents, not_checked })
}

/// A bundle as the staff sees it.
#[derive(Debug, Serialize)]
pub struct BundleView {
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
    /// Why it stands there.
    pub reason: Option<Reason>,
    /// The reason in words.
    pub says: Option<&'static str>,
    /// What a person can do.
    pub remedy: Option<&'static str>,
    /// When it is tried next.
    pub next_attempt: Option<String>,
    /// When it was sealed or refused.
    pub created: String,
    /// How many documents it holds.
    pub documents: u32,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: Option<u64>,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Option<crate::id::Digest>,
    /// Every try.
    pub attempts: Vec<Attempt>,
    /// Who confirmed it, and who is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// The emergency under which it leaves without a consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emergency: Option<EmergencyView>,
    /// The partner's signed receipt, once the bundle is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Signed>,
    /// Its recall, once one was ordered, with what the partner answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<RecallView>,
}

/// The recall of a bundle as the staff sees it.
#[derive(Debug, Serialize)]
pub struct RecallView {
    /// Why, when, how often tried, when next, and what the partner answered.
    #[serde(flatten)]
    pub order: RecallOrder,
    /// The recall: the exact bytes and our signature.
    pub statement: Option<Signed>,
    /// The partner's answer: the exact bytes and its signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Signed>,
}

impl BundleView {
    fn of(gateway: &Gateway, record: BundleRecord) -> Result<Self, Problem> {
        Ok(Self {
            approval: approvals::of(gateway, &record)?,
            emergency: emergencies::of(gateway, &record)?,
            state: record.state(),
            says: record.reason.map(Reason::meaning),
            remedy: record.reason.map(Reason::remedy),
            bundle: record.bundle,
            case: record.case,
            partner: record.partner,
            kind: record.kind,
            reason: record.reason,
            next_attempt: record.next_attempt,
            created: record.created,
            documents: record.documents,
            sealed_bytes: record.sealed.as_ref().map(|sealed| sealed.sealed_bytes),
            sealed_sha256: record.sealed.as_ref().map(|sealed| sealed.sealed_sha256),
            attempts: record.attempts,
            receipt: None,
            recall: record.recall.map(|order| RecallView { order, statement: None, answered: None }),
        })
    }
}

/// One bundle.
pub fn show(gateway: &Gateway, bundle: &BundleId) -> Result<BundleView, Problem> {
    let record = found(gateway, bundle)?.value;
    let statement = recall::signed_recall(gateway, &record);
    let mut view = BundleView::of(gateway, record)?;
    view.receipt = release::receipt_of(gateway, bundle)?;
    if let Some(shown) = &mut view.recall {
        shown.statement = statement;
        shown.answered = recall::answer_of(gateway, bundle)?;
    }
    Ok(view)
}

/// Every bundle, newest first.
pub fn list(gateway: &Gateway) -> Result<Vec<BundleView>, Problem> {
    let mut rows = gateway.rows::<BundleRecord>(Space::Bundle, b"")?;
    rows.sort_by(|a, b| b.value.created.cmp(&a.value.created));
    rows.into_iter().map(|row| BundleView::of(gateway, row.value)).collect()
}

/// What still waits or is on its way.
pub fn queue(gateway: &Gateway) -> Result<Vec<BundleView>, Problem> {
    Ok(list(gateway)?.into_iter().filter(|view| !view.state.is_final()).collect())
}

/// Waits until nothing more will happen to the bundle by itself, or the time is over.
pub async fn wait(gateway: &Gateway, bundle: &BundleId, seconds_max: u64) -> Result<BundleView, Problem> {
    let mut changes = gateway.changes();
    let over = tokio::time::sleep(std::time::Duration::from_secs(seconds_max));
    tokio::pin!(over);
    loop {
        changes.mark_unchanged();
        let view = show(gateway, bundle)?;
        if view.state.is_final() {
            return Ok(view);
        }
        tokio::select! {
            () = &mut over => return show(gateway, bundle),
            _ = changes.changed() => {}
        }
    }
}

/// Asks the decision early, to refuse early. A permit given here does not count: every attempt asks anew.
async fn ask_early(
    gateway: &Gateway,
    staff: Staff,
    draft: &Draft,
    documents: &[Document],
) -> Result<Result<Permit, Denied>, Problem> {
    let question = release::question_of_new(gateway, &new_bundle(draft, documents.len()), documents)?;
    let now = gateway.now();
    let denied = match crate::decision::decide(&gateway.gates(), &question, now) {
        Ok(permit) => return Ok(Ok(permit)),
        Err(denied) => denied,
    };
    // What may pass by itself, or when a second person says yes, is sealed and waits; everything else is refused here
    // and now.
    if queue::passes_by_itself(denied.reason) || denied.reason == Reason::ApprovalNeeded {
        return Ok(Err(denied));
    }
    let record = BundleRecord::refused_early(new_bundle(draft, documents.len()), denied.reason, now);
    let case = &draft.case;
    let event = refusal(draft, &denied);
    let mut puts = gateway.seal_parts(Space::Bundle, draft.bundle.as_str().as_bytes(), &case.subject, &documents)?;
    puts.extend(new_rows(&record));
    gateway.enter(event.by(staff.uid), Change { puts, ..Change::default() }).await?;
    Err(Problem::refused(denied.reason, denied.to_string()).about(&draft.bundle).with_items(items_of(&denied)))
}

/// The entry of a denial at intake.
fn refusal(draft: &Draft, denied: &Denied) -> Happened {
    let case = &draft.case;
    Happened::denied(&draft.bundle, &case.case, &draft.partner, &case.subject, denied, "intake")
}

/// The causes of a denial, as a person at the institution reads them.
pub(super) fn items_of(denied: &Denied) -> Vec<Item> {
    denied
        .causes
        .iter()
        .map(|cause| Item {
            path: cause.document.clone().unwrap_or_default(),
            code: cause.reason,
            text: cause.text.clone(),
        })
        .collect()
}

async fn refuse_documents(gateway: &Gateway, staff: Staff, draft: &Draft, reason: Reason, items: Vec<Item>) -> Problem {
    let texts: Vec<String> = items.iter().map(|item| format!("{}: {}", item.path, item.text)).collect();
    let case = &draft.case;
    let event = Happened::intake_refused(&draft.bundle, &case.case, &case.subject, reason, &texts);
    let record = BundleRecord::refused_early(new_bundle(draft, draft.claims.len()), reason, gateway.now());
    let change = Change { puts: new_rows(&record), ..Change::default() };
    match gateway.enter(event.by(staff.uid), change).await {
        Ok(()) => {
            let first = texts.first().cloned().unwrap_or_else(|| reason.meaning().to_owned());
            Problem::refused(reason, first).about(&draft.bundle).with_items(items)
        }
        Err(problem) => problem,
    }
}

fn new_bundle(draft: &Draft, documents: usize) -> NewBundle {
    NewBundle {
        bundle: draft.bundle.clone(),
        case: draft.case.clone(),
        partner: draft.partner.clone(),
        kind: draft.kind,
        answers: draft.answers.clone(),
        urgent: draft.urgent,
        sent_by: draft.by,
        emergency: draft.emergency.as_ref().map(|(emergency, _)| emergency.clone()),
        documents: u32::try_from(documents).unwrap_or(u32::MAX),
    }
}

fn new_rows(record: &BundleRecord) -> Vec<Put> {
    let index = format!("bundles/{}/{}", record.subject, record.bundle);
    vec![
        put(Space::Bundle, record.bundle.as_str().as_bytes(), record, Expect::Absent),
        Put { space: Space::Index, key: index.into_bytes(), expect: Expect::Absent, value: Vec::new() },
    ]
}

pub(super) fn found(gateway: &Gateway, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    gateway
        .row(Space::Bundle, bundle.as_str().as_bytes())?
        .ok_or_else(|| Problem::not_found(format!("there is no bundle {bundle}")).hint("`medseal status` lists them"))
}
