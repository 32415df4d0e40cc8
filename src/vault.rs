//! The vault: sealed bundles of any size as files on the local disk.
//!
//! Rule: a blob under its name in `sealed/` is whole and on the disk, whenever the power fails: it grows as a partial in
//! `partial/`, is synced there, and moves over in one step that never overwrites. Only sealed bytes come here.
//!
//! The functions block. The blob first, then the write set that names it; the other way round when it goes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use crate::durable;
use crate::id::{BundleId, ConsentId, Digest, IdError, InstitutionId};
use crate::reason::Reason;

/// A blob's name. It is made of checked ids, so it is a plain file name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BlobName(String);

impl BlobName {
    /// A bundle that was sealed here.
    pub fn ours(bundle: &BundleId) -> Self {
        Self(bundle.to_string())
    }

    /// A bundle that a partner sent: ids that a partner chose are names only together with the partner.
    pub fn theirs(from: &InstitutionId, bundle: &BundleId, sealed_sha256: &Digest) -> Self {
        Self(format!("{from}.{bundle}.{sealed_sha256}"))
    }

    /// A scan that is kept beside a consent, by its number from 1.
    pub fn evidence(consent: &ConsentId, number: u32) -> Self {
        Self(format!("{consent}.{number}"))
    }

    /// The consent beside which the scan of this name is kept; `None`: it is no scan.
    pub fn evidence_of(&self) -> Option<ConsentId> {
        let (consent, number) = self.0.split_once('.')?;
        number.parse::<u32>().ok().and_then(|_| consent.parse().ok())
    }

    /// The name as a text, which is the file's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let name = match text.split('.').collect::<Vec<_>>()[..] {
            [bundle] => Self::ours(&bundle.parse()?),
            [consent, number] if number.parse::<u32>().is_ok_and(|parsed| parsed.to_string() == number) => {
                Self::evidence(&consent.parse()?, number.parse().expect("it was parsed just now"))
            }
            [from, bundle, digest] => Self::theirs(&from.parse()?, &bundle.parse()?, &digest.parse()?),
            _ => {
                return Err(IdError::Shape {
                    what: "blob name",
                    shape: "BUNDLE, CONSENT.NUMBER or INSTITUTION.BUNDLE.DIGEST",
                });
            }
        };
        Ok(name)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no vault in this folder.
    #[error("there is no vault at {}", path.display())]
    NoVault {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is something in the place where the vault should be made.
    #[error("there is something at {} already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// No such blob.
    #[error("the vault holds no {name}")]
    Absent {
        /// Its name.
        name: BlobName,
    },
    /// A partial of this name was begun before, or a different blob has it.
    #[error("{name} is taken")]
    Taken {
        /// The name.
        name: BlobName,
    },
    /// The partial does not have the length that it should be published with.
    #[error("{name} is {found} bytes long, not {expected}")]
    Length {
        /// The blob.
        name: BlobName,
        /// The partial's length, in bytes.
        found: u64,
        /// The length named, in bytes.
        expected: u64,
    },
    /// The partial was published; its bytes do not change any more.
    #[error("{name} is published")]
    Published {
        /// The blob.
        name: BlobName,
    },
    /// Too little room on the disk.
    #[error("{free_bytes} bytes are free on the disk; {floor_bytes} must stay free and {wanted_bytes} are wanted")]
    Full {
        /// The free bytes.
        free_bytes: u64,
        /// The bytes that must stay free.
        floor_bytes: u64,
        /// The bytes that were to be written.
        wanted_bytes: u64,
    },
    /// The operating system failed.
    #[error("the vault failed while {doing}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
}

impl VaultError {
    /// The code for a person.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Absent { .. } => Reason::NotFound,
            Self::Exists { .. } | Self::Taken { .. } | Self::Published { .. } => Reason::Conflict,
            Self::Full { .. } => Reason::DiskFull,
            Self::Failed { source, .. } if source.kind() == io::ErrorKind::StorageFull => Reason::DiskFull,
            Self::NoVault { .. } | Self::Length { .. } | Self::Failed { .. } => Reason::Internal,
        }
    }
}

/// A folder of sealed bundles.
#[derive(Clone, Debug)]
pub struct Vault {
    sealed: PathBuf,
    partial: PathBuf,
    floor_bytes: u64,
}

