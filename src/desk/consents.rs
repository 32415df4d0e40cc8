//! Consents: recorded, shown in plain words, withdrawn.
//!
//! Rule: a withdrawal cancels in the same atomic write whatever waits on that consent alone, and orders the recall of
//! whatever was delivered on it.

mod evidence;
mod notices;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::config::{CONSENTS_PER_PATIENT_MAX, RECALLS_PER_WITHDRAWAL_MAX};
use crate::consent::{Consent, ConsentError, Notice, NoticeStatus};
use crate::gateway::{ConsentPrivate, Gateway, Row, Scan, put};
use crate::id::{BundleId, ConsentId, Digest, PatientIdentifier};
use crate::problem::Problem;
use crate::queue;
use crate::reason::Reason;
use crate::recall;
use crate::records::{ConsentRecord, State};
use crate::statement::recall::Cause;
use crate::store::Space;

/// What `consent add` answers.
#[derive(Clone, Debug, Serialize)]
pub struct ConsentView {
    /// Our id of it.
    pub consent: ConsentId,
    /// Whose it is, as it names the patient; absent where it can no longer be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
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
    /// The scans that are kept beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Scan>,
    /// The bundles that no longer leave, where it came as the word of its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<BundleId>,
}

/// Records a FHIR Consent or a consent artefact; the word of a consent manager that one on file has ended withdraws it.
///
/// Scans of the paper are kept beside it, sealed.
pub async fn add(
    gateway: &Gateway,
    staff: Staff,
    resource: &[u8],
    scans: Vec<Vec<u8>>,
) -> Result<ConsentView, Problem> {
    let evidence = evidence::look_at(&scans)?;
    let notice = Notice::read(resource).map_err(|error| unusable(&error))?;
    if matches!(&notice, Some(notice) if notice.status != NoticeStatus::Granted) && !scans.is_empty() {
        return Err(Problem::bad_input(
            Reason::BadInput,
            "a scan is kept beside a consent, not beside the word of its end",
        ));
    }
    if let Some(notice) = &notice
        && let Some(ended) = notices::take(gateway, staff, resource, notice).await?
    {
        return Ok(ended);
    }
    let consent = gateway.read_consent(resource).map_err(|error| unusable(&error))?;
    let subject = gateway.new_subject(consent.patient())?;
    let on_file = gateway.consents_of(&subject)?;
    if on_file.len() >= CONSENTS_PER_PATIENT_MAX {
        let detail = format!("{CONSENTS_PER_PATIENT_MAX} consents of this patient are on file, and no more are taken");
        return Err(Problem::bad_input(Reason::LimitExceeded, detail)
            .hint("every decision reads all of them; `medseal consent list --patient P` shows what there is"));
    }
    let resource = std::str::from_utf8(resource)
        .map_err(|_| Problem::bad_input(Reason::BadInput, "the consent is not UTF-8 text"))?;
    for row in on_file.iter().filter(|row| row.value.withdrawn.is_none()) {
        if gateway.consent_private(&row.value)?.is_some_and(|private| is_the_same(&private.resource, resource)) {
            return Err(Problem::conflict(format!("this very consent is on file already as {}", row.value.consent))
                .hint("nothing: it counts. On file twice, it would have to be withdrawn twice"));
        }
    }
    let words = consent.in_words().join(" ");
    let record = ConsentRecord {
        consent: ConsentId::random(),
        version: 1,
        subject: subject.clone(),
        added: clock::stamp(gateway.now()),
        countries: gateway.partners()?.iter().map(|p| (p.id().clone(), p.card().country.clone())).collect(),
        withdrawn: None,
    };
    // The blobs first, then the write that names them: what a crash leaves is removed at the next start.
    gateway.keep_evidence(&record.consent, &subject, scans).await?;
    let private = ConsentPrivate { resource: resource.to_owned(), evidence: evidence.clone() };
    let mut puts = gateway.new_consent(&record, &private)?;
    if let Some(notice) = &notice {
        puts.push(notices::index(gateway, &subject, notice, &record.consent)?);
    }
    let sha256 = Digest::of(resource.as_bytes());
    let event = Happened::consent_added(&record.consent, &subject, &words, sha256, &evidence);
    gateway.enter(event.by(staff.uid), Change { puts, ..Change::default() }).await?;
    Ok(ConsentView { evidence, ..view(&record, Ok(&consent)) })
}

/// Whether two resources say the same, however they are spaced and ordered.
fn is_the_same(one: &str, other: &str) -> bool {
    let value = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || value(one).is_some_and(|one| value(other) == Some(one))
}

/// One of the scans beside a consent, by its number from 1, opened.
pub async fn scan(gateway: &Gateway, id: &ConsentId, number: u32) -> Result<(Scan, Zeroizing<Vec<u8>>), Problem> {
    let record = found(gateway, id)?.value;
    let private =
        gateway.consent_private(&record)?.ok_or_else(|| Problem::conflict("this patient's data was erased"))?;
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let scan = at.and_then(|at| private.evidence.into_iter().nth(at));
    let scan = scan.ok_or_else(|| Problem::not_found(format!("{id} has no scan {number}")))?;
    let bytes = gateway.read_evidence(id, &record.subject, number).await?;
    if Digest::of(&bytes) != scan.sha256 {
        return Err(Problem::refused(Reason::Tampered, "the scan in the vault is not the one that was handed in"));
    }
    Ok((scan, bytes))
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
    /// The patient's other consents that still stand.
    pub standing: Vec<ConsentId>,
    /// The bundles that no longer leave.
    pub cancelled: Vec<BundleId>,
    /// The bundles that were delivered on it, or by mistake, and are being recalled.
    pub recalled: Vec<BundleId>,
    /// Bundles that were delivered and stay with the partner: they do not rest on this consent, or another permits them.
    pub delivered: Vec<BundleId>,
}

