//! Does every recorded decision come out again as it was recorded, and is it found when something it rests on was
//! changed?

use std::sync::Arc;

use medseal::audit::event::{Entry, Event};
use medseal::audit::happened::Happened;
use medseal::audit::log::Change;
use medseal::audit::reader::Detail;
use medseal::bundle::document::{ConfidentialityCode, Document};
use medseal::clock::Clock;
use medseal::config::{CONSENTS_PER_PATIENT_MAX, Home};
use medseal::decision::{Asked, documents_digest};
use medseal::desk::replay::{Replayed, replay};
use medseal::gateway::{ConsentPrivate, Gateway, put};
use medseal::id::{BundleId, ConsentId};
use medseal::leaf::Leaf;
use medseal::records::{BundleRecord, ConsentRecord};
use medseal::store::{Expect, Put, Space, WriteSet};
use serde_json::{Value, json};

use crate::asking;
use crate::log_home::Home as LogHome;
use crate::site::{Pair, Site};

/// What is forged, how, and what must be named because of it.
type Forgery = (&'static str, fn(&mut Forged), &'static str);

#[test]
fn every_decision_of_a_whole_history_comes_out_again_on_both_sides() {
    let mut pair = Pair::ready();
    history(&mut pair);
    for (site, least) in [(&pair.hospital, 7), (&pair.institute, 2)] {
        let replayed = site.run(&["audit", "replay", "--all"]).ok();
        assert_eq!(replayed.json["ok"], true, "{}", replayed.stdout);
        assert_eq!(replayed.json["equal"], replayed.json["decisions"], "{}", replayed.stdout);
        assert!(replayed.json["decisions"].as_u64().expect("a count") >= least, "{}", replayed.stdout);
        let shown = site.run(&["audit", "show"]).ok();
        let entries = shown.json["items"].as_array().expect("a list");
        let release = entries.iter().find(|entry| entry["kind"] == "release").expect("a release");
        let one = site.run(&["audit", "replay", &release["_seq"].to_string()]).ok();
        assert_eq!((&one.json["decisions"], &one.json["equal"]), (&json!(1), &json!(1)), "{}", one.stdout);
        assert_eq!(site.run(&["audit", "replay", "0"]).status, 2, "the genesis entry decides nothing");
    }
}

#[test]
fn a_consent_stays_readable_in_every_version_and_its_resource_is_never_rewritten() {
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let consent: ConsentId = pair.consent.parse().expect("an id");
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    pair.hospital.stop();
    let gateway = open(&pair.hospital);
    let version = |number| gateway.consent_as_of(&consent, number).expect("read").expect("on file");
    assert_eq!((version(1).version, version(1).withdrawn.is_some()), (1, false));
    assert_eq!((version(2).version, version(2).withdrawn.is_some()), (2, true));
    assert!(gateway.consent_as_of(&consent, 3).expect("read").is_none());
    let private = gateway.consent_private(&version(1)).expect("read").expect("on file");
    let given = std::fs::read_to_string(pair.folder.path().join("consent-nordhafen.json")).expect("the consent");
    assert_eq!(private.resource, given);
    let replayed = all(&gateway);
    assert!(replayed.deviations.is_empty() && replayed.equal == replayed.decisions, "{replayed:?} {bundle}");
}

#[test]
fn whatever_a_decision_rests_on_is_missed_when_it_is_changed() {
    let mut pair = Pair::ready();
    let bundle: BundleId = pair.send(&["--wait"]).ok().text("bundle").parse().expect("an id");
    let consent: ConsentId = pair.consent.parse().expect("an id");
    pair.hospital.stop();
    let gateway = open(&pair.hospital);
    let clean = all(&gateway);
    assert!(clean.deviations.is_empty() && clean.decisions >= 2, "{clean:?}");

    let record = gateway.consent_as_of(&consent, 1).expect("read").expect("on file");
    let private = gateway.consent_private(&record).expect("read").expect("on file");
    let sealed = |private: &ConsentPrivate| {
        let name = consent.as_str().as_bytes();
        gateway.seal_parts(Space::Consent, name, &record.subject, private).expect("sealed")
    };
    let later = private.resource.replacen("2036", "2037", 1);
    assert_ne!(later, private.resource);
    let version = |record: &ConsentRecord| {
        vec![put(Space::Index, format!("consent-version/{consent}/1").as_bytes(), record, Expect::Any)]
    };
    let withdrawn = ConsentRecord { withdrawn: Some(record.added.clone()), ..record.clone() };
    let moved =
        ConsentRecord { countries: vec![("nordhafen".parse().unwrap(), "CH".parse().unwrap())], ..record.clone() };

    let bundle_record: BundleRecord =
        gateway.row(Space::Bundle, bundle.as_str().as_bytes()).expect("read").expect("there").value;
    let documents = gateway.documents_of(&bundle_record).expect("read").expect("on file");
    let mut raised = documents.clone();
    raised[0].confidentiality.code = ConfidentialityCode::R;
    let described = |documents: &Vec<Document>| {
        gateway
            .seal_parts(Space::Bundle, bundle.as_str().as_bytes(), &bundle_record.subject, documents)
            .expect("sealed")
    };
    let mut torn = described(&documents);
    torn[0].value.reverse();

    let release = entry(&gateway, "release").seq;
    let key = release.to_be_bytes().to_vec();
    let as_it_was = gateway.store().get(Space::Detail, &key).expect("read").expect("there").value;
    let detail = |value| vec![Put { space: Space::Detail, key: key.clone(), expect: Expect::Any, value }];
    let reversed: Vec<u8> = as_it_was.iter().rev().copied().collect();

    let changes = [
        (
            "a byte of the consent",
            sealed(&ConsentPrivate { resource: later, evidence: Vec::new() }),
            sealed(&private),
            "the resource",
        ),
        ("a withdrawal in the record", version(&withdrawn), version(&record), "withdrawn"),
        ("the country in the record", version(&moved), version(&record), "the receiver's country"),
        ("a label of a document", described(&raised), described(&documents), "the documents of the bundle"),
        ("bytes of the sealed documents", torn, described(&documents), "what is stored"),
        ("bytes of the entry's sealed part", detail(reversed), detail(as_it_was), "the sealed part"),
    ];
    for (what, change, back, found) in changes {
        write(&gateway, change);
        let replayed = all(&gateway);
        let named = replayed.deviations.iter().any(|deviation| deviation.what.contains(found));
        assert!(named && replayed.equal < replayed.decisions, "{what}: {replayed:?}");
        write(&gateway, back);
        assert!(all(&gateway).deviations.is_empty(), "{what} was put back");
    }
}

