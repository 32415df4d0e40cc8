//! Reads entries and details from the store, with or without a running log.
//!
//! Rule: it writes nothing, so that it works in read-only mode too.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audit::history;
use crate::audit::note::Origin;
use crate::audit::tiles::Stored;
use crate::id::{Digest, SubjectId};
use crate::json::{self, JsonError, Object};
use crate::leaf::{Leaf, LeafError, commit};
use crate::store::{Space, Store, StoreError, VALUE_BYTES_MAX};
use crate::subject::{SubjectError, SubjectKey, Subjects};

/// Reads the log.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn Store>,
    subjects: Arc<Subjects>,
    origin: Origin,
}

/// The sealed part of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// The entry has none.
    None,
    /// Opened, and the commitment in the leaf fits it.
    Open(Opening),
    /// Sealed under a key that was destroyed, or was never here.
    NoKey,
    /// The leaf commits to a detail that the store does not have.
    Missing,
}

/// An opened detail, with the salt by which anyone can check it against its leaf.
#[derive(Clone, PartialEq)]
pub struct Opening {
    /// The entry's number.
    pub seq: u64,
    /// The salt of the commitment.
    pub salt: [u8; 32],
    /// The detail.
    pub detail: Object,
}

/// An opening in its file form.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct OpeningLine {
    detail: Object,
    salt: Digest,
    seq: u64,
}

impl Opening {
    /// One line of `details.jsonl`: `{"detail":{...},"salt":"<64 hex>","seq":N}`.
    pub fn to_line(&self) -> Result<String, JsonError> {
        let Self { seq, salt, detail } = self;
        json::to_line(&OpeningLine { detail: detail.clone(), salt: Digest::from_bytes(*salt), seq: *seq })
    }

    /// Reads what [`Opening::to_line`] wrote.
    pub fn read(line: &[u8]) -> Result<Self, JsonError> {
        let OpeningLine { detail, salt, seq } = json::from_line(line, OPENING_BYTES_MAX)?;
        Ok(Self { seq, salt: *salt.as_bytes(), detail })
    }
}

/// Why a detail cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetailError {
    /// There is no such entry.
    #[error("there is no entry {0}")]
    NoEntry(u64),
    /// The entry is not a leaf.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The detail does not open, or is not the one that the leaf commits to.
    #[error("the detail of entry {0} is not the one that the log commits to")]
    Mismatch(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The subject's key cannot be read.
    #[error(transparent)]
    Subject(#[from] SubjectError),
}

impl Reader {
    /// Reads the log of `origin` in a store.
    pub fn new(store: Arc<dyn Store>, subjects: Arc<Subjects>, origin: Origin) -> Self {
        Self { store, subjects, origin }
    }

    /// The log's name.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The keys of the subjects.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// How many entries there are.
    pub fn size(&self) -> Result<u64, StoreError> {
        Ok(self.store.head()?.size)
    }

    /// Up to `limit` lines from entry `from` on, without their final newlines, each with its number.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.store.read(from, limit)
    }

    /// The lines of all entries from `from` on, read a page at a time.
    pub fn lines(&self, from: u64) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> + '_ {
        Lines { reader: self, next: from, page: Vec::new().into_iter(), ended: false }
    }

    /// The kept checkpoints of fewer than `below` entries, the smallest first.
    pub fn checkpoints(&self, below: u64) -> Result<Vec<String>, StoreError> {
        Ok(history::read(self.store.as_ref(), below)?.into_iter().map(|(_, note)| note).collect())
    }

    /// Every kept checkpoint with the size that it lies under, the smallest first; nothing is verified.
    pub fn kept_checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        history::read(self.store.as_ref(), u64::MAX)
    }

    /// The subtrees of the log, for proofs.
    pub fn tree(&self) -> Stored<'_> {
        Stored::new(self.store.as_ref())
    }

    /// The sealed part of one entry.
    pub fn detail(&self, seq: u64) -> Result<Detail, DetailError> {
        let entry = self.store.read(seq, 1)?.pop().filter(|(found, _)| *found == seq);
        let (_, line) = entry.ok_or(DetailError::NoEntry(seq))?;
        let leaf = Leaf::read(&line)?;
        let Some(commitment) = leaf.detail else { return Ok(Detail::None) };
        let subject = leaf.subject.ok_or(DetailError::Mismatch(seq))?;
        self.open(seq, &subject, &commitment)
    }

    fn open(&self, seq: u64, subject: &SubjectId, commitment: &Digest) -> Result<Detail, DetailError> {
        let Some(key) = self.subjects.key(subject)? else { return Ok(Detail::NoKey) };
        let Some(sealed) = self.store.get(Space::Detail, &seq.to_be_bytes())? else { return Ok(Detail::Missing) };
        let plain = key.open(&context(&self.origin, seq, commitment), &sealed.value);
        let plain = plain.map_err(|_| DetailError::Mismatch(seq))?;
        let (salt, line) = plain.split_first_chunk::<32>().ok_or(DetailError::Mismatch(seq))?;
        if commit(salt, seq, line) != *commitment {
            return Err(DetailError::Mismatch(seq));
        }
        let detail = json::from_line(line, VALUE_BYTES_MAX).map_err(|_| DetailError::Mismatch(seq))?;
        Ok(Detail::Open(Opening { seq, salt: *salt, detail }))
    }
}

/// Seals a detail for its place; also says what the leaf must hold.
pub(super) fn seal(origin: &Origin, seq: u64, line: &[u8], key: &SubjectKey) -> (Digest, Vec<u8>) {
    let salt = crate::id::random_bytes::<32>();
    let commitment = commit(&salt, seq, line);
    // The salt dies with the text: without it nobody can test a guess against the commitment.
    let plain = zeroize::Zeroizing::new([&salt[..], line].concat());
    let sealed = key.seal(&context(origin, seq, &commitment), &plain);
    (commitment, sealed)
}

fn context(origin: &Origin, seq: u64, commitment: &Digest) -> Vec<u8> {
    format!("{origin}\0{seq}\0{commitment}").into_bytes()
}

struct Lines<'a> {
    reader: &'a Reader,
    next: u64,
    page: std::vec::IntoIter<(u64, Vec<u8>)>,
    ended: bool,
}

impl Iterator for Lines<'_> {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.ended {
            match self.reader.entries(self.next, PAGE) {
                Ok(page) => self.page = page.into_iter(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let Some((seq, line)) = self.page.next() else {
            self.ended = true;
            return None;
        };
        self.next = seq + 1;
        Some(Ok(line))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.origin)
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({}, hidden)", self.seq)
    }
}

/// A detail is sealed within one value of the store; its file form adds the salt and the number.
pub const OPENING_BYTES_MAX: usize = VALUE_BYTES_MAX + 256;

/// Leaves read at once.
const PAGE: usize = 1024;
