//! Gateways as each other's witnesses: each signs under its partners' checkpoints, and has its own signed by them.
//!
//! Rule: nothing that is released waits for a witness. What a partner says against our log counts only with a checkpoint
//! that our own key signed.

pub mod alarm;
mod ask;
mod bring;
mod kept;
mod take;

use std::sync::Arc;

use crate::config::WITNESS_EVIDENCE_MAX;
use crate::durable;
use crate::gateway::Gateway;
use crate::id::{Digest, InstitutionId};

pub use ask::{AtStart, ask_before_signing, run};
pub use bring::bring;
pub use kept::{countersigned, countersigned_now, covered, keep_brought, with_signatures};
pub use take::{NotSigned, seen, take};

/// Keeps what contradicts each other, beside the store. `None`: it is kept already, or there is too much of this partner.
async fn keep_evidence(gateway: &Arc<Gateway>, partner: &InstitutionId, text: String) -> Option<Digest> {
    let (dir, prefix) = (gateway.home.witness().join("evidence"), format!("{partner}-"));
    let digest = Digest::of(text.as_bytes());
    let kept = tokio::task::spawn_blocking(move || {
        if !dir.is_dir() {
            durable::create_dir(&dir, 0o700)?;
        }
        let file = format!("{prefix}{digest}.txt");
        let names = dir.read_dir()?.flatten().map(|entry| entry.file_name());
        // By the length, too: another partner's name may begin with this one's.
        let is_theirs = |name: &str| name.starts_with(&prefix) && name.len() == file.len();
        let count = names.filter(|name| name.to_str().is_some_and(is_theirs)).count();
        let path = dir.join(file);
        if count >= WITNESS_EVIDENCE_MAX || path.exists() {
            return Ok(false);
        }
        durable::write_new(&path, text.as_bytes(), 0o600).map(|()| true)
    });
    match kept.await.map_err(std::io::Error::other).and_then(|kept| kept) {
        Ok(kept) => kept.then_some(digest),
        Err(error) => {
            tracing::error!(%partner, %error, "evidence could not be kept");
            None
        }
    }
}
