//! `medseal incident`: whom an incident affects and whom to tell until when, as a page, a table and JSON.

mod page;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::failure::{Failure, Outcome, Status};
use super::{Context, csv};
use crate::desk::incident::{Affected, Incident as Found};
use crate::durable;
use crate::id::InstitutionId;

/// Says whom an incident affects, out of the log: patients, documents, recipients, countries, and the clocks that run.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal incident --partner nordhafen --from 2026-11-01 --known-at 2026-11-20T08:00:00Z --out incident\n\
    Others: --key FINGERPRINT (of `medseal key list` or of a partner's card, or age1...), --account UID, --from and --to.\n\
    Said together, all of them must hold. incident.html is the page for the first hour, incident.csv the whole list.\n\
    Patients are pseudonyms unless --names is said. An entry of the log says that it was asked."
)]
pub(super) struct Incident {
    /// A key that somebody else has: its fingerprint, or an age recipient.
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,
    /// The partner at whom it happened.
    #[arg(long, value_name = "ID")]
    partner: Option<InstitutionId>,
    /// The account here that somebody else used: a user's number.
    #[arg(long, value_name = "UID")]
    account: Option<u32>,
    /// The first moment, a day in UTC or a time.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The last moment.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// When it became known to your institution: the clocks run from here. Now, if it is left out.
    #[arg(long, value_name = "TIME")]
    known_at: Option<String>,
    /// Names the patients in the files. They are health records then: keep them on this machine.
    #[arg(long)]
    names: bool,
    /// The folder; it must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Incident {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let request = json!({
            "key": self.key, "partner": self.partner, "account": self.account, "from": self.from, "to": self.to,
            "known_at": self.known_at, "names": self.names,
        });
        let answer = context.api()?.post("/v1/incident", &request)?;
        let found: Found =
            serde_json::from_value(answer.clone()).map_err(|error| Failure::unable(error.to_string()))?;
        durable::create_dir(&self.out, 0o700)
            .with_context(|| self.out.display().to_string())
            .map_err(|error| Failure::from(error).hint("name a folder that does not exist"))?;
        let text = serde_json::to_vec_pretty(&answer).map_err(|error| Failure::unable(error.to_string()))?;
        let files = [
            ("incident.json", text),
            ("incident.csv", table(&found).into_bytes()),
            ("incident.html", page::page(&found).into_bytes()),
        ];
        for (name, bytes) in files {
            let path = self.out.join(name);
            durable::write_new(&path, &bytes, 0o600).with_context(|| path.display().to_string())?;
        }
        if context.out.is_json() {
            context.out.object(&json!({
                "subjects": found.subjects, "bundles": found.bundles, "documents": found.documents,
                "opened": found.opened, "unopened": found.unopened, "countries": found.countries, "known_at": found.known_at,
                "entry": found.entry, "clocks": found.clocks, "dir": self.out,
            }))?;
            return Ok(Status::Done);
        }
        context.out.line(format!(
            "{} patients; {} bundles with {} documents ({}): {}",
            found.subjects,
            found.bundles,
            found.documents,
            page::openings(&found),
            self.out.join("incident.html").display()
        ))?;
        // The next one that is not over, of a law that is in force in one of these countries.
        let next = found.clocks.iter().filter(|clock| !clock.countries.is_empty() && !clock.passed);
        if let Some((due, clock)) =
            next.filter_map(|clock| Some((clock.due.as_ref()?, clock))).min_by_key(|(due, _)| *due)
        {
            context.out.line(format!("the next moment: {}, {} ({})", page::moment(due), clock.whom, clock.source))?;
        }
        Ok(Status::Done)
    }
}

fn table(found: &Found) -> String {
    let heads = HEADS.map(str::to_owned).to_vec();
    csv::table([heads].into_iter().chain(found.affected.iter().map(fields)))
}

fn fields(one: &Affected) -> Vec<String> {
    let patient = one.patient.as_ref();
    let identifiers = patient.map(|patient| patient.identifiers.iter().map(ToString::to_string).collect::<Vec<_>>());
    vec![
        one.subject.clone(),
        patient.and_then(|patient| patient.name.clone()).unwrap_or_default(),
        patient.and_then(|patient| patient.birth_date.clone()).unwrap_or_default(),
        identifiers.unwrap_or_default().join(" "),
        if one.erased { "yes" } else { "no" }.to_owned(),
        one.way.clone(),
        one.bundle.clone(),
        one.case.clone(),
        one.party.clone(),
        one.country.clone(),
        one.content.clone(),
        one.documents.to_string(),
        one.classes.clone(),
        one.reached.clone(),
        one.opened.clone(),
        one.opened_how.clone(),
        one.fate.clone(),
        one.first.clone(),
        one.last.clone(),
        one.accounts.join(" "),
        one.entries.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
    ]
}

const HEADS: [&str; 21] = [
    "subject",
    "name",
    "birth_date",
    "identifiers",
    "erased",
    "way",
    "bundle",
    "case",
    "party",
    "country",
    "content",
    "documents",
    "classes",
    "reached",
    "opened",
    "opened_how",
    "fate",
    "first",
    "last",
    "accounts",
    "entries",
];
