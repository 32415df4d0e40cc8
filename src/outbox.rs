//! What waits to leave: workers of its own for each partner, so that a slow one holds up nobody else; recalls wait for
//! no delivery.
//!
//! Rule: a job is settled only together with the entry that says why; a crash leaves it due, and the next attempt asks
//! the partner first what became of the last one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::gateway::Gateway;
use crate::id::{BundleId, InstitutionId};
use crate::partner::Standing;
use crate::queue::{self, kind_of, recall_kind_of};
use crate::store::{Job, LeaseToken};
use crate::{recall, release};

/// Runs the outbox until `stop` turns true; attempts under way are finished first.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut workers: BTreeMap<(InstitutionId, Work), JoinHandle<()>> = BTreeMap::new();
    let mut changes = gateway.changes();
    while !*stop.borrow() {
        for partner in gateway.partners().unwrap_or_default() {
            for work in [Work::Deliver, Work::Recall] {
                let whose = (partner.id().clone(), work);
                if workers.get(&whose).is_none_or(JoinHandle::is_finished) {
                    let worker = serve_partner(Arc::clone(&gateway), whose.0.clone(), work, stop.clone());
                    workers.insert(whose, tokio::spawn(worker));
                }
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

/// What a worker brings to its partner.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Work {
    Deliver,
    Recall,
}

async fn serve_partner(gateway: Arc<Gateway>, partner: InstitutionId, work: Work, mut stop: watch::Receiver<bool>) {
    let (kind, at_once) = match work {
        Work::Deliver => (kind_of(&partner), gateway.config.exchange.concurrent_per_partner),
        Work::Recall => (recall_kind_of(&partner), 1),
    };
    let lines = Arc::new(Semaphore::new(at_once as usize));
    let mut changes = gateway.changes();
    while !*stop.borrow() {
        let Ok(line) = Arc::clone(&lines).acquire_owned().await else { return };
        changes.mark_unchanged();
        if is_suspended(&gateway, &partner) {
            // Nothing is decided over and over: what waits is due the moment that the partner is resumed.
            drop(line);
            tokio::select! {
                _ = stop.changed() => {}
                _ = changes.changed() => {}
            }
            continue;
        }
        match gateway.store().claim(&kind, OWNER, LEASE_S, gateway.now()) {
            Ok(Some(lease)) => {
                let gateway = Arc::clone(&gateway);
                tokio::spawn(async move {
                    let _line = line;
                    attempt(&gateway, work, lease.job, lease.token).await;
                });
            }
            Ok(None) if queue::bring_forward(&gateway, &kind, gateway.now()).unwrap_or(false) => {}
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
    drop(lines.acquire_many(at_once).await);
}

fn is_suspended(gateway: &Gateway, partner: &InstitutionId) -> bool {
    gateway.partner(partner).is_ok_and(|partner| partner.standing == Standing::Suspended)
}

async fn attempt(gateway: &Arc<Gateway>, work: Work, job: Job, token: LeaseToken) {
    let Some(bundle) = std::str::from_utf8(&job.key).ok().and_then(|text| text.parse::<BundleId>().ok()) else {
        tracing::error!("a job names no bundle");
        return;
    };
    let kept = token.clone();
    let settled = match work {
        Work::Deliver => Box::pin(release::attempt(gateway, &bundle, token)).await.map(drop),
        Work::Recall => Box::pin(recall::attempt(gateway, &bundle, token)).await,
    };
    if let Err(problem) = settled {
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
    let wait =
        due.map_or(IDLE_MAX, |due| Duration::try_from(due.duration_since(gateway.now())).unwrap_or(Duration::ZERO));
    wait.clamp(Duration::from_millis(10), IDLE_MAX)
}

const OWNER: &str = "outbox";

/// How long an attempt may hold its job: longer than any transfer that the limits allow.
const LEASE_S: u32 = 24 * 3600;

/// How long a worker sleeps at most; changes wake it earlier.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// The pause after an attempt that could not be settled, so that it does not spin.
const UNSETTLED_PAUSE: Duration = Duration::from_millis(200);
