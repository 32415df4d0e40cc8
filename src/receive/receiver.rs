//! Transfers that are not yet whole: stored, resumed across restarts, put together, verified.
//!
//! Rule: an acknowledged byte is on the disk; a bundle gets its name in the vault only after the digest of all of it is
//! the one that was offered. What is looked for under one partner's name is never found under another's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::journal::{Journal, Key, Opening};
use super::transfer::Transfer;
use super::turns::{Turn, Turns};
use super::{Body, ReceiveError, writer};
use crate::clock::Clock;
use crate::durable;
use crate::id::{Digest, InstitutionId};
use crate::vault::{BlobName, Vault};
use crate::wire::{Limits, Offer, Pieces, Progress, SegmentHead, Stage, TransferId, TransferState};

/// A bundle that lies whole and verified in the vault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredBundle {
    /// Its name in the vault.
    pub name: BlobName,
    /// SHA-256 of the sealed file, computed from what is on the disk.
    pub sealed_sha256: Digest,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: u64,
}

/// Everything that partners are bringing at this moment.
#[derive(Debug)]
pub struct Receiver {
    vault: Arc<Vault>,
    journals: PathBuf,
    limits: Limits,
    clock: Clock,
    open: Mutex<BTreeMap<Key, Arc<Transfer>>>,
    beginning: Mutex<BTreeSet<Key>>,
    turns: Turns,
}

impl Receiver {
    /// Opens the folder of journals, made if it does not exist, and takes up every transfer that was open.
    pub fn open(vault: Arc<Vault>, journals: &Path, limits: Limits, clock: Clock) -> Result<Self, ReceiveError> {
        if !journals.is_dir() {
            durable::create_dir(journals, 0o700)?;
        }
        let mut open = BTreeMap::new();
        for kept in Journal::read_all(journals)? {
            let kept = match kept {
                Ok(kept) => kept,
                Err(path) => {
                    tracing::warn!(path = %path.display(), "a transfer's journal cannot be read and is removed");
                    durable::remove(&path)?;
                    continue;
                }
            };
            let key = kept.opening.key();
            let name = blob_name(&key);
            match vault.resume(&name)? {
                Some(partial) => {
                    let offer = kept.opening.offer;
                    let transfer =
                        Transfer::new(key.clone(), offer, name, partial, kept.journal, kept.pieces, kept.touched);
                    open.insert(key, Arc::new(transfer));
                }
                // Published just before a crash, or never begun.
                None => kept.journal.remove()?,
            }
        }
        Ok(Self {
            vault,
            journals: journals.to_owned(),
            limits,
            clock,
            open: Mutex::new(open),
            beginning: Mutex::default(),
            turns: Turns::default(),
        })
    }

    /// Opens a transfer, or says how far the same transfer is.
    pub async fn offer(self: &Arc<Self>, from: &InstitutionId, offer: &Offer) -> Result<TransferState, ReceiveError> {
        let (receiver, from, offer) = (Arc::clone(self), from.clone(), offer.clone());
        blocking(move || receiver.offer_blocking(from, offer)).await
    }

    fn offer_blocking(&self, from: InstitutionId, offer: Offer) -> Result<TransferState, ReceiveError> {
        let limit = |what, found, allowed| Err(ReceiveError::Limit { what, found, allowed });
        if offer.sealed_bytes > self.limits.sealed_bytes_max {
            return limit("sealed bytes", offer.sealed_bytes, self.limits.sealed_bytes_max);
        }
        if offer.header_bytes > self.limits.header_bytes_max {
            return limit("header bytes", offer.header_bytes, self.limits.header_bytes_max);
        }
        if offer.header_bytes == 0 || offer.header_bytes > offer.sealed_bytes {
            return Err(ReceiveError::Offer);
        }
        let key = Key { from, transfer: offer.id() };
        if let Some(transfer) = self.transfers().get(&key) {
            return if transfer.offer == offer { Ok(transfer.state()) } else { Err(ReceiveError::OfferedOtherwise) };
        }
        // The same offer twice at one time, on two lines: one of them begins the transfer, the other comes again.
        let _beginning = Beginning::of(self, &key)?;
        let name = blob_name(&key);
        if let Some(sealed_bytes) = self.vault.size(&name)? {
            return if sealed_bytes == offer.sealed_bytes {
                let have = vec![(0, sealed_bytes)];
                let TransferId { bundle, sealed_sha256 } = key.transfer;
                Ok(TransferState { bundle, sealed_sha256, have, state: Stage::Stored })
            } else {
                Err(ReceiveError::OfferedOtherwise)
            };
        }
        self.admit(&key.from, offer.sealed_bytes)?;
        let opening = Opening { from: key.from.clone(), offer };
        // The journal first: a partial file without one would have no owner after a crash.
        let journal = Journal::create(&self.journals, &opening)?;
        let partial = self.vault.begin(&name)?;
        let now = self.clock.now();
        let transfer = Transfer::new(key.clone(), opening.offer, name, partial, journal, Pieces::default(), now);
        let state = transfer.state();
        self.transfers().insert(key, Arc::new(transfer));
        Ok(state)
    }

