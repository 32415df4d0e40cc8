//! Each document before each gate, and the release as a whole.
//!
//! Rule: a document is asked about alone, so that what is said of it is its own; what would stop any document is said
//! once, of the whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::bundle::document::{Confidentiality, ConfidentialityCode, Document};
use crate::clock::{self, Timestamp};
use crate::consent::Answer;
use crate::decision::{self, Basis, Gates, Request};
use crate::policy::Rule;
use crate::reason::Reason;

/// One document, and what each gate says of it.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedDocument {
    /// Its path. It may name the patient.
    pub path: String,
    /// Its media type.
    pub media_type: String,
    /// The LOINC code of its class.
    pub class: Option<String>,
    /// How confidential it is, and whether anybody said so.
    pub confidentiality: Confidentiality,
    /// Its sensitivities.
    pub sensitivity: Vec<String>,
    /// The days that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// What the patient's consents say of it; `None` where none is asked, as for an opinion.
    pub consent: Option<ConsentGate>,
    /// What the institution's policy says of it.
    pub policy: PolicyGate,
}

impl ExplainedDocument {
    /// Whether one of the gates stops it.
    pub fn is_stopped(&self) -> bool {
        !self.policy.permits || self.consent.as_ref().is_some_and(|gate| !gate.permits)
    }
}

/// What the patient's consents say.
#[derive(Clone, Debug, Serialize)]
pub struct ConsentGate {
    /// Whether one of them permits.
    pub permits: bool,
    /// Which one permits, with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// What the institution's policy says.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyGate {
    /// Whether no rule forbids it for what this document is.
    pub permits: bool,
    /// The rules that forbid it for what this document is.
    pub rules: Vec<SaidRule>,
}

/// A rule of the policy, as a person reads it.
#[derive(Clone, Debug, Serialize)]
pub struct SaidRule {
    /// Its id.
    pub id: String,
    /// Its sentence.
    pub says: String,
    /// The code of a denial by it; `None`: it permits.
    pub reason: Option<Reason>,
}

impl From<&Rule> for SaidRule {
    fn from(rule: &Rule) -> Self {
        Self { id: rule.id.clone(), says: rule.says.clone(), reason: rule.reason }
    }
}

/// What stands in the way of any document, and of each.
pub(super) struct Asked {
    pub(super) rules: Vec<SaidRule>,
    pub(super) documents: Vec<ExplainedDocument>,
}

/// Asks both gates about each document alone. Documents that are alike in what the gates see are asked about once.
pub(super) fn ask(gates: &Gates, request: &mut Request, now: Timestamp) -> Asked {
    let all = std::mem::take(&mut request.documents);
    let whole = all.first().map_or_else(BTreeSet::new, |first| {
        request.documents = vec![harmless(first)];
        forbidding(gates, request, now)
    });
    let mut known: BTreeMap<String, (Option<ConsentGate>, PolicyGate)> = BTreeMap::new();
    let mut documents = Vec::with_capacity(all.len());
    for document in &all {
        let (consent, policy) = known
            .entry(likeness(document))
            .or_insert_with(|| {
                request.documents = vec![document.clone()];
                let own: Vec<SaidRule> =
                    forbidding(gates, request, now).difference(&whole).filter_map(|id| said(gates, id)).collect();
                (consent_gate(request, now), PolicyGate { permits: own.is_empty(), rules: own })
            })
            .clone();
        documents.push(ExplainedDocument {
            path: document.path.to_string(),
            media_type: document.media_type.clone(),
            class: document.class.clone(),
            confidentiality: document.confidentiality,
            sensitivity: document.sensitivity.clone(),
            date: document.date.map(|date| match (date.first(), date.last()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first} to {last}"),
            }),
            consent,
            policy,
        });
    }
    request.documents = all;
    Asked { rules: whole.iter().filter_map(|id| said(gates, id)).collect(), documents }
}

/// What the gates see of a document: two that are alike in it are answered alike.
pub(super) fn likeness(document: &Document) -> String {
    let Document { media_type, class, confidentiality, sensitivity, date, .. } = document;
    format!("{media_type:?} {class:?} {confidentiality:?} {sensitivity:?} {date:?}")
}

/// The same kind of document with nothing in its labels that a rule could mind.
fn harmless(document: &Document) -> Document {
    let mut harmless = document.clone();
    harmless.confidentiality = Confidentiality { code: ConfidentialityCode::U, assumed: false };
    harmless.sensitivity.clear();
    harmless
}

/// The rules that forbid the release as it is; that there is no consent is for the other gate to say, and better.
fn forbidding(gates: &Gates, request: &Request, now: Timestamp) -> BTreeSet<String> {
    let denied = decision::decide(gates, request, now).err();
    let rules = denied.map(|denied| denied.policies).unwrap_or_default();
    let says = |id: &String| gates.policy.rule(id).and_then(|rule| rule.reason);
    rules.into_iter().filter(|id| says(id) != Some(Reason::NoConsent)).collect()
}

fn said(gates: &Gates, id: &str) -> Option<SaidRule> {
    gates.policy.rule(id).map(SaidRule::from)
}

fn consent_gate(request: &Request, now: Timestamp) -> Option<ConsentGate> {
    if request.basis != Basis::Consent {
        return None;
    }
    Some(match decision::ask_consents(request, now) {
        Answer::Permits(granted) => {
            let first = granted.first();
            ConsentGate {
                permits: true,
                consent: first.map(|first| format!("{} version {}", first.consent, first.version)),
                until: first.map(|first| clock::stamp(first.until)),
                reason: None,
                says: None,
            }
        }
        Answer::Refuses(findings) => {
            let first = findings.into_iter().next();
            ConsentGate {
                permits: false,
                consent: None,
                until: None,
                reason: first.as_ref().map(|first| first.reason),
                says: first.map(|first| first.text),
            }
        }
    })
}
