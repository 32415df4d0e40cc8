//! The log, read once from its beginning: one track for each bundle and each patient, with what became of it.
//!
//! Rule: an entry that is not understood is passed over, but never one about a patient: at the least its number stands in
//! the patient's track.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Affected;
use super::scope::{Reach, Scope};
use crate::clock::{Timestamp, stamp};
use crate::gateway::Gateway;
use crate::leaf::Leaf;
use crate::problem::Problem;
use crate::records::AttemptOutcome;

/// What the log says of one bundle, or of a patient beside bundles.
pub(super) struct Track {
    pub(super) affected: Affected,
    /// Whether an entry of it is in the scope.
    pub(super) matched: bool,
    /// The attempts that may have delivered it.
    in_doubt: BTreeSet<u64>,
    /// When it first left.
    left: Option<Timestamp>,
}

/// A bundle by its sender, if it came in, and its id; or a patient by pseudonym.
type Key = (String, String, String);

/// Reads the whole log, and says how many entries there were.
pub(super) fn scan(gateway: &Gateway, scope: &Scope) -> Result<(Vec<Track>, u64), Problem> {
    let mut tracks: BTreeMap<Key, Track> = BTreeMap::new();
    let mut countries: BTreeMap<String, String> = BTreeMap::new();
    let mut answered: Vec<(String, Timestamp)> = Vec::new();
    let mut entries = 0;
    for line in gateway.log.reader().lines(0) {
        let line = line.map_err(|error| Problem::internal("the log", &error))?;
        let leaf = Leaf::read(&line).map_err(|error| Problem::internal("an entry of the log", &error))?;
        entries += 1;
        let fact = |name: &str| leaf.facts.get(name).and_then(Value::as_str).unwrap_or_default();
        if leaf.kind == "partner" && !fact("country").is_empty() {
            countries.insert(fact("partner").to_owned(), fact("country").to_owned());
        }
        let Some(subject) = &leaf.subject else { continue };
        let (bundle, from) = (fact("bundle"), fact("from"));
        let key = if bundle.is_empty() {
            (String::new(), String::new(), subject.to_string())
        } else {
            (from.to_owned(), bundle.to_owned(), String::new())
        };
        let track = tracks.entry(key).or_insert_with(|| Track::new(subject.as_str(), bundle, from));
        track.add(&leaf, &countries);
        if leaf.kind == "inbox" && fact("content") == "opinion" {
            answered.push((fact("case").to_owned(), leaf.at));
        }
        let by_account = scope.account.is_none_or(|uid| fact("by") == format!("uid:{uid}"));
        let elsewhere = scope.partner.as_ref().or(match &scope.reach {
            Reach::Partner(partner) => Some(partner),
            _ => None,
        });
        let with_party = elsewhere.is_none_or(|partner| track.affected.party == partner.as_str());
        track.matched |= by_account && with_party && scope.covers(leaf.at);
    }
    // Whoever gave an opinion after the records had come has read them.
    for (case, at) in answered {
        for track in tracks.values_mut() {
            if track.affected.case == case && track.affected.way == "sent" && track.left.is_some_and(|left| left <= at)
            {
                track.opened("yes", format!("an opinion on the case came at {}", minute(&stamp(at))));
            }
        }
    }
    let mut tracks: Vec<Track> = tracks.into_values().collect();
    tracks.sort_by(|one, other| one.affected.first.cmp(&other.affected.first));
    Ok((tracks, entries))
}

impl Track {
    fn new(subject: &str, bundle: &str, from: &str) -> Self {
        let way = match (bundle.is_empty(), from.is_empty()) {
            (true, _) => "on-file",
            (false, true) => "sent",
            (false, false) => "received",
        };
        let reached = if way == "sent" { STAYED } else { "" };
        let affected = Affected {
            subject: subject.to_owned(),
            patient: None,
            erased: false,
            way: way.to_owned(),
            bundle: bundle.to_owned(),
            case: String::new(),
            party: from.to_owned(),
            country: String::new(),
            content: String::new(),
            documents: 0,
            classes: String::new(),
            reached: reached.to_owned(),
            opened: if way == "on-file" { "" } else { "no" }.to_owned(),
            opened_how: String::new(),
            fate: String::new(),
            first: String::new(),
            last: String::new(),
            accounts: Vec::new(),
            entries: Vec::new(),
        };
        Self { affected, matched: false, in_doubt: BTreeSet::new(), left: None }
    }

