//! The key of a witness that stands alone, on an officer's own computer: one file, with the witness's name in it.
//!
//! Rule: one run at a time holds it, so that two never look at the same memory.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::folder::{Folder, Secrecy};
use super::{KeysError, new_note_key, note_signer};
use crate::signature::NoteSigner;

/// A lone witness's key.
pub struct LoneWitness {
    name: String,
    signer: NoteSigner,
    /// Held until the key is dropped.
    _turn: File,
}

impl LoneWitness {
    /// Makes the key of a witness of this name. The file must not exist.
    pub fn create(path: &Path, name: &str) -> Result<Self, KeysError> {
        let (folder, file) = around(path)?;
        if path.symlink_metadata().is_ok() {
            return Err(KeysError::Exists { path: path.to_owned() });
        }
        let text = zeroize::Zeroizing::new(format!("{HEAD}{name}\n{}", *new_note_key()));
        folder.write_new(file, &text, Secrecy::Private)?;
        Self::open(path)
    }

    /// Opens it; nobody else may be able to read it.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let (folder, file) = around(path)?;
        let malformed = || KeysError::Malformed { path: path.to_owned(), what: "the key of a lone witness" };
        let text = folder.text(file, Secrecy::Private)?;
        let (head, pem) = text.split_once('\n').ok_or_else(malformed)?;
        let name = head.strip_prefix(HEAD).ok_or_else(malformed)?.to_owned();
        let signer = note_signer(pem).ok_or_else(malformed)?;
        let failed = |source| KeysError::Io { path: path.to_owned(), source };
        let turn = File::open(path).map_err(failed)?;
        flock(&turn, FlockOperation::NonBlockingLockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(Self { name, signer, _turn: turn })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Signs under checkpoints.
    pub const fn signer(&self) -> &NoteSigner {
        &self.signer
    }
}

impl fmt::Debug for LoneWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoneWitness({})", self.name)
    }
}

fn around(path: &Path) -> Result<(Folder, &str), KeysError> {
    let file = path.file_name().and_then(OsStr::to_str);
    let file = file.ok_or_else(|| KeysError::NotAFile { path: path.to_owned() })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Folder::of_others(parent)?, file))
}

const HEAD: &str = "medseal lone witness ";
