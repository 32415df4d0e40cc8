//! Per-subject keys: what erasure destroys.
//!
//! Rule: whatever names or describes a person is stored only under that person's key, and the key is stored only here,
//! in one small file outside the store. Neither a file nor its name reveals an identifier: names are keyed MACs,
//! contents are sealed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::durable;
use crate::id::{Digest, PatientIdentifier, SubjectId, random_bytes};
use crate::json;
use crate::keys::SubjectsKey;

/// The subjects of this institution: whose identifier means whom, and each one's key.
pub struct Subjects {
    dir: PathBuf,
    /// Makes file names; a name tells nothing without it.
    names: Zeroizing<[u8; 32]>,
    /// Seals what the files hold.
    wrapping: SubjectKey,
    /// Held while a subject is looked up and made, so that one patient never gets two subjects.
    making: Mutex<()>,
}

/// The key of one subject. Whoever destroys its file has erased what is sealed under it.
pub struct SubjectKey(Zeroizing<[u8; 32]>);

/// Why the subjects cannot be read or written. Names no identifier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The folder is of another key, or its check file is damaged.
    #[error("the folder {path} was made with another subjects key")]
    OtherKey {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error("the file {path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The identifier belongs to another subject already.
    #[error("the identifier belongs to another subject already")]
    Taken,
    /// Reading or writing failed.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        why: io::Error,
    },
}

/// The bytes do not open under this key and context.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the sealed bytes do not open under this key")]
pub struct OpenError;

impl Subjects {
    /// Makes the folder, which must not exist.
    pub fn create(dir: &Path, key: &SubjectsKey) -> Result<Self, SubjectError> {
        let io_error = |why| SubjectError::Io { path: dir.to_owned(), why };
        durable::create_dir(dir, 0o700).map_err(io_error)?;
        let subjects = Self::with(dir, key);
        let check = subjects.wrapping.seal(CHECK, b"");
        durable::write_new(&dir.join(CHECK_FILE), &check, 0o600).map_err(io_error)?;
        Ok(subjects)
    }

    /// Opens a folder that [`Subjects::create`] made with this key.
    ///
    /// With another key every patient would look new, so the check file is asked first.
    pub fn open(dir: &Path, key: &SubjectsKey) -> Result<Self, SubjectError> {
        let subjects = Self::with(dir, key);
        let path = dir.join(CHECK_FILE);
        let check = fs::read(&path).map_err(|why| SubjectError::Io { path, why })?;
        match subjects.wrapping.open(CHECK, &check) {
            Ok(_) => Ok(subjects),
            Err(OpenError) => Err(SubjectError::OtherKey { path: dir.to_owned() }),
        }
    }

    fn with(dir: &Path, key: &SubjectsKey) -> Self {
        let names = key.derive("subject-names@v1");
        let wrapping = SubjectKey(key.derive("subject-wrapping@v1"));
        Self { dir: dir.to_owned(), names, wrapping, making: Mutex::new(()) }
    }

    /// Whom an identifier means, if anyone known here.
    pub fn find(&self, patient: &PatientIdentifier) -> Result<Option<SubjectId>, SubjectError> {
        let path = self.alias_file(patient);
        let Some(plain) = self.read(&path)? else { return Ok(None) };
        let text = std::str::from_utf8(&plain).ok();
        match text.and_then(|text| text.parse().ok()) {
            Some(subject) => Ok(Some(subject)),
            None => Err(SubjectError::Damaged { path }),
        }
    }

