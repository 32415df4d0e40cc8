//! A note that a person brings, with the signatures of witnesses that no network reaches.
//!
//! Rule: it counts only if our own key signed it, if our log contains it, and if a witness of the policy signed under it.

use std::sync::Arc;

use super::ask::root_at;
use super::{covered, keep_brought};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::audit::note::Checkpoint;
use crate::audit::trust::Standing;
use crate::gateway::Gateway;
use crate::problem::Problem;
use crate::reason::Reason;

/// Keeps the note beside the store, and enters who signed under it.
pub async fn bring(gateway: &Arc<Gateway>, uid: u32, note: &str) -> Result<Standing, Problem> {
    let refused = |text: String| Problem::refused(Reason::BadSignature, text);
    let (policy, _) = gateway.trust()?;
    let ours = std::slice::from_ref(gateway.log.key());
    let signed = Checkpoint::open(note.as_bytes(), ours)
        .map_err(|error| refused(format!("the note does not count: {error}")))?;
    let standing =
        policy.judge(note.as_bytes()).map_err(|error| refused(format!("the note does not count: {error}")))?;
    if signed.size > gateway.log.size() {
        return Err(refused(format!("the note covers {} entries, and the log has fewer", signed.size)).hint(
            "this gateway may have been set back: keep the note, stop the gateway, and look for the newest backup",
        ));
    }
    if root_at(gateway, signed.size).await? != signed.root {
        return Err(refused("our key signed this note, and our log contradicts it".to_owned())
            .hint("keep the note: `medseal audit compare` with a checkpoint of this gateway shows the two histories"));
    }
    if standing.countersigned.is_empty() {
        return Err(refused("no witness that the policy names signed under this note".to_owned())
            .hint("name the witness in witness-policy beside medseal.toml: `witness NAME VKEY`, and in its quorum"));
    }
    if signed.size < covered(gateway)? {
        return Err(Problem::conflict("enough have signed under a later checkpoint already"));
    }
    keep_brought(gateway, note)?;
    let by: Vec<_> = standing.countersigned.iter().map(|one| one.by.as_str()).collect();
    gateway.enter(Happened::signatures_brought(&signed, &by).by(uid), Change::default()).await?;
    gateway.witnessing.wanted.notify_one();
    Ok(standing)
}
