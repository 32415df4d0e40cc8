//! The queue as every engine holds it in memory: the jobs in the order in which they are claimed, and the leases.
//!
//! Rule: the engine makes jobs durable, this decides who holds them. Leases are never written, since one process owns
//! the store: when it dies, every job is free.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::{CommitError, Job, Lease, LeaseToken, Settle, Space, WriteSet, job_key};
use crate::clock::Timestamp;

/// A job's name: its kind and its key.
type Name = (String, Vec<u8>);

/// What a write set leaves of the jobs that it names: a job to write, or none under this name.
pub(in crate::store) type Outcome = Vec<(Name, Option<Job>)>;

/// The jobs of one store.
#[derive(Debug, Default)]
pub(in crate::store) struct Queue {
    slots: BTreeMap<Name, Slot>,
    /// Free jobs: kind, urgency, due, key.
    free: BTreeSet<(String, Reverse<u8>, Timestamp, Vec<u8>)>,
    /// Held jobs: end of the lease, kind, key.
    held: BTreeSet<(Timestamp, Name)>,
    /// When each job can be claimed: kind, time, key.
    times: BTreeSet<(String, Timestamp, Vec<u8>)>,
    /// Serial numbers given to leases so far.
    serials: u64,
}

#[derive(Debug)]
struct Slot {
    job: Job,
    /// The latest lease. It may have run out and still counts until the next claim.
    lease: Option<Held>,
}

#[derive(Debug)]
struct Held {
    serial: u64,
    owner: String,
    until: Timestamp,
    /// Whether the job stands among the free ones again.
    lapsed: bool,
}

impl Queue {
    /// Checks what a write set says about jobs; changes nothing.
    pub(in crate::store) fn check(&self, set: &WriteSet) -> Result<(), CommitError> {
        let failed =
            |kind: &str, key: &[u8]| Err(CommitError::Precondition { space: Space::Queue, key: job_key(kind, key) });
        for job in &set.enqueue {
            if self.slot(&job.kind, &job.key).is_some() {
                return failed(&job.kind, &job.key);
            }
        }
        for settle in &set.settle {
            let (kind, key) = settle.job();
            let fits = match settle {
                Settle::Done(token) | Settle::Again { token, .. } => self.holds(token),
                Settle::Due { .. } | Settle::Cancel { .. } => self.slot(kind, key).is_some(),
            };
            if !fits {
                return failed(kind, key);
            }
        }
        Ok(())
    }

    /// The outcome of a checked write set.
    pub(in crate::store) fn outcome(&self, set: &WriteSet) -> Outcome {
        let added = set.enqueue.iter().map(|job| (name_of(job), Some(held_form(job.clone()))));
        let settled = set.settle.iter().map(|settle| {
            let (kind, key) = settle.job();
            let left = match settle {
                Settle::Done(_) | Settle::Cancel { .. } => None,
                Settle::Again { due, .. } | Settle::Due { due, .. } => {
                    self.slot(kind, key).map(|slot| held_form(Job { due: *due, ..slot.job.clone() }))
                }
            };
            ((kind.to_owned(), key.to_vec()), left)
        });
        added.chain(settled).collect()
    }

    /// Takes over an outcome that the engine has made durable. Every job in it is free after.
    pub(in crate::store) fn apply(&mut self, outcome: Outcome) {
        for (name, job) in outcome {
            self.take_out(&name);
            if let Some(job) = job {
                self.put_in(job);
            }
        }
    }

    /// See [`super::Store::claim`].
    pub(in crate::store) fn claim(&mut self, kind: &str, owner: &str, ttl_s: u32, now: Timestamp) -> Option<Lease> {
        self.free_lapsed(now);
        let name = self.most_urgent(kind, now)?;
        let mut slot = self.take_out(&name)?;
        self.serials += 1;
        let until = after(now, ttl_s);
        let token = LeaseToken { kind: name.0.clone(), key: name.1.clone(), serial: self.serials };
        slot.lease = Some(Held { serial: self.serials, owner: owner.to_owned(), until, lapsed: false });
        let job = slot.job.clone();
        self.insert(slot);
        Some(Lease { token, job, until })
    }

    /// See [`super::Store::extend`].
    pub(in crate::store) fn extend(&mut self, token: &LeaseToken, ttl_s: u32, now: Timestamp) -> Option<Timestamp> {
        if !self.holds(token) {
            return None;
        }
        let mut slot = self.take_out(&(token.kind.clone(), token.key.clone()))?;
        let until = after(now, ttl_s);
        if let Some(held) = &mut slot.lease {
            held.until = until;
            held.lapsed = false;
        }
        self.insert(slot);
        Some(until)
    }

