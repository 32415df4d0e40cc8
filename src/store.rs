//! The storage seam: one write set, all of it or nothing, on the disk when `commit` returns.
//!
//! Rule: state changes, log leaves and queue changes travel in one [`WriteSet`]; there is no other way to write.

pub mod memory;
mod nudge;
mod queue;
mod runs;
pub mod sled;

use std::fmt;

use crate::clock::Timestamp;
use crate::id::Digest;
use crate::reason::Reason;

/// Declares the spaces with the byte that stands before their keys on disk.
macro_rules! spaces {
    ($($(#[$doc:meta])* $name:ident = $byte:literal;)+) => {
        /// A kind of record. Keys of two spaces never meet.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Space { $($(#[$doc])* $name,)+ }

        impl Space {
            /// Every space.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The byte before every key of this space on disk; once written, it never changes its meaning.
            pub const fn prefix(self) -> u8 {
                match self { $(Self::$name => $byte),+ }
            }
        }
    };
}

// `L` (leaves) and `H` (the head) are taken by the engines.
spaces! {
    /// Details of log entries, sealed under a subject's key; key: sequence number, big-endian.
    Detail = b'D';
    /// The gateway's own notes, such as the saved edge of the tree.
    Meta = b'M';
    /// Partners; key: institution id.
    Partner = b'P';
    /// Consents; key: the subject and consent id, so that a patient's lie side by side.
    Consent = b'C';
    /// Cases; key: case id.
    Case = b'A';
    /// Bundles on their way out; key: bundle id.
    Bundle = b'B';
    /// Bundles that came in; key: institution id and bundle id.
    Inbox = b'I';
    /// Transfers that are coming in; key: institution id, bundle id and digest.
    Transfer = b'T';
    /// Policy sets that were in force; key: digest.
    Policy = b'Y';
    /// What names or describes a person, in pieces under that person's key; key: the subject, then the space and key of its
    /// record.
    Sealed = b'Z';
    /// Ways to find a record by something else than its key.
    Index = b'X';
    /// Places of entries in the log, put by the log itself.
    Stamp = b'S';
    /// Signed checkpoints of the log's past; key: how many entries they cover, big-endian.
    Note = b'N';
    /// Full tiles of the log's tree; key: level and number, big-endian.
    Tile = b'W';
    /// The queue: written by [`WriteSet::enqueue`] and [`WriteSet::settle`] only, read by [`Store::job`] and
    /// [`Store::jobs`] only.
    Queue = b'Q';
}

/// The longest leaf, in bytes.
pub const LEAF_BYTES_MAX: usize = 16 * 1024;
/// The longest value, in bytes. What is larger belongs in the vault.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// The most that one write set may hold: leaves, puts, deletes and queue changes together.
pub const CHANGES_MAX: usize = 4096;

/// Where the log stands: how many leaves there are, and the hash of the last one.
///
/// The engines keep it and compare it; what is hashed and how is the log's business.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The number of leaves.
    pub size: u64,
    /// The hash of the last leaf, 32 zero bytes when there is none.
    pub leaf: Digest,
}

impl Head {
    /// The head of a store without a leaf.
    pub const EMPTY: Self = Self { size: 0, leaf: Digest::from_bytes([0; 32]) };
}

/// A value with its version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Versioned {
    /// The number of the commit that wrote it: another write, even one that follows a delete, is another number.
    pub version: u64,
    /// The bytes.
    pub value: Vec<u8>,
}

/// What must be true of a key for the write set to be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no value.
    Absent,
    /// There is a value, and it has this version.
    Version(u64),
}

impl Expect {
    pub(in crate::store) fn holds(self, found: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Version(version) => found == Some(version),
        }
    }
}

/// Writes one value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Put {
    /// The space.
    pub space: Space,
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: Vec<u8>,
    /// What must be true of the key before.
    pub expect: Expect,
    /// The value, at most [`VALUE_BYTES_MAX`] bytes.
    pub value: Vec<u8>,
}

/// Removes one value. Removing what is not there is no error unless `expect` says so.
///
/// This frees the key; it does not erase: engines keep old bytes on disk for as long as they like. What a person can
/// ask to have erased must be stored under that person's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delete {
    /// The space.
    pub space: Space,
    /// The key.
    pub key: Vec<u8>,
    /// What must be true of the key before.
    pub expect: Expect,
}

