//! Consents: recorded, shown in plain words, withdrawn.
//!
//! Rule: a withdrawal cancels in the same atomic write whatever waits on that consent alone.

mod notices;

use serde::Serialize;

use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::config::CONSENTS_PER_PATIENT_MAX;
use crate::consent::{Consent, ConsentError, Notice};
use crate::gateway::{ConsentPrivate, Gateway, Row};
use crate::id::{BundleId, ConsentId, Digest, PatientIdentifier, SubjectId};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{ConsentRecord, State};
use crate::store::{Expect, Put, Space};

/// What `consent add` answers.
#[derive(Clone, Debug, Serialize)]
pub struct ConsentView {
    /// Our id of it.
    pub consent: ConsentId,
    /// Counts its changes, from 1.
    pub version: u64,
    /// Whether medseal can evaluate it.
    pub understood: bool,
    /// What it permits, to whom, until when.
    pub permits: String,
    /// In which form it was written: `fhir-r4`, `fhir-r5` or `abdm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// When it was recorded.
    pub added: String,
    /// When it was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// The bundles that no longer leave, where it came as the word of its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<BundleId>,
}

/// Records a FHIR Consent or a consent artefact; the word of a consent manager that one on file has ended withdraws it.
pub async fn add(gateway: &Gateway, staff: Staff, resource: &[u8]) -> Result<ConsentView, Problem> {
    let notice = Notice::read(resource).map_err(|error| unusable(&error))?;
    if let Some(notice) = &notice
        && let Some(ended) = notices::take(gateway, staff, resource, notice).await?
    {
        return Ok(ended);
    }
    let consent = gateway.read_consent(resource).map_err(|error| unusable(&error))?;
    let subject = gateway.new_subject(consent.patient())?;
    if gateway.consents_of(&subject)?.len() >= CONSENTS_PER_PATIENT_MAX {
        let detail = format!("{CONSENTS_PER_PATIENT_MAX} consents of this patient are on file, and no more are taken");
        return Err(Problem::bad_input(Reason::LimitExceeded, detail)
            .hint("every decision reads all of them; `medseal consent list --patient P` shows what there is"));
    }
    let resource = std::str::from_utf8(resource)
        .map_err(|_| Problem::bad_input(Reason::BadInput, "the consent is not UTF-8 text"))?;
    let words = consent.in_words().join(" ");
    let record = ConsentRecord {
        consent: ConsentId::random(),
        version: 1,
        subject: subject.clone(),
        added: clock::stamp(gateway.now()),
        countries: gateway.partners()?.iter().map(|p| (p.id().clone(), p.card().country.clone())).collect(),
        withdrawn: None,
    };
    let private = ConsentPrivate { resource: resource.to_owned() };
    let key = record.consent.as_str().as_bytes();
    let mut puts = gateway.seal_parts(Space::Consent, key, &subject, &private)?;
    puts.extend(gateway.consent_version(&record, Expect::Absent));
    puts.push(index(&subject, &record.consent));
    puts.extend(notice.map(|notice| notices::index(&notice, &record.consent)));
    let event = Happened::consent_added(&record.consent, &subject, &words, Digest::of(resource.as_bytes()));
    gateway.enter(event.by(staff.uid), Change { puts, ..Change::default() }).await?;
    Ok(view(&record, Ok(&consent)))
}

/// The consents on file, of one patient or of all.
pub fn list(gateway: &Gateway, patient: Option<&PatientIdentifier>) -> Result<Vec<ConsentView>, Problem> {
    let rows = match patient {
        Some(patient) => match gateway.find_subject(patient)? {
            Some(subject) => gateway.consents_of(&subject)?,
            None => Vec::new(),
        },
        None => gateway.rows::<ConsentRecord>(Space::Consent, b"")?,
    };
    rows.into_iter().map(|row| described(gateway, &row.value)).collect()
}

/// One consent.
pub fn show(gateway: &Gateway, id: &ConsentId) -> Result<ConsentView, Problem> {
    described(gateway, &found(gateway, id)?.value)
}

/// What a withdrawal did.
#[derive(Clone, Debug, Serialize)]
pub struct Withdrawn {
    /// The consent.
    pub consent: ConsentId,
    /// Its new version.
    pub version: u64,
    /// The bundles that no longer leave.
    pub cancelled: Vec<BundleId>,
    /// Bundles that were delivered before: they cannot be called back by this.
    pub delivered: Vec<BundleId>,
}

