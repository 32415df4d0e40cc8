//! Does a consent artefact of India's health network carry a release from one gateway to another, and does its
//! revocation stop what waits?

use std::fs;
use std::path::Path;

use medseal::durable;
use serde_json::json;

use crate::abdm_rig::{Manager, PATIENT, detail, ended, notification};
use crate::asking::with;
use crate::erasure::{AT_ONCE, erase, told};
use crate::people::configure;
use crate::site::{Ran, Site};

/// A hospital that trusts a consent manager, and an institute that the artefact's recipient id means.
struct Rig {
    hospital: Site,
    institute: Site,
    manager: Manager,
    folder: tempfile::TempDir,
}

impl Rig {
    fn ready() -> Option<Self> {
        let manager = Manager::new()?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut hospital = Site::init(folder.path(), "pune-central", "IN");
        let mut institute = Site::init(folder.path(), "nordhafen", "DE");
        manager.trust_in(&hospital.home.join("keys"));
        let file = hospital.home.join("medseal.toml");
        let config = fs::read_to_string(&file).expect("the configuration");
        let abdm = "[abdm]\nhip = \"HIP-EX-01\"\n\n[abdm.recipients]\nHIU-EX-07 = \"nordhafen\"\n";
        assert!(config.contains("[abdm.recipients]\n"), "{config}");
        let config = config.replace("[abdm]\n", "").replace("[abdm.recipients]\n", abdm);
        durable::replace(&file, config.as_bytes(), 0o644).expect("written");
        hospital.start();
        institute.start();
        hospital.befriend(&institute);
        institute.befriend(&hospital);
        Some(Self { hospital, institute, manager, folder })
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        durable::replace(&path, content.as_bytes(), 0o600).expect("written");
        path.to_str().expect("a path").to_owned()
    }

    fn add(&self, notice: &str) -> Ran {
        self.hospital.run(&["consent", "add", &self.file("notice.json", notice)])
    }

    fn open_case(&self) -> String {
        let args = ["case", "open", "--patient", PATIENT, "--partner", "nordhafen", "--purpose", "CAREMGT"];
        self.hospital.run(&[&args[..], &["--question", "Operate?"]].concat()).ok().text("case")
    }

    fn send(&self, case: &str, class: &str, more: &[&str]) -> Ran {
        let summary = self.file("summary.txt", "Discharge summary.\n");
        let list = json!([{ "path": "summary.txt", "class": class, "confidentiality": "N", "date": "2026-03-01" }]);
        let list = self.file("list.json", &list.to_string());
        self.hospital.run(&[&["send", &summary, "--case", case, "--documents", &list], more].concat())
    }
}

const ARTEFACT: &str = "3fa85f64-5717-4562-b3fc-2c963f66ab01";

#[test]
fn a_release_that_an_artefact_permits_is_delivered_and_says_by_when_to_erase() {
    let Some(rig) = Rig::ready() else { return };
    let added = rig.add(&rig.manager.granted(&detail())).ok();
    assert_eq!((added.json["understood"].clone(), added.text("source")), (json!(true), "abdm".to_owned()));
    let words = added.text("permits");
    for part in ["nordhafen", "CAREMGT", "18842-5", "2036-02-22", "2025-01-01"] {
        assert!(words.contains(part), "{part} is not said: {words}");
    }
    let case = rig.open_case();
    rig.send(&case, "57833-6", &[]).refused("DOCUMENT_CLASS");
    let sent = rig.send(&case, "18842-5", &["--wait"]).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", rig.hospital.log());
    let inbox = rig.institute.run(&["inbox", &sent.text("bundle")]).ok();
    assert_eq!(inbox.text("erase_at"), "2036-02-22T00:00:00.000000Z");
    let dispatch: serde_json::Value = serde_json::from_str(&inbox.text("dispatch")).expect("JSON");
    assert!(dispatch["obligations"].as_array().expect("a list").contains(&json!("DELAU")), "{dispatch}");
    for site in [&rig.hospital, &rig.institute] {
        assert_eq!(site.run(&["audit", "verify"]).ok().json["ok"], true);
    }
    assert_eq!(rig.hospital.run(&["doctor"]).json["ok"], true);
}