/// A thing to do at a time. There is one per kind and key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// What is to be done, 1 to 255 bytes, such as `deliver`.
    pub kind: String,
    /// To what: kind and key together at most [`KEY_BYTES_MAX`] - 1 bytes.
    pub key: Vec<u8>,
    /// Not before this time; held in whole microseconds.
    pub due: Timestamp,
    /// Higher goes first.
    pub priority: u8,
}

/// Says that a worker holds a job. Means nothing after a restart, when every job is free again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseToken {
    kind: String,
    key: Vec<u8>,
    serial: u64,
}

impl LeaseToken {
    /// The job's kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The job's key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// A job in a worker's hands until a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// Shows that the job is held, to [`Store::extend`] and [`WriteSet::settle`].
    pub token: LeaseToken,
    /// The job.
    pub job: Job,
    /// After this time another may claim it.
    pub until: Timestamp,
}

/// What becomes of a job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settle {
    /// The holder has done it: it is gone.
    Done(LeaseToken),
    /// The holder could not do it: it is free, and due at another time.
    Again {
        /// The holder's token.
        token: LeaseToken,
        /// When it is due next.
        due: Timestamp,
    },
    /// It shall be due at another time, whoever holds it. There being no such job is a failed precondition.
    Due {
        /// The job's kind.
        kind: String,
        /// The job's key.
        key: Vec<u8>,
        /// When it is due.
        due: Timestamp,
    },
    /// It shall not be done any more, whoever holds it. There being no such job is a failed precondition.
    Cancel {
        /// The job's kind.
        kind: String,
        /// The job's key.
        key: Vec<u8>,
    },
}

impl Settle {
    pub(in crate::store) fn job(&self) -> (&str, &[u8]) {
        match self {
            Self::Done(token) | Self::Again { token, .. } => (&token.kind, &token.key),
            Self::Due { kind, key, .. } | Self::Cancel { kind, key } => (kind, key),
        }
    }
}

/// Changes that are made together or not at all.
///
/// A key, or a job, may be named once only: two changes of one thing have no order here, so a second mention is a
/// failed precondition. Whoever merges several callers' changes puts the second one into the next write set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriteSet {
    /// Where the log must stand now.
    pub expect_head: Head,
    /// Leaves to append, each 1 to [`LEAF_BYTES_MAX`] bytes. None is allowed.
    pub append: Vec<Vec<u8>>,
    /// Where the log stands after: `expect_head` itself when nothing is appended.
    pub head_after: Head,
    /// Values to write.
    pub puts: Vec<Put>,
    /// Values to remove.
    pub deletes: Vec<Delete>,
    /// Jobs to add; one that exists already is a failed precondition, named as [`Space::Queue`] and [`job_key`].
    pub enqueue: Vec<Job>,
    /// What becomes of jobs.
    pub settle: Vec<Settle>,
}

impl WriteSet {
    /// Nothing to do, with the log standing at `head`.
    pub const fn at(head: Head) -> Self {
        Self {
            expect_head: head,
            append: Vec::new(),
            head_after: head,
            puts: Vec::new(),
            deletes: Vec::new(),
            enqueue: Vec::new(),
            settle: Vec::new(),
        }
    }
}

/// The key under which a job stands in [`Space::Queue`], such as a failed precondition names it.
pub fn job_key(kind: &str, key: &[u8]) -> Vec<u8> {
    let length = u8::try_from(kind.len()).unwrap_or(u8::MAX);
    [&[length], kind.as_bytes(), key].concat()
}

/// Why a write set was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The log stands elsewhere: another wrote in between. Nothing changed; read the head and build anew.
    #[error("the log stands at {} leaves, not where the write set expects it", .0.size)]
    HeadMoved(Head),
    /// A key or a job is not as expected, or is named twice. Nothing changed.
    #[error("a record in {space:?} is not as the write set expects it")]
    Precondition {
        /// The space.
        space: Space,
        /// The key; for [`Space::Queue`] as [`job_key`] makes it.
        key: Vec<u8>,
    },
    /// The write set breaks a rule of the seam. Nothing changed; this is a mistake in the program.
    #[error("the write set is malformed: {0}")]
    Malformed(Malformed),
    /// The engine failed, and it is **not known** whether the write set was made. Stop the process: the ordinary start
    /// finds out. A retry could act on what the disk lost or write it twice.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which rule of the seam a write set breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// A leaf is empty or too long.
    #[error("a leaf of {bytes} bytes; 1 to {LEAF_BYTES_MAX} are allowed")]
    Leaf {
        /// Its length.
        bytes: usize,
    },
    /// A key is empty or too long.
    #[error("a key of {bytes} bytes; 1 to {KEY_BYTES_MAX} are allowed")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// A value is too long; large things belong in the vault.
    #[error("a value of {bytes} bytes in {space:?}; up to {VALUE_BYTES_MAX} are allowed")]
    Value {
        /// The space.
        space: Space,
        /// Its length.
        bytes: usize,
    },
    /// More changes than one write set may hold.
    #[error("{found} changes; up to {CHANGES_MAX} are allowed")]
    Changes {
        /// The number found.
        found: usize,
    },
    /// `head_after` does not follow from `expect_head` and the leaves.
    #[error("the head after it does not fit the leaves")]
    Head,
    /// A put or delete in [`Space::Queue`].
    #[error("the queue is changed by jobs only")]
    QueueSpace,
    /// A job's kind is empty or longer than 255 bytes.
    #[error("a job's kind of {bytes} bytes; 1 to 255 are allowed")]
    Kind {
        /// Its length.
        bytes: usize,
    },
}

