//! `medseal case`: second opinions, from the question to the outcome.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, list as listed, moment, text};
use super::consent::identifier;
use super::failure::{Failure, Status};
use super::words::Words;
use crate::cli::failure::Outcome as End;
use crate::id::{CaseId, InstitutionId, Purpose};
use crate::reason::Reason;

/// Second opinions, from the question to the outcome.
#[derive(Debug, Subcommand)]
pub(super) enum Case {
    Open(Box<Open>),
    List(List),
    Show(Show),
    Close(Close),
}

/// Opens a case: one question about one patient to one partner.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal case open --patient @patient.txt --partner heidelberg --purpose TREAT \\\n    \
    --question 'Is surgery right?'\n\
    Name and date of birth are compared with the documents; give them where they are known."
)]
pub(super) struct Open {
    /// The patient, as SYSTEM|VALUE; `-` or `@FILE` keeps it out of the process list.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
    /// The institution that is asked.
    #[arg(long, value_name = "ID")]
    partner: InstitutionId,
    /// Why data is sent: a code of HL7 v3-ActReason.
    #[arg(long, value_name = "CODE", default_value = "TREAT")]
    purpose: Purpose,
    /// What is asked; `-` or `@FILE` takes it from elsewhere.
    #[arg(long, value_name = "TEXT")]
    question: Words,
    /// The patient's name; `-` or `@FILE` keeps it out of the process list.
    #[arg(long, value_name = "NAME")]
    name: Option<Words>,
    /// The patient's date of birth, as 1961-04-30.
    #[arg(long, value_name = "DATE")]
    birth_date: Option<Words>,
}

/// Lists the cases: ours, and those that partners sent.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal case list")]
pub(super) struct List {}

/// Shows one case with its bundles and opinions.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal case show case-0123456789abcdef")]
pub(super) struct Show {
    /// The case.
    case: CaseId,
}

/// Closes a case with the outcome that consultant and patient decided on.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal case close case-0123456789abcdef --outcome treatment-modified")]
pub(super) struct Close {
    /// The case.
    case: CaseId,
    /// How it ended.
    #[arg(long)]
    outcome: Outcome,
}

/// How a second opinion ends.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Outcome {
    /// Diagnosis and treatment confirmed.
    Confirmed,
    /// Diagnosis confirmed, treatment modified.
    TreatmentModified,
    /// Diagnosis changed, treatment changed.
    DiagnosisChanged,
    /// A completely different diagnosis and treatment strategy.
    Different,
}

impl Outcome {
    /// The word as it stands in JSON.
    pub(super) fn word(self) -> String {
        self.to_possible_value().expect("no outcome is skipped").get_name().to_owned()
    }
}

impl Case {
    pub(super) fn run(self, context: &Context) -> End {
        match self {
            Self::Open(verb) => verb.run(context),
            Self::List(_) => list(context),
            Self::Show(verb) => show(context, &context.api()?.get(&format!("/v1/cases/{}", verb.case))?),
            Self::Close(verb) => {
                let request = json!({ "outcome": verb.outcome.word() });
                show(context, &context.api()?.post(&format!("/v1/cases/{}/close", verb.case), &request)?)
            }
        }
    }
}

impl Open {
    fn run(self, context: &Context) -> End {
        let optional = [("name", &self.name), ("birth_date", &self.birth_date)];
        let given =
            [&self.patient, &self.question].into_iter().chain(optional.iter().filter_map(|(_, text)| text.as_ref()));
        if given.filter(|words| words.is_standard_input()).count() > 1 {
            return Err(Failure::bad_input(Reason::BadInput, "only one text can come from standard input")
                .hint("write the others into files and name them with @FILE"));
        }
        let mut request = json!({
            "patient": identifier(&self.patient.read()?)?,
            "partner": self.partner,
            "purpose": self.purpose,
            "question": self.question.read()?,
        });
        for (name, words) in optional {
            if let Some(words) = words {
                request[name] = json!(words.read()?);
            }
        }
        let answer = context.api()?.post("/v1/cases", &request)?;
        if context.out.is_json() {
            context.out.object(&answer)?;
        } else {
            context.out.line(text(&answer, "case"))?;
        }
        Ok(Status::Done)
    }
}

fn list(context: &Context) -> End {
    let answer = context.api()?.get("/v1/cases")?;
    if context.out.is_json() {
        context.out.object(&answer)?;
        return Ok(Status::Done);
    }
    let rows: Vec<Vec<String>> = items(&answer)
        .iter()
        .map(|case| {
            let field = |name| text(case, name);
            vec![
                field("case"),
                field("side"),
                field("partner"),
                field("purpose"),
                field("state"),
                moment(case, "opened"),
            ]
        })
        .collect();
    context.out.table(&["CASE", "WHOSE", "PARTNER", "PURPOSE", "STATE", "OPENED"], &rows)?;
    Ok(Status::Done)
}

fn show(context: &Context, case: &Value) -> End {
    if context.out.is_json() {
        context.out.object(case)?;
        return Ok(Status::Done);
    }
    let lines =
        |values: &[Value], line: &dyn Fn(&Value) -> String| values.iter().map(line).collect::<Vec<_>>().join("\n");
    context.out.facts(&[
        ("case", text(case, "case")),
        ("whose", text(case, "side")),
        ("partner", text(case, "partner")),
        ("purpose", text(case, "purpose")),
        ("patient", text(case, "patient")),
        ("name", text(&case["described"], "name")),
        ("birth date", text(&case["described"], "birth_date")),
        ("question", text(case, "question")),
        ("state", text(case, "state")),
        ("outcome", text(case, "outcome")),
        ("opened", moment(case, "opened")),
        ("closed", moment(case, "closed")),
        ("sent", lines(listed(case, "sent"), &|sent| format!("{} {}", text(sent, "bundle"), text(sent, "state")))),
        ("received", lines(listed(case, "received"), &|bundle| bundle.as_str().unwrap_or_default().to_owned())),
        (
            "opinions",
            lines(listed(case, "opinions"), &|opinion| {
                let author = text(opinion, "author");
                let by = if author.is_empty() { String::new() } else { format!(" by {author}") };
                format!("{} {}{by}", text(opinion, "bundle"), text(opinion, "outcome"))
            }),
        ),
    ])?;
    Ok(Status::Done)
}
