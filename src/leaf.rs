//! The log leaf: one strict JSON line that names the hash of the line before it.
//!
//! Rule: the stored bytes are what is hashed; nobody writes a leaf anew to check it. `_prev`, `_seq` and `_t` sort
//! before every other key, so that each link can be checked at fixed offsets, without a JSON parser.

use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::clock::{Timestamp, read_stamp, stamp};
use crate::id::{Digest, SubjectId};
use crate::json::{self, JsonError, Object};

/// The most bytes that one leaf may have; every store and every reader can rely on it.
pub const LEAF_BYTES_MAX: usize = 16 * 1024;

/// The `_prev` of the first leaf.
pub const NO_LEAF: Digest = Digest::from_bytes([0; 32]);

/// What a leaf is made from; the writer of the log gives `prev`, `seq` and `at`.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The hash of the leaf before, [`NO_LEAF`] for the first.
    pub prev: Digest,
    /// The leaf's place, counted from 0.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened, one word.
    pub kind: &'a str,
    /// What everybody may read; no identifier of a person.
    pub facts: &'a Object,
    /// The pseudonym of the patient concerned.
    pub subject: Option<&'a SubjectId>,
    /// The commitment to the sealed detail.
    pub detail: Option<&'a Digest>,
}

/// One leaf, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The hash of the leaf before, [`NO_LEAF`] for the first.
    pub prev: Digest,
    /// The leaf's place, counted from 0.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened, one word.
    pub kind: String,
    /// The other fields that everybody may read.
    pub facts: Object,
    /// The pseudonym of the patient concerned.
    pub subject: Option<SubjectId>,
    /// The commitment to the sealed detail.
    pub detail: Option<Digest>,
}

/// The first fields of a leaf, read at their fixed offsets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// The hash of the leaf before.
    pub prev: Digest,
    /// The leaf's place.
    pub seq: u64,
    /// When it was recorded, as [`stamp`] writes it: stamps sort as their times do.
    pub at: [u8; STAMP_BYTES],
}

/// Why a leaf cannot be written or read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// A fact has a name that the leaf itself uses.
    #[error("the fact `{0}` has a name that the leaf itself uses")]
    Reserved(String),
    /// The leaf would be too long.
    #[error("the leaf is {found} bytes long; {LEAF_BYTES_MAX} are allowed")]
    TooLong {
        /// The length found, in bytes.
        found: usize,
    },
    /// The fields have no strict form, or the line is not in it.
    #[error("the leaf is not a strict JSON line: {0}")]
    Json(#[from] JsonError),
    /// A field of the leaf itself is missing or has another form.
    #[error("the leaf's field `{0}` is missing or malformed")]
    Field(&'static str),
}

/// The hash of a leaf: of the RFC 6962 tree and of the chain alike, SHA-256(0x00 || line).
pub fn hash(line: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::new().chain_update([0]).chain_update(line).finalize().into())
}

/// The commitment to a detail: HMAC-SHA256 under its salt, so that without the salt nobody can test a guess.
pub fn commit(salt: &[u8; 32], seq: u64, detail_line: &[u8]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes a key of any length");
    mac.update(b"medseal-detail-v1\0");
    mac.update(seq.to_string().as_bytes());
    mac.update(b"\0");
    mac.update(detail_line);
    Digest::from_bytes(mac.finalize().into_bytes().into())
}

