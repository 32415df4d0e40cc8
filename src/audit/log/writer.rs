//! The thread that writes the log: it takes what has queued, makes one write set of it, and answers after the commit.
//!
//! Rule: one caller's mistake never fails its neighbours, and no caller is answered before the store has returned.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use zeroize::Zeroizing;

use super::notary::{Notary, Signed};
use super::{AppendError, Change, GROUP_MAX, Newest, OnFailure, Place, State};
use crate::audit::event::Entry;
use crate::audit::history::History;
use crate::audit::note::Origin;
use crate::audit::reader::seal;
use crate::audit::tiles::{Edge, TILES_PER_LEAF, Tile};
use crate::audit::tree::Frontier;
use crate::clock::{Clock, Timestamp};
use crate::json;
use crate::leaf::{self, Draft};
use crate::store::{CHANGES_MAX, CommitError, Expect, Head, Put, Settle, Space, Store, StoreError, WriteSet, job_key};
use crate::subject::SubjectKey;

/// Where the edge of the tree is saved, as of a checkpoint.
pub(super) const FRONTIER_KEY: &[u8] = b"log-frontier";

/// What callers ask of the writer.
pub(super) enum Command {
    Append(Box<Request>),
    Sign(oneshot::Sender<String>),
    Close(oneshot::Sender<()>),
}

/// One caller's entry and change.
pub(super) struct Request {
    pub(super) entry: Entry,
    /// The detail's line and the key to seal it under.
    pub(super) detail: Option<(Zeroizing<String>, SubjectKey)>,
    pub(super) change: Change,
    pub(super) answer: oneshot::Sender<Result<Place, AppendError>>,
    /// The caller's place among those who wait; free again when the request is answered.
    pub(super) slot: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) origin: Origin,
    pub(super) on_failure: OnFailure,
    pub(super) head: Head,
    pub(super) at: Timestamp,
    pub(super) frontier: Frontier,
    pub(super) tiles: Edge,
    /// How many entries the newest checkpoint covers.
    pub(super) signed: u64,
    pub(super) notary: Notary,
    /// When a checkpoint was ordered last.
    pub(super) ordered: Instant,
    /// The edge of the newest checkpoint, until it is saved.
    pub(super) edge_to_save: Option<Frontier>,
    pub(super) history: History,
    pub(super) state: Arc<State>,
}

/// Why the writer ends before it was told to.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another process wrote to the store")]
    HeadMoved,
    #[error("the checkpoint could not be written: {0}")]
    Sign(String),
}

/// Requests that go into one write set.
struct Group {
    set: WriteSet,
    taken: Vec<(Request, Place)>,
    touched: BTreeSet<(Space, Vec<u8>)>,
    frontier: Frontier,
    tiles: Edge,
    at: Timestamp,
}

