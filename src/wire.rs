//! The words of the line between two gateways: paths, header fields, bodies, codes and limits. No I/O.
//!
//! Rule: what a partner sends is parsed here, once, into types; what a partner is told is a [`Code`] and a request id,
//! never a reason. The age header, with the wrapped file key, is handed over last: until then the partner holds noise.

pub mod limits;
pub mod pieces;
pub mod socket;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::id::{BundleId, Digest, InstitutionId, random_bytes};
pub use limits::Limits;
pub use pieces::Pieces;

/// Where every path of this protocol starts. The version is part of it.
pub const ROOT: &str = "/exchange/v1";

/// Where the paths of C2SP tlog-witness start.
pub const WITNESS_ROOT: &str = "/witness/v1";

/// The position in the sealed file of the first byte of this body, or of the first byte still missing.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// The size of the whole sealed file, in bytes.
pub const UPLOAD_LENGTH: &str = "upload-length";
/// `?1` on the segment that ends the file, `?0` on every other (RFC 8941 boolean).
pub const UPLOAD_COMPLETE: &str = "upload-complete";
/// The digest of this body, RFC 9530: `sha-256=:BASE64:`.
pub const CONTENT_DIGEST: &str = "content-digest";
/// The name of one request, so that both operators can speak of it.
pub const REQUEST_ID: &str = "request-id";

/// One transfer of one partner: which bundle, sealed how. With the partner's name, which only its certificate gives,
/// it is the identity of everything that is created, resumed, repeated or recalled.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TransferId {
    /// The bundle.
    pub bundle: BundleId,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bundle, self.sealed_sha256)
    }
}

/// What a path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// All transfers: `POST` offers one.
    Transfers,
    /// One transfer: `PATCH` brings a segment, `HEAD` asks how far it is, `DELETE` gives it up.
    Transfer(TransferId),
    /// The end of one transfer: `POST` hands over the age header with the dispatch.
    Handover(TransferId),
    /// The receipt for the dispatch with this digest: `GET`.
    Receipt(Digest),
    /// Recalls of bundles that were delivered: `POST` brings one.
    Recalls,
    /// Who answers, and what time it is there: `GET`.
    Ping,
    /// The witness: `POST` brings a checkpoint of the partner's log (C2SP tlog-witness).
    AddCheckpoint,
    /// What the witness saw last of the log whose name has this SHA-256: `GET`.
    SeenCheckpoint(Digest),
}

impl Target {
    /// Reads the path of a request; `None` for every path that this protocol does not have.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(path) = path.strip_prefix(WITNESS_ROOT) {
            return match path.strip_prefix('/')?.split_once('/') {
                None => (path == "/add-checkpoint").then_some(Self::AddCheckpoint),
                Some((origin, "checkpoint")) => origin.parse().ok().map(Self::SeenCheckpoint),
                Some(_) => None,
            };
        }
        let parts: Vec<&str> = path.strip_prefix(ROOT)?.strip_prefix('/')?.split('/').collect();
        let transfer = |bundle: &str, sealed: &str| {
            Some(TransferId { bundle: bundle.parse().ok()?, sealed_sha256: sealed.parse().ok()? })
        };
        match parts.as_slice() {
            ["transfers"] => Some(Self::Transfers),
            ["transfers", bundle, sealed] => transfer(bundle, sealed).map(Self::Transfer),
            ["transfers", bundle, sealed, "handover"] => transfer(bundle, sealed).map(Self::Handover),
            ["receipts", dispatch] => dispatch.parse().ok().map(Self::Receipt),
            ["recalls"] => Some(Self::Recalls),
            ["ping"] => Some(Self::Ping),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfers => write!(f, "{ROOT}/transfers"),
            Self::Transfer(id) => write!(f, "{ROOT}/transfers/{id}"),
            Self::Handover(id) => write!(f, "{ROOT}/transfers/{id}/handover"),
            Self::Receipt(dispatch) => write!(f, "{ROOT}/receipts/{dispatch}"),
            Self::Recalls => write!(f, "{ROOT}/recalls"),
            Self::Ping => write!(f, "{ROOT}/ping"),
            Self::AddCheckpoint => write!(f, "{WITNESS_ROOT}/add-checkpoint"),
            Self::SeenCheckpoint(origin) => write!(f, "{WITNESS_ROOT}/{origin}/checkpoint"),
        }
    }
}

/// A sealed bundle that a partner wants to bring.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The bundle.
    pub bundle: BundleId,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: u64,
    /// Size of the age header at its start, in bytes: the part that comes last.
    pub header_bytes: u64,
}

impl Offer {
    /// The identity of the transfer that this offer opens.
    pub fn id(&self) -> TransferId {
        TransferId { bundle: self.bundle.clone(), sealed_sha256: self.sealed_sha256 }
    }
}

/// Whether a transfer still takes bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Bytes or the header are missing.
    Open,
    /// The whole sealed file lies in the receiver's vault.
    Stored,
}

