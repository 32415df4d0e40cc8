//! `medseal card`: our signed card, and the fingerprint that two people compare by telephone.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::Context;
use super::failure::{Failure, Outcome, Status};
use super::partner::spaced;
use crate::durable;

/// Prints our signed card and its fingerprint.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal card --out st-mary.card\n\
    The fingerprint goes to standard error: read it aloud to the partner.")]
pub(super) struct Card {
    /// The file that takes the card; it must not exist.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Card {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let answer = context.api()?.get("/v1/card")?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        if let Some(path) = &self.out {
            durable::write_new(path, text("card").as_bytes(), 0o644)
                .with_context(|| path.display().to_string())
                .map_err(|error| Failure::from(error).hint("name a file that does not exist, in a folder that does"))?;
        }
        if context.out.is_json() {
            context.out.object(&answer)?;
        } else {
            if self.out.is_none() {
                context.out.bytes(text("card").as_bytes())?;
            }
            context.out.say(format!("{}: fingerprint {}", text("id"), spaced(text("fingerprint"))));
        }
        Ok(Status::Done)
    }
}