impl Writer {
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Runs until it is told to close or the store fails.
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        let end = End { state: self.state(), on_failure: self.on_failure };
        match self.serve(inbox) {
            Ok(closed) => {
                end.peacefully();
                if let Some(closed) = closed {
                    // Whoever asked may have gone, which changes nothing.
                    closed.send(()).unwrap_or_default();
                }
            }
            Err(why) => {
                tracing::error!(%why, entries = self.head.size, "the log stops: it is not known what is on the disk");
                drop(end);
            }
        }
    }

    fn serve(&mut self, inbox: &Receiver<Command>) -> Result<Option<oneshot::Sender<()>>, Fatal> {
        let mut pending: VecDeque<Request> = VecDeque::new();
        loop {
            let mut next = self.wait(inbox);
            // Takes what has queued meanwhile, up to a group or the first command of another kind.
            while let Next::Command(Command::Append(request)) = next {
                pending.push_back(*request);
                next = if pending.len() < GROUP_MAX { try_next(inbox) } else { Next::Nothing };
            }
            let mut alone = 0;
            while !pending.is_empty() {
                self.commit_group(&mut pending, &mut alone)?;
            }
            self.sign_beside()?;
            match next {
                Next::Command(Command::Sign(answer)) => drop(answer.send(self.sign_now(false)?)),
                Next::Command(Command::Close(answer)) => {
                    self.sign_now(true)?;
                    self.save_edge()?;
                    return Ok(Some(answer));
                }
                Next::Gone => {
                    self.sign_now(true)?;
                    self.save_edge()?;
                    return Ok(None);
                }
                Next::Nothing | Next::Command(Command::Append(_)) => {}
            }
        }
    }

    /// Takes a checkpoint that was signed meanwhile, and orders the next when it is due.
    fn sign_beside(&mut self) -> Result<(), Fatal> {
        if let Some(signed) = self.notary.answer().map_err(Fatal::Sign)? {
            self.take(signed);
        }
        let unsigned = self.head.size - self.signed;
        if self.notary.is_busy() {
            // The next group could make them too many.
            if unsigned + GROUP_MAX as u64 > UNSIGNED_MAX {
                if let Some(signed) = self.notary.wait().map_err(Fatal::Sign)? {
                    self.take(signed);
                }
                return self.sign_beside();
            }
        } else if unsigned > 0 && (self.ordered.elapsed() >= SIGN_EVERY || unsigned >= UNSIGNED_MAX / 2) {
            self.order();
        }
        Ok(())
    }

    /// Returns the checkpoint over all that is recorded now.
    fn sign_now(&mut self, closes: bool) -> Result<String, Fatal> {
        loop {
            if let Some(signed) = self.notary.wait().map_err(Fatal::Sign)? {
                self.take(signed);
            }
            if self.signed == self.head.size {
                let note = self.state.newest.borrow().note.clone();
                self.history.offer(self.signed, &note, self.clock.now(), closes);
                return Ok(note);
            }
            self.order();
        }
    }

    fn order(&mut self) {
        self.notary.order(self.frontier.clone());
        self.ordered = Instant::now();
    }

    fn take(&mut self, Signed { edge, note }: Signed) {
        self.signed = edge.size();
        self.history.offer(self.signed, &note, self.clock.now(), false);
        self.edge_to_save = Some(edge);
    }

    /// Waits for a command, or until there is something to do about a checkpoint.
    fn wait(&self, inbox: &Receiver<Command>) -> Next {
        let patience = if self.notary.is_busy() {
            LOOK_AGAIN
        } else if self.signed < self.head.size {
            SIGN_EVERY.saturating_sub(self.ordered.elapsed())
        } else {
            return inbox.recv().map_or(Next::Gone, Next::Command);
        };
        match inbox.recv_timeout(patience) {
            Ok(command) => Next::Command(command),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Gone,
        }
    }

    /// Commits a first part of `pending`: as many requests as touch different things and fit one write set.
    ///
    /// `alone` counts requests at the front that go by themselves, after the store refused a group of them.
    fn commit_group(&mut self, pending: &mut VecDeque<Request>, alone: &mut usize) -> Result<(), Fatal> {
        let group_max = if *alone > 0 { 1 } else { GROUP_MAX };
        *alone = alone.saturating_sub(1);
        let mut group = Group {
            set: WriteSet::at(self.head),
            taken: Vec::new(),
            touched: BTreeSet::new(),
            frontier: self.frontier.clone(),
            tiles: self.tiles.clone(),
            at: self.at,
        };
        group.set.puts.extend(self.edge());
        self.history.join(&mut group.set, self.store.as_ref())?;
        while group.taken.len() < group_max {
            let Some(request) = pending.pop_front() else { break };
            let touches = request.touches();
            let changes = group.changes() + touches.len() + LEAF_AND_DETAIL + TILES_PER_LEAF;
            let clashes = touches.iter().any(|thing| group.touched.contains(thing));
            if !group.taken.is_empty() && (clashes || changes > CHANGES_MAX) {
                pending.push_front(request);
                break;
            }
            match self.check(&request, &touches)? {
                Ok(()) => group.add(self, request, touches),
                Err(refusal) => request.refuse(refusal),
            }
        }
        if group.taken.is_empty() {
            return Ok(());
        }
        match self.store.commit(group.set) {
            Ok(()) => {}
            Err(CommitError::Store(why)) => return Err(why.into()),
            Err(CommitError::HeadMoved(_)) => return Err(Fatal::HeadMoved),
            Err(CommitError::Precondition { space, key }) => {
                let refusal = AppendError::Precondition { space, key };
                give_back(group.taken, refusal, pending, alone);
                return Ok(());
            }
            Err(CommitError::Malformed(rule)) => {
                give_back(group.taken, AppendError::Malformed(rule), pending, alone);
                return Ok(());
            }
        }
        self.edge_to_save = None;
        self.history.joined();
        (self.frontier, self.tiles, self.at) = (group.frontier, group.tiles, group.at);
        if let Some((_, place)) = group.taken.last() {
            self.head = Head { size: place.seq + 1, leaf: place.leaf };
            self.state.newest.send_modify(|newest| newest.place = place.clone());
        }
        for (request, place) in group.taken {
            request.answer(Ok(place));
        }
        Ok(())
    }

    /// Looks at what the store would refuse, so that it is refused to this caller alone.
    fn check(&self, request: &Request, touches: &[(Space, Vec<u8>)]) -> Result<Result<(), AppendError>, StoreError> {
        let refuse = |space, key: &[u8]| Ok(Err(AppendError::Precondition { space, key: key.to_vec() }));
        let mut named = BTreeSet::new();
        for (space, key) in touches {
            let reserved = matches!(space, Space::Detail | Space::Tile | Space::Note)
                || (*space == Space::Meta && key == FRONTIER_KEY);
            if reserved || !named.insert((space, key)) {
                return refuse(*space, key);
            }
        }
        let change = &request.change;
        let puts = change.puts.iter().map(|put| (put.space, &put.key, put.expect));
        let deletes = change.deletes.iter().map(|delete| (delete.space, &delete.key, delete.expect));
        for (space, key, expect) in puts.chain(deletes) {
            if expect == Expect::Any {
                continue;
            }
            let found = self.store.get(space, key)?.map(|found| found.version);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Version(version) => found == Some(version),
            };
            if !holds {
                return refuse(space, key);
            }
        }
        for job in &change.enqueue {
            if self.store.job(&job.kind, &job.key)?.is_some() {
                return refuse(Space::Queue, &job_key(&job.kind, &job.key));
            }
        }
        for settle in &change.settle {
            let (kind, key) = job_of(settle);
            if self.store.job(kind, key)?.is_none() {
                return refuse(Space::Queue, &job_key(kind, key));
            }
        }
        Ok(Ok(()))
    }

    /// Saves the edge of the tree as of the last checkpoint, so that opening need not read the log.
    fn save_edge(&self) -> Result<(), Fatal> {
        if self.edge_to_save.is_none() && !self.history.waits() {
            return Ok(());
        }
        let mut set = WriteSet::at(self.head);
        self.history.join(&mut set, self.store.as_ref())?;
        set.puts.extend(self.edge());
        match self.store.commit(set) {
            Ok(()) => Ok(()),
            Err(CommitError::Store(why)) => Err(why.into()),
            Err(_) => Err(Fatal::HeadMoved),
        }
    }

    fn edge(&self) -> Option<Put> {
        let value = self.edge_to_save.as_ref()?.to_bytes();
        Some(Put { space: Space::Meta, key: FRONTIER_KEY.to_vec(), expect: Expect::Any, value })
    }
}

