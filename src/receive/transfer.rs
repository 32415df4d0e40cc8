//! One open transfer: who may write where, and what is held.
//!
//! Rule: two segments never write to the same bytes at one time, and bytes that are held are never written again; of
//! two segments that overlap, the newer wins, because the older one's line is most likely dead.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::ReceiveError;
use super::journal::{Journal, Key};
use crate::clock::Timestamp;
use crate::vault::{BlobName, Partial};
use crate::wire::{Offer, Pieces, Progress, Stage, TransferState};

/// One open transfer.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) key: Key,
    pub(super) offer: Offer,
    pub(super) name: BlobName,
    pub(super) partial: Partial,
    pub(super) journal: Journal,
    /// Held while the whole is put together, so that it happens once.
    pub(super) assembly: tokio::sync::Mutex<()>,
    released: Notify,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    pieces: Pieces,
    active: Vec<Active>,
    next_active: u64,
    touched: Timestamp,
    closed: bool,
}

#[derive(Debug)]
struct Active {
    number: u64,
    range: Range<u64>,
    stop: watch::Sender<bool>,
}

impl Transfer {
    pub(super) fn new(
        key: Key,
        offer: Offer,
        name: BlobName,
        partial: Partial,
        journal: Journal,
        pieces: Pieces,
        touched: Timestamp,
    ) -> Self {
        Self {
            key,
            offer,
            name,
            partial,
            journal,
            assembly: tokio::sync::Mutex::new(()),
            released: Notify::new(),
            held: Mutex::new(Held { pieces, active: Vec::new(), next_active: 0, touched, closed: false }),
        }
    }

    /// The bytes that segments bring: all but the header.
    pub(super) fn body(&self) -> Range<u64> {
        self.offer.header_bytes..self.offer.sealed_bytes
    }

    pub(super) fn state(&self) -> TransferState {
        TransferState {
            bundle: self.offer.bundle.clone(),
            sealed_sha256: self.offer.sealed_sha256,
            have: self.held().pieces.pairs(),
            state: Stage::Open,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let offset = self.held().pieces.first_missing(self.offer.header_bytes);
        Progress { offset, length: self.offer.sealed_bytes }
    }

    /// How many bytes of the body are still to come.
    pub(super) fn missing_bytes(&self) -> u64 {
        let body = self.body();
        (body.end - body.start).saturating_sub(self.held().pieces.bytes())
    }

    pub(super) fn touched(&self) -> Timestamp {
        self.held().touched
    }

    /// Whether a segment is being written at this moment.
    pub(super) fn is_active(&self) -> bool {
        !self.held().active.is_empty()
    }

    /// Takes no further segment and stops those under way: the transfer is at its end, one way or the other.
    pub(super) fn close(&self) {
        let mut held = self.held();
        held.closed = true;
        for active in &held.active {
            active.stop.send_replace(true);
        }
    }

    /// Reserves a range for one segment. Older segments that overlap it are stopped and waited for.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        range: Range<u64>,
        pieces_max: usize,
        now: Timestamp,
    ) -> Result<Reservation, ReceiveError> {
        loop {
            let released = self.released.notified();
            {
                let mut held = self.held();
                if held.closed {
                    return Err(ReceiveError::Closed);
                }
                let mut clear = true;
                for older in held.active.iter().filter(|older| overlap(&older.range, &range)) {
                    older.stop.send_replace(true);
                    clear = false;
                }
                if clear {
                    let mut after = held.pieces.clone();
                    after.add(range.clone());
                    let under_way = held.active.len();
                    if after.count() + under_way > pieces_max {
                        return Err(ReceiveError::TooManyPieces { allowed: pieces_max });
                    }
                    let missing = held.pieces.missing(&range);
                    let (stop, stopped) = watch::channel(false);
                    let number = held.next_active;
                    held.next_active += 1;
                    held.touched = now;
                    held.active.push(Active { number, range: range.clone(), stop });
                    return Ok(Reservation { transfer: Arc::clone(self), number, range, missing, stopped });
                }
            }
            released.await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write one range. Given back when dropped, by the last thread that could still write.
#[derive(Debug)]
pub(super) struct Reservation {
    transfer: Arc<Transfer>,
    number: u64,
    range: Range<u64>,
    missing: Vec<Range<u64>>,
    stopped: watch::Receiver<bool>,
}

impl Reservation {
    pub(super) fn transfer(&self) -> &Arc<Transfer> {
        &self.transfer
    }

    pub(super) const fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// The parts of the range that were not held when it was reserved: the only ones that are written.
    pub(super) fn missing(&self) -> &[Range<u64>] {
        &self.missing
    }

    /// Turns true when a newer segment wants the range.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.clone()
    }

    /// Counts the range as held: its bytes are on the disk. The journal says so first.
    pub(super) fn count(&self) -> std::io::Result<()> {
        self.transfer.journal.add(&self.range)?;
        self.transfer.held().pieces.add(self.range.clone());
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.transfer.held().active.retain(|active| active.number != self.number);
        self.transfer.released.notify_waiters();
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
