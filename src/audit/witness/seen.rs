//! What a witness saw last of each log: one small file for each, outside the store.
//!
//! Rule: the file is on the disk before the signature exists. What the store remembers besides is at most an hour old,
//! and a file that is behind even that is an old copy: then nothing is signed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::audit::note::{Checkpoint, NOTE_BYTES_MAX, NoteError, Origin};
use crate::durable;
use crate::id::{Digest, InstitutionId};

/// The folder with what was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    dir: PathBuf,
}

/// Why it cannot be said what was seen last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeenError {
    /// The file cannot be read or written.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        why: io::Error,
    },
    /// The file is no checkpoint of this log.
    #[error("{path} is not what was seen of this log: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: NoteError,
    },
    /// The file is an old copy: more was seen, and may have been signed.
    #[error("{path} is an old copy: it is behind the {recorded} entries that the log of this gateway names")]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// The size that our own log names.
        recorded: u64,
    },
}

impl Seen {
    /// Opens the folder, and makes it if it is not there.
    pub fn open(dir: &Path) -> Result<Self, SeenError> {
        if !dir.is_dir() {
            durable::create_dir(dir, 0o700).map_err(|why| SeenError::Io { path: dir.to_owned(), why })?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The note that was seen last of a partner's log; `recorded` is the size that our own log names at least.
    pub fn last(
        &self,
        partner: &InstitutionId,
        origin: &Origin,
        recorded: Option<&Checkpoint>,
    ) -> Result<Option<(String, Checkpoint)>, SeenError> {
        let path = self.path(partner, origin);
        let behind = |recorded: &Checkpoint| SeenError::RolledBack { path: path.clone(), recorded: recorded.size };
        let note = match fs::metadata(&path).and_then(|found| read_capped(&path, found.len())) {
            Ok(note) => note,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                return recorded.map_or(Ok(None), |recorded| Err(behind(recorded)));
            }
            Err(why) => return Err(SeenError::Io { path, why }),
        };
        let seen = Checkpoint::claimed(note.as_bytes())
            .and_then(|seen| if seen.origin == *origin { Ok(seen) } else { Err(NoteError::Name) })
            .map_err(|why| SeenError::Malformed { path: path.clone(), why })?;
        match recorded {
            Some(recorded) if recorded.size > seen.size => Err(behind(recorded)),
            Some(recorded) if recorded.size == seen.size && recorded.root != seen.root => Err(behind(recorded)),
            _ => Ok(Some((note, seen))),
        }
    }

    /// Remembers a note, durably, in place of the one before it.
    pub fn remember(&self, partner: &InstitutionId, origin: &Origin, note: &str) -> Result<(), SeenError> {
        let path = self.path(partner, origin);
        durable::replace(&path, note.as_bytes(), 0o600).map_err(|why| SeenError::Io { path, why })
    }

    /// A partner's card may name a log as another partner names its own: each has its own memory.
    fn path(&self, partner: &InstitutionId, origin: &Origin) -> PathBuf {
        self.dir.join(Digest::of(format!("{partner}\n{origin}").as_bytes()).to_string())
    }
}

fn read_capped(path: &Path, bytes: u64) -> io::Result<String> {
    if bytes > NOTE_BYTES_MAX as u64 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read_to_string(path)
}
