//! Does a legal hold take two people, and does nothing of the patient go while it stands?

use medseal::sample_case;

use crate::erasure::{AT_ONCE, erase};
use crate::needs;
use crate::people::{Door, KUMAR, LEE, entries};
use crate::site::Pair;
use crate::withdrawal_recall::sealed_files;

#[test]
fn a_hold_takes_two_people_to_place_and_two_to_lift_and_forbids_erasure_meanwhile() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR, LEE], "", &AT_ONCE);
    let patient = sample_case::patient().to_string();
    let why = "court file 12 O 34/26";
    // Whoever is no person of the staff has no word, the gateway's own user included.
    pair.hospital.run(&["hold", "place", "--patient", &patient, "--reason", why]).refused("APPROVER");
    let asked = door.run(KUMAR, &["hold", "place", "--patient", &patient, "--reason", why]).ok();
    assert_eq!((asked.text("state"), &asked.json["forbids"]), ("asked".to_owned(), &true.into()));
    erase(&pair.hospital, &patient).refused("LEGAL_HOLD");
    door.run(KUMAR, &["hold", "confirm", "--patient", &patient]).refused("APPROVER");
    assert_eq!(door.run(LEE, &["hold", "confirm", "--patient", &patient]).ok().text("state"), "placed");
    erase(&pair.hospital, &patient).refused("LEGAL_HOLD");

    let lifting = door.run(LEE, &["hold", "lift", "--patient", &patient, "--reason", "settled"]).ok();
    assert_eq!((lifting.text("state"), &lifting.json["forbids"]), ("lift-asked".to_owned(), &true.into()));
    door.run(LEE, &["hold", "confirm", "--patient", &patient]).refused("APPROVER");
    erase(&pair.hospital, &patient).refused("LEGAL_HOLD");
    assert_eq!(door.run(KUMAR, &["hold", "confirm", "--patient", &patient]).ok().text("state"), "lifted");

    let recorded = entries(&pair, "hold");
    let actions: Vec<_> = recorded.iter().map(|entry| entry["action"].as_str().expect("a word")).collect();
    assert_eq!(actions, ["place-asked", "placed", "lift-asked", "lifted"]);
    assert!(!pair.hospital.run(&["audit", "show"]).ok().stdout.contains(why), "why stands sealed");
    erase(&pair.hospital, &patient).ok();
    let late = door.run(KUMAR, &["hold", "place", "--patient", &patient, "--reason", why]);
    assert_eq!(late.status, 2, "there is nothing left to hold: {}", late.stdout);
    assert_eq!(pair.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
}

#[test]
fn a_word_that_nobody_confirms_lapses() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let short = [("approval_s_max = 86400", "approval_s_max = 1")];
    let door = Door::open(&mut pair, &[KUMAR, LEE], "", &[&AT_ONCE[..], &short].concat());
    let patient = sample_case::patient().to_string();
    door.run(KUMAR, &["hold", "place", "--patient", &patient, "--reason", "a threat of suit"]).ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while pair.hospital.run(&["hold", "list"]).ok().json["items"][0]["state"] != "lapsed" {
        assert!(std::time::Instant::now() < deadline, "it never lapses");
    }
    let late = door.run(LEE, &["hold", "confirm", "--patient", &patient]);
    assert_eq!(late.status, 2, "{}", late.stdout);
    erase(&pair.hospital, &patient).ok();
}

#[test]
fn a_hold_at_the_receiver_stops_the_destruction_on_recall_and_it_says_so() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    std::mem::swap(&mut pair.hospital, &mut pair.institute);
    let door = Door::open(&mut pair, &[KUMAR, LEE], "", &[]);
    std::mem::swap(&mut pair.hospital, &mut pair.institute);
    let patient = format!("urn:medseal:case:{}|{}", pair.hospital.id, pair.case);
    door.run(KUMAR, &["hold", "place", "--patient", &patient, "--reason", "a complaint"]).ok();
    door.run(LEE, &["hold", "confirm", "--patient", &patient]).ok();
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let status = pair.hospital.run(&["status", &bundle]).ok().json;
        let answer = &status["recall"]["answer"];
        if answer.is_object() {
            assert!(
                answer["kept"] == "LEGAL_HOLD" && answer.get("destroyed").is_none_or(serde_json::Value::is_null),
                "{answer}"
            );
            break;
        }
        assert!(std::time::Instant::now() < deadline, "never answered: {status}");
    }
    assert_eq!(sealed_files(&pair.institute), 1, "it is kept");
    let out = pair.folder.path().join("held");
    pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).refused("RECALLED");

    door.run(KUMAR, &["hold", "lift", "--patient", &patient, "--reason", "settled"]).ok();
    door.run(LEE, &["hold", "confirm", "--patient", &patient]).ok();
    pair.institute.stop();
    pair.institute.start();
    assert_eq!(sealed_files(&pair.institute), 0, "with the hold goes what it kept");
}
