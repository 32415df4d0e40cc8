//! The retention schedule, carried out: what is past its time, what forbids that it goes, and its destruction.
//!
//! Rule: a legal hold, an open case, whatever is on its way and whatever nobody has read yet beat the schedule. The
//! entry comes first and the file goes last; the next start finishes what a crash left in between.

mod plan;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Staff;
use super::erasures::erase_subject;
use crate::audit::happened::{Happened, Retired};
use crate::audit::log::Change;
use crate::clock::{self, Timestamp};
use crate::config::Retention;
use crate::gateway::{Gateway, Row, put};
use crate::id::{BundleId, CaseId, Digest, InstitutionId, SubjectId};
use crate::problem::Problem;
use crate::records::{BundleRecord, HoldRecord, InboxRecord};
use crate::store::{Delete, Expect, Put, Space};
use crate::vault::BlobName;

use plan::{Planned, Record};

/// What `audit retention` is given.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskRetention {
    /// Whether what may go is destroyed, and not only listed.
    pub apply: bool,
}

/// What is past its time.
#[derive(Debug, Serialize)]
pub struct Schedule {
    /// When it was looked at.
    pub at: String,
    /// Whether what may go was destroyed.
    pub applied: bool,
    /// The schedule.
    pub days: Retention,
    /// How many may go, or went.
    pub may_go: usize,
    /// How many something forbids.
    pub kept: usize,
    /// Each of them.
    pub items: Vec<Due>,
}

/// One thing that is past its time.
#[derive(Debug, Serialize)]
pub struct Due {
    /// What it is.
    pub kind: Thing,
    /// The bundle; for a person the pseudonym.
    pub id: String,
    /// Who sent it, if it came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<InstitutionId>,
    /// Whose it is, by pseudonym.
    pub subject: SubjectId,
    /// When its time was over.
    pub since: String,
    /// Which line of the schedule says so.
    pub rule: &'static str,
    /// How large the sealed files are, in bytes.
    pub bytes: u64,
    /// What forbids that it goes; empty: nothing does.
    pub kept_by: Vec<Kept>,
    /// Whether it is destroyed now.
    pub destroyed: bool,
}

/// What can be past its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// Our own sealed file of a bundle that is at its end.
    Sealed,
    /// The sealed file of records that a partner sent.
    Inbox,
    /// The sealed file of an opinion, given or received.
    Opinion,
    /// Everything on file of a patient: consents, what opinions said, and the details of the log.
    Person,
}

/// What forbids that something goes although its time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// A legal hold stands on the patient.
    Hold,
    /// It is not at its end, or something else of the patient is not.
    OnItsWay,
    /// It was given up, and nobody knows whether it arrived: a withdrawal takes it up again.
    InDoubt,
    /// A recall is not answered, or not carried out.
    RecallWaits,
    /// The case it belongs to is open.
    CaseOpen,
    /// Nobody has opened it.
    Unopened,
    /// A consent of the patient still stands.
    ConsentStands,
    /// It changed while it was looked at; the next time finds out.
    Changed,
}

/// Whoever lets the schedule be carried out.
#[derive(Clone, Copy, Debug)]
enum By {
    Staff(Staff),
    Itself,
}

/// Lists what is past its time, and destroys what may go if that is asked for.
pub async fn look(gateway: &Arc<Gateway>, staff: Staff, asked: AskRetention) -> Result<Schedule, Problem> {
    carry_out(gateway, By::Staff(staff), asked.apply).await
}

/// Destroys the sealed files that are past their time, where the site says that the gateway does so by itself. A person
/// is never erased by itself.
pub async fn by_itself(gateway: &Arc<Gateway>) -> Result<usize, Problem> {
    if !gateway.config.retention.automatic {
        return Ok(0);
    }
    let done = carry_out(gateway, By::Itself, true).await?;
    Ok(done.items.iter().filter(|due| due.destroyed).count())
}

/// Removes every sealed file whose destruction was recorded and that is still here, and says how many. To be called
/// before anything is served.
pub fn finish(gateway: &Gateway) -> Result<usize, Problem> {
    let mut finished = 0;
    for name in gateway.vault.list().map_err(|error| Problem::internal("the vault", &error))? {
        if is_retired(gateway, &name)? {
            gateway.vault.remove(&name).map_err(|error| Problem::internal("the vault", &error))?;
            finished += 1;
        }
    }
    Ok(finished)
}

