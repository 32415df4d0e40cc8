//! The accounting of disclosures: what of one patient went to whom, when, why and on which basis, out of the log.
//!
//! Rule: every line is an entry of the log, named by its number and the hash of its leaf, and about this patient alone.
//! What was refused is in the officer's copy only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bundle::cover;
use crate::gateway::Gateway;
use crate::id::{BundleId, Digest, InstitutionId, PatientIdentifier};
use crate::leaf::{self, Leaf};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{AttemptOutcome, BundleRecord};
use crate::store::Space;

/// Whose accounting, over which days.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskReport {
    /// The patient.
    pub patient: PatientIdentifier,
    /// The first day, in UTC.
    #[serde(default)]
    pub from: Option<String>,
    /// The last day, in UTC.
    #[serde(default)]
    pub to: Option<String>,
    /// Whether it is the officer's copy, with what was refused and with holds.
    #[serde(default)]
    pub officer: bool,
}

impl std::fmt::Debug for AskReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AskReport(hidden)")
    }
}

/// An accounting of disclosures.
#[derive(Deserialize, Serialize)]
pub struct Report {
    /// Who accounts.
    pub institution: String,
    /// Its id in the exchange.
    pub id: String,
    /// Where its gateway is reached.
    pub endpoint: String,
    /// The patient, as asked for.
    pub patient: String,
    /// The pseudonym under which the log speaks of the patient.
    pub subject: String,
    /// When it was made.
    pub made: String,
    /// The name of the log.
    pub log: String,
    /// The first day, where one was named.
    pub from: Option<String>,
    /// The last day, where one was named.
    pub to: Option<String>,
    /// Whether it is the officer's copy.
    pub officer: bool,
    /// In the order of the log.
    pub lines: Vec<Line>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report(hidden)")
    }
}

/// One entry of the log, in words.
#[derive(Clone, Deserialize, Serialize)]
pub struct Line {
    /// The entry's number.
    pub seq: u64,
    /// The hash of its leaf, by which it can be proved to stand in the log.
    pub leaf: String,
    /// The entry's kind.
    pub kind: String,
    /// When.
    pub at: String,
    /// What happened.
    pub what: String,
    /// Whether it is a disclosure that an accounting must list.
    pub disclosure: bool,
    /// The other institution's name.
    pub party: String,
    /// Its id in the exchange.
    pub party_id: String,
    /// Where its gateway is reached.
    pub endpoint: String,
    /// Where it is, as far as it is known here: the country, and where its gateway is reached.
    pub address: String,
    /// What was disclosed.
    pub description: String,
    /// Why, a code of v3-ActReason.
    pub purpose: String,
    /// What allowed it.
    pub basis: String,
    /// The consent that it rests on, or that it is about.
    pub consent: String,
    /// The entry that says why it was allowed, where the line is about its receipt.
    pub released: Option<u64>,
    /// The file that proves this entry, where one was written beside the accounting.
    #[serde(default)]
    pub proof: String,
    /// The file that proves the entry that says why it was allowed.
    #[serde(default)]
    pub released_proof: String,
    /// The partner's receipt, by digest.
    pub receipt: String,
    /// The bundle.
    pub bundle: String,
    /// The case.
    pub case: String,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({}, hidden)", self.seq)
    }
}

/// Accounts for what of this patient was disclosed.
pub async fn report(gateway: &Arc<Gateway>, asked: AskReport) -> Result<Report, Problem> {
    let work = Arc::clone(gateway);
    tokio::task::spawn_blocking(move || account(&work, &asked))
        .await
        .map_err(|error| Problem::internal("the accounting", &error))?
}

