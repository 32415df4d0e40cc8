//! `medseal approve`: a second person's yes, or no, to a release that waits for it.

use clap::Args;
use serde_json::json;

use super::Context;
use super::failure::{Outcome, Status};
use super::waiting::{Waiting, sentence};
use super::words::Words;
use crate::id::BundleId;

/// Confirms a release that waits for a second person, or says no to it.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal --socket /run/medseal/staff.sock approve bundle-0123456789abcdef\n\
    Example: medseal approve bundle-0123456789abcdef --reject --reason 'the wrong scan'\n\
    Whoever sent a bundle cannot approve it. Who somebody is, the operating system tells: each person needs an account\n\
    of their own, listed under [staff] in medseal.toml. An approval counts for these very documents, for the partner's\n\
    card and the patient's consents as they stand now, and for a limited time.")]
pub(super) struct Approve {
    /// The bundle, as `medseal queue` lists it in the state `approval`.
    bundle: BundleId,
    /// Say no: the bundle is refused.
    #[arg(long, requires = "reason", conflicts_with = "wait")]
    reject: bool,
    /// Why not; recorded. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT", requires = "reject")]
    reason: Option<Words>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Approve {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let reason = self.reason.as_ref().map(Words::read).transpose()?;
        let api = context.api()?;
        let bundle = &self.bundle;
        let Some(reason) = reason.filter(|_| self.reject) else {
            let view = api.post(&format!("/v1/bundles/{bundle}/approve"), &json!({}))?;
            return self.waiting.end(context, &api, &view);
        };
        let view = api.post(&format!("/v1/bundles/{bundle}/reject"), &json!({ "reason": reason }))?;
        if context.out.is_json() {
            context.out.object(&view)?;
        } else {
            context.out.line(sentence(&view))?;
        }
        Ok(Status::Done)
    }
}
