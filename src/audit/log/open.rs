//! How a log begins, and how it is opened again.
//!
//! Rule: the store must hold at least what was signed, and exactly that as its beginning. An empty or rolled-back store
//! is an alarm, never a new beginning.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::notary::{Desk, Notary};
use super::writer::{FRONTIER_KEY, Writer};
use super::{Newest, Place, State};
use crate::audit::history::History;
use crate::audit::note::{Checkpoint, LogKey, NOTE_BYTES_MAX, NoteError, Origin};
use crate::audit::reader::Reader;
use crate::audit::tiles::{Edge, Stored, Tile};
use crate::audit::tree::Frontier;
use crate::clock::{Clock, Timestamp, read_stamp};
use crate::durable;
use crate::id::{Digest, InstitutionId};
use crate::json::Object;
use crate::keys::Keys;
use crate::leaf::{self, Draft, LeafError, Link, NO_LEAF};
use crate::signature::NoteSigner;
use crate::store::{CommitError, Head, Space, Store, StoreError, WriteSet};
use crate::subject::Subjects;

/// What a log is made of.
#[derive(Clone)]
pub struct LogParts {
    /// Where the entries are kept.
    pub store: Arc<dyn Store>,
    /// The keys under which details are sealed.
    pub subjects: Arc<Subjects>,
    /// Signs the checkpoints.
    pub signer: Arc<dyn SignsNotes>,
    /// The folder of the newest checkpoint, outside the store.
    pub head_dir: PathBuf,
    /// Tells the entries' times.
    pub clock: Clock,
    /// The log's name.
    pub origin: Origin,
    /// What happens when the store fails.
    pub on_failure: OnFailure,
}

/// Whoever has the key of the log.
pub trait SignsNotes: Send + Sync {
    /// The signer of the checkpoints.
    fn note_signer(&self) -> &NoteSigner;
}

impl SignsNotes for NoteSigner {
    fn note_signer(&self) -> &NoteSigner {
        self
    }
}

impl SignsNotes for Keys {
    fn note_signer(&self) -> &NoteSigner {
        self.log_signer()
    }
}

/// What happens when the store fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// The process ends at once: the gateway's choice, since nobody knows what is on the disk.
    Abort,
    /// The log answers nobody any more: for tests.
    Stop,
}

