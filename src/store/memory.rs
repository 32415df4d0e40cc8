//! The store in memory: for tests, and to show that nothing above the seam leans on one engine.
//!
//! Rule: it keeps the same contract as the engine on disk, durability aside; the conformance suite runs against both.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::queue::Queue;
use super::{
    CommitError, Head, Job, Lease, LeaseToken, Space, Store, StoreError, Versioned, WriteSet, check_records,
    check_shape,
};
use crate::clock::Timestamp;

/// A store that ends with the process.
#[derive(Debug)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug)]
struct State {
    head: Head,
    commits: u64,
    leaves: Vec<Vec<u8>>,
    records: BTreeMap<(Space, Vec<u8>), Versioned>,
    queue: Queue,
}

impl MemoryStore {
    /// An empty store.
    pub fn create() -> Self {
        Self(Mutex::new(State {
            head: Head::EMPTY,
            commits: 0,
            leaves: Vec::new(),
            records: BTreeMap::new(),
            queue: Queue::default(),
        }))
    }

    /// A store with what is committed here, as a new process finds it after this one died: every job is free.
    #[must_use]
    pub fn reopened(&self) -> Self {
        let state = self.state();
        let mut queue = Queue::default();
        state.queue.jobs(usize::MAX).into_iter().for_each(|job| queue.put_in(job));
        Self(Mutex::new(State {
            head: state.head,
            commits: state.commits,
            leaves: state.leaves.clone(),
            records: state.records.clone(),
            queue,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn head(&self) -> Result<Head, StoreError> {
        Ok(self.state().head)
    }

    fn commit(&self, set: WriteSet) -> Result<(), CommitError> {
        check_shape(&set)?;
        let state = &mut *self.state();
        if set.expect_head != state.head {
            return Err(CommitError::HeadMoved(state.head));
        }
        check_records(&set, |space, key| Ok(state.records.get(&(space, key.to_vec())).map(|found| found.version)))?;
        state.queue.check(&set)?;
        state.commits += 1;
        state.head = set.head_after;
        state.queue.apply(state.queue.outcome(&set));
        state.leaves.extend(set.append);
        for delete in set.deletes {
            state.records.remove(&(delete.space, delete.key));
        }
        for put in set.puts {
            state.records.insert((put.space, put.key), Versioned { version: state.commits, value: put.value });
        }
        Ok(())
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let state = self.state();
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        Ok((from..).zip(state.leaves.iter().skip(skip).take(limit).cloned()).collect())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        Ok(self.state().records.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let from = after.map_or(prefix, |after| after.max(prefix));
        let state = self.state();
        let found = state
            .records
            .range((space, from.to_vec())..)
            .take_while(|((of, key), _)| *of == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(limit);
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn claim(&self, kind: &str, owner: &str, ttl_s: u32, now: Timestamp) -> Result<Option<Lease>, StoreError> {
        Ok(self.state().queue.claim(kind, owner, ttl_s, now))
    }

    fn extend(&self, token: &LeaseToken, ttl_s: u32, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.state().queue.extend(token, ttl_s, now))
    }

    fn release(&self, token: &LeaseToken) -> Result<(), StoreError> {
        self.state().queue.release(token);
        Ok(())
    }

    fn next_due(&self, kind: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.state().queue.next_due(kind))
    }

    fn hasten(&self, kind: &str, key: &[u8], due: Timestamp) -> Result<bool, StoreError> {
        Ok(self.state().queue.hasten(kind, key, due))
    }

    fn job(&self, kind: &str, key: &[u8]) -> Result<Option<Job>, StoreError> {
        Ok(self.state().queue.job(kind, key))
    }

    fn jobs(&self, limit: usize) -> Result<Vec<Job>, StoreError> {
        Ok(self.state().queue.jobs(limit))
    }
}