/// How far a transfer is. Newer gateways may say more; what is not known here is passed over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TransferState {
    /// The bundle.
    pub bundle: BundleId,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// What the receiver holds durably: `[start, end)` positions in the sealed file, sorted, never touching.
    pub have: Vec<(u64, u64)>,
    /// Whether it still takes bytes.
    pub state: Stage,
}

/// What stands in the head of a `PATCH`: where the body belongs and what it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SegmentHead {
    /// The position of its first byte in the sealed file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub sha256: Digest,
    /// Whether it ends the file.
    pub complete: bool,
}

/// How far a transfer is, in two numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// The position of the first byte after the header that is still missing.
    pub offset: u64,
    /// Size of the sealed file, in bytes.
    pub length: u64,
}

/// The last step of a transfer: the signed dispatch, the sealed notices and the age header, in one.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The dispatch: the exact bytes that are signed.
    pub dispatch: String,
    /// The armoured SSHSIG over `dispatch`.
    pub signature: String,
    /// The sealed notices that the dispatch names; empty where it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64_text")]
    pub notices: Vec<u8>,
    /// The age header: the first bytes of the sealed file.
    #[serde(with = "base64_text")]
    pub header: Vec<u8>,
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("dispatch", &Digest::of(self.dispatch.as_bytes())).finish_non_exhaustive()
    }
}

/// A receipt as it travels: the exact bytes and the signature over them. Not verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReceiptAnswer {
    /// The receipt: the exact bytes that are signed.
    pub receipt: String,
    /// The armoured SSHSIG over `receipt`.
    pub signature: String,
}

/// A recall as it travels: the exact bytes and the signature over them. Not verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecallRequest {
    /// The recall: the exact bytes that are signed.
    pub recall: String,
    /// The armoured SSHSIG over `recall`.
    pub signature: String,
}

/// The answer to a recall as it travels. Not verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RecalledAnswer {
    /// The answer: the exact bytes that are signed.
    pub recalled: String,
    /// The armoured SSHSIG over `recalled`.
    pub signature: String,
}

/// Who answers, and what time it is there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pong {
    /// The institution that answers.
    pub institution: InstitutionId,
    /// Its clock.
    pub time: String,
}

/// What a witness answers, as C2SP tlog-witness has it: a status, and a body that is text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WitnessAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Signature lines, a size, a note, or nothing.
    pub body: String,
}

/// The content type of the size that goes with 409.
pub const TLOG_SIZE: &str = "text/x.tlog.size";

/// Declares the codes with their text form and HTTP status in one table.
macro_rules! codes {
    ($($name:ident $code:literal $status:literal $meaning:literal;)+) => {
        /// All that a partner learns about a request that failed.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $code)] $name,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it stands in JSON.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The HTTP status that it travels with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }
        }
    };
}

codes! {
    BadRequest "BAD_REQUEST" 400 "the request does not have the form of this protocol";
    Digest "DIGEST" 400 "the bytes are not those that the digest names";
    Refused "REFUSED" 403 "the receiver does not take this from this sender";
    Signature "SIGNATURE" 403 "the signature does not verify";
    NotFound "NOT_FOUND" 404 "there is no such thing here for this sender";
    Method "METHOD" 405 "the path does not take this method";
    Slow "SLOW" 408 "the request did not arrive in time";
    Offset "OFFSET" 409 "the position does not fit what the receiver has";
    Conflict "CONFLICT" 409 "the transfer was offered otherwise, or is whole already";
    Incomplete "INCOMPLETE" 409 "bytes are still missing";
    Expired "EXPIRED" 410 "the statement is not valid at this time";
    Limit "LIMIT" 413 "a limit of the receiver is exceeded";
    Internal "INTERNAL" 500 "the receiver could not do it";
    Busy "BUSY" 503 "the receiver has its hands full; later it may work";
    NoRoom "NO_ROOM" 507 "the receiver has no room; later it may work";
}

impl Code {
    /// Whether the same request may succeed later without anyone's doing.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Slow | Self::Internal | Self::Busy | Self::NoRoom)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorAnswer {
    /// What happened, in one word.
    pub code: Code,
    /// The request, so that the partner's operator finds it in our log.
    pub request: RequestId,
}

/// The name of one request: 1 to 64 of `A-Z`, `a-z`, `0-9`, `-`, `_`. Given by the sender, else drawn by the receiver.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

