//! Our own card, renewed when the key folder holds what an earlier version did not have.
//!
//! Rule: a renewed card is the old one with something added, signed by the same key, so that partners take it without
//! comparing a fingerprint again. A card that cannot be renewed stays as it is.

use crate::clock::Timestamp;
use crate::config::Home;
use crate::keys::Keys;
use crate::partner::{CARD_BYTES_MAX, SignedCard};

/// Puts the witness's key on our card if it does not stand there, and says so.
pub(super) fn complete(home: &Home, keys: &Keys, now: Timestamp) {
    let path = home.card();
    let Ok(file) = std::fs::read(&path) else { return };
    let Ok(card) = SignedCard::parse(&file[..file.len().min(CARD_BYTES_MAX + 1)]) else { return };
    let Some(next) = card.card().with_witness(keys, now) else { return };
    let renewed = SignedCard::sign(&next, keys.signer()).map_err(std::io::Error::other);
    match renewed.and_then(|renewed| crate::durable::replace(&path, renewed.file_text().as_bytes(), 0o644)) {
        Ok(()) => tracing::warn!(
            serial = next.serial,
            "our card was renewed with the witness's key: give it to every partner (medseal card)"
        ),
        Err(error) => tracing::warn!(%error, "our card could not be renewed with the witness's key"),
    }
}
