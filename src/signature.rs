//! Signatures: SSHSIG over statements, raw Ed25519 over the notes of the log.
//!
//! Rule: one algorithm (Ed25519), one hash (SHA-512) and always a namespace, so that a signature made for one kind of
//! statement never passes for another. OpenSSH PROTOCOL.sshsig; RFC 8032.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::id::InstitutionId;
use crate::reason::Reason;

/// The largest armoured signature that is read, in bytes; one by Ed25519 takes about 350.
pub const ARMOUR_BYTES_MAX: usize = 2048;

/// What kind of statement a signature is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Namespace {
    /// An institution's card.
    Card,
    /// What a sender says of the bundle that it hands over.
    Dispatch,
    /// That a bundle is stored at the receiver.
    Receipt,
    /// An expert's opinion.
    Opinion,
    /// That the sender wants a bundle destroyed.
    Recall,
    /// What became of a recalled bundle at the receiver.
    Recalled,
    /// That a named reader opened a bundle.
    Opened,
    /// A reply in a case: accepted, declined, more is needed.
    Message,
}

impl Namespace {
    /// Every namespace.
    pub const ALL: &'static [Self] = &[
        Self::Card,
        Self::Dispatch,
        Self::Receipt,
        Self::Opinion,
        Self::Recall,
        Self::Recalled,
        Self::Opened,
        Self::Message,
    ];

    /// The text that `ssh-keygen -Y verify -n` takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "medseal-card@v1",
            Self::Dispatch => "medseal-dispatch@v1",
            Self::Receipt => "medseal-receipt@v1",
            Self::Opinion => "medseal-opinion@v1",
            Self::Recall => "medseal-recall@v1",
            Self::Recalled => "medseal-recalled@v1",
            Self::Opened => "medseal-opened@v1",
            Self::Message => "medseal-message@v1",
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not an armoured SSHSIG in the form that `ssh-keygen -Y sign` writes.
    #[error("not a signature in the form that ssh-keygen -Y sign writes")]
    Malformed,
    /// Another algorithm or hash than ours.
    #[error("the signature uses {found}; ssh-ed25519 with sha512 is allowed")]
    Algorithm {
        /// What the signature says it uses.
        found: String,
    },
    /// Made for another kind of statement.
    #[error("the signature is for {found:?}; {allowed} is needed here")]
    Namespace {
        /// The namespace in the signature, cut to 64 bytes.
        found: String,
        /// The one needed.
        allowed: Namespace,
    },
    /// Made by a key that is not the one expected.
    #[error("the signature is by {found}, not by {allowed}")]
    OtherKey {
        /// Fingerprint of the key in the signature.
        found: String,
        /// Fingerprint of the key expected.
        allowed: String,
    },
    /// The right key did not sign these bytes.
    #[error("the content is not what was signed")]
    Content,
}

impl SignatureError {
    /// The stable code for a person and for the log.
    pub const fn reason(&self) -> Reason {
        Reason::BadSignature
    }
}

/// Why a text is not a verifying key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyingKeyError {
    /// Not an OpenSSH public key line.
    #[error("not a public key line such as `ssh-ed25519 AAAA...` without a comment")]
    Shape,
    /// A key that no honest signer has: not on the curve, or of small order.
    #[error("the Ed25519 key is not a usable point of the curve")]
    Weak,
}

/// An Ed25519 public key; its text form is the OpenSSH line without a comment.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Takes the 32 bytes of RFC 8032.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, VerifyingKeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(VerifyingKeyError::Weak),
        }
    }

    /// The 32 bytes of RFC 8032.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The fingerprint that `ssh-keygen -l` prints: `SHA256:` and base64.
    pub fn fingerprint(&self) -> String {
        self.key_data().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Checks an armoured SSHSIG by this key over exactly `bytes`.
    ///
    /// The armour must be byte for byte what `ssh-keygen` writes (CRLF line ends pass), so that evidence has one form.
    pub fn verify(&self, namespace: Namespace, bytes: &[u8], armoured: &str) -> Result<(), SignatureError> {
        let signature = parse(armoured)?;
        if signature.namespace() != namespace.as_str() {
            let found = signature.namespace().chars().take(16).collect();
            return Err(SignatureError::Namespace { found, allowed: namespace });
        }
        let found = key_in(&signature)?;
        if found != *self {
            return Err(SignatureError::OtherKey { found: found.fingerprint(), allowed: self.fingerprint() });
        }
        let signed = SshSig::signed_data(namespace.as_str(), HashAlg::Sha512, bytes)
            .expect("no namespace of ours is empty or long");
        let raw = signature.signature_bytes().try_into().map_err(|_| SignatureError::Malformed)?;
        verify_strict(&self.0, &signed, &raw).map_err(|()| SignatureError::Content)
    }

    fn key_data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(self.0))
    }
}

