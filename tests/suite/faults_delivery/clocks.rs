//! Does a bundle arrive once, under a permit that is fresh, when a gateway's clock is set in the middle of a transfer?

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::crash_release::{ended, send};
use crate::needs;
use crate::site::Site;
use crate::steps::Steps;

use super::rig::{Faults, MIB, arrived_once, noise, pair_of, set};

/// The time of day of one daemon, which can be set while it runs; the clock that nobody sets goes on as it does.
struct TimeOfDay {
    offset: PathBuf,
    library: PathBuf,
}

impl TimeOfDay {
    /// `None`, after saying why, where libfaketime is not installed.
    fn new(folder: &Path) -> Option<Self> {
        needs::tool("faketime")?;
        let in_lib = std::fs::read_dir("/usr/lib").expect("a folder").filter_map(Result::ok);
        let found = in_lib.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
        let time = Self { offset: folder.join("time-of-day"), library: found.expect("faketime has its library") };
        time.set(0);
        Some(time)
    }

    /// So many seconds ahead of the truth, or behind it.
    fn set(&self, seconds: i32) {
        medseal::durable::replace(&self.offset, format!("{seconds:+}\n").as_bytes(), 0o644).expect("written");
    }

    fn env(&self) -> [(&str, &str); 4] {
        let text = |path| Path::to_str(path).expect("a path");
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.offset)),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

#[test]
fn a_receiver_whose_clock_is_set_at_any_step_gets_it_once_when_it_is_right_again() {
    const STEPS: [(usize, &str); 4] =
        [(0, "segment taken"), (1, "dispatch verified"), (2, "stored"), (4, "receipt signed")];
    let folder = tempfile::tempdir().expect("a folder");
    let Some(time) = TimeOfDay::new(folder.path()) else { return };
    let mut faults = Faults::from_environment();
    let mut pair = pair_of(|folder| (Site::init(folder, "tallinn-east", "EE"), Site::init(folder, "nordhafen", "DE")));
    let mut sent = Vec::new();
    for (at, (number, phrase)) in STEPS.iter().enumerate() {
        let (mut told, pipe) = Steps::new();
        pair.institute.stop();
        pair.institute.start_telling_with("off,medseal::reception=debug", pipe, &time.env());
        let path = noise(pair.folder.path(), &format!("scan-{at}.bin"), MIB, &mut faults);
        let bundle = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
        (0..=*number).for_each(|_| told.next());
        time.set(if at % 2 == 0 { 3 * HOUR_S } else { -3 * HOUR_S });
        let heard = told.heard();
        let first = pair.hospital.wait_for(&bundle, &["waiting", "delivered"]);
        assert!(first.text("state") == "delivered" || first.json["reason"].is_string(), "{}", first.stdout);
        time.set(0);
        pair.hospital.wait_for(&bundle, &["delivered"]);
        pair.institute.stop();
        let heard = heard.join().expect("the daemon has ended");
        assert!(heard[*number].contains(phrase), "{phrase} is not {:?}", heard[*number]);
        pair.institute.start();
        sent.push((bundle, path));
    }
    arrived_once(&pair, &sent);
}

/// Its partners refuse what is dated in the future. The log's own time never goes back, and delivery must not wait for it.
#[test]
fn what_was_put_off_while_the_clock_was_ahead_is_delivered_at_once_when_it_is_right_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(time) = TimeOfDay::new(folder.path()) else { return };
    let mut faults = Faults::from_environment();
    let mut pair = pair_of(|folder| (Site::init(folder, "tallinn-east", "EE"), Site::init(folder, "nordhafen", "DE")));
    pair.hospital.stop();
    pair.institute.stop();
    pair.hospital.start_with(&time.env());
    time.set(3 * HOUR_S);
    let path = noise(pair.folder.path(), "scan.bin", MIB, &mut faults);
    let bundle = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
    let attempts = || pair.hospital.run(&["status", &bundle]).ok().json["attempts"].as_array().map_or(0, Vec::len);
    let deadline = Instant::now() + Duration::from_mins(2);
    while attempts() < 2 {
        assert!(Instant::now() < deadline, "it is never tried");
        std::thread::sleep(Duration::from_millis(20));
    }
    time.set(0);
    pair.institute.start();
    pair.hospital.wait_for(&bundle, &["delivered"]);
    arrived_once(&pair, &[(bundle, path)]);
}

/// To our clock the agreement that was made a moment ago, and the key on the card, begin in three hours. Waiting helps, so
/// nothing is refused for good.
#[test]
fn a_partner_that_does_not_count_yet_by_our_clock_is_waited_for_with_a_reason_and_a_next_try() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(time) = TimeOfDay::new(folder.path()) else { return };
    let mut faults = Faults::from_environment();
    let mut pair = pair_of(|folder| (Site::init(folder, "tallinn-east", "EE"), Site::init(folder, "nordhafen", "DE")));
    pair.hospital.stop();
    time.set(-3 * HOUR_S);
    pair.hospital.start_with(&time.env());
    let path = noise(pair.folder.path(), "scan.bin", MIB, &mut faults);
    let bundle = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
    let waiting = pair.hospital.wait_for(&bundle, &["waiting"]);
    assert_eq!(waiting.text("reason"), "PARTNER_NOT_YET", "{}", waiting.stdout);
    assert!(waiting.json["next_attempt"].is_string(), "{}", waiting.stdout);
    time.set(0);
    pair.hospital.wait_for(&bundle, &["delivered"]);
    arrived_once(&pair, &[(bundle, path)]);
}

/// The time of day alone would say that the permit is half a minute old.
#[test]
fn a_permit_dies_within_a_minute_although_the_clock_is_set_back_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(time) = TimeOfDay::new(folder.path()) else { return };
    let mut faults = Faults::from_environment();
    let mut pair = pair_of(|folder| {
        let sites = (Site::init(folder, "tallinn-east", "EE"), Site::init(folder, "nordhafen", "DE"));
        // The line outlives the minute.
        set(&sites.0, "idle_s_max", 180);
        set(&sites.1, "idle_s_max", 180);
        sites
    });
    let (mut steps, pipe) = Steps::new();
    pair.hospital.stop();
    pair.hospital.start_telling_with("off,medseal::release=debug", pipe, &time.env());
    let path = noise(pair.folder.path(), "scan.bin", MIB, &mut faults);
    let bundle = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
    // It stands where it would tell that it hands over, with the header still here.
    (0..HANDING_OVER).for_each(|_| steps.next());
    // Real time has to pass: nothing else shows that it counts.
    std::thread::sleep(Duration::from_secs(61));
    time.set(-30);
    let heard = steps.heard();
    let status = pair.hospital.wait_for(&bundle, &["delivered"]);
    assert_eq!(status.json["attempts"][0]["outcome"], "not delivered", "{}", status.stdout);
    assert_eq!(status.json["attempts"][0]["reason"], "PERMIT_STALE", "{}", status.stdout);
    pair.hospital.stop();
    assert!(heard.join().expect("the daemon has ended")[HANDING_OVER].contains("handing over"));
    pair.hospital.start();
    arrived_once(&pair, &[(bundle, path)]);
}

/// Which event of a sender's transfer says that the header is about to leave.
const HANDING_OVER: usize = 5;
const HOUR_S: i32 = 3600;
