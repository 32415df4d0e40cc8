//! The side file of one open transfer: what was offered, then which bytes are durable.
//!
//! Rule: a line is written only after its bytes are on the disk, so that whatever can be read back after a crash is
//! true; a line cut off by the crash is passed over, and the sender brings those bytes again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::durable;
use crate::id::InstitutionId;
use crate::wire::{Offer, Pieces, TransferId};

/// Which transfer, by whose certificate and what.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) from: InstitutionId,
    pub(super) transfer: TransferId,
}

/// The first line of a journal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opening {
    pub(super) from: InstitutionId,
    pub(super) offer: Offer,
}

impl Opening {
    pub(super) fn key(&self) -> Key {
        Key { from: self.from.clone(), transfer: self.offer.id() }
    }
}

/// The side file of one open transfer.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// What a journal says after a restart.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) opening: Opening,
    pub(super) pieces: Pieces,
    pub(super) touched: Timestamp,
    pub(super) journal: Journal,
}

impl Journal {
    /// Writes the journal of a new transfer.
    pub(super) fn create(dir: &Path, opening: &Opening) -> io::Result<Self> {
        let key = opening.key();
        let TransferId { bundle, sealed_sha256 } = &key.transfer;
        let path = dir.join(format!("{}.{bundle}.{sealed_sha256}.{SUFFIX}", key.from));
        let mut line = serde_json::to_vec(opening)?;
        line.push(b'\n');
        durable::replace(&path, &line, 0o600)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self { path, file })
    }

    /// Reads every journal of a folder; `Err` with its path for one that cannot be read as a journal.
    pub(super) fn read_all(dir: &Path) -> io::Result<Vec<Result<Kept, PathBuf>>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                all.push(Self::read(&path)?.ok_or(path));
            }
        }
        Ok(all)
    }

    fn read(path: &Path) -> io::Result<Option<Kept>> {
        let bytes = std::fs::read(path)?;
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let Some(Ok(opening)) = lines.next().map(serde_json::from_slice::<Opening>) else { return Ok(None) };
        let end = opening.offer.sealed_bytes;
        let mut whole_bytes = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut pieces = Pieces::default();
        for line in lines {
            let Some(range) = read_line(line).filter(|range| range.start < range.end && range.end <= end) else {
                break;
            };
            pieces.add(range);
            whole_bytes += line.len();
        }
        let file = OpenOptions::new().append(true).open(path)?;
        // A half line must not swallow the next one.
        file.set_len(whole_bytes as u64)?;
        let touched = Timestamp::try_from(file.metadata()?.modified()?).map_err(io::Error::other)?;
        Ok(Some(Kept { opening, pieces, touched, journal: Self { path: path.to_owned(), file } }))
    }

    /// Adds a range whose bytes are durable; returns when the line is durable too.
    pub(super) fn add(&self, range: &Range<u64>) -> io::Result<()> {
        (&self.file).write_all(format!("{} {}\n", range.start, range.end).as_bytes())?;
        self.file.sync_data()
    }

    /// Removes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        durable::remove(&self.path)
    }
}

fn read_line(line: &[u8]) -> Option<Range<u64>> {
    let (start, end) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

const SUFFIX: &str = "transfer";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BundleId, Digest};

    fn opening() -> Opening {
        let offer = Offer {
            bundle: BundleId::random(),
            sealed_sha256: Digest::of(b"sealed"),
            sealed_bytes: 100,
            header_bytes: 10,
        };
        Opening { from: "st-mary".parse().expect("an id"), offer }
    }

    fn only(dir: &Path) -> Kept {
        let mut all = Journal::read_all(dir).expect("a folder");
        assert_eq!(all.len(), 1);
        all.remove(0).expect("a journal")
    }

    #[test]
    fn a_journal_reads_back_and_a_torn_line_is_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let opening = opening();
        let journal = Journal::create(dir.path(), &opening).expect("created");
        journal.add(&(10..20)).expect("added");
        journal.add(&(50..60)).expect("added");
        (&journal.file).write_all(b"60 9").expect("torn");
        let kept = only(dir.path());
        assert_eq!(kept.opening, opening);
        assert_eq!(kept.pieces.pairs(), [(10, 20), (50, 60)]);
        kept.journal.add(&(20..30)).expect("added after the torn line");
        assert_eq!(only(dir.path()).pieces.pairs(), [(10, 30), (50, 60)]);
        kept.journal.remove().expect("removed");
        assert!(Journal::read_all(dir.path()).expect("a folder").is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_true_ends_the_reading() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = Journal::create(dir.path(), &opening()).expect("created");
        journal.add(&(10..20)).expect("added");
        journal.add(&(20..101)).expect("added");
        journal.add(&(30..40)).expect("added");
        assert_eq!(only(dir.path()).pieces.pairs(), [(10, 20)]);
    }
}
