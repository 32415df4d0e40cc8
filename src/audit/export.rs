//! Exports: a folder that anyone can verify without the gateway, with Python and openssl alone.
//!
//! Rule: an export holds exactly what its checkpoint covers, byte for byte; the writer refuses to make one that would
//! not verify.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::audit::note::{Checkpoint, LogKey, NOTE_BYTES_MAX, NoteError};
use crate::audit::reader::{OPENING_BYTES_MAX, Opening};
use crate::audit::tree::Frontier;
use crate::audit::verify::{Against, Behind, Finding, Kind, Report, verify_with_details};
use crate::durable;
use crate::id::Digest;
use crate::json::JsonError;
use crate::leaf::{self, LEAF_BYTES_MAX};

/// The stand-alone verifier, for whoever does not want to trust this program.
pub const VERIFY_PY: &str = include_str!("../../deploy/verify.py");

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
    tree: Frontier,
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

/// What the verification of an export found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportReport {
    /// What was found.
    #[serde(flatten)]
    pub report: Report,
    /// The key whose signature counted, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<LogKey>,
    /// Whether the key came from the export itself, which then vouches for itself.
    pub self_asserted: bool,
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
            tree: Frontier::new(),
            entries: None,
            details: None,
            sums: BTreeMap::new(),
        })
    }

    /// Adds the next entry.
    pub fn entry(&mut self, line: &[u8]) -> Result<(), ExportError> {
        let seq = self.tree.size();
        if seq >= self.checkpoint.size {
            return Err(ExportError::NotSigned { signed: self.checkpoint.size });
        }
        self.tree.push(leaf::hash(line));
        if self.entries.is_none() {
            let last = self.checkpoint.size.min(seq + ENTRIES_PER_FILE) - 1;
            self.entries = Some(Output::create(&self.work, &entries_name(seq, last), 0o644)?);
        }
        if let Some(entries) = &mut self.entries {
            entries.line(line)?;
        }
        if self.tree.size().is_multiple_of(ENTRIES_PER_FILE) {
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

    /// Ends the export, which then has its name.
    pub fn finish(mut self) -> Result<Exported, ExportError> {
        self.close_entries()?;
        if let Some(details) = self.details.take() {
            let (name, sum) = details.finish()?;
            self.sums.insert(name, sum);
        }
        let exported = Exported { entries: self.tree.size(), root: self.tree.root() };
        if (exported.entries, exported.root) != (self.checkpoint.size, self.checkpoint.root) {
            return Err(ExportError::NotSigned { signed: self.checkpoint.size });
        }
        for (name, content) in derived(&self.checkpoint, &self.key, &self.signature) {
            self.small(name, &content)?;
        }
        self.small(CHECKPOINT, self.note.clone().as_bytes())?;
        self.small("verify.py", VERIFY_PY.as_bytes())?;
        self.small("README", README.as_bytes())?;
        let sums: Vec<_> = self.sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        let sums = sums.concat();
        self.small(SUMS, sums.as_bytes())?;
        durable::move_new(&self.work, &self.out).map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(self.out.clone()),
            _ => ExportError::Io { path: self.out.clone(), why },
        })?;
        Ok(exported)
    }

    fn close_entries(&mut self) -> Result<(), ExportError> {
        if let Some(entries) = self.entries.take() {
            let (name, sum) = entries.finish()?;
            self.sums.insert(name, sum);
        }
        Ok(())
    }

    fn small(&mut self, name: &str, content: &[u8]) -> Result<(), ExportError> {
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

/// Verifies an export. `keys` is whom the reader trusts; when it is empty, the export's own key is taken, and the
/// report says so. `trusted` is a checkpoint that the reader kept from earlier.
pub fn verify_export(
    dir: &Path,
    keys: &[LogKey],
    trusted: Option<&Checkpoint>,
    progress: impl FnMut(u64),
) -> io::Result<ExportReport> {
    let self_asserted = keys.is_empty();
    let keys = if self_asserted { own_key(dir)?.into_iter().collect() } else { keys.to_vec() };
    let note = read_small(dir, CHECKPOINT)?;
    let against = Against { checkpoint: Some(&note), keys: &keys, trusted, behind: Behind::Finding };
    let lines = Lines::of(entry_files(dir)?, LEAF_BYTES_MAX);
    let details = Some(dir.join(DETAILS)).filter(|path| path.exists());
    let details = Lines::of(details.into_iter().collect(), OPENING_BYTES_MAX);
    let mut report = verify_with_details(lines, details, &against, progress)?;
    let key = keys.into_iter().find(|key| Checkpoint::open(&note, std::slice::from_ref(key)).is_ok());
    if report.finding.is_none()
        && let Some(key) = &key
    {
        report.finding =
            check_files(dir, &note, key)?.map(|message| Finding { seq: report.entries, kind: Kind::BadFile, message });
        report.ok = report.finding.is_none();
    }
    Ok(ExportReport { report, key, self_asserted })
}

/// The signed checkpoint of an export, with whatever signatures stand under it; nothing is verified.
pub fn read_note(dir: &Path) -> io::Result<Vec<u8>> {
    read_small(dir, CHECKPOINT)
}

/// The entries of an export, in order and without their newlines; nothing is verified.
pub fn read_entries(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    Ok(Lines::of(entry_files(dir)?, LEAF_BYTES_MAX))
}

/// Compares every file with SHA256SUMS, and the files that repeat others with what they repeat.
fn check_files(dir: &Path, note: &[u8], key: &LogKey) -> io::Result<Option<String>> {
    let parts = Checkpoint::claimed(note).and_then(|checkpoint| Ok((checkpoint, Checkpoint::signature(note, key)?)));
    let Ok((checkpoint, signature)) = parts else { return Ok(Some("the checkpoint is malformed".into())) };
    for (name, content) in derived(&checkpoint, key, &signature) {
        if read_small(dir, name)? != content {
            return Ok(Some(format!("the file {name} is not what the checkpoint and the key say")));
        }
    }
    let mut found = BTreeSet::new();
    if !list(dir, "", &mut found)? {
        return Ok(Some("there is something that is neither a file nor a folder".into()));
    }
    let Some(sums) = read_sums(&read_small(dir, SUMS)?) else {
        return Ok(Some(format!("the file {SUMS} is malformed")));
    };
    let named: BTreeSet<_> = sums.keys().cloned().chain([SUMS.to_owned()]).collect();
    if found != named {
        return Ok(Some(format!("the folder does not hold exactly the files that {SUMS} names")));
    }
    for (name, sum) in sums {
        if digest_of(&dir.join(&name))? != sum {
            return Ok(Some(format!("the file {name} is not the one that {SUMS} names")));
        }
    }
    Ok(None)
}

/// The files that say again, for other tools, what the checkpoint and the key say.
fn derived(checkpoint: &Checkpoint, key: &LogKey, signature: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    [
        ("checkpoint.body", checkpoint.body().into_bytes()),
        ("checkpoint.sig", signature.to_vec()),
        ("keys/log.pem", key.to_pem().into_bytes()),
        (KEY, format!("{key}\n").into_bytes()),
        ("policy", format!("log {key}\nquorum none\n").into_bytes()),
    ]
}

fn own_key(dir: &Path) -> io::Result<Option<LogKey>> {
    let text = read_small(dir, KEY)?;
    let line = text.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    Ok(line.and_then(|line| line.parse().ok()))
}

/// The content of a small file, nothing if there is none: then it is not what it should be.
fn read_small(dir: &Path, name: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match File::open(dir.join(name)) {
        Ok(file) => file.take(NOTE_BYTES_MAX as u64 + 1).read_to_end(&mut content)?,
        Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
        Err(why) => return Err(why),
    };
    Ok(content)
}

fn entry_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_entries_name) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn entries_name(first: u64, last: u64) -> String {
    format!("entries-{first:012}-{last:012}.jsonl")
}

