//! Whom an incident affects: from a key, a partner, an account or a stretch of time to patients, documents, recipients
//! and countries, with the clocks that run.
//!
//! Rule: the log says what happened; the store only adds what the log does not say, and where it is silent somebody
//! counts as affected. That it was asked is an entry.

mod clocks;
mod scan;
mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Staff, disclosures};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::bundle::descriptor::DescribedPatient;
use crate::clock::stamp;
use crate::gateway::Gateway;
use crate::id::{BundleId, InstitutionId, SubjectId};
use crate::problem::Problem;
use crate::records::{AcceptedDispatch, BundleRecord, CaseRecord, InboxRecord};
use crate::statement::STATEMENT_BYTES_MAX;
use crate::statement::dispatch::Dispatch;
use crate::store::Space;

pub use clocks::NoticeClock;
pub use scope::AskIncident;

use scan::Track;
use scope::{Reach, Scope};

/// Whom an incident affects.
#[derive(Deserialize, Serialize)]
pub struct Incident {
    /// Who looked.
    pub institution: String,
    /// The country it is in.
    pub country: String,
    /// What it is about, in words.
    pub scope: Vec<String>,
    /// When it became known.
    pub known_at: String,
    /// When this was made.
    pub made: String,
    /// The name of the log.
    pub log: String,
    /// How many entries were read.
    pub entries: u64,
    /// The entry that says that this was asked.
    pub entry: u64,
    /// How many patients.
    pub subjects: usize,
    /// How many bundles.
    pub bundles: usize,
    /// How many documents in them, as far as it is known.
    pub documents: u64,
    /// How many bundles somebody has opened, as far as it is known.
    pub opened: usize,
    /// How many bundles nobody has opened, as far as it can be known.
    pub unopened: usize,
    /// The recipients and senders: how many bundles each.
    pub parties: Vec<Party>,
    /// Every country among ours and theirs.
    pub countries: Vec<String>,
    /// Whom to tell, until when.
    pub clocks: Vec<NoticeClock>,
    /// Each bundle, and each patient of whom something else was touched.
    pub affected: Vec<Affected>,
}

impl std::fmt::Debug for Incident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Incident(hidden)")
    }
}

/// One other institution.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Party {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its country, as the log says.
    pub country: String,
    /// How many bundles went there.
    pub sent: usize,
    /// How many came from there.
    pub received: usize,
    /// Of how many patients.
    pub subjects: usize,
}

/// One bundle of one patient, or what else was touched of a patient.
#[derive(Clone, Deserialize, Serialize)]
pub struct Affected {
    /// The patient's pseudonym.
    pub subject: String,
    /// The patient, where names were asked for and are still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<DescribedPatient>,
    /// Whether the patient was erased here since.
    pub erased: bool,
    /// `sent`, `received`, or `on-file` for what is about no bundle.
    pub way: String,
    /// The bundle.
    pub bundle: String,
    /// The case.
    pub case: String,
    /// The other institution.
    pub party: String,
    /// Its country.
    pub country: String,
    /// What it carries: `records` or `opinion`.
    pub content: String,
    /// How many documents, as far as it is known.
    pub documents: u64,
    /// Of which classes.
    pub classes: String,
    /// How far it came.
    pub reached: String,
    /// `yes`, `no` or `not known`.
    pub opened: String,
    /// How that is known.
    pub opened_how: String,
    /// What became of it: recalled, destroyed.
    pub fate: String,
    /// The first moment that the log names.
    pub first: String,
    /// The last.
    pub last: String,
    /// Who acted on it here.
    pub accounts: Vec<String>,
    /// The entries of the log that say so.
    pub entries: Vec<u64>,
}

impl std::fmt::Debug for Affected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Affected({}, hidden)", self.subject)
    }
}

/// Looks up whom an incident affects, and records that it was asked.
pub async fn look(gateway: &Arc<Gateway>, staff: Staff, asked: AskIncident) -> Result<Incident, Problem> {
    let scope = Scope::of(gateway, &asked)?;
    let facts = scope.facts(&asked);
    let known_at = stamp(scope.known_at);
    let (work, names) = (Arc::clone(gateway), asked.names);
    let mut incident = tokio::task::spawn_blocking(move || find(&work, &scope, names))
        .await
        .map_err(|error| Problem::internal("an incident", &error))??;
    let event = Happened::incident(&facts, &known_at, incident.subjects, incident.bundles, names).by(staff.uid);
    incident.entry = gateway.record(event, Change::default()).await?.place().seq;
    Ok(incident)
}

fn find(gateway: &Gateway, scope: &Scope, names: bool) -> Result<Incident, Problem> {
    let (tracks, entries) = scan::scan(gateway, scope)?;
    let mut cases = BTreeMap::new();
    if names {
        for row in gateway.rows::<CaseRecord>(Space::Case, b"")? {
            cases.entry(row.value.subject.clone()).or_insert_with(Vec::new).push(row.value);
        }
    }
    let mut affected = Vec::new();
    for track in tracks {
        if let Some(mut one) = affected_by(gateway, scope, track)? {
            let cases = one.0.as_ref().and_then(|subject| cases.get(subject));
            one.1.patient = cases.map(|cases| patient(gateway, cases)).transpose()?.flatten();
            affected.push(one.1);
        }
    }
    // What is about no bundle counts for a patient of whom no bundle is affected.
    let with_bundle: BTreeSet<String> =
        affected.iter().filter(|one| !one.bundle.is_empty()).map(|one| one.subject.clone()).collect();
    affected.retain(|one| !one.bundle.is_empty() || !with_bundle.contains(&one.subject));
    Ok(summary(gateway, scope, affected, entries))
}

