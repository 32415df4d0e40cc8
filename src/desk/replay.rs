//! Decisions of the past, taken again from what is kept: the entry with its facts, the documents, consents and policy
//! sets that the facts name by digest.
//!
//! Rule: nothing that may have changed since is asked. What cannot be taken again is said, never counted as equal. What
//! a decision was told of consents, of people and of the time must also be what the log says.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use self::told::Told;
use crate::audit::happened::{ASKED, early_facts, permit_facts, refused_facts};
use crate::audit::reader::{Detail, DetailError};
use crate::bundle::document::Document;
use crate::clock;
use crate::consent::{ConsentError, OnFile};
use crate::decision::{self, AgainError, Asked, AskedConsent, Denied, Gates, Permit, Request, documents_digest};
use crate::gateway::Gateway;
use crate::id::{Digest, SubjectId};
use crate::json::Object;
use crate::leaf::Leaf;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::release::consent_on_file;
use crate::store::Space;

/// What taking a stretch of the log again found.
#[derive(Debug, Default, Serialize)]
pub struct Replayed {
    /// How many decisions the stretch holds.
    pub decisions: u64,
    /// How many came out again as they are recorded.
    pub equal: u64,
    /// What came out otherwise, or rests on something that is not as it was.
    pub deviations: Vec<Deviation>,
    /// What cannot be taken again.
    pub not_replayed: Vec<NotReplayed>,
    /// The entry with which the next stretch begins; `None`: the log ends here.
    pub next: Option<u64>,
}

/// One thing that is not as it was recorded.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Deviation {
    /// The entry.
    pub seq: u64,
    /// What.
    pub what: String,
    /// As it is recorded.
    pub recorded: String,
    /// As it is found now.
    pub found: String,
}

/// A decision that cannot be taken again.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct NotReplayed {
    /// The entry.
    pub seq: u64,
    /// Why, in words.
    pub why: String,
    /// Whether the reason is that the patient's data was erased, as the law may ask.
    pub erased: bool,
}

/// A decision of the past, with everything that it was told.
#[derive(Debug)]
pub struct Past {
    /// What it was told.
    pub asked: Asked,
    /// The same, with the documents and consents that it names.
    pub request: Hidden,
    /// The policy set that decided.
    pub policy: Arc<Policy>,
    /// What else the entry's sealed part holds.
    detail: Object,
}

/// A request, which has no `Debug` of its own.
pub struct Hidden(pub Request);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request(hidden)")
    }
}

/// Why a decision of the past cannot be had as it was.
#[derive(Debug)]
pub enum NotAsItWas {
    /// It cannot be taken again.
    Cannot {
        /// Why, in words.
        why: String,
        /// The patient's data was erased.
        erased: bool,
    },
    /// What it rests on is not what it was.
    Changed(Vec<Difference>),
    /// The store could not be read.
    Problem(Problem),
}

/// Something that is not as it was.
#[derive(Clone, Debug)]
pub struct Difference {
    what: String,
    recorded: String,
    found: String,
}

