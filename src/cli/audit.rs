//! `medseal audit`: the compliance officer's desk.

mod erase;
mod export;
mod prove;
mod replay;
mod report;
mod retention;
mod show;
mod trust;
mod verify;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::failure::{Outcome, Status};

/// The log: verified, shown, exported.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    Verify(verify::Verify),
    Show(show::Show),
    Replay(replay::Replay),
    Export(export::Export),
    Erase(erase::Erase),
    Prove(prove::Prove),
    Report(report::Report),
    Retention(retention::Retention),
    Checkpoint(Checkpoint),
}

/// Prints the newest signed checkpoint: keep it, and nobody can rewrite what came before it.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit checkpoint > checkpoint-2026-11")]
pub(super) struct Checkpoint {
    /// The newest one that partners signed under, with their signatures; it may be a minute behind.
    #[arg(long)]
    countersigned: bool,
}

impl Audit {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Verify(verb) => verb.run(context),
            Self::Show(verb) => verb.run(context),
            Self::Replay(verb) => verb.run(context),
            Self::Export(verb) => verb.run(context),
            Self::Erase(verb) => verb.run(context),
            Self::Prove(verb) => verb.run(context),
            Self::Report(verb) => verb.run(context),
            Self::Retention(verb) => verb.run(context),
            Self::Checkpoint(verb) => checkpoint(context, &verb),
        }
    }
}

fn checkpoint(context: &Context, verb: &Checkpoint) -> Outcome {
    let path = if verb.countersigned { "/v1/audit/countersigned" } else { "/v1/audit/checkpoint" };
    let note = context.api()?.text(path)?;
    if context.out.is_json() {
        context.out.object(&json!({ "checkpoint": note }))?;
    } else {
        context.out.bytes(note.as_bytes())?;
    }
    Ok(Status::Done)
}
