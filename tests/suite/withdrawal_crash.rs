//! Is a bundle recalled exactly once, whenever either gateway is killed on the way?

use crate::crash_release::{ended, letter, logs_verify, send};
use crate::site::Pair;
use crate::steps::{Steps, impatient, kill_after};
use crate::withdrawal_recall::{entries, sealed_files};

fn delivered(pair: &Pair, number: usize) -> String {
    let bundle = ended(send(pair, &letter(pair, number))).ok().text("bundle");
    pair.hospital.wait_for(&bundle, &["delivered"]);
    bundle
}

fn recalled_once(pair: &Pair, bundle: &str, phrase: &str) {
    let status = pair.hospital.wait_for(bundle, &["recalled"]);
    assert!(status.json["recall"]["answer"]["destroyed"].is_string(), "after {phrase:?}: {}", status.stdout);
    assert_eq!(entries(&pair.hospital, "recalled", bundle).len(), 1, "after {phrase:?}");
    assert_eq!(entries(&pair.institute, "destroyed", bundle).len(), 1, "after {phrase:?}");
    assert_eq!(sealed_files(&pair.institute), 0, "after {phrase:?}");
}

#[test]
fn a_sender_killed_at_any_step_of_a_recall_recalls_exactly_once() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    for (number, phrase) in ["recall recorded", "recall answered", "recalled"].into_iter().enumerate() {
        pair.hospital.start();
        let bundle = delivered(&pair, number);
        pair.hospital.stop();
        let (steps, pipe) = Steps::new();
        pair.hospital.start_telling("off,medseal::recall=debug", pipe);
        pair.hospital.run(&["recall", &bundle, "--reason", "a mistake"]).ok();
        kill_after(&mut pair.hospital, steps, number, phrase);
        pair.hospital.start();
        recalled_once(&pair, &bundle, phrase);
        pair.hospital.stop();
    }
    pair.hospital.start();
    logs_verify(&pair);
}

#[test]
fn a_receiver_killed_at_any_step_of_a_recall_destroys_exactly_once() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    pair.hospital.start();
    let steps = ["recall verified", "recall taken", "sealed file removed", "destroyed", "recall answer signed"];
    for (number, phrase) in steps.into_iter().enumerate() {
        let bundle = delivered(&pair, number);
        pair.institute.stop();
        let (steps, pipe) = Steps::new();
        pair.institute.start_telling("off,medseal::reception::recalls=debug", pipe);
        pair.hospital.run(&["recall", &bundle, "--reason", "a mistake"]).ok();
        kill_after(&mut pair.institute, steps, number, phrase);
        pair.institute.start();
        recalled_once(&pair, &bundle, phrase);
    }
    logs_verify(&pair);
}

/// As a kill leaves it, and with a sender that never comes again: the receiver ends what it has begun.
#[test]
fn a_receiver_ends_at_its_start_what_it_recorded_before_it_was_killed() {
    let mut pair = Pair::ready();
    let bundle = delivered(&pair, 0);
    pair.institute.stop();
    let sealed = std::fs::read_dir(pair.institute.home.join("vault/sealed")).expect("the vault");
    let [sealed] = &sealed.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()[..] else {
        panic!("one bundle was delivered");
    };
    let bytes = std::fs::read(sealed).expect("the sealed file");
    let (steps, pipe) = Steps::new();
    pair.institute.start_telling("off,medseal::reception::recalls=debug", pipe);
    pair.hospital.run(&["recall", &bundle, "--reason", "a mistake"]).ok();
    kill_after(&mut pair.institute, steps, 1, "recall taken");
    pair.hospital.kill();
    // The file goes right after that step, sometimes before the kill: a kill in between leaves it.
    medseal::durable::replace(sealed, &bytes, 0o600).expect("written");
    pair.institute.start();
    assert_eq!(sealed_files(&pair.institute), 0);
    assert_eq!(entries(&pair.institute, "destroyed", &bundle).len(), 1);
}