impl Due {
    fn new(
        kind: Thing,
        id: String,
        subject: &SubjectId,
        (since, rule): (Timestamp, &'static str),
        bytes: u64,
        kept_by: Vec<Kept>,
    ) -> Self {
        let (subject, since) = (subject.clone(), clock::stamp(since));
        Self { kind, id, from: None, subject, since, rule, bytes, kept_by, destroyed: false }
    }

    fn changed(mut self) -> Self {
        self.kept_by.push(Kept::Changed);
        self
    }

    fn retired(&self, bundle: &BundleId, case: &CaseId, sealed_sha256: Digest) -> Happened {
        let what = match self.kind {
            Thing::Sealed => "sealed",
            Thing::Inbox => "inbox",
            Thing::Opinion | Thing::Person => "opinion",
        };
        let (rule, since) = (self.rule, self.since.as_str());
        Happened::retired(&self.subject, &Retired { what, bundle, case, sealed_sha256, rule, since })
    }
}

async fn carry_out(gateway: &Arc<Gateway>, by: By, apply: bool) -> Result<Schedule, Problem> {
    let work = Arc::clone(gateway);
    // Nobody's key is destroyed unless a person asks.
    let persons = matches!(by, By::Staff(_));
    let planned = tokio::task::spawn_blocking(move || plan::plan(&work, persons))
        .await
        .map_err(|error| Problem::internal("the retention schedule", &error))??;
    let now = clock::stamp(gateway.now());
    let mut items = Vec::with_capacity(planned.len());
    for one in planned {
        items.push(if apply && one.due.kept_by.is_empty() { destroy(gateway, by, one).await? } else { one.due });
    }
    let kept = items.iter().filter(|due| !due.kept_by.is_empty()).count();
    let days = gateway.config.retention.clone();
    Ok(Schedule { at: now, applied: apply, days, may_go: items.len() - kept, kept, items })
}

/// Records the destruction, then destroys. What changed in between is left for the next time.
async fn destroy(gateway: &Arc<Gateway>, by: By, planned: Planned) -> Result<Due, Problem> {
    let Planned { mut due, hold, record } = planned;
    let now = clock::stamp(gateway.now());
    let subject = due.subject.clone();
    let (name, change, event) = match record {
        Record::Person(on_file) => {
            let By::Staff(staff) = by else { return Ok(due) };
            return match erase_subject(gateway, staff, &subject, &on_file, SCHEDULE, None).await {
                Ok(_) => Ok(Due { destroyed: true, ..due }),
                Err(problem) if problem.status < 500 => Ok(due.changed()),
                Err(problem) => Err(problem),
            };
        }
        Record::Ours(row) => {
            let mut record = row.value.clone();
            record.expired = Some(now);
            let name = BlobName::ours(&record.bundle);
            let Some(sealed) = &record.sealed else { return Ok(due) };
            let event = due.retired(&record.bundle, &record.case, sealed.sealed_sha256);
            (name, put(Space::Bundle, &row.key, &record, row.unchanged()), event)
        }
        Record::Theirs(row) => {
            let record = InboxRecord { expired: Some(now), ..row.value.clone() };
            let event = due.retired(&record.bundle, &record.case, record.sealed_sha256);
            (names(&record), put(Space::Inbox, &row.key, &record, row.unchanged()), event)
        }
    };
    let mut change = Change { puts: vec![change], ..Change::default() };
    unheld(&mut change.puts, &mut change.deletes, &subject, hold.as_ref());
    let event = match by {
        By::Staff(staff) => event.by(staff.uid),
        By::Itself => event.by_schedule(),
    };
    match gateway.enter(event, change).await {
        Ok(()) => {}
        Err(problem) if problem.status == 409 => return Ok(due.changed()),
        Err(problem) => return Err(problem),
    }
    tracing::debug!(id = %due.id, "past its time: recorded");
    let vault = Arc::clone(&gateway.vault);
    tokio::task::spawn_blocking(move || vault.remove(&name))
        .await
        .map_err(|error| Problem::internal("the vault", &error))?
        .map_err(|error| Problem::internal("the vault", &error))?;
    tracing::info!(id = %due.id, kind = ?due.kind, "past its time: destroyed");
    due.destroyed = true;
    Ok(due)
}

/// A hold that is placed at this moment must not be missed: the write wants it to be as it was read.
fn unheld(puts: &mut Vec<Put>, deletes: &mut Vec<Delete>, subject: &SubjectId, hold: Option<&Row<HoldRecord>>) {
    let key = HoldRecord::key(subject);
    match hold {
        Some(row) => puts.push(put(Space::Index, &key, &row.value, row.unchanged())),
        None => deletes.push(Delete { space: Space::Index, key, expect: Expect::Absent }),
    }
}

/// Whether a record says that this sealed file is to be destroyed because its time is over.
fn is_retired(gateway: &Gateway, name: &BlobName) -> Result<bool, Problem> {
    let parts: Vec<&str> = name.as_str().split('.').collect();
    match parts[..] {
        [bundle] => {
            let row = gateway.row::<BundleRecord>(Space::Bundle, bundle.as_bytes())?;
            Ok(row.is_some_and(|row| row.value.expired.is_some()))
        }
        [from, bundle, _] => {
            let row = gateway.row::<InboxRecord>(Space::Inbox, format!("{from}/{bundle}").as_bytes())?;
            Ok(row.is_some_and(|row| row.value.expired.is_some() && names(&row.value) == *name))
        }
        _ => Ok(false),
    }
}

fn names(record: &InboxRecord) -> BlobName {
    BlobName::theirs(&record.from, &record.bundle, &record.sealed_sha256)
}

/// The basis of an erasure that the schedule asks for.
const SCHEDULE: &str = "the retention schedule: everything on file is past its time";
