//! What the log costs, from an empty one to a million entries: `cargo bench --bench log`.
//!
//! First how fast entries are recorded, and how long a caller waits for its own, beside a plain file that is written and
//! synced in the same groups in the same run. Then how the log grows: bytes on disk, the time of a start, of a proof and
//! of a verification, and memory. `MEDSEAL_BENCH_ENTRIES` sets the largest size.

#![allow(clippy::print_stdout, reason = "a measurement prints what it found")]

#[allow(dead_code, reason = "the tests ask more than a measurement does")]
#[path = "../tests/suite/log_home.rs"]
mod log_home;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log_home::{Home, Note};
use medseal::audit::log::{Change, GROUP_MAX, Log};
use medseal::audit::proof::inclusion;
use medseal::audit::verify::{Against, Behind, verify_lines};
use medseal::id::SubjectId;
use medseal::store::Store;
use medseal::store::sled::SledStore;
use tokio::runtime::Runtime;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Compiled by `cargo test --all-targets`, which wants no numbers.
        return;
    }
    let entries = std::env::var("MEDSEAL_BENCH_ENTRIES").map_or(1_000_000, |text| text.parse().expect("a number"));
    let base = std::env::var_os("MEDSEAL_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let runtime = Runtime::new().expect("a runtime");
    recording(&runtime, Path::new(&base));
    growing(&runtime, Path::new(&base), entries);
}

/// A log in a folder of its own, which goes with it.
struct Bench {
    home: Home,
    store: Arc<dyn Store>,
    patient: SubjectId,
}

impl Bench {
    fn begin(base: &Path) -> Self {
        let folder = tempfile::tempdir_in(base).expect("a folder");
        let store: Arc<dyn Store> = Arc::new(SledStore::create(&folder.path().join("store")).expect("a store"));
        let home = Home::begin_in(folder, &store);
        let patient = "https://hospital.example/mrn|4711".parse().expect("an identifier");
        let patient = home.subjects.find_or_create(&patient).expect("a subject");
        Self { home, store, patient }
    }

    fn open(&self) -> Log {
        Log::open(self.home.parts(&self.store)).expect("a log")
    }

    /// An entry of ordinary size: 600 bytes of leaf, and 150 of detail when it is about someone.
    fn note(&self, about: About) -> Note {
        let about = (about == About::APatient).then(|| (self.patient.clone(), "n".repeat(150)));
        Note { text: "f".repeat(if about.is_some() { 220 } else { 320 }), about }
    }

    /// Entries per second while so many callers each wait for their own, and how long they waited.
    fn record(&self, runtime: &Runtime, log: &Log, callers: u64, entries: u64, about: About) -> (f64, Vec<Duration>) {
        let start = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let notes: Vec<Note> = (0..entries / callers).map(|_| self.note(about)).collect();
                let log = log.clone();
                runtime.spawn(async move {
                    let mut waited = Vec::with_capacity(notes.len());
                    for note in notes {
                        let asked = Instant::now();
                        drop(log.append(note, Change::default()).await.expect("recorded"));
                        waited.push(asked.elapsed());
                    }
                    waited
                })
            })
            .collect();
        let waited: Vec<Duration> =
            tasks.into_iter().flat_map(|task| runtime.block_on(task).expect("a caller ends")).collect();
        (to_f64(waited.len() as u64) / start.elapsed().as_secs_f64(), waited)
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum About {
    Nobody,
    APatient,
}

