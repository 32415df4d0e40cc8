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
    Ok(found.unwrap_or_else(|| with_signatures(gateway, note)))
}

/// The newest note that enough have signed under, or else the one with any signature: what partners signed, or what a
/// person brought. `None` before the first.
pub fn countersigned(gateway: &Gateway) -> Option<String> {
    best(gateway, kept(gateway))
}

/// A note of ours with every signature under it that is kept.
pub fn with_signatures(gateway: &Gateway, note: &str) -> String {
    let claimed = |note: &str| Checkpoint::claimed(note.as_bytes()).ok();
    let same = kept(gateway).into_iter().filter(|found| claimed(found) == claimed(note));
    same.fold(note.to_owned(), |note, found| {
        let lines = found.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
        Checkpoint::merge(&note, lines).unwrap_or(note)
    })
}

fn kept(gateway: &Gateway) -> Vec<String> {
    let read = |name| fs::read_to_string(gateway.home.head().join(name)).ok();
    [gateway.witnessing.ours().note, read(COUNTERSIGNED), read(BROUGHT)].into_iter().flatten().collect()
}

/// Keeps the note of the newest round, unless an older one says more: not everybody signs at the same moment.
pub(super) fn keep_signed(gateway: &Gateway, note: &str) {
    let path = gateway.home.head().join(COUNTERSIGNED);
    let before = fs::read_to_string(&path).ok();
    let brought = fs::read_to_string(gateway.home.head().join(BROUGHT)).ok();
    let kept = best(gateway, [before.clone(), brought, Some(note.to_owned())].into_iter().flatten().collect());
    if let Some(kept) = kept.filter(|kept| Some(kept) != before.as_ref())
        && let Err(error) = durable::replace(&path, kept.as_bytes(), 0o644)
    {
        tracing::error!(%error, "the countersigned checkpoint could not be kept");
    }
}

/// The note that counts for most: enough signatures first, then the most entries. Notes of one checkpoint count together.
fn best(gateway: &Gateway, notes: Vec<String>) -> Option<String> {
    let claimed = |note: &str| Checkpoint::claimed(note.as_bytes()).ok();
    let mut distinct: Vec<String> = Vec::new();
    for note in notes {
        let same = distinct.iter_mut().find(|known| claimed(known) == claimed(&note));
        match (same, note.rsplit_once("\n\n")) {
            // Too many signatures under one note: those that are there already count.
            (Some(known), Some((_, lines))) => {
                *known = Checkpoint::merge(known, lines).unwrap_or_else(|_| known.clone());
            }
            _ => distinct.push(note),
        }
    }
    let (policy, _) = gateway.trust().ok()?;
    let rank = |note: &String| policy.judge(note.as_bytes()).ok().map(|standing| (standing.enough, standing.entries));
    distinct.into_iter().max_by_key(rank)
}

/// Keeps a note that a person brought, with what others signed under it, in place of the one before it. What counts for
/// most stays beside it.
pub fn keep_brought(gateway: &Gateway, note: &str) -> Result<(), Problem> {
    let note = with_signatures(gateway, note);
    keep_signed(gateway, &note);
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
const COUNTERSIGNED: &str = "countersigned";

/// The newest note that a person brought.
const BROUGHT: &str = "brought";
