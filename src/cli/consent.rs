//! `medseal consent`: what the patients allow, recorded, shown in plain words, withdrawn.

mod add;
mod evidence;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, list as listed, moment, text};
use super::failure::{Failure, Outcome, Status};
use super::words::Words;
use add::Add;
use evidence::Evidence;

use crate::id::{ConsentId, PatientIdentifier};
use crate::reason::Reason;

/// What the patients allow.
#[derive(Debug, Subcommand)]
pub(super) enum Consent {
    Add(Add),
    List(List),
    Show(Show),
    Withdraw(Withdraw),
    Evidence(Evidence),
}

/// Lists the consents on file.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal consent list --patient @patient.txt")]
pub(super) struct List {
    /// Only this patient's, as SYSTEM|VALUE; `-` or `@FILE` keeps it out of the process list.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Option<Words>,
}

/// Shows one consent.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal consent show consent-0123456789abcdef")]
pub(super) struct Show {
    /// The consent.
    id: ConsentId,
}

/// Withdraws a consent: nothing leaves on it any more, what waits is cancelled, what was delivered is recalled.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal consent withdraw consent-0123456789abcdef --reason 'the patient called'\n\
    A bundle that was delivered under it is recalled unless another consent of the patient permits it now:\n\
    `medseal status BUNDLE` shows what the partner answered.")]
pub(super) struct Withdraw {
    /// The consent.
    id: ConsentId,
    /// Why, in a few words; `-` or `@FILE` keeps it out of the process list.
    #[arg(long, value_name = "TEXT")]
    reason: Words,
}

impl Consent {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Add(verb) => verb.run(context),
            Self::List(verb) => verb.run(context),
            Self::Show(verb) => show(context, &context.api()?.get(&format!("/v1/consents/{}", verb.id))?),
            Self::Withdraw(verb) => verb.run(context),
            Self::Evidence(verb) => verb.run(context),
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Outcome {
        let request = match &self.patient {
            Some(patient) => json!({ "patient": identifier(&patient.read()?)?.to_string() }),
            None => json!({}),
        };
        let answer = context.api()?.post("/v1/consents/search", &request)?;
        if context.out.is_json() {
            context.out.object(&answer)?;
            return Ok(Status::Done);
        }
        for (at, consent) in items(&answer).iter().enumerate() {
            if at > 0 {
                context.out.line("")?;
            }
            facts(context, consent)?;
        }
        Ok(Status::Done)
    }
}

impl Withdraw {
    fn run(self, context: &Context) -> Outcome {
        let request = json!({ "reason": self.reason.read()? });
        let answer = context.api()?.post(&format!("/v1/consents/{}/withdraw", self.id), &request)?;
        if context.out.is_json() {
            context.out.object(&answer)?;
            return Ok(Status::Done);
        }
        context.out.line(format!("{} is withdrawn", self.id))?;
        for other in listed(&answer, "standing").iter().filter_map(Value::as_str) {
            context.out.say(format!("note: {other} of the same patient still stands; `medseal consent show {other}`"));
        }
        for bundle in listed(&answer, "cancelled") {
            context.out.line(format!("cancelled: {}", bundle.as_str().unwrap_or_default()))?;
        }
        for bundle in listed(&answer, "recalled") {
            context.out.line(format!("delivered before, and recalled now: {}", bundle.as_str().unwrap_or_default()))?;
        }
        for bundle in listed(&answer, "delivered") {
            let bundle = bundle.as_str().unwrap_or_default();
            context.out.line(format!("delivered before, and stays with the partner: {bundle}"))?;
        }
        Ok(Status::Done)
    }
}

/// Reads `SYSTEM|VALUE`; the failure does not repeat the value.
pub(super) fn identifier(text: &str) -> Result<PatientIdentifier, Failure> {
    text.trim().parse().map_err(|error| {
        Failure::bad_input(Reason::BadInput, format!("{error}"))
            .hint("write it as SYSTEM|VALUE, such as 'https://hospital.example/mrn|4711'")
    })
}

fn show(context: &Context, consent: &Value) -> Outcome {
    if context.out.is_json() {
        context.out.object(consent)?;
    } else {
        facts(context, consent)?;
    }
    if consent.get("understood") == Some(&Value::Bool(false)) {
        context
            .out
            .say("warning: this consent is on file, but has a part that medseal does not evaluate; it permits nothing");
    }
    Ok(Status::Done)
}

fn facts(context: &Context, consent: &Value) -> Result<(), Failure> {
    let understood = if consent.get("understood") == Some(&Value::Bool(true)) { "yes" } else { "no" };
    let lines = |list: Vec<String>| list.join("\n");
    let scans = listed(consent, "evidence").iter().map(|scan| {
        format!("{}, {} bytes, sha256 {}", text(scan, "media_type"), text(scan, "bytes"), text(scan, "sha256"))
    });
    let cancelled = listed(consent, "cancelled").iter().filter_map(Value::as_str).map(str::to_owned);
    context.out.facts(&[
        ("consent", text(consent, "consent")),
        ("patient", text(consent, "patient")),
        ("version", text(consent, "version")),
        ("source", text(consent, "source")),
        ("understood", understood.to_owned()),
        ("permits", text(consent, "permits")),
        ("evidence", lines(scans.collect())),
        ("recorded", moment(consent, "added")),
        ("withdrawn", moment(consent, "withdrawn")),
        ("cancelled", lines(cancelled.collect())),
    ])
}
