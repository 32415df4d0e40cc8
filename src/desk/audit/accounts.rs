//! What the store says of each bundle, held against what the log says of it.
//!
//! Rule: nothing is delivered without a receipt in the log, no receipt counts without a release before it, no release
//! without the decision that allowed it; and what the log tells, the store has not forgotten. The log is believed.

use std::collections::BTreeMap;

use crate::audit::verify::{Finding, Kind};
use crate::gateway::Gateway;
use crate::id::{BundleId, Digest, InstitutionId};
use crate::leaf::{self, Leaf};
use crate::problem::Problem;
use crate::records::{BundleRecord, InboxRecord, State};
use crate::release::{place_of, receipt_of};
use crate::store::Space;

/// The first thing of which store and log do not say the same.
pub(super) fn check(gateway: &Gateway) -> Result<Option<Finding>, Problem> {
    // The records first: whatever is recorded meanwhile is in the log, too, when that is read.
    let sent = gateway.rows::<BundleRecord>(Space::Bundle, b"")?;
    let came = gateway.rows::<InboxRecord>(Space::Inbox, b"")?;
    let told = Told::read(gateway)?;
    for row in &sent {
        if let Some(finding) = told.accounts_for(gateway, &row.value)? {
            return Ok(Some(finding));
        }
    }
    if let Some(row) = came.iter().find(|row| !told.arrivals.contains_key(&row.key)) {
        let message = format!("the store holds {}, but no entry says that it came in", row.value.bundle);
        return Ok(Some(told.nowhere(message)));
    }
    told.is_remembered(gateway)
}

/// What the log says of bundles.
#[derive(Debug, Default)]
struct Told {
    entries: u64,
    /// Each release: its entry, the hash of its leaf, and whether it names the policy that decided.
    releases: BTreeMap<BundleId, BTreeMap<u64, (Digest, bool)>>,
    /// Each receipt: its entry, its digest, and the dispatch that it answers.
    receipts: BTreeMap<BundleId, (u64, String, String)>,
    /// Each arrival: the key of its record and its entry.
    arrivals: BTreeMap<Vec<u8>, (u64, BundleId)>,
}

impl Told {
    fn read(gateway: &Gateway) -> Result<Self, Problem> {
        let mut told = Self::default();
        for (seq, line) in (0..).zip(gateway.log.reader().lines(0)) {
            let line = line.map_err(|error| Problem::internal("the log", &error))?;
            told.entries = seq + 1;
            if KINDS.iter().any(|kind| super::contains(&line, kind.as_bytes())) {
                let leaf = Leaf::read(&line).map_err(|error| Problem::internal("an entry", &error))?;
                told.take(seq, &leaf, leaf::hash(&line));
            }
        }
        Ok(told)
    }

    fn take(&mut self, seq: u64, leaf: &Leaf, hash: Digest) {
        let text = |name: &str| leaf.facts.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        let Ok(bundle) = text("bundle").parse::<BundleId>() else { return };
        match leaf.kind.as_str() {
            "release" => {
                let decided = !text("policy_set").is_empty();
                self.releases.entry(bundle).or_default().insert(seq, (hash, decided));
            }
            "receipt" => {
                self.receipts.insert(bundle, (seq, text("receipt").to_owned(), text("dispatch").to_owned()));
            }
            "inbox" => {
                if let Ok(from) = text("from").parse::<InstitutionId>() {
                    self.arrivals.insert(InboxRecord::key(&from, &bundle), (seq, bundle));
                }
            }
            _ => {}
        }
    }

