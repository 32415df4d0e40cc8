//! A partner asks for a signature under a checkpoint of its log.
//!
//! Rule: only the partner whose card names the log's key may bring its checkpoints. What is signed is remembered on the
//! disk first; a memory that is an old copy signs nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{alarm, keep_evidence};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::audit::note::{Checkpoint, LogKey, Origin};
use crate::audit::witness::{Refusal, SeenError, Submission};
use crate::clock::Timestamp;
use crate::config::WITNESS_ENTRY_S_MIN;
use crate::gateway::{Gateway, put};
use crate::id::{Digest, InstitutionId};
use crate::partner::witness_name;
use crate::problem::Problem;
use crate::records::Alarm;
use crate::store::{Expect, Space};
use crate::wire::{Code, WitnessAnswer};

/// Why a checkpoint was not signed.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// The witness says no, in one of the ways of the specification.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The partner asks too often.
    #[error("the partner asks too often")]
    Busy,
    /// There is no key to sign with.
    #[error("there is no witness's key")]
    NoKey,
    /// It cannot be said what was seen last.
    #[error(transparent)]
    Seen(#[from] SeenError),
    /// The gateway could not do it.
    #[error(transparent)]
    Problem(#[from] Problem),
}

impl NotSigned {
    /// What the partner learns.
    pub fn answer(&self) -> Result<WitnessAnswer, Code> {
        match self {
            Self::Refusal(refusal) => {
                let body = if let Refusal::OtherSize { size } = refusal { format!("{size}\n") } else { String::new() };
                Ok(WitnessAnswer { status: refusal.status(), body })
            }
            Self::Busy => Err(Code::Busy),
            Self::NoKey | Self::Seen(_) | Self::Problem(_) => Err(Code::Internal),
        }
    }
}

/// What our own log names of a partner's log: at most an hour behind what was signed.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct NamedInOurLog {
    size: u64,
    root: Digest,
    #[serde(with = "crate::clock::stamped")]
    at: Timestamp,
}

impl NamedInOurLog {
    fn key(partner: &InstitutionId, origin: &Origin) -> Vec<u8> {
        format!("witness/{partner}/{origin}").into_bytes()
    }

    fn checkpoint(&self, origin: &Origin) -> Checkpoint {
        Checkpoint { origin: origin.clone(), size: self.size, root: self.root }
    }
}

/// Checks a checkpoint, remembers it, and signs under it. The answer is the signature's line.
pub async fn take(gateway: &Arc<Gateway>, from: &InstitutionId, body: &[u8]) -> Result<String, NotSigned> {
    let now = gateway.now();
    if !gateway.witnessing.may_ask(from, now) {
        return Err(NotSigned::Busy);
    }
    let signer = gateway.keys.witness_signer().ok_or(NotSigned::NoKey)?;
    let submission = Submission::parse(body)?;
    let origin = Checkpoint::claimed(submission.note.as_bytes()).map_err(Refusal::Unsigned)?.origin;
    let keys = keys_of(gateway, from)?;

    let _turn = gateway.witnessing.turn.lock().await;
    let (recorded, last) = memory(gateway, from, &origin)?;
    let last_seen = last.as_ref().map(|(_, seen)| seen);
    let next = match (submission.decide(&keys, last_seen), &last) {
        (Ok(next), _) => next,
        (Err(Refusal::Inconsistent), Some((note, seen))) => {
            contradicted(gateway, from, &submission, note, seen).await?;
            return Err(Refusal::Inconsistent.into());
        }
        (Err(refusal), _) => return Err(refusal.into()),
    };
    if last_seen != Some(&next) {
        remember(gateway, from, &origin, submission.note).await?;
    }
    let is_due = recorded.is_none_or(|recorded| {
        next.size > recorded.size && now.as_second() >= recorded.at.as_second() + WITNESS_ENTRY_S_MIN
    });
    if is_due {
        let row = NamedInOurLog { size: next.size, root: next.root, at: now };
        let row = put(Space::Index, &NamedInOurLog::key(from, &origin), &row, Expect::Any);
        let change = Change { puts: vec![row], ..Change::default() };
        gateway.enter(Happened::countersigned(from, &next), change).await?;
    }
    tracing::debug!(partner = %from, size = next.size, "countersigned");
    let name = witness_name(gateway.id()).parse().expect("an institution's witness name is a name of a key");
    Ok(next.cosign(&name, signer, now))
}

/// The note that was seen last of the partner's own log whose name has this SHA-256.
pub fn seen(gateway: &Gateway, from: &InstitutionId, origin: &Digest) -> Result<Option<String>, NotSigned> {
    let keys = keys_of(gateway, from)?;
    let Some(key) = keys.iter().find(|key| Digest::of(key.name().as_str().as_bytes()) == *origin) else {
        return Ok(None);
    };
    Ok(memory(gateway, from, key.name())?.1.map(|(note, _)| note))
}

/// The keys of the partner's own logs.
fn keys_of(gateway: &Gateway, from: &InstitutionId) -> Result<Vec<LogKey>, Problem> {
    let vkeys = gateway.partner(from)?.log_vkeys_at(gateway.now());
    Ok(vkeys.iter().filter_map(|vkey| vkey.parse().ok()).collect())
}

type Memory = (Option<NamedInOurLog>, Option<(String, Checkpoint)>);

fn memory(gateway: &Gateway, from: &InstitutionId, origin: &Origin) -> Result<Memory, NotSigned> {
    let recorded = gateway.row::<NamedInOurLog>(Space::Index, &NamedInOurLog::key(from, origin))?.map(|row| row.value);
    let named = recorded.as_ref().map(|recorded| recorded.checkpoint(origin));
    let last = gateway.witnessing.seen.last(from, origin, named.as_ref())?;
    Ok((recorded, last))
}

async fn remember(
    gateway: &Arc<Gateway>,
    from: &InstitutionId,
    origin: &Origin,
    note: String,
) -> Result<(), NotSigned> {
    let (gateway, from, origin) = (Arc::clone(gateway), from.clone(), origin.clone());
    let remembering = tokio::task::spawn_blocking(move || gateway.witnessing.seen.remember(&from, &origin, &note));
    Ok(remembering.await.map_err(|error| Problem::internal("the witness's memory", &error))??)
}

/// The partner's key signed what is no continuation of what it signed before: kept, entered, and told.
async fn contradicted(
    gateway: &Arc<Gateway>,
    from: &InstitutionId,
    submission: &Submission,
    note: &str,
    seen: &Checkpoint,
) -> Result<(), NotSigned> {
    let brought = Checkpoint::claimed(submission.note.as_bytes()).map_err(Refusal::Unsigned)?;
    let told = format!("brought by {from}\n\n{}\nseen before\n\n{note}", submission.to_body());
    let Some(evidence) = keep_evidence(gateway, from, told).await else { return Ok(()) };
    tracing::error!(partner = %from, size = brought.size, seen = seen.size, %evidence, "a partner's log contradicts what it was before");
    let what = Alarm::Refused { partner: from.clone(), root: seen.root, evidence };
    alarm::raise(gateway, what, Happened::witness_refused(from, &brought, seen, evidence)).await?;
    Ok(())
}
