//! The store on disk: sled 0.34, made durable.
//!
//! Rule: the only file that imports sled, and the only one that knows what sled does not promise:
//! - `flush` leaves the data in the page cache; after a power cut it is gone. What counts is `fdatasync` on the `db` file,
//!   through a handle of our own that is older than any write, so that it learns of every failed write-back.
//! - sled syncs no folder, so `create` does, and only then gives the store its name.
//! - sled makes an empty store where it finds none, or where it cannot read one; `create` and `open` are therefore two
//!   functions, and `open` wants to see the head that `create` wrote.
//! - A page above a quarter of a segment goes to a file in `blobs/` that nothing syncs. A page holds some 20 values, so
//!   the segments are large enough for 20 of the largest, and a file in `blobs/` fails the commit.
//! - A start writes a snapshot. One that a full disk or a kill left unfinished would keep sled from ever opening the store
//!   again, because it takes the newest file for whole; so `open` removes those. All of it stands in `db`, too.
//! - Each write has a price of its own, whatever its size: leaves of one commit stand side by side in runs.
//! - A batch is atomic within one tree: there is one tree, and a space is the first byte of a key.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::nudge::Nudge;
use super::queue::{Outcome, Queue};
use super::{
    CommitError, Head, Job, Lease, LeaseToken, Space, Store, StoreError, Versioned, WriteSet, check_records,
    check_shape, job_key, runs,
};
use crate::clock::Timestamp;
use crate::durable;
use crate::id::Digest;

/// A store in a folder on disk.
#[derive(Debug)]
pub struct SledStore {
    dir: PathBuf,
    tree: sled::Db,
    sync: Sync,
    /// Held from the first check of a commit to its end.
    writer: Mutex<Writer>,
    /// What readers may see. Held for writing while a batch is in sled but not yet on the disk.
    durable: RwLock<Head>,
    /// Set once, by the commit that failed.
    failure: OnceLock<StoreError>,
    nudge: Nudge,
}

#[derive(Debug)]
struct Writer {
    commits: u64,
    queue: Queue,
}

/// How a commit gets to the disk.
#[derive(Debug)]
enum Sync {
    Fdatasync(File),
    /// What sled alone does. Exists so that the power-cut test can show that it sees the loss.
    LeftOut,
}

