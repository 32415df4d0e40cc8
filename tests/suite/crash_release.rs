//! Is a bundle delivered exactly once, whenever either gateway is killed on the way?
//!
//! The daemon tells each step with one fixed phrase on standard error. Here that is a pipe in packet mode with every
//! slot taken: an event gets through only after the test took a packet out, so the daemon stands still exactly between
//! two steps for as long as the test likes, and is killed there.

use std::collections::BTreeSet;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::Value;

use crate::site::{Pair, Ran, Site, medseal, ran};

/// Lets the daemon's events through one by one.
struct Steps {
    reader: PipeReader,
    bytes: u64,
    fillers: usize,
}

impl Steps {
    fn new() -> (Self, PipeWriter) {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        fcntl_setfl(&writer, OFlags::DIRECT | OFlags::NONBLOCK).expect("a pipe has a packet mode");
        let mut fillers = 0;
        while writer.write(b".").is_ok() {
            fillers += 1;
        }
        fcntl_setfl(&writer, OFlags::DIRECT).expect("a pipe has a packet mode");
        (Self { reader, bytes: fillers as u64, fillers }, writer)
    }

    /// Lets one more event through and waits until it is told.
    fn next(&mut self) {
        let taken = self.take();
        assert!(taken > 0, "the daemon ended");
        let (rest, deadline) = (self.bytes, Instant::now() + Duration::from_mins(1));
        while self.bytes == rest {
            assert!(Instant::now() < deadline, "the daemon never came to this step");
            std::thread::sleep(Duration::from_millis(1));
            self.bytes = rustix::io::ioctl_fionread(&self.reader).expect("a pipe");
        }
    }

    fn take(&mut self) -> usize {
        let mut packet = [0; 4096];
        let taken = self.reader.read(&mut packet).expect("a pipe");
        self.bytes -= (taken as u64).min(self.bytes);
        taken
    }

    /// Lets everything through that is told by now, and counts the segments in it.
    fn let_go(&mut self, segments: &mut usize) {
        let mut packet = [0; 4096];
        while rustix::io::ioctl_fionread(&self.reader).expect("a pipe") > 0 {
            let bytes = self.reader.read(&mut packet).expect("a pipe");
            *segments += usize::from(String::from_utf8_lossy(&packet[..bytes]).contains("segment taken"));
        }
    }

    /// What the daemon told last. It must have ended.
    fn last(mut self) -> String {
        let mut told = String::new();
        // A packet is read whole or its rest is lost.
        let mut packet = [0; 4096];
        loop {
            match self.reader.read(&mut packet).expect("a pipe") {
                0 => return told,
                1 => {}
                bytes => told = String::from_utf8_lossy(&packet[..bytes]).into_owned(),
            }
        }
    }
}

/// Waits for events while the daemon runs, until one holds the phrase; then ends it.
fn kill_after(site: &mut Site, mut steps: Steps, number: usize, phrase: &str) {
    assert!(steps.fillers > number);
    for _ in 0..=number {
        steps.next();
    }
    site.kill();
    let last = steps.last();
    assert!(last.contains(phrase), "step {number} is {last:?}, not {phrase:?}");
}

