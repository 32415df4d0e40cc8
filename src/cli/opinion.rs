//! `medseal opinion`: the expert's written answer, back to the institution that asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Context;
use super::answer::text;
use super::case::Outcome;
use super::documents_list;
use super::failure::Outcome as End;
use super::gather::gather;
use super::send::{refused, survey, upload};
use super::waiting::Waiting;
use super::words::Words;
use crate::id::{BundleId, CaseId};

/// Sends the expert's written opinion back, tied to the records that it answers.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal opinion case-0123456789abcdef opinion.pdf --outcome treatment-modified \\\n    \
    --author 'Dr Ada Muster' --registration DE-4711 --wait"
)]
pub(super) struct Opinion {
    /// The case that a partner sent.
    case: CaseId,
    /// The files of the opinion.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the expert concludes.
    #[arg(long)]
    outcome: Outcome,
    /// Who wrote it.
    #[arg(long, value_name = "NAME")]
    author: Option<Words>,
    /// The author's registration number.
    #[arg(long, value_name = "NUMBER")]
    registration: Option<String>,
    /// How far it stands.
    #[arg(long, default_value = "final")]
    status: Standing,
    /// The bundle that is answered, where more than one came in the case.
    #[arg(long, value_name = "BUNDLE")]
    answers: Option<BundleId>,
    /// A list with class, confidentiality, sensitivity and date of the files, as `send` takes it.
    #[arg(long, value_name = "FILE")]
    documents: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

/// How far an opinion stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Standing {
    /// More will come.
    Preliminary,
    /// Complete.
    Final,
    /// Adds to an earlier one.
    Addendum,
    /// Replaces an earlier one.
    Corrected,
}

impl Opinion {
    pub(super) fn run(self, context: &Context) -> End {
        let list = self.documents.as_deref().map(documents_list::read).transpose()?.unwrap_or_default();
        let found = gather(&self.files)?;
        documents_list::check(&list, found.iter().map(|found| &found.path))?;
        let api = context.api()?;
        let mut request = json!({
            "outcome": self.outcome.word(),
            "status": self.status.to_possible_value().expect("no standing is skipped").get_name(),
            "documents": survey(context, &found, list)?,
        });
        if let Some(author) = &self.author {
            request["author"] = json!(author.read()?);
        }
        if let Some(registration) = &self.registration {
            request["registration"] = json!(registration);
        }
        if let Some(answers) = &self.answers {
            request["answers"] = json!(answers);
        }
        let announced = api.post(&format!("/v1/cases/{}/opinion", self.case), &request).map_err(refused)?;
        let sealed = upload(context, &api, &text(&announced, "bundle"), &found)?;
        self.waiting.end(context, &api, &sealed)
    }
}
