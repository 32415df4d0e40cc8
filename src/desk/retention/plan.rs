//! What is past its time, and what forbids that it goes.
//!
//! Rule: it only looks. What cannot be read keeps what it belongs to.

use super::{Due, Kept, Thing};
use crate::clock::{self, Timestamp};
use crate::config::Retention;
use crate::desk::on_file::{OnFile, after};
use crate::gateway::{Gateway, Row};
use crate::id::SubjectId;
use crate::problem::Problem;
use crate::records::{BundleRecord, ConsentRecord, HoldRecord, InboxRecord, Side};
use crate::statement::Kind;

/// A thing that is past its time, with what its destruction needs.
pub(super) struct Planned {
    pub(super) due: Due,
    pub(super) hold: Option<Row<HoldRecord>>,
    pub(super) record: Record,
}

/// What is on file of it.
pub(super) enum Record {
    Ours(Box<Row<BundleRecord>>),
    Theirs(Box<Row<InboxRecord>>),
    Person(OnFile),
}

/// Everything that is past its time, in the order of the patients.
pub(super) fn plan(gateway: &Gateway, persons: bool) -> Result<Vec<Planned>, Problem> {
    let (now, schedule) = (gateway.now(), &gateway.config.retention);
    let mut planned = Vec::new();
    for (subject, on_file) in OnFile::of_everybody(gateway)? {
        let hold = gateway.hold_of(&subject)?;
        let held = hold.as_ref().is_some_and(|hold| hold.value.forbids(now));
        let mut add = |mut due: Due, record| {
            if held {
                due.kept_by.insert(0, Kept::Hold);
            }
            planned.push(Planned { due, hold: hold.clone(), record });
        };
        let person = if persons { person_due(gateway, &subject, &on_file, now)? } else { None };
        match person {
            Some(due) if due.kept_by.is_empty() => {
                add(due, Record::Person(on_file));
                continue;
            }
            Some(due) => add(due, Record::Person(OnFile::default())),
            None => {}
        }
        let case_open = |row: &InboxRecord| {
            on_file
                .cases
                .iter()
                .any(|case| case.value.case == row.case && case.value.side == Side::Ours && case.value.closed.is_none())
        };
        for row in &on_file.inbox {
            if let Some(due) = inbox_due(schedule, &subject, &row.value, case_open(&row.value), now) {
                add(due, Record::Theirs(Box::new(row.clone())));
            }
        }
        for row in &on_file.bundles {
            let (kind, rule, days) = match row.value.kind {
                Kind::Opinion => (Thing::Opinion, "opinions_days", schedule.opinions_days),
                Kind::Records => (Thing::Sealed, "sealed_days", schedule.sealed_days),
            };
            let until = after(ended(&row.value), days, now);
            let Some(sealed) = row.value.sealed.as_ref().filter(|_| row.value.expired.is_none() && until <= now) else {
                continue;
            };
            let mut kept_by = Vec::new();
            kept_by.extend(unsettled(&row.value));
            if row.value.recall_is_on_its_way() {
                kept_by.push(Kept::RecallWaits);
            }
            let id = row.value.bundle.to_string();
            let due = Due::new(kind, id, &subject, (until, rule), sealed.sealed_bytes, kept_by);
            add(due, Record::Ours(Box::new(row.clone())));
        }
    }
    Ok(planned)
}

