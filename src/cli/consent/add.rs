//! `medseal consent add`: reads the consent and the scans of the paper, and hands them to the gateway.
//!
//! Rule: the files are read here; the gateway gets bytes and never a path.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use serde_json::json;

use super::super::Context;
use super::super::failure::{Failure, Outcome};
use super::show;
use crate::config::EVIDENCE_BYTES_MAX;
use crate::consent::CONSENT_BYTES_MAX;
use crate::reason::Reason;

/// Records a patient's consent and says what it permits.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal consent add consent.json --evidence signed-paper.pdf\n\
    The file is a FHIR Consent resource (R4 or R5) as JSON, or the notification of a consent manager of India's health\n\
    network (ABDM) as it came; docs/CONSENT.md names the parts that are understood. One that is not understood is\n\
    refused. A notification that an artefact on file was revoked withdraws it.\n\
    Compare what is printed with the paper: it is what medseal will act on.")]
pub(in crate::cli) struct Add {
    /// The consent as JSON; `-` reads standard input.
    file: PathBuf,
    /// A scan of the paper (PDF, PNG, JPEG or TIFF) to be kept beside it, sealed; may be given several times.
    #[arg(long, value_name = "SCAN")]
    evidence: Vec<PathBuf>,
}

impl Add {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let name = self.file.display().to_string();
        let resource = if name == "-" {
            read(io::stdin(), CONSENT_BYTES_MAX).context("standard input")?
        } else {
            File::open(&self.file).and_then(|file| read(file, CONSENT_BYTES_MAX)).with_context(|| name.clone())?
        };
        if resource.len() > CONSENT_BYTES_MAX {
            let found = format!("{name} is longer than a consent may be: {CONSENT_BYTES_MAX} bytes");
            return Err(Failure::bad_input(Reason::LimitExceeded, found)
                .hint("a scan of the paper belongs beside the consent: --evidence SCAN"));
        }
        // Found here, the place in the file can be named.
        serde_json::from_slice::<serde::de::IgnoredAny>(&resource).map_err(|error| {
            Failure::bad_input(Reason::BadInput, format!("{name} is not JSON: {error}"))
                .hint("a consent is a FHIR Consent resource as JSON; docs/CONSENT.md has an example")
        })?;
        if self.evidence.is_empty() {
            return show(context, &context.api()?.post_bytes("/v1/consents", resource)?);
        }
        let consent = String::from_utf8(resource)
            .map_err(|_| Failure::bad_input(Reason::BadInput, format!("{name} is not UTF-8 text")))?;
        let mut evidence = Vec::new();
        for path in &self.evidence {
            let scan = File::open(path).and_then(|file| read(file, EVIDENCE_BYTES_MAX));
            evidence.push(BASE64.encode(scan.with_context(|| path.display().to_string())?));
        }
        let request = json!({ "consent": consent, "evidence": evidence });
        show(context, &context.api()?.post("/v1/consents/evidenced", &request)?)
    }
}

/// Reads all of it, or one byte more than is allowed: the gateway then says what is.
fn read(from: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
