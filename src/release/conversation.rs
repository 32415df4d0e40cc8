//! What is said to the partner during one attempt: one line, dialled when it is first needed and again after it broke.
//!
//! Rule: nothing here decides and nothing here records. A line that broke in the middle is never used again.

use std::fs::File;
use std::sync::Arc;

use super::evidence::{about, dispatch_of, release_stamp};
use crate::audit::log::{Place, Recorded};
use crate::decision::Denied;
use crate::deliver::{DeliverError, Line};
use crate::gateway::Gateway;
use crate::id::Digest;
use crate::partner::Partner;
use crate::problem::Problem;
use crate::records::BundleRecord;
use crate::statement::dispatch::{Release, SealedBundle};
use crate::statement::receipt::Receipt;
use crate::statement::{Signed, StatementError};
use crate::store::Space;
use crate::wire::ReceiptAnswer;

/// One attempt's talk with the partner.
pub(super) struct Conversation<'a> {
    gateway: &'a Gateway,
    partner: Partner,
    line: Option<Line>,
}

/// What became of attempts whose outcome was not known.
pub(super) enum Became {
    /// The partner has it: its receipt for the attempt with this number, counted from 0.
    Delivered(Box<Receipt>, usize),
    /// The partner says that it has none of them.
    NotThere,
    /// The partner says that it has one, in a receipt that does not count.
    Unclear,
}

/// How sending the noise ended.
pub(super) enum Sent {
    /// The partner has all of it.
    Whole,
    /// The line broke.
    Broken(DeliverError),
    /// The answer became no while it was on its way.
    Denied(Box<Denied>),
}

impl<'a> Conversation<'a> {
    pub(super) const fn with(gateway: &'a Gateway, partner: Partner) -> Self {
        Self { gateway, partner, line: None }
    }

    pub(super) const fn partner(&self) -> &Partner {
        &self.partner
    }

    /// The line, dialled if there is none.
    pub(super) async fn line(&mut self) -> Result<&mut Line, DeliverError> {
        if self.line.is_none() {
            let (gateway, partner) = (self.gateway, &self.partner);
            let endpoint = &partner.card().endpoint;
            // Its time may have come since TLS was told whom to trust.
            if !gateway.tls.knows(partner.id()) {
                gateway.trust_partners();
            }
            self.line = Some(Line::connect(&gateway.tls, partner.id(), endpoint, gateway.line_limits()).await?);
        }
        Ok(self.line.as_mut().expect("the line was dialled just now"))
    }

    /// Hangs up: what is on its way ends with the line.
    pub(super) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Asks for the receipt of every attempt whose outcome is not known. Asking releases nothing, so it needs no permit.
    pub(super) async fn ask_what_became_of(&mut self, record: &BundleRecord) -> Result<Became, DeliverError> {
        let open: Vec<usize> = record.open_attempts().map(|(number, _)| number).collect();
        let mut became = Became::NotThere;
        for number in open {
            let stamp = self.gateway.row::<Place>(Space::Stamp, &release_stamp(&record.bundle, number));
            let Some(stamp) = stamp.map_err(|error| local(&error))? else { continue };
            let signed = dispatch_of(self.gateway, record, number, &stamp.value).sign(self.gateway.keys.signer());
            let Some(answer) = self.line().await?.ask_receipt(&signed.digest()).await? else { continue };
            match self.verified(answer, &signed.digest(), record) {
                Ok(receipt) => return Ok(Became::Delivered(Box::new(receipt), number)),
                Err(error) => {
                    tracing::warn!(bundle = %record.bundle, %error, "the partner's receipt was not accepted");
                    became = Became::Unclear;
                }
            }
        }
        Ok(became)
    }

    /// Makes sure that no attempt of a bundle that is going to be refused arrives any more. A header may still be on its
    /// way on a line that broke, so the partner is first told to take none, and is then asked whether it took one.
    pub(super) async fn make_sure(
        &mut self,
        record: &BundleRecord,
        sealed: &SealedBundle,
    ) -> Result<Became, DeliverError> {
        tracing::debug!(bundle = %record.bundle, "making sure that nothing arrives any more");
        self.line().await?.abandon(sealed).await?;
        self.ask_what_became_of(record).await
    }

    /// Sends everything but the header for as long as the answer stays yes: whenever something changes that a decision
    /// depends on, `still_denied` is asked again, and a no stops the bytes where they are.
    pub(super) async fn send_while_permitted(
        &mut self,
        mut asked_at: u64,
        release: &Recorded<Release>,
        file: &Arc<File>,
        still_denied: impl Fn() -> Result<Option<Denied>, Problem>,
    ) -> Result<Sent, Problem> {
        let gateway = self.gateway;
        let mut changes = gateway.changes();
        let mut sending = std::pin::pin!(self.send_noise(release, file));
        loop {
            let epoch = gateway.epoch();
            if asked_at != epoch {
                asked_at = epoch;
                if let Some(denied) = still_denied()? {
                    return Ok(Sent::Denied(Box::new(denied)));
                }
            }
            tokio::select! {
                sent = sending.as_mut() => return Ok(sent.map_or_else(Sent::Broken, |()| Sent::Whole)),
                // The gateway that tells of changes outlives this.
                _ = changes.changed() => {}
            }
        }
    }

    /// Sends everything but the header: what the partner misses of it.
    async fn send_noise(&mut self, release: &Recorded<Release>, file: &Arc<File>) -> Result<(), DeliverError> {
        let line = self.line().await?;
        let state = line.offer(release).await?;
        let bundle = &release.event().sealed().bundle;
        tracing::debug!(%bundle, "offered");
        line.send_body(release, &state, file, |bytes| tracing::debug!(%bundle, bytes, "segment sent")).await
    }

    /// Tells the partner to drop the noise of a transfer that will not be. Where that fails, its own limit on resting
    /// transfers removes it: without the header nobody can read it.
    pub(super) async fn abandon(&mut self, sealed: &SealedBundle) {
        let told = match self.line().await {
            Ok(line) => line.abandon(sealed).await,
            Err(error) => Err(error),
        };
        let bundle = &sealed.bundle;
        match told {
            Ok(()) => tracing::debug!(%bundle, "abandoned"),
            Err(error) => tracing::info!(%bundle, %error, "the partner was not told that a transfer is given up"),
        }
    }

    /// The partner's receipt, if it is one for the dispatch with this digest.
    pub(super) fn verified(
        &self,
        answer: ReceiptAnswer,
        dispatch: &Digest,
        record: &BundleRecord,
    ) -> Result<Receipt, StatementError> {
        let keys = self.partner.signing_keys_at(self.gateway.now());
        let signed = Signed { text: answer.receipt, signature: answer.signature };
        let us = self.gateway.id();
        Receipt::verify(signed, dispatch, &record.bundle, self.partner.id(), us, &keys, about(record))
    }
}

/// Something of our own that cannot be read.
pub(super) fn local(error: &(dyn std::error::Error + 'static)) -> DeliverError {
    DeliverError::LocalFile { source: std::io::Error::other(error.to_string()) }
}
