//! `medseal hold`: a legal hold on a patient's records, placed and lifted by two people each.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, moment, text};
use super::consent::identifier;
use super::failure::{Outcome, Status};
use super::words::Words;

/// Legal holds: while one stands, nothing of the patient is destroyed. Placing and lifting take two people each.
#[derive(Debug, Subcommand)]
pub(super) enum Hold {
    Place(Place),
    Lift(Lift),
    Confirm(Confirm),
    List(List),
}

/// Asks for a hold. It forbids erasure at once; a second person confirms it before it lapses.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal hold place --patient @patient.txt --reason 'court file 12 O 34/26'\n\
    Then somebody else of the staff: medseal hold confirm --patient @patient.txt")]
pub(super) struct Place {
    /// The patient as `SYSTEM|VALUE`. `-` or `@FILE` is read.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
    /// Why; sealed with the patient's data. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT")]
    reason: Words,
}

/// Asks that a hold be lifted. It stands until a second person confirms.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal hold lift --patient @patient.txt --reason 'the case is closed'")]
pub(super) struct Lift {
    /// The patient as `SYSTEM|VALUE`. `-` or `@FILE` is read.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
    /// Why; sealed with the patient's data. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT")]
    reason: Words,
}

/// Confirms, as the second person, what somebody else asked for: a hold, or that one is lifted.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal --socket /run/medseal/staff.sock hold confirm --patient @patient.txt")]
pub(super) struct Confirm {
    /// The patient as `SYSTEM|VALUE`. `-` or `@FILE` is read.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
}

/// Lists every hold that was ever asked for, by the patient's pseudonym.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal hold list")]
pub(super) struct List {}

impl Hold {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let (path, request) = match self {
            Self::Place(verb) => {
                ("/v1/holds", json!({ "patient": identifier(&verb.patient.read()?)?, "reason": verb.reason.read()? }))
            }
            Self::Lift(verb) => (
                "/v1/holds/lift",
                json!({ "patient": identifier(&verb.patient.read()?)?, "reason": verb.reason.read()? }),
            ),
            Self::Confirm(verb) => ("/v1/holds/confirm", json!({ "patient": identifier(&verb.patient.read()?)? })),
            Self::List(_) => return list(context),
        };
        let hold = context.api()?.post(path, &request)?;
        if context.out.is_json() {
            context.out.object(&hold)?;
        } else {
            context.out.line(sentence(&hold))?;
        }
        Ok(Status::Done)
    }
}

fn list(context: &Context) -> Outcome {
    let answer = context.api()?.get("/v1/holds")?;
    if context.out.is_json() {
        context.out.object(&answer)?;
        return Ok(Status::Done);
    }
    for hold in items(&answer) {
        context.out.line(sentence(hold))?;
    }
    Ok(Status::Done)
}

fn sentence(hold: &Value) -> String {
    let waits = match text(hold, "state").as_str() {
        "asked" => format!("; without a second person it lapses at {}", moment(hold, "asked_until")),
        "lift-asked" => "; it stands until a second person confirms".to_owned(),
        _ => String::new(),
    };
    let forbids = if hold["forbids"] == true { "nothing may be destroyed" } else { "it forbids nothing" };
    format!("{}  {}: {forbids}{waits}", text(hold, "subject"), text(hold, "state"))
}
