//! A stretch of the log as an export of its own, proved to be in the signed log at both ends.
//!
//! Rule: every entry between the ends is there. What stands to the left of the first entry's proof and the entries
//! themselves lead to what stands to the left of the last one's.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::proofs;
use super::read::{read_small, read_up_to};
use super::writer::{ExportError, ExportWriter, Exported};
use super::{CHECKPOINT, KEY, RANGE, SUMS, is_entries_name};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::proof::{ProofError, tree_before, verify_inclusion};
use crate::audit::tlog_proof::{EntryProof, EntryProofError, PROOF_FILE_BYTES_MAX};
use crate::audit::tree::Frontier;
use crate::audit::verify::{Finding, Kind};
use crate::id::Digest;
use crate::json;
use crate::leaf::{self, LEAF_BYTES_MAX, Link};

/// Which stretch of a log an export is: the file `range`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The leaf hash of the entry before the first; 64 zeros before the first entry of all.
    pub before: Digest,
    /// The number of the first entry.
    pub first: u64,
    /// Its leaf hash.
    pub first_leaf: Digest,
    format: String,
    /// The number of the last entry.
    pub last: u64,
    /// Its leaf hash.
    pub last_leaf: Digest,
}

/// A range whose ends were verified.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) range: Range,
    /// The tree before the first entry.
    pub(super) tree: Frontier,
    /// The log as far as the last entry.
    pub(super) end: Checkpoint,
}

/// Writes a range: every entry in order, then [`RangeWriter::finish`].
#[derive(Debug)]
pub struct RangeWriter {
    export: ExportWriter,
    ends: Ends,
    proofs: [EntryProof; 2],
}

impl RangeWriter {
    /// Begins a range at `out`, which must not exist, between two entries, each with its proof. The checkpoint of the
    /// second proof becomes that of the export.
    pub fn create(
        out: &Path,
        first: (&[u8], EntryProof),
        last: (&[u8], EntryProof),
        key: &LogKey,
    ) -> Result<Self, ExportError> {
        let none = || ExportError::NotSigned { signed: 0 };
        let range = Range {
            before: Link::read(first.0).ok_or_else(none)?.prev,
            first: first.1.index,
            first_leaf: leaf::hash(first.0),
            format: FORMAT.to_owned(),
            last: last.1.index,
            last_leaf: leaf::hash(last.0),
        };
        let ends = ends(range, &first.1, &last.1, std::slice::from_ref(key)).map_err(|_| none())?;
        let export = ExportWriter::create(out, &last.1.note, key)?;
        Ok(Self { export, ends, proofs: [first.1, last.1] })
    }

    /// Adds the next entry.
    pub fn entry(&mut self, line: &[u8]) -> Result<(), ExportError> {
        let (seq, end) = (self.ends.tree.size(), self.ends.end.size);
        if seq >= end || line.len() > LEAF_BYTES_MAX {
            return Err(ExportError::NotSigned { signed: end });
        }
        self.ends.tree.push(leaf::hash(line));
        self.export.line(seq, end, line)
    }

    /// Adds the proof of one of its entries against its checkpoint.
    pub fn prove(&mut self, seq: u64, line: &[u8], path: Vec<Digest>) -> Result<(), ExportError> {
        let Range { first, last, .. } = self.ends.range;
        if !(first..=last).contains(&seq) {
            return Err(ExportError::NotProved { seq, why: ProofError::Beyond.into() });
        }
        self.export.prove(seq, line, path)
    }

    /// Ends the range, which then has its name.
    pub fn finish(mut self) -> Result<Exported, ExportError> {
        let Ends { range, tree, end } = &self.ends;
        if (tree.size(), tree.root()) != (end.size, end.root) {
            return Err(ExportError::NotSigned { signed: end.size });
        }
        let exported = Exported { entries: range.last - range.first + 1, root: end.root };
        self.export.small(RANGE, format!("{}\n", json::to_line(range)?).as_bytes())?;
        for (name, proof) in PROOFS.into_iter().zip(&self.proofs) {
            self.export.small(name, proof.to_text().as_bytes())?;
        }
        self.export.seal()?;
        Ok(exported)
    }
}

