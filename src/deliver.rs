//! The sending end of the line: one connection to one partner.
//!
//! Rule: nothing leaves without a recorded release. The bytes of a bundle move only in functions that demand a
//! `Recorded<Release>`: by reference while the partner gets noise, by value for the header that makes it readable.

mod lanes;
mod line;
mod outgoing;
mod proven;

pub use self::line::Line;
use crate::id::InstitutionId;
use crate::reason::Reason;
use crate::tls::{TlsError, TlsFailure};
use crate::wire::{Code, RequestId};

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Asking who is there.
    Ping,
    /// Offering the bundle.
    Offer,
    /// Sending segments.
    Body,
    /// Handing over the header with the dispatch: from here on the partner may be able to read the bundle.
    Handover,
    /// Asking for the receipt of an earlier handover.
    Receipt,
    /// Giving up a transfer, so that the partner drops what it has of it.
    Abandon,
    /// Recalling a bundle that was delivered.
    Recall,
    /// Asking for a signature under a checkpoint, or for what was seen last.
    Witness,
}

/// Why something could not be delivered, or could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// The endpoint on the partner's card is not one.
    #[error("{endpoint:?} is not an endpoint; it must look like https://HOST:PORT")]
    Endpoint {
        /// What stands on the card.
        endpoint: String,
    },
    /// Nobody answers there.
    #[error("{endpoint} does not answer")]
    Unreachable {
        /// Where we dialled.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// The two sides do not agree on a secure line: wrong certificate, unknown institution, old software.
    #[error("no secure line to {endpoint}: {why}")]
    Tls {
        /// Where we dialled.
        endpoint: String,
        /// What it means.
        why: TlsFailure,
    },
    /// The partner may not be dialled now, or our own certificate is of no use.
    #[error(transparent)]
    Own(#[from] TlsError),
    /// The partner's gateway said no.
    #[error("the partner's gateway answered {code} (request {request})")]
    Refused {
        /// What was being done.
        step: Step,
        /// Its one word.
        code: Code,
        /// The name of the request in both logs.
        request: RequestId,
    },
    /// The line broke, or no answer came in time.
    #[error("the line broke (request {request})")]
    BrokenLine {
        /// What was being done.
        step: Step,
        /// The name of the request in both logs.
        request: RequestId,
        /// Why; `None` when the time ran out.
        source: Option<hyper::Error>,
    },
    /// The partner's answer is not one of this protocol.
    #[error("the partner's answer does not have the form of this protocol: {why} (request {request})")]
    BadAnswer {
        /// What was being done.
        step: Step,
        /// The name of the request in both logs.
        request: RequestId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The release is for another partner than the one at the other end of this line.
    #[error("the release is not for {partner}, to whom this line leads")]
    WrongLine {
        /// Whom the line leads to.
        partner: InstitutionId,
    },
    /// The permit grew too old before the header left.
    #[error("the permit grew too old before the header left")]
    Stale,
    /// The sealed file here cannot be read, or is not what the release names.
    #[error("the sealed file cannot be read as the release names it")]
    LocalFile {
        /// Why.
        source: std::io::Error,
    },
}

impl DeliverError {
    /// The stable code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Own(error) => error.reason(),
            Self::Tls { why, .. } => why.reason(),
            // A refusal is named as what it is, unless the partner says that it failed or was too slow to read.
            Self::BrokenLine { step: Step::Handover, .. }
            | Self::BadAnswer { step: Step::Handover, .. }
            | Self::Refused { step: Step::Handover, code: Code::Internal | Code::Slow | Code::Busy, .. } => {
                Reason::OutcomeUnknown
            }
            Self::Refused { code: Code::NoRoom, .. } => Reason::PartnerFull,
            Self::Endpoint { .. } | Self::Unreachable { .. } | Self::BrokenLine { .. } => Reason::PartnerUnreachable,
            Self::Refused { .. } | Self::BadAnswer { .. } => Reason::PartnerRefused,
            Self::Stale => Reason::PermitStale,
            Self::WrongLine { .. } | Self::LocalFile { .. } => Reason::Internal,
        }
    }

    /// Whether the partner may hold the whole bundle although no receipt is here: whatever it answers once the header
    /// was on its way, its word alone does not take the header back. Ask it with [`Line::ask_receipt`] before anything
    /// is said about the bundle.
    pub const fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::BrokenLine { step, .. } | Self::BadAnswer { step, .. } | Self::Refused { step, .. } => {
                matches!(step, Step::Handover)
            }
            _ => false,
        }
    }

    /// Whether the same may succeed later without anyone's doing.
    pub const fn passes(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.passes(),
            Self::Unreachable { .. } | Self::BrokenLine { .. } | Self::Tls { .. } | Self::Stale => true,
            Self::Endpoint { .. }
            | Self::Own(_)
            | Self::BadAnswer { .. }
            | Self::WrongLine { .. }
            | Self::LocalFile { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