impl Vault {
    /// Makes an empty vault in a new folder, whose parent exists, and opens it.
    ///
    /// A crash on the way leaves no vault at all.
    pub fn create(dir: &Path, floor_bytes: u64) -> Result<Self, VaultError> {
        if fs::symlink_metadata(dir).is_ok() {
            return Err(VaultError::Exists { path: dir.to_owned() });
        }
        make_empty(dir).map_err(failed("making the vault"))?;
        Self::open(dir, floor_bytes)
    }

    /// Opens the vault in a folder; `floor_bytes` of its disk stay free.
    pub fn open(dir: &Path, floor_bytes: u64) -> Result<Self, VaultError> {
        let vault = Self { sealed: dir.join(SEALED), partial: dir.join(PARTIAL), floor_bytes };
        if vault.sealed.is_dir() && vault.partial.is_dir() {
            Ok(vault)
        } else {
            Err(VaultError::NoVault { path: dir.to_owned() })
        }
    }

    /// Whether `wanted_bytes` more can be stored and the floor still stays free.
    pub fn room(&self, wanted_bytes: u64) -> Result<(), VaultError> {
        let disk = rustix::fs::statvfs(&self.partial).map_err(|error| failed("asking for free room")(error.into()))?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        if wanted_bytes.saturating_add(self.floor_bytes) > free_bytes {
            return Err(VaultError::Full { free_bytes, floor_bytes: self.floor_bytes, wanted_bytes });
        }
        Ok(())
    }

    /// Begins a blob. The empty partial is on the disk when this returns, so that a restart finds it.
    pub fn begin(&self, name: &BlobName) -> Result<Partial, VaultError> {
        self.room(0)?;
        if self.size(name)?.is_some() {
            return Err(VaultError::Taken { name: name.clone() });
        }
        let path = self.partial.join(name.as_str());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => VaultError::Taken { name: name.clone() },
            _ => failed("beginning a blob")(error),
        })?;
        durable::sync_dir(&self.partial).map_err(failed("beginning a blob"))?;
        Ok(self.partial_of(name, file))
    }

    /// Opens a partial that was begun before, such as before a restart. What was synced is there; what was written after
    /// the last sync may be there or not.
    pub fn resume(&self, name: &BlobName) -> Result<Option<Partial>, VaultError> {
        match OpenOptions::new().read(true).write(true).open(self.partial.join(name.as_str())) {
            Ok(file) => Ok(Some(self.partial_of(name, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("opening a partial")(error)),
        }
    }

    /// The blob, open for reading at its beginning.
    pub fn read(&self, name: &BlobName) -> Result<File, VaultError> {
        File::open(self.sealed.join(name.as_str())).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => VaultError::Absent { name: name.clone() },
            _ => failed("opening a blob")(error),
        })
    }

    /// The first `bytes` bytes of the blob; it must have as many.
    pub fn head(&self, name: &BlobName, bytes: u64) -> Result<Vec<u8>, VaultError> {
        let mut head = Vec::new();
        self.read(name)?.take(bytes).read_to_end(&mut head).map_err(failed("reading a blob"))?;
        let found = head.len() as u64;
        if found < bytes {
            return Err(VaultError::Length { name: name.clone(), found, expected: bytes });
        }
        Ok(head)
    }

    /// The blob's length in bytes; `None` when there is no such blob.
    pub fn size(&self, name: &BlobName) -> Result<Option<u64>, VaultError> {
        match fs::metadata(self.sealed.join(name.as_str())) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("looking for a blob")(error)),
        }
    }

    /// Removes a blob for good. There being none is no error, so that a removal can be repeated after a crash.
    pub fn remove(&self, name: &BlobName) -> Result<(), VaultError> {
        remove(&self.sealed, name)
    }

    /// Removes a partial. There being none is no error. A [`Partial`] still held writes into the void.
    pub fn abandon(&self, name: &BlobName) -> Result<(), VaultError> {
        remove(&self.partial, name)
    }

    /// The blobs, in the order of their names.
    pub fn list(&self) -> Result<Vec<BlobName>, VaultError> {
        list(&self.sealed)
    }

    /// The partials, in the order of their names: after a start, those that nobody resumes are to be abandoned.
    pub fn list_partials(&self) -> Result<Vec<BlobName>, VaultError> {
        list(&self.partial)
    }

    fn partial_of(&self, name: &BlobName, file: File) -> Partial {
        Partial { vault: self.clone(), name: name.clone(), file, published: RwLock::new(false) }
    }
}

