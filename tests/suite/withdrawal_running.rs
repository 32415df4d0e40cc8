//! Does a withdrawal stop what is on its way, at whatever step it comes?

use std::time::{Duration, Instant};

use crate::crash_release::{ended, large_file, logs_verify, send};
use crate::site::Pair;
use crate::steps::Steps;
use crate::withdrawal_recall::{entries, sealed_files};

#[test]
fn a_withdrawal_stops_a_running_transfer_at_once_and_the_partner_drops_the_noise() {
    let mut pair = Pair::ready();
    let path = large_file(&pair);
    pair.institute.stop();
    let (mut steps, pipe) = Steps::new();
    pair.institute.start_telling("off,medseal::reception=debug", pipe);
    let bundle = ended(send(&pair, &path)).ok().text("bundle");
    // The partner stands still after its third segment: only the sender can end this.
    (0..3).for_each(|_| steps.next());
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    let status = pair.hospital.wait_for(&bundle, &["cancelled"]);
    assert_eq!(status.text("reason"), "CONSENT_WITHDRAWN");
    let partial = || std::fs::read_dir(pair.institute.home.join("vault/partial")).expect("the vault").count();
    let (mut segments, deadline) = (3, Instant::now() + Duration::from_mins(1));
    // At least once: a partner that still stands when it is told to end never ends.
    steps.let_go(&mut segments);
    while partial() > 0 {
        assert!(Instant::now() < deadline, "the noise is still there");
        steps.let_go(&mut segments);
    }
    pair.institute.stop();
    steps.let_go(&mut segments);
    assert!(segments < 14, "all fourteen segments came");
    pair.institute.start();
    assert_eq!(sealed_files(&pair.institute), 0, "the header never came");
    assert!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").is_empty());
    assert!(entries(&pair.hospital, "receipt", &bundle).is_empty());
    logs_verify(&pair);
}