    /// Whether each step that the record tells stands in the log.
    fn accounts_for(&self, gateway: &Gateway, record: &BundleRecord) -> Result<Option<Finding>, Problem> {
        let bundle = &record.bundle;
        let releases = self.releases.get(bundle);
        for number in (0..record.attempts.len()).filter(|number| record.attempts[*number].was_permitted()) {
            let place = place_of(gateway, record, number)?;
            let stands = place.is_some_and(|place| {
                releases.and_then(|releases| releases.get(&place.seq)).is_some_and(|(leaf, _)| *leaf == place.leaf)
            });
            if !stands {
                let message = format!("attempt {} of {bundle} left, but no entry says that it might", number + 1);
                return Ok(Some(self.nowhere(message)));
            }
        }
        let delivered = matches!(record.state(), State::Delivered | State::Recalled);
        match self.receipts.get(bundle) {
            Some((seq, receipt, dispatch)) if delivered => {
                let kept = receipt_of(gateway, bundle)?.is_some_and(|kept| kept.digest().to_string() == *receipt);
                let answered = record.delivering_attempt().and_then(|attempt| attempt.dispatch);
                if kept && answered.is_some_and(|answered| answered.to_string() == *dispatch) {
                    return Ok(None);
                }
                Ok(Some(contradicted(*seq, format!("the receipt on file for {bundle} is not the one of entry {seq}"))))
            }
            None if delivered => {
                Ok(Some(self.nowhere(format!("{bundle} is called delivered, but no entry records a receipt"))))
            }
            _ => Ok(None),
        }
    }

    /// Whether each step that the log tells is in the store, as it stands now.
    fn is_remembered(&self, gateway: &Gateway) -> Result<Option<Finding>, Problem> {
        for (bundle, releases) in &self.releases {
            if let Some((seq, _)) = releases.iter().find(|(_, (_, decided))| !decided) {
                return Ok(Some(contradicted(*seq, format!("entry {seq} releases {bundle} without a decision"))));
            }
            let row = gateway.row::<BundleRecord>(Space::Bundle, bundle.as_str().as_bytes())?;
            let Some(record) = row.map(|row| row.value) else {
                let seq = releases.keys().next().copied().unwrap_or(self.entries);
                return Ok(Some(contradicted(seq, format!("entry {seq} releases {bundle}, which the store has lost"))));
            };
            let permitted = record.attempts.iter().filter(|attempt| attempt.was_permitted()).count();
            if permitted < releases.len() {
                let seq = releases.keys().next_back().copied().unwrap_or(self.entries);
                let message =
                    format!("the store has forgotten an attempt of {bundle} that entry {seq} or one before it tells");
                return Ok(Some(contradicted(seq, message)));
            }
        }
        for (bundle, (seq, ..)) in &self.receipts {
            let released = self.releases.get(bundle).and_then(|releases| releases.keys().next());
            if released.is_none_or(|first| first > seq) {
                let message = format!("entry {seq} records a receipt for {bundle}, which no entry before it releases");
                return Ok(Some(contradicted(*seq, message)));
            }
            let row = gateway.row::<BundleRecord>(Space::Bundle, bundle.as_str().as_bytes())?;
            if !row.is_some_and(|row| matches!(row.value.state(), State::Delivered | State::Recalled)) {
                let message =
                    format!("entry {seq} records a receipt for {bundle}, which the store does not call delivered");
                return Ok(Some(contradicted(*seq, message)));
            }
        }
        for (key, (seq, bundle)) in &self.arrivals {
            if gateway.row::<InboxRecord>(Space::Inbox, key)?.is_none() {
                let message = format!("entry {seq} says that {bundle} came in, and the store has lost it");
                return Ok(Some(contradicted(*seq, message)));
            }
        }
        Ok(None)
    }

    /// A finding about something that stands in no entry.
    const fn nowhere(&self, message: String) -> Finding {
        contradicted(self.entries, message)
    }
}

const fn contradicted(seq: u64, message: String) -> Finding {
    Finding { seq, kind: Kind::Unaccounted, message }
}

/// How the entries look that are read: all others are passed over without parsing them.
const KINDS: [&str; 3] = [r#""kind":"release""#, r#""kind":"receipt""#, r#""kind":"inbox""#];
