//! The inbox: what came in, to be fetched sealed and opened with the reader's key, wherever that key lives.
//!
//! Rule: the gateway hands out sealed bytes only; opening happens in the reader's own process.

use std::fs::File;

use serde::{Deserialize, Serialize};

use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::gateway::{Gateway, Row, put};
use crate::id::{BundleId, CaseId, Digest, InstitutionId, Purpose};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{AcceptedDispatch, CaseRecord, InboxRecord, OpinionRead, Outcome, Side, TakenRecall};
use crate::statement::Kind;
use crate::store::Space;
use crate::vault::BlobName;

/// A bundle that came in, in the list.
#[derive(Debug, Serialize)]
pub struct InboxView {
    /// The bundle.
    pub bundle: BundleId,
    /// Its case.
    pub case: CaseId,
    /// Who sent it.
    pub from: InstitutionId,
    /// When it was received.
    pub received: String,
    /// What it carries.
    pub kind: Kind,
    /// Why it was sent, a code of v3-ActReason: `BTG` says that no consent could be asked for.
    pub purpose: Purpose,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: u64,
    /// When it was first opened here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<String>,
    /// When everything in it must be erased, as the sender's dispatch says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase_at: Option<String>,
    /// When its sealed file was destroyed because its time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
    /// `received`, `recalled` by its sender, or `expired`.
    pub state: &'static str,
    /// Its recall: why, when, and when the sealed file was destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<TakenRecall>,
}

/// A bundle that came in, with what is needed to open and check it.
#[derive(Debug, Serialize)]
pub struct InboxItem {
    /// What the list shows.
    #[serde(flatten)]
    pub view: InboxView,
    /// The dispatch that it came with: the exact bytes.
    pub dispatch: String,
    /// The signature over the dispatch.
    pub signature: String,
    /// The sealed notices that came with it, in base64; the reader's key opens them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notices: Option<String>,
    /// The sender's card file, as it is registered here.
    pub card: String,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
}

/// Everything that came in, newest first.
pub fn list(gateway: &Gateway) -> Result<Vec<InboxView>, Problem> {
    let mut rows = gateway.rows::<InboxRecord>(Space::Inbox, b"")?;
    rows.sort_by(|a, b| b.value.received.cmp(&a.value.received));
    Ok(rows.into_iter().map(|row| view(row.value)).collect())
}

/// One bundle that came in.
pub fn show(gateway: &Gateway, bundle: &BundleId) -> Result<InboxItem, Problem> {
    let record = found(gateway, bundle)?.value;
    let accepted = gateway
        .row::<AcceptedDispatch>(Space::Transfer, &AcceptedDispatch::key(&record.from, &record.dispatch))?
        .ok_or_else(|| Problem::conflict("the dispatch of this bundle is not on file"))?
        .value;
    Ok(InboxItem {
        card: gateway.partner(&record.from).map(|partner| partner.signed_card().file_text()).unwrap_or_default(),
        dispatch: accepted.signed.text,
        signature: accepted.signed.signature,
        notices: accepted.notices,
        sealed_sha256: record.sealed_sha256,
        view: view(record),
    })
}

/// The sealed file of a bundle that came in, and its size in bytes.
pub fn content(gateway: &Gateway, bundle: &BundleId) -> Result<(File, u64), Problem> {
    let record = found(gateway, bundle)?.value;
    if let Some(taken) = &record.recall {
        let why = taken.cause.reason().meaning();
        let detail = format!("{} has recalled {bundle}: {why}; it is not opened any more", record.from);
        return Err(Problem::refused(Reason::Recalled, detail).about(bundle));
    }
    if record.expired.is_some() {
        let detail = format!("the sealed file of {bundle} was destroyed because its time was over");
        return Err(Problem::refused(Reason::RetentionOver, detail).about(bundle));
    }
    let subject = gateway.subject_of(&record)?;
    let erased = subject.map(|subject| gateway.person(&subject).map(|person| person.is_none())).transpose()?;
    if erased == Some(true) {
        let detail = format!("{bundle} was erased together with everything else of its patient");
        return Err(Problem::refused(Reason::Erased, detail).about(bundle));
    }
    let name = BlobName::theirs(&record.from, &record.bundle, &record.sealed_sha256);
    let file = gateway.vault.read(&name).map_err(|error| Problem::internal("the vault", &error))?;
    Ok((file, record.sealed_bytes))
}

