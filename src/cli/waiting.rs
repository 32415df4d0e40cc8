//! Waiting for a bundle to reach its end, and the exit status that goes with the end.
//!
//! Rule: 0 when the partner has it; 1 when it was refused, cancelled or recalled; 75 when it was given up or the time
//! is over, because then nobody said no.

use std::time::Instant;

use clap::Args;
use serde_json::Value;

use super::Context;
use super::answer::{list, moment, text};
use super::failure::{Outcome, Status};
use crate::client::Api;

/// How long a verb stays.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Stay until it is delivered (exit status 0), refused (1), or the time is over (75).
    #[arg(long)]
    wait: bool,
    /// How long to stay, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "wait")]
    timeout: u64,
}

impl Waiting {
    /// Ends a verb that queued a bundle: prints it, and stays if that was asked for.
    pub(super) fn end(self, context: &Context, api: &Api, sealed: &Value) -> Outcome {
        let bundle = text(sealed, "bundle");
        if text(sealed, "state") == "approval" {
            context.out.say(sentence(&api.get(&format!("/v1/bundles/{bundle}"))?));
        }
        if !self.wait {
            if context.out.is_json() {
                context.out.object(sealed)?;
            } else {
                context.out.line(&bundle)?;
            }
            return Ok(Status::Done);
        }
        if !context.out.is_json() {
            // Known before the end, so that a caller who stops waiting still has it.
            context.out.line(&bundle)?;
            context.out.say(format!("sealed; waiting until {bundle} is delivered"));
        }
        let view = wait(api, &bundle, self.timeout)?;
        if context.out.is_json() {
            context.out.object(&view)?;
        }
        context.out.say(sentence(&view));
        Ok(status_of(&text(&view, "state")))
    }
}

/// Asks until the bundle's state is final or the time is over; answers what it is then.
pub(super) fn wait(api: &Api, bundle: &str, seconds: u64) -> Result<Value, crate::client::ApiError> {
    let started = Instant::now();
    loop {
        let left = seconds.saturating_sub(started.elapsed().as_secs());
        let view = api.get(&format!("/v1/bundles/{bundle}/wait?seconds={}", left.min(POLL_SECONDS_MAX)))?;
        if is_final(&text(&view, "state")) || left == 0 {
            return Ok(view);
        }
    }
}

/// Where a bundle stands, as one sentence.
pub(super) fn sentence(view: &Value) -> String {
    let (bundle, state) = (text(view, "bundle"), text(view, "state"));
    let (reason, says, next) = (text(view, "reason"), text(view, "says"), moment(view, "next_attempt"));
    if state == "approval" {
        return format!("{bundle} waits for a second person: {}", second_person(view));
    }
    let mut sentence = vec![format!("{bundle} is {state}")];
    if !reason.is_empty() {
        let says = if says.is_empty() { String::new() } else { format!(": {says}") };
        sentence.push(format!("{says} ({reason})"));
    }
    if !next.is_empty() && !is_final(&state) {
        sentence.push(format!("; tried again at {next}"));
    }
    sentence.concat()
}

/// Who can confirm a bundle that waits for a second person.
pub(super) fn second_person(view: &Value) -> String {
    let people: Vec<&str> = list(&view["approval"], "waits_for").iter().filter_map(Value::as_str).collect();
    if people.is_empty() {
        return "nobody under [staff] in medseal.toml can confirm it but whoever sent or confirmed it".to_owned();
    }
    format!("{} can say `medseal approve`", people.join(" or "))
}

/// The exit status that goes with a state.
pub(super) fn status_of(state: &str) -> Status {
    match state {
        "delivered" | "transferred" => Status::Done,
        "refused" | "cancelled" | "recalled" => Status::Refused,
        _ => Status::TryAgain,
    }
}

fn is_final(state: &str) -> bool {
    matches!(state, "delivered" | "transferred" | "refused" | "cancelled" | "recalled" | "failed")
}

/// How long one question stays open at the gateway, in seconds.
const POLL_SECONDS_MAX: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exit_status_tells_no_from_later() {
        for (state, status) in [
            ("delivered", Status::Done),
            ("transferred", Status::Done),
            ("refused", Status::Refused),
            ("cancelled", Status::Refused),
            ("recalled", Status::Refused),
            ("failed", Status::TryAgain),
            ("waiting", Status::TryAgain),
        ] {
            assert_eq!(status_of(state), status, "{state}");
        }
    }

    #[test]
    fn the_sentence_names_who_can_confirm_it() {
        let view = json!({"bundle": "bundle-1", "state": "approval", "approval": {"waits_for": ["kumar", "lee"]}});
        assert_eq!(sentence(&view), "bundle-1 waits for a second person: kumar or lee can say `medseal approve`");
        let nobody = json!({"bundle": "bundle-1", "state": "approval", "approval": {"waits_for": []}});
        assert!(sentence(&nobody).contains("[staff]"), "{}", sentence(&nobody));
        assert_eq!(status_of("approval"), Status::TryAgain);
    }

    #[test]
    fn the_sentence_says_why_it_waits_and_until_when() {
        let view = json!({"bundle": "bundle-1", "state": "waiting", "reason": "PARTNER_UNREACHABLE",
            "says": "the partner's gateway does not answer", "next_attempt": "2026-11-22T10:15:30.000000Z"});
        assert_eq!(
            sentence(&view),
            "bundle-1 is waiting: the partner's gateway does not answer (PARTNER_UNREACHABLE); tried again at 2026-11-22 10:15:30Z"
        );
    }
}
