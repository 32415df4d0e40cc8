//! `medseal audit retention`: what is past its time, and, if asked, its destruction.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::answer::{items, list, moment, text};
use crate::cli::failure::{Outcome, Status};

/// Lists what is past its time by the schedule in medseal.toml, and why it may or may not go. Destroys only when asked.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit retention\n\
    What may go goes with: medseal audit retention --apply\n\
    A legal hold (hold), an open case (case-open), what is on its way (on-its-way, in-doubt, recall-waits), what\n\
    nobody has opened (unopened) and a consent that still stands (consent-stands) forbid it. `[retention]` in medseal.toml holds the days.")]
pub(in crate::cli) struct Retention {
    /// Destroys what may go: sealed files, and every patient of whom everything is past its time. It cannot be taken back.
    #[arg(long)]
    apply: bool,
}

impl Retention {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let answer = context.api()?.post("/v1/retention", &json!({ "apply": self.apply }))?;
        if context.out.is_json() {
            context.out.object(&answer)?;
            return Ok(Status::Done);
        }
        for item in items(&answer) {
            context.out.line(sentence(item))?;
        }
        let count = |name| text(&answer, name);
        context.out.line(match (self.apply, count("may_go").as_str(), count("kept").as_str()) {
            (_, "0", "0") => "nothing is past its time".to_owned(),
            (true, went, kept) => format!("{went} destroyed, {kept} kept"),
            (false, may, kept) => format!("{may} may go, {kept} must stay; nothing was destroyed (--apply does it)"),
        })?;
        Ok(Status::Done)
    }
}

fn sentence(item: &Value) -> String {
    let kept: Vec<&str> = list(item, "kept_by").iter().filter_map(Value::as_str).collect();
    let verdict = match (kept.is_empty(), item["destroyed"] == true) {
        (_, true) => "destroyed".to_owned(),
        (true, false) => "may go".to_owned(),
        (false, false) => format!("stays: {}", kept.join(", ")),
    };
    format!(
        "{}  {}  past its time since {} ({}): {verdict}",
        text(item, "kind"),
        text(item, "id"),
        moment(item, "since"),
        text(item, "rule"),
    )
}
