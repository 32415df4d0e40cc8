//! The queue's rules: whose job it is, when it is tried again, when it is given up.

use crate::clock::{self, Timestamp};
use crate::gateway::Gateway;
use crate::id::{InstitutionId, random_bytes};
use crate::reason::Reason;
use crate::records::{BundleRecord, State};
use crate::store::{Job, Space, StoreError};

/// The job of a bundle: its kind names the partner, its key the bundle.
pub fn job_of(record: &BundleRecord) -> (String, Vec<u8>) {
    (kind_of(&record.partner), record.bundle.as_str().as_bytes().to_vec())
}

/// The job that makes a bundle's first attempt due now.
pub fn first_job(record: &BundleRecord, now: Timestamp) -> Job {
    let (kind, key) = job_of(record);
    Job { kind, key, due: now, priority: if record.urgent { 9 } else { 5 } }
}

/// Whether a denial for this reason may pass without anyone touching the bundle.
pub const fn passes_by_itself(reason: Reason) -> bool {
    matches!(reason, Reason::PartnerSuspended | Reason::PartnerNotYet | Reason::ConsentNotYet)
}

/// When a bundle that was denied for now is decided again. While a partner is suspended its worker rests, so that the
/// bundle is due at once when it is resumed.
pub fn later(gateway: &Gateway, reason: Reason, now: Timestamp) -> Timestamp {
    match reason {
        Reason::PartnerSuspended => now,
        _ => now + jiff::SignedDuration::from_secs(i64::from(gateway.config.retry.delay_s_max)),
    }
}

/// When a bundle that waits for a second person is given up: at the end of its emergency, if it has one.
pub fn given_up_at(gateway: &Gateway, record: &BundleRecord, now: Timestamp) -> Timestamp {
    let created = clock::read_stamp(&record.created).unwrap_or(now);
    let given_up = created + jiff::SignedDuration::from_secs(i64::from(gateway.config.retry.age_s_max));
    let emergency = record.emergency.as_ref().and_then(|emergency| clock::read_stamp(&emergency.until));
    emergency.map_or(given_up, |over| given_up.min(over))
}

/// When the next attempt is due after `attempts` of them.
pub fn next_try(gateway: &Gateway, attempts: u32, now: Timestamp) -> Timestamp {
    let retry = &gateway.config.retry;
    let [jitter] = random_bytes::<1>();
    now + jiff::SignedDuration::from_millis(delay_ms(attempts, retry.delay_s_first, retry.delay_s_max, jitter))
}

/// Makes due what waits for longer than anything does, and says whether there was any: it was put off while our clock was
/// ahead, and the clock was set back since. What waits for a person has an end of its own, and keeps it.
pub fn bring_forward(gateway: &Gateway, kind: &str, now: Timestamp) -> Result<bool, StoreError> {
    let longest = now + jiff::SignedDuration::from_secs(i64::from(gateway.config.retry.delay_s_max));
    let store = gateway.store();
    if store.next_due(kind)?.is_none_or(|due| due <= longest) {
        return Ok(false);
    }
    let mut any = false;
    for job in store.jobs(usize::MAX)?.into_iter().filter(|job| job.kind == kind && job.due > longest) {
        let record = gateway.row::<BundleRecord>(Space::Bundle, &job.key);
        let waits_for_us = record.is_ok_and(|row| row.is_some_and(|row| row.value.state() != State::Approval));
        if waits_for_us && store.hasten(kind, &job.key, now)? {
            tracing::warn!(kind, due = %job.due, "a job was put off while the clock was ahead: it is due now");
            any = true;
        }
    }
    Ok(any)
}

/// Whether the limits on attempts or age are reached.
pub fn is_over(gateway: &Gateway, record: &BundleRecord, now: Timestamp) -> bool {
    let retry = &gateway.config.retry;
    let begun = record.taken_up.as_ref().unwrap_or(&record.created);
    let age = now.duration_since(clock::read_stamp(begun).unwrap_or(now)).as_secs();
    let too_many = record.attempts.len() >= retry.attempts_max as usize;
    // What was taken up again had its attempts already: it is only asked after.
    too_many && record.taken_up.is_none() || age >= i64::from(retry.age_s_max)
}

/// The job of a bundle's recall.
pub fn recall_job_of(record: &BundleRecord) -> (String, Vec<u8>) {
    (recall_kind_of(&record.partner), record.bundle.as_str().as_bytes().to_vec())
}

/// The kind of the recalls for one partner.
pub fn recall_kind_of(partner: &InstitutionId) -> String {
    format!("recall/{partner}")
}

/// The kind of the jobs of one partner, so that each has a worker of its own.
pub fn kind_of(partner: &InstitutionId) -> String {
    format!("deliver/{partner}")
}

/// The wait before attempt `attempts + 1`, in milliseconds: it doubles from `first_s`, at most `max_s`, times a jitter
/// of one half to one, so that bundles do not all come back at once after an outage.
fn delay_ms(attempts: u32, first_s: u32, max_s: u32, jitter: u8) -> i64 {
    let doubled = i64::from(first_s).saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let capped = doubled.min(i64::from(max_s)) * 1000;
    capped / 2 + capped / 2 * i64::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_is_never_below_half() {
        assert_eq!(delay_ms(1, 5, 900, 255), 5000);
        assert_eq!(delay_ms(1, 5, 900, 0), 2500);
        assert_eq!(delay_ms(3, 5, 900, 255), 20_000);
        assert_eq!(delay_ms(60, 5, 900, 255), 900_000);
        assert_eq!(delay_ms(0, 5, 900, 255), 5000);
    }
}