impl Group {
    fn changes(&self) -> usize {
        let set = &self.set;
        set.append.len() + set.puts.len() + set.deletes.len() + set.enqueue.len() + set.settle.len()
    }

    /// Gives a request its place; a request without a leaf is refused, and the others do not notice.
    fn add(&mut self, writer: &Writer, request: Request, touches: Vec<(Space, Vec<u8>)>) {
        let Head { size: seq, leaf: prev } = self.set.head_after;
        // A clock that was set back must not make the log look reordered.
        let at = writer.clock.now().max(self.at);
        let sealed = request.detail.as_ref().map(|(line, key)| seal(&writer.origin, seq, line.as_bytes(), key));
        let draft = Draft {
            prev,
            seq,
            at,
            kind: request.entry.kind,
            facts: &request.entry.facts,
            subject: request.entry.subject.as_ref(),
            detail: sealed.as_ref().map(|(commitment, _)| commitment),
        };
        let line = match leaf::write(&draft) {
            Ok(line) => line.into_bytes(),
            Err(why) => return request.refuse(AppendError::Leaf(why)),
        };
        // Nothing can refuse the entry any more.
        let hash = leaf::hash(&line);
        self.frontier.push(hash);
        self.at = at;
        let place = Place { seq, leaf: hash, root: self.frontier.root(), at };
        self.touched.extend(touches);
        let set = &mut self.set;
        set.puts.extend(self.tiles.push(hash).into_iter().map(Tile::put));
        set.append.push(line);
        set.head_after = Head { size: seq + 1, leaf: hash };
        let Change { puts, deletes, enqueue, settle, stamps } = &request.change;
        set.puts.extend(puts.iter().cloned());
        set.deletes.extend(deletes.iter().cloned());
        set.enqueue.extend(enqueue.iter().cloned());
        set.settle.extend(settle.iter().cloned());
        if !stamps.is_empty() {
            let stamp = json::to_line(&place).expect("a place is digests and numbers").into_bytes();
            set.puts.extend(stamps.iter().map(|(space, key)| Put {
                space: *space,
                key: key.clone(),
                expect: Expect::Any,
                value: stamp.clone(),
            }));
        }
        set.puts.extend(sealed.map(|(_, value)| Put {
            space: Space::Detail,
            key: seq.to_be_bytes().to_vec(),
            expect: Expect::Absent,
            value,
        }));
        self.taken.push((request, place));
    }
}

