//! The receiving end of the line: the listener, and the transfers that are not yet whole.
//!
//! Rule: who speaks is known from the certificate alone, and is asked for again at every request; what a partner names
//! is looked up among that partner's things only. Nothing is acknowledged before it is durable.

mod body;

use std::future::Future;
use std::pin::Pin;

pub use self::body::{Body, BodyError};
use crate::id::{Digest, InstitutionId};
use crate::wire::{
    Code, Handover, Offer, Pong, Progress, ReceiptAnswer, RequestId, SegmentHead, TransferId, TransferState,
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
}
