//! The checkpoints that the store keeps of the log's past, held against the log as it is.
//!
//! Rule: each is signed by the log's key, lies under its own size, and is of a log that ours continues.

use crate::audit::note::Checkpoint;
use crate::audit::proof;
use crate::audit::verify::{Finding, Kind};
use crate::gateway::Gateway;
use crate::problem::Problem;

/// The first kept checkpoint that is not one of our log.
pub(super) fn check(gateway: &Gateway) -> Result<Option<Finding>, Problem> {
    let (reader, keys) = (gateway.log.reader(), std::slice::from_ref(gateway.log.key()));
    let kept = reader.kept_checkpoints().map_err(|error| Problem::internal("the log", &error))?;
    // Asked afterwards: a checkpoint that is kept meanwhile is of a log that is no longer.
    let now = gateway.log.size();
    for (size, note) in kept {
        let last = size.saturating_sub(1);
        let found = |seq, kind, message| Ok(Some(Finding { seq, kind, message }));
        let signed = match Checkpoint::open(note.as_bytes(), keys) {
            Ok(signed) if signed.size == size => signed,
            Ok(signed) => {
                let message =
                    format!("what the store keeps as the checkpoint of {size} entries is of {} entries", signed.size);
                return found(last, Kind::BadSignature, message);
            }
            Err(why) => {
                let message = format!("the checkpoint of {size} entries that the store keeps does not count: {why}");
                return found(last, Kind::BadSignature, message);
            }
        };
        if size > now {
            let message =
                format!("entries {now} to {last} are missing at the end, a checkpoint in the store covers them");
            return found(now, Kind::Truncated, message);
        }
        let root = proof::root(size, &reader.tree()).map_err(|error| Problem::internal("the log", &error))?;
        if root != signed.root {
            let message = format!("the first {size} entries are not those of a checkpoint that the store keeps");
            return found(last, Kind::Forked, message);
        }
    }
    Ok(None)
}
