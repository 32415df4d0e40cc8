//! `medseal audit compare`: whether two notes of one log, kept by two people, tell one history.
//!
//! Rule: it ends with 0 only when both signatures were verified and the later note continues the earlier one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::keys::log_keys;
use crate::audit::compare::{CompareError, Pair, Verdict, Witnessed};
use crate::audit::export::read_entries;
use crate::audit::leaves::Leaves;
use crate::audit::note::{Checkpoint, LogKey, NOTE_BYTES_MAX};
use crate::audit::witness::read_proof;
use crate::cli::Context;
use crate::cli::answer::{list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::reason::Reason;

/// Compares two signed checkpoints of one log: the same, one after the other, or the proof of two histories.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal audit compare checkpoint-mine checkpoint-theirs --key log.vkey --export export-2026\n\
    Two notes of different sizes need the entries: the running gateway whose log it is, --export DIR, or a --proof FILE\n\
    that `medseal audit checkpoint --since N --proof FILE` wrote. Exit status 0: the same or consistent; 1: two histories,\n\
    or a signature that does not verify; 2: it cannot be told yet."
)]
pub(in crate::cli) struct Compare {
    /// A note: what `medseal audit checkpoint` printed, or the file `checkpoint` of an export.
    first: PathBuf,
    /// The other note.
    second: PathBuf,
    /// The log's key: NAME+KEYID+BASE64, a file that holds it, or a card; else the keys that the gateway knows.
    #[arg(long, value_name = "VKEY|FILE|CARD")]
    key: Vec<String>,
    /// An export that holds the entries.
    #[arg(long, value_name = "DIR", conflicts_with = "proof")]
    export: Option<PathBuf>,
    /// The proof that the later note continues the earlier one.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
}

impl Compare {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let mut keys = log_keys(&self.key)?;
        if keys.is_empty() {
            keys = known_keys(context)?;
        }
        let (first, second) = (read_note(&self.first)?, read_note(&self.second)?);
        let pair = Pair::open(&first, &second, &keys).map_err(|error| refused(&error))?;
        let mut verdict = pair.alone();
        let mut witnessed = None;
        let by = if verdict == Verdict::NeedsProof {
            if let Some(path) = &self.proof {
                let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
                let proof = read_proof(&bytes)
                    .map_err(|error| Failure::bad_input(Reason::BadInput, format!("{}: {error}", path.display())))?;
                verdict = if pair.proves(&proof) { Verdict::Continues } else { Verdict::NeedsProof };
                path.display().to_string()
            } else if let Some(dir) = &self.export {
                witnessed = from_export(dir, &pair)?;
                format!("the entries in {}", dir.display())
            } else {
                witnessed = from_home(context, &pair);
                "the entries of this gateway".to_owned()
            }
        } else {
            "the notes themselves".to_owned()
        };
        if let Some(witnessed) = &witnessed {
            verdict = pair.with(witnessed);
        }
        tell(context, &pair, verdict, &by, witnessed.as_ref())
    }
}

/// A note that was kept as a file.
pub(super) fn read_note(path: &Path) -> Result<Vec<u8>, Failure> {
    let note = std::fs::read(path).with_context(|| path.display().to_string())?;
    if note.len() > NOTE_BYTES_MAX {
        return Err(Failure::bad_input(Reason::BadInput, format!("{} is too long for a note", path.display())));
    }
    Ok(note)
}

/// The keys of our own log and of the partners' logs.
fn known_keys(context: &Context) -> Result<Vec<LogKey>, Failure> {
    let hint = "name the log's key with --key: the card of its institution and every export hold it";
    let keys = context.api().and_then(|api| Ok(api.get("/v1/audit/keys")?)).map_err(|failure| failure.hint(hint))?;
    let all = ["vkeys", "partners"].into_iter().flat_map(|name| list(&keys, name));
    Ok(all.filter_map(|key| key.as_str()?.parse().ok()).collect())
}

/// Both roots and the proof between them, from the entries of an export; nothing if it has too few.
fn from_export(dir: &Path, pair: &Pair) -> Result<Option<Witnessed>, Failure> {
    let what = || dir.display().to_string();
    let mut leaves = Leaves::default();
    for line in read_entries(dir).with_context(what)? {
        if leaves.size() == pair.newer.size {
            break;
        }
        leaves.push(&line.with_context(what)?);
    }
    Ok(leaves.witnessed(pair.older.size, pair.newer.size))
}

