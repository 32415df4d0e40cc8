//! The only ways out: each wants the record of the decision that lets the bundle go, or that calls it back.
//!
//! Rule: while the partner gets noise, the recorded release is shown; for the header that makes it readable it is
//! spent, so that the header leaves once for each recorded decision.

use std::fs::File;
use std::sync::Arc;

use super::{DeliverError, Line, outgoing};
use crate::audit::log::Recorded;
use crate::clock::Clock;
use crate::statement::Signed;
use crate::statement::dispatch::{Release, SealedBundle};
use crate::statement::recall::Recall;
use crate::wire::{Handover, Offer, RecallRequest, RecalledAnswer, ReceiptAnswer, TransferState};

impl Line {
    /// Offers the bundle and learns what the partner has of it. Nothing of its content leaves.
    pub async fn offer(&mut self, release: &Recorded<Release>) -> Result<TransferState, DeliverError> {
        self.offer_transfer(&self.offer_of(release.event().sealed())?).await
    }

    /// Sends what the partner misses of the bytes after the header. `acknowledged` hears of every segment that is
    /// durable there, by its bytes. Drop the future to stop: what is acknowledged stays with the partner, as noise.
    pub async fn send_body(
        &mut self,
        release: &Recorded<Release>,
        state: &TransferState,
        file: &Arc<File>,
        acknowledged: impl FnMut(u64) + Send,
    ) -> Result<(), DeliverError> {
        let offer = self.offer_of(release.event().sealed())?;
        measure(file, &offer)?;
        self.send_missing(&offer, state, file, acknowledged).await
    }

    /// Hands over the header with the signed dispatch of this release: from here on the partner can read the bundle.
    /// Nothing lies between the last questions and the header: when the line can take it, the permit must be fresh and
    /// `unchanged` must say that nothing was recorded since it was given. What comes back is not verified. After an error,
    /// ask [`DeliverError::outcome_is_unknown`].
    pub async fn hand_over(
        &mut self,
        release: Recorded<Release>,
        dispatch: &Signed,
        file: &Arc<File>,
        clock: &Clock,
        unchanged: impl FnOnce() -> bool,
    ) -> Result<ReceiptAnswer, DeliverError> {
        let release = release.into_event();
        let offer = self.offer_of(release.sealed())?;
        measure(file, &offer)?;
        let header = outgoing::bytes(Arc::clone(file), 0..offer.header_bytes).await;
        let header = header.map_err(|source| DeliverError::LocalFile { source })?;
        let (dispatch, signature) = (dispatch.text.clone(), dispatch.signature.clone());
        let notices = release.notices().bytes().to_vec();
        // A partner that reads slowly could make the header wait behind what was sent before it.
        self.be_ready().await?;
        if !release.permit().is_fresh(clock.now()) || !unchanged() {
            return Err(DeliverError::Stale);
        }
        self.hand_over_header(&offer, &Handover { dispatch, signature, notices, header }).await
    }

    /// Gives up the transfer of a bundle that is not to arrive: the partner drops the noise that it has of it, and takes
    /// no header for it any more. Nothing leaves with this, so it needs no permit.
    pub async fn abandon(&mut self, sealed: &SealedBundle) -> Result<(), DeliverError> {
        self.abandon_transfer(&self.offer_of(sealed)?).await
    }

    /// Brings a recall to the partner that received the bundle. What comes back is not verified.
    pub async fn recall(&mut self, recall: Recorded<Recall>) -> Result<RecalledAnswer, DeliverError> {
        let recall = recall.into_event();
        if recall.text().to != *self.partner() {
            return Err(DeliverError::WrongLine { partner: self.partner().clone() });
        }
        let Signed { text, signature } = recall.signed().clone();
        self.post_recall(&RecallRequest { recall: text, signature }).await
    }

    /// What is offered of a sealed bundle, on the line to the partner that it is for and on no other.
    fn offer_of(&self, sealed: &SealedBundle) -> Result<Offer, DeliverError> {
        if sealed.to != *self.partner() {
            return Err(DeliverError::WrongLine { partner: self.partner().clone() });
        }
        Ok(Offer {
            bundle: sealed.bundle.clone(),
            sealed_sha256: sealed.sealed_sha256,
            sealed_bytes: sealed.sealed_bytes,
            header_bytes: sealed.header_bytes,
        })
    }
}

/// A file of another size is not the one that was sealed: nothing of it may leave.
fn measure(file: &File, offer: &Offer) -> Result<(), DeliverError> {
    let found = file.metadata().map_err(|source| DeliverError::LocalFile { source })?.len();
    if found == offer.sealed_bytes {
        return Ok(());
    }
    let why = format!("it has {found} bytes, not {}", offer.sealed_bytes);
    Err(DeliverError::LocalFile { source: std::io::Error::other(why) })
}
