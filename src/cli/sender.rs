//! Who sent a sealed bundle: the dispatch beside it, and the card whose key signed it.
//!
//! Rule: a sender is known only when a key on a card that the caller gave, or that is registered here, verifies the
//! dispatch; a signature that names its own key proves nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::failure::Failure;
use crate::clock::read_stamp;
use crate::partner::{CARD_BYTES_MAX, Card, SignedCard};
use crate::reason::Reason;
use crate::statement::dispatch::Dispatch;
use crate::statement::{STATEMENT_BYTES_MAX, Signed};

/// Verifies the dispatch beside a sealed file: `X.dispatch.json` and `X.dispatch.json.sig` beside `X.age`.
pub(super) fn beside(sealed: &Path, card: &Card) -> Result<Dispatch, Failure> {
    let text_path = beside_path(sealed, ".dispatch.json");
    let signed = Signed {
        text: read_text(&text_path, STATEMENT_BYTES_MAX)?,
        signature: read_text(&beside_path(sealed, ".dispatch.json.sig"), STATEMENT_BYTES_MAX)?,
    };
    verify(&signed, card)
}

/// Verifies a dispatch by the keys that counted on the sender's card when it was issued.
pub(super) fn verify(signed: &Signed, card: &Card) -> Result<Dispatch, Failure> {
    let refused = |error: crate::statement::StatementError| Failure::refused(error.reason(), error.to_string());
    let all: Vec<_> = card.signing.iter().map(|key| key.value).collect();
    let dispatch = Dispatch::verify_undated(signed, &card.id, &all).map_err(refused)?;
    let issued = read_stamp(&dispatch.issued)
        .ok_or_else(|| Failure::refused(Reason::BadSignature, "the dispatch does not say when it was issued"))?;
    let then: Vec<_> = card.signing.iter().filter(|key| key.counts_at(issued)).map(|key| key.value).collect();
    Dispatch::verify_undated(signed, &card.id, &then).map_err(refused)
}

/// Reads a card; its own signature is part of reading it.
pub(super) fn read_card(path: &Path) -> Result<SignedCard, Failure> {
    let text = read_text(path, CARD_BYTES_MAX)?;
    SignedCard::parse(text.as_bytes())
        .map_err(|error| Failure::refused(error.reason(), format!("{}: {error}", path.display())))
}

/// `X.dispatch.json` for `X.age`; any other name only gets the ending.
pub(super) fn beside_path(sealed: &Path, ending: &str) -> PathBuf {
    let stem = if sealed.extension().is_some_and(|extension| extension == "age") {
        sealed.file_stem()
    } else {
        sealed.file_name()
    };
    let mut name = stem.map(OsString::from).unwrap_or_default();
    name.push(ending);
    sealed.with_file_name(name)
}

fn read_text(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let name = || path.display().to_string();
    let mut text = String::new();
    File::open(path).with_context(name)?.take(bytes_max as u64 + 1).read_to_string(&mut text).with_context(name)?;
    if text.len() > bytes_max {
        return Err(Failure::bad_input(Reason::LimitExceeded, format!("{} is longer than {bytes_max} bytes", name())));
    }
    Ok(text)
}
