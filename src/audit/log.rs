//! The log: one writer, group commit, and the only place where a [`Recorded`] is made.
//!
//! Rule: an answer is given only after the store has put the entry on the disk. After the first error of the store the
//! log answers nobody any more; recovery is the ordinary start.

mod block_on;
mod notary;
mod open;
mod writer;

use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

pub use self::open::{InitLogError, LogParts, OnFailure, OpenLogError, SignsNotes, init};
use self::writer::{Command, Request};
use crate::audit::event::Event;
use crate::audit::note::LogKey;
use crate::audit::reader::Reader;
use crate::clock::Timestamp;
use crate::id::Digest;
use crate::leaf::LeafError;
use crate::store::{Delete, Job, Malformed, Put, Settle, Space};
use crate::subject::SubjectError;

/// How many entries may wait for the writer; whoever comes then waits before its turn.
pub const WAITING_MAX: usize = 1024;

/// The most entries that one commit takes.
pub const GROUP_MAX: usize = 256;

/// Where an entry stands in the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// Its number, counted from 0.
    pub seq: u64,
    /// The hash of its leaf.
    pub leaf: Digest,
    /// The root over the log up to and with this entry.
    pub root: Digest,
    /// When it was recorded.
    #[serde(with = "crate::clock::stamped")]
    pub at: Timestamp,
}

/// An event that is in the log and on the disk, with its place. Only [`Log::append`] makes one.
#[derive(Debug)]
#[must_use = "what was recorded is the proof that the next step asks for"]
pub struct Recorded<E> {
    event: E,
    place: Place,
}

impl<E> Recorded<E> {
    /// What was recorded.
    pub const fn event(&self) -> &E {
        &self.event
    }

    /// Where it stands.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The event, when the proof is no longer needed.
    pub fn into_event(self) -> E {
        self.event
    }
}

/// What changes together with an entry: all of it and the entry, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Values to write.
    pub puts: Vec<Put>,
    /// Values to remove.
    pub deletes: Vec<Delete>,
    /// Jobs to add.
    pub enqueue: Vec<Job>,
    /// What becomes of jobs.
    pub settle: Vec<Settle>,
    /// Keys under which the entry's own [`Place`] is put, as a strict line.
    pub stamps: Vec<(Space, Vec<u8>)>,
}

/// Why an event was not recorded. Nothing changed, but with [`AppendError::Stopped`] nobody knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A record or a job is not as the change expects it, or the change names it twice.
    #[error("a record in {space:?} is not as expected")]
    Precondition {
        /// The space.
        space: Space,
        /// The key; for [`Space::Queue`] as [`crate::store::job_key`] makes it.
        key: Vec<u8>,
    },
    /// The store failed, now or before, or the log is closed.
    #[error("the log has stopped")]
    Stopped,
    /// The entry has no leaf.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The detail, or the whole change, is more than the store takes.
    #[error("the change does not fit the store: {0}")]
    Malformed(Malformed),
    /// The entry has a detail, but no subject, or one whose key was destroyed or never here.
    #[error("the entry has a detail and no subject's key to seal it under")]
    NoSubjectKey,
    /// The subject's key cannot be read.
    #[error(transparent)]
    Subject(#[from] SubjectError),
}

/// The log of this gateway. Clones are handles of one log.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    commands: Sender<Command>,
    waiting: Arc<Semaphore>,
    reader: Reader,
    key: LogKey,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer lets everybody see.
struct State {
    newest: watch::Sender<Newest>,
    stopped: watch::Sender<bool>,
}

#[derive(Clone)]
struct Newest {
    place: Place,
    note: String,
}

