//! One release, step by step: what lib.rs tells, this file does.
//!
//! ```text
//! bundle -> decide (consent AND policy, now) -> record the decision -> deliver over mutual TLS
//!        -> verify the receipt -> record the receipt
//! ```
//!
//! Rule: each step consumes what only the step before can make. The age header, without which the rest is noise, is
//! handed over last, under a permit that is fresh at that moment.
//!
//! Beside it: [`question`] gathers what is asked, [`conversation`] speaks with the partner, [`ended`] records how it
//! came out, [`evidence`] makes dispatches of the log, [`withdrawal`] says what a withdrawn consent stops.

mod conversation;
mod ended;
mod evidence;
mod question;
mod withdrawal;

use std::sync::Arc;

use self::conversation::{Became, Conversation, Sent, local};
pub use self::ended::Ended;
use self::ended::{deny, is_last_word, settle, stop, wait, wait_for};
use self::evidence::{dispatch_of, release_stamp, why_of};
pub use self::evidence::{dispatches_of, place_of, receipt_of};
pub use self::question::{consent_on_file, question_of, question_of_new};
pub use self::withdrawal::{cancel, lost_its_consent, would_be_denied};
use crate::audit::happened::Happened;
use crate::audit::log::{Change, Recorded};
use crate::decision::{self, Denied, Permit};
use crate::gateway::{Gateway, Row, put};
use crate::id::BundleId;
use crate::partner::Partner;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::BundleRecord;
use crate::statement::dispatch::{Release, SealedBundle};
use crate::store::{LeaseToken, Settle, Space};
use crate::vault::BlobName;

/// Makes one attempt at releasing a bundle, and settles its job with whatever came of it. A crash between any two steps
/// leaves the job as it was, and the next attempt begins by asking the partner what became of this one.
pub async fn attempt(gateway: &Arc<Gateway>, bundle: &BundleId, job: LeaseToken) -> Result<Ended, Problem> {
    let row = bundle_row(gateway, bundle)?;
    if row.value.state().is_final() {
        return clear_away(gateway, &row.value, job).await;
    }
    let Ok(partner) = gateway.partner(&row.value.partner) else {
        return stop(gateway, row, job, Reason::PartnerUnknown).await;
    };
    let mut talk = Conversation::with(gateway, partner);

    // An earlier attempt may have arrived: the same bundle is delivered once.
    if row.value.open_attempts().next().is_some() {
        match talk.ask_what_became_of(&row.value).await {
            Ok(Became::Delivered(receipt, number)) => return settle(gateway, row, *receipt, number, job).await,
            Ok(Became::NotThere | Became::Unclear) => {}
            Err(error) => return wait(gateway, row, job, &error, "unknown").await,
        }
    }

    let sealed = match sealed_for(gateway, &row.value, talk.partner()) {
        Ok(sealed) => sealed,
        Err(reason) => return stop(gateway, row, job, reason).await,
    };

    // Decide. The epoch counts every change that a decision could depend on; it is read first, so that whatever changes
    // while it is being decided makes the permit stale.
    let decided_at = gateway.epoch();
    let permit = match decide(gateway, &row.value)? {
        Ok(permit) => permit,
        Err(denied) => return refuse(gateway, &mut talk, row, job, &denied).await,
    };
    tracing::debug!(%bundle, "permitted");

    // Record the decision: only then may a byte leave.
    let (release, row) = let_go(gateway, row, sealed.clone(), permit).await?;
    tracing::debug!(%bundle, "release recorded");

    // Deliver everything but the age header: noise to whoever holds it.
    let file = match gateway.vault.read(&BlobName::ours(bundle)) {
        Ok(file) => Arc::new(file),
        Err(error) => return wait(gateway, row, job, &local(&error), "not delivered").await,
    };
    let still_denied = || Ok(decide(gateway, &row.value)?.err());
    match talk.send_while_permitted(decided_at, &release, &file, still_denied).await? {
        Sent::Whole => tracing::debug!(%bundle, "body sent"),
        Sent::Broken(error) => return wait(gateway, row, job, &error, "not delivered").await,
        Sent::Denied(denied) => {
            talk.hang_up();
            return refuse(gateway, &mut talk, header_stayed(gateway, bundle)?, job, &denied).await;
        }
    }

    // The header wants a permit that is fresh now: whatever was withdrawn meanwhile stops it here.
    let (release, row, decided_at) =
        if gateway.epoch() == decided_at && release.event().permit().is_fresh(gateway.now()) {
            (release, row, decided_at)
        } else {
            let decided_at = gateway.epoch();
            let row = header_stayed(gateway, bundle)?;
            match decide(gateway, &row.value)? {
                Ok(permit) => {
                    let (release, row) = let_go(gateway, row, sealed, permit).await?;
                    (release, row, decided_at)
                }
                Err(denied) => return refuse(gateway, &mut talk, row, job, &denied).await,
            }
        };
    let number = row.value.attempts.len() - 1;
    let signed = dispatch_of(gateway, &row.value, number, release.place()).sign(gateway.keys.signer());
    let digest = signed.digest();

    // Hand over the header: from here on the partner can read the bundle.
    tracing::debug!(%bundle, %digest, "handing over");
    let line = talk.line().await;
    if gateway.epoch() != decided_at {
        // Asked once more with nothing left in between: whatever is recorded by now stops the header.
        return wait_for(gateway, bundle_row(gateway, bundle)?, job, Reason::PermitStale, "not delivered").await;
    }
    let answer = match line {
        Ok(line) => line.hand_over(release, &signed, &file, &gateway.clock).await,
        Err(error) => Err(error),
    };

    // Verify the receipt, and record it.
    match answer.map(|answer| talk.verified(answer, &digest, &row.value)) {
        Ok(Ok(receipt)) => {
            tracing::debug!(%bundle, %digest, "receipt verified");
            settle(gateway, row, receipt, number, job).await
        }
        Ok(Err(error)) => {
            tracing::warn!(%bundle, %error, "the partner's receipt was not accepted");
            wait_for(gateway, row, job, Reason::BadReceipt, "unknown").await
        }
        Err(error) => {
            let outcome = if error.outcome_is_unknown() { "unknown" } else { "not delivered" };
            wait(gateway, row, job, &error, outcome).await
        }
    }
}

