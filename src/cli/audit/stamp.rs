//! `medseal audit stamp`: the time of an authority outside, under a checkpoint.

use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use crate::audit::stamp::STAMP_BYTES_MAX;
use crate::cli::Context;
use crate::cli::answer::{items, moment, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::durable;
use crate::reason::Reason;

/// Has a time stamp authority say that a checkpoint existed (RFC 3161): writes the request, keeps the answer, or lists.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit stamp --request now.tsq\n         \
    curl -H 'Content-Type: application/timestamp-query' --data-binary @now.tsq -o now.tsr https://AUTHORITY\n         \
    medseal audit stamp --response now.tsr\n\
    The gateway asks nobody itself. Exports carry each stamp as stamps/N.note and stamps/N.tsr; whoever trusts the\n\
    authority verifies: openssl ts -verify -data stamps/N.note -in stamps/N.tsr -CAfile authority.pem")]
pub(in crate::cli) struct Stamp {
    /// Where to write the request about the newest checkpoint; no file that exists is written over.
    #[arg(long, value_name = "FILE.tsq", conflicts_with = "response")]
    request: Option<PathBuf>,
    /// What the authority answered.
    #[arg(long, value_name = "FILE.tsr")]
    response: Option<PathBuf>,
}

impl Stamp {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        if let Some(path) = &self.request {
            let answer = api.post("/v1/audit/stamps/request", &Value::Null)?;
            let request = STANDARD.decode(text(&answer, "request"));
            let request = request.map_err(|error| Failure::unable(format!("the request: {error}")))?;
            durable::write_new(path, &request, 0o644).with_context(|| path.display().to_string())?;
            if context.out.is_json() {
                context.out.object(&json!({ "entries": answer["entries"], "request": path }))?;
            } else {
                context.out.line(format!(
                    "{}: about the log of {} entries",
                    path.display(),
                    text(&answer, "entries")
                ))?;
            }
            return Ok(Status::Done);
        }
        if let Some(path) = &self.response {
            let bytes = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
            if usize::try_from(bytes).map_or(true, |bytes| bytes > STAMP_BYTES_MAX) {
                return Err(Failure::bad_input(Reason::BadInput, format!("{} is too long", path.display())));
            }
            let answer = std::fs::read(path).with_context(|| path.display().to_string())?;
            let kept = api.post("/v1/audit/stamps", &json!({ "response": STANDARD.encode(answer) }))?;
            if context.out.is_json() {
                context.out.object(&kept)?;
            } else {
                context.out.line(format!("{} entries existed at {}", text(&kept, "entries"), moment(&kept, "at")))?;
                context.out.say("the authority's signature was not verified here: `openssl ts -verify` does it");
            }
            return Ok(Status::Done);
        }
        let answer = api.get("/v1/audit/stamps")?;
        if context.out.is_json() {
            context.out.object(&answer)?;
        } else {
            let rows: Vec<_> =
                items(&answer).iter().map(|stamp| vec![text(stamp, "entries"), moment(stamp, "at")]).collect();
            context.out.table(&["ENTRIES", "EXISTED AT"], &rows)?;
        }
        Ok(Status::Done)
    }
}
