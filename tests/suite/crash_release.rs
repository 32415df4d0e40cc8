//! Is a bundle delivered exactly once, whenever either gateway is killed on the way?

use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::Value;

use crate::site::{Pair, Ran, Site, medseal, ran};
use crate::steps::{Steps, impatient, kill_after};

pub(crate) fn inbox(site: &Site) -> Vec<Value> {
    site.run(&["inbox"]).ok().json["items"].as_array().expect("a list").clone()
}

fn bundles(site: &Site) -> BTreeSet<String> {
    let list = site.run(&["status"]).ok();
    let items = list.json["items"].as_array().expect("a list").clone();
    items.iter().map(|item| item["bundle"].as_str().expect("an id").to_owned()).collect()
}

/// Every bundle that the hospital knows is delivered, and is at the institute once, with the same bytes.
pub(crate) fn all_is_well(pair: &Pair) {
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

pub(crate) fn logs_verify(pair: &Pair) {
    for site in [&pair.hospital, &pair.institute] {
        assert_eq!(site.run(&["audit", "verify"]).ok().json["ok"], true);
    }
}

/// A letter to send, different every time.
pub(crate) fn letter(pair: &Pair, number: usize) -> String {
    let path = pair.folder.path().join(format!("letter-{number}.txt"));
    medseal::durable::replace(&path, format!("Letter {number}: no finding.\n").as_bytes(), 0o600).expect("written");
    path.to_str().expect("a path").to_owned()
}

pub(crate) fn send(pair: &Pair, file: &str) -> std::process::Child {
    let mut command = medseal();
    command.arg("--home").arg(&pair.hospital.home).args(["--json", "send", file, "--case", &pair.case]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).spawn().expect("medseal runs")
}

pub(crate) fn ended(child: std::process::Child) -> Ran {
    ran(&child.wait_with_output().expect("it ends"))
}

#[test]
fn a_sender_killed_at_any_step_of_a_release_delivers_exactly_once() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    let steps = ["permitted", "release recorded", "offered", "segment sent", "body sent", "handing over"];
    let steps = steps.into_iter().chain(["receipt verified", "settling", "delivered"]);
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
    let path = large_file(&pair);
    let (steps, pipe) = Steps::new();
    pair.institute.start_telling("off,medseal::reception=debug", pipe);
    let bundle = ended(send(&pair, &path)).ok().text("bundle");
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
    // Thirteen segments and a last short one; six had come, and those on the three other lines perhaps, too.
    let missing = LARGE_BYTES / (8 << 20) + 1 - 6;
    assert!((missing - 3..=missing).contains(&rest), "only what was missing came again: {rest} segments");
    pair.institute.start();
    all_is_well(&pair);
    let out = pair.folder.path().join("out");
    pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).ok();
    assert!(std::fs::read(out.join("scan.bin")).expect("opened") == std::fs::read(&path).expect("sent"));
    logs_verify(&pair);
}

/// A file of noise that takes many segments to send.
pub(crate) fn large_file(pair: &Pair) -> String {
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
    path.to_str().expect("a path").to_owned()
}

const LARGE_BYTES: usize = 104 << 20;
const BLOCK: usize = 1 << 20;
