//! Reads the files of an export.
//!
//! Rule: nothing is verified here, and nothing larger than it may be is read whole.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::{CHECKPOINT, is_entries_name};
use crate::audit::note::NOTE_BYTES_MAX;
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
    let mut content = Vec::new();
    match File::open(dir.join(name)) {
        Ok(file) => file.take(NOTE_BYTES_MAX as u64 + 1).read_to_end(&mut content)?,
        Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
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

/// The lines of files one after the other, without their newlines; the last one of a file need not end with one.
pub(super) struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    file: Option<BufReader<File>>,
    /// A line that is longer is handed out cut: it is too long for whoever reads it.
    bytes_max: usize,
}

impl Lines {
    /// The lines of these files.
    pub(super) fn of(files: Vec<PathBuf>, bytes_max: usize) -> Self {
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
