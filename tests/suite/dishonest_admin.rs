//! What shows when somebody with every right on the machine changes what lies there, short of the log's key?

use std::sync::Arc;

use medseal::audit::event::{Entry, Event};
use medseal::audit::log::Change;
use medseal::audit::reader::Detail;
use medseal::clock::{Clock, read_stamp, stamp};
use medseal::config::Home;
use medseal::desk::replay::{Replayed, replay};
use medseal::durable;
use medseal::gateway::{ConsentPrivate, Gateway, put};
use medseal::id::ConsentId;
use medseal::leaf::Leaf;
use medseal::records::ConsentRecord;
use medseal::store::{Expect, Put, Space, WriteSet};
use serde_json::{Value, json};

use crate::site::{Pair, Site, add_consent, medseal, ran};

/// The home of a gateway that is stopped, opened here as its administrator may.
struct Opened(Arc<Gateway>);

impl Opened {
    fn of(site: &Site, clock: Clock) -> Self {
        Self(Gateway::open(&Home::at(&site.home), clock).expect("the home opens"))
    }

    /// Writes behind the log's back.
    fn write(&self, puts: Vec<Put>) {
        let head = self.0.store().head().expect("a head");
        self.0.store().commit(WriteSet { puts, ..WriteSet::at(head) }).expect("written");
    }

    fn leaves(&self) -> Vec<Leaf> {
        let entries = self.0.log.reader().entries(0, 1000).expect("read");
        entries.iter().map(|(_, line)| Leaf::read(line).expect("a leaf")).collect()
    }

    /// Records the first release once more, with what it was told changed.
    fn forge(&self, change: impl FnOnce(&mut Value)) -> u64 {
        let leaf = self.leaves().into_iter().find(|leaf| leaf.kind == "release").expect("a release");
        let Ok(Detail::Open(opening)) = self.0.log.reader().detail(leaf.seq) else { panic!("the detail opens") };
        let mut detail = opening.detail;
        change(detail.get_mut("asked").expect("facts"));
        let entry = Entry { kind: "release", facts: leaf.facts, subject: leaf.subject, detail: Some(detail) };
        self.0.log.append_blocking(Forged(entry), Change::default()).expect("recorded").place().seq
    }

    fn replayed(&self, seq: u64) -> Replayed {
        replay(&self.0, seq, 1).expect("replayed")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.log.close().unwrap_or_default();
    }
}

struct Forged(Entry);

impl Event for Forged {
    fn entry(&self) -> Entry {
        self.0.clone()
    }
}

/// A clock that stands this many seconds after now.
fn later(seconds: i64) -> Clock {
    let clock = Clock::set_to(Clock::system().now());
    clock.advance_s(seconds);
    clock
}

/// Moves the times of what a decision was told.
fn move_to(asked: &mut Value, clock: &Clock) {
    for name in ["at", "read_at"] {
        asked[name] = json!(stamp(clock.now()));
    }
}

#[track_caller]
fn found(replayed: &Replayed, what: &str) {
    let named = replayed.deviations.iter().any(|one| one.what.contains(what));
    assert!(named && (replayed.decisions, replayed.equal) == (1, 0), "no {what}: {replayed:?}");
}

#[test]
fn a_withdrawal_that_was_taken_out_of_the_store_is_missed_at_the_next_release() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    let consent: ConsentId = pair.consent.parse().expect("an id");
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    pair.hospital.stop();
    let clock = later(3600);
    let gateway = Opened::of(&pair.hospital, clock.clone());
    let first = gateway.0.consent_as_of(&consent, 1).expect("read").expect("on file");
    gateway.write(vec![put(Space::Consent, &ConsentRecord::key(&first.subject, &consent), &first, Expect::Any)]);
    let told: ConsentRecord = gateway.0.consent(&consent).unwrap().expect("there").value;
    assert_eq!((told.version, told.withdrawn), (1, None), "the store says that it stands");
    let seq = gateway.forge(|asked| move_to(asked, &clock));
    found(&gateway.replayed(seq), "a consent");
}

#[test]
fn a_consent_that_was_hidden_from_a_decision_is_missed() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "AT");
    pair.hospital.stop();
    let clock = later(3600);
    let gateway = Opened::of(&pair.hospital, clock.clone());
    let seq = gateway.forge(|asked| move_to(asked, &clock));
    let replayed = gateway.replayed(seq);
    found(&replayed, "a consent");
    assert!(replayed.deviations.iter().any(|one| one.found == "not told"), "{replayed:?}");
}