#[test]
fn a_decision_that_does_not_follow_from_its_facts_is_found() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    pair.hospital.stop();
    let gateway = open(&pair.hospital);
    let cases: [Forgery; 5] = [
        (
            "another standing of the partner",
            |forged| forged.asked("partner")["standing"] = json!("suspended"),
            "verdict",
        ),
        ("another obligation in the entry", |forged| forged.fact("obligations", json!(["ENCRYPT"])), "obligations"),
        ("another rule in the entry", |forged| forged.fact("policies", json!(["return-opinion"])), "policies"),
        ("another version of the consent", |forged| forged.fact("consent_version", json!(7)), "consent_version"),
        ("another receiver", |forged| forged.fact("to", json!("elsewhere")), "to"),
    ];
    for (what, change, found) in cases {
        let mut forged = Forged::of(&gateway, "release");
        change(&mut forged);
        let place = gateway.log.append_blocking(forged, Change::default()).expect("recorded").place().clone();
        let replayed = replay(&gateway, place.seq, 1).expect("replayed");
        assert_eq!((replayed.decisions, replayed.equal), (1, 0), "{what}: {replayed:?}");
        assert!(replayed.deviations.iter().any(|one| one.what.contains(found)), "{what}: {replayed:?}");
    }
}

#[test]
fn what_cannot_be_taken_again_is_said_and_never_counts_as_equal() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    pair.hospital.stop();
    let gateway = open(&pair.hospital);
    let cases: [Forgery; 4] = [
        ("other rules", |forged| *forged.asked("engine") = json!("medseal-decision-0"), "medseal-decision-0"),
        ("other tables", |forged| *forged.asked("terminology") = json!("0".repeat(64)), "tables"),
        ("a policy set that is gone", |forged| *forged.asked("policy") = json!("0".repeat(64)), "policy set"),
        (
            "no facts at all",
            |forged| forged.0.detail = Some([("note".to_owned(), json!("old"))].into()),
            "kept their facts",
        ),
    ];
    for (what, change, why) in cases {
        let mut forged = Forged::of(&gateway, "release");
        change(&mut forged);
        let place = gateway.log.append_blocking(forged, Change::default()).expect("recorded").place().clone();
        let replayed = replay(&gateway, place.seq, 1).expect("replayed");
        assert_eq!(
            (replayed.decisions, replayed.equal, replayed.not_replayed.len()),
            (1, 0, 1),
            "{what}: {replayed:?}"
        );
        assert!(replayed.not_replayed[0].why.contains(why), "{what}: {replayed:?}");
    }
    drop(gateway);
    pair.hospital.start();
    assert_eq!(pair.hospital.run(&["audit", "replay", "--all", "--allow-erased"]).status, 1, "none of it was erased");
}

#[test]
fn decisions_about_an_erased_patient_are_listed_and_only_allowed_when_asked_for() {
    let mut pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    pair.hospital.stop();
    for file in std::fs::read_dir(pair.hospital.home.join("subjects")).expect("a folder") {
        let path = file.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("key-")) {
            std::fs::remove_file(path).expect("removed");
        }
    }
    pair.hospital.start();
    let strict = pair.hospital.run(&["audit", "replay", "--all"]);
    assert_eq!(strict.status, 1, "{}", strict.stdout);
    assert!(strict.stdout.contains("erased") && strict.json["equal"] == 0, "{}", strict.stdout);
    let allowed = pair.hospital.run(&["audit", "replay", "--all", "--allow-erased"]).ok();
    assert_eq!(allowed.json["not_replayed"], strict.json["not_replayed"], "allowed, and listed all the same");
}

