//! Sealing and opening in MB/s, beside what the ciphers and digests allow, and in how much memory: `cargo bench --bench seal`.
//!
//! All of them take turns in the same run, so that the ratios mean something on a shared machine. Nothing touches a
//! disk. Each side passes over every byte: sealing hashes what comes in and what goes out, and encrypts in between.

#![allow(clippy::print_stdout, reason = "a measurement prints what it found")]

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret;
use medseal::bundle::bag::BagWriter;
use medseal::bundle::cover;
use medseal::bundle::descriptor::Descriptor;
use medseal::bundle::document::{Confidentiality, ConfidentialityCode, Document, PatientCheck};
use medseal::bundle::extract::check_bag;
use medseal::bundle::path::BundlePath;
use medseal::bundle::tar_read::TarLimits;
use medseal::id::{BundleId, CaseId, Digest};
use medseal::seal::{self, Identities};
use sha2::{Digest as _, Sha256};

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Compiled by `cargo test --all-targets`, which wants no numbers.
        return;
    }
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public();
    let identities = Identities::parse(identity.to_string().expose_secret()).expect("an identity");

    println!("{} MiB per round, median of {ROUNDS} rounds", ROUND_BYTES >> 20);
    let whole = sealed(&recipient, ROUND_BYTES, Vec::with_capacity(as_usize(ROUND_BYTES) + (16 << 20)));
    let mut rates: [Vec<Rate>; 6] = Default::default();
    for _ in 0..ROUNDS {
        rates[0].push(rate(|| hash(&mut content(ROUND_BYTES))));
        rates[1].push(rate(|| age_seals(&recipient)));
        rates[2].push(rate(|| _ = sealed(&recipient, ROUND_BYTES, io::sink())));
        rates[3].push(rate(|| hash(&mut &whole[..])));
        rates[4].push(rate(|| age_opens(&identity, &whole)));
        rates[5].push(rate(|| opened(&identities, &whole[..])));
    }
    drop(whole);
    let [hash_in, age_seal, seal, hash_out, age_open, open] = rates.map(median);
    // One after the other on one core: the digests and the cipher, each as fast as it was seen alone.
    let seal_limit = 1.0 / (2.0 / hash_in.busy + 1.0 / age_seal.busy);
    let open_limit = 1.0 / (1.0 / hash_out.busy + 1.0 / age_open.busy);
    println!("{:<44}{:>10}{:>18}{:>14}", "", "MB/s", "MB/s of one core", "of its limit");
    let line = |what, rate: Rate| println!("{what:<44}{:>10.0}{:>18.0}", rate.wall, rate.busy);
    let limit = |what, busy: f64| println!("{what:<44}{:>10}{busy:>18.0}", "");
    let ours = |what, rate: Rate, limit: f64| {
        println!("{what:<44}{:>10.0}{:>18.0}{:>13.0}%", rate.wall, rate.busy, rate.busy / limit * 100.0);
    };
    line("one SHA-256", hash_in);
    line("age's own writer alone", age_seal);
    limit("limit of sealing: two digests and age", seal_limit);
    ours("medseal seals a bag", seal, seal_limit);
    line("age's own reader alone", age_open);
    limit("limit of opening: one digest and age", open_limit);
    ours("medseal opens and checks a bag", open, open_limit);

    memory(&recipient, &identities);
}

/// A bag of 4 GiB goes through sealing and opening at once; the resident memory must not grow with it.
fn memory(recipient: &age::x25519::Recipient, identities: &Identities) {
    let bytes = std::env::var("MEDSEAL_BENCH_BYTES").map_or(MEMORY_BYTES, |text| text.parse().expect("a number"));
    reset_peak();
    let before = resident("VmRSS:");
    let (reader, writer) = io::pipe().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(|| sealed(recipient, bytes, writer));
        opened(identities, reader);
    });
    let grown = resident("VmHWM:").saturating_sub(before);
    println!("{} MiB sealed and opened at once: the memory grew by {grown} KiB", bytes >> 20);
    assert!(grown <= GROWTH_KIB_MAX, "the memory grew by {grown} KiB; {GROWTH_KIB_MAX} are allowed");
}

