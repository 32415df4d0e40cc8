//! The key folder of one institution: makes it, opens it, renews what expires.
//!
//! Rule: only this module and its parts read or write a long-lived private key. A private file is its owner's alone
//! (0600 or narrower, in a folder of 0700, no links), and nothing here ever shows a secret: not in `Debug`, not in an
//! error. keys/README.md describes every file.

mod certificate;
mod error;
mod folder;
mod lone;
mod managers;
mod subjects;

use std::fmt;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::clock::{Timestamp, stamp};
use crate::id::{Digest, InstitutionId, random_bytes};
use crate::signature::{NoteSigner, Signer, allowed_signers_line};

use certificate::Host;
pub use error::KeysError;
use folder::Secrecy::{Private, Public};
use folder::{Folder, pem, read_pem};
pub use lone::LoneWitness;
pub use managers::{ConsentManagers, KnownManager, ManagerError};
pub use subjects::SubjectsKey;

/// The authority's private key; may be kept off the gateway, then the leaf cannot be renewed here.
pub const CA_KEY: &str = "ca.key";
/// The authority's certificate, which stands on the card.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// The private key of the leaf.
pub const TLS_KEY: &str = "tls.key";
/// The leaf that the gateway shows, to servers and to clients.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// The reader's identity; may be kept off the gateway, then bundles are opened elsewhere.
pub const AGE_KEY: &str = "age.key";
/// The recipients of the identity, one in each line.
pub const AGE_RECIPIENTS: &str = "age.pub";
/// The key that signs statements.
pub const SIGN_KEY: &str = "sign.key";
/// Its public half, as `ssh-keygen` expects it beside the private one.
pub const SIGN_PUBLIC: &str = "sign.key.pub";
/// The key that signs the log's checkpoints.
pub const LOG_KEY: &str = "log.key";
/// The key that signs under partners' checkpoints; a folder made before there were witnesses gets it at the next start.
pub const WITNESS_KEY: &str = "witness.key";
/// The secret from which subjects' file names and wrapping keys are derived.
pub const SUBJECTS_KEY: &str = "subjects.key";
/// The folder with the public keys of consent managers, one file each; may be absent.
pub const CONSENT_MANAGERS: &str = "consent-managers";
/// Our own line for `ssh-keygen -Y verify -f`.
pub const ALLOWED_SIGNERS: &str = "allowed_signers";

const LOG_LABEL: &str = "PRIVATE KEY";
const SUBJECTS_LABEL: &str = "MEDSEAL SUBJECTS KEY";
/// An Ed25519 key as PKCS#8 (RFC 8410) is these bytes, then the seed; `openssl pkey` reads it.
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The opened keys of one institution.
pub struct Keys {
    folder: Folder,
    id: InstitutionId,
    signer: Signer,
    log_signer: NoteSigner,
    witness_signer: Option<NoteSigner>,
    subjects: SubjectsKey,
    recipients: Vec<String>,
    authority: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    tls_key: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Makes a new key folder for an institution whose endpoint is at `endpoint_host`, a DNS name or an IP address.
    ///
    /// Fails with [`KeysError::Exists`] and changes nothing if the folder exists.
    pub fn create(dir: &Path, id: &InstitutionId, endpoint_host: &str, now: Timestamp) -> Result<Self, KeysError> {
        let host = read_host(endpoint_host)?;
        let folder = Folder::create(dir)?;

        let authority = certificate::make_authority(id, now).map_err(KeysError::from_rcgen)?;
        let authority_key = pkcs8_blocks(&authority.key).pop().expect("what was just made is PEM");
        folder.write_new(CA_KEY, &authority.key, Private)?;
        folder.write_new(CA_CERTIFICATE, &authority.certificate, Public)?;
        let leaf = certificate::make_leaf(id, &authority_key, &host, now).map_err(KeysError::from_rcgen)?;
        folder.write_new(TLS_KEY, &leaf.key, Private)?;
        folder.write_new(TLS_CERTIFICATE, &leaf.certificate, Public)?;

        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public();
        folder.write_new(AGE_KEY, &age_identity_file(&identity, now), Private)?;
        folder.write_new(AGE_RECIPIENTS, &format!("{recipient}\n"), Public)?;

        let signer = Signer::from_seed(&Zeroizing::new(random_bytes()));
        folder.write_new(SIGN_KEY, &signer.to_openssh(id.as_str()), Private)?;
        folder.write_new(SIGN_PUBLIC, &format!("{} {id}\n", signer.public()), Public)?;
        folder.write_new(ALLOWED_SIGNERS, &allowed_signers_line(id, &signer.public(), None), Public)?;

        folder.write_new(LOG_KEY, &new_note_key(), Private)?;
        folder.write_new(WITNESS_KEY, &new_note_key(), Private)?;
        folder.write_new(SUBJECTS_KEY, &pem(SUBJECTS_LABEL, &*Zeroizing::new(random_bytes::<32>())), Private)?;
        Self::open(dir)
    }