impl SledStore {
    /// Makes an empty store in a new folder, whose parent exists, and opens it.
    ///
    /// Refuses a path where anything is. A crash on the way leaves no store at all.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        if fs::symlink_metadata(dir).is_ok() {
            return Err(StoreError::Exists { path: dir.display().to_string() });
        }
        let name = dir.file_name().ok_or(StoreError::Absent { path: dir.display().to_string() })?;
        let unfinished = dir.with_file_name(format!(".{}.new", name.display()));
        make_empty(&unfinished, dir).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists { path: dir.display().to_string() },
            _ => failed("making the store", &error),
        })?;
        Self::open(dir)
    }

    /// Opens the store in a folder.
    ///
    /// Refuses a folder that is not there, is not a store, or has lost its content; and one that is open in another
    /// process, after waiting two seconds for that process to end.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let handle = handle_before_sled(dir)?;
        Self::open_with(dir, Sync::Fdatasync(handle))
    }

    /// Opens a store that loses acknowledged commits in a power cut, as sled does by itself.
    ///
    /// For the test of the power-cut test, and for nothing else: a test that cannot fail shows nothing.
    #[doc(hidden)]
    pub fn open_without_fdatasync(dir: &Path) -> Result<Self, StoreError> {
        drop(handle_before_sled(dir)?);
        Self::open_with(dir, Sync::LeftOut)
    }

    fn open_with(dir: &Path, sync: Sync) -> Result<Self, StoreError> {
        let path = || dir.display().to_string();
        let tree = guarded("opening the store", || settings(dir).open())?;
        no_blobs(dir)?;
        let head = guarded("reading the head", || tree.get(HEAD_KEY))?;
        let (commits, head) = match head {
            Some(bytes) => read_head(&bytes)?,
            None => return Err(StoreError::Emptied { path: path() }),
        };
        let last = guarded("reading the last leaf", || tree.scan_prefix([LEAF]).next_back().transpose())?;
        let size = last.map_or(Ok(0), |(key, run)| Ok(read_leaf_key(&key)? + read_run(&run)?.len() as u64))?;
        if size != head.size {
            return Err(StoreError::Damaged { what: format!("the head says {} leaves, there are {size}", head.size) });
        }
        let queue = read_queue(&tree)?;
        // A write that fails while another thread's buffer is being closed is noted by sled, but whoever waits for that
        // buffer is not woken, and would wait for ever. A second flush finds the note, and wakes the first.
        let second = tree.clone();
        let nudge = Nudge::start(NUDGE_AFTER, move || drop(second.flush()));
        Ok(Self {
            dir: dir.to_owned(),
            tree,
            nudge: nudge.map_err(|error| failed("starting a thread", &error))?,
            sync,
            writer: Mutex::new(Writer { commits, queue }),
            durable: RwLock::new(head),
            failure: OnceLock::new(),
        })
    }

    /// Refuses after a failed commit.
    fn alive(&self) -> Result<(), StoreError> {
        self.failure.get().map_or(Ok(()), |first| Err(StoreError::Stopped(Box::new(first.clone()))))
    }

    fn stop(&self, error: StoreError) -> StoreError {
        tracing::error!(%error, "the store stopped");
        // A second failure adds nothing.
        drop(self.failure.set(error.clone()));
        error
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let writer = self.writer.lock().map_err(|_| self.stop(panicked("committing")))?;
        self.alive()?;
        Ok(writer)
    }

    /// The durable head; while it is held, nothing that is not durable can be seen.
    fn readable(&self) -> Result<RwLockReadGuard<'_, Head>, StoreError> {
        let head = self.durable.read().map_err(|_| self.stop(panicked("committing")))?;
        self.alive()?;
        Ok(head)
    }

    fn record(&self, space: Space, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        guarded("reading a record", || self.tree.get(record_key(space, key)))?
            .map(|bytes| read_record(&bytes))
            .transpose()
    }

    /// Puts a batch on the disk. Whoever calls this stops the store on an error.
    fn make_durable(&self, batch: sled::Batch) -> Result<(), StoreError> {
        let busy = self.nudge.busy();
        guarded("committing", || {
            self.tree.apply_batch(batch)?;
            self.tree.flush()
        })?;
        drop(busy);
        match &self.sync {
            Sync::Fdatasync(db) => db.sync_data().map_err(|error| failed("syncing", &error))?,
            Sync::LeftOut => {}
        }
        no_blobs(&self.dir)
    }
}

impl Store for SledStore {
    fn head(&self) -> Result<Head, StoreError> {
        Ok(*self.readable()?)
    }

