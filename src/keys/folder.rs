//! The key folder on disk: whose it must be, and who may read what is in it.
//!
//! Rule: a file is judged by its open handle, never by its name a moment before, and nothing is read through a link.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use zeroize::Zeroizing;

use super::KeysError;
use crate::durable;

/// The largest file of a key folder, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// An open key folder that belongs to us alone.
pub(super) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

/// Who may read a file.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Secrecy {
    /// Its owner: no bit for the group or for others.
    Private,
    /// Everyone; but only its owner may write it.
    Public,
}

impl Folder {
    /// Makes a new one; fails if the name is taken.
    pub(super) fn create(path: &Path) -> Result<Self, KeysError> {
        durable::create_dir(path, 0o700).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => KeysError::Exists { path: path.to_owned() },
            _ => KeysError::Io { path: path.to_owned(), source },
        })?;
        Self::open(path)
    }

    /// Opens one that must be ours, with mode 0700.
    pub(super) fn open(path: &Path) -> Result<Self, KeysError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(path, errno))?;
        let folder = Self { path: path.to_owned(), handle };
        let stat = rustix::fs::fstat(&folder.handle).map_err(|errno| failed(path, errno))?;
        check_owner(path, &stat)?;
        match stat.st_mode & 0o7777 {
            0o700 => Ok(folder),
            found => Err(KeysError::Mode { path: path.to_owned(), found, allowed: 0o700 }),
        }
    }

    /// Opens a folder in which a single file is ours, whoever else may look into it.
    pub(super) fn of_others(path: &Path) -> Result<Self, KeysError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(path, errno))?;
        Ok(Self { path: path.to_owned(), handle })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file, or `None` if there is none. Its owner and mode must be right.
    pub(super) fn read(&self, name: &str, secrecy: Secrecy) -> Result<Option<Zeroizing<Vec<u8>>>, KeysError> {
        let path = self.path(name);
        // NONBLOCK: opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(&path, errno)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(|errno| failed(&path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(KeysError::NotAFile { path });
        }
        check_owner(&path, &stat)?;
        let (forbidden, allowed) = match secrecy {
            Secrecy::Private => (0o7177, 0o600),
            Secrecy::Public => (0o7133, 0o644),
        };
        let found = stat.st_mode & 0o7777;
        if found & forbidden != 0 {
            return Err(KeysError::Mode { path, found, allowed });
        }
        // Room for all of it at once: a growing vector would leave copies of a key behind.
        let room = usize::try_from(FILE_BYTES_MAX).expect("64 KiB fit");
        let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
        match File::from(handle).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes) {
            Ok(length) if length <= room => Ok(Some(bytes)),
            Ok(_) => Err(KeysError::Malformed { path, what: "a key file of at most 64 KiB" }),
            Err(source) => Err(KeysError::Io { path, source }),
        }
    }

    /// Like [`Folder::read`], as text that must be there.
    pub(super) fn text(&self, name: &str, secrecy: Secrecy) -> Result<Zeroizing<String>, KeysError> {
        let bytes = self.read(name, secrecy)?.ok_or_else(|| KeysError::Missing { path: self.path(name) })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| KeysError::Malformed { path: self.path(name), what: "a text file" })?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Writes a file that does not exist yet.
    pub(super) fn write_new(&self, name: &str, text: &str, secrecy: Secrecy) -> Result<(), KeysError> {
        let path = self.path(name);
        durable::write_new(&path, text.as_bytes(), secrecy.mode()).map_err(|source| KeysError::Io { path, source })
    }

    /// Puts a file in place of an older one.
    pub(super) fn replace(&self, name: &str, text: &str, secrecy: Secrecy) -> Result<(), KeysError> {
        let path = self.path(name);
        durable::replace(&path, text.as_bytes(), secrecy.mode()).map_err(|source| KeysError::Io { path, source })
    }
}

impl Secrecy {
    const fn mode(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// Wraps a few bytes as PEM with one line of base64 per 48 bytes.
pub(super) fn pem(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(256 + bytes.len() * 2));
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for chunk in bytes.chunks(48) {
        BASE64.encode_string(chunk, &mut text);
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

/// Reads the bytes of the one PEM block in `text`, which must have this label.
pub(super) fn read_pem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    joined.extend(body.split_ascii_whitespace());
    let mut bytes = Zeroizing::new(Vec::with_capacity(joined.len()));
    BASE64.decode_vec(joined.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

fn check_owner(path: &Path, stat: &Stat) -> Result<(), KeysError> {
    let allowed = rustix::process::geteuid().as_raw();
    if stat.st_uid == allowed {
        Ok(())
    } else {
        Err(KeysError::Owner { path: path.to_owned(), found: stat.st_uid, allowed })
    }
}

fn failed(path: &Path, errno: rustix::io::Errno) -> KeysError {
    let path = path.to_owned();
    match errno {
        rustix::io::Errno::LOOP => KeysError::Link { path },
        rustix::io::Errno::NOENT => KeysError::Missing { path },
        rustix::io::Errno::NOTDIR if path.is_symlink() => KeysError::Link { path },
        other => KeysError::Io { path, source: other.into() },
    }
}