/// A blob that is being written. Segments may be written in any order, by many threads.
#[derive(Debug)]
pub struct Partial {
    vault: Vault,
    name: BlobName,
    file: File,
    /// Held for reading by each write, so that none reaches a published blob.
    published: RwLock<bool>,
}

impl Partial {
    /// The blob's name.
    pub const fn name(&self) -> &BlobName {
        &self.name
    }

    /// Writes all of `bytes` at this offset. In the page cache only, until [`Partial::sync`].
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VaultError> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        if *published {
            return Err(VaultError::Published { name: self.name.clone() });
        }
        self.vault.room(bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset).map_err(failed("writing a partial"))
    }

    /// Makes everything written before durable. After an error nothing is known of any byte since the last success:
    /// the partial must be abandoned, since the kernel reports a lost page only once.
    pub fn sync(&self) -> Result<(), VaultError> {
        self.file.sync_data().map_err(failed("syncing a partial"))
    }

    /// Its length in bytes: the end of the furthest segment, whatever is missing before it.
    pub fn size(&self) -> Result<u64, VaultError> {
        Ok(self.file.metadata().map_err(failed("looking at a partial"))?.len())
    }

    /// Another handle on it, for reading from the beginning.
    pub fn reader(&self) -> Result<File, VaultError> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        let dir = if *published { &self.vault.sealed } else { &self.vault.partial };
        File::open(dir.join(self.name.as_str())).map_err(failed("reading a partial"))
    }

    /// Makes it a blob of exactly `bytes` bytes, durable under its name when this returns.
    ///
    /// The caller has verified the content. A blob of this name with the same bytes is success, with other bytes
    /// [`VaultError::Taken`], and the one that was there stays. Publishing twice is no error.
    pub fn publish(&self, bytes: u64) -> Result<(), VaultError> {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        if *published {
            return Ok(());
        }
        let found = self.size()?;
        if found != bytes {
            return Err(VaultError::Length { name: self.name.clone(), found, expected: bytes });
        }
        self.file.sync_all().map_err(failed("syncing a partial"))?;
        let (from, to) = (self.vault.partial.join(self.name.as_str()), self.vault.sealed.join(self.name.as_str()));
        match durable::move_new(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let same = self.reader_equals(&to).map_err(failed("comparing two blobs"))?;
                if !same {
                    return Err(VaultError::Taken { name: self.name.clone() });
                }
                self.vault.abandon(&self.name)?;
            }
            Err(error) => return Err(failed("publishing a blob")(error)),
        }
        *published = true;
        Ok(())
    }

    /// Whether the file at `path` has the same bytes as this one.
    fn reader_equals(&self, path: &Path) -> io::Result<bool> {
        let other = File::open(path)?;
        let length = self.file.metadata()?.len();
        if other.metadata()?.len() != length {
            return Ok(false);
        }
        let (mut ours, mut theirs) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        let mut offset = 0;
        while offset < length {
            let take = usize::try_from(length - offset).unwrap_or(usize::MAX).min(COMPARED_BYTES);
            self.file.read_exact_at(&mut ours[..take], offset)?;
            other.read_exact_at(&mut theirs[..take], offset)?;
            if ours[..take] != theirs[..take] {
                return Ok(false);
            }
            offset += take as u64;
        }
        Ok(true)
    }
}

/// Makes a vault under a name that nobody opens, and moves it into place.
fn make_empty(dir: &Path) -> io::Result<()> {
    let name = dir.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let unfinished = dir.with_file_name(format!(".{}.new", name.display()));
    if unfinished.exists() {
        // Left by a crash: it never was a vault.
        fs::remove_dir_all(&unfinished)?;
    }
    durable::create_dir(&unfinished, 0o700)?;
    durable::create_dir(&unfinished.join(SEALED), 0o700)?;
    durable::create_dir(&unfinished.join(PARTIAL), 0o700)?;
    durable::move_new(&unfinished, dir)
}

fn remove(dir: &Path, name: &BlobName) -> Result<(), VaultError> {
    match durable::remove(&dir.join(name.as_str())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing a blob")(error)),
        // Not there: a removal before may have been cut off before its sync.
        Err(_) => durable::sync_dir(dir).map_err(failed("removing a blob")),
        Ok(()) => Ok(()),
    }
}

