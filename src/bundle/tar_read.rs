//! Reads archives in the normal form, and nothing else.
//!
//! Rule: whatever two readers could understand differently is refused: links, devices, unknown types, GNU and global
//! extensions, sizes said twice, names of no normal form, anything after the end.

use std::io::{self, Read};

use super::path::{BundlePath, PathError, PathSet};
use super::tar_write::{BLOCK, OCTAL_MAX};
use crate::reason::Reason;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct TarLimits {
    /// The most entries.
    pub entries_max: u32,
    /// The most content, in bytes.
    pub bytes_max: u64,
}

/// Why an archive was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// It is not in the normal form.
    #[error("the archive is not in normal form at entry {entry}: {why}")]
    Form {
        /// The entry, counted from 1.
        entry: u32,
        /// What is wrong.
        why: &'static str,
    },
    /// A name is not one that every system can store.
    #[error("entry {entry} of the archive: {source}")]
    Name {
        /// The entry, counted from 1.
        entry: u32,
        /// What is wrong with it.
        source: PathError,
    },
    /// A limit is exceeded.
    #[error("the archive has more {what} than the {max} that are allowed")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// It breaks off.
    #[error("the archive breaks off")]
    CutOff,
    /// It cannot be read.
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
}

impl TarError {
    /// The stable code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Form { .. } => Reason::NotNormalForm,
            Self::Name { .. } => Reason::BadName,
            Self::Limit { .. } => Reason::LimitExceeded,
            Self::CutOff => Reason::Tampered,
            Self::Read(error) if error.kind() == io::ErrorKind::InvalidData => Reason::Tampered,
            Self::Read(_) => Reason::Unreadable,
        }
    }
}

/// The files of an archive, one after the other.
pub struct Entries<R: Read> {
    from: R,
    limits: TarLimits,
    paths: PathSet,
    entry: u32,
    content: u64,
    /// Content and padding of the current file that nobody has read yet.
    left: u64,
    padding: usize,
    ended: bool,
}

impl<R: Read> std::fmt::Debug for Entries<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entries(at {})", self.entry)
    }
}

/// One file of an archive; reads its content.
#[derive(Debug)]
pub struct Entry<'a, R: Read> {
    /// Where it lies.
    pub path: BundlePath,
    /// How long it is, in bytes.
    pub bytes: u64,
    entries: &'a mut Entries<R>,
}

impl<R: Read> Entries<R> {
    /// The files of the archive that `from` gives.
    pub fn new(from: R, limits: TarLimits) -> Self {
        Self { from, limits, paths: PathSet::default(), entry: 0, content: 0, left: 0, padding: 0, ended: false }
    }