/// Why a log cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitLogError {
    /// There is a log already, or the head of one.
    #[error("there is a log already")]
    Exists,
    /// The first leaf cannot be written.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The store failed.
    #[error("the first entry could not be stored: {0}")]
    Commit(#[from] CommitError),
    /// Reading or writing the head failed.
    #[error("{path}: {why}")]
    Head {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        why: io::Error,
    },
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The store is empty, but `signed` entries were signed.
    #[error("the store is empty, but {signed} entries were signed")]
    Empty {
        /// How many entries the newest checkpoint covers.
        signed: u64,
    },
    /// The store holds less than was signed: it is an old copy.
    #[error("the store holds {found} entries, but {signed} were signed")]
    RolledBack {
        /// How many entries the store holds.
        found: u64,
        /// How many entries the newest checkpoint covers.
        signed: u64,
    },
    /// The store's beginning is not what was signed.
    #[error("the first {signed} entries of the store are not those that were signed")]
    Forked {
        /// How many entries the newest checkpoint covers.
        signed: u64,
    },
    /// An entry is not the successor of the one before it.
    #[error("entry {seq} of the store does not follow from the one before it")]
    Broken {
        /// Its number.
        seq: u64,
    },
    /// The newest checkpoint is missing or unreadable.
    #[error("the newest checkpoint {path} cannot be read: {why}")]
    Head {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        why: io::Error,
    },
    /// The newest checkpoint is not one that this gateway signed for this log.
    #[error("the newest checkpoint {path} is not ours: {why}")]
    HeadNotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: NoteError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer did not start.
    #[error("the writer of the log did not start: {0}")]
    Thread(#[source] io::Error),
}

/// Begins a log: the first leaf, then the first checkpoint. The store must be empty and the head folder must exist,
/// without a checkpoint.
pub fn init(parts: &LogParts, institution: &InstitutionId) -> Result<(), InitLogError> {
    let path = head_file(&parts.head_dir);
    let head_error = |why| InitLogError::Head { path: path.clone(), why };
    if path.try_exists().map_err(head_error)? || parts.store.head().map_err(CommitError::Store)? != Head::EMPTY {
        return Err(InitLogError::Exists);
    }
    let signer = parts.signer.note_signer();
    let facts: Object = [
        ("format", "medseal-log@v1"),
        ("institution", institution.as_str()),
        ("log_key", &LogKey::new(parts.origin.clone(), signer.public()).to_string()),
        ("origin", parts.origin.as_str()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into()))
    .collect();
    let at = parts.clock.now();
    let draft = Draft { prev: NO_LEAF, seq: 0, at, kind: "genesis", facts: &facts, subject: None, detail: None };
    let line = leaf::write(&draft)?.into_bytes();
    let first = leaf::hash(&line);
    let mut set = WriteSet::at(Head::EMPTY);
    set.append.push(line);
    set.head_after = Head { size: 1, leaf: first };
    parts.store.commit(set)?;
    let mut tree = Frontier::new();
    tree.push(first);
    let checkpoint = Checkpoint { origin: parts.origin.clone(), size: 1, root: tree.root() };
    durable::write_new(&path, checkpoint.sign(signer).as_bytes(), 0o644).map_err(head_error)
}

pub(super) fn open(parts: LogParts) -> Result<(Writer, Reader, LogKey), OpenLogError> {
    let path = head_file(&parts.head_dir);
    let key = LogKey::new(parts.origin.clone(), parts.signer.note_signer().public());
    let (note, signed) = read_head(&path, &key)?;
    let head = parts.store.head()?;
    if head.size == 0 {
        return Err(OpenLogError::Empty { signed: signed.size });
    }
    if head.size < signed.size {
        return Err(OpenLogError::RolledBack { found: head.size, signed: signed.size });
    }
    let tail = Tail::read(parts.store.as_ref(), head, &signed)?;
    let tiles = open_tiles(parts.store.as_ref(), head, &tail.frontier.root())?;
    let place = Place { seq: head.size - 1, leaf: head.leaf, root: tail.frontier.root(), at: tail.at };
    let state = Arc::new(State::new(Newest { place, note }));
    let history = History::open(parts.store.as_ref(), parts.clock.now())?;
    let reader = Reader::new(Arc::clone(&parts.store), parts.subjects, parts.origin.clone());
    let covered = signed.size;
    let notary = Notary::start(Desk {
        signer: parts.signer,
        origin: parts.origin.clone(),
        head_file: path,
        newest: signed,
        state: Arc::clone(&state),
    })?;
    let writer = Writer {
        store: parts.store,
        clock: parts.clock,
        origin: parts.origin,
        on_failure: parts.on_failure,
        head,
        at: tail.at,
        frontier: tail.frontier,
        tiles,
        signed: covered,
        notary,
        ordered: Instant::now(),
        edge_to_save: None,
        history,
        state,
    };
    Ok((writer, reader, key))
}

/// Reads the edge of the tiles, and stores the tiles that are missing: those of a log from before there were any.
///
/// Tiles are made from the leaves alone: if those that are stored do not lead to the root, they are made anew.
fn open_tiles(store: &dyn Store, head: Head, root: &Digest) -> Result<Edge, OpenLogError> {
    let stored = || {
        let edge = complete(store, head, Edge::of_stored(store, head.size)?)?;
        let leads_there = Stored::new(store).root_of(head.size)? == *root;
        Ok(leads_there.then_some(edge))
    };
    match stored() {
        Ok(Some(edge)) => Ok(edge),
        Ok(None) | Err(OpenLogError::Store(StoreError::Damaged { .. })) => {
            tracing::warn!(entries = head.size, "the tiles of the log are made anew from its entries");
            complete(store, head, Edge::default())
        }
        Err(why) => Err(why),
    }
}

/// Reads the leaves behind an edge, and stores the tiles that they complete.
fn complete(store: &dyn Store, head: Head, mut edge: Edge) -> Result<Edge, OpenLogError> {
    while edge.size() < head.size {
        let page = store.read(edge.size(), PAGE)?;
        if page.is_empty() {
            return Err(OpenLogError::Broken { seq: edge.size() });
        }
        let mut set = WriteSet::at(head);
        for (_, line) in &page {
            set.puts.extend(edge.push(leaf::hash(line)).into_iter().map(Tile::put));
        }
        if !set.puts.is_empty() {
            store.commit(set).map_err(|why| match why {
                CommitError::Store(why) => why.into(),
                other => OpenLogError::Store(StoreError::Damaged { what: other.to_string() }),
            })?;
        }
    }
    Ok(edge)
}

/// Reads the newest checkpoint and verifies that this gateway signed it for this log.
pub(super) fn read_head(path: &Path, key: &LogKey) -> Result<(String, Checkpoint), OpenLogError> {
    let head_error = |why| OpenLogError::Head { path: path.to_owned(), why };
    let too_long = || head_error(io::Error::from(io::ErrorKind::FileTooLarge));
    let bytes = fs::metadata(path).map_err(head_error)?.len();
    if usize::try_from(bytes).map_or(true, |bytes| bytes > NOTE_BYTES_MAX) {
        return Err(too_long());
    }
    let note = fs::read_to_string(path).map_err(head_error)?;
    let checkpoint = Checkpoint::open(note.as_bytes(), std::slice::from_ref(key))
        .map_err(|why| OpenLogError::HeadNotOurs { path: path.to_owned(), why })?;
    Ok((note, checkpoint))
}

fn head_file(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// The end of the log, read again from the newest saved edge of the tree.
struct Tail {
    frontier: Frontier,
    at: Timestamp,
}

impl Tail {
    fn read(store: &dyn Store, head: Head, signed: &Checkpoint) -> Result<Self, OpenLogError> {
        let saved = store.get(Space::Meta, FRONTIER_KEY)?.and_then(|found| Frontier::from_bytes(&found.value));
        // An edge beyond the newest checkpoint cannot show what was signed, so the whole log is read.
        let mut frontier = saved.filter(|saved| saved.size() <= signed.size).unwrap_or_default();
        let forked = OpenLogError::Forked { signed: signed.size };
        let mut before = match frontier.size().checked_sub(1) {
            None => None,
            Some(last) => Some(link_of(store.read(last, 1)?.first(), last)?),
        };
        if frontier.size() == signed.size && frontier.root() != signed.root {
            return Err(forked);
        }
        while frontier.size() < head.size {
            let page = store.read(frontier.size(), PAGE)?;
            if page.is_empty() {
                return Err(OpenLogError::Broken { seq: frontier.size() });
            }
            for entry in &page {
                let seq = frontier.size();
                let (hash, link) = link_of(Some(entry), seq)?;
                let follows = match &before {
                    Some((prev, earlier)) => link.prev == *prev && link.at >= earlier.at,
                    None => link.prev == NO_LEAF,
                };
                if !follows {
                    return Err(OpenLogError::Broken { seq });
                }
                frontier.push(hash);
                before = Some((hash, link));
                if frontier.size() == signed.size && frontier.root() != signed.root {
                    return Err(forked);
                }
            }
        }
        let broken = OpenLogError::Broken { seq: head.size - 1 };
        let Some((hash, link)) = before.filter(|(hash, _)| *hash == head.leaf) else { return Err(broken) };
        debug_assert_eq!(hash, head.leaf);
        let at = std::str::from_utf8(&link.at).ok().and_then(read_stamp).ok_or(broken)?;
        Ok(Self { frontier, at })
    }
}

fn link_of(entry: Option<&(u64, Vec<u8>)>, seq: u64) -> Result<(Digest, Link), OpenLogError> {
    let broken = OpenLogError::Broken { seq };
    let Some((found, line)) = entry else { return Err(broken) };
    match Link::read(line) {
        Some(link) if link.seq == seq && *found == seq => Ok((leaf::hash(line), link)),
        _ => Err(broken),
    }
}

impl fmt::Debug for LogParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogParts({}, {})", self.origin, self.head_dir.display())
    }
}

/// Leaves read at once.
const PAGE: usize = 1024;
