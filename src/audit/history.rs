//! Checkpoints of the log's past, kept in the store so that an export can show how the log grew.
//!
//! Rule: a checkpoint is kept with the next write, never in one of its own: the newest stands outside the store anyway.

use crate::clock::Timestamp;
use crate::store::{Delete, Expect, Put, Space, Store, StoreError, WriteSet};

/// How many checkpoints are kept: of a log that grows all the time, those of half a year, in about one megabyte. An older
/// one is for whoever wrote it down; the entries under it stay, and a later one covers them too.
pub(super) const KEPT_MAX: usize = 4096;

/// A checkpoint is kept this many entries after the one before, or an hour after it, and at every shutdown.
const KEEP_EVERY: u64 = 1000;

/// An hour, in seconds.
const KEEP_EVERY_S: i64 = 3600;

/// What is kept, and what is to be.
#[derive(Debug)]
pub(super) struct History {
    /// How many checkpoints are in the store.
    kept: usize,
    /// The size of the newest kept one.
    newest: u64,
    at: Timestamp,
    waiting: Option<(u64, String)>,
}

impl History {
    /// What a store has. When its newest one was kept is not known there; the hour begins now.
    pub(super) fn open(store: &dyn Store, now: Timestamp) -> Result<Self, StoreError> {
        let kept = read(store, u64::MAX)?;
        let newest = kept.last().map_or(0, |(size, _)| *size);
        Ok(Self { kept: kept.len(), newest, at: now, waiting: None })
    }

    /// Takes a signed checkpoint, if it is time for one or the log closes.
    pub(super) fn offer(&mut self, size: u64, note: &str, now: Timestamp, closes: bool) {
        let hour = now.as_second() - self.at.as_second() >= KEEP_EVERY_S;
        if size > self.newest && (self.kept == 0 || closes || hour || size - self.newest >= KEEP_EVERY) {
            self.waiting = Some((size, note.to_owned()));
            (self.newest, self.at) = (size, now);
        }
    }

    /// Whether one waits for a write.
    pub(super) const fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Puts the one that waits into a write set, and takes the oldest away if there would be too many.
    pub(super) fn join(&self, set: &mut WriteSet, store: &dyn Store) -> Result<(), StoreError> {
        let Some((size, note)) = &self.waiting else { return Ok(()) };
        let (key, value) = (size.to_be_bytes().to_vec(), note.clone().into_bytes());
        set.puts.push(Put { space: Space::Note, key, expect: Expect::Any, value });
        if self.kept >= KEPT_MAX {
            let oldest = store.scan(Space::Note, &[], None, 1)?;
            let oldest = oldest.into_iter().map(|(key, _)| Delete { space: Space::Note, key, expect: Expect::Any });
            set.deletes.extend(oldest);
        }
        Ok(())
    }

    /// The write set of [`History::join`] is on the disk.
    pub(super) fn joined(&mut self) {
        if self.waiting.take().is_some() {
            self.kept = (self.kept + 1).min(KEPT_MAX);
        }
    }
}

/// The kept checkpoints of fewer than `below` entries, with their sizes, the smallest first.
pub(super) fn read(store: &dyn Store, below: u64) -> Result<Vec<(u64, String)>, StoreError> {
    let damaged = || StoreError::Damaged { what: "a kept checkpoint of the log is malformed".into() };
    let found = store.scan(Space::Note, &[], None, KEPT_MAX + 1)?;
    let notes = found.into_iter().map(|(key, found)| {
        let size = <[u8; 8]>::try_from(key).map_err(|_| damaged())?;
        Ok((u64::from_be_bytes(size), String::from_utf8(found.value).map_err(|_| damaged())?))
    });
    let mut notes: Vec<_> = notes.collect::<Result<_, StoreError>>()?;
    notes.retain(|(size, _)| *size < below);
    Ok(notes)
}