fn recording(runtime: &Runtime, base: &Path) {
    println!("durable entries per second, and how long a caller waited, in milliseconds; median of {ROUNDS} rounds");
    println!("{:<44}{:>12}{:>12}{:>9}{:>9}{:>9}", "callers at once", "limit/s", "entries/s", "p50", "p99", "most");
    for (what, about) in [("about nobody", About::Nobody), ("about a patient, with a sealed detail", About::APatient)] {
        for callers in [1, 16, 128, 256, 1000] {
            let bench = Bench::begin(base);
            let log = bench.open();
            let (mut limits, mut rates, mut waited) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let group = callers.min(GROUP_MAX as u64);
                limits.push(limit(base, group));
                let (rate, times) = bench.record(runtime, &log, callers, (callers * 100).clamp(2_000, 40_000), about);
                rates.push(rate);
                waited.extend(times);
            }
            log.close().expect("closed");
            waited.sort_unstable();
            let at = |percent: usize| ms(waited[(waited.len() - 1) * percent / 100]);
            let (limit, rate) = (median(limits), median(rates));
            let what = format!("{callers} {what}");
            println!("{what:<44}{limit:>12.0}{rate:>12.0}{:>9.2}{:>9.2}{:>9.2}", at(50), at(99), at(100));
        }
    }
}

/// Entries per second when a plain file takes a group of them and is synced, for half a second.
fn limit(base: &Path, group: u64) -> f64 {
    let mut file = tempfile::tempfile_in(base).expect("a file");
    let bytes = vec![b'l'; 600 * usize::try_from(group).expect("few")];
    let start = Instant::now();
    let mut groups = 0;
    while start.elapsed() < Duration::from_millis(500) {
        file.write_all(&bytes).and_then(|()| File::sync_data(&file)).expect("synced");
        groups += 1;
    }
    to_f64(groups * group) / start.elapsed().as_secs_f64()
}

fn growing(runtime: &Runtime, base: &Path, entries: u64) {
    println!();
    println!(
        "{:<12}{:>10}{:>12}{:>12}{:>12}{:>14}{:>12}",
        "entries", "MB", "start, ms", "RSS, MB", "proof, ms", "verified/s", "verify, s"
    );
    let mut bench = Bench::begin(base);
    for size in [entries / 100, entries / 10, entries] {
        let log = bench.open();
        let more = size.saturating_sub(log.size());
        drop(bench.record(runtime, &log, 1000.min(more), more, About::APatient));
        log.close().expect("closed");
        drop(log);
        bench.store = Arc::new(medseal::store::memory::MemoryStore::create());
        let before = resident();
        let started = Instant::now();
        bench.store = Arc::new(SledStore::open(&bench.home.path().join("store")).expect("a store"));
        let log = bench.open();
        let start = started.elapsed();
        let grown = resident().saturating_sub(before);
        let tree = log.reader().tree();
        let proved = Instant::now();
        for at in 0..PROOFS {
            let seq = at * log.size() / PROOFS;
            drop(std::hint::black_box(inclusion(seq, log.size(), &tree).expect("a proof")));
        }
        let proof = proved.elapsed() / u32::try_from(PROOFS).expect("few");
        let note = log.sign_now_blocking().expect("signed");
        let key = log.key().clone();
        let against = Against {
            checkpoint: Some(note.as_bytes()),
            keys: std::slice::from_ref(&key),
            trusted: None,
            behind: Behind::Finding,
        };
        let verified = Instant::now();
        let lines = log.reader().lines(0).map(|line| line.map_err(std::io::Error::other));
        assert!(verify_lines(lines, &against, |_| ()).expect("read").ok, "the log verifies");
        let verified = verified.elapsed();
        println!(
            "{:<12}{:>10}{:>12.0}{:>12}{:>12.3}{:>14.0}{:>12.1}",
            log.size(),
            folder_bytes(&bench.home.path().join("store")) / 1_000_000,
            ms(start),
            grown / 1_000_000,
            ms(proof),
            to_f64(log.size()) / verified.as_secs_f64(),
            verified.as_secs_f64(),
        );
        log.close().expect("closed");
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let about = entry.metadata().expect("metadata");
            if about.is_dir() { folder_bytes(&entry.path()) } else { about.len() }
        })
        .sum()
}

/// The bytes of memory that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("few"))
}

const ROUNDS: usize = 3;
const PROOFS: u64 = 1000;