/// Why a store could not be made, opened, read or written.
///
/// Cloned to every later caller once a commit has failed: a store that failed while committing never answers again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store here. Opening never makes one: an empty store beside a signed head would be a new beginning.
    #[error("there is no store at {path}")]
    Absent {
        /// Where it was looked for.
        path: String,
    },
    /// The store has lost its content: it came back empty, as sled does when it cannot read its file. An alarm, not a
    /// new beginning.
    #[error("the store at {path} has lost its content")]
    Emptied {
        /// Where it is.
        path: String,
    },
    /// There is something here already, so no store is made.
    #[error("there is something at {path} already; a store is made only where nothing is")]
    Exists {
        /// Where it should have been made.
        path: String,
    },
    /// Another process has it open.
    #[error("the store at {path} is open in another process")]
    InUse {
        /// Where it is.
        path: String,
    },
    /// What was read is not what this module writes.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What is wrong, without any content.
        what: String,
    },
    /// The operating system or the engine failed.
    #[error("the store failed while {doing}: {why}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What the engine said.
        why: String,
    },
    /// An earlier commit failed; the process must end.
    #[error("the store stopped after an earlier failure: {0}")]
    Stopped(Box<StoreError>),
}

impl StoreError {
    /// The code for a person.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Absent { .. } | Self::Emptied { .. } => Reason::StoreRolledBack,
            Self::Exists { .. } | Self::InUse { .. } => Reason::Conflict,
            Self::Damaged { .. } | Self::Failed { .. } => Reason::Internal,
            Self::Stopped(first) => first.reason(),
        }
    }
}

/// Where the log, the records and the queue are kept.
///
/// The methods block, and any thread may call any of them at any time. Reads see whole write sets: a value of one, then
/// a value of a later one, never part of one inside a single call. Only one process has a store open.
pub trait Store: Send + Sync + fmt::Debug {
    /// Where the log stands, as of the last commit.
    fn head(&self) -> Result<Head, StoreError>;

    /// Makes a write set.
    ///
    /// On `Ok` all of it is on the disk and stays after a power cut; on [`CommitError::HeadMoved`],
    /// [`CommitError::Precondition`] and [`CommitError::Malformed`] none of it is, and the caller may build another. On
    /// [`CommitError::Store`] nobody knows, the store answers nothing any more, and the caller must not try again.
    ///
    /// Callers may race: with one expected head exactly one of them wins. Each call costs a sync of the disk, so callers
    /// who have much to write should merge it.
    fn commit(&self, set: WriteSet) -> Result<(), CommitError>;

    /// Up to `limit` leaves in order, from sequence number `from` on, each with its number. Fewer than `limit` only at
    /// the end of the log; a gap in the numbers is [`StoreError::Damaged`].
    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// One value.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Versioned>, StoreError>;

    /// Up to `limit` values whose keys start with `prefix`, in the order of their keys' bytes, after the key `after`
    /// (itself left out; it need not exist). The last key handed back is the `after` of the next page.
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError>;

    /// Takes the job of this kind that is due and free: the highest priority, then the longest due. `None`: there is
    /// none now, [`Store::next_due`] says when to ask again.
    ///
    /// The lease lives in memory only. It runs out `ttl_s` seconds after `now`; from then on another may claim the job,
    /// and once another has, the token is stale. A holder may therefore see a job done by another: what a job does must
    /// bear being begun twice.
    fn claim(&self, kind: &str, owner: &str, ttl_s: u32, now: Timestamp) -> Result<Option<Lease>, StoreError>;