#[test]
fn the_facts_of_the_largest_decision_fit_an_entry() {
    let longest = |number: usize| format!("{number:06}/{0}/{0}/{0}/{0}.pdf", "a".repeat(250));
    let excluded = asking::with(asking::dissent(), |c| {
        c["provision"]["class"] = json!([{"system": "http://loinc.org", "code": "18842-5"}]);
    });
    let mut request = asking::request((0..CONSENTS_PER_PATIENT_MAX).map(|_| asking::on_file(&excluded)).collect());
    request.documents = (0..10_000).map(|number| asking::document(&longest(number))).collect();
    let denied = asking::ask_at(&mut request, asking::NOW).expect_err("every document is excluded");
    let refused = Happened::denied(
        &request.bundle,
        &request.case.id,
        &request.partner.id,
        &request.case.subject,
        &denied,
        "release",
    );
    let (_home, log) = LogHome::in_memory();
    let subject = log.reader().subjects().find_or_create(&request.patient[0]).expect("a subject");
    let mut entry = refused.entry();
    entry.subject = Some(subject);
    let place = log.append_blocking(Forged(entry), Change::default()).expect("it fits").place().clone();
    let Ok(Detail::Open(opening)) = log.reader().detail(place.seq) else { panic!("the detail opens") };
    let asked = Asked::read(&opening.detail["asked"]).expect("read back");
    assert_eq!(asked.documents, documents_digest(&request.documents));
    assert_eq!(asked.consents.len(), CONSENTS_PER_PATIENT_MAX);
}

/// A release that is written down by somebody else than the decision.
struct Forged(Entry);

impl Forged {
    fn of(gateway: &Gateway, kind: &'static str) -> Self {
        let leaf = entry(gateway, kind);
        let Ok(Detail::Open(opening)) = gateway.log.reader().detail(leaf.seq) else { panic!("the detail opens") };
        Self(Entry { kind, facts: leaf.facts, subject: leaf.subject, detail: Some(opening.detail) })
    }

    fn asked(&mut self, name: &str) -> &mut Value {
        let detail = self.0.detail.as_mut().expect("a detail");
        &mut detail.get_mut("asked").expect("facts")[name]
    }

    fn fact(&mut self, name: &str, value: Value) {
        self.0.facts.insert(name.to_owned(), value);
    }
}

impl Event for Forged {
    fn entry(&self) -> Entry {
        self.0.clone()
    }
}

/// A refusal, a delivery with its opinion, a suspended partner, a withdrawal, a closed case.
fn history(pair: &mut Pair) {
    let hospital = &pair.hospital;
    pair.send(&["--wait"]).ok();
    let opinion = pair.sample.opinion_file.to_str().expect("a path");
    pair.institute.run(&["opinion", &pair.case, opinion, "--outcome", "confirmed", "--wait"]).ok();
    hospital.run(&["partner", "suspend", "nordhafen"]).ok();
    let waiting = pair.send(&[]).ok().text("bundle");
    hospital.wait_for(&waiting, &["waiting"]);
    hospital.run(&["partner", "resume", "nordhafen"]).ok();
    hospital.wait_for(&waiting, &["delivered"]);
    hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    pair.send(&[]).refused("CONSENT_WITHDRAWN");
    crate::site::add_consent(hospital, pair.folder.path(), &pair.institute, "DE");
    pair.send(&["--wait"]).ok();
    hospital.run(&["case", "close", &pair.case, "--outcome", "confirmed"]).ok();
}

/// The home of a gateway that is stopped, opened here.
struct Opened(Arc<Gateway>);

impl std::ops::Deref for Opened {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // The log signs once more when it ends, which it must do while its folder is there.
        self.0.log.close().unwrap_or_default();
    }
}

fn open(site: &Site) -> Opened {
    Opened(Gateway::open(&Home::at(&site.home), Clock::system()).expect("the home opens"))
}

fn all(gateway: &Gateway) -> Replayed {
    let replayed = replay(gateway, 0, 1000).expect("replayed");
    assert!(replayed.next.is_none());
    replayed
}

fn entry(gateway: &Gateway, kind: &str) -> Leaf {
    let entries = gateway.log.reader().entries(0, 1000).expect("read");
    let mut leaves = entries.iter().map(|(_, line)| Leaf::read(line).expect("a leaf"));
    leaves.find(|leaf| leaf.kind == kind).expect("such an entry")
}

/// Writes behind the back of everything that reads later.
fn write(gateway: &Gateway, puts: Vec<Put>) {
    let head = gateway.store().head().expect("a head");
    gateway.store().commit(WriteSet { puts, ..WriteSet::at(head) }).expect("written");
}