/// Withdraws a consent. From the moment it is recorded no attempt passes; what waits is cancelled with it.
pub async fn withdraw(gateway: &Gateway, staff: Staff, id: &ConsentId, reason: &str) -> Result<Withdrawn, Problem> {
    let reason = free_text("reason", reason, &gateway.config.limits)?;
    // A bundle that changes state at the same moment makes the write fail as a whole: then look again.
    for _ in 0..RACES_MAX {
        match withdraw_once(gateway, staff, id, &reason).await {
            Err(problem)
                if problem.code == Reason::Conflict && problem.status == 409 && !is_withdrawn(gateway, id)? => {}
            answer => return answer,
        }
    }
    Err(Problem::try_again(Reason::Conflict, "the bundles of this patient changed all the time; nothing was withdrawn"))
}

async fn withdraw_once(gateway: &Gateway, staff: Staff, id: &ConsentId, reason: &str) -> Result<Withdrawn, Problem> {
    let row = found(gateway, id)?;
    let expect = row.unchanged();
    let mut record = row.value;
    if record.withdrawn.is_some() {
        return Err(Problem::conflict(format!("{id} is withdrawn already")));
    }
    let now = gateway.now();
    record.version += 1;
    record.withdrawn = Some(clock::stamp(now));
    let subject = record.subject.clone();
    // The reason stands in the entry's detail alone: the resource that earlier decisions read is never written again.
    let mut change = Change { puts: gateway.consent_version(&record, expect).into(), ..Change::default() };
    let (mut cancelled, mut delivered) = (Vec::new(), Vec::new());
    for bundle in gateway.bundles_of(&subject)? {
        match bundle.value.state() {
            State::Delivered => delivered.push(bundle.value.bundle.clone()),
            // A bundle that is on the line, or may have arrived, is settled by its own next decision.
            State::Waiting | State::Approval if bundle.value.open_attempts().next().is_none() => {
                let denied = crate::release::would_be_denied(gateway, &bundle.value, Some(id))?;
                if let Some(why) = denied {
                    cancelled.push(bundle.value.bundle.clone());
                    crate::release::cancel(&mut change, bundle, why, now);
                }
            }
            _ => {}
        }
    }
    let event = Happened::consent_withdrawn(id, record.version, &subject, reason, &cancelled);
    gateway.enter(event.by(staff.uid), change).await?;
    Ok(Withdrawn { consent: id.clone(), version: record.version, cancelled, delivered })
}

fn is_withdrawn(gateway: &Gateway, id: &ConsentId) -> Result<bool, Problem> {
    Ok(found(gateway, id)?.value.withdrawn.is_some())
}

fn found(gateway: &Gateway, id: &ConsentId) -> Result<Row<ConsentRecord>, Problem> {
    gateway.row(Space::Consent, id.as_str().as_bytes())?.ok_or_else(|| {
        Problem::not_found(format!("there is no consent {id}")).hint("`medseal consent list` shows them")
    })
}

fn described(gateway: &Gateway, record: &ConsentRecord) -> Result<ConsentView, Problem> {
    Ok(match gateway.consent_private(record)? {
        Some(private) => match gateway.read_consent(private.resource.as_bytes()) {
            Ok(consent) => view(record, Ok(&consent)),
            Err(error) => {
                view(record, Err(format!("It cannot be used: {error}. So nothing leaves until it is withdrawn.")))
            }
        },
        None => view(record, Err("erased".to_owned())),
    })
}

/// A consent in words, or why there are none.
fn view(record: &ConsentRecord, consent: Result<&Consent, String>) -> ConsentView {
    ConsentView {
        consent: record.consent.clone(),
        version: record.version,
        understood: consent.is_ok(),
        source: consent.as_ref().ok().map(|consent| consent.source().word()),
        permits: consent.map_or_else(|why| why, |consent| consent.in_words().join(" ")),
        added: record.added.clone(),
        withdrawn: record.withdrawn.clone(),
        cancelled: Vec::new(),
    }
}

fn unusable(error: &ConsentError) -> Problem {
    let problem = Problem::bad_input(error.reason(), format!("this consent cannot be used: {error}"));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn index(subject: &SubjectId, consent: &ConsentId) -> Put {
    Put {
        space: Space::Index,
        key: format!("consents/{subject}/{consent}").into_bytes(),
        expect: Expect::Absent,
        value: Vec::new(),
    }
}

/// How often a withdrawal looks again when bundles change under it.
const RACES_MAX: usize = 20;
