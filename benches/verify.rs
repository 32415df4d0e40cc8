//! How fast is a log verified, beside the limit that hashing sets? 500,000 leaves, of many kinds and about 470 bytes, as
//! the entries of a case are on average (those of `medseal demo`), or all of one kind and about 580, as a release has.
//!
//! Prints leaves per second for SHA-256 over the leaves alone on one core, for the walk that names what is wrong, for the
//! entries' files and for a whole export, on one core and on all, with the ratio to the first; all in one run, since
//! machines and loads differ.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![allow(clippy::cast_precision_loss, reason = "rates are rounded anyway")]

use std::hint::black_box;
use std::time::Instant;

use medseal::audit::export::{ExportWriter, verify_export};
use medseal::audit::note::{Checkpoint, LogKey};
use medseal::audit::tree::Frontier;
use medseal::audit::verify::{Against, Behind, verify_files, verify_lines};
use medseal::clock::Timestamp;
use medseal::json::Object;
use medseal::leaf::{self, Draft, NO_LEAF};
use medseal::signature::NoteSigner;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const LEAVES: u64 = 500_000;
const RUNS: usize = 9;

/// A kind of entry, and the facts of a release that it lacks.
type Kind = (&'static str, &'static [&'static str]);

const RELEASE: Kind = ("release", &[]);

/// In the order in which they come.
const OF_A_CASE: &[Kind] = &[
    ("case", &["bundle", "bytes", "policy", "sealed_sha256", "to"]),
    ("consent", &["bundle", "bytes", "policy", "sealed_sha256"]),
    ("intake", &["consent"]),
    ("decision", &["bytes", "sealed_sha256"]),
    RELEASE,
    ("receipt", &["policy", "purpose"]),
];

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Compiled by `cargo test --all-targets`, which wants no numbers.
        return;
    }
    for kinds in [OF_A_CASE, &[RELEASE]] {
        measure(lines(kinds));
        println!();
    }
}

fn measure(lines: Vec<Vec<u8>>) {
    let bytes: usize = lines.iter().map(Vec::len).sum();
    println!("{LEAVES} leaves of {} bytes on average; best of {RUNS} runs", bytes / lines.len());
    let all = sched_getaffinity(None).expect("this process runs somewhere");
    only(&one_of(&all));
    let hashing = rate(|| {
        for line in &lines {
            black_box(leaf::hash(line));
        }
    });
    println!("{:<40}{hashing:>12.0} leaves/s", "SHA-256 alone, one core");
    let told = |what: &str, rate: f64| println!("{what:<40}{rate:>12.0} leaves/s   {:.2} of hashing", rate / hashing);

    let signer = NoteSigner::from_seed(&[7; 32]);
    let mut tree = Frontier::new();
    for line in &lines {
        tree.push(leaf::hash(line));
    }
    let origin: medseal::audit::note::Origin = "bench.example/audit".parse().expect("a name");
    let key = LogKey::new(origin.clone(), signer.public());
    let note = Checkpoint { origin, size: LEAVES, root: tree.root() }.sign(&signer);
    let against = Against {
        checkpoint: Some(note.as_bytes()),
        keys: std::slice::from_ref(&key),
        trusted: None,
        behind: Behind::Finding,
    };
    let walk = rate(|| {
        let report = verify_lines(lines.iter().cloned().map(Ok), &against, |_| ()).expect("lines in memory");
        assert!(report.ok);
    });
    told("the walk, from memory", walk);

    let home = tempfile::tempdir().expect("a folder");
    let out = home.path().join("export");
    let mut export = ExportWriter::create(&out, &note, &key).expect("an export");
    for line in &lines {
        export.entry(line).expect("an entry");
    }
    export.finish().expect("a whole export");
    drop(lines);
    let entries = std::fs::read_dir(&out).expect("the export").map(|file| file.expect("a file").path());
    let entries: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect();
    for cores in [one_of(&all), all] {
        only(&cores);
        let count = std::thread::available_parallelism().expect("this process runs somewhere");
        let files = rate(|| {
            let report = verify_files(&entries, None, &against, |_| ()).expect("the entries");
            assert!(report.ok);
        });
        told(&format!("the entries' files, cores: {count}"), files);
        let export = rate(|| {
            let found = verify_export(&out, std::slice::from_ref(&key), None, |_| ()).expect("an export");
            assert!(found.report.ok);
        });
        told(&format!("a whole export, cores: {count}"), export);
    }
}

/// Lets this process run on these cores only.
fn only(cores: &CpuSet) {
    sched_setaffinity(None, cores).expect("they are ours");
}

fn one_of(all: &CpuSet) -> CpuSet {
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)).expect("one of them"));
    one
}

/// Leaves per second of the best run.
fn rate(mut work: impl FnMut()) -> f64 {
    let times = (0..RUNS).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    });
    LEAVES as f64 / times.fold(f64::INFINITY, f64::min)
}

/// Leaves of these kinds, one after the other.
fn lines(kinds: &[Kind]) -> Vec<Vec<u8>> {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
    let mut prev = NO_LEAF;
    let line = |(seq, (kind, without)): (u64, &Kind)| {
        let mut facts: Object = [
            ("bundle", "bundle-0123456789abcdef".into()),
            ("bytes", (1_000_000 + seq).into()),
            ("case", "case-0123456789abcdef".into()),
            ("consent", "consent-0123456789abcdef".into()),
            ("from", "st-mary".into()),
            ("policy", leaf::hash(&seq.to_be_bytes()).to_string().into()),
            ("purpose", "TREAT".into()),
            ("sealed_sha256", leaf::hash(&seq.to_le_bytes()).to_string().into()),
            ("to", "charite-berlin".into()),
        ]
        .map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value))
        .into();
        facts.retain(|name, _| !without.contains(&name.as_str()));
        let subject = "subject-0123456789abcdef".parse().expect("an id");
        let detail = leaf::hash(b"detail");
        let at = Timestamp::from_microsecond(start.as_microsecond() + i64::try_from(seq).expect("a small number"))
            .expect("a time");
        let draft = Draft { prev, seq, at, kind, facts: &facts, subject: Some(&subject), detail: Some(&detail) };
        let line = leaf::write(&draft).expect("a leaf").into_bytes();
        prev = leaf::hash(&line);
        line
    };
    (0..LEAVES).zip(kinds.iter().cycle()).map(line).collect()
}