/// Decides on the bundle as everything stands now.
pub fn decide(gateway: &Gateway, record: &BundleRecord) -> Result<Result<Permit, Denied>, Problem> {
    let question = question_of(gateway, record, None)?;
    Ok(decision::decide(&gateway.gates(), &question, gateway.now()))
}

/// The answer is no. While an earlier attempt may still arrive, a bundle is not called refused or cancelled: either it is
/// made sure that it does not, or its receipt is found and it was delivered.
async fn refuse(
    gateway: &Gateway,
    talk: &mut Conversation<'_>,
    row: Row<BundleRecord>,
    job: LeaseToken,
    denied: &Denied,
) -> Result<Ended, Problem> {
    let has_left = row.value.attempts.iter().any(|attempt| attempt.decision == "permit");
    let Some(sealed) = row.value.sealed.clone().filter(|_| has_left && is_last_word(denied.reason)) else {
        return deny(gateway, row, job, denied).await;
    };
    if row.value.open_attempts().next().is_none() {
        let ended = deny(gateway, row, job, denied).await?;
        talk.abandon(&sealed).await;
        return Ok(ended);
    }
    match talk.make_sure(&row.value, &sealed).await {
        Ok(Became::NotThere) => deny(gateway, row, job, denied).await,
        Ok(Became::Delivered(receipt, number)) => settle(gateway, row, *receipt, number, job).await,
        Ok(Became::Unclear) => wait_for(gateway, row, job, Reason::BadReceipt, "unknown").await,
        Err(error) => wait(gateway, row, job, &error, "unknown").await,
    }
}

/// Records the release: from here on the log says that the bundle may have left.
async fn let_go(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    sealed: SealedBundle,
    permit: Permit,
) -> Result<(Recorded<Release>, Row<BundleRecord>), Problem> {
    let number = row.value.attempts.len() + 1;
    let release = Release::new(sealed, permit, why_of(&row.value), u32::try_from(number).unwrap_or(u32::MAX))
        .map_err(|error| Problem::internal("a permit", &error))?;
    let record = row.value.clone().sending(gateway.now(), &release);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        stamps: vec![(Space::Stamp, release_stamp(&record.bundle, number - 1))],
        ..Change::default()
    };
    let release = gateway.record(release, change).await?;
    let row = bundle_row(gateway, &record.bundle)?;
    Ok((release, row))
}

/// The bundle as it stands now, with an attempt that ends before its header was handed over. Read again, since a
/// withdrawal writes every bundle of the patient that is on its way.
fn header_stayed(gateway: &Gateway, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    let mut row = bundle_row(gateway, bundle)?;
    row.value = row.value.header_stayed();
    Ok(row)
}

/// Settles the job of a bundle that is at its end. Whoever ended it settled its job with it; should one be left, it goes
/// with an entry of its own.
async fn clear_away(gateway: &Gateway, record: &BundleRecord, job: LeaseToken) -> Result<Ended, Problem> {
    let reason = record.reason.unwrap_or(Reason::Conflict);
    let change = Change { settle: vec![Settle::Done(job)], ..Change::default() };
    gateway.enter(Happened::cancelled(record, reason), change).await?;
    Ok(Ended::Stopped(reason))
}

/// The sealed bundle, if one of the keys that it is sealed to is still on the partner's card.
fn sealed_for(gateway: &Gateway, record: &BundleRecord, partner: &Partner) -> Result<SealedBundle, Reason> {
    let sealed = record.sealed.clone().ok_or(Reason::Conflict)?;
    let valid = partner.recipients_at(gateway.now());
    if sealed.recipients.iter().any(|recipient| valid.contains(recipient)) {
        Ok(sealed)
    } else {
        Err(Reason::RecipientKey)
    }
}

fn bundle_row(gateway: &Gateway, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    gateway
        .row(Space::Bundle, bundle.as_str().as_bytes())?
        .ok_or_else(|| Problem::not_found(format!("there is no bundle {bundle}")))
}
