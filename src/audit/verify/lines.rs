//! Lines of files, as far as they may be entries or details.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

/// The lines of files one after the other, without their newlines; the last one of a file need not end with one.
pub(in crate::audit) struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    file: Option<BufReader<File>>,
    /// A line that is longer is handed out cut: it is too long for whoever reads it.
    bytes_max: usize,
}

impl Lines {
    pub(in crate::audit) fn of(files: Vec<PathBuf>, bytes_max: usize) -> Self {
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
