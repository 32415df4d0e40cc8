//! What must be true of every run once everything has come to rest.
//!
//! Rule: both sides are asked, and what one says of a bundle must be what the other one has.

use std::collections::BTreeMap;

use medseal::desk::audit;
use medseal::gateway::Gateway;
use medseal::id::{BundleId, Digest};
use medseal::reception;
use medseal::records::{AcceptedDispatch, BundleRecord, InboxRecord, State};
use medseal::release::{dispatches_of, receipt_of};
use medseal::statement::receipt::{About, Receipt};
use medseal::store::Space;
use medseal::vault::BlobName;
use serde_json::Value;

use crate::side::Running;
use crate::world::{World, hospital_id, institute_id};

/// Looks at everything; says how the bundles ended.
pub(crate) fn judge(world: &World<'_>) -> BTreeMap<&'static str, u32> {
    let (hospital, institute) =
        (world.hospital.running().expect("it runs"), world.institute.running().expect("it runs"));
    for side in [hospital, institute] {
        let report = side.wait(audit::verify(&side.gateway)).expect("the log is read");
        assert!(report.ok, "the log of {}: {:?}", side.gateway.id(), report.finding);
    }
    let records = world.records();
    for bundle in &world.sent {
        assert!(records.contains_key(bundle), "{bundle} was handed in and is lost");
    }
    let inbox = institute.gateway.rows::<InboxRecord>(Space::Inbox, b"").expect("the inbox");
    let inbox: BTreeMap<BundleId, InboxRecord> =
        inbox.into_iter().map(|row| (row.value.bundle.clone(), row.value)).collect();
    for bundle in inbox.keys() {
        assert!(records.contains_key(bundle), "{bundle} came from nowhere");
        assert!(!world.unreadable.contains(bundle), "{bundle} came although its consent was withdrawn before");
    }
    let (ours, theirs) = (entries(&hospital.gateway), entries(&institute.gateway));
    let mut ended = BTreeMap::new();
    for (bundle, record) in &records {
        let count = |log: &[Value], kind: &str, is: &dyn Fn(&Value) -> bool| {
            log.iter().filter(|entry| entry["kind"] == kind && entry["bundle"] == bundle.as_str() && is(entry)).count()
        };
        let first_time = |entry: &Value| entry["again"] == false;
        let arrived = count(&theirs, "inbox", &first_time);
        assert_eq!(arrived, usize::from(inbox.contains_key(bundle)), "{bundle} arrived so often: {record:?}");
        let delivered = matches!(record.state(), State::Delivered | State::Recalled);
        assert_eq!(count(&ours, "receipt", &|_| true), usize::from(delivered), "{bundle}: {record:?}");
        assert!(record.state().is_final(), "{bundle} is not at its end: {record:?}");
        let in_doubt = record.state() == State::Failed && record.open_attempts().next().is_some();
        assert!(delivered || in_doubt || arrived == 0, "{bundle} arrived and is called {:?}", record.state());
        if delivered {
            was_delivered(hospital, institute, record, inbox.get(bundle));
        }
        let destroyed = inbox.get(bundle).and_then(|item| item.recall.as_ref()).is_some();
        assert_eq!(record.state() == State::Recalled, destroyed, "{bundle}: {record:?} and {:?}", inbox.get(bundle));
        *ended.entry(record.state().word()).or_default() += 1;
        let again = count(&theirs, "inbox", &|entry| !first_time(entry));
        *ended.entry("dispatches that came for a bundle that was there").or_default() +=
            u32::try_from(again).expect("few");
        let unknown = count(&ours, "attempt", &|entry| entry["outcome"] == "unknown");
        *ended.entry("attempts of which nobody knew").or_default() += u32::try_from(unknown).expect("few");
    }
    stored_is_known(institute, &inbox);
    for name in hospital.gateway.vault.list().expect("the vault") {
        let sealed = name.as_str().parse().ok().and_then(|bundle: BundleId| records.get(&bundle)?.sealed.as_ref());
        assert!(sealed.is_some(), "the hospital has {name:?}, and no record of it");
    }
    ended
}

/// The receipt verifies, and both sides hold the same one; what it speaks of is there, unless it was recalled.
fn was_delivered(hospital: &Running, institute: &Running, record: &BundleRecord, item: Option<&InboxRecord>) {
    let bundle = &record.bundle;
    let item = item.unwrap_or_else(|| panic!("{bundle} is called delivered and did not arrive"));
    let sealed = record.sealed.as_ref().expect("it was sealed");
    assert_eq!(item.sealed_sha256, sealed.sealed_sha256, "{bundle}");
    let receipt = receipt_of(&hospital.gateway, bundle).expect("the store").expect("a receipt");
    let dispatch = record.delivering_attempt().and_then(|attempt| attempt.dispatch).expect("a dispatch");
    assert!(dispatches_of(&hospital.gateway, record).expect("the store").contains(&dispatch), "{bundle}");
    let given = reception::receipt_for(&institute.gateway, &hospital_id(), &dispatch).expect("the store");
    assert_eq!(Some(&receipt), given.as_ref(), "{bundle}: two receipts");
    let key = AcceptedDispatch::key(&hospital_id(), &dispatch);
    let accepted = institute.gateway.row::<AcceptedDispatch>(Space::Transfer, &key).expect("the store");
    assert_eq!(accepted.expect("it was accepted").value.signed.digest(), dispatch, "{bundle}");
    let partner = hospital.gateway.partner(&institute_id()).expect("a partner");
    let keys = partner.signing_keys_at(hospital.gateway.now());
    let about = About { case: record.case.clone(), subject: record.subject.clone() };
    let verified = Receipt::verify(receipt, &dispatch, bundle, &institute_id(), &hospital_id(), &keys, about);
    assert!(verified.is_ok(), "{bundle}: the receipt does not verify: {verified:?}");
}

/// The institute's vault holds exactly what its inbox names and its sender did not recall.
fn stored_is_known(institute: &Running, inbox: &BTreeMap<BundleId, InboxRecord>) {
    let vault = &institute.gateway.vault;
    let mut stored = vault.list().expect("the vault");
    for item in inbox.values().filter(|item| item.recall.is_none()) {
        let name = BlobName::theirs(&hospital_id(), &item.bundle, &item.sealed_sha256);
        let before = stored.len();
        stored.retain(|other| *other != name);
        assert_eq!(before, stored.len() + 1, "{}: its sealed file is gone", item.bundle);
        let mut file = vault.read(&name).expect("the sealed file");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).expect("read");
        assert_eq!(Digest::of(&bytes), item.sealed_sha256, "{}: its sealed file is another one", item.bundle);
    }
    assert!(stored.is_empty(), "nobody knows of {stored:?}");
}

/// The entries of a log.
fn entries(gateway: &Gateway) -> Vec<Value> {
    let entries = gateway.log.reader().entries(0, 1_000_000).expect("the log");
    entries.iter().map(|(_, leaf)| serde_json::from_slice(leaf).expect("JSON")).collect()
}
