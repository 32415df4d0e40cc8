//! Does a new policy set take the old one's place at once, whole and recorded, and does a bad one change nothing?

use std::path::PathBuf;
use std::time::{Duration, Instant};

use medseal::clock::Clock;
use medseal::config::Home;
use medseal::gateway::Gateway;
use medseal::id::Digest;
use medseal::policy::Policy;
use serde_json::Value;

use crate::site::{Pair, Site};

const NOT_TO_DE: &str = r#"@id("not-to-de") @says("records do not go to Germany") @reason("POLICY")
forbid (principal, action == Medseal::Action::"release", resource) when { principal.country == "DE" };
"#;

/// Puts a file into the site's part of the policy.
fn write_rule(site: &Site, name: &str, text: &str) -> PathBuf {
    let path = site.home.join("policies/site").join(name);
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .expect("written");
    path
}

/// The entries about the policy, the oldest first.
fn entries(site: &Site) -> Vec<Value> {
    let shown = site.run(&["audit", "show"]).ok();
    let all = shown.json["items"].as_array().expect("a list").clone();
    all.into_iter().filter(|entry| entry["kind"] == "policy").collect()
}

#[test]
fn a_new_rule_stops_what_waits_and_what_was_decided_before_can_still_be_decided_again() {
    let mut pair = Pair::ready();
    let delivered = pair.send(&["--wait"]).ok().text("bundle");
    pair.institute.stop();
    let bundle = pair.send(&[]).ok().text("bundle");
    pair.hospital.wait_for(&bundle, &["waiting"]);

    write_rule(&pair.hospital, "ours.cedar", NOT_TO_DE);
    let reloaded = pair.hospital.run(&["policy", "reload"]).ok();
    assert_eq!(reloaded.json["changed"], true, "{}", reloaded.stdout);
    assert_eq!(reloaded.text("before"), Policy::shipped().digest().to_string());
    assert_eq!(reloaded.json["rules"].as_u64(), Some(Policy::shipped().rules().count() as u64 + 1));

    pair.institute.start();
    let refused = pair.hospital.wait_for(&bundle, &["refused"]);
    assert_eq!(refused.text("reason"), "POLICY", "{}", refused.stdout);
    pair.send(&[]).refused("POLICY");
    assert_eq!(pair.hospital.run(&["status", &delivered]).ok().text("state"), "delivered");

    let entries = entries(&pair.hospital);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((&entries[0]["action"], &entries[0]["before"]), (&"reloaded".into(), &reloaded.json["before"]));
    assert_eq!(entries[0]["policy"], reloaded.json["digest"]);
    assert!(entries[0]["by"].as_str().expect("a user").starts_with("uid:"), "{entries:?}");

    let replayed = pair.hospital.run(&["audit", "replay", "--all"]).ok();
    assert_eq!(replayed.json["equal"], replayed.json["decisions"], "{}", replayed.stdout);
    for digest in [reloaded.text("before"), reloaded.text("digest")] {
        let kept = pair.hospital.home.join(format!("policies/kept/{digest}.json"));
        assert_eq!(Digest::of(&std::fs::read(&kept).expect("kept")).to_string(), digest);
    }
}

#[test]
fn a_kept_set_that_was_changed_is_found_by_a_replay_and_one_that_is_gone_is_missed() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    let before = Policy::shipped().digest();
    write_rule(&pair.hospital, "ours.cedar", NOT_TO_DE);
    pair.hospital.run(&["policy", "reload"]).ok();
    let kept = pair.hospital.home.join(format!("policies/kept/{before}.json"));
    let text = std::fs::read_to_string(&kept).expect("kept");
    let write = |text: &str| medseal::durable::replace(&kept, text.as_bytes(), 0o644).expect("written");
    write(&text.replacen("the case is closed", "the case is shut", 1));
    let found = pair.hospital.run(&["audit", "replay", "--all"]);
    assert_eq!(found.status, 1);
    assert!(found.stdout.contains("the policy set"), "{}", found.stdout);
    medseal::durable::remove(&kept).expect("removed");
    let missed = pair.hospital.run(&["audit", "replay", "--all"]);
    assert_eq!(missed.status, 1);
    assert!(missed.stdout.contains("is not kept here"), "{}", missed.stdout);
    // Whoever starts with the old set keeps it anew.
    std::fs::remove_file(pair.hospital.home.join("policies/site/ours.cedar")).expect("removed");
    pair.hospital.stop();
    pair.hospital.start();
    assert_eq!(std::fs::read_to_string(&kept).expect("kept"), text);
}