    /// Whether this partner may open one more transfer of so many bytes.
    fn admit(&self, from: &InstitutionId, sealed_bytes: u64) -> Result<(), ReceiveError> {
        let (mut count, mut outstanding) = (0, sealed_bytes);
        for transfer in self.transfers().values().filter(|transfer| transfer.key.from == *from) {
            count += 1;
            outstanding = outstanding.saturating_add(transfer.missing_bytes());
        }
        let allowed = self.limits.transfers_per_partner_max as u64;
        if count >= allowed {
            return Err(ReceiveError::Limit { what: "open transfers", found: count, allowed });
        }
        Ok(self.vault.room(outstanding)?)
    }

    /// Takes one segment and returns when it is durable. When this is dropped, or fails, nothing of it counts.
    pub async fn segment(
        self: &Arc<Self>,
        from: &InstitutionId,
        transfer: &TransferId,
        head: &SegmentHead,
        body: &mut Body,
    ) -> Result<Progress, ReceiveError> {
        let transfer = self.find(from, transfer)?.ok_or(ReceiveError::Closed)?;
        let range = self.check(&transfer, head)?;
        self.vault.room(head.bytes)?;
        let reservation = transfer.reserve(range, self.limits.pieces_max, self.clock.now()).await?;
        let mut stopped = reservation.stopped();
        let (pieces, inbox) = mpsc::channel(PIECES_AHEAD);
        let sha256 = head.sha256;
        let writing = tokio::task::spawn_blocking(move || writer::write_segment(&reservation, inbox, &sha256));
        loop {
            let piece = tokio::select! {
                piece = body.chunk() => piece?,
                _ = stopped.wait_for(|stop| *stop) => return Err(ReceiveError::Overtaken),
            };
            let at_end = piece.is_none();
            // A writer that failed has closed its inbox; its own result, below, says why.
            if pieces.send(piece).await.is_err() || at_end {
                break;
            }
        }
        match writing.await.map_err(std::io::Error::other)? {
            Ok(()) => Ok(transfer.progress()),
            Err(error @ ReceiveError::Sync(_)) => {
                let receiver = Arc::clone(self);
                blocking(move || receiver.discard(&transfer)).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// How far a transfer is.
    pub async fn progress(
        self: &Arc<Self>,
        from: &InstitutionId,
        transfer: &TransferId,
    ) -> Result<Progress, ReceiveError> {
        let (receiver, key) = (Arc::clone(self), key(from, transfer));
        blocking(move || {
            if let Some(open) = receiver.transfers().get(&key) {
                return Ok(open.progress());
            }
            let length = receiver.vault.size(&blob_name(&key))?.ok_or(ReceiveError::Unknown)?;
            Ok(Progress { offset: length, length })
        })
        .await
    }

    /// Puts the header in front, verifies the digest of the whole and gives the bundle its name in the vault. The same
    /// header again, for a bundle that is stored already, finds the same bundle.
    pub async fn assemble(
        self: &Arc<Self>,
        from: &InstitutionId,
        transfer: &TransferId,
        header: Vec<u8>,
    ) -> Result<StoredBundle, ReceiveError> {
        let Some(open) = self.find(from, transfer)? else { return self.stored(from, transfer, header).await };
        let _once = open.assembly.lock().await;
        if self.vault.size(&open.name)?.is_some() {
            return self.stored(from, transfer, header).await;
        }
        if header.len() as u64 != open.offer.header_bytes {
            return Err(ReceiveError::Header);
        }
        let missing = open.missing_bytes();
        if missing > 0 {
            return Err(ReceiveError::Incomplete { missing });
        }
        open.close();
        let (receiver, open) = (Arc::clone(self), Arc::clone(&open));
        blocking(move || receiver.assemble_blocking(&open, &header)).await
    }

    fn assemble_blocking(&self, open: &Transfer, header: &[u8]) -> Result<StoredBundle, ReceiveError> {
        open.partial.write_at(0, header)?;
        let found = writer::digest_of(&open.partial.reader()?)?;
        if found != open.offer.sealed_sha256 {
            // Every segment had its digest, so which byte is wrong cannot be known: the sender begins again.
            self.discard(open)?;
            return Err(ReceiveError::Whole);
        }
        if let Err(error) = open.partial.publish(open.offer.sealed_bytes) {
            self.discard(open)?;
            return Err(ReceiveError::Sync(error));
        }
        self.transfers().remove(&open.key);
        // Without its journal a stored bundle is only stored; with it, a restart would remove the journal.
        open.journal.remove()?;
        Ok(StoredBundle { name: open.name.clone(), sealed_sha256: found, sealed_bytes: open.offer.sealed_bytes })
    }

    async fn stored(
        &self,
        from: &InstitutionId,
        transfer: &TransferId,
        header: Vec<u8>,
    ) -> Result<StoredBundle, ReceiveError> {
        let name = blob_name(&key(from, transfer));
        let sealed_sha256 = transfer.sealed_sha256;
        let vault = Arc::clone(&self.vault);
        blocking(move || {
            let sealed_bytes = vault.size(&name)?.ok_or(ReceiveError::Unknown)?;
            let fits = !header.is_empty() && header.len() as u64 <= sealed_bytes;
            if !fits || vault.head(&name, header.len() as u64)? != header {
                return Err(ReceiveError::Header);
            }
            Ok(StoredBundle { name, sealed_sha256, sealed_bytes })
        })
        .await
    }

    /// Waits until nobody hands this transfer over or gives it up, and keeps others from it.
    pub async fn turn(&self, from: &InstitutionId, transfer: &TransferId) -> Turn<'_> {
        self.turns.take(key(from, transfer)).await
    }

    /// Forgets a transfer and removes what it brought; one that is not known is forgotten already. A bundle that is
    /// stored stays.
    pub async fn forget(self: &Arc<Self>, from: &InstitutionId, transfer: &TransferId) -> Result<(), ReceiveError> {
        let open = self.transfers().get(&key(from, transfer)).cloned();
        let Some(open) = open else { return Ok(()) };
        let receiver = Arc::clone(self);
        blocking(move || receiver.discard(&open)).await
    }

    /// Forgets every open transfer that has rested for longer than the limit, and says how many.
    pub async fn sweep(self: &Arc<Self>) -> Result<usize, ReceiveError> {
        let receiver = Arc::clone(self);
        blocking(move || {
            let before = receiver.clock.now() - SignedDuration::from_secs(receiver.limits.transfer_age_s_max);
            let rested = |open: &&Arc<Transfer>| open.touched() < before && !open.is_active();
            let old: Vec<_> = receiver.transfers().values().filter(rested).cloned().collect();
            old.iter().try_for_each(|open| receiver.discard(open))?;
            Ok(old.len())
        })
        .await
    }

    fn discard(&self, open: &Transfer) -> Result<(), ReceiveError> {
        open.close();
        self.transfers().remove(&open.key);
        open.journal.remove()?;
        Ok(self.vault.abandon(&open.name)?)
    }

    fn check(&self, transfer: &Transfer, head: &SegmentHead) -> Result<Range<u64>, ReceiveError> {
        if head.bytes > self.limits.segment_bytes_max {
            let (found, allowed) = (head.bytes, self.limits.segment_bytes_max);
            return Err(ReceiveError::Limit { what: "segment bytes", found, allowed });
        }
        let end = head.offset.checked_add(head.bytes).ok_or(ReceiveError::Position)?;
        let body = transfer.body();
        // The header's place is filled by the handover alone: before it, nobody can have been given the file key.
        if head.bytes == 0 || head.offset < body.start || end > body.end || head.complete != (end == body.end) {
            return Err(ReceiveError::Position);
        }
        Ok(head.offset..end)
    }

    /// The open transfer; `None` when the bundle is stored already.
    fn find(&self, from: &InstitutionId, transfer: &TransferId) -> Result<Option<Arc<Transfer>>, ReceiveError> {
        let key = key(from, transfer);
        if let Some(open) = self.transfers().get(&key) {
            return Ok(Some(Arc::clone(open)));
        }
        self.vault.size(&blob_name(&key))?.map(|_| None).ok_or(ReceiveError::Unknown)
    }

    fn transfers(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Transfer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to begin one transfer, so that its files are made once.
struct Beginning<'a> {
    receiver: &'a Receiver,
    key: Key,
}

impl<'a> Beginning<'a> {
    fn of(receiver: &'a Receiver, key: &Key) -> Result<Self, ReceiveError> {
        let mut beginning = receiver.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: whoever held it a moment ago has opened the transfer by now.
        if receiver.transfers().contains_key(key) || !beginning.insert(key.clone()) {
            return Err(ReceiveError::Overtaken);
        }
        Ok(Self { receiver, key: key.clone() })
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.receiver.beginning.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn key(from: &InstitutionId, transfer: &TransferId) -> Key {
    Key { from: from.clone(), transfer: transfer.clone() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReceiveError> + Send + 'static,
) -> Result<T, ReceiveError> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// How many pieces of a body wait for the disk.
const PIECES_AHEAD: usize = 8;

/// The name of a transfer's file in the vault. The partner's name is part of it, so that nobody reaches another's.
fn blob_name(key: &Key) -> BlobName {
    let TransferId { bundle, sealed_sha256 } = &key.transfer;
    BlobName::theirs(&key.from, bundle, sealed_sha256)
}
