//! Why a key folder cannot be used.
//!
//! Rule: says which file, what was found and what is allowed, and never anything from inside a private file.

use std::io;
use std::path::PathBuf;

use crate::reason::Reason;

/// Why a key folder cannot be made, opened or renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// There is a folder of that name already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A name that no certificate can hold.
    #[error("the endpoint's host is {found:?}; a DNS name or an IP address is allowed")]
    Host {
        /// What was given, cut to 64 characters.
        found: String,
    },
    /// The disk said no.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A symbolic link where a file or folder of our own must be.
    #[error("{} is a symbolic link; only the file itself is allowed", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The content has another form.
    #[error("{} does not hold {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Two files that belong together do not.
    #[error("{} does not belong to {with}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The file that it should fit.
        with: &'static str,
    },
    /// A file that must be there is not.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error("{} has mode {found:04o}; at most {allowed:04o} is allowed", path.display())]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
        /// The widest that is allowed.
        allowed: u32,
    },
    /// A folder, pipe or device where a file must be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
    /// It belongs to another account.
    #[error("{} belongs to user {found}; this process runs as user {allowed}", path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// Its owner's number.
        found: u32,
        /// Our number.
        allowed: u32,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {cause}")]
    Certificate {
        /// What the certificate library said.
        cause: String,
    },
}

impl KeysError {
    /// The stable code for a person and for the log.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Exists { .. } => Reason::Conflict,
            Self::Link { .. } | Self::NotAFile { .. } => Reason::NotAFile,
            Self::Io { .. } | Self::Missing { .. } | Self::Mode { .. } | Self::Owner { .. } => Reason::Unreadable,
            Self::Host { .. } | Self::Malformed { .. } | Self::Mismatch { .. } => Reason::BadInput,
            Self::Certificate { .. } => Reason::Internal,
        }
    }

    /// The command or file that mends it, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Mode { path, allowed, .. } => Some(format!("chmod {allowed:o} {}", path.display())),
            Self::Owner { path, found, .. } => {
                Some(format!("run medseal as user {found}, or chown the folder that holds {}", path.display()))
            }
            Self::Missing { path } | Self::Malformed { path, .. } | Self::Mismatch { path, .. } => {
                Some(format!("restore {} from the backup of the key folder; keys/README.md", path.display()))
            }
            _ => None,
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "used with map_err")]
    pub(super) fn from_rcgen(error: rcgen::Error) -> Self {
        Self::Certificate { cause: error.to_string() }
    }
}