fn account(gateway: &Gateway, asked: &AskReport) -> Result<Report, Problem> {
    let day = |text: &Option<String>| text.as_deref().map(day).transpose();
    let (from, to) = (day(&asked.from)?, day(&asked.to)?);
    // Nothing lies in such a stretch, and an account of nothing would look like one.
    if let (Some(from), Some(to)) = (&from, &to)
        && from > to
    {
        return Err(Problem::bad_input(Reason::BadInput, format!("--from {from} comes after --to {to}")));
    }
    let subject = gateway.find_subject(&asked.patient)?.ok_or_else(|| {
        Problem::not_found("nothing is on file under this identifier: it was erased, or never known here")
    })?;
    let mut writer = Writer { gateway, releases: BTreeMap::new(), lines: Vec::new() };
    let needle = format!("\"{subject}\"");
    for line in gateway.log.reader().lines(0) {
        let line = line.map_err(|error| Problem::internal("the log", &error))?;
        if !line.windows(needle.len()).any(|window| window == needle.as_bytes()) {
            continue;
        }
        let leaf = Leaf::read(&line).map_err(|error| Problem::internal("an entry of the log", &error))?;
        if leaf.subject.as_ref() == Some(&subject) {
            writer.entry(&leaf, leaf::hash(&line), asked.officer)?;
        }
    }
    let mut lines = writer.end();
    lines.retain(|line| {
        let day = line.at.get(..10).unwrap_or_default();
        from.as_deref().is_none_or(|from| from <= day) && to.as_deref().is_none_or(|to| day <= to)
    });
    Ok(Report {
        institution: gateway.config.name.clone(),
        id: gateway.id().to_string(),
        endpoint: gateway.config.endpoint.clone(),
        patient: asked.patient.to_string(),
        subject: subject.to_string(),
        made: crate::clock::stamp(gateway.now()),
        log: gateway.log.reader().origin().as_str().to_owned(),
        from,
        to,
        officer: asked.officer,
        lines,
    })
}

/// Writes the lines; a release waits for its receipt, which is the same disclosure, or for the word that its attempt did
/// not deliver: then nothing was disclosed.
struct Writer<'a> {
    gateway: &'a Gateway,
    /// By bundle, with the number of the attempt.
    releases: BTreeMap<String, (u64, Line)>,
    lines: Vec<Line>,
}

