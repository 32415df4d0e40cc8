//! What the log itself says of a patient's consents and of the people behind a release, beside what a decision says
//! it was told of them.
//!
//! Rule: the store's own records are not asked, so that a consent or an approval which came, changed or came back
//! behind the log's back shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Difference, difference};
use crate::audit::reader::Detail;
use crate::clock::{self, Timestamp};
use crate::decision::Asked;
use crate::gateway::Gateway;
use crate::id::{ConsentId, SubjectId};
use crate::leaf::Leaf;
use crate::problem::Problem;

/// The consents and approvals of every patient, as far as the log was read.
#[derive(Debug, Default)]
pub(super) struct Told {
    consents: BTreeMap<(SubjectId, ConsentId), Vec<Said>>,
    /// What was confirmed by whom.
    approvals: BTreeSet<Vec<String>>,
    /// Who sent each bundle.
    senders: BTreeMap<String, String>,
}

/// One entry about a consent.
#[derive(Debug)]
struct Said {
    seq: u64,
    version: u64,
    at: Timestamp,
}

impl Told {
    /// What the entries before `end` say.
    pub(super) fn before(gateway: &Gateway, end: u64) -> Result<Self, Problem> {
        let mut told = Self::default();
        for line in gateway.log.reader().lines(0).take(usize::try_from(end).unwrap_or(usize::MAX)) {
            let line = line.map_err(|error| Problem::internal("the log", &error))?;
            let marked = |mark: &&[u8]| line.windows(mark.len()).any(|window| window == *mark);
            if MARKS.iter().any(marked)
                && let Ok(leaf) = Leaf::read(&line)
            {
                told.hear(&leaf);
            }
        }
        Ok(told)
    }

    /// Takes in the next entry.
    pub(super) fn hear(&mut self, leaf: &Leaf) {
        let fact = |name: &str| leaf.facts.get(name).and_then(Value::as_str).unwrap_or_default();
        match leaf.kind.as_str() {
            "consent" => {
                if let (Some(subject), Ok(consent)) = (&leaf.subject, fact("consent").parse())
                    && let Some(version) = leaf.facts.get("version").and_then(Value::as_u64)
                {
                    let said = Said { seq: leaf.seq, version, at: leaf.at };
                    self.consents.entry((subject.clone(), consent)).or_default().push(said);
                }
            }
            "approval" if fact("action") == "approved" => {
                self.approvals.insert(APPROVED.iter().map(|name| fact(name).to_owned()).collect());
            }
            "intake" => {
                self.senders.insert(fact("bundle").to_owned(), fact("by").to_owned());
            }
            _ => {}
        }
    }

    /// What a decision was told otherwise than the log had said by then.
    pub(super) fn compare(&self, gateway: &Gateway, leaf: &Leaf, asked: &Asked) -> Vec<Difference> {
        let mut differences = [self.consents(gateway, asked), self.people(asked)].concat();
        if leaf.at.duration_since(asked.at).as_secs().abs() > DECIDED_S_MAX {
            let (recorded, found) = (clock::stamp(leaf.at), clock::stamp(asked.at));
            differences.push(difference("the time of the decision", &recorded, &found));
        }
        differences
    }

    fn people(&self, asked: &Asked) -> Vec<Difference> {
        let person = |uid: u32| format!("uid:{uid}");
        let mut differences = Vec::new();
        let sender = person(asked.confirmation.sent_by);
        if let Some(said) = self.senders.get(asked.bundle.as_str())
            && *said != sender
        {
            differences.push(difference("the sender", said, &sender));
        }
        for given in &asked.confirmation.approvals {
            let digests = [given.sealed_sha256, given.manifest_sha256, given.card, given.consents];
            let mut approved = vec![asked.bundle.to_string(), person(given.by), given.until.clone()];
            approved.extend(digests.iter().map(ToString::to_string));
            if !self.approvals.contains(&approved) {
                differences.push(difference("an approval", &"not in the log", &person(given.by)));
            }
        }
        differences
    }

    fn consents(&self, gateway: &Gateway, asked: &Asked) -> Vec<Difference> {
        let mut differences = Vec::new();
        let named = |consent: &ConsentId, version: u64| format!("{consent} version {version}");
        for told in &asked.consents {
            let entries = self.consents.get(&(asked.case.subject.clone(), told.consent.clone()));
            let entries = entries.map_or(&[][..], Vec::as_slice);
            if !entries.iter().any(|said| said.version == told.version) {
                differences.push(difference("a consent", &"never in the log", &named(&told.consent, told.version)));
            } else if let Some(first) = entries.first()
                && let Ok(Detail::Open(opening)) = gateway.log.reader().detail(first.seq)
                && let Some(sha256) = opening.detail.get("sha256").and_then(Value::as_str)
                && sha256 != told.sha256.to_string()
            {
                let what = format!("{}: the resource that was recorded", named(&told.consent, told.version));
                differences.push(difference(&what, &sha256, &told.sha256));
            }
        }
        for ((_, consent), entries) in self.consents.iter().filter(|((subject, _), _)| *subject == asked.case.subject) {
            // An entry has its time shortly before others can read what it changed.
            let known = |said: &&Said| asked.read_at.as_second() - said.at.as_second() > ENTERING_S_MAX;
            let Some(newest) = entries.iter().filter(known).map(|said| said.version).max() else { continue };
            let told = asked.consents.iter().find(|told| told.consent == *consent).map(|told| told.version);
            if told.is_none_or(|told| told < newest) {
                let told = told.map_or_else(|| "not told".to_owned(), |told| named(consent, told));
                differences.push(difference("a consent", &named(consent, newest), &told));
            }
        }
        differences
    }
}

/// In every entry that is heard.
const MARKS: [&[u8]; 3] = [br#""kind":"consent""#, br#""kind":"approval""#, br#""kind":"intake""#];

/// What an approval is of, by the names of the facts in its entry.
const APPROVED: [&str; 7] = ["bundle", "by", "until", "sealed_sha256", "manifest_sha256", "card", "consents"];

/// From the time of an entry to the moment when it can be read, at most, in seconds.
const ENTERING_S_MAX: i64 = 60;

/// From a decision to its entry, at most, in seconds: more, and a clock was wrong.
const DECIDED_S_MAX: i64 = 600;