    fn commit(&self, set: WriteSet) -> Result<(), CommitError> {
        check_shape(&set)?;
        let mut writer = self.writer()?;
        let head = *self.readable()?;
        if set.expect_head != head {
            return Err(CommitError::HeadMoved(head));
        }
        check_records(&set, |space, key| {
            let found = self.record(space, key).map_err(|error| self.stop(error))?;
            Ok(found.map(|found| found.version))
        })?;
        writer.queue.check(&set)?;
        let jobs = writer.queue.outcome(&set);
        let commits = writer.commits + 1;
        let (head_after, batch) = (set.head_after, batch_of(set, commits, &jobs));
        let mut durable = self.durable.write().map_err(|_| self.stop(panicked("committing")))?;
        self.make_durable(batch).map_err(|error| self.stop(error))?;
        *durable = head_after;
        writer.commits = commits;
        writer.queue.apply(jobs);
        Ok(())
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        // Leaves never change, so a commit need not wait for this scan.
        let size = self.readable()?.size;
        guarded_or("reading leaves", || {
            let mut leaves = Vec::new();
            let end = size.min(from.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX)));
            if from >= end {
                return Ok(leaves);
            }
            let sled = |error| failed("reading leaves", &error);
            // The run that holds the first one may begin with an earlier one.
            let held_by = self.tree.range(leaf_key(0)..=leaf_key(from)).next_back().transpose().map_err(sled)?;
            let begin = held_by.map_or(Ok(from), |(key, _)| read_leaf_key(&key))?;
            let mut next = begin;
            for entry in self.tree.range(leaf_key(begin)..leaf_key(end)) {
                let (key, run) = entry.map_err(sled)?;
                if read_leaf_key(&key)? != next {
                    return Err(StoreError::Damaged { what: format!("leaf {next} is missing") });
                }
                for leaf in read_run(&run)? {
                    if (from..end).contains(&next) {
                        leaves.push((next, leaf.to_vec()));
                    }
                    next += 1;
                }
            }
            if next < end {
                return Err(StoreError::Damaged { what: format!("fewer leaves than the head says, {size}") });
            }
            Ok(leaves)
        })
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        let _durable = self.readable()?;
        if space == Space::Queue { Ok(None) } else { self.record(space, key) }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        let _durable = self.readable()?;
        if space == Space::Queue {
            return Ok(Vec::new());
        }
        let prefix = record_key(space, prefix);
        // The first key that is longer than `after` is `after` with a zero byte.
        let after = after.map(|after| [&record_key(space, after)[..], &[0]].concat());
        let from = after.map_or_else(|| prefix.clone(), |after| after.max(prefix.clone()));
        guarded_or("scanning", || {
            let mut found = Vec::new();
            for entry in self.tree.range(from..).take(limit) {
                let (key, bytes) = entry.map_err(|error| failed("scanning", &error))?;
                if !key.starts_with(&prefix) {
                    break;
                }
                found.push((key[1..].to_vec(), read_record(&bytes)?));
            }
            Ok(found)
        })
    }

    fn claim(&self, kind: &str, owner: &str, ttl_s: u32, now: Timestamp) -> Result<Option<Lease>, StoreError> {
        Ok(self.writer()?.queue.claim(kind, owner, ttl_s, now))
    }

    fn extend(&self, token: &LeaseToken, ttl_s: u32, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.writer()?.queue.extend(token, ttl_s, now))
    }

    fn release(&self, token: &LeaseToken) -> Result<(), StoreError> {
        self.writer()?.queue.release(token);
        Ok(())
    }

    fn next_due(&self, kind: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.writer()?.queue.next_due(kind))
    }

    fn hasten(&self, kind: &str, key: &[u8], due: Timestamp) -> Result<bool, StoreError> {
        Ok(self.writer()?.queue.hasten(kind, key, due))
    }

    fn job(&self, kind: &str, key: &[u8]) -> Result<Option<Job>, StoreError> {
        Ok(self.writer()?.queue.job(kind, key))
    }

    fn jobs(&self, limit: usize) -> Result<Vec<Job>, StoreError> {
        Ok(self.writer()?.queue.jobs(limit))
    }
}

/// The same for every open of a store: sled refuses another segment size than the one it was made with.
fn settings(dir: &Path) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        // Every commit flushes; the flusher's thread would only add noise.
        .flush_every_ms(None)
}

/// Makes an empty store under a name that nobody opens, and moves it into place once all of it is on the disk.
fn make_empty(unfinished: &Path, dir: &Path) -> io::Result<()> {
    if unfinished.exists() {
        // Left by a crash: it never was a store.
        fs::remove_dir_all(unfinished)?;
    }
    durable::create_dir(unfinished, 0o700)?;
    let db = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished.join("db"))?;
    let made = guarded("making the store", || {
        let tree = settings(unfinished).open()?;
        tree.insert(HEAD_KEY, head_bytes(0, &Head::EMPTY))?;
        tree.flush().map(drop)
    });
    made.map_err(io::Error::other)?;
    db.sync_all()?;
    for entry in fs::read_dir(unfinished)? {
        File::open(entry?.path())?.sync_all()?;
    }
    durable::sync_dir(unfinished)?;
    durable::move_new(unfinished, dir)
}

/// Looks at what is there before sled would put an empty store in its place.
fn handle_before_sled(dir: &Path) -> Result<File, StoreError> {
    let path = || dir.display().to_string();
    if !dir.exists() {
        return Err(StoreError::Absent { path: path() });
    }
    for part in ["conf", "db"] {
        let length = fs::metadata(dir.join(part)).map(|metadata| metadata.len());
        if !length.is_ok_and(|length| length > 0) {
            return Err(StoreError::Emptied { path: path() });
        }
    }
    no_blobs(dir)?;
    let opened = OpenOptions::new().read(true).write(true).open(dir.join("db"));
    let db = opened.map_err(|error| failed("opening the store", &error))?;
    wait_for_lock(&db, dir)?;
    remove_unfinished_snapshots(dir).map_err(|error| failed("removing an unfinished snapshot", &error))?;
    // Only a look: the lock that counts is the one that sled takes through its own handle.
    db.unlock().map_err(|error| failed("locking the store", &error))?;
    Ok(db)
}

