//! Does a transfer wait, and say so, while a gateway's disk is full or read-only, and arrive once when it is not?

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crash_release::{ended, send};
use crate::site::{Pair, Ran, Site};
use crate::steps::Steps;
use crate::withdrawal_recall::sealed_files;

use super::disk::{Disk, try_to_start};
use super::rig::{Faults, MIB, arrived_once, noise, pair_of};

/// Who of the two has the disk that fails.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Side {
    Hospital,
    Institute,
}

/// How the disk fails.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Failure {
    Full,
    ReadOnly,
}

#[test]
fn below_the_floor_a_sender_takes_in_nothing_and_still_delivers_what_it_has() {
    let Some(disk) = Disk::new() else { return };
    let (pair, mut faults) = (with_disk(&disk, Side::Hospital), Faults::from_environment());
    pair.hospital.run(&["partner", "suspend", "nordhafen"]).ok();
    let first = give(&pair, "first.bin", &mut faults);
    disk.fill_but(500 * MIB);
    let path = noise(pair.folder.path(), "second.bin", MIB, &mut faults);
    let refused = ended(send(&pair, path.to_str().expect("a path")));
    assert_ne!(refused.status, 0, "{}", refused.stdout);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("DISK_FULL"), "{refused:?}");
    pair.hospital.run(&["partner", "resume", "nordhafen"]).ok();
    pair.hospital.wait_for(&first.0, &["delivered"]);
    disk.make_room();
    let second = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
    pair.hospital.wait_for(&second, &["delivered"]);
    arrived_once(&pair, &[first, (second, path)]);
}

#[test]
fn below_the_floor_a_receiver_takes_nothing_and_the_sender_waits_and_says_so() {
    let Some(disk) = Disk::new() else { return };
    let (pair, mut faults) = (with_disk(&disk, Side::Institute), Faults::from_environment());
    disk.fill_but(500 * MIB);
    let sent = give(&pair, "scan.bin", &mut faults);
    let refused = |status: &Value| status["state"] == "waiting" && status["reason"] == "PARTNER_FULL";
    let waiting = wait_until(&pair, &sent.0, refused);
    assert!(waiting.json["next_attempt"].is_string(), "{}", waiting.stdout);
    assert_eq!(sealed_files(&pair.institute), 0);
    disk.make_room();
    pair.hospital.wait_for(&sent.0, &["delivered"]);
    arrived_once(&pair, &[sent]);
}

#[test]
fn a_receiver_whose_disk_is_full_at_any_step_gets_it_once_there_is_room() {
    at_each_step(Side::Institute, Failure::Full, &RECEIVER);
}

#[test]
fn a_receiver_whose_disk_turns_read_only_at_any_step_gets_it_once_it_is_mended() {
    at_each_step(Side::Institute, Failure::ReadOnly, &RECEIVER);
}

#[test]
fn a_sender_whose_disk_is_full_at_any_step_delivers_once_there_is_room() {
    at_each_step(Side::Hospital, Failure::Full, &SENDER);
}

#[test]
fn a_sender_whose_disk_turns_read_only_at_any_step_delivers_once_it_is_mended() {
    at_each_step(Side::Hospital, Failure::ReadOnly, &SENDER);
}

