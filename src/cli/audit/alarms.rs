//! `medseal audit alarms`: what stands about the logs, the evidence, and that somebody saw it.

use clap::Args;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::answer::{items, moment, text};
use crate::cli::failure::{Outcome, Status};
use crate::client::Api;

/// Lists the alarms about our log and the partners', prints the evidence of one, or says that you saw it.
#[derive(Args, Debug)]
#[command(after_help = "Examples: medseal audit alarms\n          \
    medseal audit alarms --show forked-nordhafen-0123456789abcdef > evidence.txt\n          \
    medseal audit alarms --acknowledge forked-nordhafen-0123456789abcdef\n\
    An alarm stands, across restarts, until what it says has passed or somebody has acknowledged it. Exit status 1: at\n\
    least one stands.")]
pub(in crate::cli) struct Alarms {
    /// Prints what was kept of this alarm: the signed notes that contradict each other.
    #[arg(long, value_name = "ALARM", conflicts_with = "acknowledge")]
    show: Option<String>,
    /// Says that you saw this alarm. The log keeps who said so.
    #[arg(long, value_name = "ALARM")]
    acknowledge: Option<String>,
}

impl Alarms {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        if let Some(id) = &self.show {
            context.out.bytes(api.text(&format!("/v1/audit/alarms/{id}/evidence"))?.as_bytes())?;
            return Ok(Status::Done);
        }
        if let Some(id) = &self.acknowledge {
            let alarm = api.post(&format!("/v1/audit/alarms/{id}/acknowledge"), &Value::Null)?;
            if context.out.is_json() {
                context.out.object(&alarm)?;
            } else {
                context.out.line(format!("{}: acknowledged by {}", text(&alarm, "id"), text(&alarm, "by")))?;
            }
            return Ok(Status::Done);
        }
        let answer = api.get("/v1/audit/alarms")?;
        let stands = items(&answer).iter().any(|alarm| text(alarm, "state") == "standing");
        if context.out.is_json() {
            context.out.object(&answer)?;
        } else {
            let row = |alarm: &Value| {
                vec![
                    text(alarm, "id"),
                    text(alarm, "state"),
                    moment(alarm, "since"),
                    moment(alarm, "ended"),
                    text(alarm, "what"),
                ]
            };
            let rows: Vec<_> = items(&answer).iter().map(row).collect();
            context.out.table(&["ALARM", "STATE", "SINCE", "ENDED", "WHAT"], &rows)?;
        }
        Ok(if stands { Status::Refused } else { Status::Done })
    }
}

/// Says which alarms stand, on standard error, so that nobody who looks at anything overlooks them.
pub(in crate::cli) fn say(context: &Context, api: &Api) {
    let Ok(answer) = api.get("/v1/audit/witnesses") else { return };
    for alarm in answer.get("alarms").and_then(Value::as_array).into_iter().flatten() {
        context.out.say(format!("ALARM since {}: {}", moment(alarm, "since"), text(alarm, "what")));
    }
}
