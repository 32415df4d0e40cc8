//! What others have signed of our log, kept beside the newest checkpoint.
//!
//! Rule: whether it is enough is judged by the policy, each time anew.

use std::fs;
use std::time::Duration;

use crate::audit::note::Checkpoint;
use crate::durable;
use crate::gateway::Gateway;
use crate::problem::Problem;

/// Has this checkpoint or a later one signed now, by as many as are enough, and gives it with their signatures; without
/// them if they cannot be had within the wait.
pub async fn countersigned_now(gateway: &Gateway, note: &str) -> Result<String, Problem> {
    let (policy, _) = gateway.trust()?;
    let size = |note: &str| Checkpoint::claimed(note.as_bytes()).map_or(0, |claimed| claimed.size);
    let is_enough = |found: &String| {
        size(found) >= size(note) && policy.judge(found.as_bytes()).is_ok_and(|standing| standing.enough)
    };
    let patience = Duration::from_secs(u64::from(gateway.config.witness.wait_s_max));
    let waiting = async {
        loop {
            let signed = gateway.witnessing.signed.notified();
            tokio::pin!(signed);
            // Whoever signs between the look and the wait is not missed.
            signed.as_mut().enable();
            if let Some(found) = countersigned(gateway).filter(is_enough) {
                return found;
            }
            gateway.witnessing.wanted.notify_one();
            signed.await;
        }
    };
    if !policy.wants_witnesses() {
        return Ok(note.to_owned());
    }
    let found = tokio::time::timeout(patience, waiting).await.ok();
    // Too few signatures are still signatures.
    let some = || {
        countersigned(gateway)
            .filter(|found| Checkpoint::claimed(found.as_bytes()) == Checkpoint::claimed(note.as_bytes()))
    };
    Ok(found.or_else(some).unwrap_or_else(|| note.to_owned()))
}

/// The newest note that enough have signed under, or else the one with any signature: what partners signed, or what a
/// person brought. `None` before the first.
pub fn countersigned(gateway: &Gateway) -> Option<String> {
    let read = |name| fs::read_to_string(gateway.home.head().join(name)).ok();
    let signed = gateway.witnessing.ours().note.or_else(|| read(COUNTERSIGNED));
    let (Some(signed), Some(brought)) = (&signed, read(BROUGHT)) else { return signed.or_else(|| read(BROUGHT)) };
    let claimed = |note: &str| Checkpoint::claimed(note.as_bytes()).ok();
    if claimed(signed) == claimed(&brought)
        && let Some((_, lines)) = brought.rsplit_once("\n\n")
    {
        return Checkpoint::merge(signed, lines).ok();
    }
    let (policy, _) = gateway.trust().ok()?;
    let rank = |note: &String| policy.judge(note.as_bytes()).ok().map(|standing| (standing.enough, standing.entries));
    [signed.clone(), brought].into_iter().max_by_key(rank)
}

/// Keeps a note that a person brought, in place of the one before it.
pub fn keep_brought(gateway: &Gateway, note: &str) -> Result<(), Problem> {
    let path = gateway.home.head().join(BROUGHT);
    durable::replace(&path, note.as_bytes(), 0o644).map_err(|error| Problem::internal("the note", &error))
}

/// How many entries of our log enough have signed under.
pub fn covered(gateway: &Gateway) -> Result<u64, Problem> {
    let (policy, _) = gateway.trust()?;
    if !policy.wants_witnesses() {
        return Ok(gateway.log.size());
    }
    let standing = countersigned(gateway).and_then(|note| policy.judge(note.as_bytes()).ok());
    Ok(standing.filter(|standing| standing.enough).map_or(0, |standing| standing.entries))
}

/// The newest countersigned checkpoint, beside the newest checkpoint.
pub(super) const COUNTERSIGNED: &str = "countersigned";

/// The newest note that a person brought.
const BROUGHT: &str = "brought";
