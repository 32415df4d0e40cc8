//! Is anything that was acknowledged ever lost, on the disk, whoever writes and whenever it is killed?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use medseal::audit::log::{Change, Log, Place};
use medseal::audit::note::LogKey;
use medseal::audit::verify::{Against, Behind, Report, verify_lines};
use medseal::id::Digest;
use medseal::leaf;
use medseal::signature::NoteSigner;
use medseal::store::Store;
use medseal::store::sled::SledStore;

use crate::log_home::{Home, note};

pub(crate) fn store_dir(home: &Path) -> PathBuf {
    home.join("store")
}

/// Opens the store and the log again, adds an entry, closes, and verifies everything.
pub(crate) fn reopened(home: &Home, acknowledged: &[Place]) -> u64 {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&store_dir(home.path())).unwrap());
    let log = Log::open(home.parts(&store)).unwrap();
    let before = log.size();
    drop(log.append_blocking(note("again"), Change::default()).unwrap());
    log.close().unwrap();
    let report = verified(home.path(), &log);
    assert_eq!((report.ok, report.entries, report.signed), (true, before + 1, before + 1), "{report:?}");
    for place in acknowledged {
        let line = &log.reader().entries(place.seq, 1).unwrap()[0].1;
        assert_eq!(leaf::hash(line), place.leaf, "entry {} was acknowledged and is lost", place.seq);
    }
    before
}

fn verified(home: &Path, log: &Log) -> Report {
    let note = std::fs::read(home.join("head/checkpoint")).unwrap();
    let key = LogKey::new("st-mary.example/audit".parse().unwrap(), NoteSigner::from_seed(&[7; 32]).public());
    let against = Against { checkpoint: Some(&note), keys: &[key], trusted: None, behind: Behind::Finding };
    let lines = log.reader().lines(0).map(|line| line.map_err(std::io::Error::other));
    verify_lines(lines, &against, |_| ()).unwrap()
}

/// A home whose store is on the disk and closed again.
pub(crate) fn home_on_disk() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SledStore::create(&store_dir(dir.path())).unwrap());
    Home::begin_in(dir, &store)
}

#[test]
fn many_callers_on_the_disk_get_places_of_their_own() {
    let home = home_on_disk();
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&store_dir(home.path())).unwrap());
    let log = Log::open(home.parts(&store)).unwrap();
    let mut places: Vec<Place> = std::thread::scope(|scope| {
        let write = |who: usize| {
            let log = &log;
            move || -> Vec<Place> {
                let append = |at| log.append_blocking(note(&format!("{who} {at}")), Change::default()).unwrap();
                (0..40).map(|at| append(at).place().clone()).collect()
            }
        };
        let callers: Vec<_> = (0..8).map(|who| scope.spawn(write(who))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    places.sort_by_key(|place| place.seq);
    assert_eq!(places.iter().map(|place| place.seq).collect::<Vec<_>>(), (1..=320).collect::<Vec<_>>());
    log.close().unwrap();
    drop((log, store));
    assert_eq!(reopened(&home, &places), 321);
}

/// The environment variable that makes this test program the process to be killed.
const CHILD: &str = "MEDSEAL_TEST_LOG_HOME";

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(home) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&home));
    }
    let home = home_on_disk();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log_faults::nothing_acknowledged_is_lost_when_the_process_is_killed", "--nocapture"])
            .env(CHILD, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let acknowledged: Vec<Place> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .filter_map(|line| serde_json::from_str(line.unwrap().strip_prefix("place ")?).ok())
            .take(20 + round * 37)
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(acknowledged.len(), 20 + round * 37);
        assert!(reopened(&home, &acknowledged) > acknowledged.len() as u64);
    }
}

/// Appends from four threads and prints each place once it is acknowledged.
fn write_until_killed(home: &Path) {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&store_dir(home)).unwrap());
    let parts = Home::parts_of(home, &store);
    let log = Log::open(parts).unwrap();
    std::thread::scope(|scope| {
        for who in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for at in 0..10_000 {
                    let recorded = log.append_blocking(note(&format!("{who} {at}")), Change::default()).unwrap();
                    let place = serde_json::to_string(recorded.place()).unwrap();
                    let mut out = std::io::stdout().lock();
                    // The reader goes away just before the kill.
                    drop(writeln!(out, "\nplace {place}"));
                }
            });
        }
    });
    assert_ne!(log.newest().leaf, Digest::from_bytes([0; 32]));
}
