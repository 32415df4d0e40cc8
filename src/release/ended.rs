//! The ways in which an attempt ends: each is one write of the bundle, its entry in the log, and its job.
//!
//! Rule: "delivered" wants a verified receipt, and a final no wants to know that no earlier attempt arrives any more.

use super::evidence::receipt_key;
use super::withdrawal::lost_its_consent;
use crate::audit::happened::Happened;
use crate::audit::log::{Change, Recorded};
use crate::decision::Denied;
use crate::gateway::{Gateway, Row, put};
use crate::problem::Problem;
use crate::queue;
use crate::reason::Reason;
use crate::recall;
use crate::records::{AttemptOutcome, BundleRecord};
use crate::statement::recall::Cause;
use crate::statement::receipt::Receipt;
use crate::store::{Expect, LeaseToken, Settle, Space};

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended {
    /// The partner has it, and its receipt is recorded.
    Delivered,
    /// It stays here: refused, cancelled or given up.
    Stopped(Reason),
    /// It is tried again.
    Waits(Reason),
}

/// Records the verified receipt: the only way to delivered. Where the consent was withdrawn after the header had left,
/// the recall is ordered in the same write.
pub(super) async fn settle(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    receipt: Receipt,
    attempt: usize,
    job: LeaseToken,
) -> Result<Ended, Problem> {
    let record = row.value.clone().delivered(&receipt, attempt);
    let keep = put(Space::Index, &receipt_key(&record.bundle), receipt.signed(), Expect::Any);
    let mut change = Change { puts: vec![keep], settle: vec![Settle::Done(job)], ..Change::default() };
    // A withdrawal writes this row too: whichever of the two comes second sees the other.
    let recalled = lost_its_consent(gateway, &record, None)?
        && recall::order(&mut change, record.clone(), row.unchanged(), Cause::ConsentWithdrawn, gateway.now());
    if !recalled {
        change.puts.push(put(Space::Bundle, &row.key, &record, row.unchanged()));
    }
    tracing::debug!(bundle = %record.bundle, recalled, "settling");
    let receipt: Recorded<Receipt> = gateway.record(receipt, change).await?;
    tracing::info!(bundle = %record.bundle, partner = %record.partner, entry = receipt.place().seq, "delivered");
    Ok(Ended::Delivered)
}

/// Whether a denial for this reason ends a bundle: nothing that is waited for would change it.
pub(super) const fn is_last_word(reason: Reason) -> bool {
    !matches!(reason, Reason::ApprovalNeeded) && !queue::passes_by_itself(reason)
}

/// The answer of the decision is no: the bundle stays, with the reason.
pub(super) async fn record_denial(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    job: LeaseToken,
    denied: &Denied,
) -> Result<Ended, Problem> {
    let now = gateway.now();
    let reason = denied.reason;
    let event =
        Happened::denied(&row.value.bundle, &row.value.case, &row.value.partner, &row.value.subject, denied, "release");
    if reason == Reason::ApprovalNeeded && queue::is_over(gateway, &row.value, now) {
        return give_up(gateway, row, job, Reason::GaveUp).await;
    }
    let (record, settle) = if reason == Reason::ApprovalNeeded {
        let due = queue::given_up_at(gateway, &row.value, now);
        (row.value.clone().awaits_approval(now, due), Settle::Again { token: job, due })
    } else if queue::passes_by_itself(reason) {
        let due = queue::later(gateway, reason, now);
        (row.value.clone().denied_for_now(reason, now, due), Settle::Again { token: job, due })
    } else {
        (row.value.clone().denied(reason, now), Settle::Done(job))
    };
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![settle],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    tracing::info!(bundle = %record.bundle, partner = %record.partner, reason = %reason, "denied");
    Ok(if record.state().is_final() { Ended::Stopped(reason) } else { Ended::Waits(reason) })
}

/// It can never leave as it is: given up, with the reason.
pub(super) async fn give_up(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    job: LeaseToken,
    reason: Reason,
) -> Result<Ended, Problem> {
    let record = row.value.clone().failed(reason);
    let in_doubt = record.open_attempts().next().is_some();
    let outcome = if in_doubt { AttemptOutcome::Unknown } else { AttemptOutcome::NotDelivered };
    let attempts = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
    let event = Happened::attempt_failed(&record, attempts, reason, outcome, true);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![Settle::Done(job)],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    tracing::warn!(bundle = %record.bundle, partner = %record.partner, reason = %reason, "given up");
    Ok(Ended::Stopped(reason))
}

/// It did not arrive, or nobody knows: recorded, and due again later, or given up at the limits.
pub(super) async fn retry(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    job: LeaseToken,
    reason: Reason,
    outcome: AttemptOutcome,
) -> Result<Ended, Problem> {
    let now = gateway.now();
    let attempts = u32::try_from(row.value.attempts.len()).unwrap_or(u32::MAX);
    if queue::is_over(gateway, &row.value, now) {
        return give_up(gateway, row, job, Reason::GaveUp).await;
    }
    let due = queue::next_try(gateway, attempts, now);
    let record = row.value.clone().waits(reason, outcome, due);
    let event = Happened::attempt_failed(&record, attempts, reason, outcome, false);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![Settle::Again { token: job, due }],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    Ok(Ended::Waits(reason))
}

/// Drops the job of a bundle that is at its end. Whoever ended it settled its job with it; should one be left, it goes
/// with an entry of its own.
pub(super) async fn drop_job(gateway: &Gateway, record: &BundleRecord, job: LeaseToken) -> Result<Ended, Problem> {
    let change = Change { settle: vec![Settle::Done(job)], ..Change::default() };
    gateway.enter(Happened::job_dropped(record), change).await?;
    Ok(match record.reason {
        Some(reason) => Ended::Stopped(reason),
        None => Ended::Delivered,
    })
}
