//! The receiving end of the line: the listener, and the transfers that are not yet whole.
//!
//! Rule: who speaks is known from the certificate alone, and is asked for again at every request; what a partner names
//! is looked up among that partner's things only. Nothing is acknowledged before it is durable.

mod body;
mod journal;
mod listener;
mod receiver;
mod requests;
mod shares;
mod transfer;
mod turns;
mod writer;

use std::future::Future;
use std::pin::Pin;

pub use self::body::{Body, BodyError};
pub use self::listener::serve;
pub use self::receiver::{Receiver, StoredBundle};
pub use self::turns::Turn;
use crate::id::{Digest, InstitutionId};
use crate::reason::Reason;
use crate::vault::VaultError;
use crate::wire::{
    Code, Handover, Offer, Pong, Progress, RecallRequest, RecalledAnswer, ReceiptAnswer, RequestId, SegmentHead,
    TransferId, TransferState, WitnessAnswer,
};

/// Who asks, and under which name the request stands in both logs.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The institution that the connection's certificate belongs to.
    pub institution: InstitutionId,
    /// The request.
    pub request: RequestId,
}

/// What a method of [`Reception`] gives: its value, or all that the partner may learn.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Code>> + Send + 'a>>;

/// What the gateway does when partners come; the listener below it only speaks HTTP.
///
/// Every method may be called at the same time from many connections. An error is all that the partner learns; whoever
/// implements this records its reason first.
pub trait Reception: Send + Sync + 'static {
    /// Whether this institution may speak to us now. Asked at every request, so that a suspension bites at once.
    fn knows(&self, institution: &InstitutionId) -> bool;

    /// Who we are, and what time it is here.
    fn ping(&self) -> Pong;

    /// Opens a transfer, or says how far the same transfer is. Idempotent.
    fn offer<'a>(&'a self, caller: &'a Caller, offer: Offer) -> Answer<'a, TransferState>;

    /// Takes one segment and answers when it is durable. Dropped when the line breaks: nothing of it counts then.
    fn segment<'a>(
        &'a self,
        caller: &'a Caller,
        transfer: &'a TransferId,
        head: SegmentHead,
        body: &'a mut Body,
    ) -> Answer<'a, Progress>;

    /// How far a transfer is.
    fn progress<'a>(&'a self, caller: &'a Caller, transfer: &'a TransferId) -> Answer<'a, Progress>;

    /// Drops a transfer that its sender gives up. A bundle that is stored already stays.
    fn abandon<'a>(&'a self, caller: &'a Caller, transfer: &'a TransferId) -> Answer<'a, ()>;

    /// Takes the dispatch and the age header, stores the whole, records it and signs the receipt. Idempotent by the
    /// digest of the dispatch. Runs to its end even when the line breaks: the sender asks for the receipt later.
    fn hand_over<'a>(
        &'a self,
        caller: &'a Caller,
        transfer: &'a TransferId,
        handover: Handover,
    ) -> Answer<'a, ReceiptAnswer>;

    /// The receipt given for the dispatch with this digest, if there is one.
    fn receipt<'a>(&'a self, caller: &'a Caller, dispatch: &'a Digest) -> Answer<'a, Option<ReceiptAnswer>>;

    /// Takes a recall, destroys what it names, records that and signs the answer. Idempotent by the digest of the
    /// recall. Runs to its end even when the line breaks.
    fn recall<'a>(&'a self, caller: &'a Caller, recall: RecallRequest) -> Answer<'a, RecalledAnswer>;

    /// Signs as a witness under a checkpoint of the partner's own log, or says why not. Runs to its end even when the
    /// line breaks.
    fn add_checkpoint<'a>(&'a self, _caller: &'a Caller, _body: &'a [u8]) -> Answer<'a, WitnessAnswer> {
        Box::pin(async { Err(Code::NotFound) })
    }

    /// What was seen last of the partner's log whose name has this SHA-256.
    fn seen_checkpoint<'a>(&'a self, _caller: &'a Caller, _origin: &'a Digest) -> Answer<'a, Option<String>> {
        Box::pin(async { Err(Code::NotFound) })
    }
}

/// Why a transfer did not go on. For our own log: a partner learns [`ReceiveError::code`] alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// No such transfer of this partner.
    #[error("this partner has no such transfer here")]
    Unknown,
    /// The sizes of the offer contradict each other.
    #[error("an offer has a header, and the header is no larger than the whole")]
    Offer,
    /// The same transfer was offered with other sizes.
    #[error("the same transfer was offered with other sizes")]
    OfferedOtherwise,
    /// A limit is exceeded.
    #[error("{found} {what}; {allowed} are allowed")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there may be.
        allowed: u64,
    },
    /// The transfer would consist of too many separate pieces.
    #[error("the transfer would consist of more than {allowed} pieces")]
    TooManyPieces {
        /// How many there may be.
        allowed: usize,
    },
    /// The segment lies in the header, past the end, or does not say that it ends the file.
    #[error("the segment does not lie within the bytes that segments bring")]
    Position,
    /// The segment is not what its digest says.
    #[error("the segment's bytes are not those that its digest names")]
    Segment,
    /// The whole is not what was offered; all of it was discarded.
    #[error("the whole is not what was offered; it was discarded")]
    Whole,
    /// The header is not the one of this transfer.
    #[error("the header is not the one of this transfer")]
    Header,
    /// Bytes are missing.
    #[error("{missing} bytes are still missing")]
    Incomplete {
        /// How many.
        missing: u64,
    },
    /// Another request for the same thing took the place of this one.
    #[error("another request for the same bytes took over")]
    Overtaken,
    /// The transfer is being put together, or is stored already.
    #[error("the transfer takes no more segments")]
    Closed,
    /// The line broke before the segment's end.
    #[error("the line broke before the segment's end")]
    Broken,
    /// The body did not arrive whole.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A sync failed: what of the transfer is on the disk is unknown, and all of it was discarded.
    #[error("the disk did not take what was written; the transfer was discarded")]
    Sync(#[source] VaultError),
    /// The vault did not take it, or has no room.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The disk failed.
    #[error("a transfer's files cannot be read or written")]
    Disk(#[from] std::io::Error),
}

impl ReceiveError {
    /// All that the partner learns.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::NotFound,
            Self::Offer | Self::Broken => Code::BadRequest,
            Self::OfferedOtherwise | Self::Closed => Code::Conflict,
            Self::Limit { .. } | Self::TooManyPieces { .. } => Code::Limit,
            Self::Position => Code::Offset,
            Self::Segment | Self::Whole | Self::Header => Code::Digest,
            Self::Incomplete { .. } => Code::Incomplete,
            Self::Overtaken => Code::Busy,
            Self::Body(error) => error.code(),
            Self::Vault(error) if error.reason() == Reason::DiskFull => Code::NoRoom,
            Self::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => Code::NoRoom,
            Self::Disk(_) | Self::Sync(_) | Self::Vault(_) => Code::Internal,
        }
    }
}