#[test]
fn the_word_that_an_artefact_was_revoked_withdraws_it_and_cancels_what_waits() {
    let Some(mut rig) = Rig::ready() else { return };
    let granted = rig.manager.granted(&detail());
    // Before the artefact is on file, its end withdraws nothing.
    let early = rig.add(&ended(ARTEFACT, "REVOKED"));
    assert!(early.status != 0 && early.stderr.contains("CONSENT_INACTIVE") | early.stdout.contains("CONSENT_INACTIVE"));
    let consent = rig.add(&granted).ok().text("consent");
    let twice = rig.add(&granted);
    assert!(twice.status != 0 && format!("{}{}", twice.stdout, twice.stderr).contains(&consent));
    let case = rig.open_case();
    rig.institute.stop();
    let bundle = rig.send(&case, "18842-5", &[]).ok().text("bundle");
    rig.hospital.wait_for(&bundle, &["waiting"]);
    // A forged end is not believed, and says what to do if it is true.
    let text = detail().to_string();
    let forged = rig.add(&notification(
        ARTEFACT,
        "REVOKED",
        &text.replace("CAREMGT", "PATRQT"),
        &rig.manager.sign(text.as_bytes()),
    ));
    assert!(format!("{}{}", forged.stdout, forged.stderr).contains("BAD_SIGNATURE"), "{}", forged.stdout);
    assert!(rig.hospital.run(&["consent", "show", &consent]).ok().json["withdrawn"].is_null());

    let revoked = rig.add(&ended(ARTEFACT, "REVOKED")).ok();
    assert_eq!(revoked.text("consent"), consent);
    assert!(revoked.json["withdrawn"].is_string(), "{}", revoked.stdout);
    let waited = rig.hospital.wait_for(&bundle, &["cancelled"]);
    assert_eq!(waited.text("reason"), "CONSENT_WITHDRAWN");
    rig.send(&case, "18842-5", &[]).refused("CONSENT_WITHDRAWN");
    // The same word again changes nothing; the older word does not revive it.
    rig.add(&ended(ARTEFACT, "REVOKED")).ok();
    let again = rig.add(&granted);
    assert!(format!("{}{}", again.stdout, again.stderr).contains("CONSENT_WITHDRAWN"), "{}", again.stdout);
    // A new decision of the patient is a new artefact.
    rig.add(&rig.manager.granted(&with(detail(), |d| d["consentId"] = json!("another-artefact")))).ok();
    rig.institute.start();
    let sent = rig.send(&case, "18842-5", &["--wait"]).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", rig.hospital.log());
}

#[test]
fn after_an_erasure_nothing_in_the_home_leads_from_an_artefacts_id_to_the_patient() {
    let Some(mut rig) = Rig::ready() else { return };
    rig.hospital.stop();
    configure(&rig.hospital, &AT_ONCE);
    rig.hospital.start();
    let consent = rig.add(&rig.manager.granted(&detail())).ok().text("consent");
    // Neither the id nor what anybody can compute from it stands in a file or in a file's name.
    let telling = [ARTEFACT.to_owned(), medseal::id::Digest::of(ARTEFACT.as_bytes()).to_string()];
    let telling: Vec<Vec<u8>> = telling.into_iter().map(String::into_bytes).collect();
    rig.hospital.stop();
    assert_eq!(told(&rig.hospital.home, &telling), Vec::<String>::new());
    assert!(!told(&rig.hospital.home, &[consent.into_bytes()]).is_empty(), "the search finds what is there");
    let subjects = rig.hospital.home.join("subjects");
    let names = || fs::read_dir(&subjects).expect("a folder").count();
    let before = names();
    rig.hospital.start();
    erase(&rig.hospital, PATIENT).ok();
    assert_eq!(names(), before - 3, "the key, the identifier and the artefact's name");
    // The manager's word finds nothing any more, and the artefact may come back as a new patient's.
    let late = rig.add(&ended(ARTEFACT, "REVOKED"));
    assert!(format!("{}{}", late.stdout, late.stderr).contains("CONSENT_INACTIVE"), "{}", late.stdout);
    rig.add(&rig.manager.granted(&detail())).ok();
    assert_eq!(rig.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
}

#[test]
fn a_managers_key_that_was_removed_stops_what_waits_and_a_broken_one_stops_the_start() {
    let Some(mut rig) = Rig::ready() else { return };
    rig.add(&rig.manager.granted(&detail())).ok();
    let case = rig.open_case();
    rig.institute.stop();
    let bundle = rig.send(&case, "18842-5", &[]).ok().text("bundle");
    let key = rig.hospital.home.join("keys/consent-managers/sbx.pem");
    fs::remove_file(&key).expect("removed");
    rig.institute.start();
    let refused = rig.hospital.wait_for(&bundle, &["refused", "delivered"]);
    assert_eq!(
        (refused.text("state"), refused.text("reason")),
        ("refused".to_owned(), "CONSENT_UNSUPPORTED".to_owned())
    );
    rig.send(&case, "18842-5", &[]).refused("CONSENT_UNSUPPORTED");
    rig.hospital.stop();
    assert_eq!(rig.hospital.run(&["serve", "--check"]).status, 0);
    write_public(&key, "no key\n");
    let checked = rig.hospital.run(&["serve", "--check"]);
    assert!(checked.status == 2 && checked.stderr.contains("sbx.pem"), "{}{}", checked.stdout, checked.stderr);
    let doctor = rig.hospital.run(&["doctor"]);
    assert!(doctor.stdout.contains("sbx.pem") && doctor.json["ok"] == false, "{}", doctor.stdout);
}

fn write_public(path: &Path, text: &str) {
    durable::write_new(path, text.as_bytes(), 0o644).expect("written");
}