/// Withdraws a consent. From the moment it is recorded no attempt passes; what waits is cancelled with it.
pub async fn withdraw(gateway: &Gateway, staff: Staff, id: &ConsentId, reason: &str) -> Result<Withdrawn, Problem> {
    let reason = free_text("reason", reason, &gateway.config.limits)?;
    // A bundle that changes state at the same moment makes the write fail as a whole: then look again.
    // Where somebody else withdrew it meanwhile, looking again says so.
    for _ in 0..RACES_MAX {
        let was_withdrawn = is_withdrawn(gateway, id)?;
        match withdraw_once(gateway, staff, id, &reason).await {
            Err(problem) if problem.code == Reason::Conflict && problem.status == 409 && !was_withdrawn => {}
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
    let (mut cancelled, mut recalled, mut delivered) = (Vec::new(), Vec::new(), Vec::new());
    for bundle in gateway.bundles_of(&subject)? {
        match bundle.value.state() {
            State::Delivered => {
                let name = bundle.value.bundle.clone();
                let ordered = bundle.value.recall_is_on_its_way()
                    || recalled.len() < RECALLS_PER_WITHDRAWAL_MAX
                        && crate::release::lost_its_consent(gateway, &bundle.value, Some(id))?
                        && recall::order(
                            &mut change,
                            bundle.value.clone(),
                            bundle.unchanged(),
                            Cause::ConsentWithdrawn,
                            now,
                        );
                if ordered { recalled.push(name) } else { delivered.push(name) }
            }
            State::Waiting | State::Approval if bundle.value.open_attempts().next().is_none() => {
                let denied = crate::release::would_be_denied(gateway, &bundle.value, Some(id))?;
                if let Some(why) = denied {
                    cancelled.push(bundle.value.bundle.clone());
                    crate::release::cancel(&mut change, bundle, why, now);
                }
            }
            // Given up in doubt: now it has to be known, and called back if it did arrive.
            State::Failed if bundle.value.open_attempts().next().is_some() => {
                let record = bundle.value.clone().taken_up(now);
                change.enqueue.push(queue::first_job(&record, now));
                change.puts.push(put(Space::Bundle, &bundle.key, &record, bundle.unchanged()));
            }
            state if state.is_final() => {}
            // On the line, or it may have arrived: its own next decision settles it. Its row is written as it was, so
            // that whoever records at this moment that it was delivered has to look at the consent again.
            _ => {
                let expect = bundle.unchanged();
                change.puts.push(put(Space::Bundle, &bundle.key, &bundle.value, expect));
            }
        }
    }
    let event = Happened::consent_withdrawn(id, record.version, &subject, reason, &cancelled, &recalled);
    gateway.enter(event.by(staff.uid), change).await?;
    let others = gateway.consents_of(&subject)?.into_iter().map(|row| row.value);
    let standing = others.filter(|other| other.consent != *id && other.withdrawn.is_none()).map(|other| other.consent);
    let standing = standing.collect();
    Ok(Withdrawn { consent: id.clone(), version: record.version, standing, cancelled, recalled, delivered })
}

fn is_withdrawn(gateway: &Gateway, id: &ConsentId) -> Result<bool, Problem> {
    Ok(found(gateway, id)?.value.withdrawn.is_some())
}

fn found(gateway: &Gateway, id: &ConsentId) -> Result<Row<ConsentRecord>, Problem> {
    gateway.consent(id)?.ok_or_else(|| {
        Problem::not_found(format!("there is no consent {id}")).hint("`medseal consent list` shows them")
    })
}

fn described(gateway: &Gateway, record: &ConsentRecord) -> Result<ConsentView, Problem> {
    let private = gateway.consent_private(record)?;
    let evidence = private.as_ref().map(|private| private.evidence.clone()).unwrap_or_default();
    let view = match private {
        Some(private) => match gateway.read_consent(private.resource.as_bytes()) {
            Ok(consent) => view(record, Ok(&consent)),
            Err(error) => {
                view(record, Err(format!("It cannot be used: {error}. So nothing leaves until it is withdrawn.")))
            }
        },
        None => view(record, Err("erased".to_owned())),
    };
    Ok(ConsentView { evidence, ..view })
}

/// A consent in words, or why there are none.
fn view(record: &ConsentRecord, consent: Result<&Consent, String>) -> ConsentView {
    ConsentView {
        consent: record.consent.clone(),
        patient: consent.as_ref().ok().map(|consent| consent.patient().to_string()),
        version: record.version,
        understood: consent.is_ok(),
        source: consent.as_ref().ok().map(|consent| consent.source().word()),
        permits: consent.map_or_else(|why| why, |consent| consent.in_words().join(" ")),
        added: record.added.clone(),
        withdrawn: record.withdrawn.clone(),
        evidence: Vec::new(),
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

/// How often a withdrawal looks again when bundles change under it.
const RACES_MAX: usize = 20;