/// Writes a leaf's line, without a final newline.
pub fn write(draft: &Draft<'_>) -> Result<String, LeafError> {
    if let Some(name) = draft.facts.keys().find(|name| name.starts_with('_') || OWN_FIELDS.contains(&name.as_str())) {
        return Err(LeafError::Reserved(name.clone()));
    }
    let own: [(&str, Option<Value>); 6] = [
        ("_prev", Some(draft.prev.to_string().into())),
        ("_seq", Some(draft.seq.into())),
        ("_t", Some(stamp(draft.at).into())),
        ("kind", Some(draft.kind.into())),
        ("subj", draft.subject.map(|subject| subject.as_str().into())),
        ("det", draft.detail.map(|detail| detail.to_string().into())),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let own = own.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let line = json::fields_to_line(draft.facts.iter().chain(own))?;
    if line.len() > LEAF_BYTES_MAX {
        return Err(LeafError::TooLong { found: line.len() });
    }
    Ok(line)
}

impl Leaf {
    /// Reads a line and refuses every other form than [`write()`]'s.
    pub fn read(line: &[u8]) -> Result<Self, LeafError> {
        if line.len() > LEAF_BYTES_MAX {
            return Err(LeafError::TooLong { found: line.len() });
        }
        let mut facts: Object = json::from_line(line, LEAF_BYTES_MAX)?;
        let mut take = |name: &str| facts.remove(name);
        let text = |value: Option<Value>, name| match value {
            Some(Value::String(text)) => Ok(text),
            _ => Err(LeafError::Field(name)),
        };
        let prev = text(take("_prev"), "_prev")?.parse().map_err(|_| LeafError::Field("_prev"))?;
        let seq = take("_seq").and_then(|seq| seq.as_u64()).ok_or(LeafError::Field("_seq"))?;
        let at = read_stamp(&text(take("_t"), "_t")?).ok_or(LeafError::Field("_t"))?;
        let kind = text(take("kind"), "kind")?;
        let subject = match take("subj") {
            Some(value) => Some(text(Some(value), "subj")?.parse().map_err(|_| LeafError::Field("subj"))?),
            None => None,
        };
        let detail = match take("det") {
            Some(value) => Some(text(Some(value), "det")?.parse().map_err(|_| LeafError::Field("det"))?),
            None => None,
        };
        if facts.keys().any(|name| name.starts_with('_')) {
            return Err(LeafError::Field("_"));
        }
        Ok(Self { prev, seq, at, kind, facts, subject, detail })
    }
}

impl Link {
    /// Reads the link of a line without parsing the rest; `None` if the line does not start as a leaf does.
    pub fn read(line: &[u8]) -> Option<Self> {
        let (prev, seq, at) = beginning(line)?;
        Some(Self { prev: read_hex(prev)?, seq, at })
    }

    /// The link of a line that follows the leaf `prev` in the place `seq`; `None` for any other line.
    pub fn of_next(line: &[u8], prev: &Digest, seq: u64) -> Option<Self> {
        let (named, found, at) = beginning(line)?;
        (found == seq && *named == prev.to_hex()).then_some(Self { prev: *prev, seq, at })
    }
}

/// The texts at the fixed offsets: what names the leaf before, the place, the time.
fn beginning(line: &[u8]) -> Option<(&[u8; 64], u64, [u8; STAMP_BYTES])> {
    let rest = line.strip_prefix(b"{\"_prev\":\"")?;
    let (prev, rest) = rest.split_first_chunk()?;
    let rest = rest.strip_prefix(b"\",\"_seq\":")?;
    let (digits, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
    let rest = rest.strip_prefix(b",\"_t\":\"")?;
    let at = *rest.first_chunk::<STAMP_BYTES>()?;
    if !matches!(rest.get(STAMP_BYTES..STAMP_BYTES + 2)?, b"\"," | b"\"}") || !has_stamp_shape(&at) {
        return None;
    }
    Some((prev, read_decimal(digits)?, at))
}

fn read_hex(text: &[u8; 64]) -> Option<Digest> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(Digest::from_bytes(bytes))
}

fn read_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn has_stamp_shape(text: &[u8; STAMP_BYTES]) -> bool {
    text.iter().zip(b"0000-00-00T00:00:00.000000Z").all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    })
}

/// `2026-11-22T10:15:30.000000Z`
const STAMP_BYTES: usize = 27;