/// What a reader tells after opening.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// How many documents there were.
    pub documents: u32,
    /// SHA-256 of the bag's `tagmanifest-sha256.txt`, as it was verified.
    pub manifest_sha256: Digest,
    /// What the opinion said, if it is one.
    #[serde(default)]
    pub opinion: Option<OpinionOpened>,
    /// Why an opinion whose documents do not name our patient belongs to the case all the same.
    #[serde(default)]
    pub confirm_patient: Option<String>,
}

/// What an opened opinion said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpinionOpened {
    /// What the expert concludes.
    pub outcome: Outcome,
    /// Who wrote it.
    #[serde(default)]
    pub author: Option<String>,
}

/// Records that a reader opened a bundle; an opinion's outcome goes to its case. An opening that ended while the bundle
/// was recalled is recorded like any other: it happened.
pub async fn opened(gateway: &Gateway, staff: Staff, bundle: &BundleId, what: Opened) -> Result<InboxView, Problem> {
    let confirmed =
        what.confirm_patient.as_deref().map(|why| free_text("reason", why, &gateway.config.limits)).transpose()?;
    let row = found(gateway, bundle)?;
    let expect = row.unchanged();
    let mut record = row.value;
    let now = clock::stamp(gateway.now());
    record.opened.get_or_insert_with(|| now.clone());
    let side = if record.kind == Kind::Opinion { Side::Ours } else { Side::Theirs(record.from.clone()) };
    let case = gateway
        .row::<CaseRecord>(Space::Case, &CaseRecord::key(&side, &record.case))?
        .ok_or_else(|| Problem::conflict("the case of this bundle is not on file"))?;
    let mut change = Change { puts: vec![put(Space::Inbox, &row.key, &record, expect)], ..Change::default() };
    let outcome = what.opinion.as_ref().map(|opinion| opinion.outcome);
    if let Some(opinion) = what.opinion.filter(|_| record.kind == Kind::Opinion) {
        let mut details = gateway.case_private(&case.value)?;
        details.opinions.retain(|read| read.bundle != *bundle);
        details.opinions.push(OpinionRead {
            bundle: bundle.clone(),
            outcome: opinion.outcome,
            author: opinion.author,
            opened: now,
            patient_confirmed: confirmed.clone(),
        });
        change.puts.extend(gateway.seal_parts(Space::Case, &case.key, &case.value.subject, &details)?);
        // The record itself is written again, so that two readers at one moment do not lose one another's opinion.
        change.puts.push(put(Space::Case, &case.key, &case.value, case.unchanged()));
    }
    let event = Happened::opened(
        bundle,
        &record.from,
        &case.value.subject,
        what.manifest_sha256,
        what.documents,
        outcome,
        confirmed.as_deref(),
    );
    gateway.enter(event.by(staff.uid), change).await?;
    Ok(view(record))
}

fn found(gateway: &Gateway, bundle: &BundleId) -> Result<Row<InboxRecord>, Problem> {
    let mut rows: Vec<Row<InboxRecord>> =
        gateway.rows::<InboxRecord>(Space::Inbox, b"")?.into_iter().filter(|row| row.value.bundle == *bundle).collect();
    match (rows.pop(), rows.is_empty()) {
        (Some(row), true) => Ok(row),
        (Some(_), false) => Err(Problem::conflict(format!("more than one partner sent a bundle {bundle}"))),
        (None, _) => Err(Problem::not_found(format!("no bundle {bundle} came in")).hint("`medseal inbox` lists them")),
    }
}

fn view(record: InboxRecord) -> InboxView {
    InboxView {
        bundle: record.bundle,
        case: record.case,
        from: record.from,
        received: record.received,
        kind: record.kind,
        purpose: record.purpose,
        sealed_bytes: record.sealed_bytes,
        opened: record.opened,
        erase_at: record.erase_at,
        state: match (&record.recall, &record.expired) {
            (Some(_), _) => "recalled",
            (None, Some(_)) => "expired",
            (None, None) => "received",
        },
        expired: record.expired,
        recall: record.recall,
    }
}
