//! Does a gateway notice when its store and its log do not say the same of a bundle?

use std::sync::Arc;

use medseal::audit::verify::{Finding, Kind};
use medseal::clock::Clock;
use medseal::config::Home;
use medseal::desk::audit;
use medseal::gateway::Gateway;
use medseal::store::{Delete, Expect, Put, Space, WriteSet};
use serde_json::{Value, json};

use crate::site::{Pair, Site};

/// A gateway that does not run, opened past its daemon.
pub(crate) struct Opened {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Opened {
    pub(crate) fn of(site: &mut Site) -> Self {
        site.stop();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let _within = runtime.enter();
        let gateway = Gateway::open(&Home::at(&site.home), Clock::system()).expect("it opens");
        Self { gateway, runtime }
    }

    fn finding(&self) -> Option<Finding> {
        let report = self.runtime.block_on(audit::verify(&self.gateway)).expect("it is checked");
        assert_eq!(report.ok, report.finding.is_none());
        report.finding
    }

    fn get(&self, space: Space, key: &[u8]) -> Vec<u8> {
        self.gateway.store().get(space, key).expect("the store").expect("a value").value
    }

    fn write(&self, puts: Vec<Put>, deletes: Vec<Delete>) {
        let head = self.gateway.store().head().expect("a head");
        self.gateway.store().commit(WriteSet { puts, deletes, ..WriteSet::at(head) }).expect("written");
    }

    fn put(&self, space: Space, key: &[u8], value: &[u8]) {
        self.write(vec![Put { space, key: key.to_vec(), expect: Expect::Any, value: value.to_vec() }], Vec::new());
    }

    /// What is said once this value is not there, which then is put back.
    fn without(&self, space: Space, key: &[u8]) -> Finding {
        let value = self.get(space, key);
        self.write(Vec::new(), vec![Delete { space, key: key.to_vec(), expect: Expect::Any }]);
        let finding = self.finding().expect("something is missing");
        self.put(space, key, &value);
        assert_eq!(self.finding(), None);
        finding
    }

    /// What is said once this field of a record has another value.
    fn with(&self, space: Space, key: &[u8], field: &str, other: Value) -> Finding {
        let value = self.get(space, key);
        let mut record: Value = serde_json::from_slice(&value).expect("a record");
        record[field] = other;
        self.put(space, key, record.to_string().as_bytes());
        let finding = self.finding().expect("something is wrong");
        self.put(space, key, &value);
        finding
    }
}

fn says(finding: &Finding, words: &str) {
    assert_eq!(finding.kind, Kind::Unaccounted);
    assert!(finding.message.contains(words), "{}", finding.message);
}

#[test]
fn whatever_store_and_log_tell_differently_of_a_bundle_is_a_finding() {
    let mut pair = Pair::ready();
    let sent = pair.send(&["--wait"]).ok().text("bundle");
    let hospital = Opened::of(&mut pair.hospital);
    assert_eq!(hospital.finding(), None);
    let key = sent.as_bytes();

    says(&hospital.without(Space::Index, format!("receipt/{sent}").as_bytes()), "is not the one of entry");
    says(&hospital.without(Space::Stamp, format!("release/{sent}/0").as_bytes()), "no entry says that it might");
    says(&hospital.without(Space::Bundle, key), "the store has lost");
    says(&hospital.with(Space::Bundle, key, "state", json!("waiting")), "does not call delivered");
    says(&hospital.with(Space::Bundle, key, "attempts", json!([])), "is not the one of entry");

    let institute = Opened::of(&mut pair.institute);
    assert_eq!(institute.finding(), None);
    let mut keys = Vec::new();
    institute
        .gateway
        .each_key(Space::Inbox, b"", |key, _, _| {
            keys.push(key);
            Ok(())
        })
        .expect("the inbox");
    says(&institute.without(Space::Inbox, &keys[0]), "and the store has lost it");
}

#[test]
fn what_the_store_calls_delivered_and_no_entry_tells_is_a_finding() {
    let mut pair = Pair::ready();
    let sent = pair.send(&["--wait"]).ok().text("bundle");
    let hospital = Opened::of(&mut pair.hospital);
    // The same record under another name: nobody ever sent that one.
    let other = format!("{}{}", &sent[..sent.len() - 4], "zzzz");
    let mut record: Value = serde_json::from_slice(&hospital.get(Space::Bundle, sent.as_bytes())).expect("a record");
    record["bundle"] = json!(other);
    hospital.put(Space::Bundle, other.as_bytes(), record.to_string().as_bytes());
    says(&hospital.finding().expect("it never left"), "no entry says that it might");
    record["attempts"] = json!([]);
    hospital.put(Space::Bundle, other.as_bytes(), record.to_string().as_bytes());
    says(&hospital.finding().expect("nobody has a receipt"), "no entry records a receipt");
}