/// The same from the gateway that runs, if the notes are of its own log and not longer than that.
fn from_home(context: &Context, pair: &Pair) -> Option<Witnessed> {
    let api = context.api().ok()?;
    let keys = api.get("/v1/audit/keys").ok()?;
    if text(&keys, "origin") != pair.older.origin.as_str() {
        return None;
    }
    let answer = api.get(&format!("/v1/audit/growth?old={}&new={}", pair.older.size, pair.newer.size)).ok()?;
    let digest = |value: &Value| value.as_str()?.parse().ok();
    let proof: Option<Vec<_>> = list(&answer, "proof").iter().map(digest).collect();
    Some(Witnessed { older: digest(&answer["old_root"])?, newer: digest(&answer["new_root"])?, proof: proof? })
}

fn refused(error: &CompareError) -> Failure {
    match error {
        CompareError::TwoLogs(..) => Failure::bad_input(Reason::BadInput, error.to_string())
            .hint("compare two notes of one log: the first line of each names it"),
        _ => Failure::refused(Reason::BadSignature, error.to_string())
            .hint("a note counts by its log's signature only: take the key from the institution's card"),
    }
}

fn tell(context: &Context, pair: &Pair, verdict: Verdict, by: &str, witnessed: Option<&Witnessed>) -> Outcome {
    let (older, newer) = (&pair.older, &pair.newer);
    let side = |note: &Checkpoint| json!({ "entries": note.size, "root": note.root });
    let status = match verdict {
        Verdict::Same | Verdict::Continues => Status::Done,
        Verdict::TwoRoots | Verdict::OlderElsewhere | Verdict::NewerElsewhere | Verdict::BothElsewhere => {
            Status::Refused
        }
        Verdict::NeedsProof => Status::Unable,
    };
    if context.out.is_json() {
        context.out.object(&json!({
            "verdict": verdict.word(), "origin": older.origin.as_str(), "older": side(older), "newer": side(newer), "by": by,
        }))?;
    } else {
        for line in words(pair, verdict, by, witnessed) {
            context.out.line(line)?;
        }
    }
    match status {
        Status::Refused => {
            context.out.say("error: the two notes cannot both be of one log that only grew");
            context
                .out
                .say("hint: keep both files as they are: together they prove it to anyone who has the log's key");
        }
        Status::Unable => {
            context.out.say("error: these notes alone cannot tell");
            context.out.say(format!(
                "hint: ask the log's institution for `medseal audit checkpoint --since {} --proof FILE` or an export, and \
                 name it with --proof or --export",
                older.size
            ));
        }
        _ => {}
    }
    Ok(status)
}

/// What the notes say, for a person.
fn words(pair: &Pair, verdict: Verdict, by: &str, witnessed: Option<&Witnessed>) -> Vec<String> {
    let (older, newer) = (&pair.older, &pair.newer);
    let mut lines = vec![format!("both notes are signed by {}: the signatures verify", older.origin)];
    match verdict {
        Verdict::Same => lines.push(format!("same: {} entries, root {}", older.size, older.root)),
        Verdict::Continues => {
            lines.push(format!("consistent: {} entries continue {} entries, shown by {by}", newer.size, older.size));
        }
        Verdict::TwoRoots => lines.extend([
            format!("FORK: of {} entries there are two signed roots", older.size),
            format!("  {}", older.root),
            format!("  {}", newer.root),
        ]),
        Verdict::OlderElsewhere | Verdict::NewerElsewhere => {
            lines.push(format!("FORK: {by} lead to one of the notes only"));
        }
        Verdict::BothElsewhere => lines.push(format!("neither note is of the log that was looked at, {by}")),
        Verdict::NeedsProof => {
            lines.push(format!("not known yet: {} and {} entries need a proof between them", older.size, newer.size));
        }
    }
    if let (false, Some(found)) = (verdict == Verdict::Continues, witnessed) {
        for (which, note, root) in [("older", older, found.older), ("newer", newer, found.newer)] {
            lines.push(format!(
                "the {which} note covers {} entries with root {}; {by} give {root}",
                note.size, note.root
            ));
        }
    }
    lines
}
