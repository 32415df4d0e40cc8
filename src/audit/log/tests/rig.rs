//! A home for a log, and a store under it that can be held up or made to fail.

use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;
use tempfile::TempDir;

use super::super::*;
use crate::audit::event::Entry;
use crate::audit::note::Checkpoint;
use crate::audit::tree::Frontier;
use crate::clock::Clock;
use crate::durable;
use crate::id::SubjectId;
use crate::json::Object;
use crate::keys::SubjectsKey;
use crate::leaf::{self, Leaf};
use crate::signature::NoteSigner;
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::store::{CommitError, Head, Lease, LeaseToken, Store, StoreError, Versioned, WriteSet};
use crate::subject::Subjects;

#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) text: String,
    pub(super) about: Option<(SubjectId, String)>,
}

impl Event for Note {
    fn entry(&self) -> Entry {
        Entry {
            kind: "note",
            facts: Object::from([("text".to_owned(), json!(self.text))]),
            subject: self.about.as_ref().map(|(subject, _)| subject.clone()),
            detail: self.about.as_ref().map(|(_, name)| Object::from([("name".to_owned(), json!(name))])),
        }
    }
}

pub(super) fn note(text: &str) -> Note {
    Note { text: text.to_owned(), about: None }
}

/// A store that can be held up, and that can fail at a commit with the write kept or lost.
#[derive(Debug)]
pub(super) struct TestStore {
    inner: Box<dyn Store>,
    control: Mutex<Control>,
    moved: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Control {
    held: bool,
    arrived: usize,
    commits: usize,
    fail_at: Option<(usize, Fate)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Kept,
    Lost,
    Panic,
}

impl TestStore {
    pub(super) fn create() -> Arc<Self> {
        Self::over(MemoryStore::create())
    }

    pub(super) fn over(inner: impl Store + 'static) -> Arc<Self> {
        Arc::new(Self { inner: Box::new(inner), control: Mutex::default(), moved: Condvar::new() })
    }

    pub(super) fn hold(&self, held: bool) {
        self.control.lock().unwrap().held = held;
        self.moved.notify_all();
    }

    pub(super) fn fail_at(&self, commit: usize, fate: Fate) {
        let mut control = self.control.lock().unwrap();
        control.fail_at = Some((control.commits + commit, fate));
    }

    pub(super) fn commits(&self) -> usize {
        self.control.lock().unwrap().commits
    }

    /// Waits until a commit stands at the closed gate.
    pub(super) fn wait_for_arrival(&self) {
        let mut control = self.control.lock().unwrap();
        while control.arrived == 0 {
            control = self.moved.wait(control).unwrap();
        }
    }
}

impl Store for TestStore {
    fn head(&self) -> Result<Head, StoreError> {
        self.inner.head()
    }

    fn commit(&self, set: WriteSet) -> Result<(), CommitError> {
        let mut control = self.control.lock().unwrap();
        control.arrived += 1;
        self.moved.notify_all();
        while control.held {
            control = self.moved.wait(control).unwrap();
        }
        control.arrived -= 1;
        control.commits += 1;
        let fate = control.fail_at.filter(|(at, _)| *at == control.commits).map(|(_, fate)| fate);
        drop(control);
        let failed = || StoreError::Failed { doing: "a test", why: "the disk is on fire".into() };
        match fate {
            None => self.inner.commit(set),
            Some(Fate::Kept) => self.inner.commit(set).and(Err(failed().into())),
            Some(Fate::Lost) => Err(failed().into()),
            Some(Fate::Panic) => panic!("the engine panics, as the test wants"),
        }
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.inner.read(from, limit)
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.inner.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, StoreError> {
        self.inner.scan(space, prefix, after, limit)
    }

    fn claim(&self, kind: &str, owner: &str, ttl_s: u32, now: Timestamp) -> Result<Option<Lease>, StoreError> {
        self.inner.claim(kind, owner, ttl_s, now)
    }

    fn extend(&self, token: &LeaseToken, ttl_s: u32, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.extend(token, ttl_s, now)
    }

    fn release(&self, token: &LeaseToken) -> Result<(), StoreError> {
        self.inner.release(token)
    }

    fn next_due(&self, kind: &str) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next_due(kind)
    }