fn summary(gateway: &Gateway, scope: &Scope, affected: Vec<Affected>, entries: u64) -> Incident {
    let subjects: BTreeSet<&str> = affected.iter().map(|one| one.subject.as_str()).collect();
    let with_bundle = || affected.iter().filter(|one| !one.bundle.is_empty());
    let mut parties: BTreeMap<&str, (Party, BTreeSet<&str>)> = BTreeMap::new();
    for one in with_bundle() {
        let (party, whose) = parties.entry(&one.party).or_insert_with(|| (party_of(gateway, one), BTreeSet::new()));
        whose.insert(&one.subject);
        *(if one.way == "sent" { &mut party.sent } else { &mut party.received }) += 1;
    }
    let mut countries: BTreeSet<String> =
        affected.iter().map(|one| one.country.clone()).filter(|country| !country.is_empty()).collect();
    countries.insert(gateway.config.country.to_string());
    let parties = parties.into_values().map(|(party, whose)| Party { subjects: whose.len(), ..party }).collect();
    Incident {
        institution: gateway.config.name.clone(),
        country: gateway.config.country.to_string(),
        scope: scope.words.clone(),
        known_at: stamp(scope.known_at),
        made: stamp(gateway.now()),
        log: gateway.log.reader().origin().as_str().to_owned(),
        entries,
        entry: 0,
        clocks: clocks::all(scope.known_at, gateway.now(), &countries, subjects.len()),
        subjects: subjects.len(),
        bundles: with_bundle().count(),
        documents: with_bundle().map(|one| one.documents).sum(),
        opened: with_bundle().filter(|one| one.opened == "yes").count(),
        unopened: with_bundle().filter(|one| one.opened == "no").count(),
        parties,
        countries: countries.into_iter().collect(),
        affected,
    }
}

fn party_of(gateway: &Gateway, one: &Affected) -> Party {
    let known = one.party.parse::<InstitutionId>().ok().and_then(|id| gateway.known_partner(&id).ok());
    let name = known.map_or_else(String::new, |partner| partner.card().name.clone());
    Party { id: one.party.clone(), name, country: one.country.clone(), sent: 0, received: 0, subjects: 0 }
}

/// Adds to a track of the log what the store knows of it, and says whether the scope reaches it.
fn affected_by(
    gateway: &Gateway,
    scope: &Scope,
    track: Track,
) -> Result<Option<(Option<SubjectId>, Affected)>, Problem> {
    let mut one = track.affected;
    if !track.matched || (scope.is_elsewhere() && (one.bundle.is_empty() || one.reached == scan::STAYED)) {
        return Ok(None);
    }
    let bundle = one.bundle.parse::<BundleId>().ok();
    let party = one.party.parse::<InstitutionId>().ok();
    let mut recipients = None;
    if let (Some(bundle), "sent") = (&bundle, one.way.as_str()) {
        if let Some(row) = gateway.row::<BundleRecord>(Space::Bundle, bundle.as_str().as_bytes())? {
            recipients = row.value.sealed.as_ref().map(|sealed| sealed.recipients.clone());
            one.documents = one.documents.max(u64::from(row.value.documents));
            one.classes = disclosures::classes(gateway, &row.value)?;
        }
    } else if let (Some(bundle), Some(party)) = (&bundle, &party)
        && let Some(row) = gateway.row::<InboxRecord>(Space::Inbox, &InboxRecord::key(party, bundle))?
    {
        let key = AcceptedDispatch::key(party, &row.value.dispatch);
        let accepted = gateway.row::<AcceptedDispatch>(Space::Transfer, &key)?;
        let dispatch = accepted.and_then(|row| {
            crate::json::from_line::<Dispatch>(row.value.signed.text.as_bytes(), STATEMENT_BYTES_MAX).ok()
        });
        recipients = dispatch.map(|dispatch| dispatch.recipients);
    }
    // Where nobody knows to whom it was sealed, the key counts as one of them.
    if let Reach::SealedTo(key) = &scope.reach
        && recipients.is_some_and(|recipients| !recipients.contains(key))
    {
        return Ok(None);
    }
    let subject = one.subject.parse::<SubjectId>().ok();
    one.erased = match &subject {
        Some(subject) => gateway.person(subject)?.is_none(),
        None => false,
    };
    one.accounts = one.accounts.iter().map(|account| account_name(gateway, account)).collect();
    Ok(Some((subject, one)))
}

/// Who the patient is, out of the cases.
fn patient(gateway: &Gateway, cases: &[CaseRecord]) -> Result<Option<DescribedPatient>, Problem> {
    for case in cases {
        if let Some(patient) = gateway.case_private(case)?.patient {
            return Ok(Some(patient));
        }
    }
    Ok(None)
}

fn account_name(gateway: &Gateway, account: &str) -> String {
    match account.strip_prefix("uid:").and_then(|uid| uid.parse().ok()) {
        Some(uid) if gateway.people.has(uid) => format!("{} ({account})", gateway.people.name(uid)),
        _ => account.to_owned(),
    }
}
