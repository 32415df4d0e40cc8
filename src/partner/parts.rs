//! What stands on a card: certificates, recipients and keys, each with its dates.
//!
//! Rule: each has one text form, and a value in hand has been read and checked.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use webpki::anchor_from_trusted_cert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::Timestamp;
use crate::id::InstitutionId;

/// The type byte of a log's own signature in a C2SP signed note.
const NOTE_ED25519: u8 = 1;

/// The type byte of a witness's signature in a C2SP signed note.
const NOTE_COSIGNATURE: u8 = 4;

/// A value that counts from one time until another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dated<T> {
    /// The first moment at which it counts.
    #[serde(with = "stamped")]
    pub not_before: Timestamp,
    /// The first moment at which it counts no more.
    #[serde(with = "stamped")]
    pub not_after: Timestamp,
    /// What counts.
    pub value: T,
}

impl<T> Dated<T> {
    /// Whether it counts at this time.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

/// Implements serde over `FromStr` and `Display`.
macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Why a text is not something that stands on a card.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not {0}")]
pub struct NotAPart(&'static str);

/// The certificate of an authority, or the one that a partner without medseal shows; its text form is base64 of DER.
#[derive(Clone, Eq, PartialEq)]
pub struct Certificate(CertificateDer<'static>);

impl Certificate {
    /// Takes a whole certificate that can be trusted by itself; refuses anything else.
    pub fn of(der: CertificateDer<'static>) -> Result<Self, NotAPart> {
        let refuse = NotAPart("an X.509 certificate in base64 of DER");
        let (rest, _) = X509Certificate::from_der(&der).map_err(|_| refuse)?;
        let usable = rest.is_empty() && anchor_from_trusted_cert(&der).is_ok();
        if usable { Ok(Self(der)) } else { Err(refuse) }
    }

    /// Whether it is the certificate of an authority (CA:TRUE), which vouches for others.
    pub fn is_authority(&self) -> bool {
        X509Certificate::from_der(&self.0).is_ok_and(|(_, parsed)| parsed.is_ca())
    }

    /// The bytes.
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.0
    }

    /// Whether the key is the same, whatever else the certificates say: what one of them has signed counts for both.
    pub fn has_key_of(&self, other: &Self) -> bool {
        let key = |certificate: &Self| {
            let (_, parsed) = X509Certificate::from_der(&certificate.0).ok()?;
            Some(parsed.public_key().raw.to_vec())
        };
        key(self) == key(other)
    }
}

impl FromStr for Certificate {
    type Err = NotAPart;
    fn from_str(text: &str) -> Result<Self, NotAPart> {
        let der = BASE64.decode(text).map_err(|_| NotAPart("base64"))?;
        Self::of(CertificateDer::from(der))
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", crate::id::Digest::of(&self.0))
    }
}

as_text!(Certificate);

/// An age X25519 recipient, `age1...`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient(String);

impl FromStr for Recipient {
    type Err = NotAPart;
    fn from_str(text: &str) -> Result<Self, NotAPart> {
        let refuse = NotAPart("an age X25519 recipient such as age1...");
        let parsed: age::x25519::Recipient = text.parse().map_err(|_| refuse)?;
        if parsed.to_string() == text { Ok(Self(text.to_owned())) } else { Err(refuse) }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

as_text!(Recipient);

/// A verifier key, `NAME+KEYID+BASE64` as C2SP signed-note has it, for Ed25519 signatures of one type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vkey<const TYPE: u8>(String);

/// The verifier key of a log.
pub type LogVkey = Vkey<NOTE_ED25519>;

/// The verifier key of a witness: it signs under other logs' checkpoints.
pub type WitnessVkey = Vkey<NOTE_COSIGNATURE>;

impl<const TYPE: u8> Vkey<TYPE> {
    /// The verifier key with this name and public key.
    pub fn of(name: &str, public: &[u8; 32]) -> Self {
        let mut key = vec![TYPE];
        key.extend_from_slice(public);
        let digest = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&key).finalize();
        let id = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self(format!("{name}+{id:08x}+{}", BASE64.encode(key)))
    }
}

impl<const TYPE: u8> FromStr for Vkey<TYPE> {
    type Err = NotAPart;
    fn from_str(text: &str) -> Result<Self, NotAPart> {
        let read = || {
            let mut parts = text.splitn(3, '+');
            let (name, _id, key) = (parts.next()?, parts.next()?, BASE64.decode(parts.next()?).ok()?);
            let public: &[u8; 32] = key.strip_prefix(&[TYPE])?.try_into().ok()?;
            let named = !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control());
            let vkey = Self::of(name, public);
            (named && vkey.0 == text).then_some(vkey)
        };
        read().ok_or(NotAPart("a verifier key of the form NAME+KEYID+BASE64 with Ed25519, of the kind needed here"))
    }
}

impl<const TYPE: u8> fmt::Display for Vkey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

as_text!(LogVkey);
as_text!(WitnessVkey);

/// The name of an institution's log, which is its origin and its key's name: it outlives a change of the endpoint.
pub fn log_name(id: &InstitutionId) -> String {
    format!("{id}/medseal/log")
}

/// The name under which an institution signs as a witness.
pub fn witness_name(id: &InstitutionId) -> String {
    format!("{id}/medseal/witness")
}

/// A time in the one form of signed statements.
pub(super) use crate::clock::stamped;

/// A time that a person may have given: any form of RFC 3339 is read.
pub(super) mod time {
    use serde::{Deserialize as _, Deserializer};

    use crate::clock::Timestamp;

    pub(crate) use super::stamped::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| serde::de::Error::custom("not a time of RFC 3339"))
    }
}

/// Like [`time`], where there may be none.
pub(super) mod optional_time {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::clock::{Timestamp, stamp};

    #[allow(clippy::ref_option, reason = "serde hands the field over like this")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(stamp).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let read = |text: String| text.parse().map_err(|_| serde::de::Error::custom("not a time of RFC 3339"));
        text.map(read).transpose()
    }
}