    fn hasten(&self, kind: &str, key: &[u8], due: Timestamp) -> Result<bool, StoreError> {
        self.inner.hasten(kind, key, due)
    }

    fn job(&self, kind: &str, key: &[u8]) -> Result<Option<Job>, StoreError> {
        self.inner.job(kind, key)
    }

    fn jobs(&self, limit: usize) -> Result<Vec<Job>, StoreError> {
        self.inner.jobs(limit)
    }
}

pub(super) struct Home {
    pub(super) folder: TempDir,
    pub(super) store: Arc<TestStore>,
    pub(super) subjects: Arc<Subjects>,
    pub(super) clock: Clock,
}

impl Home {
    pub(super) fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), TestStore::create())
    }

    pub(super) fn on_disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::create(&folder.path().join("store")).unwrap();
        Self::with(folder, TestStore::over(store))
    }

    pub(super) fn with(folder: TempDir, store: Arc<TestStore>) -> Self {
        let subjects = Subjects::create(&folder.path().join("subjects"), &SubjectsKey::random()).unwrap();
        durable::create_dir(&folder.path().join("head"), 0o755).unwrap();
        let home = Self {
            folder,
            store,
            subjects: Arc::new(subjects),
            clock: Clock::set_to("2026-11-22T10:00:00Z".parse().unwrap()),
        };
        init(&home.parts(), &"st-mary".parse().unwrap()).unwrap();
        home
    }

    pub(super) fn parts(&self) -> LogParts {
        LogParts {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            subjects: Arc::clone(&self.subjects),
            signer: Arc::new(NoteSigner::from_seed(&[7; 32])),
            head_dir: self.folder.path().join("head"),
            clock: self.clock.clone(),
            origin: "st-mary.example/audit".parse().unwrap(),
            on_failure: OnFailure::Stop,
        }
    }

    pub(super) fn open(&self) -> Log {
        Log::open(self.parts()).unwrap()
    }

    /// Closes the store on disk and opens it again.
    pub(super) fn restart(self) -> Self {
        let Self { folder, store, subjects, clock } = self;
        drop(Arc::into_inner(store).expect("nobody else holds the store"));
        let store = TestStore::over(SledStore::open(&folder.path().join("store")).unwrap());
        Self { folder, store, subjects, clock }
    }

    pub(super) fn head_file(&self) -> std::path::PathBuf {
        self.folder.path().join("head/checkpoint")
    }

    /// The texts of the notes in the log, after checking each link, and the newest checkpoint against the tree.
    pub(super) fn verified(&self) -> Vec<String> {
        let lines = self.store.read(0, usize::MAX).unwrap();
        let (mut prev, mut tree, mut texts) = (leaf::NO_LEAF, Frontier::new(), Vec::new());
        let key = LogKey::new("st-mary.example/audit".parse().unwrap(), NoteSigner::from_seed(&[7; 32]).public());
        let signed = Checkpoint::open(&std::fs::read(self.head_file()).unwrap(), &[key]).unwrap();
        for (seq, line) in &lines {
            let leaf = Leaf::read(line).unwrap();
            assert_eq!((leaf.seq, leaf.prev), (*seq, prev));
            prev = leaf::hash(line);
            tree.push(prev);
            if tree.size() == signed.size {
                assert_eq!(tree.root(), signed.root);
            }
            texts.extend(leaf.facts.get("text").and_then(|text| text.as_str()).map(str::to_owned));
        }
        assert!(signed.size <= tree.size(), "more is signed than there is");
        texts
    }
}
