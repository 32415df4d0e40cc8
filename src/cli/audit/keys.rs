//! The keys that somebody names to verify by: written out, in a file, or on an institution's card.
//!
//! Rule: a card counts only with its own signature; whose card it is, its fingerprint tells, which two people compared.

use std::path::Path;

use anyhow::Context as _;

use crate::audit::note::{Checkpoint, LogKey, NoteKey};
use crate::cli::failure::Failure;
use crate::cli::sender::read_card;
use crate::reason::Reason;

/// Reads the keys of logs that were named with `--key`.
pub(super) fn log_keys(given: &[String]) -> Result<Vec<LogKey>, Failure> {
    let mut keys = Vec::new();
    for given in given {
        if is_card(given) {
            keys.extend(on_card(Path::new(given))?);
        } else {
            keys.push(read_key(given)?);
        }
    }
    Ok(keys)
}

/// Reads a key that was given as itself or as a file that holds it.
pub(super) fn read_key<const TYPE: u8>(given: &str) -> Result<NoteKey<TYPE>, Failure> {
    let text = match given.parse() {
        Ok(key) => return Ok(key),
        Err(_) => std::fs::read_to_string(given).with_context(|| given.to_owned())?,
    };
    text.trim().parse().map_err(|error| {
        Failure::bad_input(Reason::BadInput, format!("{given}: {error}"))
            .hint("`medseal audit export` writes it as log.vkey, and `medseal card` names it")
    })
}

/// A kept checkpoint counts only by its signature.
pub(super) fn read_trusted(path: &Path, keys: &[LogKey], export: &Path) -> Result<Checkpoint, Failure> {
    let note = std::fs::read(path).with_context(|| path.display().to_string())?;
    let own;
    let keys = if keys.is_empty() {
        own = [read_key(&export.join("log.vkey").display().to_string())?];
        &own[..]
    } else {
        keys
    };
    Checkpoint::open(&note, keys)
        .map_err(|error| Failure::refused(Reason::BadSignature, format!("{}: {error}", path.display())))
}

/// Whether a file begins as a card does, and as no key.
fn is_card(given: &str) -> bool {
    let mut first = [0];
    let opened = std::fs::File::open(given);
    opened.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut first)).is_ok() && first == *b"{"
}

/// The keys of the log of a card, those before a change too: an export may be as old as they are.
fn on_card(path: &Path) -> Result<Vec<LogKey>, Failure> {
    let card = read_card(path)?;
    let keys = card.card().log.iter().map(|dated| dated.value.to_string().parse());
    let keys = keys.collect::<Result<Vec<_>, _>>();
    keys.ok().filter(|keys| !keys.is_empty()).ok_or_else(|| {
        Failure::bad_input(Reason::BadInput, format!("{} names no log", path.display()))
            .hint("ask the institution for its card of today: `medseal card --out FILE`")
    })
}