    /// Lets a lease run until `ttl_s` seconds after `now`. `None`: the token is stale, so the holder should stop.
    fn extend(&self, token: &LeaseToken, ttl_s: u32, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Gives a job back unchanged, at once. A stale token changes nothing.
    fn release(&self, token: &LeaseToken) -> Result<(), StoreError>;

    /// The first time at which a job of this kind can be claimed: now or in the past when one is free and due, the end of
    /// its lease when it is held. `None`: there is no job of this kind.
    fn next_due(&self, kind: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Makes a free job due earlier than was committed, until it is settled or the store is opened again. A job that is
    /// held, is gone or is due by then stays as it is. Says whether there was one.
    fn hasten(&self, kind: &str, key: &[u8], due: Timestamp) -> Result<bool, StoreError>;

    /// One job, free or held.
    fn job(&self, kind: &str, key: &[u8]) -> Result<Option<Job>, StoreError>;

    /// Up to `limit` jobs of all kinds, free and held, ordered by kind and key.
    fn jobs(&self, limit: usize) -> Result<Vec<Job>, StoreError>;
}

/// Checks the rules that need no look into the store; the same for every engine.
fn check_shape(set: &WriteSet) -> Result<(), CommitError> {
    let malformed = |rule| Err(CommitError::Malformed(rule));
    let changes = set.append.len() + set.puts.len() + set.deletes.len() + set.enqueue.len() + set.settle.len();
    if changes > CHANGES_MAX {
        return malformed(Malformed::Changes { found: changes });
    }
    for leaf in &set.append {
        if leaf.is_empty() || leaf.len() > LEAF_BYTES_MAX {
            return malformed(Malformed::Leaf { bytes: leaf.len() });
        }
    }
    let size_after = u64::try_from(set.append.len()).ok().and_then(|more| set.expect_head.size.checked_add(more));
    if size_after != Some(set.head_after.size) || (set.append.is_empty() && set.expect_head != set.head_after) {
        return malformed(Malformed::Head);
    }
    for put in &set.puts {
        if put.value.len() > VALUE_BYTES_MAX {
            return malformed(Malformed::Value { space: put.space, bytes: put.value.len() });
        }
    }
    for job in &set.enqueue {
        if job.kind.is_empty() || job.kind.len() > usize::from(u8::MAX) {
            return malformed(Malformed::Kind { bytes: job.kind.len() });
        }
    }
    let mut touched = std::collections::BTreeSet::new();
    let records = set.puts.iter().map(|put| (put.space, put.key.as_slice()));
    let removed = set.deletes.iter().map(|delete| (delete.space, delete.key.as_slice()));
    for (space, key) in records.chain(removed) {
        if space == Space::Queue {
            return malformed(Malformed::QueueSpace);
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return malformed(Malformed::Key { bytes: key.len() });
        }
        if !touched.insert((space, key.to_vec())) {
            return Err(CommitError::Precondition { space, key: key.to_vec() });
        }
    }
    let enqueued = set.enqueue.iter().map(|job| (job.kind.as_str(), job.key.as_slice()));
    for (kind, key) in enqueued.chain(set.settle.iter().map(Settle::job)) {
        let key = job_key(kind, key);
        if key.len() > KEY_BYTES_MAX {
            return malformed(Malformed::Key { bytes: key.len() });
        }
        if !touched.insert((Space::Queue, key.clone())) {
            return Err(CommitError::Precondition { space: Space::Queue, key });
        }
    }
    Ok(())
}

/// Checks what a write set expects of records; `version` looks one up. The same for every engine.
fn check_records(
    set: &WriteSet,
    version: impl Fn(Space, &[u8]) -> Result<Option<u64>, StoreError>,
) -> Result<(), CommitError> {
    let puts = set.puts.iter().map(|put| (put.space, &put.key, put.expect));
    let deletes = set.deletes.iter().map(|delete| (delete.space, &delete.key, delete.expect));
    for (space, key, expect) in puts.chain(deletes) {
        if expect != Expect::Any && !expect.holds(version(space, key)?) {
            return Err(CommitError::Precondition { space, key: key.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_differ_and_leave_the_engines_their_own() {
        let mut prefixes: Vec<_> = Space::ALL.iter().map(|space| space.prefix()).collect();
        prefixes.extend(b"LH");
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), Space::ALL.len() + 2);
    }
}
