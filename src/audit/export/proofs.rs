//! Entries that are proved one by one in an export, so that each can be handed on without the rest.
//!
//! Rule: a proof in an export is of the very checkpoint and entries beside it; any other file among the proofs is wrong.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::read::{entry_files, read_up_to};
use crate::audit::note::Checkpoint;
use crate::audit::proof::verify_inclusion;
use crate::audit::tlog_proof::{EntryProof, PROOF_FILE_BYTES_MAX};
use crate::audit::verify::Lines;
use crate::leaf::{self, LEAF_BYTES_MAX};

/// The folder of the proofs.
pub(super) const FOLDER: &str = "proofs";

/// The names of the proof of an entry, and of the entry alone.
pub(super) fn names(seq: u64) -> [String; 2] {
    [format!("{FOLDER}/{seq}.tlog-proof"), format!("{FOLDER}/{seq}.entry")]
}

/// Which entry a file of the folder is about; nothing if it has a name that no export gives.
pub(super) fn entry_of(name: &str) -> Option<u64> {
    let (stem, _) = name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('.')?;
    let seq = stem.parse().ok()?;
    names(seq).iter().any(|given| given == name).then_some(seq)
}

/// What is wrong with a proof among the files `found`; `first` is the number of the first entry that the export has.
pub(super) fn check(dir: &Path, note: &[u8], found: &BTreeSet<String>, first: u64) -> io::Result<Option<String>> {
    let mut wanted = BTreeSet::new();
    for name in found.iter().filter(|name| name.starts_with(FOLDER)) {
        match entry_of(name) {
            Some(seq) => wanted.insert(seq),
            None => return Ok(Some(format!("the file {name} is not the proof of an entry"))),
        };
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    let Ok(signed) = Checkpoint::claimed(note) else { return Ok(Some("the checkpoint is malformed".into())) };
    for (seq, line) in (first..).zip(Lines::of(entry_files(dir)?, LEAF_BYTES_MAX)) {
        let line = line?;
        if wanted.remove(&seq)
            && let Some(name) = wrong(dir, note, &signed, (seq, &line))?
        {
            return Ok(Some(format!("the file {name} is not that of entry {seq} in this log")));
        }
    }
    Ok(wanted.first().map(|seq| format!("the file {} is of an entry that is not here", names(*seq)[0])))
}

/// Which of the two files of an entry is wrong.
fn wrong(dir: &Path, note: &[u8], signed: &Checkpoint, (seq, line): (u64, &[u8])) -> io::Result<Option<String>> {
    let [proof_name, entry_name] = names(seq);
    let text = read_up_to(dir, &proof_name, PROOF_FILE_BYTES_MAX)?;
    let holds = EntryProof::parse(&text).is_ok_and(|proof| {
        let path = verify_inclusion(seq, signed.size, &leaf::hash(line), &signed.root, &proof.path);
        // Word for word: nobody vouches for what else may stand in such a file.
        proof.index == seq && proof.note.as_bytes() == note && path.is_ok() && proof.to_text().as_bytes() == text
    });
    if !holds {
        return Ok(Some(proof_name));
    }
    let entry = read_up_to(dir, &entry_name, LEAF_BYTES_MAX + 1)?;
    Ok((entry.strip_suffix(b"\n") != Some(line)).then_some(entry_name))
}
