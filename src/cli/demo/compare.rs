//! Are two folders the same, file by file and byte by byte? What `diff -r` answers, without needing it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::failure::Failure;

/// How many files both folders hold; an error names the first that differs.
pub(super) fn same(sent: &Path, opened: &Path) -> Result<usize, Failure> {
    let (sent_files, opened_files) = (files(sent)?, files(opened)?);
    if let Some(extra) = opened_files.keys().find(|path| !sent_files.contains_key(*path)) {
        return Err(differs(extra));
    }
    for (path, full) in &sent_files {
        let Some(other) = opened_files.get(path) else { return Err(differs(path)) };
        if !same_content(full, other).map_err(|error| Failure::unable(format!("{}: {error}", path.display())))? {
            return Err(differs(path));
        }
    }
    Ok(sent_files.len())
}

fn files(folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, Failure> {
    let mut found = BTreeMap::new();
    if folder.is_file() {
        found.insert(PathBuf::from(folder.file_name().unwrap_or_default()), folder.to_owned());
        return Ok(found);
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let failed = |error: std::io::Error| Failure::unable(format!("{}: {error}", next.display()));
        for entry in std::fs::read_dir(&next).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                found.insert(below, path);
            }
        }
    }
    Ok(found)
}

fn same_content(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (std::fs::File::open(one)?, std::fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let count = one.read(&mut here)?;
        if count == 0 {
            return Ok(true);
        }
        other.read_exact(&mut there[..count])?;
        if here[..count] != there[..count] {
            return Ok(false);
        }
    }
}

fn differs(path: &Path) -> Failure {
    Failure::unable(format!("{} is not what was sent", path.display()))
}

const PIECE_BYTES: usize = 256 * 1024;