#[test]
fn a_set_that_is_not_valid_leaves_the_old_one_in_force_and_says_why() {
    let pair = Pair::ready();
    let shipped = Policy::shipped().digest().to_string();
    let cases = [
        ("permits.cedar", "@id(\"open\") @says(\"all\") permit (principal, action, resource);", "open"),
        ("misspelt.cedar", &*NOT_TO_DE.replace("principal.country", "principal.contry"), "contry"),
        ("template.cedar", &*NOT_TO_DE.replace("(principal,", "(principal == ?principal,"), "not-to-de"),
        ("links.json", r#"{"links": [{"template": "all", "id": "ours", "partner": "nordhafen"}]}"#, "links.json"),
        ("countries.json", r#"{"about": "ours", "restricted": {}, "of_age": {"default": 12}}"#, "of_age.default"),
        ("country.json", "{}", "country.json"),
    ];
    for (name, text, said) in cases {
        let path = write_rule(&pair.hospital, name, text);
        let refused = pair.hospital.run(&["policy", "reload"]).refused("POLICY_ERROR");
        let answer = format!("{}{}", refused.stdout, refused.stderr);
        assert!(answer.contains(said) && answer.contains(&shipped), "{name}: {answer}");
        std::fs::remove_file(path).expect("removed");
    }
    let entries = entries(&pair.hospital);
    assert_eq!(entries.len(), cases.len(), "{entries:?}");
    assert!(entries.iter().all(|entry| entry["action"] == "refused" && entry["policy"] == *shipped), "{entries:?}");
    let again = pair.hospital.run(&["policy", "reload"]).ok();
    assert_eq!((again.text("before"), again.json["changed"].as_bool()), (shipped, Some(false)));
    assert_eq!(pair.send(&["--wait"]).ok().text("state"), "delivered");
}

#[test]
fn a_homes_policy_is_tried_with_our_cases_and_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::init(folder.path(), "st-mary", "IN");
    let policies = site.home.join("policies");
    let test = || site.run(&["policy", "test", policies.to_str().expect("a path")]);
    let plain = test().ok();
    assert!(plain.json["cases"].as_u64().expect("a count") > 150, "{}", plain.stdout);
    assert_eq!(plain.json["site_forbids"], 0, "{}", plain.stdout);

    write_rule(&site, "ours.cedar", NOT_TO_DE);
    let narrowed = test().ok();
    assert!(narrowed.json["site_forbids"].as_u64().expect("a count") > 10, "{}", narrowed.stdout);

    let cases = policies.join("cases");
    std::fs::create_dir(&cases).expect("made");
    let ours = include_str!("../../policies/cases/return-opinion.json").replace("[\"allow\"]", "[\"CASE_CLOSED\"]");
    medseal::durable::write_new(&cases.join("ours.json"), ours.as_bytes(), 0o644).expect("written");
    let wrong = test();
    assert_eq!((wrong.status, wrong.json["ok"].as_bool()), (1, Some(false)), "{}", wrong.stdout);

    std::fs::create_dir(policies.join("base")).expect("made");
    medseal::durable::remove(&cases.join("ours.json")).expect("removed");
    let empty = test();
    assert_eq!(empty.status, 2, "{}", empty.stdout);
    assert!(empty.stderr.contains("hint:"), "{}", empty.stderr);
}

#[test]
fn a_hangup_reads_the_policy_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = Site::init(folder.path(), "st-mary", "IN");
    site.start();
    write_rule(&site, "ours.cedar", NOT_TO_DE);
    site.hang_up();
    let deadline = Instant::now() + Duration::from_mins(1);
    while entries(&site).is_empty() {
        assert!(Instant::now() < deadline && !site.has_ended(), "nothing happened: {}", site.log());
    }
    let entries = entries(&site);
    assert_eq!((&entries[0]["action"], &entries[0]["by"]), (&"reloaded".into(), &"signal".into()));
    let again = site.run(&["policy", "reload"]).ok();
    assert_eq!((&again.json["before"], again.json["changed"].as_bool()), (&entries[0]["policy"], Some(false)));
}

#[tokio::test]
async fn a_permit_in_hand_is_worth_nothing_after_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::init(folder.path(), "st-mary", "IN");
    let gateway = Gateway::open(&Home::at(&site.home), Clock::system()).expect("it opens");
    let (epoch, before, mut changes) = (gateway.epoch(), gateway.policy().digest(), gateway.changes());
    changes.mark_unchanged();
    write_rule(&site, "ours.cedar", NOT_TO_DE);
    let reloaded = gateway.reload_policy(None).await.expect("reloaded");
    assert_ne!(gateway.epoch(), epoch);
    assert_eq!((reloaded.before, reloaded.digest), (before, gateway.policy().digest()));
    assert!(changes.has_changed().expect("the gateway lives"), "whoever waits is woken");
    assert_eq!(gateway.policy_of(before).expect("read").expect("kept").digest(), before);
    assert!(gateway.policy_of(Digest::of(b"never")).expect("read").is_none());

    let (epoch, in_force) = (gateway.epoch(), gateway.policy().digest());
    write_rule(&site, "theirs.cedar", "permit (principal, action, resource);");
    assert!(gateway.reload_policy(None).await.is_err());
    assert_eq!((gateway.epoch(), gateway.policy().digest()), (epoch, in_force));
    gateway.log.close().expect("the log is written to its end before the folder goes");
}
