//! Erasure: a patient's key is destroyed, and with it everything that names or describes the patient here.
//!
//! Rule: the entry comes first and the key goes last, so that a crash in between leaves a key and the next start goes on.
//! A legal hold, a retention time that is not over and anything that is still on its way beat it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::on_file::OnFile;
use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::gateway::{Gateway, put};
use crate::id::{PatientIdentifier, SubjectId};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{ErasedCounts, ErasureRecord, HoldRecord};
use crate::store::{Delete, Expect, Space};

/// What `audit erase` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskErasure {
    /// The patient.
    pub patient: PatientIdentifier,
    /// Why; it stays in the log in clear.
    pub basis: String,
    /// Why what partners received is not recalled before, which after the erasure nobody can; it stays in clear, too.
    pub without_recall: Option<String>,
}

impl std::fmt::Debug for AskErasure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AskErasure(hidden)")
    }
}

/// An erasure as the staff sees it.
#[derive(Debug, Serialize)]
pub struct ErasureView {
    /// The pseudonym under which the log goes on to speak of the patient.
    pub subject: SubjectId,
    /// When it was recorded.
    pub at: String,
    /// How much of each kind was on file.
    pub counts: ErasedCounts,
}

/// Erases a patient, or says what forbids it. An erasure that was interrupted is finished.
pub async fn erase(gateway: &Arc<Gateway>, staff: Staff, asked: AskErasure) -> Result<ErasureView, Problem> {
    let basis = free_text("basis", &asked.basis, &gateway.config.limits)?;
    let Some(subject) = gateway.find_subject(&asked.patient)? else {
        return Err(Problem::not_found("nothing is on file under this identifier: it was erased, or never known here"));
    };
    if let Some(begun) = gateway.row::<ErasureRecord>(Space::Index, &ErasureRecord::key(&subject))? {
        carry_out(gateway, &subject).await?;
        return Ok(view(begun.value));
    }
    let on_file = OnFile::read(gateway, &subject)?;
    names_nobody(gateway, &asked.patient, &on_file, "basis", &basis)?;
    let without_recall = match asked.without_recall {
        Some(why) => Some(free_text("without-recall", &why, &gateway.config.limits)?),
        None => None,
    };
    match &without_recall {
        Some(why) => names_nobody(gateway, &asked.patient, &on_file, "reason for not recalling", why)?,
        None => on_file.is_recalled()?,
    }
    erase_subject(gateway, staff, &subject, &on_file, &basis, without_recall.as_deref()).await
}

/// Erases whom this pseudonym means, or says what forbids it. The basis must name nobody.
pub(super) async fn erase_subject(
    gateway: &Arc<Gateway>,
    staff: Staff,
    subject: &SubjectId,
    on_file: &OnFile,
    basis: &str,
    without_recall: Option<&str>,
) -> Result<ErasureView, Problem> {
    let now = gateway.now();
    let hold = gateway.hold_of(subject)?;
    if hold.as_ref().is_some_and(|hold| hold.value.forbids(now)) {
        return Err(Problem::refused(Reason::LegalHold, "a legal hold stands on this patient; nothing was erased"));
    }
    if let Some((what, until)) = on_file.kept_until(gateway).filter(|(_, until)| now < *until) {
        let detail = format!("{what} must be kept until {}; nothing was erased", clock::stamp(until));
        return Err(Problem::refused(Reason::RetentionUnexpired, detail));
    }
    on_file.rests()?;

    let record = ErasureRecord { subject: subject.clone(), at: clock::stamp(now), counts: on_file.counts() };
    let hold_key = HoldRecord::key(subject);
    // A hold that is placed at this moment must not be missed: the write wants it to be as it was read.
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    match &hold {
        Some(row) => puts.push(put(Space::Index, &hold_key, &row.value, row.unchanged())),
        None => deletes.push(Delete { space: Space::Index, key: hold_key, expect: Expect::Absent }),
    }
    // Nor a bundle that changed its state.
    puts.extend(
        on_file.bundles.iter().take(GUARDED_MAX).map(|row| put(Space::Bundle, &row.key, &row.value, row.unchanged())),
    );
    puts.push(put(Space::Index, &ErasureRecord::key(subject), &record, Expect::Absent));
    let event = Happened::erasure(subject, basis, without_recall, record.counts).by(staff.uid);
    gateway.enter(event, Change { puts, deletes, ..Change::default() }).await?;
    tracing::info!(%subject, "erasure recorded");
    carry_out(gateway, subject).await?;
    Ok(view(record))
}

/// Carries out every erasure that was recorded and whose key is still here, and says how many. To be called before
/// anything is served.
pub async fn finish(gateway: &Arc<Gateway>) -> Result<usize, Problem> {
    let mut finished = 0;
    for row in gateway.rows::<ErasureRecord>(Space::Index, ErasureRecord::PREFIX.as_bytes())? {
        if gateway.person(&row.value.subject)?.is_some() {
            carry_out(gateway, &row.value.subject).await?;
            finished += 1;
        }
    }
    Ok(finished)
}

/// Destroys what the recorded erasure is about. Repeated, it does what is left of it.
async fn carry_out(gateway: &Arc<Gateway>, subject: &SubjectId) -> Result<(), Problem> {
    let (work, whose) = (Arc::clone(gateway), subject.clone());
    let destroy = move || {
        let on_file = OnFile::read(&work, &whose)?;
        for name in on_file.sealed_files(&work)? {
            work.vault.remove(&name).map_err(|error| Problem::internal("the vault", &error))?;
        }
        work.subjects.destroy(&whose).map_err(|error| Problem::internal("a subject's key", &error))
    };
    tokio::task::spawn_blocking(destroy).await.map_err(|error| Problem::internal("an erasure", &error))??;
    tracing::info!(%subject, "erased");
    Ok(())
}

/// Refuses a text that holds an identifier, a part of the name or the birth date: it stays in the log for good.
fn names_nobody(
    gateway: &Gateway,
    patient: &PatientIdentifier,
    on_file: &OnFile,
    what: &str,
    said: &str,
) -> Result<(), Problem> {
    let mut telling = vec![patient.value().to_owned()];
    for case in &on_file.cases {
        let Some(person) = gateway.case_private(&case.value)?.patient else { continue };
        telling.extend(person.identifiers.iter().map(|id| id.value().to_owned()));
        telling.extend(person.birth_date);
        let name = person.name.unwrap_or_default();
        telling.extend(name.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
    }
    let said = said.to_lowercase();
    if telling.iter().any(|word| word.chars().count() > 2 && said.contains(&word.to_lowercase())) {
        let detail = format!("the {what} names the person; it stays in the log for good");
        return Err(Problem::bad_input(Reason::BadInput, detail)
            .hint("name the rule or the request alone, such as 'GDPR 17(1)(b), request of 22 November'"));
    }
    Ok(())
}

fn view(record: ErasureRecord) -> ErasureView {
    ErasureView { subject: record.subject, at: record.at, counts: record.counts }
}

/// So many bundles fit into one write beside the rest.
const GUARDED_MAX: usize = 1000;