/// Waits until nobody has the store open: sled's threads keep its lock for a moment after the last handle is dropped.
fn wait_for_lock(db: &File, dir: &Path) -> Result<(), StoreError> {
    for _ in 0..LOCK_TRIES {
        match db.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(failed("locking the store", &error)),
        }
    }
    Err(StoreError::InUse { path: dir.display().to_string() })
}

/// Removes what a start left that ended while it wrote. Nobody else may have the store open.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn no_blobs(dir: &Path) -> Result<(), StoreError> {
    let mut blobs = fs::read_dir(dir.join("blobs")).map_err(|error| failed("looking at blobs/", &error))?;
    if blobs.next().is_some() {
        return Err(StoreError::Damaged { what: "a file in blobs/, which nothing syncs".to_owned() });
    }
    Ok(())
}

fn batch_of(set: WriteSet, commits: u64, jobs: &Outcome) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (at, run) in runs::pack(&set.append) {
        batch.insert(&leaf_key(set.expect_head.size + at), run);
    }
    for put in set.puts {
        batch.insert(record_key(put.space, &put.key), [&commits.to_be_bytes()[..], &put.value].concat());
    }
    for delete in set.deletes {
        batch.remove(record_key(delete.space, &delete.key));
    }
    for ((kind, key), job) in jobs {
        let key = record_key(Space::Queue, &job_key(kind, key));
        match job {
            Some(job) => batch.insert(key, job_bytes(job)),
            None => batch.remove(key),
        }
    }
    batch.insert(HEAD_KEY, head_bytes(commits, &set.head_after));
    batch
}

fn read_queue(tree: &sled::Db) -> Result<Queue, StoreError> {
    guarded_or("reading the queue", || {
        let mut queue = Queue::default();
        for entry in tree.scan_prefix([Space::Queue.prefix()]) {
            let (key, bytes) = entry.map_err(|error| failed("reading the queue", &error))?;
            let job = read_job(&key[1..], &bytes);
            queue.put_in(job.ok_or_else(|| StoreError::Damaged { what: "a job does not read".to_owned() })?);
        }
        Ok(queue)
    })
}

fn record_key(space: Space, key: &[u8]) -> Vec<u8> {
    [&[space.prefix()], key].concat()
}

fn leaf_key(seq: u64) -> [u8; 9] {
    let mut key = [LEAF; 9];
    key[1..].copy_from_slice(&seq.to_be_bytes());
    key
}

fn read_leaf_key(key: &[u8]) -> Result<u64, StoreError> {
    let seq = key.strip_prefix(&[LEAF]).and_then(|seq| seq.try_into().ok()).map(u64::from_be_bytes);
    seq.ok_or_else(|| StoreError::Damaged { what: "a leaf has no number".to_owned() })
}

fn read_run(run: &[u8]) -> Result<Vec<&[u8]>, StoreError> {
    runs::unpack(run).ok_or_else(|| StoreError::Damaged { what: "leaves do not read".to_owned() })
}

/// The number of commits, the number of leaves, the hash of the last leaf.
fn head_bytes(commits: u64, head: &Head) -> Vec<u8> {
    [&commits.to_be_bytes()[..], &head.size.to_be_bytes(), head.leaf.as_bytes()].concat()
}

fn read_head(bytes: &[u8]) -> Result<(u64, Head), StoreError> {
    let parts = || {
        let (commits, rest) = bytes.split_first_chunk()?;
        let (size, leaf) = rest.split_first_chunk()?;
        let leaf = Digest::from_bytes(leaf.try_into().ok()?);
        Some((u64::from_be_bytes(*commits), Head { size: u64::from_be_bytes(*size), leaf }))
    };
    parts().ok_or_else(|| StoreError::Damaged { what: "the head does not read".to_owned() })
}

/// The version, then the value.
fn read_record(bytes: &[u8]) -> Result<Versioned, StoreError> {
    let parts = bytes.split_first_chunk();
    let (version, value) = parts.ok_or_else(|| StoreError::Damaged { what: "a record has no version".to_owned() })?;
    Ok(Versioned { version: u64::from_be_bytes(*version), value: value.to_vec() })
}

