//! One release, step by step: the story that lib.rs tells, with everything that may go wrong on the way.
//!
//! A worker of [`crate::outbox`] holds the bundle's job while [`attempt`] runs; no other attempt of the bundle runs
//! meanwhile. Every end of an attempt is one write of three things: the bundle's record, an entry in the log that says
//! why, and the job.
//!
//! | an attempt ends as | the job | the bundle is then |
//! |---|---|---|
//! | delivered (`ended::settle`) | done | delivered; recalled at once if its consent was withdrawn meanwhile |
//! | denied (`ended::record_denial`) | done, or due again where the reason passes by itself | refused, cancelled, waiting, or waiting for a second person |
//! | not arrived, or nobody knows (`ended::retry`) | due again, or done at the limits | waiting, or failed |
//! | impossible (`ended::give_up`) | done | failed |
//! | an error of our own ([`Problem`]) | as it was: it is taken up again | as the last write left it |
//!
//! A bundle that fails keeps its open attempts: whether they arrived stays unknown, and the log says so. Should its consent
//! be withdrawn later, it is taken up again until that is known.
//!
//! Rule: each step consumes what only the step before can make. The age header, without which the rest is noise, is
//! handed over last, under a permit that is fresh at that moment. After a crash between any two steps the next attempt
//! begins by asking the partner what became of this one, if it was recorded that it might leave.

mod conversation;
mod ended;
mod evidence;
mod question;
mod recorded;
mod withdrawal;

use std::fs::File;
use std::sync::Arc;

use self::conversation::{Became, Conversation, Sent, local};
pub use self::ended::Ended;
use self::ended::{drop_job, give_up, is_last_word, record_denial, retry, settle};
use self::evidence::dispatch_of;
pub use self::evidence::{dispatches_of, place_of, receipt_of};
pub use self::question::{consent_on_file, question_of, question_of_new};
use self::recorded::{Decided, Released, record_release, reread, reread_header_stayed};
pub use self::withdrawal::{cancel, lost_its_consent, would_be_denied};
use crate::decision::{self, Denied, Permit};
use crate::deliver::DeliverError;
use crate::gateway::{Gateway, Row};
use crate::id::BundleId;
use crate::partner::Partner;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::AttemptOutcome::{NotDelivered, Unknown};
use crate::records::BundleRecord;
use crate::statement::dispatch::SealedBundle;
use crate::store::LeaseToken;
use crate::vault::BlobName;

/// Makes one attempt at releasing a bundle, and settles its job with whatever came of it.
pub async fn attempt(gateway: &Arc<Gateway>, bundle: &BundleId, job: LeaseToken) -> Result<Ended, Problem> {
    let row = reread(gateway, bundle)?;
    if row.value.state().is_final() {
        return drop_job(gateway, &row.value, job).await;
    }
    let Ok(partner) = gateway.partner(&row.value.partner) else {
        return give_up(gateway, row, job, Reason::PartnerUnknown).await;
    };
    let mut talk = Conversation::with(gateway, partner);

    // An earlier attempt may have arrived: the same bundle is delivered once. A partner whose receipt does not count
    // gets the bundle again, which to it is the same bundle.
    if row.value.open_attempts().next().is_some() {
        match talk.ask_what_became_of(&row.value).await {
            Ok(Became::Delivered(receipt, number)) => return settle(gateway, row, *receipt, number, job).await,
            Ok(Became::NotThere | Became::Unclear) => {}
            Err(error) => return retry(gateway, row, job, error.reason(), Unknown).await,
        }
    }

    // Decide. Whatever changes while it is being decided makes the permit stale.
    let decided = Decided::now(gateway);
    let permit = match decide(gateway, &row.value)? {
        Ok(permit) => permit,
        Err(denied) => return refuse(gateway, &mut talk, row, job, &denied).await,
    };
    tracing::debug!(%bundle, "permitted");

    let sealed = match sealed_to_valid_key(gateway, &row.value, talk.partner()) {
        Ok(sealed) => sealed,
        Err(reason) => return give_up(gateway, row, job, reason).await,
    };
    let file = match gateway.vault.read(&BlobName::ours(bundle)) {
        Ok(file) => Arc::new(file),
        // Of the attempts before it is known no more than before.
        Err(error) => return retry(gateway, row, job, local(&error).reason(), Unknown).await,
    };

    // Record the decision: only then may a byte leave.
    let released = record_release(gateway, row, sealed, permit, decided).await?;
    tracing::debug!(%bundle, "release recorded");

    // Deliver everything but the age header: noise to whoever holds it. A no stops it where it is.
    let denied_now = || Ok(decide(gateway, &released.row.value)?.err());
    match talk.send_while_permitted(decided.epoch(), &released.release, &file, denied_now).await? {
        Sent::Whole => tracing::debug!(%bundle, "body sent"),
        Sent::Broken(error) => return retry(gateway, released.row, job, error.reason(), NotDelivered).await,
        Sent::Denied(denied) => {
            talk.hang_up();
            return refuse(gateway, &mut talk, reread_header_stayed(gateway, bundle)?, job, &denied).await;
        }
    }

    // The header wants a permit that is fresh now: whatever was withdrawn meanwhile stops it here.
    let released = match freshly_permitted(gateway, released).await? {
        Ok(released) => released,
        Err((row, denied)) => return refuse(gateway, &mut talk, row, job, &denied).await,
    };
    hand_over(gateway, &mut talk, released, &file, job).await
}

