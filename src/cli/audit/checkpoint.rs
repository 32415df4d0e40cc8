//! `medseal audit checkpoint`: the newest signed checkpoint, to be kept by others.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::compare::read_note;
use crate::audit::note::Checkpoint as Note;
use crate::audit::witness::proof_text;
use crate::cli::Context;
use crate::cli::answer::{list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::durable;

/// Prints the newest signed checkpoint: keep it, and nobody can rewrite what came before it.
#[derive(Args, Debug)]
#[command(after_help = "Examples: medseal audit checkpoint > checkpoint-2026-11\n          \
    medseal audit checkpoint --since 4210 --proof growth > checkpoint-2026-12\n\
    The second one also writes the proof that the log of 4210 entries is the beginning of this one.")]
pub(in crate::cli) struct Checkpoint {
    /// The newest one that partners signed under, with their signatures; it may be a minute behind.
    #[arg(long)]
    countersigned: bool,
    /// Takes a checkpoint back that a witness signed under on a computer of its own (`medseal audit witness`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["countersigned", "since"])]
    add: Option<PathBuf>,
    /// How many entries an earlier checkpoint covers.
    #[arg(long, value_name = "N", requires = "proof")]
    since: Option<u64>,
    /// Where to write the proof that this checkpoint continues the earlier one; no file that exists is written over.
    #[arg(long, value_name = "FILE", requires = "since")]
    proof: Option<PathBuf>,
}

impl Checkpoint {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        if let Some(path) = &self.add {
            let note = String::from_utf8(read_note(path)?).map_err(|error| Failure::unable(error.to_string()))?;
            let standing = api.post("/v1/audit/countersignatures", &json!({ "checkpoint": note }))?;
            if context.out.is_json() {
                context.out.object(&standing)?;
            } else {
                for one in list(&standing, "countersigned") {
                    context.out.line(format!("countersigned by {} since {}", text(one, "by"), text(one, "since")))?;
                }
            }
            return Ok(Status::Done);
        }
        let path = if self.countersigned { "/v1/audit/countersigned" } else { "/v1/audit/checkpoint" };
        let note = api.text(path)?;
        if let (Some(since), Some(path)) = (self.since, &self.proof) {
            let size = Note::claimed(note.as_bytes()).map_err(|error| Failure::unable(error.to_string()))?.size;
            let answer = api.get(&format!("/v1/audit/growth?old={since}&new={size}"))?;
            let digest = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
            let proof: Option<Vec<_>> = list(&answer, "proof").iter().map(digest).collect();
            let proof = proof.ok_or_else(|| Failure::unable("the gateway gave no proof"))?;
            durable::write_new(path, proof_text(&proof).as_bytes(), 0o644)
                .with_context(|| path.display().to_string())?;
        }
        if context.out.is_json() {
            context.out.object(&json!({ "checkpoint": note }))?;
        } else {
            context.out.bytes(note.as_bytes())?;
        }
        Ok(Status::Done)
    }
}
