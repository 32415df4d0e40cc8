//! Why a card is not admitted.
//!
//! Rule: says what was found and what is allowed; text from the card itself is never repeated, but for its checked id.

use crate::clock::{Timestamp, stamp};
use crate::id::{Digest, InstitutionId};
use crate::json::JsonError;
use crate::partner::fingerprint::show_fingerprint;
use crate::partner::slip::Slip;
use crate::reason::Reason;
use crate::signature::SignatureError;

/// Why a card is not read or not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The card has ended.
    #[error("the card ended on {}", stamp(*expires))]
    Expired {
        /// When.
        expires: Timestamp,
    },
    /// A field holds what no card may say.
    #[error("`{field}` on the card is not allowed as it is; allowed: {allowed}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A first card, or one of a removed partner, without a fingerprint that somebody compared.
    #[error("a fingerprint is needed; this card's is {}", show_fingerprint(found))]
    FingerprintNeeded {
        /// The card's fingerprint.
        found: Digest,
    },
    /// The card comes from a time that is not here yet.
    #[error("the card was issued at {}, but it is {} here: one of the clocks is wrong", stamp(*issued), stamp(*now))]
    FromTheFuture {
        /// When it says that it was made.
        issued: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// The line is not strict JSON, or not the fields of a card.
    #[error("the card's first line is not a card of this format: {0}")]
    Json(#[from] JsonError),
    /// Something else than a card file.
    #[error("not a card file: one line of JSON, then an armoured SSH signature")]
    NotACard,
    /// A newer card, or another one with this serial, is on file.
    #[error("the card has serial {found}, and another with serial {on_file} is on file")]
    Outdated {
        /// The serial of the card given.
        found: u64,
        /// The serial on file.
        on_file: u64,
    },
    /// A new card by a key that the card on file does not name, without a fingerprint.
    #[error(
        "no key of the card on file signed this one, so a fingerprint is needed; this card's is {}",
        show_fingerprint(found)
    )]
    OtherKey {
        /// The card's fingerprint.
        found: Digest,
    },
    /// A card of one institution in place of another's.
    #[error("the card is of {found}, not of {allowed}")]
    OtherInstitution {
        /// Whose card it is.
        found: InstitutionId,
        /// Whose is on file.
        allowed: InstitutionId,
    },
    /// The signature does not count.
    #[error("the card's signature: {0}")]
    Signature(#[from] SignatureError),
    /// The signature's key is not on the card, or did not count when the card was made.
    #[error("the card is signed by {found}, which is not a key on it")]
    SignedByStranger {
        /// Fingerprint of that key.
        found: String,
    },
    /// A likely slip of somebody who writes a card by hand.
    #[error("{0}")]
    Slip(Slip),
    /// The file is larger than any card.
    #[error("the card file is {found} bytes long; {allowed} are allowed")]
    TooLong {
        /// Its length, in bytes.
        found: usize,
        /// The most that is allowed, in bytes.
        allowed: usize,
    },
    /// The fingerprint given is not this card's.
    #[error("the card's fingerprint is {}; the one given is {}", show_fingerprint(found), show_fingerprint(given))]
    WrongFingerprint {
        /// The card's.
        found: Digest,
        /// The one given.
        given: Digest,
    },
}

impl CardError {
    /// The stable code for a person and for the log.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Expired { .. } => Reason::CardExpired,
            Self::Outdated { .. } => Reason::CardOutdated,
            Self::Signature(_) | Self::SignedByStranger { .. } | Self::Slip(Slip::NewlineSigned) => {
                Reason::BadSignature
            }
            Self::WrongFingerprint { .. } | Self::FingerprintNeeded { .. } | Self::OtherKey { .. } => {
                Reason::WrongFingerprint
            }
            Self::OtherInstitution { .. } => Reason::Conflict,
            Self::TooLong { .. } => Reason::LimitExceeded,
            Self::Field { .. } | Self::FromTheFuture { .. } | Self::Json(_) | Self::NotACard | Self::Slip(_) => {
                Reason::BadInput
            }
        }
    }

    /// What mends it, where that is more than the code's own remedy.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Slip(slip) => Some(slip.hint()),
            Self::NotACard | Self::Json(_) | Self::Field { .. } => Some("docs/PARTNERS.md shows how a card is made"),
            Self::Signature(SignatureError::Namespace { .. }) => {
                Some("sign the line anew: ssh-keygen -Y sign -n medseal-card@v1 -f sign.key card.json")
            }
            _ => None,
        }
    }
}