fn is_entries_name(name: &str) -> bool {
    let numbers = name.strip_prefix("entries-").and_then(|rest| rest.strip_suffix(".jsonl"));
    let is_number = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|numbers| numbers.split_once('-')).is_some_and(|(first, last)| is_number(first) && is_number(last))
}

/// Collects the names of all files; false if there is something else than files and folders.
fn list(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let plain = if kind.is_dir() {
            list(&entry.path(), &format!("{name}/"), found)?
        } else {
            found.insert(name);
            kind.is_file()
        };
        if !plain {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_sums(text: &[u8]) -> Option<BTreeMap<String, Digest>> {
    let mut sums = BTreeMap::new();
    for line in std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split('\n') {
        let (sum, name) = line.split_once("  ")?;
        if name.is_empty() || sums.insert(name.to_owned(), sum.parse().ok()?).is_some() {
            return None;
        }
    }
    Some(sums)
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let (mut file, mut state) = (File::open(path)?, Sha256::new());
    io::copy(&mut file, &mut state)?;
    Ok(Digest::from_bytes(state.finalize().into()))
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

/// The lines of files one after the other, without their newlines; the last one of a file need not end with one.
struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    file: Option<BufReader<File>>,
    /// A line that is longer is handed out cut: it is too long for whoever reads it.
    bytes_max: usize,
}

impl Lines {
    fn of(files: Vec<PathBuf>, bytes_max: usize) -> Self {
        Self { files: files.into_iter(), file: None, bytes_max }
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(file) = &mut self.file {
                let mut line = Vec::new();
                file.take(self.bytes_max as u64 + 1).read_until(b'\n', &mut line)?;
                if !line.is_empty() {
                    line.pop_if(|byte| *byte == b'\n');
                    return Ok(Some(line));
                }
            }
            let Some(next) = self.files.next() else { return Ok(None) };
            self.file = Some(BufReader::with_capacity(1 << 20, File::open(next)?));
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

const ENTRIES_PER_FILE: u64 = 1_000_000;
const CHECKPOINT: &str = "checkpoint";
const DETAILS: &str = "details.jsonl";
const KEY: &str = "log.vkey";
const SUMS: &str = "SHA256SUMS";

const README: &str = "\
This folder is an export of a medseal log. Nothing of medseal is needed to verify it.

    python3 verify.py --key KEY

KEY is the log's key as you got it from the institution, for instance from its card. Without --key the export vouches
for itself: compare the key that is shown by telephone. With --trusted-checkpoint FILE the log must also continue an
older checkpoint that you kept. The exit code is 0 if all is well and 1 if not; the first bad entry is named.

By hand:

    sha256sum -c SHA256SUMS
    openssl pkeyutl -verify -rawin -pubin -inkey keys/log.pem -in checkpoint.body -sigfile checkpoint.sig

Each line of entries-*.jsonl is one entry. Its _prev is the SHA-256 over one zero byte and the line before it:

    ( printf '\\0'; sed -n 5p entries-000000000000-*.jsonl | tr -d '\\n' ) | sha256sum

is the _prev of line 6. The same hashes are the leaves of the tree (RFC 6962) whose root stands in checkpoint
(C2SP signed-note and tlog-checkpoint). details.jsonl, if it is there, holds the opened details of entries: det in the
entry is HMAC-SHA256 under the salt over \"medseal-detail-v1\", a zero byte, the number, a zero byte and the detail.
";
