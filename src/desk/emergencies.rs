//! Emergencies under which records left without a consent: what each was, and what is still to be done about it.
//!
//! Rule: asking for one decides nothing; two other people approve it like any release, and the decision is the same as
//! ever. Afterwards the patient is told and somebody else reviews it, and both are recorded.

use serde::{Deserialize, Serialize};

use super::bundles::{BundleView, found, list as bundles, show};
use super::{Staff, free_text};
use crate::audit::happened::{EmergencyStep, Happened};
use crate::audit::log::Change;
use crate::clock;
use crate::gateway::{Gateway, put};
use crate::id::BundleId;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{BundleRecord, Emergency, EmergencyPrivate};
use crate::store::Space;

/// What `send --break-glass` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskEmergency {
    /// The clinician who answers for it.
    pub clinician: String,
    /// Why the patient cannot be asked, and why it cannot wait.
    pub reason: String,
}

impl std::fmt::Debug for AskEmergency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AskEmergency(hidden)")
    }
}

/// An emergency as the staff sees it.
#[derive(Debug, Serialize)]
pub struct EmergencyView {
    /// The clinician who answers for it; absent when the patient's data was erased.
    pub clinician: Option<String>,
    /// Why; absent when the patient's data was erased.
    pub reason: Option<String>,
    /// When it was asked for.
    pub requested: String,
    /// The first instant at which nothing leaves under it any more.
    pub until: String,
    /// When the patient, or who speaks for the patient, was told.
    pub patient_told: Option<String>,
    /// When somebody else looked at it afterwards.
    pub reviewed: Option<String>,
    /// What is still to be done, with the command that says it is.
    pub tasks: Vec<String>,
}

/// The emergency that somebody asks for, from now on for as long as the institution allows.
pub fn begin(gateway: &Gateway, asked: &AskEmergency) -> Result<(Emergency, EmergencyPrivate), Problem> {
    let limits = &gateway.config.limits;
    let now = gateway.now();
    let lasts = jiff::SignedDuration::from_secs(i64::from(gateway.config.break_glass.box_s_max));
    let emergency = Emergency {
        requested: clock::stamp(now),
        until: clock::stamp(now + lasts),
        patient_told: None,
        reviewed: None,
    };
    let private = EmergencyPrivate {
        clinician: free_text("clinician", &asked.clinician, limits)?,
        reason: free_text("reason", &asked.reason, limits)?,
    };
    Ok((emergency, private))
}

/// The emergency of a bundle; `None` where there is none.
pub fn of(gateway: &Gateway, record: &BundleRecord) -> Result<Option<EmergencyView>, Problem> {
    let Some(emergency) = &record.emergency else { return Ok(None) };
    let private = gateway.emergency_private(record)?;
    let (clinician, reason) = private.map(|private| (private.clinician, private.reason)).unzip();
    Ok(Some(EmergencyView {
        clinician,
        reason,
        tasks: tasks(record, emergency),
        requested: emergency.requested.clone(),
        until: emergency.until.clone(),
        patient_told: emergency.patient_told.clone(),
        reviewed: emergency.reviewed.clone(),
    }))
}

/// Every bundle for which an emergency was asked, newest first.
pub fn list(gateway: &Gateway) -> Result<Vec<BundleView>, Problem> {
    Ok(bundles(gateway)?.into_iter().filter(|view| view.emergency.is_some()).collect())
}

/// Records that the patient, or who speaks for the patient, was told, and how.
pub async fn patient_told(gateway: &Gateway, staff: Staff, id: &BundleId, how: &str) -> Result<BundleView, Problem> {
    step(gateway, staff, id, EmergencyStep::PatientTold, how).await
}

/// Records that somebody other than whoever asked for it looked at it afterwards, and what came of it.
pub async fn review(gateway: &Gateway, staff: Staff, id: &BundleId, finding: &str) -> Result<BundleView, Problem> {
    let sent_by = found(gateway, id)?.value.sent_by;
    if sent_by == staff.uid {
        let detail = format!("{} asked for it; somebody else reviews it", gateway.people.name(sent_by));
        return Err(Problem::refused(Reason::Approver, detail).about(id).hint("ask the privacy officer"));
    }
    step(gateway, staff, id, EmergencyStep::Reviewed, finding).await
}

async fn step(
    gateway: &Gateway,
    staff: Staff,
    id: &BundleId,
    step: EmergencyStep,
    words: &str,
) -> Result<BundleView, Problem> {
    let words = free_text("text", words, &gateway.config.limits)?;
    let row = found(gateway, id)?;
    let mut record = row.value.clone();
    let Some(emergency) = &mut record.emergency else {
        return Err(Problem::conflict(format!("{id} is no emergency: a consent permits it, or nothing does")));
    };
    let done = match step {
        EmergencyStep::PatientTold => &mut emergency.patient_told,
        EmergencyStep::Reviewed => &mut emergency.reviewed,
    };
    if done.is_some() {
        return Err(Problem::conflict(format!("{id}: that is recorded already")));
    }
    *done = Some(clock::stamp(gateway.now()));
    let event = Happened::emergency_step(&record, step, &words).by(staff.uid);
    let change = Change { puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())], ..Change::default() };
    gateway.enter(event, change).await?;
    show(gateway, id)
}

/// What is owed once something may have left; nothing is owed for what never did.
fn tasks(record: &BundleRecord, emergency: &Emergency) -> Vec<String> {
    if !record.attempts.iter().any(crate::records::Attempt::was_permitted) {
        return Vec::new();
    }
    let bundle = &record.bundle;
    let tell = format!("tell the patient, then `medseal break-glass told {bundle} --how TEXT`");
    let review = format!("somebody else reviews it: `medseal break-glass review {bundle} --finding TEXT`");
    let tell = emergency.patient_told.is_none().then_some(tell);
    let review = emergency.reviewed.is_none().then_some(review);
    tell.into_iter().chain(review).collect()
}