const OWN_FIELDS: [&str; 3] = ["kind", "subj", "det"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> String {
        let facts = Object::from([("to".to_owned(), json!("st-mary")), ("bytes".to_owned(), json!(4711))]);
        let subject = "subject-0123456789abcdef".parse().unwrap();
        let draft = Draft {
            prev: Digest::of(b"before"),
            seq: 12,
            at: "2026-11-22T10:15:30.5Z".parse().unwrap(),
            kind: "release",
            facts: &facts,
            subject: Some(&subject),
            detail: Some(&NO_LEAF),
        };
        write(&draft).unwrap()
    }

    #[test]
    fn a_leaf_has_these_bytes() {
        let golden = format!(
            "{{\"_prev\":\"{}\",\"_seq\":12,\"_t\":\"2026-11-22T10:15:30.500000Z\",\"bytes\":4711,\
             \"det\":\"{}\",\"kind\":\"release\",\"subj\":\"subject-0123456789abcdef\",\"to\":\"st-mary\"}}",
            Digest::of(b"before"),
            "0".repeat(64),
        );
        assert_eq!(sample(), golden);
        // printf '\0{}' | sha256sum
        assert_eq!(hash(b"{}").to_string(), "28a3a18f6cd6406b086e9ffda1f9b8a13dbcf44b0f3f32cb9031a11fd053acf9");
    }

    #[test]
    fn a_leaf_reads_back_whole_and_by_its_link() {
        let leaf = Leaf::read(sample().as_bytes()).unwrap();
        assert_eq!((leaf.seq, leaf.kind.as_str(), leaf.detail), (12, "release", Some(NO_LEAF)));
        assert_eq!(leaf.facts, Object::from([("to".into(), json!("st-mary")), ("bytes".into(), json!(4711))]));
        let link = Link::read(sample().as_bytes()).unwrap();
        assert_eq!((link.prev, link.seq), (leaf.prev, leaf.seq));
        assert_eq!(link.at, stamp(leaf.at).as_bytes());
    }

    #[test]
    fn a_line_that_is_not_a_leaf_has_no_link() {
        let good = sample();
        for (from, to) in [
            ("_prev", "_Prev"),
            (":12,", ":012,"),
            (":12,", ":,"),
            (":12,", ":12345678901234567,"),
            ("T10", "t10"),
            ("00Z\"", "00Z "),
        ] {
            assert_eq!(Link::read(good.replacen(from, to, 1).as_bytes()), None, "{from} -> {to}");
        }
        for length in 0..=120 {
            assert_eq!(Link::read(&good.as_bytes()[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_fact_never_takes_the_place_of_a_field_of_the_leaf() {
        for name in ["_prev", "_x", "kind", "subj", "det"] {
            let facts = Object::from([(name.to_owned(), json!(1))]);
            let draft = Draft {
                prev: NO_LEAF,
                seq: 0,
                at: "2026-11-22T10:15:30Z".parse().unwrap(),
                kind: "x",
                facts: &facts,
                subject: None,
                detail: None,
            };
            assert_eq!(write(&draft), Err(LeafError::Reserved(name.to_owned())));
        }
    }

    #[test]
    fn a_leaf_has_a_limit() {
        let facts = Object::from([("a".to_owned(), json!("x".repeat(LEAF_BYTES_MAX)))]);
        let at = "2026-11-22T10:15:30Z".parse().unwrap();
        let draft = Draft { prev: NO_LEAF, seq: 0, at, kind: "x", facts: &facts, subject: None, detail: None };
        assert!(matches!(write(&draft), Err(LeafError::TooLong { .. })));
    }

    #[test]
    fn a_commitment_is_a_known_hmac_and_binds_its_place() {
        // printf 'medseal-detail-v1\0007\000{}' | openssl mac -digest SHA256 -macopt hexkey:$(printf '01%.0s' {1..32}) HMAC
        let commitment = commit(&[1; 32], 7, b"{}");
        assert_eq!(commitment.to_string(), "c684fccd5a90041600a7551f6842efeaea96c79763cac820485219afca17ab79");
        assert_ne!(commit(&[1; 32], 8, b"{}"), commitment);
        assert_ne!(commit(&[2; 32], 7, b"{}"), commitment);
    }
}