    /// Whom an identifier means; a new subject with a new key, on the disk before this returns, if nobody known here.
    pub fn find_or_create(&self, patient: &PatientIdentifier) -> Result<SubjectId, SubjectError> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(subject) = self.find(patient)? {
            return Ok(subject);
        }
        let subject = SubjectId::random();
        // The key first: an alias without a key would be a subject that looks erased.
        let key = Zeroizing::new(random_bytes::<32>());
        self.write(&self.key_file(&subject), key.as_slice())?;
        self.write(&self.alias_file(patient), subject.as_str().as_bytes())?;
        Ok(subject)
    }

    /// Lets one more identifier mean a known subject. Doing so twice changes nothing.
    pub fn add_alias(&self, patient: &PatientIdentifier, subject: &SubjectId) -> Result<(), SubjectError> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        match self.find(patient)? {
            Some(known) if known == *subject => Ok(()),
            Some(_) => Err(SubjectError::Taken),
            None => self.write(&self.alias_file(patient), subject.as_str().as_bytes()),
        }
    }

    /// A subject's key; `None` when it was destroyed, or never here.
    pub fn key(&self, subject: &SubjectId) -> Result<Option<SubjectKey>, SubjectError> {
        let path = self.key_file(subject);
        let Some(plain) = self.read(&path)? else { return Ok(None) };
        let mut key = Zeroizing::new([0; 32]);
        if plain.len() != key.len() {
            return Err(SubjectError::Damaged { path });
        }
        key.copy_from_slice(&plain);
        Ok(Some(SubjectKey(key)))
    }

    /// Destroys a subject's key and every identifier that meant the subject: what was sealed under the key is noise from
    /// here on. The key goes last, so that a crash leaves it behind and the destruction is done again; `false`: there was
    /// no key any more.
    pub fn destroy(&self, subject: &SubjectId) -> Result<bool, SubjectError> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.key_file(subject);
        if self.read(&key)?.is_none() {
            return Ok(false);
        }
        let io_error = |path: &Path, why| SubjectError::Io { path: path.to_owned(), why };
        for entry in fs::read_dir(&self.dir).map_err(|why| io_error(&self.dir, why))? {
            let path = entry.map_err(|why| io_error(&self.dir, why))?.path();
            let is_alias = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"alias-"));
            if is_alias && self.read(&path)?.is_some_and(|plain| plain.as_slice() == subject.as_str().as_bytes()) {
                durable::remove(&path).map_err(|why| io_error(&path, why))?;
            }
        }
        durable::remove(&key).map_err(|why| io_error(&key, why))?;
        Ok(true)
    }

    fn alias_file(&self, patient: &PatientIdentifier) -> PathBuf {
        self.file("alias", &json::nfc(&patient.to_string()))
    }

    fn key_file(&self, subject: &SubjectId) -> PathBuf {
        self.file("key", subject.as_str())
    }

    fn file(&self, kind: &str, of: &str) -> PathBuf {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(self.names.as_slice()).expect("HMAC takes a key of any length");
        let mac = mac.chain_update(kind).chain_update([0]).chain_update(of).finalize().into_bytes().into();
        self.dir.join(format!("{kind}-{}", Digest::from_bytes(mac)))
    }

    fn read(&self, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SubjectError> {
        match fs::read(path) {
            Ok(sealed) => match self.wrapping.open(context(path), &sealed) {
                Ok(plain) => Ok(Some(plain)),
                Err(OpenError) => Err(SubjectError::Damaged { path: path.to_owned() }),
            },
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(SubjectError::Io { path: path.to_owned(), why }),
        }
    }

    fn write(&self, path: &Path, plain: &[u8]) -> Result<(), SubjectError> {
        let sealed = self.wrapping.seal(context(path), plain);
        durable::write_new(path, &sealed, 0o600).map_err(|why| SubjectError::Io { path: path.to_owned(), why })
    }
}

/// The file's own name: two files swapped on the disk open under neither.
fn context(path: &Path) -> &[u8] {
    path.file_name().map_or(&[], |name| name.as_encoded_bytes())
}

impl SubjectKey {
    /// Seals bytes; `context` must be given again to open them.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: context });
        let sealed = sealed.expect("XChaCha20-Poly1305 seals anything below 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what [`SubjectKey::seal`] made with the same context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(OpenError)?;
        let plain = self.cipher().decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: context });
        plain.map(Zeroizing::new).map_err(|_| OpenError)
    }

    /// A name that only whoever has the key can make or test: HMAC-SHA256, apart for each label.
    pub fn mac(&self, label: &str, bytes: &[u8]) -> Digest {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_slice()).expect("HMAC takes a key of any length");
        let mac = mac.chain_update(MAC_DOMAIN).chain_update(label).chain_update([0]).chain_update(bytes);
        Digest::from_bytes(mac.finalize().into_bytes().into())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_slice().into())
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subjects({})", self.dir.display())
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(hidden)")
    }
}

