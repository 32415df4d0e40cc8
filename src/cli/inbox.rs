//! `medseal inbox`: what came in, and how it leaves the gateway for the reader's own workstation.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, moment, text};
use super::failure::{Failure, Outcome, Status};
use crate::durable;
use crate::id::BundleId;

/// Lists what came in, newest first; or shows one bundle, or saves it as it came.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples: medseal inbox\n          medseal inbox bundle-0123456789abcdef --save /media/reader\n\
    --save writes the sealed file, the sealed notices, the dispatch with its signature, and the sender's card: all that\n\
    `medseal open FILE` or age and ssh-keygen need on a machine without a gateway."
)]
pub(super) struct Inbox {
    /// One bundle.
    bundle: Option<BundleId>,
    /// The folder that takes the sealed bundle and its dispatch.
    #[arg(long, value_name = "DIR", requires = "bundle")]
    save: Option<PathBuf>,
}

impl Inbox {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match (&self.bundle, &self.save) {
            (None, _) => list(context),
            (Some(bundle), None) => show(context, bundle),
            (Some(bundle), Some(folder)) => save(context, bundle, folder),
        }
    }
}

fn list(context: &Context) -> Outcome {
    let answer = context.api()?.get("/v1/inbox")?;
    if context.out.is_json() {
        context.out.object(&answer)?;
        return Ok(Status::Done);
    }
    let rows: Vec<Vec<String>> = items(&answer)
        .iter()
        .map(|item| {
            let field = |name| text(item, name);
            let (received, opened) = (moment(item, "received"), moment(item, "opened"));
            let what = [field("kind"), field("purpose")].join(" ");
            vec![field("bundle"), field("case"), field("from"), what, field("state"), received, opened]
        })
        .collect();
    context.out.table(&["BUNDLE", "CASE", "FROM", "KIND", "STATE", "RECEIVED", "OPENED"], &rows)?;
    Ok(Status::Done)
}

fn show(context: &Context, bundle: &BundleId) -> Outcome {
    let item = context.api()?.get(&format!("/v1/inbox/{bundle}"))?;
    if context.out.is_json() {
        context.out.object(&item)?;
        return Ok(Status::Done);
    }
    let notices = if item.get("notices").is_some() { "sealed to the reader; `medseal open` shows them" } else { "" };
    let recall = &item["recall"];
    let said = [("cause", ""), ("received", "received "), ("destroyed", "sealed file destroyed ")];
    let recalled: Vec<String> = said
        .iter()
        .map(|(name, says)| (says, moment(recall, name)))
        .filter(|(_, at)| !at.is_empty())
        .map(|(says, at)| format!("{says}{at}"))
        .collect();
    context.out.facts(&[
        ("bundle", text(&item, "bundle")),
        ("case", text(&item, "case")),
        ("from", text(&item, "from")),
        ("kind", text(&item, "kind")),
        ("purpose", text(&item, "purpose")),
        ("state", text(&item, "state")),
        ("received", moment(&item, "received")),
        ("recalled", recalled.join(", ")),
        ("opened", moment(&item, "opened")),
        ("erase by", moment(&item, "erase_at")),
        ("notices", notices.to_owned()),
        ("sealed bytes", text(&item, "sealed_bytes")),
        ("sealed sha256", text(&item, "sealed_sha256")),
    ])?;
    Ok(Status::Done)
}

fn save(context: &Context, bundle: &BundleId, folder: &Path) -> Outcome {
    let api = context.api()?;
    let item = api.get(&format!("/v1/inbox/{bundle}"))?;
    let sealed = folder.join(format!("{bundle}.age"));
    let card = folder.join(format!("{}.card", text(&item, "from")));
    let written = |path: &Path, error: &io::Error| {
        Failure::unable(format!("{}: {error}", path.display()))
            .hint("name a folder that holds none of it yet; it is made if its own folder exists")
    };
    if !folder.is_dir() {
        durable::create_dir(folder, 0o700).map_err(|error| written(folder, &error))?;
    }
    let mut from = api.download(&format!("/v1/inbox/{bundle}/content"))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&sealed)
        .map_err(|error| written(&sealed, &error))?;
    let progress = context.out.progress("saving", item.get("sealed_bytes").and_then(Value::as_u64).unwrap_or(0));
    let copied = copy(&mut from, &mut file, &progress).and_then(|()| file.sync_all());
    drop(progress);
    if let Err(error) = copied {
        // Half a sealed file opens as little as none.
        fs::remove_file(&sealed).with_context(|| format!("{}: {error}, and it cannot be removed", sealed.display()))?;
        return Err(written(&sealed, &error));
    }
    for (name, content) in [("dispatch.json", "dispatch"), ("dispatch.json.sig", "signature")] {
        let path = folder.join(format!("{bundle}.{name}"));
        durable::write_new(&path, text(&item, content).as_bytes(), 0o600).map_err(|error| written(&path, &error))?;
    }
    if let Some(notices) = notices_of(&item)? {
        let path = folder.join(format!("{bundle}{NOTICES_ENDING}"));
        durable::write_new(&path, &notices, 0o600).map_err(|error| written(&path, &error))?;
    }
    // The card of a sender lies there once, however many of its bundles are saved.
    durable::replace(&card, text(&item, "card").as_bytes(), 0o644).map_err(|error| written(&card, &error))?;
    if context.out.is_json() {
        context.out.object(&json!({ "bundle": bundle, "sealed": sealed, "card": card }))?;
    } else {
        context.out.line(sealed.display().to_string())?;
    }
    Ok(Status::Done)
}

/// The sealed notices of a bundle that came in; `None`: it came with none.
pub(super) fn notices_of(item: &Value) -> Result<Option<Vec<u8>>, Failure> {
    let Some(notices) = item.get("notices").and_then(Value::as_str) else { return Ok(None) };
    BASE64.decode(notices).map(Some).map_err(|_| Failure::unable("the gateway's answer holds no notices"))
}

/// What the file of the sealed notices ends with, beside `X.age`.
pub(super) const NOTICES_ENDING: &str = ".notices.age";

fn copy(from: &mut impl io::Read, into: &mut impl io::Write, progress: &super::output::Progress) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => {
                into.write_all(&buffer[..read])?;
                progress.advance(read as u64);
            }
        }
    }
}
