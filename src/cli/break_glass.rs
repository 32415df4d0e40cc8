//! `medseal break-glass`: emergencies in which records left without a consent, and what is owed afterwards.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, list as listed, moment, text};
use super::failure::{Outcome, Status};
use super::words::Words;
use crate::id::BundleId;

/// Emergencies in which records left without a consent. `medseal send --break-glass` asks for one.
#[derive(Debug, Subcommand)]
pub(super) enum BreakGlass {
    List(List),
    Told(Told),
    Review(Review),
}

/// Lists every bundle for which an emergency was asked, with what is still to be done.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal break-glass list\n\
    The entries of the log about them: medseal audit show --break-glass")]
pub(super) struct List {}

/// Records that the patient, or who speaks for the patient, was told.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal break-glass told bundle-0123456789abcdef --how 'letter of 22 November'")]
pub(super) struct Told {
    /// The bundle.
    bundle: BundleId,
    /// How; sealed with the patient's data. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT")]
    how: Words,
}

/// Records that somebody other than whoever asked for it looked at it afterwards.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal break-glass review bundle-0123456789abcdef --finding 'justified: unconscious'"
)]
pub(super) struct Review {
    /// The bundle.
    bundle: BundleId,
    /// What came of it; sealed with the patient's data. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT")]
    finding: Words,
}

impl BreakGlass {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::List(_) => list(context),
            Self::Told(verb) => {
                let body = json!({ "text": verb.how.read()? });
                show(context, &context.api()?.post(&format!("/v1/bundles/{}/patient-told", verb.bundle), &body)?)
            }
            Self::Review(verb) => {
                let body = json!({ "text": verb.finding.read()? });
                show(context, &context.api()?.post(&format!("/v1/bundles/{}/review", verb.bundle), &body)?)
            }
        }
    }
}

fn list(context: &Context) -> Outcome {
    let answer = context.api()?.get("/v1/emergencies")?;
    if context.out.is_json() {
        context.out.object(&answer)?;
        return Ok(Status::Done);
    }
    let rows: Vec<Vec<String>> = items(&answer)
        .iter()
        .map(|bundle| {
            let emergency = &bundle["emergency"];
            vec![
                text(bundle, "bundle"),
                text(bundle, "partner"),
                text(bundle, "state"),
                moment(emergency, "requested"),
                text(emergency, "clinician"),
                moment(emergency, "patient_told"),
                moment(emergency, "reviewed"),
            ]
        })
        .collect();
    context.out.table(&["BUNDLE", "PARTNER", "STATE", "REQUESTED", "CLINICIAN", "TOLD", "REVIEWED"], &rows)?;
    Ok(Status::Done)
}

fn show(context: &Context, bundle: &Value) -> Outcome {
    if context.out.is_json() {
        context.out.object(bundle)?;
        return Ok(Status::Done);
    }
    context.out.facts(&[("bundle", text(bundle, "bundle")), ("still to do", tasks(bundle))])?;
    Ok(Status::Done)
}

/// What is still to be done about the emergency of a bundle, one thing a line.
pub(super) fn tasks(bundle: &Value) -> String {
    listed(&bundle["emergency"], "tasks").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}
