//! Checkpoints: the C2SP signed-note and tlog-checkpoint formats, with Ed25519 (type 0x01); what others sign under them
//! is in the part `cosign`.
//!
//! Rule: a checkpoint in hand has been verified by a key that the reader chose; a line of an unknown key is passed
//! over, a bad line of a known key condemns the whole note.

mod cosign;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

pub use self::cosign::{Cosignature, WitnessKey};
use crate::id::Digest;
use crate::signature::{NoteSigner, verify_note_signature};

/// The most bytes that a note may have.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// A log's name, by which its checkpoints are told from those of other logs: no white space, no `+`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin(String);

/// A public key with its name and the type of its signatures, written `NAME+KEYID+BASE64`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NoteKey<const TYPE: u8> {
    name: Origin,
    public: [u8; 32],
}

/// A log's public key: it signs the log's own checkpoints.
pub type LogKey = NoteKey<TYPE_ED25519>;

/// How large a log was, and the root over all its leaves then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many leaves.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Digest,
}

/// Why a note or one of its parts is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The name cannot stand in a note.
    #[error("a log's name has 1 to 255 bytes, no white space and no +")]
    Name,
    /// The text is no verification key of this kind.
    #[error("not a key of the form NAME+KEYID+BASE64 with Ed25519, of the kind needed here")]
    Key,
    /// The note does not have the form of a signed checkpoint.
    #[error("not a signed checkpoint: {0}")]
    Form(&'static str),
    /// A signature of a known key does not verify.
    #[error("the signature of {0} does not verify")]
    Signature(Origin),
    /// No signature of a known key.
    #[error("no signature of a known key")]
    Unsigned,
}

impl Origin {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let fits = (1..=255).contains(&text.len());
        let plain = !text.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control());
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(NoteError::Name) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const TYPE: u8> NoteKey<TYPE> {
    /// Names a public key.
    pub const fn new(name: Origin, public: [u8; 32]) -> Self {
        Self { name, public }
    }

    /// The name.
    pub const fn name(&self) -> &Origin {
        &self.name
    }

    /// The public key, 32 bytes of RFC 8032.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// SHA-256 over the whole text form, to be compared by telephone.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.to_string().as_bytes())
    }

    /// The public key in the form that `openssl` reads (RFC 8410).
    pub fn to_pem(&self) -> String {
        let der = [SPKI_ED25519, &self.public].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// Names the key in a signature line; not a secret and no protection.
    fn id(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.name.as_str())
            .chain_update([b'\n', TYPE])
            .chain_update(self.public)
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

impl<const TYPE: u8> fmt::Display for NoteKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[TYPE], &self.public[..]].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id()))
    }
}

impl<const TYPE: u8> FromStr for NoteKey<TYPE> {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((_, public)) = bytes.split_first().filter(|(kind, _)| **kind == TYPE) else {
            return Err(NoteError::Key);
        };
        let public = public.try_into().map_err(|_| NoteError::Key)?;
        let key = Self::new(name.parse()?, public);
        // The one form of this key holds the right key id too.
        if key.to_string() == text { Ok(key) } else { Err(NoteError::Key) }
    }
}