/// A bundle that came in, if its time is over. What its sender says goes before our own schedule, and before all but a
/// hold.
fn inbox_due(days: &Retention, subject: &SubjectId, row: &InboxRecord, open: bool, now: Timestamp) -> Option<Due> {
    let recalled = row.recall.as_ref();
    if row.expired.is_some() || recalled.is_some_and(|taken| taken.destroyed.is_some()) {
        return None;
    }
    let (kind, rule, days) = match row.kind {
        Kind::Opinion => (Thing::Opinion, "opinions_days", days.opinions_days),
        Kind::Records => (Thing::Inbox, "inbox_days", days.inbox_days),
    };
    let scheduled = (after(&row.received, days, now), rule);
    // A date that cannot be read is no reason to destroy anything. Nor is one on an opinion: the date is the patient's word
    // about records that were lent, and whoever wrote an opinion does not say how long its reader keeps it.
    let asked = row.erase_at.as_deref().filter(|_| row.kind == Kind::Records).and_then(clock::read_stamp);
    let asked = asked.map(|at| (at, ERASE_AT));
    let (until, rule) = asked.into_iter().chain([scheduled]).min_by_key(|(at, _)| *at).filter(|(at, _)| *at <= now)?;
    let mut kept_by = Vec::new();
    if recalled.is_some() {
        kept_by.push(Kept::RecallWaits);
    }
    if rule != ERASE_AT && open {
        kept_by.push(Kept::CaseOpen);
    }
    if rule != ERASE_AT && row.opened.is_none() {
        kept_by.push(Kept::Unopened);
    }
    let due = Due::new(kind, row.bundle.to_string(), subject, (until, rule), row.sealed_bytes, kept_by);
    Some(Due { from: Some(row.from.clone()), ..due })
}

/// A patient of whom everything is past its time.
fn person_due(
    gateway: &Gateway,
    subject: &SubjectId,
    on_file: &OnFile,
    now: Timestamp,
) -> Result<Option<Due>, Problem> {
    let Some((_, until)) = on_file.kept_until(gateway).filter(|(_, until)| *until <= now) else { return Ok(None) };
    let mut kept_by = Vec::new();
    for row in &on_file.bundles {
        kept_by.extend(unsettled(&row.value).filter(|why| !kept_by.contains(why)));
    }
    let waits = |row: &Row<InboxRecord>| row.value.recall.as_ref().is_some_and(|taken| taken.destroyed.is_none());
    if on_file.bundles.iter().any(|row| row.value.recall_is_on_its_way()) || on_file.inbox.iter().any(waits) {
        kept_by.push(Kept::RecallWaits);
    }
    if on_file.cases.iter().any(|row| row.value.side == Side::Ours && row.value.closed.is_none()) {
        kept_by.push(Kept::CaseOpen);
    }
    let unread = |row: &Row<InboxRecord>| {
        row.value.opened.is_none() && row.value.recall.is_none() && row.value.expired.is_none()
    };
    if on_file.inbox.iter().any(unread) {
        kept_by.push(Kept::Unopened);
    }
    for row in on_file.consents.iter().filter(|row| row.value.withdrawn.is_none()) {
        if stands(gateway, &row.value, now)? {
            kept_by.push(Kept::ConsentStands);
            break;
        }
    }
    let sent = on_file.bundles.iter().filter(|row| row.value.expired.is_none());
    let sent = sent.filter_map(|row| row.value.sealed.as_ref()).map(|sealed| sealed.sealed_bytes);
    let came = on_file.inbox.iter().filter(|row| row.value.expired.is_none()).map(|row| row.value.sealed_bytes);
    let due =
        Due::new(Thing::Person, subject.to_string(), subject, (until, "log_days"), sent.chain(came).sum(), kept_by);
    Ok(Some(due))
}

/// Why a bundle cannot go yet: it is on its way, or may have to be asked after.
fn unsettled(record: &BundleRecord) -> Option<Kept> {
    match (record.state().is_final(), record.open_attempts().next()) {
        (false, _) => Some(Kept::OnItsWay),
        (true, Some(_)) => Some(Kept::InDoubt),
        (true, None) => None,
    }
}

/// Whether a consent that nobody withdrew may still count. One that cannot be read keeps its patient.
fn stands(gateway: &Gateway, record: &ConsentRecord, now: Timestamp) -> Result<bool, Problem> {
    let zone = gateway.config.zone();
    let private = gateway.consent_private(record)?;
    let read = private.and_then(|private| gateway.read_consent(private.resource.as_bytes()).ok());
    Ok(read.is_none_or(|consent| consent.may_hold(now, &zone)))
}

/// When a bundle came to where it stands, as far as it is known.
fn ended(record: &BundleRecord) -> &str {
    record.attempts.last().map_or(&record.created, |attempt| &attempt.at)
}

/// The rule of a date that the sender set.
const ERASE_AT: &str = "erase_at";

#[cfg(test)]
mod tests;