#[test]
fn a_consent_that_never_was_in_the_log_or_reads_otherwise_than_recorded_is_found() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    let consent: ConsentId = pair.consent.parse().expect("an id");
    pair.hospital.stop();
    let gateway = Opened::of(&pair.hospital, Clock::system());
    let record = gateway.0.consent_as_of(&consent, 1).expect("read").expect("on file");
    let private = gateway.0.consent_private(&record).expect("read").expect("on file");

    let other: ConsentId = "consent-0123456789abcdef".parse().expect("an id");
    let copy = ConsentRecord { consent: other.clone(), ..record.clone() };
    let name = other.as_str().as_bytes();
    let mut puts = gateway.0.seal_parts(Space::Consent, name, &record.subject, &private).expect("sealed");
    puts.push(put(Space::Index, format!("consent-version/{other}/1").as_bytes(), &copy, Expect::Any));
    puts.push(put(Space::Consent, &ConsentRecord::key(&record.subject, &other), &copy, Expect::Any));
    gateway.write(puts);
    let seq = gateway.forge(|asked| asked["consents"][0]["consent"] = json!(other));
    found(&gateway.replayed(seq), "a consent");

    let longer = ConsentPrivate { resource: private.resource.replacen("2036", "2037", 1), evidence: Vec::new() };
    let name = consent.as_str().as_bytes();
    gateway.write(gateway.0.seal_parts(Space::Consent, name, &record.subject, &longer).expect("sealed"));
    let sha256 = medseal::id::Digest::of(longer.resource.as_bytes());
    let seq = gateway.forge(|asked| asked["consents"][0]["sha256"] = json!(sha256));
    found(&gateway.replayed(seq), "the resource that was recorded");
}

#[test]
fn a_second_person_who_never_approved_is_found() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    pair.hospital.stop();
    let gateway = Opened::of(&pair.hospital, Clock::system());
    let clean = gateway.forge(|_| ());
    assert_eq!(gateway.replayed(clean).equal, 1, "{:?}", gateway.replayed(clean));
    let seq = gateway.forge(|asked| {
        let none = "0".repeat(64);
        asked["confirmation"]["approvals"] = json!([{
            "by": 41_002, "at": asked["at"], "until": "2036-01-01T00:00:00.000000Z", "sealed_sha256": none,
            "manifest_sha256": none, "card": none, "consents": none,
        }]);
    });
    found(&gateway.replayed(seq), "an approval");
    let seq = gateway.forge(|asked| asked["confirmation"]["sent_by"] = json!(41_001));
    found(&gateway.replayed(seq), "the sender");
}

#[test]
fn a_decision_under_a_clock_that_was_set_back_is_found() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    pair.hospital.stop();
    let gateway = Opened::of(&pair.hospital, Clock::system());
    let seq = gateway.forge(|asked| {
        let at = read_stamp(asked["at"].as_str().expect("a time")).expect("a stamp");
        let clock = Clock::set_to(at);
        clock.advance_s(-86_400);
        move_to(asked, &clock);
    });
    found(&gateway.replayed(seq), "the time of the decision");
}

#[test]
fn doctor_sees_a_clock_that_stands_before_the_newest_entry_of_the_log() {
    let mut pair = Pair::silent();
    let clock = |pair: &Pair| {
        let doctor = pair.hospital.run(&["doctor"]);
        let checks = doctor.json["items"].as_array().expect("a list").clone();
        checks.into_iter().find(|check| check["check"] == "clock").expect("a check of the clock")["verdict"].clone()
    };
    assert_eq!(clock(&pair), "well");
    pair.hospital.stop();
    drop(Opened::of(&pair.hospital, later(86_400)).0.log.append_blocking(
        Forged(Entry {
            kind: "config",
            facts: [("software".to_owned(), json!("0"))].into(),
            subject: None,
            detail: None,
        }),
        Change::default(),
    ));
    pair.hospital.start();
    assert_eq!(clock(&pair), "mend");
}

#[test]
fn a_verifier_in_an_export_that_is_not_ours_is_said() {
    let pair = Pair::silent();
    let folder = pair.folder.path().join("export");
    let path = folder.to_str().expect("a path");
    pair.hospital.run(&["audit", "export", path]).ok();
    let verify = || ran(&medseal().args(["audit", "verify", path]).output().expect("it runs"));
    let clean = verify();
    assert!(clean.status == 3 && !clean.stderr.contains("verify.py"), "{}", clean.stderr);
    let lying = b"print('OK: all entries')\n";
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("sums");
    let own = medseal::id::Digest::of(medseal::audit::export::VERIFY_PY.as_bytes()).to_string();
    assert!(sums.contains(&own));
    let sums = sums.replace(&own, &medseal::id::Digest::of(lying).to_string());
    durable::replace(&folder.join("verify.py"), lying, 0o644).expect("written");
    durable::replace(&folder.join("SHA256SUMS"), sums.as_bytes(), 0o644).expect("written");
    assert!(verify().stderr.contains("verify.py in the export is not the one of this medseal"));
}

#[test]
fn a_sealed_file_that_was_swapped_never_leaves_and_doctor_names_its_bundle() {
    let mut pair = Pair::ready();
    pair.institute.stop();
    let bundle = pair.send(&[]).ok().text("bundle");
    pair.hospital.wait_for(&bundle, &["waiting"]);
    pair.hospital.stop();
    let sealed = pair.hospital.home.join("vault/sealed").join(&bundle);
    durable::replace(&sealed, b"another bundle's bytes", 0o600).expect("written");
    pair.institute.start();
    pair.hospital.start();
    while pair.hospital.run(&["status", &bundle]).ok().json["reason"] != "INTERNAL" {
        std::thread::yield_now();
    }
    let doctor = pair.hospital.run(&["doctor"]);
    assert!(doctor.status == 1 && doctor.stdout.contains(&format!("{bundle} cannot leave")), "{}", doctor.stdout);
    assert!(pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").is_empty());
}
