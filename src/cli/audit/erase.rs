//! `medseal audit erase`: everything on file of a patient is destroyed, and the log says that it was.

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::answer::text;
use crate::cli::consent::identifier;
use crate::cli::failure::{Outcome, Status};
use crate::cli::words::Words;

/// Erases a patient: names, questions, file names, consents and sealed files. The log stays, and stays verifiable.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal audit erase --patient @patient.txt --basis 'GDPR 17(1)(b), request of 22 November'\n\
    It cannot be taken back, and afterwards nothing can be recalled or accounted for. A legal hold (LEGAL_HOLD), a\n\
    retention time that is not over (RETENTION_UNEXPIRED), and what is on its way or not recalled (CONFLICT) forbid it.\n\
    Backups hold the patient's key until they are overwritten."
)]
pub(in crate::cli) struct Erase {
    /// The patient as `SYSTEM|VALUE`. `-` or `@FILE` is read.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
    /// The rule or request that it rests on; it stays in the log for good, so it must not name the person.
    #[arg(long, value_name = "TEXT")]
    basis: Words,
    /// Why what partners have is not recalled before; it stays in the log for good, too.
    #[arg(long, value_name = "WHY")]
    without_recall: Option<Words>,
}

impl Erase {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let mut request = json!({ "patient": identifier(&self.patient.read()?)?, "basis": self.basis.read()? });
        if let Some(why) = self.without_recall {
            request["without_recall"] = why.read()?.into();
        }
        let done = context.api()?.post("/v1/erasures", &request)?;
        if context.out.is_json() {
            context.out.object(&done)?;
        } else {
            let count = |kind| text(&done["counts"], kind);
            context.out.line(format!(
                "erased: {} cases, {} consents, {} bundles sent, {} received; the log calls the patient {}",
                count("cases"),
                count("consents"),
                count("bundles"),
                count("inbox"),
                text(&done, "subject"),
            ))?;
        }
        Ok(Status::Done)
    }
}
