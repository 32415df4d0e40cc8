//! Verifies an export.
//!
//! Rule: a file is checked for what it says, and not only by its sum: whoever changes it can change the sum too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::earlier::{Earlier, Stamped};
use super::proofs;
use super::range::{self, Ends, Range};
use super::read::{entry_files, read_small, read_up_to};
use super::tiles::{FOLDER, TileFile, Tiles, lowest};
use super::{CHECKPOINT, DETAILS, KEY, SUMS, derived};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::tiles::TILE_HASHES;
use crate::audit::tree;
use crate::audit::verify::{
    Against, Behind, Finding, Kind, Lines, Report, count_commitments, verify_files, verify_part,
};
use crate::id::Digest;
use crate::leaf::LEAF_BYTES_MAX;

/// What the verification of an export found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportReport {
    /// What was found.
    #[serde(flatten)]
    pub report: Report,
    /// The key whose signature counted, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<LogKey>,
    /// Whether nothing of the reader's stands behind it, neither a key nor a kept checkpoint: it vouches for itself.
    pub self_asserted: bool,
    /// The stretch of the log that it is, if it is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// The time stamps in it that are about this log; nobody looked at the signatures of their authorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stamps: Vec<Stamped>,
}

/// Verifies an export. `keys` is whom the reader trusts; when it is empty, the export's own key is taken, and the
/// report says so. `trusted` is a checkpoint that the reader kept from earlier, and of which the key was verified.
pub fn verify_export(
    dir: &Path,
    keys: &[LogKey],
    trusted: Option<&Checkpoint>,
    progress: impl FnMut(u64),
) -> io::Result<ExportReport> {
    let self_asserted = keys.is_empty() && trusted.is_none();
    let keys = if keys.is_empty() { own_key(dir)?.into_iter().collect() } else { keys.to_vec() };
    let note = read_small(dir, CHECKPOINT)?;
    if let Some(opened) = range::open(dir, &note, &keys)? {
        return verify_range(dir, &note, &keys, opened, trusted, (self_asserted, progress));
    }
    let against = Against { checkpoint: Some(&note), keys: &keys, trusted, behind: Behind::Finding };
    let details = Some(dir.join(DETAILS)).filter(|path| path.exists());
    let entries = entry_files(dir)?;
    let key = keys.iter().find(|key| Checkpoint::open(&note, std::slice::from_ref(key)).is_ok()).cloned();
    // Looks at the same bytes, one beside the other: the entries as a log, every file as SHA256SUMS names it, and what is
    // sealed.
    let (report, files, commitments) = thread::scope(|scope| {
        let files =
            scope.spawn(|| key.as_ref().map_or_else(|| Ok(Ok(vec![])), |key| check_files(dir, &note, key, None)));
        let commitments = scope.spawn(|| count_commitments(|| Lines::of(entries.clone(), LEAF_BYTES_MAX)));
        let report = verify_files(&entries, details.as_ref(), &against, progress);
        let files = files.join().expect("looking at files does not panic");
        (report, files, commitments.join().expect("counting does not panic"))
    });
    let mut report = report?;
    let mut stamps = Vec::new();
    if report.finding.is_none() {
        match files? {
            Ok(found) => {
                stamps = found;
                report.count(commitments?);
            }
            Err(message) => {
                report.finding = Some(Finding { seq: report.entries, kind: Kind::BadFile, message });
                report.ok = false;
            }
        }
    }
    Ok(ExportReport { report, key, self_asserted, range: None, stamps })
}

/// The same for a stretch of a log.
fn verify_range(
    dir: &Path,
    note: &[u8],
    keys: &[LogKey],
    opened: Result<Ends, Finding>,
    trusted: Option<&Checkpoint>,
    (self_asserted, progress): (bool, impl FnMut(u64)),
) -> io::Result<ExportReport> {
    let key = keys.iter().find(|key| Checkpoint::open(note, std::slice::from_ref(key)).is_ok()).cloned();
    let Ends { range, tree, end } = match opened {
        Ok(ends) => ends,
        Err(finding) => {
            let root = tree::Frontier::new().root();
            let finding = Some(finding);
            let report = Report { ok: false, entries: 0, signed: 0, details: 0, erased: 0, sealed: 0, root, finding };
            return Ok(ExportReport { report, key, self_asserted, range: None, stamps: vec![] });
        }
    };
    if let Some(trusted) = trusted
        && !(tree.size()..=end.size).contains(&trusted.size)
    {
        return Err(io::Error::other(format!(
            "entries {} to {} alone show nothing about a checkpoint over {} entries; ask for the whole log",
            range.first, range.last, trusted.size
        )));
    }
    let mut report =
        verify_part(Lines::of(entry_files(dir)?, LEAF_BYTES_MAX), (tree, range.before), &end, trusted, progress)?;
    if report.finding.is_none()
        && let Some(key) = &key
        && let Err(message) = check_files(dir, note, key, Some(range.first))?
    {
        report.finding = Some(Finding { seq: end.size, kind: Kind::BadFile, message });
        report.ok = false;
    }
    if report.finding.is_none() {
        let entries = entry_files(dir)?;
        report.count(count_commitments(|| Lines::of(entries.clone(), LEAF_BYTES_MAX))?);
    }
    Ok(ExportReport { report, key, self_asserted, range: Some(range), stamps: vec![] })
}