fn impatient(site: &Site) {
    let path = site.home.join("medseal.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("delay_s_first = 5", "delay_s_first = 1");
    assert!(text.contains("delay_s_first = 1\n"), "{text}");
    medseal::durable::replace(&path, text.as_bytes(), 0o644).expect("written");
}

fn inbox(site: &Site) -> Vec<Value> {
    site.run(&["inbox"]).ok().json["items"].as_array().expect("a list").clone()
}

fn bundles(site: &Site) -> BTreeSet<String> {
    let list = site.run(&["status"]).ok();
    let items = list.json["items"].as_array().expect("a list").clone();
    items.iter().map(|item| item["bundle"].as_str().expect("an id").to_owned()).collect()
}

/// Every bundle that the hospital knows is delivered, and is at the institute once, with the same bytes.
fn all_is_well(pair: &Pair) {
    let sent = bundles(&pair.hospital);
    for bundle in &sent {
        let shown = pair.hospital.wait_for(bundle, &["delivered", "failed", "cancelled", "refused"]);
        assert_eq!(shown.text("state"), "delivered", "{}", shown.stdout);
        let receipt: Value =
            serde_json::from_str(shown.json["receipt"]["text"].as_str().expect("a receipt")).expect("JSON");
        assert_eq!(receipt["bundle"], bundle.as_str());
        let item =
            inbox(&pair.institute).into_iter().find(|item| item["bundle"] == bundle.as_str()).expect("it arrived");
        let kept = pair.institute.run(&["inbox", bundle]).ok();
        assert_eq!(kept.json["sealed_sha256"], shown.json["sealed_sha256"]);
        assert_eq!(receipt["dispatch"], medseal::id::Digest::of(kept.text("dispatch").as_bytes()).to_string());
        assert_eq!(item["sealed_bytes"], shown.json["sealed_bytes"]);
    }
    let received: Vec<String> =
        inbox(&pair.institute).iter().map(|item| item["bundle"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(received.len(), sent.len(), "{received:?} of {sent:?}");
    assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent);
}

fn logs_verify(pair: &Pair) {
    for site in [&pair.hospital, &pair.institute] {
        assert_eq!(site.run(&["audit", "verify"]).ok().json["ok"], true);
    }
}

/// A letter to send, different every time.
fn letter(pair: &Pair, number: usize) -> String {
    let path = pair.folder.path().join(format!("letter-{number}.txt"));
    medseal::durable::replace(&path, format!("Letter {number}: no finding.\n").as_bytes(), 0o600).expect("written");
    path.to_str().expect("a path").to_owned()
}

fn send(pair: &Pair, file: &str) -> std::process::Child {
    let mut command = medseal();
    command.arg("--home").arg(&pair.hospital.home).args(["--json", "send", file, "--case", &pair.case]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).spawn().expect("medseal runs")
}

fn ended(child: std::process::Child) -> Ran {
    ran(&child.wait_with_output().expect("it ends"))
}

#[test]
fn a_sender_killed_at_any_step_of_a_release_delivers_exactly_once() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    let steps = ["permitted", "release recorded", "offered", "segment sent", "body sent", "handing over"];
    let steps = steps.into_iter().chain(["receipt verified", "delivered"]);
    for (number, phrase) in steps.enumerate() {
        let (steps, pipe) = Steps::new();
        pair.hospital.start_telling("off,medseal::release=debug", pipe);
        ended(send(&pair, &letter(&pair, number))).ok();
        kill_after(&mut pair.hospital, steps, number, phrase);
        pair.hospital.start();
        all_is_well(&pair);
        pair.hospital.stop();
    }
    pair.hospital.start();
    logs_verify(&pair);
}

#[test]
fn a_gateway_killed_while_documents_come_in_keeps_nothing_half_made() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    for (number, phrase) in ["announced", "sealed", "published", "queued"].into_iter().enumerate() {
        let (steps, pipe) = Steps::new();
        pair.hospital.start_telling("off,medseal::desk=debug", pipe);
        let file = letter(&pair, number);
        let sending = send(&pair, &file);
        kill_after(&mut pair.hospital, steps, number, phrase);
        // Once it is queued nothing stands between the gateway and its answer.
        assert!(ended(sending).status != 0 || phrase == "queued", "{phrase:?} was taken for the end");
        // As a kill between the two leaves it: a sealed file that nobody was told of.
        let stray = pair.hospital.home.join("vault/sealed/bundle-0123456789abcdef");
        medseal::durable::write_new(&stray, b"noise", 0o600).expect("written");
        pair.hospital.start();
        let known = bundles(&pair.hospital);
        let files = std::fs::read_dir(pair.hospital.home.join("vault/sealed")).expect("the vault").count();
        let half = std::fs::read_dir(pair.hospital.home.join("vault/partial")).expect("the vault").count();
        assert_eq!((files, half), (known.len(), 0), "after {phrase:?}");
        assert!(known.is_empty() || number > 1, "recorded before it was published");
        all_is_well(&pair);
        pair.hospital.stop();
    }
    pair.hospital.start();
    logs_verify(&pair);
}

#[test]
fn a_receiver_killed_at_any_step_of_a_release_gets_it_exactly_once() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    pair.hospital.start();
    for (number, phrase) in
        ["segment taken", "dispatch verified", "stored", "received", "receipt signed"].into_iter().enumerate()
    {
        pair.institute.stop();
        let (steps, pipe) = Steps::new();
        pair.institute.start_telling("off,medseal::reception=debug", pipe);
        ended(send(&pair, &letter(&pair, number))).ok();
        kill_after(&mut pair.institute, steps, number, phrase);
        pair.institute.start();
        all_is_well(&pair);
    }
    logs_verify(&pair);
}

/// The institute killed in the middle of a body, and the transfer taken up again.
#[test]
fn a_receiver_killed_within_a_large_body_goes_on_where_it_was() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    pair.hospital.start();
    pair.institute.stop();
    let path = pair.folder.path().join("scan.bin");
    let mut file = std::fs::File::create_new(&path).expect("a file");
    let mut noise = medseal::id::Digest::of(b"noise");
    for _ in 0..LARGE_BYTES / BLOCK {
        let block: Vec<u8> = (0..BLOCK / 32)
            .flat_map(|_| {
                noise = medseal::id::Digest::of(noise.as_bytes());
                *noise.as_bytes()
            })
            .collect();
        file.write_all(&block).expect("written");
    }
    let (steps, pipe) = Steps::new();
    pair.institute.start_telling("off,medseal::reception=debug", pipe);
    let bundle = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
    kill_after(&mut pair.institute, steps, 5, "segment taken");
    let kept = std::fs::read_dir(pair.institute.home.join("vault/partial")).expect("the vault").count();
    assert_eq!(kept, 1, "what came is kept");
    let (mut steps, pipe) = Steps::new();
    pair.institute.start_telling("off,medseal::reception=debug", pipe);
    let mut rest = 0;
    while pair.hospital.run(&["status", &bundle]).ok().text("state") != "delivered" {
        steps.let_go(&mut rest);
    }
    pair.institute.stop();
    // Thirteen segments and a last short one; six had come.
    assert_eq!(rest, LARGE_BYTES / (8 << 20) + 1 - 6, "only what was missing came again");
    pair.institute.start();
    all_is_well(&pair);
    let out = pair.folder.path().join("out");
    pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).ok();
    assert!(std::fs::read(out.join("scan.bin")).expect("opened") == std::fs::read(&path).expect("sent"));
    logs_verify(&pair);
}

const LARGE_BYTES: usize = 104 << 20;
const BLOCK: usize = 1 << 20;
