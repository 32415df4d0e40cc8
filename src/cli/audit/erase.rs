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
    It cannot be taken back. A legal hold (LEGAL_HOLD), a retention time that is not over (RETENTION_UNEXPIRED) and\n\
    whatever is still on its way (CONFLICT) forbid it. Backups hold the patient's key until they are overwritten."
)]
pub(in crate::cli) struct Erase {
    /// The patient as `SYSTEM|VALUE`. `-` or `@FILE` is read.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
    /// The rule or request that it rests on; it stays in the log for good, so it must not name the person.
    #[arg(long, value_name = "TEXT")]
    basis: Words,
}

impl Erase {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let request = json!({ "patient": identifier(&self.patient.read()?)?, "basis": self.basis.read()? });
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
