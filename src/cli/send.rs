//! `medseal send`: documents become a bundle that waits for its release.
//!
//! Rule: everything that can be refused is refused before the first byte is sent, and by name.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::answer::text;
use super::documents_list;
use super::failure::{Failure, Outcome};
use super::gather::{Found, gather};
use super::heads::{self, BUFFER_BYTES, HEAD_BYTES};
use super::waiting::Waiting;
use super::words::Words;
use crate::bundle::claim::{Claim, Given};
use crate::bundle::path::BundlePath;
use crate::bundle::tar_write::TarWriter;
use crate::client::{Api, ApiError, Upload};
use crate::id::{CaseId, InstitutionId};

/// Seals documents for a case's partner and queues them for release.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal send /export/4711 --case case-0123456789abcdef --wait\n\
    A folder stands for its contents, hidden files included. The patient named inside the documents is compared with\n\
    the case: another patient's document is refused by name, unless --confirm-patient says why it belongs there.\n\
    In an emergency: medseal send DIR --case CASE --break-glass --clinician 'Dr Rao' --reason @why.txt\n\
    With --wait the exit status is 0 when it was delivered, 1 when it was refused, 75 when the time was over.")]
pub(super) struct Send {
    /// Folders or files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The case that they belong to.
    #[arg(long)]
    case: CaseId,
    /// Another partner than the case's.
    #[arg(long, value_name = "ID")]
    partner: Option<InstitutionId>,
    /// A list, as JSON or CSV, with path, class, confidentiality, sensitivity and date of what cannot be read from the
    /// files; every path must exist.
    #[arg(long, value_name = "FILE")]
    documents: Option<PathBuf>,
    /// Why documents that name another patient belong to this case; recorded. `-` or `@FILE` is read.
    #[arg(long, value_name = "WHY")]
    confirm_patient: Option<Words>,
    /// Goes before others in the queue.
    #[arg(long)]
    urgent: bool,
    /// An emergency: nobody can be asked for a consent. The case must be opened for ETREAT or BTG, two other people
    /// must approve it, and it is over after a few hours. It never overrides what the patient has said.
    #[arg(long, requires = "clinician", requires = "reason")]
    break_glass: bool,
    /// The clinician who answers for the emergency. `-` or `@FILE` is read.
    #[arg(long, value_name = "NAME", requires = "break_glass")]
    clinician: Option<Words>,
    /// Why the patient cannot be asked, and why it cannot wait. `-` or `@FILE` is read.
    #[arg(long, value_name = "TEXT", requires = "break_glass")]
    reason: Option<Words>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Send {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let list = self.documents.as_deref().map(documents_list::read).transpose()?.unwrap_or_default();
        let confirmed = self.confirm_patient.as_ref().map(Words::read).transpose()?;
        let found = gather(&self.paths)?;
        documents_list::check(&list, found.iter().map(|found| &found.path))?;
        let api = context.api()?;
        let claims = survey(context, &found, list)?;
        let mut request = json!({ "case": self.case, "urgent": self.urgent, "documents": claims });
        if let Some(partner) = &self.partner {
            request["partner"] = json!(partner);
        }
        if let Some((clinician, reason)) = self.clinician.as_ref().zip(self.reason.as_ref()) {
            request["break_glass"] = json!({ "clinician": clinician.read()?, "reason": reason.read()? });
        }
        if let Some(why) = confirmed {
            request["confirm_patient"] = json!(why);
        }
        let announced = api.post("/v1/bundles", &request).map_err(refused)?;
        let sealed = upload(context, &api, &text(&announced, "bundle"), &found)?;
        for path in super::answer::list(&sealed, "not_checked") {
            let path = path.as_str().unwrap_or_default();
            context.out.say(format!("note: {path}: nobody could check which patient this is about"));
        }
        for empty in found.iter().filter(|found| found.bytes == 0) {
            context.out.say(format!("note: {}: this file is empty", empty.path));
        }
        self.waiting.end(context, &api, &sealed)
    }
}

/// What the documents say of themselves, by their heads: enough to refuse early, bounded whatever they are.
pub(super) fn survey(
    context: &Context,
    found: &[Found],
    mut list: BTreeMap<BundlePath, Given>,
) -> Result<Vec<Claim>, Failure> {
    let progress = context.out.progress("reading", found.iter().map(|found| found.bytes.min(HEAD_BYTES)).sum());
    let mut buffer = vec![0; BUFFER_BYTES];
    found
        .iter()
        .map(|document| {
            let seen = heads::survey(document, &mut buffer, |bytes| progress.advance(bytes))?;
            let given = list.remove(&document.path).unwrap_or_default();
            Ok(Claim { path: document.path.clone(), bytes: document.bytes, given, seen: seen.into() })
        })
        .collect()
}

/// Streams the documents of an announced bundle, in the order of the claims.
pub(super) fn upload(context: &Context, api: &Api, bundle: &str, found: &[Found]) -> Result<Value, Failure> {
    let mut upload = api.upload(&format!("/v1/bundles/{bundle}/content"))?;
    match archive(context, &mut upload, found) {
        Ok(()) => upload.finish().map_err(refused),
        Err(Stopped::Document(failure)) => Err(failure.fact("bundle", bundle)),
        // The gateway stopped reading before the end: its answer says why.
        Err(Stopped::Line(error)) => match upload.answer() {
            Ok(_) => Err(ApiError::Broke(error.to_string()).into()),
            Err(error) => Err(refused(error)),
        },
    }
}

/// Why the documents did not go out to the end.
enum Stopped {
    Document(Failure),
    Line(io::Error),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Document(failure)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Line(error)
    }
}

fn archive(context: &Context, upload: &mut Upload<'_>, found: &[Found]) -> Result<(), Stopped> {
    let progress = context.out.progress("sealing", found.iter().map(|found| found.bytes).sum());
    let mut archive = TarWriter::new(&mut *upload);
    let mut buffer = vec![0; BUFFER_BYTES];
    for document in found {
        let mut opened = document.open()?;
        let mut entry = archive.file(document.path.as_str(), document.bytes)?;
        loop {
            let read = opened.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            entry.write_all(&buffer[..read])?;
            progress.advance(read as u64);
        }
        // The gateway seals as the bytes come: only now is it known that they are those of one state of the file.
        opened.check()?;
        entry.finish()?;
    }
    archive.finish()?;
    Ok(())
}

/// A bundle that was refused before it was sealed has an id and an end all the same.
pub(super) fn refused(error: ApiError) -> Failure {
    let failure = Failure::from(error);
    match failure.reason_code().map(str::to_owned) {
        Some(code) if failure.has_fact("bundle") => failure.fact("state", "refused").fact("reason", code),
        _ => failure,
    }
}
