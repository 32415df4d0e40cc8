//! Reads the files of an export.
//!
//! Rule: nothing is verified here, and nothing larger than it may be is read whole.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{CHECKPOINT, is_entries_name};
use crate::audit::note::NOTE_BYTES_MAX;
use crate::audit::verify::Lines;
use crate::leaf::LEAF_BYTES_MAX;

/// The signed checkpoint of an export, with whatever signatures stand under it; nothing is verified.
pub fn read_note(dir: &Path) -> io::Result<Vec<u8>> {
    read_small(dir, CHECKPOINT)
}

/// The entries of an export, in order and without their newlines; nothing is verified.
pub fn read_entries(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    Ok(Lines::of(entry_files(dir)?, LEAF_BYTES_MAX))
}

/// The content of a small file, nothing if there is none: then it is not what it should be.
pub(super) fn read_small(dir: &Path, name: &str) -> io::Result<Vec<u8>> {
    read_up_to(dir, name, NOTE_BYTES_MAX)
}

/// The content of a file, nothing if there is none; of a file that is longer, one byte more than it may have.
pub(super) fn read_up_to(dir: &Path, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match File::open(dir.join(name)) {
        Ok(file) => file.take(bytes_max as u64 + 1).read_to_end(&mut content)?,
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => 0,
        Err(why) => return Err(why),
    };
    Ok(content)
}

/// The files of entries, in their order.
pub(super) fn entry_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
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