impl<const TYPE: u8> Serialize for NoteKey<TYPE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const TYPE: u8> Deserialize<'de> for NoteKey<TYPE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Checkpoint {
    /// Signs it: the whole note. The log's name is the key's name.
    pub fn sign(&self, signer: &NoteSigner) -> String {
        let key = LogKey::new(self.origin.clone(), signer.public());
        let body = self.body();
        let signature = [&key.id()[..], &signer.sign(body.as_bytes())].concat();
        format!("{body}\n\u{2014} {} {}\n", key.name, STANDARD.encode(signature))
    }

    /// Reads a note that one of `keys` signed for the log of its own name.
    pub fn open(note: &[u8], keys: &[LogKey]) -> Result<Self, NoteError> {
        let signed = Signed::parse(note)?;
        let checkpoint = Self::parse(signed.body)?;
        let mut verified = false;
        for (name, id, signature) in &signed.signatures {
            let Some(key) = keys.iter().find(|key| key.name.as_str() == *name && key.id() == *id) else { continue };
            let signature: &[u8; 64] =
                signature.as_slice().try_into().map_err(|_| NoteError::Signature(key.name.clone()))?;
            verify_note_signature(&key.public, signed.body.as_bytes(), signature)
                .map_err(|_| NoteError::Signature(key.name.clone()))?;
            // Another log's key, known for another reason, says nothing about this one.
            verified |= key.name == checkpoint.origin;
        }
        if verified { Ok(checkpoint) } else { Err(NoteError::Unsigned) }
    }

    /// Reads what a note claims without believing it.
    pub fn claimed(note: &[u8]) -> Result<Self, NoteError> {
        Self::parse(Signed::parse(note)?.body)
    }

    /// The 64 bytes by which a key signed a note; the note must be one that [`Checkpoint::open`] accepts by this key.
    pub fn signature(note: &[u8], key: &LogKey) -> Result<Vec<u8>, NoteError> {
        let signed = Signed::parse(note)?;
        let line = signed.signatures.into_iter().find(|(name, id, _)| key.name.as_str() == *name && key.id() == *id);
        line.map(|(_, _, signature)| signature).ok_or(NoteError::Unsigned)
    }

    /// The signed text: three lines.
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    fn parse(body: &str) -> Result<Self, NoteError> {
        let mut lines = body.split('\n');
        let mut next = |what| lines.next().ok_or(NoteError::Form(what));
        let origin = next("it has no origin")?.parse().map_err(|_| NoteError::Form("its origin is malformed"))?;
        let size = next("it has no size")?.parse().map_err(|_| NoteError::Form("its size is malformed"))?;
        let root = STANDARD.decode(next("it has no root")?).map_err(|_| NoteError::Form("its root is malformed"))?;
        let root = root.try_into().map_err(|_| NoteError::Form("its root is malformed"))?;
        let checkpoint = Self { origin, size, root: Digest::from_bytes(root) };
        // Extension lines are not recommended, and medseal writes none: what is not understood is not believed.
        if checkpoint.body() == body { Ok(checkpoint) } else { Err(NoteError::Form("it is not in the one form")) }
    }
}

/// A note taken apart; nothing is verified.
struct Signed<'a> {
    body: &'a str,
    signatures: Vec<(&'a str, [u8; 4], Vec<u8>)>,
}

impl<'a> Signed<'a> {
    fn parse(note: &'a [u8]) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form("it is too long"));
        }
        let note = std::str::from_utf8(note).map_err(|_| NoteError::Form("it is not UTF-8"))?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Form("it has a control character"));
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Form("it has no signatures"))?;
        let (body, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form("its last line does not end"))?;
        let signatures: Option<Vec<_>> = lines.split('\n').map(parse_signature).collect();
        let signatures = signatures.ok_or(NoteError::Form("a signature line is malformed"))?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Form("it has too many signatures"));
        }
        Ok(Self { body, signatures })
    }
}

fn parse_signature(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    name.parse::<Origin>().ok()?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    (!signature.is_empty()).then(|| (name, *id, signature.to_vec()))
}

/// The specification asks for at least 16.
const SIGNATURES_MAX: usize = 64;

const TYPE_ED25519: u8 = 0x01;