/// Some of the events of a small transfer, each with its number.
type Moments = [(usize, &'static str)];

const RECEIVER: [(usize, &str); 5] =
    [(0, "segment taken"), (1, "dispatch verified"), (2, "stored"), (3, "received"), (4, "receipt signed")];
const SENDER: [(usize, &str); 5] =
    [(0, "permitted"), (1, "release recorded"), (4, "body sent"), (6, "receipt verified"), (7, "settling")];

/// Lets a gateway come to a step, lets its disk fail there, lets it go on, mends the disk, starts it again; and that for
/// each step. What was called delivered meanwhile must be there, whatever was lost of memory.
fn at_each_step(side: Side, failure: Failure, moments: &Moments) {
    let Some(disk) = Disk::new() else { return };
    let (mut pair, mut faults) = (with_disk(&disk, side), Faults::from_environment());
    let events = match side {
        Side::Hospital => "off,medseal::release=debug",
        Side::Institute => "off,medseal::reception=debug",
    };
    let mut sent = Vec::new();
    for (number, phrase) in moments {
        let (mut steps, pipe) = Steps::new();
        failing(&mut pair, side).stop();
        failing(&mut pair, side).start_telling(events, pipe);
        let bundle = give(&pair, &format!("{}.bin", phrase.replace(' ', "-")), &mut faults);
        (0..=*number).for_each(|_| steps.next());
        match failure {
            Failure::Full => disk.fill_but(0),
            Failure::ReadOnly => disk.turn_read_only(),
        }
        let heard = steps.heard();
        // What is on a full disk may be enough; on one that is read-only nothing more is recorded.
        let too_early = *number == 0 && failure == Failure::ReadOnly;
        settled(&mut pair, side, &bundle.0, too_early);
        failing(&mut pair, side).kill();
        let heard = heard.join().expect("the daemon has ended");
        assert!(heard[*number].contains(phrase), "{phrase} is not {:?}", heard[*number]);
        // A store may have room of its own on a full disk, and serve; whoever ends says why.
        let said = try_to_start(failing(&mut pair, side));
        let why = match failure {
            Failure::Full => "No space left on device",
            Failure::ReadOnly => "Read-only file system",
        };
        assert!(said.is_some() || failure == Failure::Full, "{phrase}: serves from a disk that is read-only");
        assert!(said.as_ref().is_none_or(|said| said.contains(why)), "{phrase}: {said:?}");
        match failure {
            Failure::Full => disk.make_room(),
            Failure::ReadOnly => disk.mend(),
        }
        failing(&mut pair, side).start();
        pair.hospital.wait_for(&bundle.0, &["delivered"]);
        sent.push(bundle);
    }
    arrived_once(&pair, &sent);
}

/// Waits until the failing gateway has ended or an attempt has, and nothing is called delivered that cannot be.
fn settled(pair: &mut Pair, side: Side, bundle: &str, too_early: bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !failing(pair, side).has_ended() {
        assert!(Instant::now() < deadline, "nothing comes of it");
        let shown = pair.hospital.run(&["status", bundle]);
        let has_reason = shown.json["reason"].is_string();
        let state = shown.json["state"].as_str().unwrap_or("");
        assert!(!(too_early && state == "delivered"), "{}", shown.stdout);
        if state == "delivered" || has_reason {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

const fn failing(pair: &mut Pair, side: Side) -> &mut Site {
    match side {
        Side::Hospital => &mut pair.hospital,
        Side::Institute => &mut pair.institute,
    }
}

fn with_disk(disk: &Disk, side: Side) -> Pair {
    let on = |folder: &Path, whose| if whose == side { disk.path() } else { folder.to_owned() };
    pair_of(|folder| {
        let hospital = Site::init(&on(folder, Side::Hospital), "tallinn-east", "EE");
        (hospital, Site::init(&on(folder, Side::Institute), "nordhafen", "DE"))
    })
}

/// Gives a bundle to the hospital's gateway.
fn give(pair: &Pair, name: &str, faults: &mut Faults) -> (String, PathBuf) {
    let path = noise(pair.folder.path(), name, MIB, faults);
    (ended(send(pair, path.to_str().expect("a path"))).ok().text("bundle"), path)
}

fn wait_until(pair: &Pair, bundle: &str, is: impl Fn(&Value) -> bool) -> Ran {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let shown = pair.hospital.run(&["status", bundle]).ok();
        if is(&shown.json) {
            return shown;
        }
        assert!(Instant::now() < deadline, "never: {}", shown.stdout);
        std::thread::sleep(Duration::from_millis(20));
    }
}
