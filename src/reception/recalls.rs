//! Recalls that partners bring: verified, recorded, carried out, recorded again, and only then answered.
//!
//! Rule: a recall counts only for a dispatch that was accepted from the very partner who recalls it. From the moment it
//! is recorded nobody gets the sealed file any more; the same recall gets the same answer, byte for byte.

use std::sync::Arc;

use super::NotTaken;
use crate::audit::happened::Happened;
use crate::audit::log::{Change, Place};
use crate::clock;
use crate::gateway::{Gateway, Row, put};
use crate::id::{BundleId, Digest, InstitutionId, SubjectId};
use crate::problem::Problem;
use crate::records::{AcceptedDispatch, InboxRecord, TakenRecall};
use crate::statement::dispatch::Dispatch;
use crate::statement::recall::{Kept, RecallText, RecalledText};
use crate::statement::{Kind, STATEMENT_BYTES_MAX, Signed};
use crate::store::Space;
use crate::vault::BlobName;

/// Carries out every recall that was recorded and not carried out, as a crash leaves it, and says how many. To be
/// called before anything is served.
pub async fn finish(gateway: &Arc<Gateway>) -> Result<usize, Problem> {
    let mut finished = 0;
    for row in gateway.rows::<InboxRecord>(Space::Inbox, b"")? {
        let waits = row.value.recall.as_ref().is_some_and(|taken| taken.destroyed.is_none());
        if waits && held(gateway, &row.value)?.is_none() {
            destroy(gateway, row).await?;
            finished += 1;
        }
    }
    Ok(finished)
}

/// Whether this bundle of this partner was recalled.
pub(super) fn is_recalled(gateway: &Gateway, from: &InstitutionId, bundle: &BundleId) -> Result<bool, Problem> {
    let row = gateway.row::<InboxRecord>(Space::Inbox, &InboxRecord::key(from, bundle))?;
    Ok(row.is_some_and(|row| row.value.recall.is_some()))
}

/// Takes a recall and answers it.
pub(super) async fn take(gateway: &Arc<Gateway>, from: &InstitutionId, signed: Signed) -> Result<Signed, NotTaken> {
    let recall = match check(gateway, from, &signed) {
        Ok(recall) => recall,
        Err(error) => {
            let refused = Happened::recall_refused(from, signed.digest(), error.word());
            gateway.enter(refused, Change::default()).await?;
            return Err(error);
        }
    };
    tracing::debug!(bundle = %recall.bundle, "recall verified");
    let key = InboxRecord::key(from, &recall.bundle);
    for _ in 0..super::RACES_MAX {
        let row = gateway
            .row::<InboxRecord>(Space::Inbox, &key)?
            .ok_or_else(|| Problem::conflict("the record of a dispatch is not whole"))?;
        let done = match &row.value.recall {
            None => intend(gateway, row, &recall, signed.digest()).await,
            Some(taken) if taken.destroyed.is_some() || held(gateway, &row.value)?.is_some() => {
                let answer = answer(gateway, &row.value, taken, signed.digest())?;
                tracing::debug!(bundle = %recall.bundle, "recall answer signed");
                return Ok(answer);
            }
            Some(_) => destroy(gateway, row).await,
        };
        match done {
            // The same recall on another line, or a reader who tells that it was opened: look again.
            Err(problem) if problem.status == 409 => {}
            other => other?,
        }
    }
    Err(Problem::conflict("the same recall came on too many lines at once").into())
}

/// Verifies that the partner recalls what it sent and we accepted.
fn check(gateway: &Gateway, from: &InstitutionId, signed: &Signed) -> Result<RecallText, NotTaken> {
    let keys = gateway.partner(from)?.signing_keys_at(gateway.now());
    let recall = RecallText::verify(signed, from, gateway.id(), &keys)?;
    let accepted = gateway
        .row::<AcceptedDispatch>(Space::Transfer, &AcceptedDispatch::key(from, &recall.dispatch))?
        .ok_or(NotTaken::RecallsNothing)?
        .value;
    let inbox = gateway
        .row::<InboxRecord>(Space::Inbox, &InboxRecord::key(from, &recall.bundle))?
        .ok_or(NotTaken::RecallsNothing)?
        .value;
    // What was accepted is our own record, verified when it came; the sender's key may be another one today.
    let dispatch: Dispatch = crate::json::from_line(accepted.signed.text.as_bytes(), STATEMENT_BYTES_MAX)
        .map_err(|error| Problem::internal("an accepted dispatch", &error))?;
    let same = accepted.bundle == recall.bundle
        && dispatch.case == recall.case
        && dispatch.sealed_sha256 == recall.sealed_sha256
        && inbox.sealed_sha256 == recall.sealed_sha256;
    if !same {
        return Err(NotTaken::RecallsNothing);
    }
    // An opinion may hold a finding that a patient's life hangs on: it is corrected by another one, never called back.
    if inbox.kind == Kind::Opinion {
        return Err(NotTaken::OpinionStays);
    }
    Ok(recall)
}

