//! Does a case go the whole way between two real gateways, and is everything else refused with its reason?

use crate::site::{Pair, medseal, ran};

#[test]
fn records_go_out_and_the_opinion_comes_back_to_the_right_case() {
    let pair = Pair::ready();
    let sent = pair.send(&["--wait"]).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", pair.hospital.log());
    let bundle = sent.text("bundle");

    let inbox = pair.institute.run(&["inbox"]).ok();
    assert_eq!(inbox.json["items"][0]["bundle"], bundle.as_str());
    assert_eq!(inbox.json["items"][0]["kind"], "records");
    let out = pair.folder.path().join("opened");
    pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).ok();
    let same =
        std::process::Command::new("diff").arg("-r").arg(pair.documents()).arg(&out).output().expect("diff runs");
    assert!(same.status.success(), "the opened documents differ: {}", String::from_utf8_lossy(&same.stdout));

    let opinion = pair.sample.opinion_file.to_str().expect("a path");
    let back = pair.institute.run(&["opinion", &pair.case, opinion, "--outcome", "treatment-modified", "--wait"]).ok();
    assert_eq!(back.text("state"), "delivered", "{}", pair.institute.log());
    let inbox = pair.hospital.run(&["inbox"]).ok();
    assert_eq!(inbox.json["items"][0]["kind"], "opinion");
    assert_eq!(inbox.json["items"][0]["case"], pair.case.as_str());
    let answer = pair.folder.path().join("answer");
    let opinion_bundle = inbox.json["items"][0]["bundle"].as_str().expect("an id").to_owned();
    pair.hospital.run(&["open", &opinion_bundle, "--out", answer.to_str().expect("a path")]).ok();
    let case = pair.hospital.run(&["case", "show", &pair.case]).ok();
    assert_eq!(case.json["opinions"][0]["outcome"], "treatment-modified", "{}", case.stdout);

    for site in [&pair.hospital, &pair.institute] {
        let report = site.run(&["audit", "verify"]).ok();
        assert_eq!(report.json["ok"], true, "{}", report.stdout);
        assert!(report.json["finding"].is_null());
    }
}

#[test]
fn without_consent_nothing_is_sealed_and_one_sentence_says_why() {
    let pair = Pair::ready();
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "changed her mind"]).ok();
    let refused = pair.send(&[]).refused("CONSENT_WITHDRAWN");
    let bundle = refused.text("bundle");
    assert_eq!(pair.hospital.run(&["status", &bundle]).ok().text("state"), "refused");
    assert!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").is_empty());
}

#[test]
fn a_stray_document_of_another_patient_is_caught_by_name() {
    let pair = Pair::ready();
    let stray = pair.sample.stray_file.to_str().expect("a path").to_owned();
    let args = ["send", &stray, "--case", &pair.case];
    let refused = pair.hospital.run(&args).refused("PATIENT_MISMATCH");
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains(pair.sample.stray_name), "the other patient is named to the clerk: {said}");
}

#[test]
fn a_withdrawal_cancels_what_waits_for_a_partner_who_is_away() {
    let mut pair = Pair::ready();
    pair.institute.stop();
    let bundle = pair.send(&[]).ok().text("bundle");
    let waiting = pair.hospital.wait_for(&bundle, &["waiting"]);
    assert!(waiting.json["attempts"].is_array());
    let withdrawn = pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    let shown = pair.hospital.wait_for(&bundle, &["cancelled"]);
    assert_eq!(shown.text("reason"), "CONSENT_WITHDRAWN", "{} {}", withdrawn.stdout, shown.stdout);
    pair.institute.start();
    assert!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").is_empty());
}

#[test]
fn without_a_running_gateway_the_command_says_how_to_start_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = crate::site::Site::init(folder.path(), "st-mary", "IN");
    let away = site.run(&["inbox"]);
    assert_eq!(away.status, 75, "{}", away.stderr);
    assert!(away.stderr.contains("hint:"), "{}", away.stderr);
    let mut again = medseal();
    again.args(["init", "--home"]).arg(&site.home);
    again.args(["--id", "st-mary", "--name", "x", "--country", "IN"]);
    again.args(["--endpoint", "https://localhost:1", "--listen", "127.0.0.1:1"]);
    assert_eq!(ran(&again.output().expect("runs")).status, 2, "a home that exists is refused");
}

#[test]
fn a_suspended_partner_gets_nothing_and_everything_at_once_when_it_is_resumed() {
    let pair = Pair::ready();
    pair.hospital.run(&["partner", "suspend", "nordhafen"]).ok();
    let bundle = pair.send(&[]).ok().text("bundle");
    let waiting = pair.hospital.run(&["status", &bundle]).ok();
    assert_eq!((waiting.text("state"), waiting.text("reason")), ("waiting".to_owned(), "PARTNER_SUSPENDED".to_owned()));
    assert!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").is_empty());
    pair.hospital.run(&["partner", "resume", "nordhafen"]).ok();
    pair.hospital.wait_for(&bundle, &["delivered"]);
}

/// The patient's consents lie sealed under the patient's key: without it nobody can say whether they permit.
#[test]
fn while_the_consents_cannot_be_read_nothing_leaves_and_nothing_is_lost() {
    let mut pair = Pair::ready();
    pair.hospital.run(&["partner", "suspend", "nordhafen"]).ok();
    let bundle = pair.send(&[]).ok().text("bundle");
    let keys: Vec<_> = std::fs::read_dir(pair.hospital.home.join("subjects"))
        .expect("the keys of patients")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("key-")))
        .map(|path| (std::fs::read(&path).expect("a key"), path))
        .collect();
    for (bytes, path) in &keys {
        medseal::durable::replace(path, &vec![0; bytes.len()], 0o600).expect("damaged");
    }
    let told_before = pair.hospital.log().len();
    pair.hospital.run(&["partner", "resume", "nordhafen"]).ok();
    pair.hospital.wait_for_log(told_before, "the attempt was not settled");
    assert!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").is_empty());

    for (bytes, path) in &keys {
        medseal::durable::replace(path, bytes, 0o600).expect("mended");
    }
    // The gateway would come back to it within a minute by itself.
    pair.hospital.stop();
    pair.hospital.start();
    pair.hospital.wait_for(&bundle, &["delivered"]);
}