/// What stands before the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo`.
const SPKI_ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> NoteSigner {
        NoteSigner::from_seed(&[7; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "st-mary.example/audit/1".parse().unwrap(), size: 42, root: Digest::of(b"root") }
    }

    fn key() -> LogKey {
        LogKey::new(checkpoint().origin, signer().public())
    }

    #[test]
    fn the_key_of_the_specification_has_its_key_id() {
        let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let key: LogKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        for bad in [
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a",
            " example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "",
        ] {
            assert!(bad.parse::<LogKey>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_note_of_the_specification_verifies_by_its_key() {
        let key: LogKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse().unwrap();
        let note = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7\
                    Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        let signed = Signed::parse(note.as_bytes()).unwrap();
        let (name, id, signature) = &signed.signatures[0];
        assert_eq!((*name, *id), (key.name.as_str(), key.id()));
        let signature = signature.as_slice().try_into().unwrap();
        assert_eq!(verify_note_signature(&key.public, signed.body.as_bytes(), signature), Ok(()));
        assert!(verify_note_signature(&key.public, b"This is another message.\n", signature).is_err());
        // Signed or not, it is no checkpoint.
        assert!(matches!(Checkpoint::open(note.as_bytes(), &[key]), Err(NoteError::Form(_))));
    }

    #[test]
    fn a_checkpoint_has_three_lines_and_a_signature_line() {
        let note = checkpoint().sign(&signer());
        let lines: Vec<_> = note.split('\n').collect();
        assert_eq!(lines[..4], ["st-mary.example/audit/1", "42", &STANDARD.encode(Digest::of(b"root").as_bytes()), ""]);
        assert!(lines[4].starts_with("\u{2014} st-mary.example/audit/1 "));
        assert_eq!(lines[5..], [""]);
        assert_eq!(Checkpoint::open(note.as_bytes(), &[key()]), Ok(checkpoint()));
    }

    #[test]
    fn only_a_known_key_of_this_log_counts() {
        let note = checkpoint().sign(&signer());
        assert_eq!(Checkpoint::open(note.as_bytes(), &[]), Err(NoteError::Unsigned));
        let other = LogKey::new(checkpoint().origin, NoteSigner::from_seed(&[8; 32]).public());
        assert_eq!(Checkpoint::open(note.as_bytes(), &[other]), Err(NoteError::Unsigned));
        assert_eq!(Checkpoint::claimed(note.as_bytes()), Ok(checkpoint()));

        // A note on our log that only another log's key signed.
        let alien = Checkpoint { origin: "other.example/audit".parse().unwrap(), ..checkpoint() };
        let alien_key = LogKey::new(alien.origin.clone(), signer().public());
        let line = |key: &LogKey, body: &str| {
            let signature = [&key.id()[..], &signer().sign(body.as_bytes())].concat();
            format!("\u{2014} {} {}\n", key.name, STANDARD.encode(signature))
        };
        let body = checkpoint().body();
        let forged = format!("{body}\n{}", line(&alien_key, &body));
        assert_eq!(Checkpoint::open(forged.as_bytes(), &[alien_key, key()]), Err(NoteError::Unsigned));
    }

    #[test]
    fn a_line_of_an_unknown_key_is_passed_over_and_a_bad_one_of_a_known_key_is_not() {
        let note = checkpoint().sign(&signer());
        let unknown = format!("{note}\u{2014} witness.example {}\n", STANDARD.encode([1; 76]));
        assert_eq!(Checkpoint::open(unknown.as_bytes(), &[key()]), Ok(checkpoint()));
        let bad = [&key().id()[..], &[1; 64]].concat();
        let bad = format!("{note}\u{2014} {} {}\n", key().name, STANDARD.encode(bad));
        assert_eq!(Checkpoint::open(bad.as_bytes(), &[key()]), Err(NoteError::Signature(key().name)));
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_refused() {
        let note = checkpoint().sign(&signer()).into_bytes();
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut flipped = note.clone();
                flipped[at] ^= 1 << bit;
                assert!(Checkpoint::open(&flipped, &[key()]).is_err(), "byte {at} bit {bit}");
            }
        }
        for cut in 0..note.len() {
            assert!(Checkpoint::open(&note[..cut], &[key()]).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn other_forms_of_a_checkpoint_are_refused() {
        let resign = |body: &str| {
            let signature = [&key().id()[..], &signer().sign(body.as_bytes())].concat();
            format!("{body}\n\u{2014} {} {}\n", key().name, STANDARD.encode(signature))
        };
        let good = checkpoint().body();
        assert!(Checkpoint::open(resign(&good).as_bytes(), &[key()]).is_ok());
        for body in [
            good.replace("\n42\n", "\n042\n"),
            good.replace("\n42\n", "\n+42\n"),
            good.replace("\n42\n", "\n-1\n"),
            good.replace("\n42\n", "\n18446744073709551616\n"),
            good.replace('=', ""),
            format!("{good}extension\n"),
            format!("{good}\n"),
        ] {
            assert!(Checkpoint::open(resign(&body).as_bytes(), &[key()]).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_name_has_no_white_space_and_no_plus() {
        for bad in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{2003}b", "a\u{7f}"] {
            assert_eq!(bad.parse::<Origin>(), Err(NoteError::Name), "{bad:?}");
        }
    }
}