/// Compares every file with SHA256SUMS, and the files that repeat others with what they repeat. `range` is the number of
/// the first entry of a stretch of a log. Either what is wrong, or the time stamps.
fn check_files(dir: &Path, note: &[u8], key: &LogKey, range: Option<u64>) -> io::Result<Result<Vec<Stamped>, String>> {
    let parts = Checkpoint::claimed(note).and_then(|checkpoint| Ok((checkpoint, Checkpoint::signature(note, key)?)));
    let Ok((checkpoint, signature)) = parts else { return Ok(Err("the checkpoint is malformed".into())) };
    for (name, content) in derived(&checkpoint, key, &signature) {
        if read_small(dir, name)? != content {
            return Ok(Err(format!("the file {name} is not what the checkpoint and the key say")));
        }
    }
    let mut found = BTreeSet::new();
    if !list(dir, "", &mut found)? {
        return Ok(Err("there is something that is neither a file nor a folder".into()));
    }
    let Some(sums) = read_sums(&read_up_to(dir, SUMS, SUMS_BYTES_MAX)?) else {
        return Ok(Err(format!("the file {SUMS} is malformed")));
    };
    let named: BTreeSet<_> = sums.keys().cloned().chain([SUMS.to_owned()]).collect();
    if found != named {
        return Ok(Err(format!("the folder does not hold exactly the files that {SUMS} names")));
    }
    if let Some(wrong) = proofs::check(dir, note, &found, range.unwrap_or(0))? {
        return Ok(Err(wrong));
    }
    if range.is_some() {
        let changed = check_sums(dir, &sums)?.map(|name| format!("the file {name} is not the one that {SUMS} names"));
        let surplus = found.into_iter().find(|name| !range::has(name));
        let wrong = changed.or(surplus.map(|name| format!("a range has no file {name}")));
        return Ok(wrong.map_or_else(|| Ok(vec![]), Err));
    }
    let earlier = match Earlier::read(dir, &found, &checkpoint, key)? {
        Ok(earlier) => earlier,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let (tiles, changed) = thread::scope(|scope| {
        let tiles = scope.spawn(|| check_tiles(dir, &checkpoint, earlier));
        let changed = check_sums(dir, &sums);
        (tiles.join().expect("looking at tiles does not panic"), changed)
    });
    if let Some(name) = changed? {
        return Ok(Err(format!("the file {name} is not the one that {SUMS} names")));
    }
    Ok(match tiles? {
        Err(name) => Err(format!("the tiles as far as {name} are not those of the entries")),
        Ok(Tiled { names, .. }) if !found.iter().filter(|name| name.starts_with(FOLDER)).eq(&names) => {
            Err("there is a tile that the entries do not have".into())
        }
        Ok(Tiled { earlier, .. }) => earlier.apart().map_or_else(
            || Ok(earlier.stamps.clone()),
            |name| {
                Err(format!(
                    "the entries are not those of {name}, although the log's key signed both: keep this export, it is a \
                     proof"
                ))
            },
        ),
    })
}

/// The first file that has another digest than the list says.
fn check_sums(dir: &Path, sums: &BTreeMap<String, Digest>) -> io::Result<Option<String>> {
    for (name, sum) in sums {
        if digest_of(&dir.join(name))? != *sum {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// Tiles that are those of the entries.
struct Tiled {
    names: BTreeSet<String>,
    /// The notes of the log's past, met by these entries or not.
    earlier: Earlier,
}

/// Compares the tiles with the entries, of which others say whether they are those of the checkpoint: the names of
/// all tiles, or that of the first that is wrong.
///
/// The entries are not hashed again. The hashes in the lowest tiles are those of the entries if they lead to the root.
fn check_tiles(dir: &Path, checkpoint: &Checkpoint, mut earlier: Earlier) -> io::Result<Result<Tiled, String>> {
    let (mut tiles, mut names) = (Tiles::default(), BTreeSet::new());
    let (mut lowest_name, mut hashes) = lowest_tile(dir, 0, checkpoint.size)?;
    for line in Lines::of(entry_files(dir)?, LEAF_BYTES_MAX) {
        let Some(hash) = hashes.next() else { return Ok(Err(lowest_name)) };
        let full = tiles.push(&line?, hash);
        if let Err(name) = compare(dir, full, &mut names)? {
            return Ok(Err(name));
        }
        earlier.meet(tiles.size(), || tiles.root());
        if tiles.size().is_multiple_of(TILE_HASHES) {
            (lowest_name, hashes) = lowest_tile(dir, tiles.size(), checkpoint.size)?;
        }
    }
    if let Err(name) = compare(dir, tiles.begun(), &mut names)? {
        return Ok(Err(name));
    }
    Ok(if tiles.root() == checkpoint.root { Ok(Tiled { names, earlier }) } else { Err(lowest_name) })
}

/// The hashes that the lowest tile from entry `seq` on claims, and the tile's name.
fn lowest_tile(dir: &Path, seq: u64, size: u64) -> io::Result<(String, impl Iterator<Item = Digest> + use<>)> {
    let name = lowest(seq, size);
    let bytes = read_small(dir, &name)?;
    let hashes: Vec<_> = bytes.as_chunks::<32>().0.iter().copied().map(Digest::from_bytes).collect();
    Ok((name, hashes.into_iter()))
}

/// Compares tiles with their files, and collects their names; `Ok(Err(..))` names the first that is not the same.
fn compare(dir: &Path, tiles: Vec<TileFile>, names: &mut BTreeSet<String>) -> io::Result<Result<(), String>> {
    for TileFile { name, content } in tiles {
        if read_up_to(dir, &name, content.len())? != content {
            return Ok(Err(name));
        }
        names.insert(name);
    }
    Ok(Ok(()))
}

fn own_key(dir: &Path) -> io::Result<Option<LogKey>> {
    let text = read_small(dir, KEY)?;
    let line = text.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    Ok(line.and_then(|line| line.parse().ok()))
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

/// The longest list of digests: of the files of some 90 million entries.
const SUMS_BYTES_MAX: usize = 64 * 1024 * 1024;
