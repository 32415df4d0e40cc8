//! In an emergency, do records leave only with two other people's approval, never against the patient, and is
//! everything about it found afterwards?

use serde_json::{Value, json};

use crate::needs;
use crate::people::{Door, KUMAR, LEE, ROSE, came, entries, readable};
use crate::site::{Pair, Ran};

const ON: (&str, &str) = ("enabled = false", "enabled = true");

/// A hospital without a consent, where Kumar, Lee and Rose work, and a case that is opened for emergency treatment.
struct Ward {
    pair: Pair,
    door: Door,
    case: String,
}

impl Ward {
    fn with(config: &[(&str, &str)]) -> Self {
        let mut pair = Pair::silent();
        readable(&pair.folder.path().join("sample"));
        let door = Door::open(&mut pair, &[KUMAR, LEE, ROSE], "", config);
        let case = open(&pair, "ETREAT");
        Self { pair, door, case }
    }

    /// Kumar asks for the emergency.
    fn ask(&self, case: &str) -> Ran {
        let documents = self.pair.documents();
        let list = self.pair.sample.documents_list.to_str().expect("a path");
        let send = ["send", &documents, "--case", case, "--documents", list];
        let why = ["--break-glass", "--clinician", "Dr Asha Rao", "--reason", "unconscious, bleeding"];
        self.door.run(KUMAR, &[&send[..], &why[..]].concat())
    }

    fn state(&self, bundle: &str) -> String {
        self.pair.hospital.run(&["status", bundle]).ok().text("state")
    }
}

fn open(pair: &Pair, purpose: &str) -> String {
    let patient = medseal::sample_case::patient().to_string();
    let what = ["case", "open", "--patient", &patient, "--partner", "nordhafen", "--question", "Operate?"];
    pair.hospital.run(&[&what[..], &["--purpose", purpose]].concat()).ok().text("case")
}

/// The sample patient's consent to the institute, turned into a denial.
fn deny(pair: &Pair) {
    let id = |text: &str| text.parse().expect("an id");
    let text = medseal::sample_case::consent_json(
        &medseal::sample_case::patient(),
        &id("nordhafen"),
        &"DE".parse().expect("a country"),
        "2026-01-01".parse().expect("a day"),
        "2036-01-01".parse().expect("a day"),
    );
    let mut consent: Value = serde_json::from_str(&text).expect("JSON");
    consent["provision"] = json!({ "type": "deny" });
    consent["policyRule"]["coding"][0]["code"] = json!("OPTOUT");
    let path = pair.folder.path().join("denial.json");
    medseal::durable::write_new(&path, consent.to_string().as_bytes(), 0o600).expect("written");
    pair.hospital.run(&["consent", "add", path.to_str().expect("a path")]).ok();
}