/// Seals a bag of documents with `bytes` bytes in all.
fn sealed<W: Write + Send + 'static>(recipient: &age::x25519::Recipient, bytes: u64, out: W) -> W {
    let sealing = seal::seal(&[recipient.to_string()], out).expect("a recipient");
    let bundle = BundleId::random();
    let mut bag = BagWriter::new(sealing, &bundle).expect("a bag");
    let mut documents = Vec::new();
    for number in 0..DOCUMENTS {
        let path: BundlePath = format!("series/{number:04}.dcm").parse().expect("a path");
        let bytes = bytes / DOCUMENTS;
        let sha256 = bag.document(&path, bytes, content(bytes), |_| ()).expect("a document");
        documents.push(Document {
            path,
            media_type: "application/dicom".to_owned(),
            class: None,
            title: None,
            confidentiality: Confidentiality { code: ConfidentialityCode::N, assumed: true },
            sensitivity: Vec::new(),
            date: None,
            patient_check: PatientCheck::NotChecked,
            bytes,
            sha256,
        });
    }
    let descriptor = Descriptor {
        format: Descriptor::FORMAT.to_owned(),
        kind: "records".to_owned(),
        bundle,
        case: CaseId::random(),
        from: "st-mary".parse().expect("an id"),
        to: "institute".parse().expect("an id"),
        purpose: "TREAT".parse().expect("a purpose"),
        created: "2026-11-22T10:00:00.000000Z".to_owned(),
        question: None,
        patient: None,
        documents,
        notices: Vec::new(),
        answers: None,
        opinion: None,
    };
    let (sealing, _) = bag.finish(&descriptor, &cover::page(&descriptor)).expect("a whole bag");
    sealing.finish().expect("sealed").0
}

fn opened(identities: &Identities, file: impl Read) {
    let limits = TarLimits { entries_max: 10_000, bytes_max: 1 << 40 };
    let bag = check_bag(seal::open(file, identities).expect("opens"), limits).expect("whole");
    assert_eq!(bag.descriptor.documents.len() as u64, DOCUMENTS);
}

fn age_seals(recipient: &age::x25519::Recipient) {
    let recipients = std::iter::once::<&dyn age::Recipient>(recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).expect("a recipient");
    let mut stream = encryptor.wrap_output(io::sink()).expect("a stream");
    let mut content = content(ROUND_BYTES);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match content.read(&mut buffer).expect("content") {
            0 => break,
            count => stream.write_all(&buffer[..count]).expect("written"),
        }
    }
    stream.finish().expect("sealed");
}

fn age_opens(identity: &age::x25519::Identity, file: &[u8]) {
    let identities = std::iter::once::<&dyn age::Identity>(identity);
    let mut stream = age::Decryptor::new(file).expect("a header").decrypt(identities).expect("opens");
    let mut buffer = vec![0; BUFFER_BYTES];
    while stream.read(&mut buffer).expect("content") > 0 {}
}

fn hash(content: &mut impl Read) {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match content.read(&mut buffer).expect("content") {
            0 => break,
            count => sha256.update(&buffer[..count]),
        }
    }
    assert_ne!(Digest::from_bytes(sha256.finalize().into()), Digest::of(b""));
}

fn content(bytes: u64) -> impl Read {
    io::repeat(0x5a).take(bytes)
}

/// MB per second: by the clock on the wall, and by the time that this process had cores, which neighbours do not slow.
#[derive(Clone, Copy)]
struct Rate {
    wall: f64,
    busy: f64,
}

/// How fast `step` passes over a round's bytes.
fn rate(step: impl FnOnce()) -> Rate {
    let megabytes = f64::from(u32::try_from(ROUND_BYTES / 1_000_000).expect("few"));
    let (start, busy) = (Instant::now(), busy());
    step();
    let busy = self::busy().saturating_sub(busy);
    Rate { wall: megabytes / start.elapsed().as_secs_f64(), busy: megabytes / busy.as_secs_f64() }
}

fn median(mut rates: Vec<Rate>) -> Rate {
    rates.sort_by(|a, b| a.busy.total_cmp(&b.busy));
    rates[rates.len() / 2]
}

/// How long this process had cores so far, all of them together.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().expect("after its start"), time.tv_nsec.try_into().expect("part of a second"))
}

/// A line of `/proc/self/status`, in KiB.
fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says so");
    let value = status.lines().find_map(|found| found.strip_prefix(line)).expect("the line");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Makes the kernel forget the peak so far.
fn reset_peak() {
    std::fs::File::options()
        .write(true)
        .open("/proc/self/clear_refs")
        .and_then(|mut file| file.write_all(b"5"))
        .expect("the peak is reset");
}

fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("fits")
}

const DOCUMENTS: u64 = 64;
const ROUNDS: usize = 5;
const ROUND_BYTES: u64 = 256 << 20;
const MEMORY_BYTES: u64 = 4 << 30;
const GROWTH_KIB_MAX: u64 = 64 << 10;
const BUFFER_BYTES: usize = 256 * 1024;
