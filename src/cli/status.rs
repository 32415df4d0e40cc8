//! `medseal status` and `medseal queue`: where bundles stand, every attempt with its reason, and what waits for what.

use clap::Args;
use serde_json::Value;

use super::Context;
use super::answer::{items, list, moment, text};
use super::audit::say_alarms;
use super::break_glass::tasks;
use super::failure::{Outcome, Status as End};
use super::waiting::second_person;
use crate::id::BundleId;

/// Shows where a bundle stands, with every attempt; without one, lists them all.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal status bundle-0123456789abcdef")]
pub(super) struct Status {
    /// The bundle.
    bundle: Option<BundleId>,
}

/// Lists what waits or is on its way, why, and until when.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal queue")]
pub(super) struct Queue {}

impl Status {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        say_alarms(context, &api);
        match self.bundle {
            Some(bundle) => show(context, &api.get(&format!("/v1/bundles/{bundle}"))?),
            None => table(context, &api.get("/v1/bundles")?),
        }
    }
}

impl Queue {
    #[allow(clippy::unused_self, reason = "every verb has this shape")]
    pub(super) fn run(self, context: &Context) -> Outcome {
        table(context, &context.api()?.get("/v1/queue")?)
    }
}

fn table(context: &Context, answer: &Value) -> Outcome {
    if context.out.is_json() {
        context.out.object(answer)?;
        return Ok(End::Done);
    }
    let rows: Vec<Vec<String>> = items(answer)
        .iter()
        .map(|bundle| {
            let field = |name| text(bundle, name);
            let waits_for_a_person = field("state") == "approval";
            let next = if waits_for_a_person { second_person(bundle) } else { moment(bundle, "next_attempt") };
            let tries = list(bundle, "attempts").len().to_string();
            vec![field("bundle"), field("case"), field("partner"), field("state"), field("reason"), tries, next]
        })
        .collect();
    context.out.table(&["BUNDLE", "CASE", "PARTNER", "STATE", "REASON", "TRIES", "NEXT"], &rows)?;
    Ok(End::Done)
}

fn show(context: &Context, bundle: &Value) -> Outcome {
    if context.out.is_json() {
        context.out.object(bundle)?;
        return Ok(End::Done);
    }
    let attempts: Vec<String> = list(bundle, "attempts")
        .iter()
        .map(|attempt| {
            let parts =
                [moment(attempt, "at"), text(attempt, "decision"), text(attempt, "reason"), text(attempt, "outcome")];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
        })
        .collect();
    let approvals: Vec<String> = list(&bundle["approval"], "given")
        .iter()
        .map(|given| format!("{}  by {}, until {}", moment(given, "at"), text(given, "by"), moment(given, "until")))
        .collect();
    let waits_for_a_person = text(bundle, "state") == "approval";
    let waits_for = if waits_for_a_person { second_person(bundle) } else { String::new() };
    let next = if waits_for_a_person { "given up" } else { "next" };
    let of = &bundle["emergency"];
    let emergency = match text(of, "until") {
        until if until.is_empty() => until,
        _ => format!("until {}, {}: {}", moment(of, "until"), text(of, "clinician"), text(of, "reason")),
    };
    context.out.facts(&[
        ("bundle", text(bundle, "bundle")),
        ("case", text(bundle, "case")),
        ("partner", text(bundle, "partner")),
        ("kind", text(bundle, "kind")),
        ("state", text(bundle, "state")),
        ("reason", [text(bundle, "reason"), text(bundle, "says")].join(" ").trim().to_owned()),
        ("remedy", text(bundle, "remedy")),
        (next, moment(bundle, "next_attempt")),
        ("sent by", text(&bundle["approval"], "sent_by")),
        ("approved", approvals.join("\n")),
        ("waits for", waits_for),
        ("documents", text(bundle, "documents")),
        ("bytes", text(bundle, "sealed_bytes")),
        ("made", moment(bundle, "created")),
        ("attempts", attempts.join("\n")),
        ("emergency", emergency),
        ("still to do", tasks(bundle)),
        ("recall", recall(&bundle["recall"])),
        ("receipt", if bundle["receipt"].is_object() { "held; --json shows it".to_owned() } else { String::new() }),
    ])?;
    Ok(End::Done)
}

/// How far a recall is, and what the partner answered, in plain words; empty where none was ordered.
fn recall(recall: &Value) -> String {
    if !recall.is_object() {
        return String::new();
    }
    let mut lines = vec![format!("ordered {} ({})", moment(recall, "issued"), text(recall, "cause"))];
    let answer = &recall["answer"];
    if answer.is_object() {
        let (destroyed, opened) = (moment(answer, "destroyed"), moment(answer, "opened"));
        lines.push(match destroyed.as_str() {
            "" => format!("the partner has not destroyed it: {}", text(answer, "kept")),
            at => format!("the partner destroyed its sealed file {at}; the signed answer is held, --json shows it"),
        });
        lines.push(match opened.as_str() {
            "" => "its gateway knows of no opening before that".to_owned(),
            at => format!("it had been opened there {at}: what was written out of it, people must destroy"),
        });
    } else if text(recall, "next_try").is_empty() {
        lines.push(format!("given up: {}; `medseal recall BUNDLE` tries again", text(recall, "reason")));
    } else {
        let tried = match text(recall, "reason").as_str() {
            "" => String::new(),
            reason => format!("; tried {} times, {reason}", text(recall, "tries")),
        };
        lines.push(format!("not answered yet{tried}; next {}", moment(recall, "next_try")));
    }
    lines.join("\n")
}
