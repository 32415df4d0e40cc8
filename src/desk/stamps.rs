//! Time stamps by an authority outside: what to ask it, and what it answered.
//!
//! Rule: the note that was asked about is kept before anybody is asked; this gateway speaks to no authority itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Staff, audit};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::audit::note::Checkpoint;
use crate::audit::proof;
use crate::audit::stamp::{self, StampError};
use crate::audit::verify::{Finding, Kind};
use crate::clock;
use crate::durable;
use crate::gateway::Gateway;
use crate::id::Digest;
use crate::problem::Problem;
use crate::reason::Reason;

/// What an authority is to be asked.
#[derive(Debug, Serialize)]
pub struct StampRequest {
    /// How many entries the note covers.
    pub entries: u64,
    /// The request, in base64.
    pub request: String,
}

/// What an authority answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StampAnswer {
    /// The answer, in base64.
    pub response: String,
}

/// A stamp that is kept.
#[derive(Debug, Serialize)]
pub struct StampView {
    /// How many entries its note covers.
    pub entries: u64,
    /// When it was stamped, by the authority's clock.
    pub at: String,
    /// The note that was stamped.
    pub note: String,
    /// The answer, in base64.
    pub response: String,
}

/// Makes a checkpoint, countersigned if that can be had, keeps it, and says what to ask an authority about it.
pub async fn request(gateway: &Gateway) -> Result<StampRequest, Problem> {
    let note = audit::checkpoint_to_show(gateway).await?;
    let size = Checkpoint::claimed(note.as_bytes()).map_err(|error| Problem::internal("the log", &error))?.size;
    let dir = gateway.home.stamps();
    if !dir.is_dir() {
        durable::create_dir(&dir, 0o700).map_err(failed)?;
    }
    let path = named(&dir, size, NOTE);
    // Who asks again about the same log asks about the same bytes: one of two answers would find no note otherwise.
    let note = match durable::write_new(&path, note.as_bytes(), 0o644) {
        Ok(()) => note.into_bytes(),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => fs::read(&path).map_err(failed)?,
        Err(why) => return Err(failed(why)),
    };
    Ok(StampRequest { entries: size, request: STANDARD.encode(stamp::request(&note)) })
}

/// Keeps an answer beside the note that it is about.
pub async fn keep(gateway: &Gateway, staff: Staff, answer: StampAnswer) -> Result<StampView, Problem> {
    let bad =
        |text: String| Problem::bad_input(Reason::BadInput, text).hint("give the file that the authority answered");
    let bytes = STANDARD.decode(&answer.response).map_err(|_| bad("the answer is not base64".to_owned()))?;
    let stamped = stamp::read(&bytes).map_err(|error| match error {
        StampError::Refused(_) => Problem::refused(Reason::BadInput, error.to_string()).hint("ask another authority"),
        error => bad(error.to_string()),
    })?;
    let dir = gateway.home.stamps();
    for size in sizes(&dir)? {
        let note = fs::read(named(&dir, size, NOTE)).map_err(failed)?;
        if Digest::of(&note) != stamped.imprint {
            continue;
        }
        let checkpoint = Checkpoint::claimed(&note).map_err(|error| Problem::internal("the stamped note", &error))?;
        let path = named(&dir, size, ANSWER);
        if path.exists() {
            return Err(Problem::conflict(format!("the note of {size} entries is stamped already")));
        }
        durable::write_new(&path, &bytes, 0o644).map_err(failed)?;
        let entry = Happened::stamped(&checkpoint, &clock::stamp(stamped.at), Digest::of(&bytes)).by(staff.uid);
        gateway.enter(entry, Change::default()).await?;
        return view(&dir, size)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()));
    }
    Err(Problem::refused(Reason::BadInput, "the answer is about nothing that was asked")
        .hint("`medseal audit stamp --request FILE` makes a request; its answer belongs to it alone"))
}

/// Every stamp that is kept, the oldest first.
pub fn list(gateway: &Gateway) -> Result<Vec<StampView>, Problem> {
    let dir = gateway.home.stamps();
    let views = sizes(&dir)?.into_iter().map(|size| view(&dir, size));
    Ok(views.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The first note that an authority was asked about and that our log is no continuation of, or that its answer is not
/// about. Only our own key counts.
pub fn check(gateway: &Gateway) -> Result<Option<Finding>, Problem> {
    let (dir, keys) = (gateway.home.stamps(), std::slice::from_ref(gateway.log.key()));
    for size in sizes(&dir)? {
        let note = fs::read(named(&dir, size, NOTE)).map_err(failed)?;
        let Ok(signed) = Checkpoint::open(&note, keys) else { continue };
        let beyond = signed.size > gateway.log.size();
        let root = if beyond { None } else { Some(proof::root(signed.size, &gateway.log.reader().tree())) };
        let root = root.transpose().map_err(|error| Problem::internal("the log", &error))?;
        if root != Some(signed.root) {
            let message = format!("the log is not the one whose first {} entries were signed and stamped", signed.size);
            return Ok(Some(Finding { seq: signed.size.saturating_sub(1), kind: Kind::Forked, message }));
        }
        let answer = fs::read(named(&dir, size, ANSWER)).ok();
        if answer.is_some_and(|answer| !stamp::read(&answer).is_ok_and(|read| read.imprint == Digest::of(&note))) {
            let message =
                format!("the time stamp that is kept over the note of {size} entries is about something else");
            return Ok(Some(Finding { seq: signed.size.saturating_sub(1), kind: Kind::BadFile, message }));
        }
    }
    Ok(None)
}

fn view(dir: &Path, size: u64) -> Result<Option<StampView>, Problem> {
    let answer = match fs::read(named(dir, size, ANSWER)) {
        Ok(answer) => answer,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(why)),
    };
    let note = fs::read_to_string(named(dir, size, NOTE)).map_err(failed)?;
    let at = stamp::read(&answer).map_err(|error| Problem::internal("a kept stamp", &error))?.at;
    Ok(Some(StampView { entries: size, at: clock::stamp(at), note, response: STANDARD.encode(answer) }))
}

/// The sizes of the notes that somebody was asked about.
fn sizes(dir: &Path) -> Result<Vec<u64>, Problem> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let names = fs::read_dir(dir).map_err(failed)?.flatten().map(|entry| entry.file_name());
    let mut sizes: Vec<u64> = names.filter_map(|name| name.to_str()?.strip_suffix(NOTE)?.parse().ok()).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

fn named(dir: &Path, size: u64, end: &str) -> PathBuf {
    dir.join(format!("{size}{end}"))
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn failed(why: io::Error) -> Problem {
    Problem::internal("the stamps", &why)
}

const NOTE: &str = ".note";
const ANSWER: &str = ".tsr";
