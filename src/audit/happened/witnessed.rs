//! What happens between logs: what we signed as a witness, and what partners' signatures under ours tell.

use serde_json::json;

use super::Happened;
use crate::audit::note::Checkpoint;
use crate::id::{Digest, InstitutionId};

impl Happened {
    /// A partner's log was seen to have grown to here, and signed.
    pub fn countersigned(partner: &InstitutionId, seen: &Checkpoint) -> Self {
        Self::witness("countersigned", partner, seen)
    }

    /// A partner's checkpoint contradicts the one that was seen before: it is kept, by its digest, and was not signed.
    pub fn witness_refused(partner: &InstitutionId, brought: &Checkpoint, seen: &Checkpoint, evidence: Digest) -> Self {
        let mut refused = Self::witness("refused", partner, brought);
        let facts = &mut refused.0.facts;
        facts.insert("seen_size".to_owned(), json!(seen.size));
        facts.insert("seen_root".to_owned(), json!(seen.root));
        facts.insert("evidence".to_owned(), json!(evidence));
        refused
    }

    /// A partner holds a checkpoint that our own key signed and that our log contradicts.
    pub fn log_forked(partner: &InstitutionId, theirs: &Checkpoint, evidence: Digest) -> Self {
        let mut forked = Self::witness("forked", partner, theirs);
        forked.0.facts.insert("evidence".to_owned(), json!(evidence));
        forked
    }

    /// The log grew, and nobody signed under it for longer than the limit.
    pub fn not_countersigned(size: u64, countersigned: u64) -> Self {
        Self::new("witness", json!({ "action": "overdue", "size": size, "countersigned": countersigned }))
    }

    /// A person brought a note that these witnesses signed under.
    pub fn signatures_brought(note: &Checkpoint, by: &[&str]) -> Self {
        Self::new("witness", json!({ "action": "brought", "size": note.size, "root": note.root, "witnesses": by }))
    }

    /// An authority outside stamped a note of ours with its time; its answer is kept, by its digest.
    pub fn stamped(note: &Checkpoint, at: &str, answer: Digest) -> Self {
        Self::new(
            "witness",
            json!({ "action": "stamped", "size": note.size, "root": note.root, "stamped": at, "answer": answer }),
        )
    }

    /// An alarm about a log ended: what it said has passed, or somebody has seen it.
    pub fn alarm_ended(alarm: &str, how: &str) -> Self {
        Self::new("witness", json!({ "action": how, "alarm": alarm }))
    }

    fn witness(action: &str, partner: &InstitutionId, checkpoint: &Checkpoint) -> Self {
        Self::new(
            "witness",
            json!({
                "action": action, "partner": partner, "origin": checkpoint.origin.as_str(),
                "size": checkpoint.size, "root": checkpoint.root,
            }),
        )
    }
}
