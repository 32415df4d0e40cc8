//! `medseal consent evidence`: the scans beside a consent, opened and written out.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::super::Context;
use super::super::answer::{list, text};
use super::super::failure::{Failure, Outcome, Status};
use crate::durable;
use crate::id::ConsentId;

/// Writes the scans that are kept beside a consent into a folder.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal consent evidence consent-0123456789abcdef --out scans\n\
    They lie in the folder in clear: remove them when they have been looked at.")]
pub(in crate::cli) struct Evidence {
    /// The consent.
    id: ConsentId,
    /// The folder; it is made if its own folder exists.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Evidence {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        let consent = api.get(&format!("/v1/consents/{}", self.id))?;
        if !self.out.is_dir() {
            durable::create_dir(&self.out, 0o700).with_context(|| self.out.display().to_string())?;
        }
        let mut written = Vec::new();
        for (number, scan) in (1..).zip(list(&consent, "evidence")) {
            let mut bytes = Vec::new();
            let mut scanned = api.download(&format!("/v1/consents/{}/evidence/{number}", self.id))?;
            scanned.read_to_end(&mut bytes).context("the scan")?;
            let media_type = text(scan, "media_type");
            let suffix = media_type.rsplit('/').next().unwrap_or_default();
            let path = self.out.join(format!("{}.{number}.{suffix}", self.id));
            durable::write_new(&path, &bytes, 0o600).map_err(|error| {
                Failure::unable(format!("{}: {error}", path.display())).hint("name a folder that does not hold it yet")
            })?;
            written.push(path.display().to_string());
        }
        if context.out.is_json() {
            context.out.object(&json!({ "items": written }))?;
        } else {
            written.iter().try_for_each(|path| context.out.line(path))?;
        }
        Ok(Status::Done)
    }
}
