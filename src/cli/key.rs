//! `medseal key`: what trust material the gateway holds, and what expires when.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::failure::{Failure, Outcome, Status};
use crate::clock::{Clock, stamp};
use crate::keys::Keys;
use crate::reason::Reason;

/// The gateway's keys.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    List(List),
}

/// Lists the keys, their fingerprints, and when they end.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal key list\nIt reads HOME/keys itself and needs no running gateway.")]
pub(super) struct List {}

impl Key {
    #[allow(clippy::needless_pass_by_value, reason = "every verb has this shape")]
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::List(_) => list(context),
        }
    }
}

fn list(context: &Context) -> Outcome {
    let home = context.home()?;
    let failed = |error| {
        Failure::bad_input(Reason::BadInput, format!("{:#}", anyhow::Error::new(error)))
            .hint("keys/README.md says what belongs there; only the gateway's own user may read it")
    };
    let keys = Keys::open(&home.keys()).map_err(failed)?;
    let held = keys.inventory(Clock::system().now()).map_err(failed)?;
    if context.out.is_json() {
        let items: Vec<Value> = held
            .iter()
            .map(|held| {
                json!({
                    "kind": held.kind, "file": held.file, "present": held.present, "fingerprint": held.fingerprint,
                    "expires": held.expires.map(stamp), "days_left": held.days_left,
                })
            })
            .collect();
        context.out.object(&json!({ "items": items }))?;
        return Ok(Status::Done);
    }
    let rows: Vec<Vec<String>> = held
        .iter()
        .map(|held| {
            let place = if held.present { held.file.to_owned() } else { format!("{} (not here)", held.file) };
            let ends = match (held.expires, held.days_left) {
                (Some(expires), Some(days)) => format!("{} ({days} days)", expires.strftime("%Y-%m-%d")),
                _ => "with the card".to_owned(),
            };
            vec![held.kind.to_owned(), place, ends, held.fingerprint.clone()]
        })
        .collect();
    context.out.table(&["KEY", "FILE", "ENDS", "FINGERPRINT"], &rows)?;
    Ok(Status::Done)
}
