//! What becomes of the mistakes of somebody in a hurry: the wrong folder, the same thing twice, two at once?

use std::fs;

use crate::site::{Pair, add_consent};

#[test]
fn nothing_of_a_gateways_home_is_ever_sent() {
    let pair = Pair::silent();
    let home = pair.hospital.home.clone();
    let other = pair.institute.home.join("keys");
    let single = home.join("keys/age.key");
    let around = home.parent().expect("the folder of both homes").to_owned();
    for path in [home.join("keys"), home, other, single, around] {
        let refused = pair.hospital.run(&["send", path.to_str().expect("a path"), "--case", &pair.case]);
        assert_eq!(refused.status, 2, "{}: {}{}", path.display(), refused.stdout, refused.stderr);
        assert!(format!("{}{}", refused.stdout, refused.stderr).contains("OWN_HOME"), "{}", refused.stderr);
    }
    let opinion = pair.institute.home.join("keys");
    let args = ["opinion", &pair.case, opinion.to_str().expect("a path"), "--outcome", "confirmed"];
    assert!(pair.institute.run(&args).stderr.contains("OWN_HOME"));
    assert!(pair.hospital.run(&["status"]).ok().json["items"].as_array().expect("a list").is_empty());
}

#[test]
fn the_same_consent_is_on_file_once_however_it_is_written() {
    let pair = Pair::ready();
    let path = pair.folder.path().join("consent-nordhafen.json");
    let read: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("the consent")).expect("JSON");
    let spaced = pair.folder.path().join("spaced.json");
    fs::write(&spaced, format!("\n{}\n", serde_json::to_string_pretty(&read).expect("text"))).expect("written");
    for again in [&path, &spaced] {
        let said = pair.hospital.run(&["consent", "add", again.to_str().expect("a path")]);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(said.status == 2 && text.contains("CONFLICT") && text.contains(&pair.consent), "{text}");
    }
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "the wrong one"]).ok();
    let anew = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    assert_ne!(anew, pair.consent, "what was withdrawn by mistake can be recorded anew");
}

#[test]
fn a_consent_names_its_patient_and_its_withdrawal_names_the_others_that_still_stand() {
    let pair = Pair::ready();
    let patient = medseal::sample_case::patient().to_string();
    let other = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "AT");
    assert_eq!(pair.hospital.run(&["consent", "show", &other]).ok().text("patient"), patient);
    let listed = pair.hospital.run(&["consent", "list"]).ok();
    assert!(listed.json["items"].as_array().expect("a list").iter().all(|one| one["patient"] == patient.as_str()));
    let withdrawn = pair.hospital.run(&["consent", "withdraw", &other, "--reason", "the patient called"]).ok();
    assert_eq!(withdrawn.json["standing"], serde_json::json!([pair.consent]), "{}", withdrawn.stdout);
    let last = pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "the patient called"]).ok();
    assert_eq!(last.json["standing"], serde_json::json!([]));
}

#[test]
fn of_two_who_withdraw_the_same_consent_one_is_told_that_it_is_withdrawn() {
    let pair = Pair::ready();
    let withdraw = || pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]);
    let both = std::thread::scope(|scope| [scope.spawn(withdraw), scope.spawn(withdraw)].map(|one| one.join()));
    let mut both = both.map(|one| one.expect("it ran"));
    both.sort_by_key(|one| one.status);
    let said = format!("{}{}", both[1].stdout, both[1].stderr);
    assert_eq!((both[0].status, both[1].status), (0, 2), "{said}");
    assert!(said.contains("is withdrawn already"), "{said}");
}

#[test]
fn an_empty_file_is_named_when_it_is_sent() {
    let pair = Pair::ready();
    let empty = pair.sample.documents_dir.join("scan-of-page-2.pdf");
    fs::write(&empty, b"").expect("written");
    let sent = pair.send(&[]).ok();
    assert!(sent.stderr.contains("scan-of-page-2.pdf: this file is empty"), "{}", sent.stderr);
}
