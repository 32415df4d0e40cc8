//! Does a breach officer learn in the first hour who is affected, out of the log, and whom to tell until when?

use serde_json::Value;

use medseal::sample_case;

use crate::erasure::{AT_ONCE, erase};
use crate::people::{configure, entries};
use crate::site::{Pair, Site};

struct Told {
    json: Value,
    csv: String,
    html: String,
}

impl Told {
    /// The lines about bundles and patients.
    fn affected(&self) -> &[Value] {
        self.json["affected"].as_array().expect("a list")
    }

    fn clock(&self, source: &str) -> &Value {
        let clocks = self.json["clocks"].as_array().expect("a list");
        clocks.iter().find(|clock| clock["source"].as_str().is_some_and(|text| text.contains(source))).expect("a clock")
    }
}

fn incident(pair: &Pair, site: &Site, name: &str, args: &[&str]) -> Told {
    let out = pair.folder.path().join(name);
    let folder = out.to_string_lossy().into_owned();
    site.run(&[&["incident", "--out", &folder], args].concat()).ok();
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("written");
    let json = serde_json::from_str(&read("incident.json")).expect("JSON");
    Told { json, csv: read("incident.csv"), html: read("incident.html") }
}

fn texts<'a>(one: &'a Value, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| one[*name].as_str().expect("a text")).collect()
}

fn refused(site: &Site, folder: &std::path::Path, args: &[&str], code: &str) {
    let out = folder.join("never").to_string_lossy().into_owned();
    let ran = site.run(&[&["incident", "--out", &out], args].concat());
    assert!(ran.status == 2 && format!("{}{}", ran.stdout, ran.stderr).contains(code), "{}{}", ran.stdout, ran.stderr);
    assert!(!folder.join("never").exists());
}

#[test]
fn a_partners_incident_lists_what_it_holds_with_the_clocks_and_names_nobody_unless_asked() {
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    // A patient of whom nothing left, and whose case is with the same partner.
    let other = "https://hospital.example/mrn|Other-4711";
    let args =
        ["case", "open", "--patient", other, "--partner", pair.institute.id, "--purpose", "TREAT", "--question", "Hm?"];
    pair.hospital.run(&args).ok();

    let told =
        incident(&pair, &pair.hospital, "first", &["--partner", "nordhafen", "--known-at", "2026-11-20T08:00:00Z"]);
    assert_eq!((&told.json["subjects"], &told.json["bundles"]), (&1.into(), &1.into()), "{}", told.json);
    assert!(told.json["documents"].as_u64().expect("a number") > 2);
    assert_eq!(told.json["countries"], serde_json::json!(["DE", "EE"]));
    let [one] = told.affected() else { panic!("one bundle: {}", told.json) };
    assert_eq!(texts(one, &["bundle", "way", "country", "party"]), [&bundle, "sent", "DE", "nordhafen"]);
    assert_eq!(texts(one, &["reached", "opened"]), ["handed over", "not known"]);
    assert_eq!(told.clock("Article 33(1)")["due"], "2026-11-23T08:00:00.000000Z");
    assert_eq!(told.clock("Article 33(1)")["countries"], serde_json::json!(["DE", "EE"]));
    assert_eq!(told.clock("164.404")["countries"], serde_json::json!([]), "no country of ours or theirs");
    let patient = sample_case::patient();
    for file in [&told.csv, &told.html, &told.json.to_string()] {
        assert!(!file.contains(patient.value()) && !file.contains("unapuu") && !file.contains("4711"), "{file}");
        assert!(file.contains(&bundle));
    }
    assert!(told.html.contains("default-src 'none'") && !told.html.contains("<script"));
    let recorded = entries(&pair, "incident");
    let [entry] = &recorded[..] else { panic!("one entry: {recorded:?}") };
    assert_eq!((&entry["_seq"], &entry["scope"]["partner"]), (&told.json["entry"], &"nordhafen".into()));
    assert_eq!((&entry["subjects"], &entry["names"]), (&1.into(), &false.into()));

    let named = incident(&pair, &pair.hospital, "named", &["--partner", "nordhafen", "--names"]);
    assert!(named.csv.contains(patient.value()) && named.html.contains(patient.value()));

    // What the partner answered to the recall is known better than before.
    let out = pair.folder.path().join("read").to_string_lossy().into_owned();
    pair.institute.run(&["open", &bundle, "--out", &out]).ok();
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    pair.hospital.wait_for(&bundle, &["recalled"]);
    let later = incident(&pair, &pair.hospital, "later", &["--partner", "nordhafen"]);
    assert_eq!(texts(&later.affected()[0], &["opened"]), ["yes"]);
    assert!(texts(&later.affected()[0], &["fate"])[0].contains("destroyed"), "{}", later.json);

    // Erased here, the patient is still affected: the log has not forgotten what left.
    pair.hospital.stop();
    configure(&pair.hospital, &AT_ONCE);
    pair.hospital.start();
    erase(&pair.hospital, &patient.to_string()).ok();
    let erased = incident(&pair, &pair.hospital, "erased", &["--partner", "nordhafen", "--names"]);
    assert_eq!((&erased.json["subjects"], &erased.affected()[0]["erased"]), (&1.into(), &true.into()));
    assert!(!erased.csv.contains(patient.value()), "nobody knows the name any more");
    assert!(erased.json["documents"].as_u64().expect("a number") > 2, "the log counts them");
}

