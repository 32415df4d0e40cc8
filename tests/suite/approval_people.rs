//! Does a release that needs a second person leave only with one, and who counts as one?

use crate::needs;
use crate::people::{Door, FOUR_EYES, KUMAR, LEE, STRANGER, came, configure, entries, readable};
use crate::site::Pair;

#[test]
fn a_release_waits_until_somebody_else_says_yes() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR, LEE], FOUR_EYES, &[]);
    let sent = pair.send(&[]).ok();
    assert_eq!(sent.text("state"), "approval");
    let bundle = sent.text("bundle");
    assert_eq!(came(&pair), 0);
    let queue = pair.hospital.run(&["queue"]).ok();
    assert_eq!(queue.json["items"][0]["approval"]["waits_for"], serde_json::json!(["uid:41001", "uid:41002"]));
    assert_eq!(queue.json["items"][0]["reason"], "APPROVAL_NEEDED");

    let approved = door.run(KUMAR, &["approve", &bundle, "--wait"]).ok();
    assert_eq!(approved.text("state"), "delivered", "{}", pair.hospital.log());
    assert_eq!(came(&pair), 1);
    assert_eq!(approved.json["approval"]["given"][0]["by"], "uid:41001");
    let recorded = entries(&pair, "approval");
    assert_eq!((recorded.len(), &recorded[0]["by"]), (1, &serde_json::json!("uid:41001")));
    assert_eq!(recorded[0]["sealed_sha256"], approved.json["sealed_sha256"]);
    for exact in ["manifest_sha256", "card", "consents", "until", "bundle"] {
        assert!(recorded[0][exact].is_string(), "no {exact} in {}", recorded[0]);
    }
    assert_eq!(pair.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
}

#[test]
fn whoever_sent_it_cannot_approve_it_and_neither_can_root_or_a_stranger() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR, LEE], FOUR_EYES, &[]);
    readable(&pair.folder.path().join("sample"));
    let list = pair.sample.documents_list.to_str().expect("a path").to_owned();
    let documents = pair.documents();
    let sent = door.run(KUMAR, &["send", &documents, "--case", &pair.case, "--documents", &list]).ok();
    let bundle = sent.text("bundle");
    assert_eq!(sent.text("state"), "approval");

    let own = door.run(KUMAR, &["approve", &bundle]).refused("APPROVER");
    assert!(own.stderr.contains("uid:41001 sent it"), "{}", own.stderr);
    pair.hospital.run(&["approve", &bundle]).refused("APPROVER");
    door.run(0, &["approve", &bundle]).refused("APPROVER");
    door.run(STRANGER, &["approve", &bundle]).refused("NOT_STAFF");
    assert_eq!(pair.hospital.run(&["status", &bundle]).ok().text("state"), "approval");
    assert_eq!(came(&pair), 0);
    assert!(entries(&pair, "approval").is_empty());

    door.run(LEE, &["approve", &bundle, "--wait"]).ok();
    let again = door.run(KUMAR, &["approve", &bundle]);
    assert_eq!(again.status, 2, "there is nothing left to approve: {}", again.stderr);
}

#[test]
fn a_no_refuses_the_bundle_with_its_reason() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR], FOUR_EYES, &[]);
    let bundle = pair.send(&[]).ok().text("bundle");
    assert_eq!(door.run(KUMAR, &["approve", &bundle, "--reject"]).status, 2, "a no needs a reason");
    door.run(KUMAR, &["approve", &bundle, "--reject", "--reason", "the wrong scan"]).ok();
    let shown = pair.hospital.run(&["status", &bundle]).ok();
    assert_eq!((shown.text("state"), shown.text("reason")), ("refused".to_owned(), "APPROVAL_REJECTED".to_owned()));
    let recorded = entries(&pair, "approval");
    assert_eq!((recorded.len(), &recorded[0]["action"]), (1, &serde_json::json!("rejected")));
    assert!(!recorded[0].to_string().contains("wrong scan"), "the reason may name a person: it is sealed");
    assert_eq!(came(&pair), 0);
}

