//! The public keys of consent managers: whose signature under a consent counts, and whether it verifies.
//!
//! Rule: the files are read anew for every question, so that a key that was taken away counts no longer from that
//! moment; a file that is not exactly keys of the right kind verifies nothing.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::KeysError;
use super::folder::{Folder, Secrecy};
use crate::id::Digest;

/// The folder `consent-managers/` of a key folder: `NAME.pem` holds the public keys of the consent manager NAME.
#[derive(Clone, Debug)]
pub struct ConsentManagers(PathBuf);

/// A consent manager whose signatures count here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownManager {
    /// Its id, as consents name it.
    pub id: String,
    /// SHA-256 of each of its public keys (`SubjectPublicKeyInfo`).
    pub fingerprints: Vec<Digest>,
}

/// Why a manager's signature does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// No key of this manager is here.
    #[error("no public key of this consent manager is on file")]
    Unknown,
    /// None of its keys made this signature over these bytes.
    #[error("the signature is not one of this consent manager over these bytes")]
    Forged,
    /// Its file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl ConsentManagers {
    /// Those of the key folder at `keys`.
    pub fn of(keys: &Path) -> Self {
        Self(keys.join(super::CONSENT_MANAGERS))
    }

    /// Whether one of the manager's keys made this RSA signature (PKCS #1 v1.5, SHA-256) over exactly `message`.
    pub fn verify(&self, id: &str, message: &[u8], signature: &[u8]) -> Result<(), ManagerError> {
        let Some(folder) = self.folder()? else { return Err(ManagerError::Unknown) };
        let keys = keys_of(&folder, id)?.ok_or(ManagerError::Unknown)?;
        let made = |key: &Key| RSA_PKCS1_2048_8192_SHA256.verify_signature(&key.rsa, message, signature).is_ok();
        if keys.iter().any(made) { Ok(()) } else { Err(ManagerError::Forged) }
    }

    /// Every manager, after each file was read and checked.
    pub fn list(&self) -> Result<Vec<KnownManager>, KeysError> {
        let Some(folder) = self.folder()? else { return Ok(Vec::new()) };
        let unreadable = |source| KeysError::Io { path: self.0.clone(), source };
        let mut known = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| is_manager_id(id));
            let (Some(id), Some("pem")) = (id, path.extension().and_then(|extension| extension.to_str())) else {
                return Err(KeysError::Malformed { path, what: "the key of a consent manager, named MANAGER.pem" });
            };
            let keys = keys_of(&folder, id)?.ok_or(KeysError::Missing { path: path.clone() })?;
            known.push(KnownManager {
                id: id.to_owned(),
                fingerprints: keys.iter().map(|key| key.fingerprint).collect(),
            });
        }
        known.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(known)
    }

    fn folder(&self) -> Result<Option<Folder>, KeysError> {
        match Folder::open(&self.0) {
            Ok(folder) => Ok(Some(folder)),
            Err(KeysError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Key {
    /// The `RSAPublicKey` of RFC 8017, as DER.
    rsa: Vec<u8>,
    fingerprint: Digest,
}

/// The keys of one manager; `None` if it has no file. The id comes from a consent, so it is checked before it is a name.
fn keys_of(folder: &Folder, id: &str) -> Result<Option<Vec<Key>>, KeysError> {
    if !is_manager_id(id) {
        return Ok(None);
    }
    let name = format!("{id}.pem");
    let Some(text) = folder.read(&name, Secrecy::Public)? else { return Ok(None) };
    let malformed = || KeysError::Malformed {
        path: folder.path(&name),
        what: "RSA public keys of at least 2048 bits as PEM (PUBLIC KEY or CERTIFICATE)",
    };
    let mut infos = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| malformed())?;
        let (_, certificate) = X509Certificate::from_der(&certificate).map_err(|_| malformed())?;
        infos.push(certificate.public_key().raw.to_vec());
    }
    for info in SubjectPublicKeyInfoDer::pem_slice_iter(&text) {
        infos.push(info.map_err(|_| malformed())?.to_vec());
    }
    if infos.is_empty() {
        return Err(malformed());
    }
    infos.iter().map(|info| key(info).ok_or_else(malformed)).collect::<Result<_, _>>().map(Some)
}

fn key(info: &[u8]) -> Option<Key> {
    let (rest, parsed) = SubjectPublicKeyInfo::from_der(info).ok()?;
    let Ok(PublicKey::RSA(rsa)) = parsed.parsed() else { return None };
    let bits = rsa.key_size();
    let usable = rest.is_empty() && (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits);
    usable.then(|| Key { rsa: parsed.subject_public_key.data.to_vec(), fingerprint: Digest::of(info) })
}

/// The id of a consent manager is the part of a patient's address after the `@`.
fn is_manager_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    (1..=64).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('.')
}

const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;