#[test]
fn a_key_reaches_what_was_sealed_to_it_and_an_account_and_a_time_what_they_did() {
    let pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let keys = pair.institute.run(&["key", "list"]).ok().json;
    let key = |kind: &str| {
        let held = keys["items"].as_array().expect("a list").iter().find(|held| held["kind"] == kind).expect("a key");
        held["fingerprint"].as_str().expect("a text").to_owned()
    };
    let (age, signing) = (key("age"), key("signing"));
    for (name, site, key, way) in [
        ("theirs", &pair.hospital, &age, "sent"),
        ("ours", &pair.institute, &age, "received"),
        ("posing", &pair.hospital, &signing, "sent"),
    ] {
        let told = incident(&pair, site, name, &["--key", key]);
        assert_eq!(told.affected().len(), 1, "{name}: {}", told.json);
        assert_eq!(texts(&told.affected()[0], &["bundle", "way"]), [&bundle, way], "{name}");
    }
    let stranger = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    assert_eq!(incident(&pair, &pair.hospital, "stranger", &["--key", stranger]).json["bundles"], 0);

    let intake = &entries(&pair, "intake")[0];
    let uid = intake["by"].as_str().and_then(|by| by.strip_prefix("uid:")).expect("an account").to_owned();
    let acted = incident(&pair, &pair.hospital, "account", &["--account", &uid]);
    assert_eq!((&acted.json["subjects"], &acted.json["bundles"]), (&1.into(), &1.into()), "{}", acted.json);
    assert_eq!(incident(&pair, &pair.hospital, "nobody", &["--account", "4242"]).json["subjects"], 0);
    assert_eq!(incident(&pair, &pair.hospital, "before", &["--to", "2001-01-01"]).json["subjects"], 0);
    let since = incident(&pair, &pair.hospital, "since", &["--from", "2001-01-01", "--partner", "nordhafen"]);
    assert_eq!(since.json["bundles"], 1);

    let folder = pair.folder.path();
    refused(&pair.hospital, folder, &[], "BAD_INPUT");
    refused(&pair.hospital, folder, &["--partner", "nordhafen", "--known-at", "2999-01-01"], "BAD_INPUT");
    refused(&pair.hospital, folder, &["--from", "2026-02-01", "--to", "2026-01-01"], "BAD_INPUT");
    refused(&pair.hospital, folder, &["--key", &"ab".repeat(32)], "NOT_FOUND");
}

#[test]
fn what_provably_did_not_leave_is_no_disclosure_and_reaches_no_partner() {
    let mut pair = Pair::ready();
    let delivered = pair.send(&["--wait"]).ok().text("bundle");
    pair.institute.stop();
    let stopped = pair.send(&[]).ok().text("bundle");
    pair.hospital.wait_for(&stopped, &["waiting"]);
    let tried = |pair: &Pair| entries(pair, "attempt").iter().any(|entry| entry["bundle"] == stopped.as_str());
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !tried(&pair) {
        assert!(std::time::Instant::now() < deadline, "it was never tried");
    }
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    pair.hospital.wait_for(&stopped, &["cancelled"]);

    let told = incident(&pair, &pair.hospital, "partner", &["--partner", "nordhafen"]);
    let [one] = told.affected() else { panic!("one of two bundles: {}", told.json) };
    assert_eq!(one["bundle"], delivered.as_str());
    let all = incident(&pair, &pair.hospital, "all", &["--from", "2001-01-01"]);
    let stayed = all.affected().iter().find(|one| one["bundle"] == stopped.as_str()).expect("it is listed");
    assert_eq!(texts(stayed, &["reached", "opened"]), ["did not leave", "no"]);
    let out = pair.folder.path().join("accounting").to_string_lossy().into_owned();
    let patient = sample_case::patient().to_string();
    let report = pair.hospital.run(&["audit", "report", "--patient", &patient, "--out", &out]).ok();
    assert_eq!(report.json["disclosures"], 1);
}