/// The release, or another one in its place where its permit grew stale: decided and recorded anew.
async fn freshly_permitted(
    gateway: &Gateway,
    released: Released,
) -> Result<Result<Released, (Row<BundleRecord>, Denied)>, Problem> {
    if released.decided.holds(gateway) && released.release.event().permit().is_fresh(gateway.now()) {
        return Ok(Ok(released));
    }
    let decided = Decided::now(gateway);
    let row = reread_header_stayed(gateway, &released.row.value.bundle)?;
    let sealed = released.release.into_event().sealed().clone();
    match decide(gateway, &row.value)? {
        Ok(permit) => Ok(Ok(record_release(gateway, row, sealed, permit, decided).await?)),
        Err(denied) => Ok(Err((row, denied))),
    }
}

/// Hands over the header, verifies the receipt and records it. From the moment the header leaves, the partner can read
/// the bundle: a withdrawal that comes later calls it back.
async fn hand_over(
    gateway: &Gateway,
    talk: &mut Conversation<'_>,
    Released { release, row, number, decided }: Released,
    file: &Arc<File>,
    job: LeaseToken,
) -> Result<Ended, Problem> {
    let bundle = row.value.bundle.clone();
    let dispatch = dispatch_of(gateway, &row.value, number, release.place()).sign(gateway.keys.signer());
    let digest = dispatch.digest();
    tracing::debug!(%bundle, %digest, "handing over");
    let line = talk.line().await;
    let answer = match line {
        // Asked once more with nothing left in between: whatever is recorded by now stops the header.
        Ok(line) => {
            let unchanged = || decided.holds(gateway);
            line.hand_over(release, &dispatch, file, &gateway.clock, unchanged).await
        }
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::info!(%bundle, partner = %row.value.partner, %error, "not delivered yet");
            let outcome = if error.outcome_is_unknown() { Unknown } else { NotDelivered };
            // What made the permit stale may have written this row.
            let row = if matches!(error, DeliverError::Stale) { reread(gateway, &bundle)? } else { row };
            return retry(gateway, row, job, error.reason(), outcome).await;
        }
    };
    match talk.verified(answer, &digest, &row.value) {
        Ok(receipt) => {
            tracing::debug!(%bundle, %digest, "receipt verified");
            settle(gateway, row, receipt, number, job).await
        }
        Err(error) => {
            tracing::warn!(%bundle, %error, "the partner's receipt was not accepted");
            retry(gateway, row, job, Reason::BadReceipt, Unknown).await
        }
    }
}

/// Decides on the bundle as everything stands now. The outer error is one of ours; the inner one is the answer no.
pub fn decide(gateway: &Gateway, record: &BundleRecord) -> Result<Result<Permit, Denied>, Problem> {
    let question = question_of(gateway, record, None)?;
    Ok(decision::decide(&gateway.gates(), &question, gateway.now()))
}

/// The answer is no. A bundle is not called refused or cancelled while an earlier attempt may still arrive: it is made
/// sure first that none does, or the receipt is found and it was delivered.
async fn refuse(
    gateway: &Gateway,
    talk: &mut Conversation<'_>,
    row: Row<BundleRecord>,
    job: LeaseToken,
    denied: &Denied,
) -> Result<Ended, Problem> {
    let has_left = row.value.attempts.iter().any(crate::records::Attempt::was_permitted);
    let in_doubt = row.value.open_attempts().next().is_some();
    // A person may end what waits for a person's word, at a time when nobody asks the partner any more.
    let must_be_sure = is_last_word(denied.reason) || in_doubt && denied.reason == Reason::ApprovalNeeded;
    let sealed = match &row.value.sealed {
        Some(sealed) if has_left && must_be_sure => sealed.clone(),
        // Nothing lies at the partner, or it will be wanted there once the reason has passed.
        _ => return record_denial(gateway, row, job, denied).await,
    };
    if !in_doubt {
        // Only noise lies there: telling the partner to drop it may wait, and may fail.
        let ended = record_denial(gateway, row, job, denied).await?;
        talk.abandon(&sealed).await;
        return Ok(ended);
    }
    match talk.make_sure(&row.value, &sealed).await {
        Ok(Became::NotThere) => {
            let value = row.value.clone().none_arrived();
            record_denial(gateway, Row { value, ..row }, job, denied).await
        }
        Ok(Became::Delivered(receipt, number)) => settle(gateway, row, *receipt, number, job).await,
        Ok(Became::Unclear) => retry(gateway, row, job, Reason::BadReceipt, Unknown).await,
        Err(error) => retry(gateway, row, job, error.reason(), Unknown).await,
    }
}

/// The sealed bundle, if one of the keys that it is sealed to is still on the partner's card.
fn sealed_to_valid_key(gateway: &Gateway, record: &BundleRecord, partner: &Partner) -> Result<SealedBundle, Reason> {
    let sealed = record.sealed.clone().ok_or(Reason::Conflict)?;
    let valid = partner.recipients_at(gateway.now());
    if sealed.recipients.iter().any(|recipient| valid.contains(recipient)) {
        Ok(sealed)
    } else {
        Err(Reason::RecipientKey)
    }
}
