//! `medseal inbox`: what came in.

use clap::Args;

use super::Context;
use super::answer::{items, moment, text};
use super::failure::{Outcome, Status};

/// Lists what came in, newest first.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal inbox")]
pub(super) struct Inbox {}

impl Inbox {
    #[allow(clippy::unused_self, reason = "every verb has this shape")]
    pub(super) fn run(self, context: &Context) -> Outcome {
        let answer = context.api()?.get("/v1/inbox")?;
        if context.out.is_json() {
            context.out.object(&answer)?;
            return Ok(Status::Done);
        }
        let rows: Vec<Vec<String>> = items(&answer)
            .iter()
            .map(|item| {
                let field = |name| text(item, name);
                vec![
                    field("bundle"),
                    field("case"),
                    field("from"),
                    field("kind"),
                    moment(item, "received"),
                    moment(item, "opened"),
                ]
            })
            .collect();
        context.out.table(&["BUNDLE", "CASE", "FROM", "KIND", "RECEIVED", "OPENED"], &rows)?;
        Ok(Status::Done)
    }
}