    /// Opens a key folder and checks that every part is there, is private, and fits the others.
    ///
    /// `ca.key` and `age.key` may be absent.
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        let folder = Folder::open(dir)?;
        let malformed = |name: &str, what| KeysError::Malformed { path: folder.path(name), what };
        let mismatch = |name: &str, with| KeysError::Mismatch { path: folder.path(name), with };

        let authority = certificates(&folder, CA_CERTIFICATE)?.swap_remove(0);
        let id = certificate::institution(&authority)
            .ok_or_else(|| malformed(CA_CERTIFICATE, "a certificate whose common name is the institution's id"))?;
        if let Some(text) = optional(&folder, CA_KEY)? {
            let key = pkcs8_blocks(&text).pop().ok_or_else(|| malformed(CA_KEY, "a PKCS#8 private key as PEM"))?;
            if !certificate::belongs(&key, &authority) {
                return Err(mismatch(CA_KEY, CA_CERTIFICATE));
            }
        }
        let chain = certificates(&folder, TLS_CERTIFICATE)?;
        if !certificate::issued_by(&chain, &authority) {
            return Err(mismatch(TLS_CERTIFICATE, CA_CERTIFICATE));
        }
        // During a renewal the file holds the new key and the old one: the certificate says which is in use.
        let tls_key = pkcs8_blocks(&folder.text(TLS_KEY, Private)?)
            .into_iter()
            .find(|key| certificate::belongs(key, &chain[0]))
            .ok_or_else(|| mismatch(TLS_KEY, TLS_CERTIFICATE))?;

