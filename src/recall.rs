//! A recall on its way out: ordered with what makes it necessary, recorded before it leaves, tried until the partner's
//! signed answer is recorded.
//!
//! Rule: the same order gives the same recall, byte for byte, so that a partner who is asked twice answers once.

use std::sync::Arc;

use crate::audit::happened::Happened;
use crate::audit::log::{Change, Recorded};
use crate::clock::{self, Timestamp};
use crate::config::RECALL_AGE_S_MAX;
use crate::deliver::Line;
use crate::gateway::{Gateway, Row, put};
use crate::id::BundleId;
use crate::problem::Problem;
use crate::queue;
use crate::reason::Reason;
use crate::records::{BundleRecord, RecallOrder, State};
use crate::statement::Signed;
use crate::statement::recall::{Cause, Recall, RecallText, Recalled};
use crate::statement::receipt::About;
use crate::store::{Expect, Job, LeaseToken, Settle, Space};

/// Adds to a change that a delivered bundle is recalled: its record, and the job that brings the recall to the partner.
/// `false`, and nothing added: it is not delivered, or its recall is on its way already.
pub fn order(change: &mut Change, record: BundleRecord, expect: Expect, cause: Cause, now: Timestamp) -> bool {
    let may = record.state() == State::Delivered && !record.recall_is_on_its_way();
    let Some(dispatch) = record.delivering_attempt().and_then(|attempt| attempt.dispatch).filter(|_| may) else {
        return false;
    };
    let record = record.recall_ordered(cause, dispatch, now);
    let (kind, key) = queue::recall_job_of(&record);
    change.puts.push(put(Space::Bundle, record.bundle.as_str().as_bytes(), &record, expect));
    change.enqueue.push(Job { kind, key, due: now, priority: 9 });
    true
}

/// The signed recall of a bundle; `None` while none is ordered.
pub fn signed_recall(gateway: &Gateway, record: &BundleRecord) -> Option<Signed> {
    let text = text_of(gateway, record, record.recall.as_ref()?)?;
    Some(text.sign(gateway.keys.signer()))
}

/// The partner's answer, as it came and was verified; `None` while there is none.
pub fn answer_of(gateway: &Gateway, bundle: &BundleId) -> Result<Option<Signed>, Problem> {
    Ok(gateway.row::<Signed>(Space::Index, &answer_key(bundle))?.map(|row| row.value))
}

/// Brings a recall to the partner once, and settles its job with whatever came of it.
pub async fn attempt(gateway: &Arc<Gateway>, bundle: &BundleId, job: LeaseToken) -> Result<(), Problem> {
    let row = gateway
        .row::<BundleRecord>(Space::Bundle, bundle.as_str().as_bytes())?
        .ok_or_else(|| Problem::not_found(format!("there is no bundle {bundle}")))?;
    let order = row.value.recall.clone().filter(|order| order.answer.is_none());
    let Some((order, text)) = order.and_then(|order| Some((order.clone(), text_of(gateway, &row.value, &order)?)))
    else {
        // Whoever answered it settled its job with it; should one be left, it goes with an entry of its own.
        let change = Change { settle: vec![Settle::Done(job)], ..Change::default() };
        return gateway.enter(Happened::recall_unanswered(&row.value, Reason::Conflict, true), change).await;
    };
    let Ok(partner) = gateway.partner(&row.value.partner) else {
        return wait(gateway, row, job, Reason::PartnerUnknown).await;
    };
    let dialled = Line::connect(&gateway.tls, partner.id(), &partner.card().endpoint, gateway.line_limits()).await;
    let mut line = match dialled {
        Ok(line) => line,
        Err(error) => return wait(gateway, row, job, error.reason()).await,
    };

    // Recorded, and only then does it leave.
    let about = || About { case: row.value.case.clone(), subject: row.value.subject.clone() };
    let recall = Recall::new(text.clone(), gateway.keys.signer(), about(), order.tries.saturating_add(1));
    let digest = recall.signed().digest();
    let recall: Recorded<Recall> = gateway.record(recall, Change::default()).await?;
    tracing::debug!(%bundle, "recall recorded");
    let answer = match line.recall(recall).await {
        Ok(answer) => Signed { text: answer.recalled, signature: answer.signature },
        Err(error) => {
            tracing::info!(%bundle, partner = %row.value.partner, %error, "the recall is not answered yet");
            return wait(gateway, row, job, error.reason()).await;
        }
    };
    tracing::debug!(%bundle, "recall answered");
    match Recalled::verify(answer, &text, &digest, &partner.signing_keys_at(gateway.now()), about()) {
        Ok(answer) => settle(gateway, row, answer, job).await,
        Err(error) => {
            tracing::warn!(%bundle, %error, "the partner's answer to a recall was not accepted");
            wait(gateway, row, job, error.reason()).await
        }
    }
}

/// Records the verified answer: the only way to recalled.
async fn settle(gateway: &Gateway, row: Row<BundleRecord>, answer: Recalled, job: LeaseToken) -> Result<(), Problem> {
    let record = row.value.clone().recalled(&answer);
    let keep = put(Space::Index, &answer_key(&record.bundle), answer.signed(), Expect::Any);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged()), keep],
        settle: vec![Settle::Done(job)],
        ..Change::default()
    };
    let answer: Recorded<Recalled> = gateway.record(answer, change).await?;
    let destroyed = answer.event().text().destroyed.is_some();
    tracing::info!(bundle = %record.bundle, partner = %record.partner, destroyed, "recalled");
    Ok(())
}

/// No answer that counts: due again later, or given up.
async fn wait(gateway: &Gateway, row: Row<BundleRecord>, job: LeaseToken, reason: Reason) -> Result<(), Problem> {
    let now = gateway.now();
    let order = row.value.recall.as_ref();
    let tries = order.map_or(0, |order| order.tries).saturating_add(1);
    let issued = order.and_then(|order| clock::read_stamp(&order.issued)).unwrap_or(now);
    let gave_up = now.duration_since(issued).as_secs() >= RECALL_AGE_S_MAX;
    let due = queue::next_try(gateway, tries, now);
    let record = row.value.clone().recall_unanswered(reason, (!gave_up).then_some(due));
    let event = Happened::recall_unanswered(&record, reason, gave_up);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![if gave_up { Settle::Done(job) } else { Settle::Again { token: job, due } }],
        ..Change::default()
    };
    gateway.enter(event, change).await
}

/// What the recall says; the same every time it is asked for.
fn text_of(gateway: &Gateway, record: &BundleRecord, order: &RecallOrder) -> Option<RecallText> {
    Some(RecallText {
        format: RecallText::FORMAT.to_owned(),
        bundle: record.bundle.clone(),
        case: record.case.clone(),
        from: gateway.id().clone(),
        to: record.partner.clone(),
        dispatch: order.dispatch,
        sealed_sha256: record.sealed.as_ref()?.sealed_sha256,
        reason: order.cause,
        issued: order.issued.clone(),
    })
}

fn answer_key(bundle: &BundleId) -> Vec<u8> {
    format!("recalled/{bundle}").into_bytes()
}