const CHECK_FILE: &str = "check";
const CHECK: &[u8] = b"medseal-subjects@v1";
const MAC_DOMAIN: &[u8] = b"medseal-subject-mac-v1\0";
const NONCE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    fn erika() -> PatientIdentifier {
        "https://hospital.example/mrn|Erika-4711".parse().unwrap()
    }

    struct Home {
        folder: tempfile::TempDir,
        secret: SubjectsKey,
        subjects: Subjects,
    }

    impl Home {
        fn new() -> Self {
            let (folder, secret) = (tempfile::tempdir().unwrap(), SubjectsKey::random());
            let subjects = Subjects::create(&folder.path().join("subjects"), &secret).unwrap();
            Self { folder, secret, subjects }
        }

        fn dir(&self) -> PathBuf {
            self.folder.path().join("subjects")
        }
    }

    #[test]
    fn a_patient_is_the_same_subject_after_a_restart() {
        let home = Home::new();
        let subjects = &home.subjects;
        assert_eq!(subjects.find(&erika()).unwrap(), None);
        let subject = subjects.find_or_create(&erika()).unwrap();
        assert_eq!(subjects.find_or_create(&erika()).unwrap(), subject);
        let sealed = subjects.key(&subject).unwrap().unwrap().seal(b"context", b"name");

        let reopened = Subjects::open(&home.dir(), &home.secret).unwrap();
        assert_eq!(reopened.find(&erika()).unwrap(), Some(subject.clone()));
        let key = reopened.key(&subject).unwrap().unwrap();
        assert_eq!(key.open(b"context", &sealed).unwrap().as_slice(), b"name");
        assert_eq!(key.open(b"another", &sealed), Err(OpenError));
    }

    #[test]
    fn a_destroyed_subject_leaves_no_file_and_nobody_else_loses_one() {
        let home = Home::new();
        let subjects = &home.subjects;
        let other = subjects.find_or_create(&"https://hospital.example/mrn|Other".parse().unwrap()).unwrap();
        let before: BTreeSet<_> = fs::read_dir(home.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let erika_too: PatientIdentifier = "https://insurer.example/no|E-1".parse().unwrap();
        let subject = subjects.find_or_create(&erika()).unwrap();
        subjects.add_alias(&erika_too, &subject).unwrap();
        assert!(subjects.destroy(&subject).unwrap());
        assert!(!subjects.destroy(&subject).unwrap(), "a second time changes nothing");
        let after: BTreeSet<_> = fs::read_dir(home.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(after, before);
        assert!(subjects.key(&subject).unwrap().is_none());
        assert_eq!((subjects.find(&erika()).unwrap(), subjects.find(&erika_too).unwrap()), (None, None));
        assert!(subjects.key(&other).unwrap().is_some());
    }

    #[test]
    fn many_callers_at_once_get_one_subject() {
        let home = Home::new();
        let subjects = &home.subjects;
        let found: BTreeSet<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..16).map(|_| scope.spawn(|| subjects.find_or_create(&erika()).unwrap())).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn no_file_and_no_name_reveals_an_identifier() {
        let home = Home::new();
        let subjects = &home.subjects;
        let subject = subjects.find_or_create(&erika()).unwrap();
        let mut files = 0;
        for entry in fs::read_dir(home.dir()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for telling in ["4711", "Erika", "hospital", subject.as_str(), &subject.as_str()["subject-".len()..]] {
                assert!(!name.contains(telling) && !content.contains(telling), "{name} tells {telling}");
            }
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "{name}");
            files += 1;
        }
        assert_eq!(files, 3, "check, alias and key");
        let unkeyed = Digest::of(erika().to_string().as_bytes()).to_string();
        assert!(!subjects.alias_file(&erika()).to_string_lossy().contains(&unkeyed));
        assert!(!format!("{subjects:?} {:?}", subjects.key(&subject).unwrap()).contains("4711"));
    }

    #[test]
    fn another_subjects_key_opens_nothing() {
        let home = Home::new();
        let subjects = &home.subjects;
        subjects.find_or_create(&erika()).unwrap();
        let other = Subjects::open(&home.dir(), &SubjectsKey::random());
        assert!(matches!(other, Err(SubjectError::OtherKey { .. })), "{other:?}");
    }

    #[test]
    fn a_lost_folder_is_an_error_and_never_a_new_beginning() {
        let home = Home::new();
        assert!(matches!(Subjects::create(&home.dir(), &home.secret), Err(SubjectError::Io { .. })));
        fs::remove_dir_all(home.dir()).unwrap();
        assert!(matches!(Subjects::open(&home.dir(), &home.secret), Err(SubjectError::Io { .. })));
    }

    #[test]
    fn swapped_or_edited_files_are_damage_and_never_another_patient() {
        let home = Home::new();
        let subjects = &home.subjects;
        let max: PatientIdentifier = "https://hospital.example/mrn|Max-1".parse().unwrap();
        subjects.find_or_create(&erika()).unwrap();
        subjects.find_or_create(&max).unwrap();
        let (one, two) = (subjects.alias_file(&erika()), subjects.alias_file(&max));
        fs::copy(&two, &one).unwrap();
        assert!(matches!(subjects.find(&erika()), Err(SubjectError::Damaged { .. })));
        durable::replace(&two, b"", 0o600).unwrap();
        assert!(matches!(subjects.find(&max), Err(SubjectError::Damaged { .. })));
    }

    #[test]
    fn a_destroyed_key_is_gone_and_the_subject_is_not_made_anew() {
        let home = Home::new();
        let subjects = &home.subjects;
        let subject = subjects.find_or_create(&erika()).unwrap();
        durable::remove(&subjects.key_file(&subject)).unwrap();
        assert!(subjects.key(&subject).unwrap().is_none());
        assert_eq!(subjects.find_or_create(&erika()).unwrap(), subject);
        assert!(subjects.key(&subject).unwrap().is_none());
    }

    #[test]
    fn an_alias_means_one_subject_whichever_way_it_is_written() {
        let home = Home::new();
        let subjects = &home.subjects;
        let subject = subjects.find_or_create(&erika()).unwrap();
        let composed: PatientIdentifier = "urn:oid:1.2|J\u{fc}rgen".parse().unwrap();
        let decomposed: PatientIdentifier = "urn:oid:1.2|Ju\u{308}rgen".parse().unwrap();
        subjects.add_alias(&composed, &subject).unwrap();
        subjects.add_alias(&composed, &subject).unwrap();
        assert_eq!(subjects.find(&decomposed).unwrap(), Some(subject));
        let other = subjects.find_or_create(&"urn:oid:1.2|Max".parse().unwrap()).unwrap();
        assert!(matches!(subjects.add_alias(&decomposed, &other), Err(SubjectError::Taken)));
    }
}
