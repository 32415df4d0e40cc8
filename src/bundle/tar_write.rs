//! Writes archives in the normal form: ustar, files only, one owner, one mode, one time.
//!
//! Rule: the same files give the same bytes; a file whose content is not as long as its header said is an error.

use std::io::{self, Write};

/// Writes an archive, file by file.
pub struct TarWriter<W: Write> {
    out: W,
}

impl<W: Write> std::fmt::Debug for TarWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TarWriter")
    }
}

impl<W: Write> TarWriter<W> {
    /// An archive that goes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }

    /// Begins a file of exactly `bytes` bytes. The path is relative, its parts separated by `/`.
    pub fn file(&mut self, path: &str, bytes: u64) -> io::Result<FileWriter<'_, W>> {
        let mut records = Vec::new();
        let name = split(path);
        if name.is_none() {
            records.extend_from_slice(&pax_record("path", path));
        }
        if bytes > OCTAL_MAX {
            records.extend_from_slice(&pax_record("size", &bytes.to_string()));
        }
        if !records.is_empty() {
            self.out.write_all(&header(b"", b"medseal.pax", records.len() as u64, b'x'))?;
            self.out.write_all(&records)?;
            self.out.write_all(padding(records.len() as u64))?;
        }
        // A reader that knows no pax sees a name that says so, never a cut-off one.
        let (prefix, name) = name.unwrap_or(("", "medseal.see-pax"));
        // With a pax size the ustar field is not read; zero would let such a reader take content for headers.
        self.out.write_all(&header(prefix.as_bytes(), name.as_bytes(), bytes.min(OCTAL_MAX), b'0'))?;
        Ok(FileWriter { archive: self, left: bytes, bytes })
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }
}

/// Takes the content of one file.
#[derive(Debug)]
pub struct FileWriter<'a, W: Write> {
    archive: &'a mut TarWriter<W>,
    left: u64,
    bytes: u64,
}

impl<W: Write> FileWriter<'_, W> {
    /// Ends the file; fails when less came than was announced.
    pub fn finish(self) -> io::Result<()> {
        if self.left != 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file is shorter than was announced"));
        }
        self.archive.out.write_all(padding(self.bytes))
    }
}

impl<W: Write> Write for FileWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a file is longer than was announced"));
        }
        self.archive.out.write_all(bytes)?;
        self.left -= bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.archive.out.flush()
    }
}

/// Splits a path into ustar's prefix and name; `None` when it fits neither.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME_MAX {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= PREFIX_MAX && name.len() <= NAME_MAX && !name.is_empty())
}

fn header(prefix: &[u8], name: &[u8], bytes: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, field: &[u8]| block[at..at + field.len()].copy_from_slice(field);
    put(0, name);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{bytes:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A pax record: its own length in decimal, a space, key, equals sign, value, newline.
fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n").into_bytes()
}

fn padding(bytes: u64) -> &'static [u8] {
    let over = usize::try_from(bytes % BLOCK as u64).expect("less than a block");
    &[0; BLOCK][..(BLOCK - over) % BLOCK]
}

pub(super) const BLOCK: usize = 512;
const NAME_MAX: usize = 100;
const PREFIX_MAX: usize = 155;
/// The largest size that eleven octal digits hold: one byte below 8 GiB.
pub(super) const OCTAL_MAX: u64 = 0o777_7777_7777;
