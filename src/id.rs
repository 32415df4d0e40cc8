//! The words of the domain as types: parsed once, valid ever after.
//!
//! Rule: a value of one of these types in hand has passed its check, wherever it came from; serde goes
//! through the same check as `FromStr`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not one of the names in this module.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// A character outside the allowed set.
    #[error("{what} has the character {found:?}; allowed are {allowed}")]
    Character {
        /// Which kind of name was read.
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
        /// The allowed set, in words.
        allowed: &'static str,
    },
    /// The length is outside its limits.
    #[error("{what} is {found} bytes long; {allowed} are allowed")]
    Length {
        /// Which kind of name was read.
        what: &'static str,
        /// The length found, in bytes.
        found: usize,
        /// The allowed range, in words.
        allowed: &'static str,
    },
    /// The text does not have the shape of this kind of name.
    #[error("{what} must look like {shape}")]
    Shape {
        /// Which kind of name was read.
        what: &'static str,
        /// An example of the right shape.
        shape: &'static str,
    },
}

/// Implements the text forms (`FromStr`, `Display`, serde as a string) over `parse` and `as_str`.
macro_rules! text_forms {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Declares an id that this gateway draws at random: a word, a hyphen, 16 characters of 5 bits each.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// Draws a new one: 80 random bits from the operating system.
            pub fn random() -> Self {
                Self(format!("{}-{}", $word, random_letters()))
            }

            /// The text form, such as it stands in files and URLs.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn parse(text: &str) -> Result<Self, IdError> {
                let letters = text
                    .strip_prefix(concat!($word, "-"))
                    .ok_or(IdError::Shape { what: concat!($word, " id"), shape: concat!($word, "-0123456789abcdef") })?;
                if letters.len() != ID_LETTERS {
                    return Err(IdError::Shape { what: concat!($word, " id"), shape: concat!($word, "-0123456789abcdef") });
                }
                match letters.chars().find(|c| !(c.is_ascii() && ALPHABET.contains(&(*c as u8)))) {
                    Some(found) => Err(IdError::Character {
                        what: concat!($word, " id"),
                        found,
                        allowed: "digits and lower-case letters without i, l, o and u",
                    }),
                    None => Ok(Self(text.to_owned())),
                }
            }
        }
        text_forms!($name);
    };
}

random_id!(
    /// One second opinion: the question of one patient, from the first request to the outcome.
    CaseId,
    "case"
);
random_id!(
    /// The documents of one case for one partner.
    BundleId,
    "bundle"
);
random_id!(
    /// A consent on file here. Ours, never the resource's own id, which two systems may share.
    ConsentId,
    "consent"
);
random_id!(
    /// A patient's pseudonym in the log: random, never derived from an identifier.
    SubjectId,
    "subject"
);

/// An institution's name in the exchange: 1 to 63 of `a-z`, `0-9` and `-`, starting with a letter.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InstitutionId(String);

impl InstitutionId {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, IdError> {
        let what = "institution id";
        if text.is_empty() || text.len() > 63 {
            return Err(IdError::Length { what, found: text.len(), allowed: "1 to 63" });
        }
        let allowed = "a-z, 0-9 and -, starting with a letter";
        if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(IdError::Character { what, found, allowed });
        }
        match text.chars().next() {
            Some('a'..='z') => Ok(Self(text.to_owned())),
            Some(found) => Err(IdError::Character { what, found, allowed }),
            None => Err(IdError::Length { what, found: 0, allowed: "1 to 63" }),
        }
    }
}
text_forms!(InstitutionId);

/// A country as ISO 3166-1 alpha-2, upper case.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Country(String);

impl Country {
    /// The two letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Shape { what: "country", shape: "DE (two upper-case letters, ISO 3166-1)" })
        }
    }
}
text_forms!(Country);

/// Why data is used: a code of HL7 v3-ActReason, such as `TREAT`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Purpose(String);