impl FromStr for VerifyingKey {
    type Err = VerifyingKeyError;
    fn from_str(text: &str) -> Result<Self, VerifyingKeyError> {
        let key = PublicKey::from_openssh(text).map_err(|_| VerifyingKeyError::Shape)?;
        let bytes = key.key_data().ed25519().ok_or(VerifyingKeyError::Shape)?.0;
        let key = Self::from_bytes(bytes)?;
        // One text per key: a comment, options or other spacing would give the same key a second name.
        if key.to_string() == text { Ok(key) } else { Err(VerifyingKeyError::Shape) }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = PublicKey::new(self.key_data(), "").to_openssh().expect("an Ed25519 key has a text form");
        f.pad(&line)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.fingerprint())
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The key that an armoured signature says it was made with. Proves nothing: only [`VerifyingKey::verify`] does.
pub fn claimed_key(armoured: &str) -> Result<VerifyingKey, SignatureError> {
    key_in(&parse(armoured)?)
}

/// Signs statements with the institution's key.
pub struct Signer(ed25519_dalek::SigningKey);

impl Signer {
    /// The signer of a 32-byte Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads an OpenSSH private key file's text; `None` if it is not an Ed25519 key without a passphrase.
    pub fn from_openssh(text: &str) -> Option<Self> {
        let key = PrivateKey::from_openssh(text).ok()?;
        let pair = key.key_data().ed25519()?;
        let signer = Self::from_seed(&Zeroizing::new(pair.private.to_bytes()));
        (signer.0.verifying_key().to_bytes() == pair.public.0).then_some(signer)
    }

    /// Writes the key as an OpenSSH private key file, which `ssh-keygen -Y sign -f` takes.
    pub fn to_openssh(&self, comment: &str) -> Zeroizing<String> {
        let seed = Zeroizing::new(self.0.to_bytes());
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
        PrivateKey::new(pair.into(), comment)
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .expect("an Ed25519 key has a text form")
    }

    /// The armoured SSHSIG over `bytes`, lines ended by LF.
    pub fn sign(&self, namespace: Namespace, bytes: &[u8]) -> String {
        let signed = SshSig::signed_data(namespace.as_str(), HashAlg::Sha512, bytes)
            .expect("no namespace of ours is empty or long");
        let raw = self.0.sign(&signed).to_bytes();
        ssh_key::Signature::new(Algorithm::Ed25519, raw.to_vec())
            .and_then(|raw| SshSig::new(self.public().key_data(), namespace.as_str(), HashAlg::Sha512, raw))
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .expect("an Ed25519 signature has an armoured form")
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public().fingerprint())
    }
}

/// Signs the notes of the log: raw Ed25519, in whose form audit/note.rs wraps it.
#[derive(Clone)]
pub struct NoteSigner(ed25519_dalek::SigningKey);

impl NoteSigner {
    /// The signer of a 32-byte Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The 64 bytes of RFC 8032 over `text`.
    pub fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.0.sign(text).to_bytes()
    }

    /// The public key, 32 bytes of RFC 8032.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({:02x?})", self.public())
    }
}

/// The line by which `ssh-keygen -Y verify -f allowed_signers` knows an institution's key, ended by LF.
///
/// `valid` is from when until when the key counts; `None` is for ever.
pub fn allowed_signers_line(
    principal: &InstitutionId,
    key: &VerifyingKey,
    valid: Option<(Timestamp, Timestamp)>,
) -> String {
    let dates = valid.map_or(String::new(), |(from, until)| {
        let at = |time: Timestamp| time.strftime("%Y%m%d%H%M%SZ");
        format!(",valid-after=\"{}\",valid-before=\"{}\"", at(from), at(until))
    });
    format!("{principal} namespaces=\"medseal-*@v1\"{dates} {key}\n")
}

/// Checks a raw Ed25519 signature over the text of a note.
pub fn verify_note_signature(public: &[u8; 32], text: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    verify_strict(public, text, signature).map_err(|()| SignatureError::Content)
}

/// Strict verification refuses keys and points of small order, by which one signature could fit several texts.
fn verify_strict(public: &[u8; 32], text: &[u8], signature: &[u8; 64]) -> Result<(), ()> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| ())?;
    key.verify_strict(text, &ed25519_dalek::Signature::from_bytes(signature)).map_err(|_| ())
}

