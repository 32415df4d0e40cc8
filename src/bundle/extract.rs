//! Opens a bag: writes its documents into a folder that appears only when every check has passed.
//!
//! Rule: the manifest decides. What it does not name, or names otherwise, makes the whole bundle refused; on any
//! failure nothing is left behind.

mod folder;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bag::BAGIT;
use super::descriptor::{DESCRIPTOR_BYTES_MAX, Descriptor};
use super::path::BundlePath;
use super::tar_read::{Entries, TarError, TarLimits};
use crate::id::{BundleId, Digest};
use crate::json;
use crate::reason::Reason;
use folder::NewFolder;

/// What is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// The documents only, as the sender had them.
    Documents,
    /// The whole bag with its manifests.
    WholeBag,
}

/// A bag that was opened.
#[derive(Debug)]
pub struct OpenedBag {
    /// What the bundle says of itself.
    pub descriptor: Descriptor,
    /// SHA-256 of the tag manifest.
    pub manifest_sha256: Digest,
}

/// Why a bag was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The archive is not in the normal form.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A file of the bag is missing, additional, or out of place.
    #[error("the bag is not in normal form: {0}")]
    Form(String),
    /// A file is not what the manifest says.
    #[error("{path} is not the file that the manifest names")]
    Digest {
        /// The file, below the bag's top folder.
        path: String,
    },
    /// The descriptor and the manifest disagree.
    #[error("the descriptor does not describe what the bag holds: {0}")]
    Descriptor(String),
    /// The content does not verify.
    #[error("the content was changed or cut off")]
    Content(#[source] io::Error),
    /// The output folder exists.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The documents cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ExtractError {
    /// The stable code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Tar(error) => error.reason(),
            Self::Form(_) | Self::Descriptor(_) => Reason::NotNormalForm,
            Self::Digest { .. } | Self::Content(_) => Reason::Tampered,
            Self::Exists(_) => Reason::OutputExists,
            Self::Write { .. } => Reason::Unreadable,
        }
    }
}

/// Reads the bag that `plaintext` gives and writes it to `out`, which must not exist. `agree` may refuse what the
/// descriptor says, before anything becomes visible.
pub fn open_bag(
    plaintext: impl Read,
    out: &Path,
    extent: Extent,
    limits: TarLimits,
    agree: impl FnOnce(&OpenedBag) -> Result<(), String>,
) -> Result<OpenedBag, ExtractError> {
    if out.symlink_metadata().is_ok() {
        return Err(ExtractError::Exists(out.to_owned()));
    }
    let folder = NewFolder::beside(out)?;
    let opened = read_bag(plaintext, limits, |inner| match extent {
        Extent::WholeBag => folder.create(inner).map(Some),
        Extent::Documents => inner.strip_prefix(DATA).map(|place| folder.create(place)).transpose(),
    })?;
    agree(&opened).map_err(ExtractError::Descriptor)?;
    folder.publish(out)?;
    Ok(opened)
}

/// Checks everything about the bag that `plaintext` gives that [`open_bag`] checks, and writes nothing.
pub fn check_bag(plaintext: impl Read, limits: TarLimits) -> Result<OpenedBag, ExtractError> {
    read_bag(plaintext, limits, |_| Ok(None::<io::Sink>))
}

/// Reads a bag to its end and checks it. `create` is asked for each file, by its path below the top folder, and says
/// where its content goes.
fn read_bag<W: Write>(
    plaintext: impl Read,
    limits: TarLimits,
    mut create: impl FnMut(&str) -> Result<Option<W>, ExtractError>,
) -> Result<OpenedBag, ExtractError> {
    let mut entries = Entries::new(plaintext, limits);
    let mut bag = Bag { top: None, found: BTreeMap::new(), tags: BTreeMap::new(), sizes: BTreeMap::new(), tag: 0 };
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Some(mut entry) = entries.next_file()? {
        let (path, bytes) = (entry.path.clone(), entry.bytes);
        let inner = bag.inner(&path)?;
        let failed = |source| ExtractError::Write { path: PathBuf::from(&inner), source };
        if let Some(document) = inner.strip_prefix(DATA) {
            bag.expect_document(&inner)?;
            let mut file = create(&inner)?;
            let mut sha256 = Sha256::new();
            loop {
                let count = entry.read(&mut buffer).map_err(content)?;
                if count == 0 {
                    break;
                }
                sha256.update(&buffer[..count]);
                if let Some(file) = &mut file {
                    file.write_all(&buffer[..count]).map_err(failed)?;
                }
            }
            bag.sizes.insert(document.to_owned(), bytes);
            bag.found.insert(inner, Digest::from_bytes(sha256.finalize().into()));
        } else {
            let text = bag.read_tag(&inner, bytes, &mut entry)?;
            if let Some(mut file) = create(&inner)? {
                file.write_all(text.as_bytes()).map_err(failed)?;
            }
        }
    }
    // Only a stream that came to its end is authentic: age says so at the last chunk.
    bag.check()
}

/// What was seen of a bag so far.
struct Bag {
    top: Option<BundleId>,
    /// Digest of each document by its path below the top folder.
    found: BTreeMap<String, Digest>,
    sizes: BTreeMap<String, u64>,
    tags: BTreeMap<&'static str, String>,
    /// How many tag files were seen, which says which must come next.
    tag: usize,
}

impl Bag {
    /// The path below the top folder, which is the same for every file and a bundle's id.
    fn inner(&mut self, path: &BundlePath) -> Result<String, ExtractError> {
        let (top, inner) = path.as_str().split_once('/').ok_or_else(|| form("a file outside the top folder"))?;
        let top: BundleId = top.parse().map_err(|_| form("a top folder that is no bundle id"))?;
        if *self.top.get_or_insert_with(|| top.clone()) != top {
            return Err(form("two top folders"));
        }
        Ok(inner.to_owned())
    }

