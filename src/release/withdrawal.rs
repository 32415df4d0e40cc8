//! What a withdrawn consent means for bundles that wait and for bundles that were delivered.
//!
//! Rule: the same two gates answer as for a release; nothing here has an opinion of its own about consent.

use super::question::question_of;
use crate::audit::log::Change;
use crate::clock::Timestamp;
use crate::decision;
use crate::gateway::{Gateway, Row, put};
use crate::id::ConsentId;
use crate::problem::Problem;
use crate::queue;
use crate::reason::Reason;
use crate::records::BundleRecord;
use crate::store::{Settle, Space};

/// Why the bundle would be denied if this consent were withdrawn; `None` when it would still be permitted.
pub fn would_be_denied(
    gateway: &Gateway,
    record: &BundleRecord,
    without: Option<&ConsentId>,
) -> Result<Option<Reason>, Problem> {
    let question = match question_of(gateway, record, without) {
        Ok(question) => question,
        // Whoever is no partner any more gets nothing; that must not keep a withdrawal from being recorded.
        Err(problem) if problem.code == Reason::PartnerUnknown => return Ok(Some(Reason::PartnerUnknown)),
        Err(problem) => return Err(problem),
    };
    let denied = decision::decide(&gateway.gates(), &question, gateway.now()).err().map(|denied| denied.reason);
    // What passes by itself, or when a second person says yes, says nothing about the consent.
    Ok(denied.filter(|reason| !queue::passes_by_itself(*reason) && *reason != Reason::ApprovalNeeded))
}

/// Whether a delivered bundle has lost the consent that it was released under, and no other consent permits it now;
/// `without` asks as if that consent were withdrawn.
pub fn lost_its_consent(
    gateway: &Gateway,
    record: &BundleRecord,
    without: Option<&ConsentId>,
) -> Result<bool, Problem> {
    let Some(consent) = record.delivering_attempt().and_then(|attempt| attempt.consent.as_ref()) else {
        return Ok(false);
    };
    let kept = gateway.consent(consent)?;
    let withdrawn = without == Some(consent) || kept.is_none_or(|row| row.value.withdrawn.is_some());
    if !withdrawn {
        return Ok(false);
    }
    match question_of(gateway, record, without) {
        Ok(question) => Ok(decision::patient_forbids(&question, gateway.now())),
        Err(problem) if problem.code == Reason::PartnerUnknown => Ok(true),
        Err(problem) => Err(problem),
    }
}

/// Adds to a change that a waiting bundle is cancelled, with its job.
pub fn cancel(change: &mut Change, row: Row<BundleRecord>, reason: Reason, now: Timestamp) {
    let expect = row.unchanged();
    let (kind, key) = queue::job_of(&row.value);
    // A closed case and a withdrawn consent both end as cancelled, whatever else would deny it too.
    let reason = if reason == Reason::CaseClosed { reason } else { Reason::ConsentWithdrawn };
    let record = row.value.denied(reason, now);
    change.puts.push(put(Space::Bundle, &row.key, &record, expect));
    change.settle.push(Settle::Cancel { kind, key });
}