    fn add(&mut self, leaf: &Leaf, countries: &BTreeMap<String, String>) {
        let fact = |name: &str| leaf.facts.get(name).and_then(Value::as_str).unwrap_or_default();
        let at = stamp(leaf.at);
        let one = &mut self.affected;
        for (place, name) in [(&mut one.case, "case"), (&mut one.content, "content")] {
            if place.is_empty() {
                fact(name).clone_into(place);
            }
        }
        if one.way == "sent" && one.party.is_empty() {
            [fact("to"), fact("partner")]
                .into_iter()
                .find(|id| !id.is_empty())
                .unwrap_or_default()
                .clone_into(&mut one.party);
        }
        // The country as it stood when the records left or came.
        if one.country.is_empty() || matches!(leaf.kind.as_str(), "release" | "inbox") {
            countries.get(&one.party).cloned().unwrap_or_default().clone_into(&mut one.country);
        }
        one.documents = one.documents.max(leaf.facts.get("documents").and_then(Value::as_u64).unwrap_or_default());
        if one.first.is_empty() {
            one.first.clone_from(&at);
        }
        one.last.clone_from(&at);
        let by = fact("by");
        if !by.is_empty() && one.accounts.iter().all(|account| account != by) {
            one.accounts.push(by.to_owned());
        }
        one.entries.push(leaf.seq);
        let attempt = leaf.facts.get("attempt").and_then(Value::as_u64).unwrap_or_default();
        match leaf.kind.as_str() {
            "release" => {
                self.in_doubt.insert(attempt);
                if one.reached != HANDED_OVER {
                    UNPROVEN.clone_into(&mut one.reached);
                    self.opened("not known", String::new());
                }
                self.left.get_or_insert(leaf.at);
            }
            "attempt" if fact("outcome") == AttemptOutcome::NotDelivered.word() => {
                self.in_doubt.remove(&attempt);
                if one.reached == UNPROVEN && self.in_doubt.is_empty() {
                    STAYED.clone_into(&mut one.reached);
                    self.left = None;
                    self.opened("no", "its header never left, and nobody can open the rest".to_owned());
                }
            }
            "receipt" => {
                HANDED_OVER.clone_into(&mut one.reached);
                self.opened("not known", String::new());
            }
            "inbox" => "received".clone_into(&mut one.reached),
            "opened" => self.opened("yes", format!("a reader here told so at {}", minute(&at))),
            "recalled" => {
                let partner = one.party.clone();
                one.fate = match fact("destroyed") {
                    "" => format!("{partner} must keep it"),
                    destroyed => format!("{partner} says that it was destroyed at {}", minute(destroyed)),
                };
                match fact("opened") {
                    "" => self.opened("no", format!("{partner} says so")),
                    opened => self.opened("yes", format!("{partner} says: at {}", minute(opened))),
                }
            }
            "destroyed" => one.fate = format!("destroyed here at {}: its sender recalled it", minute(&at)),
            "retention" => one.fate = format!("our sealed file was destroyed at {}: its time was over", minute(&at)),
            _ => {}
        }
    }

    /// What is known better is not taken back: once opened, always opened.
    fn opened(&mut self, opened: &str, how: String) {
        if self.affected.opened != "yes" {
            opened.clone_into(&mut self.affected.opened);
            self.affected.opened_how = how;
        }
    }
}

/// `2026-11-22 10:15 UTC`; the entries have the exact moment.
fn minute(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => stamp.to_owned(),
    }
}

const HANDED_OVER: &str = "handed over";
const UNPROVEN: &str = "sent; no receipt proves that it arrived";

/// How far a bundle came that never left.
pub(super) const STAYED: &str = "did not leave";