        let recipients = age_recipients(&folder)?;
        let signer = Signer::from_openssh(&folder.text(SIGN_KEY, Private)?)
            .ok_or_else(|| malformed(SIGN_KEY, "an OpenSSH Ed25519 private key without a passphrase"))?;
        let not_a_note_key = |name| malformed(name, "an Ed25519 private key as PKCS#8 PEM");
        let log_signer = note_signer(&folder.text(LOG_KEY, Private)?).ok_or_else(|| not_a_note_key(LOG_KEY))?;
        let witness_signer = optional(&folder, WITNESS_KEY)?
            .map(|text| note_signer(&text).ok_or_else(|| not_a_note_key(WITNESS_KEY)))
            .transpose()?;
        // A witness's signature does not name its maker's role: one key for both would let one pass for the other.
        if witness_signer.as_ref().is_some_and(|witness| witness.public() == log_signer.public()) {
            return Err(malformed(WITNESS_KEY, "another key than log.key"));
        }
        let subjects = read_pem(SUBJECTS_LABEL, &folder.text(SUBJECTS_KEY, Private)?)
            .and_then(|bytes| seed(&bytes))
            .map(SubjectsKey::from_secret)
            .ok_or_else(|| malformed(SUBJECTS_KEY, "32 secret bytes under its own PEM label"))?;
        Ok(Self { folder, id, signer, log_signer, witness_signer, subjects, recipients, authority, chain, tls_key })
    }

    /// The institution that the authority's certificate names.
    pub const fn id(&self) -> &InstitutionId {
        &self.id
    }

    /// Signs statements.
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs the log's checkpoints.
    pub const fn log_signer(&self) -> &NoteSigner {
        &self.log_signer
    }

    /// Signs under partners' checkpoints; `None` in a folder from before there were witnesses.
    pub const fn witness_signer(&self) -> Option<&NoteSigner> {
        self.witness_signer.as_ref()
    }

    /// Makes the keys that a folder from an earlier version does not have. Says whether it made any.
    pub fn add_missing(&mut self) -> Result<bool, KeysError> {
        if self.witness_signer.is_some() {
            return Ok(false);
        }
        let text = new_note_key();
        self.folder.write_new(WITNESS_KEY, &text, Private)?;
        self.witness_signer = note_signer(&text);
        Ok(true)
    }

    /// Protects what names a patient.
    pub const fn subjects_key(&self) -> &SubjectsKey {
        &self.subjects
    }

    /// The age recipients to which partners seal, in the order of the file.
    pub fn age_recipients(&self) -> &[String] {
        &self.recipients
    }

    /// The text of the age identity file, read anew; `None` when it is kept off the gateway.
    pub fn age_identity(&self) -> Result<Option<Zeroizing<String>>, KeysError> {
        optional(&self.folder, AGE_KEY)
    }

    /// The authority's certificate, which partners pin.
    pub const fn ca_certificate(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// The leaf, and after it any certificate between it and the authority.
    pub fn tls_chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The leaf's private key, PKCS#8.
    pub fn tls_private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.tls_key.to_vec()))
    }

    /// Makes a new leaf with a new key under the same authority; partners need no new card.
    ///
    /// A crash on the way leaves the old leaf or the new one in use. A running gateway shows the new one after
    /// `Tls::set_identity`.
    pub fn renew_tls(&mut self, endpoint_host: &str, now: Timestamp) -> Result<(), KeysError> {
        let host = read_host(endpoint_host)?;
        let authority_key = optional(&self.folder, CA_KEY)?
            .and_then(|text| pkcs8_blocks(&text).pop())
            .ok_or_else(|| KeysError::Missing { path: self.folder.path(CA_KEY) })?;
        let leaf = certificate::make_leaf(&self.id, &authority_key, &host, now).map_err(KeysError::from_rcgen)?;
        let old = self.folder.text(TLS_KEY, Private)?;
        let mut both = Zeroizing::new(String::with_capacity(leaf.key.len() + old.len()));
        both.push_str(&leaf.key);
        both.push_str(&old);
        self.folder.replace(TLS_KEY, &both, Private)?;
        self.folder.replace(TLS_CERTIFICATE, &leaf.certificate, Public)?;
        self.folder.replace(TLS_KEY, &leaf.key, Private)?;
        let chain = certificates(&self.folder, TLS_CERTIFICATE)?;
        let tls_key = pkcs8_blocks(&leaf.key).pop().expect("what was just made is PEM");
        (self.chain, self.tls_key) = (chain, tls_key);
        Ok(())
    }

    /// What there is, with fingerprints and ends, for `medseal key list`.
    pub fn inventory(&self, now: Timestamp) -> Result<Vec<Held>, KeysError> {
        let held = |kind, file: &'static str, fingerprint, lifetime: Option<(Timestamp, Timestamp)>| {
            let present = self.folder.read(file, Private)?.is_some();
            let expires = lifetime.map(|(_, until)| until);
            let days_left = expires.map(|until| (until.as_second() - now.as_second()).div_euclid(86_400));
            Ok(Held { kind, file, present, fingerprint, expires, days_left })
        };
        let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
        let mut list = vec![
            held("authority", CA_KEY, digest(&self.authority), certificate::lifetime(&self.authority))?,
            held("tls", TLS_KEY, digest(&self.chain[0]), certificate::lifetime(&self.chain[0]))?,
        ];
        for recipient in &self.recipients {
            list.push(held("age", AGE_KEY, recipient.clone(), None)?);
        }
        list.push(held("signing", SIGN_KEY, self.signer.public().fingerprint(), None)?);
        list.push(held("log", LOG_KEY, digest(&self.log_signer.public()), None)?);
        if let Some(witness) = &self.witness_signer {
            list.push(held("witness", WITNESS_KEY, digest(&witness.public()), None)?);
        }
        // Of a secret without a public half only a keyed check value may be shown.
        list.push(held("subjects", SUBJECTS_KEY, digest(&self.subjects.mac("fingerprint", b"")), None)?);
        Ok(list)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).field("signer", &self.signer).finish_non_exhaustive()
    }
}