#[test]
fn two_others_let_records_go_and_what_is_owed_afterwards_is_asked_for_until_it_is_done() {
    if !needs::other_users() {
        return;
    }
    let ward = Ward::with(&[ON]);
    let (pair, door) = (&ward.pair, &ward.door);
    let asked = ward.ask(&ward.case).ok();
    let bundle = asked.text("bundle");
    assert_eq!(asked.text("state"), "approval");
    door.run(KUMAR, &["approve", &bundle]).refused("APPROVER");
    let first = door.run(LEE, &["approve", &bundle]).ok();
    assert_eq!(first.text("state"), "approval", "one person is not two");
    assert_eq!(first.json["approval"]["waits_for"], json!(["uid:41003"]));
    let twice = door.run(LEE, &["approve", &bundle]).refused("APPROVER");
    assert!(twice.stderr.contains("already"), "{}", twice.stderr);
    assert_eq!((came(pair), ward.state(&bundle)), (0, "approval".to_owned()));
    let sent = door.run(ROSE, &["approve", &bundle, "--wait"]).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", pair.hospital.log());

    // Whoever receives it sees that nobody could ask the patient.
    assert_eq!(pair.institute.run(&["inbox"]).ok().json["items"][0]["purpose"], "BTG");
    let out = pair.folder.path().join("opened");
    let opened = pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).ok();
    assert_eq!(opened.json["purpose"], "BTG", "{}", opened.stdout);

    let tasks = |shown: &Ran| shown.json["emergency"]["tasks"].as_array().expect("a list").len();
    let shown = pair.hospital.run(&["status", &bundle]).ok();
    assert_eq!((tasks(&shown), shown.json["emergency"]["clinician"].as_str()), (2, Some("Dr Asha Rao")));
    assert!(pair.hospital.run(&["doctor"]).stdout.contains("left without a consent"));
    door.run(KUMAR, &["break-glass", "review", &bundle, "--finding", "fine"]).refused("APPROVER");
    door.run(LEE, &["break-glass", "review", &bundle, "--finding", "justified"]).ok();
    let done = door.run(KUMAR, &["break-glass", "told", &bundle, "--how", "at the bedside"]).ok();
    assert_eq!(tasks(&done), 0);
    assert!(!pair.hospital.run(&["doctor"]).stdout.contains("left without a consent"));
    assert_eq!(pair.hospital.run(&["break-glass", "list"]).ok().json["items"][0]["bundle"], bundle.as_str());

    let about = pair.hospital.run(&["audit", "show", "--break-glass"]).ok();
    let about = about.json["items"].as_array().expect("a list").clone();
    let kinds: Vec<&str> = about.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    let expected = ["break-glass", "approval", "approval", "release", "break-glass", "break-glass"];
    assert_eq!(kinds, expected, "{about:#?}");
    for secret in ["Rao", "bleeding", "bedside", "justified"] {
        assert!(!Value::from(about.clone()).to_string().contains(secret), "{secret} stands in the log in clear");
    }
    for site in [&pair.hospital, &pair.institute] {
        assert_eq!(site.run(&["audit", "verify"]).ok().json["ok"], true);
    }
    pair.hospital.run(&["audit", "replay"]).ok();
}

#[test]
fn an_emergency_is_off_by_default_and_is_none_in_everyday_treatment() {
    if !needs::other_users() {
        return;
    }
    let off = Ward::with(&[]);
    off.ask(&off.case).refused("BREAK_GLASS_OFF");
    assert_eq!(entries(&off.pair, "break-glass").len(), 1, "that it was asked for is recorded");
    drop(off);
    let ward = Ward::with(&[ON]);
    ward.ask(&ward.pair.case).refused("PURPOSE");
    assert_eq!(came(&ward.pair), 0);
}

#[test]
fn an_emergency_never_overrides_a_withdrawal() {
    if !needs::other_users() {
        return;
    }
    let ward = Ward::with(&[ON]);
    let hospital = &ward.pair.hospital;
    let consent = crate::site::add_consent(hospital, ward.pair.folder.path(), &ward.pair.institute, "DE");
    hospital.run(&["consent", "withdraw", &consent, "--reason", "no more"]).ok();
    ward.ask(&ward.case).refused("CONSENT_WITHDRAWN");
}

#[test]
fn a_denial_that_comes_while_people_approve_stops_the_emergency() {
    if !needs::other_users() {
        return;
    }
    let ward = Ward::with(&[ON]);
    let bundle = ward.ask(&ward.case).ok().text("bundle");
    ward.door.run(LEE, &["approve", &bundle]).ok();
    deny(&ward.pair);
    ward.door.run(ROSE, &["approve", &bundle]).ok();
    let refused = ward.pair.hospital.wait_for(&bundle, &["refused", "delivered"]);
    assert_eq!((refused.text("state"), refused.text("reason")), ("refused".to_owned(), "CONSENT_DENIED".to_owned()));
    assert_eq!(came(&ward.pair), 0);
}

#[test]
fn an_emergency_ends_with_its_time_box_whoever_has_approved_it() {
    if !needs::other_users() {
        return;
    }
    let ward = Ward::with(&[ON, ("box_s_max = 14400", "box_s_max = 2")]);
    let bundle = ward.ask(&ward.case).ok().text("bundle");
    let ended = ward.pair.hospital.wait_for(&bundle, &["refused"]);
    assert_eq!(ended.text("reason"), "BREAK_GLASS_ENDED");
    assert_eq!(ward.door.run(LEE, &["approve", &bundle]).status, 2);
    assert_eq!(came(&ward.pair), 0);
}
