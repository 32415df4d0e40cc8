//! Does a withdrawal that is recorded between any two steps of a release stop it, or call back what was delivered?
//!
//! The release runs here, in the test, against a partner that is a daemon of its own. Each step of it tells an event;
//! at the one that is asked for, the withdrawal is recorded before the release goes on.

use std::fmt;
use std::sync::{Arc, Mutex};

use medseal::clock::Clock;
use medseal::config::Home;
use medseal::desk::{Staff, consents};
use medseal::gateway::Gateway;
use medseal::id::{BundleId, ConsentId};
use medseal::{queue, release};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::crash_release::{ended, letter, logs_verify, send};
use crate::site::{Pair, add_consent};
use crate::withdrawal_recall::sealed_files;

/// Withdraws a consent at the event that is the phrase, once.
struct At {
    phrase: &'static str,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for At {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("medseal::release")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0 == self.phrase
            && let Some(then) = self.then.lock().expect("a lock").take()
        {
            then();
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Releases what waits, as the outbox does, until its job is gone; the withdrawal comes at the phrase.
fn release_with(home: &Home, bundle: &BundleId, consent: &ConsentId, phrase: &'static str) {
    let gateway = Gateway::open(home, Clock::system()).expect("the hospital's home");
    let (other, consent) = (Arc::clone(&gateway), consent.clone());
    let withdraw = move || {
        let recorded = async move { consents::withdraw(&other, Staff { uid: 0 }, &consent, "she called").await };
        let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let withdrawing = std::thread::spawn(move || runtime().block_on(recorded));
        withdrawing.join().expect("no panic").expect("it is withdrawn");
    };
    let at = Arc::new(At { phrase, then: Mutex::new(Some(Box::new(withdraw))) });
    let told = tracing::subscriber::set_default(Arc::clone(&at));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // An hour from now everything that waits is due.
        let due = || gateway.now() + jiff::SignedDuration::from_hours(1);
        let kind = queue::kind_of(&"nordhafen".parse().expect("an id"));
        while let Some(lease) = gateway.store().claim(&kind, "test", 3600, due()).expect("the queue") {
            if Box::pin(release::attempt(&gateway, bundle, lease.token.clone())).await.is_err() {
                gateway.store().release(&lease.token).expect("given back");
            }
        }
    });
    drop(told);
    assert!(at.then.lock().expect("a lock").is_none(), "the release never came to {phrase:?}");
    gateway.log.close().expect("the log ends well");
}

#[test]
fn a_withdrawal_between_any_two_steps_of_a_release_stops_it_or_recalls_what_was_delivered() {
    let mut pair = Pair::ready();
    let mut consent = pair.consent.clone();
    let before = ["permitted", "release recorded", "offered", "segment sent", "body sent", "handing over"];
    for (number, phrase) in before.into_iter().chain(["receipt verified", "settling"]).enumerate() {
        pair.institute.stop();
        let bundle = ended(send(&pair, &letter(&pair, number))).ok().text("bundle");
        let waits = || !pair.hospital.run(&["status", &bundle]).ok().json["reason"].is_null();
        while !waits() {}
        pair.hospital.stop();
        pair.institute.start();
        let home = Home::at(&pair.hospital.home);
        release_with(&home, &bundle.parse().expect("an id"), &consent.parse().expect("an id"), phrase);
        let came = pair.institute.run(&["inbox", &bundle]).status == 0;
        pair.hospital.start();
        if before.contains(&phrase) {
            let status = pair.hospital.run(&["status", &bundle]).ok();
            assert_eq!(status.text("state"), "cancelled", "withdrawn after {phrase:?}: {}", status.stdout);
            assert_eq!(status.text("reason"), "CONSENT_WITHDRAWN");
            assert!(!came, "withdrawn after {phrase:?}");
        } else {
            assert!(came);
            pair.hospital.wait_for(&bundle, &["recalled"]);
        }
        assert_eq!(sealed_files(&pair.institute), 0, "withdrawn after {phrase:?}");
        consent = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    }
    logs_verify(&pair);
}