    /// The next file; `None` after the last, when the archive has ended as it must and nothing follows.
    pub fn next_file(&mut self) -> Result<Option<Entry<'_, R>>, TarError> {
        self.pass_over()?;
        if self.ended {
            return Ok(None);
        }
        let mut extended: Option<Extended> = None;
        loop {
            let block = self.block()?;
            if block.iter().all(|byte| *byte == 0) {
                if extended.is_some() {
                    return Err(self.form("an extension that belongs to nothing"));
                }
                if self.entry == 0 {
                    return Err(self.form("no entry at all"));
                }
                self.end()?;
                return Ok(None);
            }
            // An extension counts with the entry that it belongs to: only one may stand before each.
            self.entry += u32::from(extended.is_none());
            if self.entry > self.limits.entries_max {
                return Err(TarError::Limit { what: "entries", max: self.limits.entries_max.into() });
            }
            let size = self.check_header(&block)?;
            match block[156] {
                b'x' if extended.is_none() => extended = Some(self.read_extended(size)?),
                b'x' => return Err(self.form("two extensions of one entry")),
                b'0' => return self.begin_file(&block, size, extended.unwrap_or_default()).map(Some),
                b'5' if size == 0 && extended.is_none() => self.check_folder(&block)?,
                b'5' => return Err(self.form("a folder with content or an extension")),
                b'1' | b'2' => return Err(self.form("a link")),
                b'3' | b'4' | b'6' => return Err(self.form("a device")),
                _ => return Err(self.form("an entry of a kind that is neither file nor folder")),
            }
        }
    }

    fn begin_file(&mut self, block: &[u8; BLOCK], size: u64, extended: Extended) -> Result<Entry<'_, R>, TarError> {
        let bytes = match extended.size {
            Some(bytes) if bytes > OCTAL_MAX && size == OCTAL_MAX => bytes,
            Some(_) => return Err(self.form("two sizes")),
            None => size,
        };
        let path = match extended.path {
            Some(path) => path,
            None => self.name(block)?,
        };
        let entry = self.entry;
        let path: BundlePath = path.parse().map_err(|source| TarError::Name { entry, source })?;
        self.paths.add(&path).map_err(|source| TarError::Name { entry, source })?;
        self.content = self
            .content
            .checked_add(bytes)
            .filter(|sum| *sum <= self.limits.bytes_max)
            .ok_or(TarError::Limit { what: "bytes", max: self.limits.bytes_max })?;
        self.left = bytes;
        self.padding = usize::try_from(bytes.wrapping_neg() % BLOCK as u64).expect("less than a block");
        Ok(Entry { path, bytes, entries: self })
    }

    /// Folders say nothing that the files do not: they are checked and passed over.
    fn check_folder(&mut self, block: &[u8; BLOCK]) -> Result<(), TarError> {
        let (name, entry) = (self.name(block)?, self.entry);
        let name = name.strip_suffix('/').unwrap_or(&name);
        let path = name.parse().map_err(|source| TarError::Name { entry, source })?;
        self.paths.add_folder(&path).map_err(|source| TarError::Name { entry, source })
    }

    /// Checks what every header must have, and reads its size.
    fn check_header(&self, block: &[u8; BLOCK]) -> Result<u64, TarError> {
        if &block[257..265] != b"ustar\x0000" {
            return Err(self.form("a header that is not ustar"));
        }
        let said = octal(&block[148..156]).ok_or_else(|| self.form("a checksum that is no number"))?;
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if said != sum {
            return Err(self.form("a wrong checksum"));
        }
        if octal(&block[100..108]).is_none_or(|mode| mode > 0o777) {
            return Err(self.form("a mode with more than read, write and execute"));
        }
        if block[157..257].iter().any(|byte| *byte != 0) {
            return Err(self.form("a link target"));
        }
        // Nothing here uses owner, time and device, but other readers stop at what they cannot read.
        let unused = [&block[108..116], &block[116..124], &block[136..148], &block[329..337], &block[337..345]];
        if unused.iter().any(|field| octal(field).is_none() && field.iter().any(|byte| *byte != 0)) {
            return Err(self.form("an owner, a time or a device that is no octal number"));
        }
        if block[500..].iter().any(|byte| *byte != 0) {
            return Err(self.form("bytes after the header's fields"));
        }
        octal(&block[124..136]).ok_or_else(|| self.form("a size that is no octal number"))
    }

    fn name(&self, block: &[u8; BLOCK]) -> Result<String, TarError> {
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            if field[end..].iter().any(|byte| *byte != 0) {
                return Err(self.form("bytes after the end of a name"));
            }
            String::from_utf8(field[..end].to_vec())
                .map_err(|_| TarError::Name { entry: self.entry, source: PathError::NotText })
        };
        let (name, prefix) = (text(&block[..100])?, text(&block[345..500])?);
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }

    fn read_extended(&mut self, size: u64) -> Result<Extended, TarError> {
        let size = usize::try_from(size).ok().filter(|size| *size <= EXTENDED_MAX);
        let size = size.ok_or(TarError::Limit { what: "bytes in an extension", max: EXTENDED_MAX as u64 })?;
        let mut bytes = vec![0; size.next_multiple_of(BLOCK)];
        self.read_exact(&mut bytes)?;
        if bytes[size..].iter().any(|byte| *byte != 0) {
            return Err(self.form("padding that is not zero"));
        }
        let mut extended = Extended::default();
        let mut rest = &bytes[..size];
        while !rest.is_empty() {
            let (key, value, after) = record(rest).ok_or_else(|| self.form("an extension record that is malformed"))?;
            let value = std::str::from_utf8(value).map_err(|_| self.form("an extension record that is not text"))?;
            match key {
                b"path" if extended.path.is_none() => extended.path = Some(value.to_owned()),
                b"size" if extended.size.is_none() => {
                    let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                    let size = plain.then(|| value.parse().ok()).flatten();
                    extended.size = Some(size.ok_or_else(|| self.form("a size that is no number"))?);
                }
                _ => return Err(self.form("an extension other than one path and one size")),
            }
            rest = after;
        }
        Ok(extended)
    }

    /// After the first zero block: a second one, then zeros to the end of a record at most, then nothing.
    fn end(&mut self) -> Result<(), TarError> {
        let block = self.block()?;
        if block.iter().any(|byte| *byte != 0) {
            return Err(self.form("one zero block alone"));
        }
        let mut rest = Vec::new();
        (&mut self.from).take(RECORD as u64 + 1).read_to_end(&mut rest).map_err(TarError::Read)?;
        if rest.len() > RECORD || rest.iter().any(|byte| *byte != 0) {
            return Err(self.form("something after the end of the archive"));
        }
        self.ended = true;
        Ok(())
    }

    /// Passes over what is left of the current file.
    fn pass_over(&mut self) -> Result<(), TarError> {
        let mut sink = [0; 8192];
        while self.left > 0 {
            let want = sink.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.read_exact(&mut sink[..want])?;
            self.left -= want as u64;
        }
        let padding = std::mem::take(&mut self.padding);
        self.read_exact(&mut sink[..padding])?;
        if sink[..padding].iter().any(|byte| *byte != 0) {
            return Err(self.form("padding that is not zero"));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        self.read_exact(&mut block)?;
        Ok(block)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.from.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarError::CutOff,
            _ => TarError::Read(error),
        })
    }

    const fn form(&self, why: &'static str) -> TarError {
        TarError::Form { entry: self.entry, why }
    }
}

impl<R: Read> Read for Entry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.entries.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.entries.from.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive breaks off"));
        }
        self.entries.left -= count as u64;
        Ok(count)
    }
}

/// What a pax extension may say here.
#[derive(Default)]
struct Extended {
    path: Option<String>,
    size: Option<u64>,
}

/// One pax record: key, value, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(&bytes[..space]).ok()?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    let length: usize = plain.then(|| digits.parse().ok()).flatten()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

/// An octal number of a header field, ended by a NUL or spaces.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(field.len());
    if end == 0 || field[end..].iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    field[..end].iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'7' => Some(sum << 3 | u64::from(byte - b'0')),
        _ => None,
    })
}

/// The longest extension, in bytes: a path and a size.
const EXTENDED_MAX: usize = 4096;
/// What other tools pad an archive to, in bytes.
const RECORD: usize = 10_240;