#[test]
fn an_approval_ends_with_what_was_approved() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR, LEE], FOUR_EYES, &[]);
    pair.institute.stop();
    let bundle = pair.send(&[]).ok().text("bundle");
    door.run(KUMAR, &["approve", &bundle]).ok();
    let waits = pair.hospital.wait_for(&bundle, &["waiting"]);
    assert_eq!(waits.json["approval"]["given"][0]["by"], "uid:41001");
    // The patient says something anew: it still permits, but it is not what was confirmed.
    crate::site::add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    let asked = pair.hospital.wait_for(&bundle, &["approval"]);
    assert_eq!(asked.text("reason"), "APPROVAL_NEEDED");
    pair.institute.start();
    // The same person may look at it again.
    let approved = door.run(KUMAR, &["approve", &bundle, "--wait"]).ok();
    assert_eq!(approved.text("state"), "delivered");
}

#[test]
fn an_approval_has_a_time_limit() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let limits = [("approval_s_max = 86400", "approval_s_max = 1"), ("delay_s_first = 5", "delay_s_first = 1")];
    let door = Door::open(&mut pair, &[KUMAR], FOUR_EYES, &limits);
    pair.institute.stop();
    let bundle = pair.send(&[]).ok().text("bundle");
    door.run(KUMAR, &["approve", &bundle]).ok();
    // The partner is away; by the time of a later attempt the approval has ended.
    let asked = pair.hospital.wait_for(&bundle, &["approval"]);
    let waited =
        asked.json["attempts"].as_array().expect("a list").iter().any(|attempt| attempt["decision"] == "permit");
    assert!(waited, "the approval never counted: {}", asked.stdout);
}

#[test]
fn a_withdrawal_and_a_closed_case_cancel_what_waits_for_a_second_person() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR], FOUR_EYES, &[]);
    let first = pair.send(&[]).ok().text("bundle");
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    assert_eq!(pair.hospital.run(&["status", &first]).ok().text("reason"), "CONSENT_WITHDRAWN");
    assert_eq!(door.run(KUMAR, &["approve", &first]).status, 2);
    crate::site::add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    let second = pair.send(&[]).ok().text("bundle");
    pair.hospital.run(&["case", "close", &pair.case, "--outcome", "confirmed"]).ok();
    assert_eq!(pair.hospital.run(&["status", &second]).ok().text("state"), "cancelled");
    assert_eq!(came(&pair), 0);
}

#[test]
fn whoever_is_not_of_the_staff_is_told_so_and_nothing_else() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR], "", &[]);
    door.run(KUMAR, &["queue"]).ok();
    for question in [&["queue"][..], &["inbox"], &["case", "show", &pair.case], &["audit", "show"]] {
        let refused = door.run(STRANGER, question).refused("NOT_STAFF");
        assert!(!refused.stdout.contains(&pair.case), "{}", refused.stdout);
    }
    let mode = |path: &std::path::Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("there").permissions()) & 0o7777
    };
    assert_eq!(mode(&pair.hospital.home), 0o700, "the home stays its owner's alone");
    assert_eq!(mode(&pair.hospital.home.join("medseal.sock")), 0o600);
}

#[test]
fn the_yes_of_somebody_who_left_the_staff_counts_no_more() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR, LEE], FOUR_EYES, &[]);
    pair.institute.stop();
    let bundle = pair.send(&[]).ok().text("bundle");
    door.run(KUMAR, &["approve", &bundle]).ok();
    pair.hospital.wait_for(&bundle, &["waiting"]);
    pair.hospital.stop();
    configure(&pair.hospital, &[("users = [\"41001\", \"41002\"]", "users = [\"41002\"]")]);
    pair.hospital.start();
    let asked = pair.hospital.wait_for(&bundle, &["approval"]);
    assert_eq!(asked.json["approval"]["waits_for"], serde_json::json!(["uid:41002"]));
    door.run(KUMAR, &["approve", &bundle]).refused("NOT_STAFF");
}

#[test]
fn a_withdrawal_of_another_consent_leaves_what_waits_for_a_second_person() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    let door = Door::open(&mut pair, &[KUMAR], FOUR_EYES, &[]);
    let other = crate::site::add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    let bundle = pair.send(&[]).ok().text("bundle");
    pair.hospital.run(&["consent", "withdraw", &other, "--reason", "one is enough"]).ok();
    assert_eq!(pair.hospital.run(&["status", &bundle]).ok().text("state"), "approval");
    door.run(KUMAR, &["approve", &bundle, "--wait"]).ok();
}
