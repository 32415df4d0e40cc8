//! Does what is past its time go when somebody asks, and only then, and does whatever must stay beat the schedule?

use std::fs;

use serde_json::Value;

use medseal::sample_case;

use crate::erasure::AT_ONCE;
use crate::needs;
use crate::people::{Door, KUMAR, LEE, configure, entries};
use crate::site::{Pair, Site};
use crate::withdrawal_recall::sealed_files;

const SEALED_AT_ONCE: (&str, &str) = ("sealed_days = 30", "sealed_days = 0");
const INBOX_AT_ONCE: (&str, &str) = ("inbox_days = 365", "inbox_days = 0");

fn again(site: &mut Site, changes: &[(&str, &str)]) {
    site.stop();
    configure(site, changes);
    site.start();
}

fn retention(site: &Site, more: &[&str]) -> Value {
    site.run(&[&["audit", "retention"], more].concat()).ok().json
}

fn kept_by(item: &Value) -> Vec<&str> {
    item["kept_by"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

#[test]
fn what_is_past_its_time_is_listed_first_and_destroyed_with_an_entry_only_when_asked() {
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    assert_eq!(retention(&pair.hospital, &["--apply"])["items"], serde_json::json!([]), "a month is not over");
    again(&mut pair.hospital, &[SEALED_AT_ONCE]);

    let listed = retention(&pair.hospital, &[]);
    let [one] = &listed["items"].as_array().expect("a list")[..] else { panic!("one file: {listed}") };
    assert_eq!((&one["kind"], &one["id"]), (&"sealed".into(), &bundle.as_str().into()));
    assert_eq!((&one["destroyed"], &one["rule"]), (&false.into(), &"sealed_days".into()));
    assert_eq!((sealed_files(&pair.hospital), entries(&pair, "retention").len()), (1, 0), "a dry run destroys nothing");

    let applied = retention(&pair.hospital, &["--apply"]);
    assert_eq!((&applied["may_go"], &applied["items"][0]["destroyed"]), (&1.into(), &true.into()), "{applied}");
    assert_eq!(sealed_files(&pair.hospital), 0);
    let recorded = entries(&pair, "retention");
    let [entry] = &recorded[..] else { panic!("one entry: {recorded:?}") };
    assert_eq!((&entry["bundle"], &entry["content"]), (&bundle.as_str().into(), &"sealed".into()));
    assert!(entry["by"].as_str().is_some_and(|by| by.starts_with("uid:")), "{entry}");
    assert!(!entry.to_string().contains(sample_case::patient().value()), "no person is named");
    assert_eq!(retention(&pair.hospital, &["--apply"])["items"], serde_json::json!([]), "it goes once");
    assert_eq!(pair.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
    assert_eq!(pair.hospital.run(&["status", &bundle]).ok().text("state"), "delivered");
}

#[test]
fn what_came_in_stays_until_somebody_has_opened_it_and_is_not_handed_out_afterwards() {
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    again(&mut pair.institute, &[INBOX_AT_ONCE]);
    let unread = retention(&pair.institute, &["--apply"]);
    assert_eq!(kept_by(&unread["items"][0]), ["unopened"], "{unread}");
    assert_eq!(sealed_files(&pair.institute), 1);
    let out = pair.folder.path().join("read").to_string_lossy().into_owned();
    pair.institute.run(&["open", &bundle, "--out", &out]).ok();
    assert_eq!(retention(&pair.institute, &["--apply"])["items"][0]["destroyed"], true);
    assert_eq!(sealed_files(&pair.institute), 0);
    let late = pair.folder.path().join("late").to_string_lossy().into_owned();
    pair.institute.run(&["open", &bundle, "--out", &late]).refused("RETENTION_OVER");
    assert_eq!(pair.institute.run(&["inbox"]).ok().json["items"][0]["state"], "expired");
    assert_eq!(pair.institute.run(&["audit", "verify"]).ok().json["ok"], true);
    // A recall still gets its answer: what it asks for has happened.
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    pair.hospital.wait_for(&bundle, &["recalled"]);
}

#[test]
fn a_hold_an_open_case_and_a_consent_that_stands_beat_the_schedule() {
    if !needs::other_users() {
        return;
    }
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    let door = Door::open(&mut pair, &[KUMAR, LEE], "", &[&AT_ONCE[..], &[SEALED_AT_ONCE]].concat());
    let person = |listed: &Value| {
        let items = listed["items"].as_array().expect("a list").clone();
        items.into_iter().find(|item| item["kind"] == "person").expect("the patient is listed")
    };
    assert_eq!(kept_by(&person(&retention(&pair.hospital, &[]))), ["case-open", "consent-stands"]);
    let patient = sample_case::patient().to_string();
    door.run(KUMAR, &["hold", "place", "--patient", &patient, "--reason", "court file 12 O 34/26"]).ok();
    let held = retention(&pair.hospital, &["--apply"]);
    for item in held["items"].as_array().expect("a list") {
        assert_eq!((kept_by(item)[0], &item["destroyed"]), ("hold", &false.into()), "{held}");
    }
    assert_eq!((sealed_files(&pair.hospital), &held["may_go"]), (1, &0.into()));

    door.run(LEE, &["hold", "confirm", "--patient", &patient]).ok();
    door.run(KUMAR, &["hold", "lift", "--patient", &patient, "--reason", "settled"]).ok();
    door.run(LEE, &["hold", "confirm", "--patient", &patient]).ok();
    pair.institute.stop();
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    pair.hospital.run(&["case", "close", &pair.case, "--outcome", "confirmed"]).ok();
    assert_eq!(kept_by(&person(&retention(&pair.hospital, &["--apply"]))), ["recall-waits"]);
    pair.institute.start();
    let bundle = retention(&pair.hospital, &[])["items"][1]["id"].as_str().map(str::to_owned);
    let bundle = bundle.unwrap_or_else(|| {
        pair.hospital.run(&["case", "show", &pair.case]).ok().json["sent"][0]["bundle"]
            .as_str()
            .expect("a bundle")
            .to_owned()
    });
    pair.hospital.wait_for(&bundle, &["recalled"]);
    let gone = person(&retention(&pair.hospital, &["--apply"]));
    assert_eq!((kept_by(&gone).len(), &gone["destroyed"]), (0, &true.into()), "{gone}");
    assert_eq!((sealed_files(&pair.hospital), entries(&pair, "erasure").len()), (0, 1));
    assert_eq!(pair.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
}

#[test]
fn a_destruction_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    let sealed = pair.hospital.home.join("vault/sealed");
    let file = fs::read_dir(&sealed).expect("a folder").next().expect("a file").expect("a file").path();
    let kept = pair.folder.path().join("kept");
    fs::copy(&file, &kept).expect("copied");
    again(&mut pair.hospital, &[SEALED_AT_ONCE]);
    retention(&pair.hospital, &["--apply"]);
    pair.hospital.kill();
    // As if the power had gone between the entry and the destruction.
    fs::copy(&kept, &file).expect("put back");
    pair.hospital.start();
    assert_eq!((sealed_files(&pair.hospital), entries(&pair, "retention").len()), (0, 1), "it is recorded once");
}

#[test]
fn the_gateway_destroys_by_itself_only_where_the_site_says_so_and_never_a_person() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    pair.hospital.run(&["case", "close", &pair.case, "--outcome", "confirmed"]).ok();
    let bundle = pair.hospital.run(&["case", "show", &pair.case]).ok().json["sent"][0]["bundle"].clone();
    pair.hospital.wait_for(bundle.as_str().expect("a bundle"), &["recalled"]);
    again(&mut pair.hospital, &[&AT_ONCE[..], &[SEALED_AT_ONCE]].concat());
    assert_eq!(retention(&pair.hospital, &[])["items"][0]["kind"], "person", "the patient may go");
    assert_eq!(sealed_files(&pair.hospital), 1, "by itself the gateway destroys nothing");
    let before = pair.hospital.log().len();
    again(&mut pair.hospital, &[("automatic = false", "automatic = true")]);
    pair.hospital.wait_for_log(before, "whose time is over were destroyed");
    assert_eq!(sealed_files(&pair.hospital), 0);
    assert_eq!(entries(&pair, "retention")[0]["by"], "schedule");
    assert_eq!(entries(&pair, "erasure").len(), 0, "a person is erased by people only");
}
