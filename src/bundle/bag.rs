//! Writes a bundle as a `BagIt` bag (RFC 8493) in a tar archive, in one pass.
//!
//! Rule: everything that is only known after the documents comes after them; the tag manifest, whose digest stands for
//! the whole bag, comes last.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::descriptor::Descriptor;
use super::path::{BundlePath, PathError, PathSet};
use super::tar_write::TarWriter;
use crate::id::{BundleId, Digest};
use crate::json;
use crate::reason::Reason;

/// Why a bag was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BagError {
    /// A document clashes with another.
    #[error("{path}: {source}")]
    Name {
        /// The document.
        path: BundlePath,
        /// What is wrong.
        source: PathError,
    },
    /// The documents do not come in the order of their paths.
    #[error("{path} comes after a path that sorts later")]
    Order {
        /// The document.
        path: BundlePath,
    },
    /// A document is not as long as it was when it was first looked at.
    #[error("{path} changed while it was read: {expected} bytes were announced")]
    Changed {
        /// The document.
        path: BundlePath,
        /// What was announced, in bytes.
        expected: u64,
    },
    /// A document cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The document.
        path: BundlePath,
        /// Why.
        source: io::Error,
    },
    /// The descriptor is not of the strict form.
    #[error("the descriptor cannot be written")]
    Descriptor(#[from] json::JsonError),
    /// The bag cannot be written.
    #[error("the bag cannot be written")]
    Write(#[from] io::Error),
}

impl BagError {
    /// The stable code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Name { .. } => Reason::BadName,
            Self::Order { .. } => Reason::BadInput,
            Self::Changed { .. } => Reason::FileChanged,
            Self::Read { .. } => Reason::Unreadable,
            Self::Descriptor(_) | Self::Write(_) => Reason::Internal,
        }
    }
}

/// A bag under way.
pub struct BagWriter<W: Write> {
    tar: TarWriter<W>,
    top: BundleId,
    manifest: String,
    tag_manifest: String,
    paths: PathSet,
    last: Option<BundlePath>,
    payload_bytes: u64,
    payload_files: u64,
    buffer: Vec<u8>,
}

impl<W: Write> std::fmt::Debug for BagWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BagWriter({} files)", self.payload_files)
    }
}

impl<W: Write> BagWriter<W> {
    /// Begins the bag of `bundle`; its id is the top folder.
    pub fn new(out: W, bundle: &BundleId) -> Result<Self, BagError> {
        let mut bag = Self {
            tar: TarWriter::new(out),
            top: bundle.clone(),
            manifest: String::new(),
            tag_manifest: String::new(),
            paths: PathSet::default(),
            last: None,
            payload_bytes: 0,
            payload_files: 0,
            buffer: vec![0; BUFFER_BYTES],
        };
        bag.tag_file("bagit.txt", BAGIT)?;
        Ok(bag)
    }

    /// Adds a document of exactly `bytes` bytes; `seen` is shown every piece of it as it goes by. Documents come in the
    /// order of their paths.
    pub fn document(
        &mut self,
        path: &BundlePath,
        bytes: u64,
        mut content: impl Read,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Digest, BagError> {
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return Err(BagError::Order { path: path.clone() });
        }
        self.paths.add(path).map_err(|source| BagError::Name { path: path.clone(), source })?;
        let name = format!("{}/data/{path}", self.top);
        let mut file = self.tar.file(&name, bytes)?;
        let (mut sha256, mut left) = (Sha256::new(), bytes);
        loop {
            let count =
                content.read(&mut self.buffer).map_err(|source| BagError::Read { path: path.clone(), source })?;
            let piece = &self.buffer[..count];
            if count as u64 > left || (count == 0 && left > 0) {
                return Err(BagError::Changed { path: path.clone(), expected: bytes });
            }
            if count == 0 {
                break;
            }
            sha256.update(piece);
            seen(piece);
            file.write_all(piece)?;
            left -= count as u64;
        }
        file.finish()?;
        let digest = Digest::from_bytes(sha256.finalize().into());
        writeln!(self.manifest, "{digest}  data/{path}").expect("a string takes everything");
        self.payload_bytes += bytes;
        self.payload_files += 1;
        self.last = Some(path.clone());
        Ok(digest)
    }

    /// Writes what is known only now, and ends the bag. The digest is that of the tag manifest: it stands for the bag.
    pub fn finish(mut self, descriptor: &Descriptor, cover: &str) -> Result<(W, Digest), BagError> {
        self.tag_file("medseal.json", &json::to_line(descriptor)?)?;
        self.tag_file("index.html", cover)?;
        let day = descriptor.created.get(..10).unwrap_or_default();
        let info = format!(
            "Source-Organization: {}\nExternal-Identifier: {}\nBagging-Date: {day}\nPayload-Oxum: {}.{}\n\
             Bag-Software-Agent: medseal/{}\n",
            descriptor.from,
            self.top,
            self.payload_bytes,
            self.payload_files,
            env!("CARGO_PKG_VERSION"),
        );
        self.tag_file("bag-info.txt", &info)?;
        let manifest = std::mem::take(&mut self.manifest);
        self.tag_file("manifest-sha256.txt", &manifest)?;
        let tag_manifest = std::mem::take(&mut self.tag_manifest);
        self.tag_file("tagmanifest-sha256.txt", &tag_manifest)?;
        Ok((self.tar.finish()?, Digest::of(tag_manifest.as_bytes())))
    }

    fn tag_file(&mut self, name: &str, content: &str) -> Result<(), BagError> {
        let mut file = self.tar.file(&format!("{}/{name}", self.top), content.len() as u64)?;
        file.write_all(content.as_bytes())?;
        file.finish()?;
        writeln!(self.tag_manifest, "{}  {name}", Digest::of(content.as_bytes())).expect("a string takes everything");
        Ok(())
    }
}

/// The bag declaration of RFC 8493.
pub(super) const BAGIT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

const BUFFER_BYTES: usize = 256 * 1024;