/// Due in microseconds since 1970, then the priority. Kind and key stand in the key.
fn job_bytes(job: &Job) -> Vec<u8> {
    [&job.due.as_microsecond().to_be_bytes()[..], &[job.priority]].concat()
}

fn read_job(key: &[u8], bytes: &[u8]) -> Option<Job> {
    let (length, rest) = key.split_first()?;
    let (kind, key) = rest.split_at_checked(usize::from(*length))?;
    let (due, priority) = bytes.split_first_chunk()?;
    let [priority] = priority else { return None };
    Some(Job {
        kind: String::from_utf8(kind.to_vec()).ok()?,
        key: key.to_vec(),
        due: Timestamp::from_microsecond(i64::from_be_bytes(*due)).ok()?,
        priority: *priority,
    })
}

/// Calls into sled, which reports some damage as an error and some by a panic.
fn guarded<T>(doing: &'static str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    guarded_or(doing, || call().map_err(|error| failed(doing, &error)))
}

fn guarded_or<T>(doing: &'static str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(panicked(doing)))
}

fn panicked(doing: &'static str) -> StoreError {
    StoreError::Failed { doing, why: "it panicked".to_owned() }
}

fn failed(doing: &'static str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Failed { doing, why: error.to_string() }
}

const HEAD_KEY: &[u8] = b"H";
const LEAF: u8 = b'L';

/// A quarter of it holds 20 values of the largest size with their keys, the most that sled merges into one page.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// The process holds two to ten times as much in memory.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// A commit that takes longer is looked after.
const NUDGE_AFTER: Duration = Duration::from_secs(2);
/// Together two seconds.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn three_leaves(dir: &Path) -> SledStore {
        let store = SledStore::create(dir).expect("a store");
        let mut head = Head::EMPTY;
        for leaf in [b"a", b"b", b"c"] {
            let head_after = Head { size: head.size + 1, leaf: Digest::of(leaf) };
            store
                .commit(WriteSet { append: vec![leaf.to_vec()], head_after, ..WriteSet::at(head) })
                .expect("committed");
            head = head_after;
        }
        store
    }

    #[test]
    fn a_leaf_that_is_missing_is_damage() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("store");
        let store = three_leaves(&path);
        store.tree.remove(leaf_key(1)).expect("removed");
        for (from, limit) in [(0, 10), (0, 2), (1, 1)] {
            let outcome = store.read(from, limit);
            assert!(matches!(outcome, Err(StoreError::Damaged { .. })), "{limit} from {from}: {outcome:?}");
        }
        assert_eq!(store.read(2, 1).expect("read"), [(2, b"c".to_vec())]);

        store.tree.remove(leaf_key(2)).expect("removed");
        store.tree.flush().expect("flushed");
        assert!(matches!(store.read(2, 1), Err(StoreError::Damaged { .. })));
        drop(store);
        let outcome = SledStore::open(&path);
        assert!(matches!(outcome, Err(StoreError::Damaged { .. })), "{outcome:?}");
    }

    #[test]
    fn a_panic_while_committing_stops_the_store() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = three_leaves(&dir.path().join("store"));
        let outcome: Result<(), _> = guarded("committing", || panic!("as sled does"));
        let error = store.stop(outcome.expect_err("an error"));
        assert!(matches!(error, StoreError::Failed { doing: "committing", .. }));
        assert!(matches!(store.head(), Err(StoreError::Stopped(first)) if first.to_string() == error.to_string()));
    }

    #[test]
    fn a_commit_that_cannot_be_synced_is_not_acknowledged_and_stops_the_store() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = three_leaves(&dir.path().join("store"));
        // A pipe cannot be synced: what a device that fails says, as far as a process can arrange it.
        let (_reader, pipe) = io::pipe().expect("a pipe");
        store.sync = Sync::Fdatasync(File::from(std::os::fd::OwnedFd::from(pipe)));
        let head = store.head().expect("a head");
        let set = WriteSet { append: vec![b"d".to_vec()], head_after: Head { size: 4, ..head }, ..WriteSet::at(head) };
        let outcome = store.commit(set);
        assert!(matches!(outcome, Err(CommitError::Store(StoreError::Failed { doing: "syncing", .. }))), "{outcome:?}");
        assert!(matches!(store.head(), Err(StoreError::Stopped(_))));
        assert!(matches!(store.read(0, 4), Err(StoreError::Stopped(_))));
    }
}