fn list(dir: &Path) -> Result<Vec<BlobName>, VaultError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("listing the vault"))? {
        let entry = entry.map_err(failed("listing the vault"))?;
        if let Some(Ok(name)) = entry.file_name().to_str().map(str::parse) {
            names.push(name);
        } else {
            tracing::warn!(folder = %dir.display(), "a stranger lies in the vault");
        }
    }
    names.sort();
    Ok(names)
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> VaultError {
    move |source| VaultError::Failed { doing, source }
}

const SEALED: &str = "sealed";
const PARTIAL: &str = "partial";
const COMPARED_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        vault: Vault,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let vault = Vault::create(&dir.path().join("vault"), 0).expect("a vault");
            Self { dir, vault }
        }

        /// The vault as the next process finds it.
        fn restarted(&self) -> Vault {
            Vault::open(&self.dir.path().join("vault"), 0).expect("opens again")
        }
    }

    fn name(letter: char) -> BlobName {
        format!("bundle-{}", String::from(letter).repeat(16)).parse().expect("a name")
    }

    fn content(vault: &Vault, name: &BlobName) -> Vec<u8> {
        let mut bytes = Vec::new();
        vault.read(name).expect("a blob").read_to_end(&mut bytes).expect("read");
        bytes
    }

    #[test]
    fn a_name_is_one_of_checked_ids_and_nothing_else() {
        let bundle = BundleId::random();
        let digest = Digest::of(b"sealed");
        let from: InstitutionId = "st-mary".parse().expect("an id");
        for name in [BlobName::ours(&bundle), BlobName::theirs(&from, &bundle, &digest)] {
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
            assert!(!name.as_str().contains('/') && name.as_str().len() < 255);
        }
        for bad in ["", ".", "..", "../x", "st-mary", "st-mary..x", "case-0000000000000000", "bundle-0000000000000000."]
        {
            assert!(bad.parse::<BlobName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn segments_come_in_any_order_and_only_the_whole_is_published() {
        let Fixture { dir: _dir, vault } = Fixture::new();
        let partial = vault.begin(&name('a')).expect("begun");
        partial.write_at(6, b"world").expect("written");
        assert_eq!(vault.size(&name('a')).expect("asked"), None);
        assert!(matches!(vault.read(&name('a')), Err(VaultError::Absent { .. })));
        partial.write_at(0, b"hello ").expect("written");
        partial.sync().expect("synced");
        let short = partial.publish(12).expect_err("refused");
        assert!(matches!(short, VaultError::Length { found: 11, expected: 12, .. }));
        assert_eq!(vault.list().expect("listed"), []);
        partial.publish(11).expect("published");
        assert_eq!(content(&vault, &name('a')), b"hello world");
        assert_eq!(vault.size(&name('a')).expect("asked"), Some(11));
        assert_eq!(vault.head(&name('a'), 5).expect("a head"), b"hello");
        assert!(matches!(vault.head(&name('a'), 12), Err(VaultError::Length { found: 11, .. })));
        assert_eq!(vault.list().expect("listed"), [name('a')]);
        assert_eq!(vault.list_partials().expect("listed"), []);
    }

    #[test]
    fn a_published_blob_does_not_change_through_a_handle_that_is_still_open() {
        let Fixture { dir: _dir, vault } = Fixture::new();
        let partial = vault.begin(&name('a')).expect("begun");
        partial.write_at(0, b"sealed").expect("written");
        partial.publish(6).expect("published");
        partial.publish(6).expect("published already");
        assert!(matches!(partial.write_at(0, b"forged"), Err(VaultError::Published { .. })));
        assert_eq!(content(&vault, &name('a')), b"sealed");
        assert!(matches!(vault.begin(&name('a')), Err(VaultError::Taken { .. })));
    }

    #[test]
    fn a_partial_goes_on_after_a_restart() {
        let fixture = Fixture::new();
        let partial = fixture.vault.begin(&name('a')).expect("begun");
        partial.write_at(0, b"first ").expect("written");
        drop(partial);
        let vault = fixture.restarted();
        assert_eq!(vault.list_partials().expect("listed"), [name('a')]);
        assert!(matches!(vault.begin(&name('a')), Err(VaultError::Taken { .. })));
        let partial = vault.resume(&name('a')).expect("asked").expect("a partial");
        assert_eq!(partial.size().expect("asked"), 6);
        partial.write_at(6, b"second").expect("written");
        let mut read = String::new();
        partial.reader().expect("a reader").read_to_string(&mut read).expect("read");
        assert_eq!(read, "first second");
        partial.publish(12).expect("published");
        assert!(vault.resume(&name('a')).expect("asked").is_none());
        assert_eq!(content(&fixture.restarted(), &name('a')), b"first second");
    }

    #[test]
    fn a_different_blob_of_the_same_name_is_never_overwritten() {
        let Fixture { dir: _dir, vault } = Fixture::new();
        let partial = vault.begin(&name('a')).expect("begun");
        partial.write_at(0, b"one").expect("written");
        // Another gets there first, as two processes could.
        let sealed = vault.sealed.join(name('a').as_str());
        for (theirs, same) in [("two", false), ("on", false), ("one", true)] {
            durable::replace(&sealed, theirs.as_bytes(), 0o600).expect("written");
            let outcome = partial.publish(3);
            assert_eq!(outcome.is_ok(), same, "{outcome:?}");
            assert_eq!(content(&vault, &name('a')), theirs.as_bytes());
            assert_eq!(vault.list_partials().expect("listed").is_empty(), same);
        }
    }

    #[test]
    fn removing_and_abandoning_may_be_repeated() {
        let Fixture { dir: _dir, vault } = Fixture::new();
        vault.begin(&name('a')).expect("begun").publish(0).expect("published");
        let partial = vault.begin(&name('b')).expect("begun");
        for _ in 0..2 {
            vault.remove(&name('a')).expect("removed");
            vault.abandon(&name('b')).expect("abandoned");
        }
        assert_eq!((vault.list().expect("listed"), vault.list_partials().expect("listed")), (vec![], vec![]));
        partial.write_at(0, b"into the void").expect("written");
        assert!(partial.publish(13).is_err());
        assert_eq!(vault.list().expect("listed"), []);
    }

    #[test]
    fn the_last_room_on_the_disk_stays_free() {
        let fixture = Fixture::new();
        let partial = fixture.vault.begin(&name('a')).expect("begun");
        drop(partial);
        let full = Vault::open(&fixture.dir.path().join("vault"), u64::MAX).expect("opens");
        let refused = full.begin(&name('b')).expect_err("refused");
        assert!(matches!(refused, VaultError::Full { floor_bytes: u64::MAX, .. }));
        assert_eq!(refused.reason(), Reason::DiskFull);
        assert_eq!(full.list_partials().expect("listed"), [name('a')]);
        let partial = full.resume(&name('a')).expect("asked").expect("a partial");
        assert!(matches!(partial.write_at(0, b"x"), Err(VaultError::Full { wanted_bytes: 1, .. })));
        assert_eq!(partial.size().expect("asked"), 0);
        fixture.vault.room(1).expect("room");
        assert!(matches!(fixture.vault.room(u64::MAX), Err(VaultError::Full { .. })));
    }

    #[test]
    fn nobody_else_may_read_the_vault() {
        let Fixture { dir: _dir, vault } = Fixture::new();
        let partial = vault.begin(&name('a')).expect("begun");
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(vault.sealed.parent().expect("a parent")), 0o700);
        assert_eq!((mode(&vault.sealed), mode(&vault.partial)), (0o700, 0o700));
        assert_eq!(mode(&vault.partial.join(name('a').as_str())), 0o600);
        partial.publish(0).expect("published");
        assert_eq!(mode(&vault.sealed.join(name('a').as_str())), 0o600);
    }

    #[test]
    fn a_vault_is_made_where_nothing_is_and_opened_where_one_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("vault");
        assert!(matches!(Vault::open(&path, 0), Err(VaultError::NoVault { .. })));
        assert!(!path.exists());
        fs::create_dir(dir.path().join(".vault.new")).expect("left by a crash");
        Vault::create(&path, 0).expect("made");
        assert!(matches!(Vault::create(&path, 0), Err(VaultError::Exists { .. })));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_stranger_in_the_vault_is_not_a_blob() {
        let Fixture { dir: _dir, vault } = Fixture::new();
        durable::write_new(&vault.sealed.join("notes.txt"), b"x", 0o600).expect("written");
        assert_eq!(vault.list().expect("listed"), []);
    }
}
