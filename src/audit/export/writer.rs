//! Writes an export.
//!
//! Rule: it grows under a hidden name and has its own only when it is whole and holds what was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::earlier::{answer_name, note_name};
use super::proofs;
use super::tiles::{TileFile, Tiles};
use super::{CHECKPOINT, DETAILS, ENTRIES_PER_FILE, PAST, README, STAMPS, SUMS, VERIFY_PY, derived, entries_name};
use crate::audit::note::{Checkpoint, LogKey, NoteError};
use crate::audit::reader::Opening;
use crate::audit::stamp;
use crate::audit::tlog_proof::{EntryProof, EntryProofError};
use crate::durable;
use crate::id::Digest;
use crate::json::JsonError;
use crate::leaf::{self, LEAF_BYTES_MAX};

/// Writes an export: the entries in order, the opened details in order, then [`ExportWriter::finish`].
///
/// It grows under a hidden name beside its place, and has its name only when it is whole.
#[derive(Debug)]
pub struct ExportWriter {
    out: PathBuf,
    work: PathBuf,
    note: String,
    key: LogKey,
    signature: Vec<u8>,
    checkpoint: Checkpoint,
    tiles: Tiles,
    past: BTreeMap<u64, BTreeSet<Digest>>,
    entries: Option<Output>,
    details: Option<Output>,
    sums: BTreeMap<String, Digest>,
}

/// What was exported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// The root over them.
    pub root: Digest,
}

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is something at its place already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The checkpoint does not count.
    #[error("the checkpoint does not count: {0}")]
    Checkpoint(#[from] NoteError),
    /// The entries are not those that the checkpoint covers.
    #[error("the entries are not the {signed} that the checkpoint covers; `medseal audit verify` says what is wrong")]
    NotSigned {
        /// How many entries the checkpoint covers.
        signed: u64,
    },
    /// A checkpoint of the log's past is not one of these entries.
    #[error("the checkpoint of {size} entries that the log signed earlier is not one of these entries")]
    Past {
        /// How many entries it covers.
        size: u64,
    },
    /// A time stamp is not about the note that it is kept with.
    #[error("the time stamp over the note of {size} entries is about something else")]
    Stamp {
        /// How many entries the note covers.
        size: u64,
    },
    /// An entry is not proved to be in the log of the checkpoint.
    #[error("entry {seq} is not proved: {why}")]
    NotProved {
        /// Its number.
        seq: u64,
        /// The cause.
        #[source]
        why: EntryProofError,
    },
    /// A detail has no strict form.
    #[error("a detail cannot be written: {0}")]
    Detail(#[from] JsonError),
    /// Reading or writing failed.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        why: io::Error,
    },
}

