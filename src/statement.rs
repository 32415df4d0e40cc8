//! Signed statements between institutions: what was sent, and what was received.
//!
//! Rule: a statement is one strict JSON line and an SSHSIG over exactly those bytes; nothing in it, nor in its file
//! name, identifies a patient. What was read from a partner becomes a value here only after its signature verified.

pub mod dispatch;
pub mod notices;
pub mod recall;
pub mod receipt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::decision::Kind;
use crate::id::Digest;
use crate::json;
use crate::reason::Reason;
use crate::signature::{Namespace, Signer, VerifyingKey};

/// A statement as it travels: the exact bytes and the armoured signature over them.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, Serialize)]
pub struct Signed {
    /// The JSON line, without a newline.
    pub text: String,
    /// The SSHSIG over `text`, armoured.
    pub signature: String,
}

/// Why a partner's statement was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// No key on the partner's card verifies the signature.
    #[error("no signing key on the partner's card verifies this {kind}")]
    Signature {
        /// Which kind of statement.
        kind: &'static str,
    },
    /// The text is not a statement of this kind.
    #[error("this is not a {kind} in the form of docs/FORMAT.md: {why}")]
    Form {
        /// Which kind of statement.
        kind: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The statement speaks of something else.
    #[error("the {kind} names another {field}")]
    Mismatch {
        /// Which kind of statement.
        kind: &'static str,
        /// The field that differs.
        field: &'static str,
    },
    /// The statement is not valid at this time.
    #[error("the {kind} is not valid now: {why}")]
    Time {
        /// Which kind of statement.
        kind: &'static str,
        /// Which bound is passed.
        why: &'static str,
    },
}

impl StatementError {
    /// The stable code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Signature { .. } => Reason::BadSignature,
            Self::Form { .. } | Self::Mismatch { .. } | Self::Time { .. } => Reason::BadReceipt,
        }
    }
}

impl Signed {
    /// The digest by which others refer to this statement.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    fn make<T: Serialize>(statement: &T, namespace: Namespace, signer: &Signer) -> Self {
        let text = json::to_line(statement).expect("a statement's fields are all of the strict subset");
        let signature = signer.sign(namespace, text.as_bytes());
        Self { text, signature }
    }

    fn read<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        namespace: Namespace,
        keys: &[VerifyingKey],
    ) -> Result<T, StatementError> {
        if !keys.iter().any(|key| key.verify(namespace, self.text.as_bytes(), &self.signature).is_ok()) {
            return Err(StatementError::Signature { kind });
        }
        json::from_line(self.text.as_bytes(), STATEMENT_BYTES_MAX)
            .map_err(|error| StatementError::Form { kind, why: error.to_string() })
    }
}

/// The longest statement, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 64 * 1024;

/// The head of an institution's log at a moment, so that each log pins the other.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// The log's origin line.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree at that size.
    pub root: Digest,
}
