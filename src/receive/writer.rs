//! Segments on their way to the disk, on a thread that may wait for it.
//!
//! Rule: writes are gathered to a MiB; only bytes that are not held yet are written; the range counts only after its
//! digest is right and its bytes are on the disk.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::ReceiveError;
use super::transfer::Reservation;
use crate::id::Digest;

/// Writes what comes through `inbox` to the reserved range: pieces, then `None` at its end. An inbox that closes without
/// an end is a line that broke.
pub(super) fn write_segment(
    reservation: &Reservation,
    mut inbox: mpsc::Receiver<Option<Bytes>>,
    sha256: &Digest,
) -> Result<(), ReceiveError> {
    let range = reservation.range().clone();
    let mut hash = Sha256::new();
    let mut gathered = Vec::with_capacity(piece_bytes(&range));
    let mut at = range.start;
    while let Some(piece) = inbox.blocking_recv().ok_or(ReceiveError::Broken)? {
        hash.update(&piece);
        gathered.extend_from_slice(&piece);
        if gathered.len() >= GATHERED_BYTES {
            at = write_missing(reservation, at, &gathered)?;
            gathered.clear();
        }
    }
    at = write_missing(reservation, at, &gathered)?;
    if at != range.end || Digest::from_bytes(hash.finalize().into()) != *sha256 {
        return Err(ReceiveError::Segment);
    }
    if let Err(error) = reservation.transfer().partial.sync() {
        // The kernel tells of a failed write once, to one of those who sync: no other segment may count from here on.
        reservation.transfer().close();
        return Err(ReceiveError::Sync(error));
    }
    Ok(reservation.count()?)
}

/// SHA-256 over a whole file, read back from the disk.
pub(super) fn digest_of(mut file: &File) -> std::io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; GATHERED_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Writes those parts of `bytes`, which begin at `at`, that were not held, and gives the position after them.
fn write_missing(reservation: &Reservation, at: u64, bytes: &[u8]) -> Result<u64, ReceiveError> {
    let end = at + bytes.len() as u64;
    if end > reservation.range().end {
        return Err(ReceiveError::Segment);
    }
    for gap in reservation.missing() {
        let part = gap.start.max(at)..gap.end.min(end);
        if part.start < part.end {
            let within = |position: u64| usize::try_from(position - at).expect("a gathered piece fits in memory");
            reservation.transfer().partial.write_at(part.start, &bytes[within(part.start)..within(part.end)])?;
        }
    }
    Ok(end)
}

fn piece_bytes(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(GATHERED_BYTES)
}

/// How much is gathered before it is written, in bytes.
const GATHERED_BYTES: usize = 1 << 20;
