//! `medseal audit report`: the accounting of disclosures that a patient may ask for, as a page, a table and JSON.

mod fhir;
mod page;
mod proofs;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::cli::consent::identifier;
use crate::cli::failure::{Failure, Outcome, Status};
use crate::cli::words::Words;
use crate::cli::{Context, csv};
use crate::desk::disclosures::{Line, Report as Accounting};
use crate::durable;

/// Writes what of a patient was disclosed to whom, when, why and on which basis: report.html, report.csv, report.json,
/// and a proof of each line.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit report --patient @patient.txt --from 2026-01-01 --out accounting\n\
    Each line names its entry of the log and the hash of its leaf, and a file in proofs/ that proves it:\n\
    medseal audit verify accounting/proofs/statement-42.tlog-proof --key accounting/log.vkey\n\
    It tells of nobody else. The files hold the patient's\n\
    identifier in clear: hand them over, and remove them.")]
pub(in crate::cli) struct Report {
    /// The patient as `SYSTEM|VALUE`. `-` or `@FILE` is read.
    #[arg(long, value_name = "SYSTEM|VALUE")]
    patient: Words,
    /// The first day, in UTC.
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<String>,
    /// The last day, in UTC.
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<String>,
    /// The officer's copy: also what was refused, attempts that did not deliver, and legal holds.
    #[arg(long)]
    officer: bool,
    /// Also writes report.fhir.ndjson: one FHIR R4 audit event for each line, disclosures in the shapes of IHE BALP.
    #[arg(long)]
    fhir: bool,
    /// The folder; it must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Report {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let request = json!({
            "patient": identifier(&self.patient.read()?)?, "from": self.from, "to": self.to, "officer": self.officer,
        });
        let api = context.api()?;
        let answer = api.post("/v1/audit/disclosures", &request)?;
        let mut accounting: Accounting =
            serde_json::from_value(answer).map_err(|error| Failure::unable(error.to_string()))?;
        durable::create_dir(&self.out, 0o700)
            .with_context(|| self.out.display().to_string())
            .map_err(|error| Failure::from(error).hint("name a folder that does not exist"))?;
        proofs::write(&api, &mut accounting, &self.out)?;
        let text = serde_json::to_vec_pretty(&accounting).map_err(|error| Failure::unable(error.to_string()))?;
        let mut files = vec![
            ("report.json", text),
            ("report.csv", table(&accounting).into_bytes()),
            ("report.html", page::page(&accounting).into_bytes()),
        ];
        if self.fhir {
            files.push(("report.fhir.ndjson", fhir::ndjson(&accounting).into_bytes()));
        }
        for (name, bytes) in files {
            let path = self.out.join(name);
            durable::write_new(&path, &bytes, 0o600).with_context(|| path.display().to_string())?;
        }
        let disclosures = accounting.lines.iter().filter(|line| line.disclosure).count();
        if context.out.is_json() {
            context
                .out
                .object(&json!({ "disclosures": disclosures, "lines": accounting.lines.len(), "dir": self.out }))?;
        } else {
            context.out.line(format!(
                "{disclosures} disclosures, {} lines in {}",
                accounting.lines.len(),
                self.out.display()
            ))?;
        }
        Ok(Status::Done)
    }
}

fn table(accounting: &Accounting) -> String {
    let heads = HEADS.map(str::to_owned).to_vec();
    csv::table([heads].into_iter().chain(accounting.lines.iter().map(fields)))
}

fn fields(line: &Line) -> Vec<String> {
    vec![
        line.at.clone(),
        line.what.clone(),
        if line.disclosure { "yes" } else { "no" }.to_owned(),
        line.party.clone(),
        line.address.clone(),
        line.description.clone(),
        line.purpose.clone(),
        line.basis.clone(),
        line.receipt.clone(),
        line.bundle.clone(),
        line.case.clone(),
        line.seq.to_string(),
        line.leaf.clone(),
        line.proof.clone(),
    ]
}

const HEADS: [&str; 14] = [
    "date",
    "what",
    "disclosure",
    "party",
    "address",
    "description",
    "purpose",
    "basis",
    "receipt",
    "bundle",
    "case",
    "entry",
    "leaf",
    "proof",
];