/// Records what is going to be done: from here on nobody gets the sealed file.
async fn intend(gateway: &Gateway, row: Row<InboxRecord>, recall: &RecallText, digest: Digest) -> Result<(), Problem> {
    let subject = subject_of(gateway, &row.value)?;
    let event = Happened::recall_taken(&row.value, digest, &subject, recall.reason);
    let taken = TakenRecall {
        cause: recall.reason,
        received: clock::stamp(gateway.now()),
        opened: row.value.opened.clone(),
        destroyed: None,
    };
    let record = InboxRecord { recall: Some(taken), ..row.value.clone() };
    let change = Change {
        puts: vec![put(Space::Inbox, &row.key, &record, row.unchanged())],
        stamps: vec![(Space::Stamp, intent_key(&record))],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    tracing::info!(bundle = %record.bundle, partner = %record.from, "recall taken");
    Ok(())
}

/// Destroys the sealed file of a recall that is recorded, and records that it is gone. Repeated after a crash, it does
/// what is left of it.
async fn destroy(gateway: &Arc<Gateway>, row: Row<InboxRecord>) -> Result<(), Problem> {
    let name = BlobName::theirs(&row.value.from, &row.value.bundle, &row.value.sealed_sha256);
    let vault = Arc::clone(&gateway.vault);
    tokio::task::spawn_blocking(move || vault.remove(&name))
        .await
        .map_err(|error| Problem::internal("the vault", &error))?
        .map_err(|error| Problem::internal("the vault", &error))?;
    tracing::debug!(bundle = %row.value.bundle, "sealed file removed");
    let subject = subject_of(gateway, &row.value)?;
    let mut record = row.value.clone();
    let opened = record.opened.clone();
    if let Some(taken) = &mut record.recall {
        taken.opened = opened;
        taken.destroyed = Some(clock::stamp(gateway.now()));
    }
    let change = Change {
        puts: vec![put(Space::Inbox, &row.key, &record, row.unchanged())],
        stamps: vec![(Space::Stamp, destroyed_key(&record))],
        ..Change::default()
    };
    gateway.enter(Happened::destroyed(&record, &subject), change).await?;
    tracing::info!(bundle = %record.bundle, partner = %record.from, "destroyed");
    Ok(())
}

/// The signed answer; made again from the record, it has the same bytes.
fn answer(gateway: &Gateway, record: &InboxRecord, taken: &TakenRecall, recall: Digest) -> Result<Signed, Problem> {
    let key = if taken.destroyed.is_some() { destroyed_key(record) } else { intent_key(record) };
    let place = gateway
        .row::<Place>(Space::Stamp, &key)?
        .ok_or_else(|| Problem::conflict("the record of a recall is not whole"))?;
    let text = RecalledText {
        format: RecalledText::FORMAT.to_owned(),
        recall,
        bundle: record.bundle.clone(),
        from: gateway.id().clone(),
        to: record.from.clone(),
        sealed_sha256: record.sealed_sha256,
        received: taken.received.clone(),
        destroyed: taken.destroyed.clone(),
        kept: if taken.destroyed.is_some() { None } else { held(gateway, record)? },
        opened: taken.opened.clone(),
        head: gateway.log_head(&place.value),
    };
    Ok(text.sign(gateway.keys.signer()))
}

/// Why a recalled bundle must be kept all the same: a legal hold. The file stays in the vault, out of every reader's
/// reach, until the hold is lifted.
fn held(gateway: &Gateway, record: &InboxRecord) -> Result<Option<Kept>, Problem> {
    let hold = gateway.hold_of(&subject_of(gateway, record)?)?;
    Ok(hold.filter(|hold| hold.value.forbids(gateway.now())).map(|_| Kept::LegalHold))
}

fn subject_of(gateway: &Gateway, record: &InboxRecord) -> Result<SubjectId, Problem> {
    gateway.subject_of(record)?.ok_or_else(|| Problem::internal("a recall", &Caseless))
}

/// A bundle that came in has no case: the store is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the case of this bundle is not on file")]
struct Caseless;

fn intent_key(record: &InboxRecord) -> Vec<u8> {
    format!("recall-taken/{}/{}", record.from, record.bundle).into_bytes()
}

fn destroyed_key(record: &InboxRecord) -> Vec<u8> {
    format!("destroyed/{}/{}", record.from, record.bundle).into_bytes()
}