fn parse(armoured: &str) -> Result<SshSig, SignatureError> {
    if armoured.len() > ARMOUR_BYTES_MAX {
        return Err(SignatureError::Malformed);
    }
    let text = armoured.replace("\r\n", "\n");
    let signature = SshSig::from_pem(&text).map_err(|_| SignatureError::Malformed)?;
    let normal = signature.to_pem(LineEnding::LF).map_err(|_| SignatureError::Malformed)?;
    let one_form = normal.trim_end_matches('\n') == text.trim_end_matches('\n');
    // The version is not among the signed bytes, and the crate lets 0 pass.
    if !one_form || signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(SignatureError::Malformed);
    }
    if signature.algorithm() != Algorithm::Ed25519 || signature.hash_alg() != HashAlg::Sha512 {
        let found = format!("{} with {}", signature.algorithm(), signature.hash_alg());
        return Err(SignatureError::Algorithm { found });
    }
    Ok(signature)
}

fn key_in(signature: &SshSig) -> Result<VerifyingKey, SignatureError> {
    let key = signature
        .public_key()
        .ed25519()
        .ok_or_else(|| SignatureError::Algorithm { found: signature.public_key().algorithm().to_string() })?;
    VerifyingKey::from_bytes(key.0).map_err(|_| SignatureError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::from_seed(&[7; 32])
    }

    #[test]
    fn a_signature_holds_for_its_bytes_and_namespace_only() {
        let signer = signer();
        let armoured = signer.sign(Namespace::Receipt, b"stored");
        let key = signer.public();
        assert_eq!(key.verify(Namespace::Receipt, b"stored", &armoured), Ok(()));
        assert_eq!(key.verify(Namespace::Receipt, b"stores", &armoured), Err(SignatureError::Content));
        for other in Namespace::ALL.iter().filter(|other| **other != Namespace::Receipt) {
            assert!(
                matches!(key.verify(*other, b"stored", &armoured), Err(SignatureError::Namespace { .. })),
                "{other}"
            );
        }
        let stranger = Signer::from_seed(&[8; 32]).public();
        assert!(matches!(
            stranger.verify(Namespace::Receipt, b"stored", &armoured),
            Err(SignatureError::OtherKey { .. })
        ));
    }

    #[test]
    fn every_changed_byte_of_the_armour_is_noticed() {
        let signer = signer();
        let armoured = signer.sign(Namespace::Card, b"card");
        for at in 0..armoured.trim_end().len() {
            for replacement in [b'A', b'B', b'\n', b' ', b'='] {
                let mut changed = armoured.clone().into_bytes();
                if changed[at] == replacement {
                    continue;
                }
                changed[at] = replacement;
                let changed = String::from_utf8(changed).unwrap();
                assert!(signer.public().verify(Namespace::Card, b"card", &changed).is_err(), "byte {at}: {changed}");
            }
        }
    }

    #[test]
    fn line_ends_of_windows_pass() {
        let armoured = signer().sign(Namespace::Card, b"card").replace('\n', "\r\n");
        assert_eq!(signer().public().verify(Namespace::Card, b"card", &armoured), Ok(()));
    }

    #[test]
    fn a_signature_with_another_hash_is_refused() {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
        let key = PrivateKey::new(pair.into(), "").unwrap();
        let armoured = key.sign("medseal-card@v1", HashAlg::Sha256, b"card").unwrap().to_pem(LineEnding::LF).unwrap();
        let refused = signer().public().verify(Namespace::Card, b"card", &armoured);
        assert_eq!(refused, Err(SignatureError::Algorithm { found: "ssh-ed25519 with sha256".to_owned() }));
    }

    #[test]
    fn a_verifying_key_has_one_text() {
        let text = signer().public().to_string();
        assert!(text.starts_with("ssh-ed25519 AAAA"));
        assert_eq!(text.parse(), Ok(signer().public()));
        for other in [format!("{text} name@host"), format!("{text}\n"), format!(" {text}"), text.replace(' ', "  ")] {
            assert_eq!(other.parse::<VerifyingKey>(), Err(VerifyingKeyError::Shape), "{other:?}");
        }
        let json = serde_json::to_string(&signer().public()).unwrap();
        assert_eq!(serde_json::from_str::<VerifyingKey>(&json).unwrap(), signer().public());
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifyingKey::from_bytes(identity), Err(VerifyingKeyError::Weak));
    }

    #[test]
    fn an_openssh_private_key_reads_back() {
        let text = signer().to_openssh("st-mary");
        assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert_eq!(Signer::from_openssh(&text).unwrap().public(), signer().public());
    }

    #[test]
    fn a_note_signature_holds_for_its_text_only() {
        let signer = NoteSigner::from_seed(&[9; 32]);
        let signature = signer.sign(b"note\n");
        assert_eq!(verify_note_signature(&signer.public(), b"note\n", &signature), Ok(()));
        assert_eq!(verify_note_signature(&signer.public(), b"note", &signature), Err(SignatureError::Content));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", Signer::from_seed(&[0xa7; 32]), NoteSigner::from_seed(&[0xa7; 32]));
        assert!(!shown.contains("a7a7") && !shown.contains("a7, a7") && !shown.contains("167, 167"), "{shown}");
    }
}