impl RequestId {
    /// Draws a new one.
    pub fn random() -> Self {
        Self(format!("{:016x}", u64::from_be_bytes(random_bytes())))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a request id was not accepted: it goes into answers and logs, so it must be plain and short.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a request id is 1 to 64 letters, digits, - or _")]
pub struct RequestIdError;

impl TryFrom<String> for RequestId {
    type Error = RequestIdError;
    fn try_from(text: String) -> Result<Self, RequestIdError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) { Ok(Self(text)) } else { Err(RequestIdError) }
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;
    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        text.to_owned().try_into()
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Writes a `Content-Digest` field of one SHA-256 digest.
pub fn write_content_digest(sha256: &Digest) -> String {
    format!("sha-256=:{}:", BASE64.encode(sha256.as_bytes()))
}

/// Reads the SHA-256 digest out of a `Content-Digest` field, which may hold digests of other algorithms too.
pub fn read_content_digest(field: &str) -> Option<Digest> {
    let mut found = field.split(',').filter_map(|member| member.trim().strip_prefix("sha-256="));
    let text = found.next()?.strip_prefix(':')?.strip_suffix(':')?;
    if found.next().is_some() {
        return None;
    }
    BASE64.decode(text).ok()?.try_into().ok().map(Digest::from_bytes)
}

/// Writes an RFC 8941 boolean.
pub const fn write_boolean(value: bool) -> &'static str {
    if value { "?1" } else { "?0" }
}

/// Reads an RFC 8941 boolean.
pub fn read_boolean(field: &str) -> Option<bool> {
    match field.trim() {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// Reads a count of bytes: decimal digits only, no sign, no leading zero.
pub fn read_count(field: &str) -> Option<u64> {
    let field = field.trim();
    let plain = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    let number = field.parse().ok().filter(|_| plain)?;
    (field == "0" || !field.starts_with('0')).then_some(number)
}

mod base64_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use base64::Engine as _;

    use super::BASE64;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64.decode(String::deserialize(deserializer)?).map_err(|_| D::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_and_every_other_path_is_unknown() {
        let id = TransferId { bundle: BundleId::random(), sealed_sha256: Digest::of(b"x") };
        for target in [
            Target::Transfers,
            Target::Transfer(id.clone()),
            Target::Handover(id.clone()),
            Target::Receipt(Digest::of(b"y")),
            Target::Recalls,
            Target::Ping,
        ] {
            assert_eq!(Target::parse(&target.to_string()), Some(target));
        }
        for bad in [
            "/",
            "/exchange/v1",
            "/exchange/v1/",
            "/exchange/v2/ping",
            "/exchange/v1/ping/",
            "/exchange/v1//ping",
            "/exchange/v1/transfers/../ping",
            "/exchange/v1/transfers/a/b",
            "/exchange/v1/receipts/ABC",
            "/exchange/v1/%70ing",
            &format!("/exchange/v1/transfers/{id}/handover/"),
        ] {
            assert_eq!(Target::parse(bad), None, "{bad} was accepted");
        }
    }

    #[test]
    fn a_content_digest_reads_back_and_ambiguity_is_refused() {
        let digest = Digest::of(b"abc");
        let field = write_content_digest(&digest);
        assert_eq!(field, "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:");
        assert_eq!(read_content_digest(&field), Some(digest));
        assert_eq!(read_content_digest(&format!("sha-512=:AA==:, {field}")), Some(digest));
        assert_eq!(read_content_digest(&format!("{field}, {field}")), None);
        for bad in ["", "sha-256=", "sha-256=::", "sha-256=:AA==:", "sha-512=:AA==:", "ungWv48"] {
            assert_eq!(read_content_digest(bad), None, "{bad} was accepted");
        }
    }

    #[test]
    fn counts_and_booleans_have_one_form() {
        assert_eq!(read_count("0"), Some(0));
        assert_eq!(read_count("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "+1", "-1", "01", "1 2", "0x1", "18446744073709551616", "1.0"] {
            assert_eq!(read_count(bad), None, "{bad} was accepted");
        }
        assert_eq!((read_boolean("?1"), read_boolean("?0"), read_boolean("1")), (Some(true), Some(false), None));
    }

    #[test]
    fn a_request_id_cannot_carry_text_into_a_log() {
        assert!("a-Z_9".parse::<RequestId>().is_ok());
        assert!(RequestId::random().as_str().parse::<RequestId>().is_ok());
        for bad in ["", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_error_says_a_code_and_a_request_and_nothing_else() {
        let answer = ErrorAnswer { code: Code::NoRoom, request: "r1".parse().expect("an id") };
        assert_eq!(serde_json::to_string(&answer).expect("json"), r#"{"code":"NO_ROOM","request":"r1"}"#);
        for code in Code::ALL {
            assert_eq!(serde_json::to_string(code).expect("json"), format!("\"{code}\""));
            assert!((400..600).contains(&code.status()), "{code} is not an error status");
        }
    }

    #[test]
    fn a_handover_never_shows_its_header_in_debug_output() {
        let handover = Handover {
            dispatch: "{}".to_owned(),
            signature: "s".to_owned(),
            notices: Vec::new(),
            header: b"age-header".to_vec(),
        };
        let shown = format!("{handover:?}");
        assert!(!shown.contains("age-header") && !shown.contains("97"), "{shown}");
        let json = serde_json::to_string(&handover).expect("json");
        assert!(json.contains("\"header\":\"YWdlLWhlYWRlcg==\""), "{json}");
        assert_eq!(serde_json::from_str::<Handover>(&json).expect("reads"), handover);
        assert!(serde_json::from_str::<Handover>(r#"{"dispatch":"","signature":"","header":"","x":1}"#).is_err());
    }
}