/// One piece of trust material that an institution holds.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Held {
    /// What it is for: `authority`, `tls`, `age`, `signing`, `log`, `witness` or `subjects`.
    pub kind: &'static str,
    /// The private file in the key folder.
    pub file: &'static str,
    /// Whether the private file is on this gateway.
    pub present: bool,
    /// What a person compares: a digest of the public half, or the recipient itself.
    pub fingerprint: String,
    /// When it stops to count; `None` if only the card says so.
    #[serde(serialize_with = "stamped")]
    pub expires: Option<Timestamp>,
    /// Whole days until then; negative when it is over.
    pub days_left: Option<i64>,
}

/// A time in the one form that medseal writes.
#[allow(clippy::ref_option, reason = "serde hands a field over like this")]
fn stamped<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_some(&stamp(*at)),
        None => serializer.serialize_none(),
    }
}

fn read_host(text: &str) -> Result<Host, KeysError> {
    Host::parse(text).ok_or_else(|| KeysError::Host { found: text.chars().take(64).collect() })
}

fn optional(folder: &Folder, name: &str) -> Result<Option<Zeroizing<String>>, KeysError> {
    match folder.text(name, Private) {
        Ok(text) => Ok(Some(text)),
        Err(KeysError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The certificates in a file, at least one.
fn certificates(folder: &Folder, name: &str) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    let text = folder.text(name, Public)?;
    match CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(KeysError::Malformed { path: folder.path(name), what: "certificates as PEM" }),
    }
}

/// The PKCS#8 keys in a PEM text, in order.
fn pkcs8_blocks(text: &str) -> Vec<Zeroizing<Vec<u8>>> {
    const END: &str = "-----END PRIVATE KEY-----";
    text.split_inclusive(END).filter_map(|block| read_pem("PRIVATE KEY", block)).collect()
}

/// A new key that signs notes, as PKCS#8 in PEM.
fn new_note_key() -> Zeroizing<String> {
    let mut key = Zeroizing::new([0; 48]);
    key[..16].copy_from_slice(&ED25519_PKCS8);
    key[16..].copy_from_slice(&*Zeroizing::new(random_bytes::<32>()));
    pem(LOG_LABEL, &*key)
}

fn note_signer(text: &str) -> Option<NoteSigner> {
    let der = read_pem(LOG_LABEL, text)?;
    der.strip_prefix(&ED25519_PKCS8).and_then(seed).map(|seed| NoteSigner::from_seed(&seed))
}

fn seed(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    bytes.try_into().ok().map(Zeroizing::new)
}

fn age_identity_file(identity: &age::x25519::Identity, now: Timestamp) -> Zeroizing<String> {
    let secret = identity.to_string();
    let mut text = Zeroizing::new(String::with_capacity(512));
    let (created, public) = (stamp(now), identity.to_public().to_string());
    text.extend(["# created: ", &created, "\n# public key: ", &public, "\n", secret.expose_secret(), "\n"]);
    text
}

/// The recipients in age.pub, which must be those of age.key while that is here.
fn age_recipients(folder: &Folder) -> Result<Vec<String>, KeysError> {
    let public = folder.text(AGE_RECIPIENTS, Public)?;
    let what = "age X25519 recipients, one in each line";
    let lines = public.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let recipients: Vec<String> = lines.map(str::to_owned).collect();
    if recipients.is_empty() || recipients.iter().any(|line| line.parse::<age::x25519::Recipient>().is_err()) {
        return Err(KeysError::Malformed { path: folder.path(AGE_RECIPIENTS), what });
    }
    if let Some(text) = optional(folder, AGE_KEY)? {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities: Result<Vec<age::x25519::Identity>, _> = lines.map(str::parse).collect();
        let identities = identities
            .map_err(|_| KeysError::Malformed { path: folder.path(AGE_KEY), what: "age X25519 identities" })?;
        if identities.iter().map(|identity| identity.to_public().to_string()).ne(recipients.iter().cloned()) {
            return Err(KeysError::Mismatch { path: folder.path(AGE_RECIPIENTS), with: AGE_KEY });
        }
    }
    Ok(recipients)
}

#[cfg(test)]
mod tests;