impl ExportWriter {
    /// Begins an export at `out`, which must not exist, of everything that a checkpoint covers.
    pub fn create(out: &Path, note: &str, key: &LogKey) -> Result<Self, ExportError> {
        let checkpoint = Checkpoint::open(note.as_bytes(), std::slice::from_ref(key))?;
        let signature = Checkpoint::signature(note.as_bytes(), key)?;
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |why| ExportError::Io { path, why }
        };
        if out.symlink_metadata().is_ok() {
            return Err(ExportError::Exists(out.to_owned()));
        }
        let Some(name) = out.file_name() else { return Err(ExportError::Exists(out.to_owned())) };
        let random = u64::from_be_bytes(crate::id::random_bytes());
        let work = out.with_file_name(format!(".{}.{random:016x}.tmp", name.display()));
        durable::create_dir(&work, 0o755).map_err(io_error(&work))?;
        durable::create_dir(&work.join("keys"), 0o755).map_err(io_error(&work))?;
        Ok(Self {
            out: out.to_owned(),
            work,
            note: note.to_owned(),
            key: key.clone(),
            signature,
            checkpoint,
            tiles: Tiles::default(),
            past: BTreeMap::new(),
            entries: None,
            details: None,
            sums: BTreeMap::new(),
        })
    }

    /// Adds a checkpoint of the log's past, before the entries that it covers.
    pub fn past(&mut self, note: &str) -> Result<(), ExportError> {
        let size = self.will_meet(note.as_bytes())?;
        if size >= self.checkpoint.size {
            return Err(ExportError::Past { size });
        }
        self.folder(PAST)?;
        self.small(&format!("{PAST}/{size}"), note.as_bytes())
    }

    /// The size of a note, of which the entries that come must be.
    fn will_meet(&mut self, note: &[u8]) -> Result<u64, ExportError> {
        let Checkpoint { size, root, .. } = Checkpoint::open(note, std::slice::from_ref(&self.key))?;
        if size <= self.tiles.size() || size > self.checkpoint.size {
            return Err(ExportError::Past { size });
        }
        self.past.entry(size).or_default().insert(root);
        Ok(size)
    }

    /// Adds the next entry.
    pub fn entry(&mut self, line: &[u8]) -> Result<(), ExportError> {
        let seq = self.tiles.size();
        if seq >= self.checkpoint.size || line.len() > LEAF_BYTES_MAX {
            return Err(ExportError::NotSigned { signed: self.checkpoint.size });
        }
        for tile in self.tiles.push(line, leaf::hash(line)) {
            self.tile(tile)?;
        }
        let size = self.tiles.size();
        if self.past.get(&size).is_some_and(|roots| roots.iter().any(|root| *root != self.tiles.root())) {
            return Err(ExportError::Past { size });
        }
        self.line(seq, self.checkpoint.size, line)
    }

    /// Writes entry `seq` of those before `end`.
    pub(super) fn line(&mut self, seq: u64, end: u64, line: &[u8]) -> Result<(), ExportError> {
        if self.entries.is_none() {
            let last = end.min(seq - seq % ENTRIES_PER_FILE + ENTRIES_PER_FILE) - 1;
            self.entries = Some(Output::create(&self.work, &entries_name(seq, last), 0o644)?);
        }
        if let Some(entries) = &mut self.entries {
            entries.line(line)?;
        }
        if (seq + 1).is_multiple_of(ENTRIES_PER_FILE) {
            self.close_entries()?;
        }
        Ok(())
    }

    /// Adds an opened detail; only for officers who may see it.
    pub fn detail(&mut self, opening: &Opening) -> Result<(), ExportError> {
        let line = opening.to_line()?;
        if self.details.is_none() {
            self.details = Some(Output::create(&self.work, DETAILS, 0o600)?);
        }
        self.details.as_mut().map_or(Ok(()), |details| details.line(line.as_bytes()))
    }

    /// Adds what a time stamp authority answered about a note of ours, before the entries that the note covers.
    pub fn stamp(&mut self, note: &[u8], answer: &[u8]) -> Result<(), ExportError> {
        let size = self.will_meet(note)?;
        if !stamp::read(answer).is_ok_and(|read| read.imprint == Digest::of(note)) {
            return Err(ExportError::Stamp { size });
        }
        self.folder(STAMPS)?;
        self.small(&note_name(size), note)?;
        self.small(&answer_name(size), answer)
    }

    /// Adds the proof that the checkpoint covers an entry, and the entry alone: both can be handed on without the rest.
    pub fn prove(&mut self, seq: u64, line: &[u8], path: Vec<Digest>) -> Result<(), ExportError> {
        let proof = EntryProof { index: seq, path, note: self.note.clone() };
        proof.verify(line, std::slice::from_ref(&self.key), &[]).map_err(|why| ExportError::NotProved { seq, why })?;
        self.folder(proofs::FOLDER)?;
        let [proof_name, entry_name] = proofs::names(seq);
        self.small(&proof_name, proof.to_text().as_bytes())?;
        self.small(&entry_name, &[line, b"\n"].concat())
    }

    /// Ends the export, which then has its name.
    pub fn finish(mut self) -> Result<Exported, ExportError> {
        self.close_entries()?;
        if let Some(details) = self.details.take() {
            let (name, sum) = details.finish()?;
            self.sums.insert(name, sum);
        }
        for tile in self.tiles.begun() {
            self.tile(tile)?;
        }
        let exported = Exported { entries: self.tiles.size(), root: self.tiles.root() };
        if (exported.entries, exported.root) != (self.checkpoint.size, self.checkpoint.root) {
            return Err(ExportError::NotSigned { signed: self.checkpoint.size });
        }
        self.seal()?;
        Ok(exported)
    }

    /// Writes what repeats the checkpoint and the list of digests, and gives the export its name.
    pub(super) fn seal(&mut self) -> Result<(), ExportError> {
        self.close_entries()?;
        for (name, content) in derived(&self.checkpoint, &self.key, &self.signature) {
            self.small(name, &content)?;
        }
        self.small(CHECKPOINT, self.note.clone().as_bytes())?;
        self.small("verify.py", VERIFY_PY.as_bytes())?;
        self.small("README", README.as_bytes())?;
        let sums: Vec<_> = self.sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        let sums = sums.concat();
        self.small(SUMS, sums.as_bytes())?;
        durable::sync_below(&self.work).map_err(|why| ExportError::Io { path: self.work.clone(), why })?;
        durable::move_new(&self.work, &self.out).map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(self.out.clone()),
            _ => ExportError::Io { path: self.out.clone(), why },
        })
    }

    fn close_entries(&mut self) -> Result<(), ExportError> {
        if let Some(entries) = self.entries.take() {
            let (name, sum) = entries.finish()?;
            self.sums.insert(name, sum);
        }
        Ok(())
    }

    fn folder(&self, name: &str) -> Result<(), ExportError> {
        let dir = self.work.join(name);
        if dir.is_dir() {
            return Ok(());
        }
        durable::create_dir(&dir, 0o755).map_err(|why| ExportError::Io { path: dir, why })
    }

    /// Writes a tile; there are too many of them to wait for the disk after each.
    fn tile(&mut self, tile: TileFile) -> Result<(), ExportError> {
        let path = self.work.join(&tile.name);
        let io_error = |why| ExportError::Io { path: path.clone(), why };
        fs::create_dir_all(path.parent().unwrap_or(&self.work)).map_err(io_error)?;
        File::create_new(&path).and_then(|mut file| file.write_all(&tile.content)).map_err(io_error)?;
        self.sums.insert(tile.name, Digest::of(&tile.content));
        Ok(())
    }

    pub(super) fn small(&mut self, name: &str, content: &[u8]) -> Result<(), ExportError> {
        let path = self.work.join(name);
        durable::write_new(&path, content, 0o644).map_err(|why| ExportError::Io { path, why })?;
        self.sums.insert(name.to_owned(), Digest::of(content));
        Ok(())
    }
}

impl Drop for ExportWriter {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name; an export that was given up leaves nothing either.
        drop(fs::remove_dir_all(&self.work));
    }
}

/// A file that grows and is hashed on the way.
#[derive(Debug)]
struct Output {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
    state: Sha256,
}

impl Output {
    fn create(dir: &Path, name: &str, mode: u32) -> Result<Self, ExportError> {
        let path = dir.join(name);
        match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => Ok(Self { name: name.to_owned(), path, file: BufWriter::new(file), state: Sha256::new() }),
            Err(why) => Err(ExportError::Io { path, why }),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ExportError> {
        self.state.update(line);
        self.state.update(b"\n");
        let written = self.file.write_all(line).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|why| ExportError::Io { path: self.path.clone(), why })
    }

    fn finish(self) -> Result<(String, Digest), ExportError> {
        let path = self.path;
        let io_error = |why| ExportError::Io { path, why };
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(io_error)?;
        Ok((self.name, Digest::from_bytes(self.state.finalize().into())))
    }
}