impl Request {
    /// Everything that the change names: two changes of one thing never share a write set.
    fn touches(&self) -> Vec<(Space, Vec<u8>)> {
        let Change { puts, deletes, enqueue, settle, stamps } = &self.change;
        let records = puts.iter().map(|put| (put.space, put.key.clone()));
        let removed = deletes.iter().map(|delete| (delete.space, delete.key.clone()));
        let jobs = enqueue.iter().map(|job| (job.kind.as_str(), job.key.as_slice())).chain(settle.iter().map(job_of));
        let jobs = jobs.map(|(kind, key)| (Space::Queue, job_key(kind, key)));
        records.chain(removed).chain(stamps.iter().cloned()).chain(jobs).collect()
    }

    fn refuse(self, refusal: AppendError) {
        self.answer(Err(refusal));
    }

    fn answer(self, answer: Result<Place, AppendError>) {
        // The turn is free before the caller hears, so that it can queue again at once.
        drop(self.slot);
        // A caller that has gone does not hear what was recorded; the log knows.
        drop(self.answer.send(answer));
    }
}

/// After the store refused a write set: one request alone hears why, several are tried one by one.
fn give_back(
    mut taken: Vec<(Request, Place)>,
    refusal: AppendError,
    pending: &mut VecDeque<Request>,
    alone: &mut usize,
) {
    if taken.len() > 1 {
        *alone = taken.len();
        taken.into_iter().rev().for_each(|(request, _)| pending.push_front(request));
    } else if let Some((request, _)) = taken.pop() {
        request.refuse(refusal);
    }
}

fn job_of(settle: &Settle) -> (&str, &[u8]) {
    match settle {
        Settle::Done(token) | Settle::Again { token, .. } => (token.kind(), token.key()),
        Settle::Due { kind, key, .. } | Settle::Cancel { kind, key } => (kind, key),
    }
}

enum Next {
    Command(Command),
    Nothing,
    Gone,
}

fn try_next(inbox: &Receiver<Command>) -> Next {
    match inbox.try_recv() {
        Ok(command) => Next::Command(command),
        Err(TryRecvError::Empty) => Next::Nothing,
        Err(TryRecvError::Disconnected) => Next::Gone,
    }
}

/// Marks the log as stopped, whichever way the writer ends; a panic is a failure like an error.
struct End {
    state: Arc<State>,
    on_failure: OnFailure,
}

impl End {
    fn peacefully(mut self) {
        self.on_failure = OnFailure::Stop;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.on_failure == OnFailure::Abort {
            std::process::abort();
        }
        self.state.stopped.send_replace(true);
    }
}

impl State {
    pub(super) fn new(newest: Newest) -> Self {
        Self { newest: watch::Sender::new(newest), stopped: watch::Sender::new(false) }
    }
}

/// The most entries that no checkpoint covers yet: a log that grows faster is signed more often than once a second, and
/// from half of them on, so that the signature is there before anybody must wait for it.
const UNSIGNED_MAX: u64 = 1000;

/// The pace of checkpoints while the log grows.
const SIGN_EVERY: Duration = Duration::from_secs(1);

/// While a checkpoint is being signed and nobody asks for anything.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What each request adds beside what it names.
const LEAF_AND_DETAIL: usize = 2;