impl Purpose {
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, IdError> {
        if (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Shape { what: "purpose", shape: "TREAT (a code of v3-ActReason)" })
        }
    }
}
text_forms!(Purpose);

/// A patient's business identifier: the issuer's system and the value, written `SYSTEM|VALUE`.
///
/// `Debug` hides the value, so that it cannot reach a trace by accident.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "RawPatientIdentifier")]
pub struct PatientIdentifier {
    system: String,
    value: String,
}

#[derive(Deserialize)]
struct RawPatientIdentifier {
    system: String,
    value: String,
}

impl TryFrom<RawPatientIdentifier> for PatientIdentifier {
    type Error = IdError;
    fn try_from(raw: RawPatientIdentifier) -> Result<Self, IdError> {
        Self::new(&raw.system, &raw.value)
    }
}

impl PatientIdentifier {
    /// Makes one of its two parts; surrounding white space is dropped.
    pub fn new(system: &str, value: &str) -> Result<Self, IdError> {
        let what = "patient identifier";
        let (system, value) = (system.trim(), value.trim());
        if system.is_empty() || value.is_empty() {
            return Err(IdError::Shape { what, shape: "SYSTEM|VALUE, both parts given" });
        }
        for part in [system, value] {
            if part.len() > 255 {
                return Err(IdError::Length { what, found: part.len(), allowed: "1 to 255 in each part" });
            }
            if let Some(found) = part.chars().find(|c| c.is_control() || *c == '|') {
                return Err(IdError::Character { what, found, allowed: "printable characters but |" });
            }
        }
        Ok(Self { system: system.to_owned(), value: value.to_owned() })
    }

    /// The issuer, such as `urn:oid:1.2.3` or `https://hospital.example/mrn`.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The value that the issuer gave.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for PatientIdentifier {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (system, value) =
            text.split_once('|').ok_or(IdError::Shape { what: "patient identifier", shape: "SYSTEM|VALUE" })?;
        Self::new(system, value)
    }
}

impl fmt::Display for PatientIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.system, self.value)
    }
}

impl fmt::Debug for PatientIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientIdentifier(hidden)")
    }
}

/// A SHA-256 digest, 64 lower-case hex digits as text.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps 32 bytes that are a digest already.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits as which it is shown, without a formatter: a verifier compares millions of them.
    pub fn to_hex(&self) -> [u8; 64] {
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        }
        text
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let what = "SHA-256 digest";
        if text.len() != 64 {
            return Err(IdError::Length { what, found: text.len(), allowed: "64 hex digits" });
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let nibble = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                other => Err(IdError::Character { what, found: char::from(other), allowed: "0-9 and a-f" }),
            };
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.to_hex()).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Fills an array with random bytes from the operating system.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn random_letters() -> String {
    random_bytes::<ID_LETTERS>().iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

const ID_LETTERS: usize = 16;

/// Crockford's base 32: no letter that is read as another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_reads_back_as_itself() {
        let id = BundleId::random();
        assert_eq!(id.as_str().parse::<BundleId>(), Ok(id.clone()));
        assert!(id.as_str().replace("bundle", "case").parse::<BundleId>().is_err());
    }

    #[test]
    fn an_institution_id_is_a_dns_label() {
        assert!("st-mary".parse::<InstitutionId>().is_ok());
        for bad in ["", "St-Mary", "9lives", "-a", "a/b", "a.b", &"a".repeat(64)] {
            assert!(bad.parse::<InstitutionId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_patient_identifier_never_shows_in_debug_output() {
        let patient: PatientIdentifier = "https://hospital.example/mrn|4711".parse().expect("a valid identifier");
        assert_eq!(patient.to_string(), "https://hospital.example/mrn|4711");
        assert!(!format!("{patient:?}").contains("4711"));
        for bad in ["4711", "|4711", "mrn|", "a|b|c", "a|\u{7}"] {
            assert!(bad.parse::<PatientIdentifier>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_digest_reads_back_and_refuses_upper_case() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
    }
}