    /// See [`super::Store::release`].
    pub(in crate::store) fn release(&mut self, token: &LeaseToken) {
        if self.holds(token)
            && let Some(slot) = self.take_out(&(token.kind.clone(), token.key.clone()))
        {
            self.put_in(slot.job);
        }
    }

    /// See [`super::Store::next_due`].
    pub(in crate::store) fn next_due(&self, kind: &str) -> Option<Timestamp> {
        let from = (kind.to_owned(), Timestamp::MIN, Vec::new());
        self.times.range(from..).next().filter(|(of, _, _)| of == kind).map(|(_, at, _)| *at)
    }

    /// See [`super::Store::hasten`].
    pub(in crate::store) fn hasten(&mut self, kind: &str, key: &[u8], due: Timestamp) -> bool {
        let is_meant = |slot: &Slot| slot.lease.is_none() && slot.job.due > due;
        if !self.slot(kind, key).is_some_and(is_meant) {
            return false;
        }
        let slot = self.take_out(&(kind.to_owned(), key.to_vec()));
        slot.map(|slot| self.put_in(Job { due, ..slot.job })).is_some()
    }

    /// See [`super::Store::job`].
    pub(in crate::store) fn job(&self, kind: &str, key: &[u8]) -> Option<Job> {
        self.slot(kind, key).map(|slot| slot.job.clone())
    }

    /// See [`super::Store::jobs`].
    pub(in crate::store) fn jobs(&self, limit: usize) -> Vec<Job> {
        self.slots.values().take(limit).map(|slot| slot.job.clone()).collect()
    }

    /// Adds a free job, such as one read from the disk.
    pub(in crate::store) fn put_in(&mut self, job: Job) {
        self.insert(Slot { job, lease: None });
    }

    fn slot(&self, kind: &str, key: &[u8]) -> Option<&Slot> {
        self.slots.get(&(kind.to_owned(), key.to_vec()))
    }

    fn holds(&self, token: &LeaseToken) -> bool {
        let held = self.slot(&token.kind, &token.key).and_then(|slot| slot.lease.as_ref());
        held.is_some_and(|held| held.serial == token.serial)
    }

    /// Puts jobs whose lease has run out among the free ones. Their holders may still settle them until another claims.
    fn free_lapsed(&mut self, now: Timestamp) {
        while let Some((until, name)) = self.held.first().cloned()
            && until <= now
        {
            if let Some(mut slot) = self.take_out(&name) {
                if let Some(held) = &mut slot.lease {
                    tracing::warn!(kind = %name.0, owner = %held.owner, "a lease ran out");
                    held.lapsed = true;
                }
                self.insert(slot);
            }
        }
    }

    fn most_urgent(&self, kind: &str, now: Timestamp) -> Option<Name> {
        let mut from = (kind.to_owned(), Reverse(u8::MAX), Timestamp::MIN, Vec::new());
        loop {
            // The longest due of the highest priority that is left.
            let (of, priority, due, key) = self.free.range(from..).next().filter(|(of, ..)| of == kind)?;
            if *due <= now {
                return Some((of.clone(), key.clone()));
            }
            let lower = priority.0.checked_sub(1)?;
            from = (kind.to_owned(), Reverse(lower), Timestamp::MIN, Vec::new());
        }
    }

    fn insert(&mut self, slot: Slot) {
        let name = name_of(&slot.job);
        let at = match &slot.lease {
            Some(held) if !held.lapsed => {
                self.held.insert((held.until, name.clone()));
                slot.job.due.max(held.until)
            }
            _ => {
                self.free.insert((name.0.clone(), Reverse(slot.job.priority), slot.job.due, name.1.clone()));
                slot.job.due
            }
        };
        self.times.insert((name.0.clone(), at, name.1.clone()));
        self.slots.insert(name, slot);
    }

    fn take_out(&mut self, name: &Name) -> Option<Slot> {
        let slot = self.slots.remove(name)?;
        let at = match &slot.lease {
            Some(held) if !held.lapsed => {
                self.held.remove(&(held.until, name.clone()));
                slot.job.due.max(held.until)
            }
            _ => {
                self.free.remove(&(name.0.clone(), Reverse(slot.job.priority), slot.job.due, name.1.clone()));
                slot.job.due
            }
        };
        self.times.remove(&(name.0.clone(), at, name.1.clone()));
        Some(slot)
    }
}

fn name_of(job: &Job) -> Name {
    (job.kind.clone(), job.key.clone())
}

fn after(now: Timestamp, seconds: u32) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(Timestamp::MAX)
}

/// A job as the disk can hold it: due at a whole microsecond, so that it is the same after a restart.
fn held_form(job: Job) -> Job {
    let due = Timestamp::from_microsecond(job.due.as_microsecond()).unwrap_or(job.due);
    Job { due, ..job }
}