impl From<Problem> for NotAsItWas {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<AgainError> for NotAsItWas {
    fn from(error: AgainError) -> Self {
        Self::Cannot { why: error.to_string(), erased: false }
    }
}

/// Takes every decision among `limit` entries from `from` on again.
pub fn replay(gateway: &Gateway, from: u64, limit: usize) -> Result<Replayed, Problem> {
    let limit = limit.clamp(1, PAGE_MAX);
    let page = gateway.log.reader().entries(from, limit).map_err(|error| Problem::internal("the log", &error))?;
    let mut replayed = Replayed::default();
    if page.len() == limit {
        replayed.next = page.last().map(|(seq, _)| seq + 1);
    }
    let mut policies = Policies::default();
    let mut told = Told::before(gateway, from)?;
    for (seq, line) in page {
        let leaf = Leaf::read(&line);
        if let Ok(leaf) = &leaf {
            told.hear(leaf);
        }
        match leaf {
            Ok(leaf) if is_decision(&leaf) => replay_one(gateway, &leaf, &told, &mut policies, &mut replayed)?,
            Ok(_) => {}
            Err(error) => replayed.deviations.push(Deviation {
                seq,
                what: "the entry".to_owned(),
                recorded: "a leaf".to_owned(),
                found: error.to_string(),
            }),
        }
    }
    Ok(replayed)
}

/// Whether the entry records a decision: a release, a refusal by the two gates, an intake.
pub fn is_decision(leaf: &Leaf) -> bool {
    match leaf.kind.as_str() {
        "release" => true,
        // A refusal for what the documents are, before any decision, names no engine.
        "refusal" => leaf.facts.contains_key("engine"),
        "intake" => leaf.facts.contains_key("decision"),
        _ => false,
    }
}

fn replay_one(
    gateway: &Gateway,
    leaf: &Leaf,
    told: &Told,
    policies: &mut Policies,
    replayed: &mut Replayed,
) -> Result<(), Problem> {
    replayed.decisions += 1;
    let differences = match past(gateway, leaf, policies) {
        Ok(past) => [compare(leaf, &past), told.compare(gateway, leaf, &past.asked)].concat(),
        Err(NotAsItWas::Changed(differences)) => differences,
        Err(NotAsItWas::Cannot { why, erased }) => {
            replayed.not_replayed.push(NotReplayed { seq: leaf.seq, why, erased });
            return Ok(());
        }
        Err(NotAsItWas::Problem(problem)) => return Err(problem),
    };
    if differences.is_empty() {
        replayed.equal += 1;
    }
    let deviation = |Difference { what, recorded, found }| Deviation { seq: leaf.seq, what, recorded, found };
    replayed.deviations.extend(differences.into_iter().map(deviation));
    Ok(())
}

/// The policy sets that were needed so far.
#[derive(Debug, Default)]
pub struct Policies(BTreeMap<Digest, Arc<Policy>>);

impl Policies {
    fn of(&mut self, gateway: &Gateway, digest: Digest) -> Result<Arc<Policy>, NotAsItWas> {
        if let Some(policy) = self.0.get(&digest) {
            return Ok(Arc::clone(policy));
        }
        let policy = match gateway.policy_of(digest) {
            Ok(Some(policy)) => policy,
            Ok(None) => {
                let why = format!("the policy set {digest} is not kept here");
                return Err(NotAsItWas::Cannot { why, erased: false });
            }
            Err(problem) if problem.code == Reason::PolicyError => {
                return Err(changed("the policy set", &digest.to_string(), &problem.detail));
            }
            Err(problem) => return Err(problem.into()),
        };
        self.0.insert(digest, Arc::clone(&policy));
        Ok(policy)
    }
}

/// The decision that an entry records, with everything that it was told.
pub fn past(gateway: &Gateway, leaf: &Leaf, policies: &mut Policies) -> Result<Past, NotAsItWas> {
    let cannot = |why: &str, erased| Err(NotAsItWas::Cannot { why: why.to_owned(), erased });
    let detail = match gateway.log.reader().detail(leaf.seq) {
        Ok(Detail::Open(opening)) => opening.detail,
        Ok(Detail::NoKey) => return cannot("the patient's data was erased", true),
        Ok(Detail::None) => return cannot("it was recorded before decisions kept their facts", false),
        Ok(Detail::Missing) => return Err(changed("the sealed part", "kept with the entry", "missing")),
        Err(error @ (DetailError::Mismatch(_) | DetailError::Leaf(_))) => {
            return Err(changed("the sealed part", "as the entry commits to it", &error.to_string()));
        }
        Err(error) => return Err(Problem::internal("the log", &error).into()),
    };
    let Some(facts) = detail.get(ASKED) else {
        return cannot("it was recorded before decisions kept their facts", false);
    };
    let asked = Asked::read(facts)?;
    let policy = policies.of(gateway, asked.policy)?;
    let mut differences = Vec::new();
    let documents = kept_documents(gateway, &asked, &mut differences)?;
    let mut consents = Vec::new();
    for told in &asked.consents {
        consents.extend(kept_consent(gateway, &asked, told, &mut differences)?);
    }
    if !differences.is_empty() {
        return Err(NotAsItWas::Changed(differences));
    }
    let request = Hidden(asked.request(documents, consents)?);
    Ok(Past { asked, request, policy, detail })
}

impl Past {
    /// Takes the decision again.
    pub fn again(&self) -> Result<Permit, Denied> {
        decision::decide(&Gates::new(Arc::clone(&self.policy)), &self.request.0, self.asked.at)
    }
}

fn kept_documents(
    gateway: &Gateway,
    asked: &Asked,
    differences: &mut Vec<Difference>,
) -> Result<Vec<Document>, NotAsItWas> {
    let kept: Option<Vec<Document>> =
        opened(gateway.open_parts(Space::Bundle, asked.bundle.as_str().as_bytes(), &asked.case.subject))?;
    let documents = kept.unwrap_or_default();
    let found = documents_digest(&documents);
    if found != asked.documents {
        differences.push(difference("the documents of the bundle", &asked.documents, &found));
    }
    Ok(documents)
}

/// The consent in the version that was read, and whatever is not as it was then.
fn kept_consent(
    gateway: &Gateway,
    asked: &Asked,
    told: &AskedConsent,
    differences: &mut Vec<Difference>,
) -> Result<Option<OnFile>, NotAsItWas> {
    let what = |part: &str| format!("{} version {}: {part}", told.consent, told.version);
    let record = gateway.consent_as_of(&told.consent, told.version)?;
    let Some(record) = record else {
        differences.push(difference(&what("the record"), &"on file", &"missing"));
        return Ok(None);
    };
    let Some(kept) = opened(consent_on_file(gateway, &record))? else {
        differences.push(difference(&what("the resource"), &told.sha256, &"missing"));
        return Ok(None);
    };
    if kept.sha256 != told.sha256 {
        differences.push(difference(&what("the resource"), &told.sha256, &kept.sha256));
    }
    // What was signed by somebody else, and whom its ids mean, is known only as it stands now.
    let unreadable = kept.consent.as_ref().err().map(ConsentError::reason);
    if kept.sha256 == told.sha256 && (kept.depends != told.depends || unreadable != told.unreadable) {
        let why = format!("{} reads otherwise by today's consent managers and recipients", told.consent);
        return Err(NotAsItWas::Cannot { why, erased: false });
    }
    let time = |at: Option<clock::Timestamp>| at.map_or_else(|| "no".to_owned(), clock::stamp);
    if kept.withdrawn != told.withdrawn {
        differences.push(difference(&what("withdrawn"), &time(told.withdrawn), &time(kept.withdrawn)));
    }
    let country = kept.countries.get(&asked.partner.id);
    if country != told.country.as_ref() {
        let name = |country: Option<&crate::id::Country>| country.map_or("unknown", |c| c.as_str()).to_owned();
        let (recorded, found) = (name(told.country.as_ref()), name(country));
        differences.push(difference(&what("the receiver's country"), &recorded, &found));
    }
    Ok(Some(kept))
}

/// What the entry says, beside what comes out now.
fn compare(leaf: &Leaf, past: &Past) -> Vec<Difference> {
    let (asked, again) = (&past.asked, past.again());
    let mut found = match (leaf.kind.as_str(), &again) {
        ("release", Ok(permit)) => permit_facts(permit),
        ("refusal", Err(denied)) => refused_facts(denied),
        ("intake", early) => early_facts(early),
        (_, Ok(permit)) => return vec![difference("the verdict", &"no", &format!("yes: {}", permit.reason()))],
        (_, Err(denied)) => return vec![difference("the verdict", &"yes", &format!("no: {}", denied.reason))],
    };
    found.extend([("bundle".to_owned(), json!(asked.bundle)), ("to".to_owned(), json!(asked.partner.id))]);
    if leaf.kind == "release" {
        found.insert("attempt".to_owned(), json!(asked.attempt));
    }
    let recorded = |name: &str| leaf.facts.get(name);
    let names: BTreeSet<&str> =
        found.keys().map(String::as_str).chain(COMPARED.into_iter().filter(|name| recorded(name).is_some())).collect();
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "nothing".to_owned(),
    };
    let mut differences: Vec<Difference> = names
        .into_iter()
        .filter(|name| recorded(name) != found.get(*name))
        .map(|name| difference(name, &text(recorded(name)), &text(found.get(name))))
        .collect();
    if leaf.subject.as_ref() != Some(&asked.case.subject) {
        let recorded = leaf.subject.as_ref().map_or("nothing", SubjectId::as_str);
        differences.push(difference("the patient's pseudonym", &recorded, &asked.case.subject));
    }
    if let ("refusal", Err(denied)) = (leaf.kind.as_str(), &again)
        && past.detail.get("causes") != Some(&json!(denied.causes))
    {
        let found = format!("{} of them, {}", denied.causes.len(), denied.codes().join(", "));
        differences.push(difference("the causes in the sealed part", &"others", &found));
    }
    differences
}

/// What does not open with the patient's key was changed; without the key it was erased, which the log's own detail has
/// told before.
fn opened<T>(found: Result<Option<T>, Problem>) -> Result<Option<T>, NotAsItWas> {
    found.map_err(|problem| match problem.code {
        Reason::Tampered => changed("what is stored", "as it was sealed", &problem.detail),
        _ => problem.into(),
    })
}

fn changed(what: &str, recorded: &str, found: &str) -> NotAsItWas {
    NotAsItWas::Changed(vec![difference(what, &recorded, &found)])
}

fn difference(what: &str, recorded: &dyn std::fmt::Display, found: &dyn std::fmt::Display) -> Difference {
    Difference { what: what.to_owned(), recorded: recorded.to_string(), found: found.to_string() }
}

/// The facts of an entry that a decision makes.
const COMPARED: [&str; 9] =
    ["attempt", "causes", "consent", "consent_version", "decision", "engine", "obligations", "policies", "reason"];

/// The most entries of one answer: each decision among them is taken again.
const PAGE_MAX: usize = 1000;