/// What is wrong between two ranges of which each was verified: nothing if the second begins where the first ends.
pub fn gap(one: &Range, next: &Range) -> Option<String> {
    if one.last.checked_add(1) != Some(next.first) {
        let (last, first) = (one.last, next.first);
        return Some(if first <= last {
            format!("the range from entry {first} does not begin behind entry {last}")
        } else {
            format!("entries {} to {} are in no range", last + 1, first - 1)
        });
    }
    let (last, first) = (one.last, next.first);
    (one.last_leaf != next.before)
        .then(|| format!("entry {first} does not follow from entry {last} of the other range"))
}

/// The ends of the range in a folder, or what is wrong with them; `None` if the folder is no range.
pub(super) fn open(dir: &Path, note: &[u8], keys: &[LogKey]) -> io::Result<Option<Result<Ends, Finding>>> {
    if dir.join(RANGE).symlink_metadata().is_err() {
        return Ok(None);
    }
    let bad = |message: &str| Ok(Some(Err(Finding { seq: 0, kind: Kind::BadFile, message: message.into() })));
    let text = read_small(dir, RANGE)?;
    let range = text.strip_suffix(b"\n").and_then(|line| json::from_line::<Range>(line, LEAF_BYTES_MAX).ok());
    let Some(range) = range.filter(|range| range.format == FORMAT) else { return bad("the file range is malformed") };
    let first = EntryProof::parse(&read_up_to(dir, PROOFS[0], PROOF_FILE_BYTES_MAX)?);
    let last = EntryProof::parse(&read_up_to(dir, PROOFS[1], PROOF_FILE_BYTES_MAX)?);
    let (Ok(first), Ok(last)) = (first, last) else { return bad("a proof of an end of the range is malformed") };
    if let Err(why) = Checkpoint::open(note, keys) {
        let message = format!("the checkpoint does not count: {why}");
        return Ok(Some(Err(Finding { seq: range.first, kind: Kind::BadSignature, message })));
    }
    if last.note.as_bytes() != note {
        return bad("the last entry is proved against another checkpoint");
    }
    Ok(Some(ends(range, &first, &last, keys).map_err(|why| {
        let message = format!("an end of the range is not proved: {why}");
        Finding { seq: 0, kind: Kind::BadFile, message }
    })))
}

/// Whether a range has a file of this name.
pub(super) fn has(name: &str) -> bool {
    let others =
        [CHECKPOINT, "checkpoint.body", "checkpoint.sig", "keys/log.pem", KEY, "policy", "verify.py", "README"];
    is_entries_name(name)
        || proofs::entry_of(name).is_some()
        || PROOFS.contains(&name)
        || others.contains(&name)
        || [RANGE, SUMS].contains(&name)
}

fn ends(range: Range, first: &EntryProof, last: &EntryProof, keys: &[LogKey]) -> Result<Ends, EntryProofError> {
    let places = (first.index, last.index) == (range.first, range.last) && range.first <= range.last;
    if !places {
        return Err(EntryProofError::Form("they are of other entries"));
    }
    let signed = Checkpoint::open(first.note.as_bytes(), keys)?;
    verify_inclusion(first.index, signed.size, &range.first_leaf, &signed.root, &first.path)?;
    let tree = tree_before(first.index, signed.size, &first.path)?;
    let origin = signed.origin;
    let signed = Checkpoint::open(last.note.as_bytes(), keys)?;
    if signed.origin != origin {
        return Err(EntryProofError::Form("they are of two logs"));
    }
    verify_inclusion(last.index, signed.size, &range.last_leaf, &signed.root, &last.path)?;
    let mut whole = tree_before(last.index, signed.size, &last.path)?;
    whole.push(range.last_leaf);
    Ok(Ends { range, tree, end: Checkpoint { origin, size: whole.size(), root: whole.root() } })
}

const FORMAT: &str = "medseal-range@v1";
const PROOFS: [&str; 2] = ["first.tlog-proof", "last.tlog-proof"];
