//! The thread that signs checkpoints, so that nobody who records an entry waits for a signature to reach the disk.
//!
//! Rule: it signs only what the writer says is on the disk, one checkpoint after the other; what it gives back is on the
//! disk, too.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use super::State;
use super::open::{OpenLogError, SignsNotes, read_head};
use crate::audit::note::{Checkpoint, LogKey, Origin};
use crate::audit::tree::Frontier;
use crate::durable;

/// Signs in a thread of its own, at most one checkpoint at a time.
#[derive(Debug)]
pub(super) struct Notary {
    orders: Option<Sender<Frontier>>,
    signed: Receiver<Result<Signed, String>>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

/// A checkpoint that is on the disk.
#[derive(Debug)]
pub(super) struct Signed {
    /// The edge of the tree that it covers.
    pub(super) edge: Frontier,
    pub(super) note: String,
}

/// What the thread works with.
pub(super) struct Desk {
    pub(super) signer: Arc<dyn SignsNotes>,
    pub(super) origin: Origin,
    pub(super) head_file: PathBuf,
    /// The newest checkpoint on the disk.
    pub(super) newest: Checkpoint,
    pub(super) state: Arc<State>,
}

impl Notary {
    pub(super) fn start(mut desk: Desk) -> Result<Self, OpenLogError> {
        let (orders, ordered) = channel();
        let (done, signed) = channel();
        let work = move || {
            for edge in ordered {
                let note = desk.sign(&edge);
                let failed = note.is_err();
                // A writer that has gone asks for nothing any more.
                if done.send(note.map(|note| Signed { edge, note })).is_err() || failed {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("log-notary".into()).spawn(work).map_err(OpenLogError::Thread)?;
        Ok(Self { orders: Some(orders), signed, busy: false, thread: Some(thread) })
    }

    /// Whether an order is not answered yet.
    pub(super) const fn is_busy(&self) -> bool {
        self.busy
    }

    /// Orders a checkpoint over a tree whose leaves are all on the disk. The order before must be answered.
    pub(super) fn order(&mut self, edge: Frontier) {
        debug_assert!(!self.busy, "one order at a time");
        self.busy = true;
        // A thread that has ended shows when the answer is asked for.
        self.orders.as_ref().map_or(Ok(()), |orders| orders.send(edge)).unwrap_or_default();
    }

    /// The answer, if it is there.
    pub(super) fn answer(&mut self) -> Result<Option<Signed>, String> {
        if !self.busy {
            return Ok(None);
        }
        match self.signed.try_recv() {
            Ok(answer) => self.answered(answer).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(GONE.to_owned()),
        }
    }

    /// The answer, when it is there; `None` if nothing was ordered.
    pub(super) fn wait(&mut self) -> Result<Option<Signed>, String> {
        if !self.busy {
            return Ok(None);
        }
        let answer = self.signed.recv().map_err(|_| GONE.to_owned())?;
        self.answered(answer).map(Some)
    }

    fn answered(&mut self, answer: Result<Signed, String>) -> Result<Signed, String> {
        self.busy = false;
        answer
    }
}

impl Drop for Notary {
    /// When it returns, nothing is written any more.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked about, the writer has heard as an order that nobody answers.
            drop(thread.join());
        }
    }
}

impl Desk {
    /// Signs what is recorded, and puts the note on the disk outside the store.
    fn sign(&mut self, edge: &Frontier) -> Result<String, String> {
        let signer = self.signer.note_signer();
        let key = LogKey::new(self.origin.clone(), signer.public());
        let (_, on_disk) = read_head(&self.head_file, &key).map_err(|why| why.to_string())?;
        // Another process that signed for this log would have signed beside us.
        if on_disk != self.newest {
            return Err("the newest checkpoint on the disk is not the one signed last".into());
        }
        let next = Checkpoint { origin: self.origin.clone(), size: edge.size(), root: edge.root() };
        let note = next.sign(signer);
        durable::replace(&self.head_file, note.as_bytes(), 0o644).map_err(|why| why.to_string())?;
        self.newest = next;
        self.state.newest.send_modify(|newest| newest.note.clone_from(&note));
        Ok(note)
    }
}

const GONE: &str = "the thread that signs has ended";
