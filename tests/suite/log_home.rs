//! A home with a log, for the tests of the log.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medseal::audit::event::{Entry, Event};
use medseal::audit::log::{Change, Log, LogParts, OnFailure, init};
use medseal::audit::proof::inclusion;
use medseal::audit::reader::{Detail, Opening};
use medseal::clock::Clock;
use medseal::durable;
use medseal::id::SubjectId;
use medseal::json::Object;
use medseal::keys::SubjectsKey;
use medseal::signature::NoteSigner;
use medseal::store::Store;
use medseal::store::memory::MemoryStore;
use medseal::subject::Subjects;

/// An event with a text for everybody, and a name that is sealed when it is about someone.
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) about: Option<(SubjectId, String)>,
}

impl Event for Note {
    fn entry(&self) -> Entry {
        Entry {
            kind: "note",
            facts: Object::from([("text".to_owned(), self.text.clone().into())]),
            subject: self.about.as_ref().map(|(subject, _)| subject.clone()),
            detail: self.about.as_ref().map(|(_, name)| Object::from([("name".to_owned(), name.clone().into())])),
        }
    }
}

/// A note about nobody.
pub(crate) fn note(text: &str) -> Note {
    Note { text: text.to_owned(), about: None }
}

/// A folder with keys, subjects and head, and a store.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    pub(crate) subjects: Arc<Subjects>,
    pub(crate) clock: Clock,
}

impl Home {
    /// A new home, and a log in `store` that has begun.
    pub(crate) fn begin(store: &Arc<dyn Store>) -> Self {
        Self::begin_in(tempfile::tempdir().unwrap(), store)
    }

    /// The same in a folder that is there already.
    pub(crate) fn begin_in(folder: tempfile::TempDir, store: &Arc<dyn Store>) -> Self {
        let subjects = Subjects::create(&folder.path().join("subjects"), &SubjectsKey::random()).unwrap();
        durable::create_dir(&folder.path().join("head"), 0o755).unwrap();
        let clock = Clock::set_to("2026-11-22T10:00:00Z".parse().unwrap());
        let home = Self { folder, subjects: Arc::new(subjects), clock };
        init(&home.parts(store), &"st-mary".parse().unwrap()).unwrap();
        home
    }

    /// A home with a store in memory.
    pub(crate) fn in_memory() -> (Self, Log) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::create());
        let home = Self::begin(&store);
        let log = Log::open(home.parts(&store)).unwrap();
        (home, log)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn parts(&self, store: &Arc<dyn Store>) -> LogParts {
        LogParts {
            store: Arc::clone(store),
            subjects: Arc::clone(&self.subjects),
            signer: Arc::new(NoteSigner::from_seed(&[7; 32])),
            head_dir: self.path().join("head"),
            clock: self.clock.clone(),
            origin: "st-mary.example/audit".parse().unwrap(),
            on_failure: OnFailure::Stop,
        }
    }

    /// The same for another process, which records nothing about a person.
    pub(crate) fn parts_of(home: &Path, store: &Arc<dyn Store>) -> LogParts {
        let random = u64::from_be_bytes(medseal::id::random_bytes());
        let subjects = Subjects::create(&home.join(format!("subjects-{random}")), &SubjectsKey::random()).unwrap();
        LogParts {
            store: Arc::clone(store),
            subjects: Arc::new(subjects),
            signer: Arc::new(NoteSigner::from_seed(&[7; 32])),
            head_dir: home.join("head"),
            clock: Clock::set_to("2026-11-22T10:00:00Z".parse().unwrap()),
            origin: "st-mary.example/audit".parse().unwrap(),
            on_failure: OnFailure::Stop,
        }
    }

    /// A log of `count` notes after the first entry, every second of them with a sealed name.
    pub(crate) fn with_notes(count: usize) -> (Self, Log) {
        let (home, log) = Self::in_memory();
        let patient = "https://hospital.example/mrn|4711".parse().unwrap();
        let subject = home.subjects.find_or_create(&patient).unwrap();
        for at in 0..count {
            home.clock.advance_s(1);
            let about = (at % 2 == 1).then(|| (subject.clone(), format!("Erika {at} Müller")));
            let place = log.append_blocking(Note { text: format!("note {at} ü"), about }, Change::default());
            drop(place.unwrap());
        }
        (home, log)
    }

    /// Exports a log into `name`, with or without the opened details.
    pub(crate) fn export(&self, log: &Log, name: &str, with_details: bool) -> PathBuf {
        self.export_with_proofs(log, name, with_details, &[])
    }

    /// The same with the proofs of these entries.
    pub(crate) fn export_with_proofs(&self, log: &Log, name: &str, with_details: bool, proved: &[u64]) -> PathBuf {
        use medseal::audit::export::ExportWriter;
        let out = self.path().join(name);
        let note = log.sign_now_blocking().unwrap();
        let mut export = ExportWriter::create(&out, &note, log.key()).unwrap();
        for earlier in log.reader().checkpoints(log.size()).unwrap() {
            export.past(&earlier).unwrap();
        }
        for line in log.reader().lines(0) {
            export.entry(&line.unwrap()).unwrap();
        }
        for seq in proved {
            let (_, line) = log.reader().entries(*seq, 1).unwrap().remove(0);
            export.prove(*seq, &line, inclusion(*seq, log.size(), &log.reader().tree()).unwrap()).unwrap();
        }
        if with_details {
            for opening in openings(log) {
                export.detail(&opening).unwrap();
            }
        }
        let exported = export.finish().unwrap();
        assert_eq!((exported.entries, exported.root), (log.size(), log.newest().root));
        out
    }
}

/// Every detail of a log, opened.
pub(crate) fn openings(log: &Log) -> Vec<Opening> {
    let opened = |seq| match log.reader().detail(seq).unwrap() {
        Detail::Open(opening) => Some(opening),
        _ => None,
    };
    (0..log.size()).filter_map(opened).collect()
}
