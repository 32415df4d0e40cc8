//! What the log signed earlier, as an export repeats it: checkpoints of its past, and the notes that were stamped.
//!
//! Rule: a note counts by the log's own signature, and a stamp only if it is about the very note beside it. Whether the
//! authority that stamped is to be believed is for whoever has its certificate, with stock tools.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::read::{read_small, read_up_to};
use super::{PAST, STAMPS};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::stamp::{self, STAMP_BYTES_MAX};
use crate::clock;
use crate::id::Digest;

/// A time stamp that is about a note of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stamped {
    /// How many entries its note covers.
    pub entries: u64,
    /// When they existed, by the word of the authority.
    pub at: String,
}

/// The notes by their sizes: their roots and the names of their files.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    notes: BTreeMap<u64, Vec<(Digest, String)>>,
    /// The stamps, the one over the shortest log first.
    pub(super) stamps: Vec<Stamped>,
}

impl Earlier {
    /// The notes among the files `found`, or what is wrong with one of them.
    pub(super) fn read(
        dir: &Path,
        found: &BTreeSet<String>,
        signed: &Checkpoint,
        key: &LogKey,
    ) -> io::Result<Result<Self, String>> {
        let mut earlier = Self::default();
        let mut stamped = BTreeSet::new();
        for name in found {
            let Some((folder, last)) = name.split_once('/') else { continue };
            let (size, most) = match folder {
                PAST => {
                    (last.parse().ok().filter(|size: &u64| size.to_string() == last), signed.size.saturating_sub(1))
                }
                STAMPS => (stamped_size(last), signed.size),
                _ => continue,
            };
            let wrong = || Ok(Err(format!("the file {name} is not about an earlier checkpoint of this log")));
            let Some(size) = size.filter(|size| *size <= most) else { return wrong() };
            if folder == STAMPS && !stamped.insert(size) {
                continue;
            }
            let name = if folder == STAMPS { note_name(size) } else { name.clone() };
            let note = read_small(dir, &name)?;
            let Ok(checkpoint) = Checkpoint::open(&note, std::slice::from_ref(key)) else { return wrong() };
            if checkpoint.size != size {
                return wrong();
            }
            if folder == STAMPS {
                let answer = read_up_to(dir, &answer_name(size), STAMP_BYTES_MAX)?;
                match stamp::read(&answer) {
                    Ok(read) if read.imprint == Digest::of(&note) => {
                        earlier.stamps.push(Stamped { entries: size, at: clock::stamp(read.at) });
                    }
                    _ => return Ok(Err(format!("the file {} is not a time stamp over {name}", answer_name(size)))),
                }
            }
            earlier.notes.entry(size).or_default().push((checkpoint.root, name));
        }
        earlier.stamps.sort_by_key(|stamp| stamp.entries);
        Ok(Ok(earlier))
    }

    /// The entries have grown to this size: the notes of it are seen if they are of the root that the entries have then.
    pub(super) fn meet(&mut self, size: u64, root: impl FnOnce() -> Digest) {
        if let Some(notes) = self.notes.get_mut(&size) {
            let root = root();
            notes.retain(|(wanted, _)| *wanted != root);
        }
    }

    /// The name of the first note that was not met.
    pub(super) fn apart(&self) -> Option<&str> {
        self.notes.values().flatten().map(|(_, name)| name.as_str()).next()
    }
}

/// The name of a note that was stamped.
pub(super) fn note_name(size: u64) -> String {
    format!("{STAMPS}/{size}.note")
}

/// The name of the answer of an authority about it.
pub(super) fn answer_name(size: u64) -> String {
    format!("{STAMPS}/{size}.tsr")
}

/// Which size a file among the stamps is about; nothing if it has a name that no export gives.
fn stamped_size(last: &str) -> Option<u64> {
    let size = last.split_once('.')?.0.parse().ok()?;
    let name = format!("{STAMPS}/{last}");
    [note_name(size), answer_name(size)].contains(&name).then_some(size)
}