impl Log {
    /// Opens the log of a store, after comparing the store with the newest signed checkpoint outside it.
    ///
    /// On [`OpenLogError::Empty`], [`OpenLogError::RolledBack`] and [`OpenLogError::Forked`] the gateway goes
    /// read-only: a [`Reader`] works without a log.
    pub fn open(parts: LogParts) -> Result<Self, OpenLogError> {
        let (writer, reader, key) = open::open(parts)?;
        let state = writer.state();
        let (commands, inbox) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(&inbox))
            .map_err(OpenLogError::Thread)?;
        Ok(Self(Arc::new(Shared {
            commands,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            reader,
            key,
            state,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Records an event together with a change, and answers when both are on the disk.
    ///
    /// Whoever drops the future early may find the event recorded all the same.
    pub async fn append<E: Event + Send + 'static>(
        &self,
        event: E,
        change: Change,
    ) -> Result<Recorded<E>, AppendError> {
        let mut entry = event.entry();
        let key = match (&entry.detail, &entry.subject) {
            (None, _) => None,
            (Some(_), None) => return Err(AppendError::NoSubjectKey),
            (Some(_), Some(subject)) => Some(self.0.reader.subjects().key(subject)?.ok_or(AppendError::NoSubjectKey)?),
        };
        let detail = match (entry.detail.take(), key) {
            (Some(detail), Some(key)) => {
                let line = crate::json::object_to_line(&detail).map_err(LeafError::Json)?;
                Some((zeroize::Zeroizing::new(line), key))
            }
            _ => None,
        };
        let slot = self.slot().await?;
        let (answer, answered) = oneshot::channel();
        self.send(Command::Append(Box::new(Request { entry, detail, change, answer, slot })))?;
        let place = answered.await.map_err(|_| AppendError::Stopped)??;
        Ok(Recorded { event, place })
    }

    /// [`Log::append`] for a thread that may block. Never call it from an async task.
    pub fn append_blocking<E: Event + Send + 'static>(
        &self,
        event: E,
        change: Change,
    ) -> Result<Recorded<E>, AppendError> {
        block_on::block_on(self.append(event, change))
    }

    /// How many entries are recorded.
    pub fn size(&self) -> u64 {
        self.newest().seq + 1
    }

    /// The place of the newest entry: its `root` is that of the whole log.
    pub fn newest(&self) -> Place {
        self.0.state.newest.borrow().place.clone()
    }

    /// The newest signed checkpoint; at most a second older than the newest entry.
    pub fn checkpoint(&self) -> String {
        self.0.state.newest.borrow().note.clone()
    }

    /// Signs a checkpoint over all that is recorded now, and returns it when it is on the disk.
    pub async fn sign_now(&self) -> Result<String, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Sign(answer))?;
        answered.await.map_err(|_| AppendError::Stopped)
    }

    /// [`Log::sign_now`] for a thread that may block. Never call it from an async task.
    pub fn sign_now_blocking(&self) -> Result<String, AppendError> {
        block_on::block_on(self.sign_now())
    }

    /// The key that verifies the checkpoints.
    pub fn key(&self) -> &LogKey {
        &self.0.key
    }

    /// Reads entries and details.
    pub fn reader(&self) -> &Reader {
        &self.0.reader
    }

    /// Whether the log has stopped.
    pub fn has_died(&self) -> bool {
        *self.0.state.stopped.borrow()
    }

    /// Waits until the log stops: after an error of the store, or after [`Log::close`].
    pub async fn died(&self) {
        let mut stopped = self.0.state.stopped.subscribe();
        // The sender lives as long as this log, so that waiting ends only with a value.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }

    /// Records what waits, signs a last checkpoint, and ends the writer; everybody else gets
    /// [`AppendError::Stopped`] from then on. `Err`: the log had stopped before, or its last checkpoint failed.
    pub fn close(&self) -> Result<(), AppendError> {
        self.0.close()
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, AppendError> {
        Arc::clone(&self.0.waiting).acquire_owned().await.map_err(|_| AppendError::Stopped)
    }

    fn send(&self, command: Command) -> Result<(), AppendError> {
        self.0.commands.send(command).map_err(|_| AppendError::Stopped)
    }
}

impl Shared {
    fn close(&self) -> Result<(), AppendError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(Command::Close(answer)).map_err(|_| AppendError::Stopped);
        let closed = block_on::block_on(answered);
        // Joined whichever way it ended, so that the store is free when this returns.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A writer that panicked has marked the log as stopped already.
            drop(thread.join());
        }
        sent.and(closed.map_err(|_| AppendError::Stopped))
    }
}

impl Drop for Shared {
    /// Nobody who drops the last handle finds the writer at work in a folder that is thought to be free.
    fn drop(&mut self) {
        // Whoever wanted to know how it ended has closed it already.
        drop(self.close());
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({}, {} entries)", self.0.key.name(), self.size())
    }
}

#[cfg(test)]
mod tests;
