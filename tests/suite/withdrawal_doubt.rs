//! What is a bundle called whose consent is withdrawn while nobody knows whether it arrived?

use medseal::clock::Clock;
use medseal::config::Home;
use medseal::desk::{Staff, consents};
use medseal::gateway::Gateway;

use crate::crash_release::{ended, letter, logs_verify, send};
use crate::needs;
use crate::people::{Door, FOUR_EYES, KUMAR, came, configure};
use crate::site::Pair;
use crate::steps::{Steps, impatient, kill_after};
use crate::withdrawal_recall::sealed_files;

/// A pair whose hospital does not run and comes back soon to what it has begun.
fn pair() -> Pair {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    impatient(&pair.hospital);
    pair
}

/// Withdraws the consent while the hospital's daemon does not run.
fn withdraw(pair: &Pair) {
    let gateway = Gateway::open(&Home::at(&pair.hospital.home), Clock::system()).expect("the hospital's home");
    let consent = pair.consent.parse().expect("an id");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let withdrawn = runtime.block_on(consents::withdraw(&gateway, Staff { uid: 0 }, &consent, "she called"));
    assert!(withdrawn.expect("it is withdrawn").cancelled.is_empty(), "nobody knows whether it arrived");
    gateway.log.close().expect("the log ends well");
}

/// The partner has put the bundle together and not recorded it when the sender dies. Asked, it has no receipt; a moment
/// later it has the bundle.
#[test]
fn a_bundle_that_arrives_after_the_partner_was_asked_is_recalled_and_never_called_cancelled() {
    let mut pair = pair();
    pair.institute.stop();
    let (mut steps, pipe) = Steps::new();
    pair.institute.start_telling("off,medseal::reception=debug", pipe);
    pair.hospital.start();
    let bundle = ended(send(&pair, &letter(&pair, 0))).ok().text("bundle");
    for _told in ["segment taken", "dispatch verified"] {
        steps.next();
    }
    // It stands still now, with the whole in its vault.
    while sealed_files(&pair.institute) == 0 {}
    pair.hospital.kill();
    withdraw(&pair);

    let log_before = pair.hospital.log().len();
    pair.hospital.start_with(&[("MEDSEAL_LOG", "medseal::release=debug")]);
    pair.hospital.wait_for_log(log_before, "making sure");
    let status = pair.hospital.run(&["status", &bundle]).ok();
    assert_ne!(status.text("state"), "cancelled", "{}", status.stdout);
    steps.let_everything_go();

    pair.hospital.wait_for(&bundle, &["recalled"]);
    assert_eq!(sealed_files(&pair.institute), 0);
    logs_verify(&pair);
}

#[test]
fn a_bundle_whose_header_never_left_is_cancelled_after_the_partner_promised_to_take_none() {
    let mut pair = pair();
    let (steps, pipe) = Steps::new();
    pair.hospital.start_telling("off,medseal::release=debug", pipe);
    let bundle = ended(send(&pair, &letter(&pair, 0))).ok().text("bundle");
    kill_after(&mut pair.hospital, steps, 4, "body sent");
    withdraw(&pair);

    // While the partner is away nobody can know.
    pair.institute.stop();
    pair.hospital.start();
    let status = pair.hospital.run(&["status", &bundle]).ok();
    assert_ne!(status.text("state"), "cancelled", "{}", status.stdout);
    pair.institute.start();
    let status = pair.hospital.wait_for(&bundle, &["cancelled"]);
    assert_eq!(status.text("reason"), "CONSENT_WITHDRAWN");
    assert_eq!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().map(Vec::len), Some(0));
    let half = std::fs::read_dir(pair.institute.home.join("vault/partial")).expect("the vault").count();
    assert_eq!(half, 0, "the noise of it stayed");
    logs_verify(&pair);
}

/// A person's no comes at any time, and ends the bundle without another question to the partner.
#[test]
fn nothing_waits_for_a_second_person_while_nobody_knows_whether_it_arrived() {
    if !needs::other_users() {
        return;
    }
    let mut pair = pair();
    let (steps, pipe) = Steps::new();
    pair.hospital.start_telling("off,medseal::release=debug", pipe);
    let bundle = ended(send(&pair, &letter(&pair, 0))).ok().text("bundle");
    kill_after(&mut pair.hospital, steps, 4, "body sent");
    let door = Door::open(&mut pair, &[KUMAR], FOUR_EYES, &[]);

    let waits = pair.hospital.wait_for(&bundle, &["approval"]);
    assert!(!waits.stdout.contains("unknown"), "{}", waits.stdout);
    let half = || std::fs::read_dir(pair.institute.home.join("vault/partial")).expect("the vault").count();
    assert_eq!(half(), 0, "the partner may still put it together");
    door.run(KUMAR, &["approve", &bundle, "--reject", "--reason", "the wrong scan"]).ok();
    assert_eq!(came(&pair), 0);
    logs_verify(&pair);
}

/// Its limits were reached before anybody could find out that it had arrived.
#[test]
fn a_bundle_given_up_in_doubt_is_called_back_when_its_consent_is_withdrawn() {
    let mut pair = pair();
    configure(&pair.hospital, &[("attempts_max = 50", "attempts_max = 1"), ("sealed_days = 30", "sealed_days = 0")]);
    let (steps, pipe) = Steps::new();
    pair.hospital.start_telling("off,medseal::release=debug", pipe);
    let bundle = ended(send(&pair, &letter(&pair, 0))).ok().text("bundle");
    kill_after(&mut pair.hospital, steps, 6, "receipt verified");
    pair.institute.stop();
    pair.hospital.start();
    pair.hospital.wait_for(&bundle, &["failed"]);
    // Its time may be over, and its sealed file stays: the question what became of it may have to be asked again.
    let due = pair.hospital.run(&["audit", "retention", "--apply"]).ok().json;
    assert_eq!((&due["items"][0]["kept_by"], &due["may_go"]), (&serde_json::json!(["in-doubt"]), &0.into()), "{due}");

    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    // While the partner is away it is asked after again and again, whatever the limits say.
    let attempts = pair.hospital.wait_for(&bundle, &["waiting"]).json["attempts"].clone();
    assert!(attempts.to_string().contains("unknown"), "{attempts}");
    pair.institute.start();
    pair.hospital.wait_for(&bundle, &["recalled"]);
    assert_eq!(sealed_files(&pair.institute), 0);
    logs_verify(&pair);
}
