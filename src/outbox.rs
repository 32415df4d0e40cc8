//! What waits to leave: one worker for each partner, so that a slow one holds up nobody else.
//!
//! Rule: a job is settled only together with the entry that says why; a crash leaves it due, and the next attempt asks
//! the partner first what became of the last one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::id::{BundleId, InstitutionId, random_bytes};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::BundleRecord;
use crate::release;
use crate::store::{Job, LeaseToken, Settle};

/// The job of a bundle: its kind names the partner, its key the bundle.
pub fn job_of(record: &BundleRecord) -> (String, Vec<u8>) {
    (kind_of(&record.partner), record.bundle.as_str().as_bytes().to_vec())
}

/// The job that makes a bundle's first attempt due now.
pub fn first_job(record: &BundleRecord, now: Timestamp) -> Job {
    let (kind, key) = job_of(record);
    Job { kind, key, due: now, priority: if record.urgent { 9 } else { 5 } }
}

/// Whether a denial for this reason may pass without anyone touching the bundle.
pub const fn passes_by_itself(reason: Reason) -> bool {
    matches!(reason, Reason::PartnerSuspended | Reason::ConsentNotYet)
}

/// When a bundle that was denied for now is decided again.
pub fn later(gateway: &Gateway, now: Timestamp) -> Timestamp {
    now + jiff::SignedDuration::from_secs(i64::from(gateway.config.retry.delay_s_max))
}

/// When the next attempt is due after `attempts` of them.
pub fn next_try(gateway: &Gateway, attempts: u32, now: Timestamp) -> Timestamp {
    let retry = &gateway.config.retry;
    let [jitter] = random_bytes::<1>();
    now + jiff::SignedDuration::from_millis(delay_ms(attempts, retry.delay_s_first, retry.delay_s_max, jitter))
}

/// Whether the limits on attempts or age are reached.
pub fn is_over(gateway: &Gateway, record: &BundleRecord, now: Timestamp) -> bool {
    let retry = &gateway.config.retry;
    let created = crate::clock::read_stamp(&record.created).unwrap_or(now);
    record.attempts.len() >= retry.attempts_max as usize
        || now.duration_since(created).as_secs() >= i64::from(retry.age_s_max)
}

/// Runs the outbox until `stop` turns true; attempts under way are finished first.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut workers: BTreeMap<InstitutionId, JoinHandle<()>> = BTreeMap::new();
    let mut changes = gateway.changes();
    while !*stop.borrow() {
        for partner in gateway.partners().unwrap_or_default() {
            let id = partner.id().clone();
            if workers.get(&id).is_none_or(JoinHandle::is_finished) {
                workers.insert(id.clone(), tokio::spawn(serve_partner(Arc::clone(&gateway), id, stop.clone())));
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            _ = changes.changed() => {}
        }
    }
    for (_, worker) in workers {
        if let Err(error) = worker.await {
            tracing::error!(%error, "an outbox worker failed");
        }
    }
}

async fn serve_partner(gateway: Arc<Gateway>, partner: InstitutionId, mut stop: watch::Receiver<bool>) {
    let kind = kind_of(&partner);
    let lines = Arc::new(Semaphore::new(gateway.config.exchange.concurrent_per_partner as usize));
    let mut changes = gateway.changes();
    while !*stop.borrow() {
        let Ok(line) = Arc::clone(&lines).acquire_owned().await else { return };
        changes.mark_unchanged();
        match gateway.store().claim(&kind, OWNER, LEASE_S, gateway.now()) {
            Ok(Some(lease)) => {
                let gateway = Arc::clone(&gateway);
                tokio::spawn(async move {
                    let _line = line;
                    attempt(&gateway, lease.job, lease.token).await;
                });
            }
            Ok(None) => {
                drop(line);
                let pause = until_next(&gateway, &kind);
                tokio::select! {
                    _ = stop.changed() => {}
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                return;
            }
        }
    }
    // Attempts under way keep their line; having all of them back means that none is left.
    let all = u32::try_from(gateway.config.exchange.concurrent_per_partner).unwrap_or(u32::MAX);
    drop(lines.acquire_many(all).await);
}

async fn attempt(gateway: &Arc<Gateway>, job: Job, token: LeaseToken) {
    let Some(bundle) = std::str::from_utf8(&job.key).ok().and_then(|text| text.parse::<BundleId>().ok()) else {
        tracing::error!("a job names no bundle");
        return;
    };
    let kept = token.clone();
    if let Err(problem) = release::attempt(gateway, &bundle, token).await {
        // Nothing was settled: the job stays due. Another writer was faster, or the gateway is ending.
        tracing::warn!(%bundle, %problem, "the attempt was not settled");
        tokio::time::sleep(UNSETTLED_PAUSE).await;
        if let Err(error) = gateway.store().release(&kept) {
            tracing::error!(%error, "a job cannot be given back");
        }
    }
}

fn until_next(gateway: &Gateway, kind: &str) -> Duration {
    let due = gateway.store().next_due(kind).ok().flatten();
    let wait = due.map_or(IDLE_MAX, |due| {
        Duration::try_from(due.duration_since(gateway.now())).unwrap_or(Duration::ZERO)
    });
    wait.clamp(Duration::from_millis(10), IDLE_MAX)
}

fn kind_of(partner: &InstitutionId) -> String {
    format!("deliver/{partner}")
}

/// The wait before attempt `attempts + 1`, in milliseconds: it doubles from `first_s`, at most `max_s`, times a jitter
/// of one half to one, so that bundles do not all come back at once after an outage.
fn delay_ms(attempts: u32, first_s: u32, max_s: u32, jitter: u8) -> i64 {
    let doubled = i64::from(first_s).saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let capped = doubled.min(i64::from(max_s)) * 1000;
    capped / 2 + capped / 2 * i64::from(jitter) / 255
}

const OWNER: &str = "outbox";

/// How long an attempt may hold its job: longer than any transfer that the limits allow.
const LEASE_S: u32 = 24 * 3600;

/// How long a worker sleeps at most; changes wake it earlier.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The pause after an attempt that could not be settled, so that it does not spin.
const UNSETTLED_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_is_never_below_half() {
        assert_eq!(delay_ms(1, 5, 900, 255), 5000);
        assert_eq!(delay_ms(1, 5, 900, 0), 2500);
        assert_eq!(delay_ms(3, 5, 900, 255), 20_000);
        assert_eq!(delay_ms(60, 5, 900, 255), 900_000);
        assert_eq!(delay_ms(0, 5, 900, 255), 5000);
    }
}
