//! `medseal recall`: what was delivered by mistake, or to the wrong recipient, is called back.

use clap::Args;
use serde_json::json;

use super::Context;
use super::failure::{Outcome, Status};
use super::words::Words;
use crate::id::BundleId;

/// Recalls a bundle that was delivered: the partner destroys its sealed file and says so, signed.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal recall bundle-0123456789abcdef --reason 'meant for another institution'\n\
    The recall is brought to the partner until it answers; `medseal status BUNDLE` shows what it said, and whether the\n\
    bundle had been opened there. What somebody has written out of it by then, no recall reaches: speak to the partner.\n\
    `medseal consent withdraw` recalls by itself what was delivered under the consent.")]
pub(super) struct Recall {
    /// The bundle, delivered.
    bundle: BundleId,
    /// Why, in a few words; it stays in our own log. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT")]
    reason: Words,
}

impl Recall {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let request = json!({ "reason": self.reason.read()? });
        let view = context.api()?.post(&format!("/v1/bundles/{}/recall", self.bundle), &request)?;
        if context.out.is_json() {
            context.out.object(&view)?;
        } else {
            context
                .out
                .line(format!("{} is being recalled; `medseal status` shows the partner's answer", self.bundle))?;
        }
        Ok(Status::Done)
    }
}
