//! A second person's word on a release that waits for it: yes, or no with a reason.
//!
//! Rule: a yes changes nothing by itself. It is recorded, and the release is decided anew with it; whoever sent the
//! bundle, and whoever is nobody in particular, has no word here.

use std::collections::BTreeSet;

use serde::Serialize;

use super::bundles::{BundleView, found, show};
use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::decision::Approval;
use crate::gateway::{Gateway, Row, put};
use crate::id::BundleId;
use crate::problem::Problem;
use crate::queue;
use crate::reason::Reason;
use crate::records::{BundleRecord, State};
use crate::release;
use crate::store::{Settle, Space};

/// How a bundle stands with the people who must confirm it.
#[derive(Debug, Serialize)]
pub struct ApprovalView {
    /// Who sent it.
    pub sent_by: String,
    /// Who confirmed it, and until when that counts.
    pub given: Vec<Given>,
    /// Of whom one can still confirm it; empty unless the bundle waits for that.
    pub waits_for: Vec<String>,
}

/// One person's yes.
#[derive(Debug, Serialize)]
pub struct Given {
    /// Who.
    pub by: String,
    /// When.
    pub at: String,
    /// The first instant at which it counts no more.
    pub until: String,
}

/// Who confirmed a bundle, and who is waited for; `None` where nobody was ever asked.
pub fn of(gateway: &Gateway, record: &BundleRecord) -> Result<Option<ApprovalView>, Problem> {
    let waits = record.state() == State::Approval;
    if !waits && record.approvals.is_empty() {
        return Ok(None);
    }
    let given = record.approvals.iter().map(|approval| Given {
        by: gateway.people.name(approval.by),
        at: approval.at.clone(),
        until: approval.until.clone(),
    });
    let mut waits_for = Vec::new();
    if waits {
        let confirmed = release::question_of(gateway, record, None)?.confirmed(gateway.now()).by;
        let may = gateway.people.uids().filter(|uid| why_not(gateway, record, &confirmed, *uid).is_none());
        waits_for = may.map(|uid| gateway.people.name(uid)).collect();
    }
    Ok(Some(ApprovalView { sent_by: gateway.people.name(record.sent_by), given: given.collect(), waits_for }))
}

/// Records that somebody other than the sender confirms the release; with enough of them it is decided again at once.
pub async fn approve(gateway: &Gateway, staff: Staff, bundle: &BundleId) -> Result<BundleView, Problem> {
    let row = waiting(gateway, staff, bundle)?;
    let record = &row.value;
    let sealed = record.sealed.as_ref().expect("only sealed bundles wait for approval");
    let question = release::question_of(gateway, record, None)?;
    let now = gateway.now();
    let life = jiff::SignedDuration::from_secs(i64::from(gateway.config.staff.approval_s_max));
    let approval = Approval {
        by: staff.uid,
        at: clock::stamp(now),
        until: clock::stamp(now + life),
        sealed_sha256: sealed.sealed_sha256,
        manifest_sha256: sealed.manifest_sha256,
        card: question.partner.card,
        consents: question.consents_digest(),
    };
    let event = Happened::approved(record, &approval).by(staff.uid);
    let approved = record.clone().approved(approval);
    // While it still lacks somebody, there is nothing to decide on anew.
    let still_waits = release::decide(gateway, &approved)?.is_err_and(|denied| denied.reason == Reason::ApprovalNeeded);
    let mut change = Change::default();
    let next = if still_waits {
        approved
    } else {
        let (kind, key) = queue::job_of(&approved);
        change.settle.push(Settle::Due { kind, key, due: now });
        approved.due(now)
    };
    change.puts.push(put(Space::Bundle, &row.key, &next, row.unchanged()));
    gateway.enter(event, change).await?;
    show(gateway, bundle)
}

/// Records that a second person says no: the bundle is refused.
pub async fn reject(gateway: &Gateway, staff: Staff, bundle: &BundleId, reason: &str) -> Result<BundleView, Problem> {
    let reason = free_text("reason", reason, &gateway.config.limits)?;
    let row = waiting(gateway, staff, bundle)?;
    let (kind, key) = queue::job_of(&row.value);
    let record = row.value.clone().denied(Reason::ApprovalRejected, gateway.now());
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![Settle::Cancel { kind, key }],
        ..Change::default()
    };
    gateway.enter(Happened::approval_rejected(&record, &reason).by(staff.uid), change).await?;
    show(gateway, bundle)
}

/// A bundle that waits for this person's word.
fn waiting(gateway: &Gateway, staff: Staff, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    let row = found(gateway, bundle)?;
    let state = row.value.state();
    if state != State::Approval {
        return Err(Problem::conflict(format!("{bundle} is {}; it waits for nobody's approval", state.word())));
    }
    let confirmed = release::question_of(gateway, &row.value, None)?.confirmed(gateway.now()).by;
    match why_not(gateway, &row.value, &confirmed, staff.uid) {
        None => Ok(row),
        Some(why) => Err(Problem::refused(Reason::Approver, why).about(bundle)),
    }
}

/// Why this person has no word on this bundle; `None` when the person has.
fn why_not(gateway: &Gateway, record: &BundleRecord, confirmed: &BTreeSet<u32>, uid: u32) -> Option<String> {
    let name = gateway.people.name(uid);
    if !gateway.people.has(uid) {
        return Some(format!(
            "{name} is not one of the people under [staff] in medseal.toml: nobody knows whose word it is"
        ));
    }
    if uid == record.sent_by {
        return Some(format!("{name} sent it; the second person must be another one"));
    }
    confirmed.contains(&uid).then(|| format!("{name} has approved it already; somebody else must, too"))
}