impl Writer<'_> {
    fn entry(&mut self, leaf: &Leaf, hash: Digest, officer: bool) -> Result<(), Problem> {
        let fact = |name: &str| leaf.facts.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut line = Line {
            seq: leaf.seq,
            leaf: hash.to_string(),
            kind: leaf.kind.clone(),
            at: crate::clock::stamp(leaf.at),
            what: String::new(),
            disclosure: false,
            party: String::new(),
            party_id: String::new(),
            endpoint: String::new(),
            consent: fact("consent"),
            released: None,
            proof: String::new(),
            released_proof: String::new(),
            address: String::new(),
            description: String::new(),
            purpose: fact("purpose"),
            basis: String::new(),
            receipt: fact("receipt"),
            bundle: fact("bundle"),
            case: fact("case"),
        };
        let party = ["to", "partner", "from"].iter().map(|name| fact(name)).find(|id| !id.is_empty());
        line.party_id = party.unwrap_or_default();
        self.party(&mut line);
        let action = fact("action");
        let attempt = leaf.facts.get("attempt").and_then(Value::as_u64).unwrap_or_default();
        if leaf.kind == "attempt" && fact("outcome") == AttemptOutcome::NotDelivered.word() {
            self.releases.retain(|bundle, (released, _)| *bundle != line.bundle || *released != attempt);
        }
        let what = match (leaf.kind.as_str(), action.as_str()) {
            ("release", _) => {
                line.description = self.description(&line.bundle, &fact("content"), &leaf.facts)?;
                line.basis = basis(&leaf.facts);
                line.disclosure = true;
                UNPROVEN.clone_into(&mut line.what);
                self.releases.insert(line.bundle.clone(), (attempt, line));
                return Ok(());
            }
            ("receipt", _) => {
                if let Some((_, release)) = self.releases.remove(&line.bundle) {
                    (line.description, line.basis) = (release.description, release.basis);
                    (line.consent, line.released) = (release.consent, Some(release.seq));
                    line.purpose = release.purpose;
                }
                line.disclosure = true;
                "disclosed: handed over, and the receipt is verified"
            }
            ("recall", "ordered") => "called back by us",
            ("recall", "sent") => "call back sent to the recipient",
            ("recall", "taken") => "called back by whoever sent it to us",
            ("recalled", _) if leaf.facts.contains_key("kept") => "the recipient answered: it must keep it",
            ("recalled", _) => "the recipient answered: its sealed file is destroyed",
            ("retention", _) => "its sealed file here was destroyed: its time was over",
            ("destroyed", _) => "the sealed file that came in was destroyed",
            ("inbox", _) => "received from a partner",
            ("opened", _) => "opened by a reader here",
            ("consent", "added") => "consent recorded",
            ("consent", "withdrawn") => "consent withdrawn",
            ("opinion", _) => "opinion given",
            ("break-glass", "requested") => "emergency: release without consent asked for",
            ("break-glass", "patient-told") => "emergency: the patient was told",
            ("break-glass", "reviewed") => "emergency: reviewed afterwards",
            ("refusal", _) if officer => "refused: nothing left",
            ("hold", _) if officer => "legal hold",
            ("attempt", _) if officer => "an attempt did not deliver",
            _ => return Ok(()),
        };
        what.clone_into(&mut line.what);
        let why = [action, fact("reason")].join(" ");
        if officer && matches!(leaf.kind.as_str(), "refusal" | "hold" | "attempt") {
            why.trim().clone_into(&mut line.description);
        }
        self.lines.push(line);
        Ok(())
    }

    /// A release without a receipt may have arrived all the same, so it is listed as what it is.
    fn end(mut self) -> Vec<Line> {
        self.lines.extend(self.releases.into_values().map(|(_, line)| line));
        self.lines.sort_by_key(|line| line.seq);
        self.lines
    }

    /// What was in it: how many documents of which classes, without their names.
    fn description(&self, bundle: &str, content: &str, facts: &crate::json::Object) -> Result<String, Problem> {
        let size = facts.get("sealed_bytes").and_then(Value::as_u64).unwrap_or_default();
        let record = bundle
            .parse::<BundleId>()
            .ok()
            .map(|id| self.gateway.row::<BundleRecord>(Space::Bundle, id.as_str().as_bytes()));
        let Some(record) = record.transpose()?.flatten() else { return Ok(content.to_owned()) };
        let classes = classes(self.gateway, &record.value)?;
        Ok(format!("{content}: {} documents ({classes}), {size} bytes sealed", record.value.documents))
    }

    fn party(&self, line: &mut Line) {
        let known = line.party_id.parse::<InstitutionId>().ok();
        let known = known.and_then(|id| self.gateway.known_partner(&id).ok());
        line.party.clone_from(&line.party_id);
        if let Some(partner) = known {
            let card = partner.card();
            line.party = format!("{} ({})", card.name, line.party_id);
            line.address = format!("{}, {}", card.country.as_str(), card.endpoint);
            line.endpoint.clone_from(&card.endpoint);
        }
    }
}

/// How many documents of which classes are in a bundle.
pub(super) fn classes(gateway: &Gateway, record: &BundleRecord) -> Result<String, Problem> {
    let documents = gateway.documents_of(record)?.unwrap_or_default();
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for document in &documents {
        let class = match &document.class {
            Some(class) => cover::class_name(class.as_str())
                .map_or_else(|| format!("LOINC {class}"), |name| format!("{name} (LOINC {class})")),
            None => document.media_type.clone(),
        };
        *classes.entry(class).or_default() += 1;
    }
    let classes: Vec<String> = classes.into_iter().map(|(class, count)| format!("{count} of {class}")).collect();
    Ok(classes.join(", "))
}

fn day(text: &str) -> Result<String, Problem> {
    let day = text.parse::<jiff::civil::Date>();
    day.map(|day| day.to_string()).map_err(|_| Problem::bad_input(Reason::BadInput, "a day must look like 2026-01-31"))
}

fn basis(facts: &crate::json::Object) -> String {
    let fact = |name: &str| facts.get(name).and_then(Value::as_str);
    let version = facts.get("consent_version").and_then(Value::as_u64).unwrap_or_default();
    match (fact("consent"), fact("basis")) {
        (Some(consent), _) => format!("the patient's consent {consent}, version {version}"),
        (None, Some(basis)) => basis.to_owned(),
        (None, None) => "it answers the partner's request".to_owned(),
    }
}

/// What a release is called while no receipt for it is in the log.
const UNPROVEN: &str = "sent; no receipt proves that it arrived";