    fn expect_document(&self, inner: &str) -> Result<(), ExtractError> {
        if self.tag != 1 {
            return Err(form("a document before bagit.txt or after medseal.json"));
        }
        match self.found.last_key_value() {
            Some((last, _)) if last.as_str() >= inner => {
                Err(form("documents that are not in the order of their paths"))
            }
            _ => Ok(()),
        }
    }

    fn read_tag(&mut self, inner: &str, bytes: u64, entry: &mut impl Read) -> Result<String, ExtractError> {
        let Some((name, max)) = TAGS.get(self.tag).filter(|(name, _)| *name == inner) else {
            return Err(ExtractError::Form(format!("{inner:.64} where it does not belong")));
        };
        if bytes > *max as u64 {
            return Err(TarError::Limit { what: "bytes in a tag file", max: *max as u64 }.into());
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData if error.get_ref().is_none() => form("a tag file that is not text"),
            _ => content(error),
        })?;
        self.tags.insert(name, text.clone());
        self.tag += 1;
        Ok(text)
    }

    fn check(self) -> Result<OpenedBag, ExtractError> {
        if self.tag != TAGS.len() {
            return Err(form("a tag file is missing"));
        }
        if self.tags["bagit.txt"] != BAGIT {
            return Err(form("a bagit.txt that is not that of BagIt 1.0"));
        }
        let tag_manifest = &self.tags["tagmanifest-sha256.txt"];
        let manifest_sha256 = Digest::of(tag_manifest.as_bytes());
        let mut tags = listed(tag_manifest)?;
        for (name, _) in &TAGS[..TAGS.len() - 1] {
            if tags.remove(*name) != Some(Digest::of(self.tags[name].as_bytes())) {
                return Err(ExtractError::Digest { path: (*name).to_owned() });
            }
        }
        let mut named = listed(&self.tags["manifest-sha256.txt"])?;
        for (path, digest) in &self.found {
            if named.remove(path) != Some(*digest) {
                return Err(ExtractError::Digest { path: path.clone() });
            }
        }
        if let Some((path, _)) = named.into_iter().chain(tags).next() {
            return Err(ExtractError::Form(format!("the manifest names {path:.64}, which is not there")));
        }
        let descriptor: Descriptor = json::from_line(self.tags["medseal.json"].as_bytes(), DESCRIPTOR_BYTES_MAX)
            .map_err(|error| ExtractError::Descriptor(error.to_string()))?;
        self.check_descriptor(&descriptor)?;
        self.check_info()?;
        Ok(OpenedBag { descriptor, manifest_sha256 })
    }

    fn check_descriptor(&self, descriptor: &Descriptor) -> Result<(), ExtractError> {
        let differs = |what: &str| Err(ExtractError::Descriptor(what.to_owned()));
        if descriptor.format != Descriptor::FORMAT {
            return differs("its format is not known");
        }
        if Some(&descriptor.bundle) != self.top.as_ref() {
            return differs("it names another bundle");
        }
        if descriptor.documents.len() != self.found.len() {
            return differs("it names more or fewer documents");
        }
        // Both are in the order of their paths, so that a document described twice cannot stand in for another.
        for (document, (path, digest)) in descriptor.documents.iter().zip(&self.found) {
            let described = document.path.as_str();
            let same = path.strip_prefix(DATA) == Some(described)
                && document.sha256 == *digest
                && self.sizes.get(described) == Some(&document.bytes);
            if !same {
                return differs("it describes a document otherwise");
            }
        }
        Ok(())
    }

    /// Another tool refuses a bag whose count is wrong, so we do too.
    fn check_info(&self) -> Result<(), ExtractError> {
        let counted = format!("{}.{}", self.sizes.values().sum::<u64>(), self.sizes.len());
        let mut said = self.tags["bag-info.txt"].lines().filter_map(|line| line.strip_prefix("Payload-Oxum:"));
        match (said.next(), said.next()) {
            (None, None) => Ok(()),
            (Some(said), None) if said.trim() == counted => Ok(()),
            _ => Err(form("a bag-info.txt that counts otherwise")),
        }
    }
}

/// The lines of a manifest: digest, two spaces, path; each path once.
fn listed(manifest: &str) -> Result<BTreeMap<String, Digest>, ExtractError> {
    let mut listed = BTreeMap::new();
    if !manifest.is_empty() && !manifest.ends_with('\n') {
        return Err(form("a manifest that breaks off"));
    }
    // Not `lines`, which takes away a carriage return that other tools count to the name.
    for line in manifest.split_terminator('\n') {
        let (digest, path) = line.split_once("  ").ok_or_else(|| form("a manifest line that is malformed"))?;
        let digest = digest.parse().map_err(|_| form("a manifest line without a SHA-256 digest"))?;
        if listed.insert(path.to_owned(), digest).is_some() {
            return Err(form("a manifest that names a file twice"));
        }
    }
    Ok(listed)
}

fn form(why: &str) -> ExtractError {
    ExtractError::Form(why.to_owned())
}

fn content(error: io::Error) -> ExtractError {
    ExtractError::Content(error)
}

/// The tag files in their order, each with its longest size in bytes. The documents come after the first.
const TAGS: [(&str, usize); 6] = [
    ("bagit.txt", 1024),
    ("medseal.json", DESCRIPTOR_BYTES_MAX),
    ("index.html", 64 << 20),
    ("bag-info.txt", 64 << 10),
    ("manifest-sha256.txt", 256 << 20),
    ("tagmanifest-sha256.txt", 64 << 10),
];

/// Where the documents lie in a bag.
const DATA: &str = "data/";

const BUFFER_BYTES: usize = 256 * 1024;
