//! A store whose power can be cut, between two writes or right after one.
//!
//! Rule: once it is dead it answers nothing, so that what was committed by then is all that a new start finds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use medseal::clock::Timestamp;
use medseal::store::memory::MemoryStore;
use medseal::store::{CommitError, Head, Job, Lease, LeaseToken, Space, Store, StoreError, Versioned, WriteSet};

use crate::world::Event;

#[derive(Debug)]
pub(crate) struct Disk {
    inner: Arc<MemoryStore>,
    dead: AtomicBool,
    /// How many writes are left, and whether the last one of them is made.
    left: Mutex<Option<(u32, bool)>>,
    events: Sender<Event>,
}

impl Disk {
    pub(crate) fn over(inner: Arc<MemoryStore>, events: Sender<Event>) -> Self {
        Self { inner, dead: AtomicBool::new(false), left: Mutex::new(None), events }
    }

    pub(crate) fn die_at(&self, write: u32, made: bool) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((write, made));
    }

    pub(crate) fn spare(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn alive(&self) -> Result<&MemoryStore, StoreError> {
        if self.is_dead() {
            return Err(StoreError::Failed { doing: "working", why: "there is no power".to_owned() });
        }
        Ok(&self.inner)
    }
}

impl Store for Disk {
    fn head(&self) -> Result<Head, StoreError> {
        self.alive()?.head()
    }

    fn commit(&self, set: WriteSet) -> Result<(), CommitError> {
        let inner = self.alive()?;
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match *left {
            Some((1, made)) => {
                if made {
                    inner.commit(set)?;
                }
                self.cut();
                // Where nobody listens the run is over.
                drop(self.events.send(Event::Died));
                self.alive().map(drop).map_err(CommitError::Store)
            }
            Some((more, made)) => {
                *left = Some((more - 1, made));
                inner.commit(set)
            }
            None => inner.commit(set),
        }
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.alive()?.read(from, limit)
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.alive()?.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        self.alive()?.scan(space, prefix, after, limit)
    }

    fn claim(&self, kind: &str, owner: &str, ttl_s: u32, now: Timestamp) -> Result<Option<Lease>, StoreError> {
        self.alive()?.claim(kind, owner, ttl_s, now)
    }

    fn extend(&self, token: &LeaseToken, ttl_s: u32, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.alive()?.extend(token, ttl_s, now)
    }

    fn release(&self, token: &LeaseToken) -> Result<(), StoreError> {
        self.alive()?.release(token)
    }

    fn next_due(&self, kind: &str) -> Result<Option<Timestamp>, StoreError> {
        self.alive()?.next_due(kind)
    }

    fn hasten(&self, kind: &str, key: &[u8], due: Timestamp) -> Result<bool, StoreError> {
        self.alive()?.hasten(kind, key, due)
    }

    fn job(&self, kind: &str, key: &[u8]) -> Result<Option<Job>, StoreError> {
        self.alive()?.job(kind, key)
    }

    fn jobs(&self, limit: usize) -> Result<Vec<Job>, StoreError> {
        self.alive()?.jobs(limit)
    }
}
