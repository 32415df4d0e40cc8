//! One release, step by step: what lib.rs tells, this file does.
//!
//! ```text
//! bundle -> decide (consent AND policy, now) -> record the decision -> deliver over mutual TLS
//!        -> verify the receipt -> record the receipt
//! ```
//!
//! Rule: each step consumes what only the step before can make. The age header, without which the rest is noise, is
//! handed over last, under a permit that is fresh at that moment.

mod question;

use std::fs::File;
use std::sync::Arc;

use crate::audit::happened::Happened;
use crate::audit::log::{Change, Place, Recorded};
use crate::clock::Timestamp;
use crate::decision::{self, Denied, Permit};
use crate::deliver::{DeliverError, Line};
use crate::gateway::{Gateway, Row, put};
use crate::id::{BundleId, ConsentId, Digest};
use crate::partner::Partner;
use crate::problem::Problem;
use crate::queue;
use crate::reason::Reason;
use crate::recall;
use crate::records::{BundleRecord, ConsentRecord};
use crate::statement::Signed;
use crate::statement::dispatch::{Dispatch, InOurLog, Release, SealedBundle, Why};
use crate::statement::recall::Cause;
use crate::statement::receipt::{About, Receipt};
use crate::store::{LeaseToken, Settle, Space};
use crate::vault::BlobName;
use crate::wire::ReceiptAnswer;

pub use question::{consent_on_file, question_of, question_of_new};

/// The digest of every dispatch that was made for this bundle.
pub fn dispatches_of(gateway: &Gateway, record: &BundleRecord) -> Result<Vec<Digest>, Problem> {
    let mut digests = Vec::new();
    for number in (0..record.attempts.len()).filter(|number| record.attempts[*number].decision == "permit") {
        if let Some(stamp) = gateway.row::<Place>(Space::Stamp, &release_stamp(&record.bundle, number))? {
            digests.push(dispatch_of(gateway, record, number, &stamp.value).sign(gateway.keys.signer()).digest());
        }
    }
    Ok(digests)
}

/// Where the release of the attempt with this number stands in our log, counted from 0; `None` if it was no release.
pub fn place_of(gateway: &Gateway, record: &BundleRecord, number: usize) -> Result<Option<Place>, Problem> {
    Ok(gateway.row::<Place>(Space::Stamp, &release_stamp(&record.bundle, number))?.map(|row| row.value))
}

/// The partner's receipt, as it came and was verified; `None` while the bundle is not delivered.
pub fn receipt_of(gateway: &Gateway, bundle: &BundleId) -> Result<Option<Signed>, Problem> {
    Ok(gateway.row::<Signed>(Space::Index, &receipt_key(bundle))?.map(|row| row.value))
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended {
    /// The partner has it, and its receipt is recorded.
    Delivered,
    /// It stays here: refused, cancelled or given up.
    Stopped(Reason),
    /// It is tried again.
    Waits(Reason),
}

/// Makes one attempt at releasing a bundle, and settles its job with whatever came of it.
pub async fn attempt(gateway: &Arc<Gateway>, bundle: &BundleId, job: LeaseToken) -> Result<Ended, Problem> {
    let row = bundle_row(gateway, bundle)?;
    if row.value.state().is_final() {
        // Whoever made it final settled its job with it; should one be left, it goes with an entry of its own.
        let reason = row.value.reason.unwrap_or(Reason::Conflict);
        let change = Change { settle: vec![Settle::Done(job)], ..Change::default() };
        gateway.enter(Happened::cancelled(&row.value, reason), change).await?;
        return Ok(Ended::Stopped(reason));
    }
    let Ok(partner) = gateway.partner(&row.value.partner) else {
        return stop(gateway, row, job, Reason::PartnerUnknown).await;
    };
    let mut line = None;
    if row.value.open_attempts().next().is_some() {
        // An earlier attempt may have arrived: asking releases nothing, so it needs no permit.
        match ask_what_became_of_it(gateway, &row.value, &partner, &mut line).await {
            Ok(Some((receipt, number))) => return settle(gateway, row, receipt, number, job).await,
            Ok(None) => {}
            Err(error) => return wait(gateway, row, job, &error, "unknown").await,
        }
    }
    let sealed = match sealed_for(gateway, &row.value, &partner) {
        Ok(sealed) => sealed,
        Err(reason) => return stop(gateway, row, job, reason).await,
    };

    // Decide, and record the decision: only then may a byte leave. The epoch is read first: what changes while it is
    // being decided makes the permit stale.
    let mut decided_at = gateway.epoch();
    let permit = match decide(gateway, &row.value)? {
        Ok(permit) => permit,
        Err(denied) => return deny(gateway, row, job, &denied).await,
    };
    tracing::debug!(%bundle, "permitted");
    let (release, mut row) = let_go(gateway, row, sealed.clone(), permit).await?;
    tracing::debug!(%bundle, "release recorded");

    // Everything but the age header: noise to whoever holds it.
    let file = match gateway.vault.read(&BlobName::ours(bundle)) {
        Ok(file) => Arc::new(file),
        Err(error) => return wait(gateway, row, job, &local(&error), "not delivered").await,
    };
    let sent = send_while_permitted(gateway, &row.value, decided_at, &partner, &mut line, &release, &file).await?;
    match sent {
        Sent::Whole => tracing::debug!(%bundle, "body sent"),
        Sent::Broken(error) => return wait(gateway, row, job, &error, "not delivered").await,
        Sent::Denied(denied) => {
            // What is on its way ends with the line.
            line = None;
            let ended = deny(gateway, bundle_row(gateway, bundle)?, job, &denied).await?;
            if matches!(ended, Ended::Stopped(_)) {
                abandon(gateway, &partner, &mut line, &release).await;
            }
            return Ok(ended);
        }
    }

    // The header, under a permit that is fresh now: whatever was withdrawn meanwhile stops it here.
    let mut release = release;
    if gateway.epoch() != decided_at || !release.event().permit().is_fresh(gateway.now()) {
        decided_at = gateway.epoch();
        // Read again: a withdrawal writes every bundle of the patient that is on its way.
        row = bundle_row(gateway, bundle)?;
        let permit = match decide(gateway, &row.value)? {
            Ok(permit) => permit,
            Err(denied) => {
                let ended = deny(gateway, row, job, &denied).await?;
                if matches!(ended, Ended::Stopped(_)) {
                    abandon(gateway, &partner, &mut line, &release).await;
                }
                return Ok(ended);
            }
        };
        (release, row) = let_go(gateway, row, sealed, permit).await?;
        if gateway.epoch() != decided_at {
            return wait_for(gateway, row, job, Reason::PermitStale, "not delivered").await;
        }
    }
    let place = release.place().clone();
    let number = row.value.attempts.len() - 1;
    let dispatch = dispatch_of(gateway, &row.value, number, &place);
    let signed = dispatch.sign(gateway.keys.signer());
    let digest = signed.digest();
    tracing::debug!(%bundle, %digest, "handing over");
    let opened = open_line(gateway, &partner, &mut line).await;
    if gateway.epoch() != decided_at {
        // Asked once more with nothing left in between: whatever is recorded by now stops the header.
        return wait_for(gateway, bundle_row(gateway, bundle)?, job, Reason::PermitStale, "not delivered").await;
    }
    let answer = match opened {
        Ok(line) => line.hand_over(release, &signed, &file, &gateway.clock).await,
        Err(error) => Err(error),
    };
    let receipt = match answer {
        Ok(answer) => signed_receipt(answer),
        Err(error) => {
            let outcome = if error.outcome_is_unknown() { "unknown" } else { "not delivered" };
            return wait(gateway, row, job, &error, outcome).await;
        }
    };
    let keys = partner.signing_keys_at(gateway.now());
    match Receipt::verify(receipt, &digest, bundle, partner.id(), gateway.id(), &keys, about(&row.value)) {
        Ok(receipt) => {
            tracing::debug!(%bundle, %digest, "receipt verified");
            settle(gateway, row, receipt, number, job).await
        }
        Err(error) => {
            tracing::warn!(%bundle, %error, "the partner's receipt was not accepted");
            wait_for(gateway, row, job, Reason::BadReceipt, "unknown").await
        }
    }
}

/// Decides on the bundle as everything stands now.
pub fn decide(gateway: &Gateway, record: &BundleRecord) -> Result<Result<Permit, Denied>, Problem> {
    let question = question_of(gateway, record, None)?;
    Ok(decision::decide(&gateway.gates(), &question, gateway.now()))
}

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
    let kept = gateway.row::<ConsentRecord>(Space::Consent, consent.as_str().as_bytes())?;
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

/// Records the verified receipt: the only way to delivered. Where the consent was withdrawn after the header had left,
/// the recall is ordered in the same write.
async fn settle(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    receipt: Receipt,
    attempt: usize,
    job: LeaseToken,
) -> Result<Ended, Problem> {
    let record = row.value.clone().delivered(&receipt, attempt);
    let keep = put(Space::Index, &receipt_key(&record.bundle), receipt.signed(), crate::store::Expect::Any);
    let mut change = Change { puts: vec![keep], settle: vec![Settle::Done(job)], ..Change::default() };
    // A withdrawal writes this row too: whichever of the two comes second sees the other.
    let recalled = lost_its_consent(gateway, &record, None)?
        && recall::order(&mut change, record.clone(), row.unchanged(), Cause::ConsentWithdrawn, gateway.now());
    if !recalled {
        change.puts.push(put(Space::Bundle, &row.key, &record, row.unchanged()));
    }
    tracing::debug!(bundle = %record.bundle, recalled, "settling");
    let receipt: Recorded<Receipt> = gateway.record(receipt, change).await?;
    tracing::info!(bundle = %record.bundle, partner = %record.partner, entry = receipt.place().seq, "delivered");
    Ok(Ended::Delivered)
}

/// The answer of the decision is no: the bundle stays, with the reason.
async fn deny(gateway: &Gateway, row: Row<BundleRecord>, job: LeaseToken, denied: &Denied) -> Result<Ended, Problem> {
    let now = gateway.now();
    let reason = denied.reason;
    let event =
        Happened::denied(&row.value.bundle, &row.value.case, &row.value.partner, &row.value.subject, denied, "release");
    if reason == Reason::ApprovalNeeded && queue::is_over(gateway, &row.value, now) {
        return stop(gateway, row, job, Reason::GaveUp).await;
    }
    let (record, settle) = if reason == Reason::ApprovalNeeded {
        let due = queue::given_up_at(gateway, &row.value, now);
        (row.value.clone().awaits_approval(now, due), Settle::Again { token: job, due })
    } else if queue::passes_by_itself(reason) {
        let due = queue::later(gateway, reason, now);
        (row.value.clone().denied_for_now(reason, now, due), Settle::Again { token: job, due })
    } else {
        (row.value.clone().denied(reason, now), Settle::Done(job))
    };
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![settle],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    tracing::info!(bundle = %record.bundle, partner = %record.partner, reason = %reason, "denied");
    Ok(if record.state().is_final() { Ended::Stopped(reason) } else { Ended::Waits(reason) })
}

/// It can never leave as it is: given up, with the reason.
async fn stop(gateway: &Gateway, row: Row<BundleRecord>, job: LeaseToken, reason: Reason) -> Result<Ended, Problem> {
    let record = row.value.clone().failed(reason);
    let attempts = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
    let event = Happened::attempt_failed(&record, attempts, reason, "not delivered", true);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![Settle::Done(job)],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    tracing::warn!(bundle = %record.bundle, partner = %record.partner, reason = %reason, "given up");
    Ok(Ended::Stopped(reason))
}

async fn wait(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    job: LeaseToken,
    error: &DeliverError,
    outcome: &str,
) -> Result<Ended, Problem> {
    tracing::info!(bundle = %row.value.bundle, partner = %row.value.partner, %error, "not delivered yet");
    wait_for(gateway, row, job, error.reason(), outcome).await
}

/// It did not arrive, or nobody knows: recorded, and due again later, or given up at the limits.
async fn wait_for(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    job: LeaseToken,
    reason: Reason,
    outcome: &str,
) -> Result<Ended, Problem> {
    let now = gateway.now();
    let attempts = u32::try_from(row.value.attempts.len()).unwrap_or(u32::MAX);
    if queue::is_over(gateway, &row.value, now) {
        return stop(gateway, row, job, Reason::GaveUp).await;
    }
    let due = queue::next_try(gateway, attempts, now);
    let record = row.value.clone().waits(reason, outcome, due);
    let event = Happened::attempt_failed(&record, attempts, reason, outcome, false);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        settle: vec![Settle::Again { token: job, due }],
        ..Change::default()
    };
    gateway.enter(event, change).await?;
    Ok(Ended::Waits(reason))
}

/// How sending the noise ended.
enum Sent {
    /// The partner has all of it.
    Whole,
    /// The line broke.
    Broken(DeliverError),
    /// The answer became no while it was on its way.
    Denied(Box<Denied>),
}

/// Sends the noise for as long as the answer stays yes: whenever something changes that a decision depends on, it is
/// asked again, and a no stops the bytes where they are.
async fn send_while_permitted(
    gateway: &Gateway,
    record: &BundleRecord,
    mut asked_at: u64,
    partner: &Partner,
    line: &mut Option<Line>,
    release: &Recorded<Release>,
    file: &Arc<File>,
) -> Result<Sent, Problem> {
    let mut changes = gateway.changes();
    let mut sending = std::pin::pin!(send_noise(gateway, partner, line, release, file));
    loop {
        let epoch = gateway.epoch();
        if asked_at != epoch {
            asked_at = epoch;
            if let Err(denied) = decide(gateway, record)? {
                return Ok(Sent::Denied(Box::new(denied)));
            }
        }
        tokio::select! {
            sent = sending.as_mut() => return Ok(sent.map_or_else(Sent::Broken, |()| Sent::Whole)),
            // The gateway that tells of changes outlives this.
            _ = changes.changed() => {}
        }
    }
}

/// Tells the partner to drop the noise of a transfer that will not be. Where that fails, its own limit on resting
/// transfers removes it: without the header nobody can read it.
async fn abandon(gateway: &Gateway, partner: &Partner, line: &mut Option<Line>, release: &Recorded<Release>) {
    let told = match open_line(gateway, partner, line).await {
        Ok(line) => line.abandon(release).await,
        Err(error) => Err(error),
    };
    let bundle = &release.event().sealed().bundle;
    match told {
        Ok(()) => tracing::debug!(%bundle, "abandoned"),
        Err(error) => tracing::info!(%bundle, %error, "the partner was not told that a transfer is given up"),
    }
}

/// Sends everything but the header: what the partner misses of it.
async fn send_noise(
    gateway: &Gateway,
    partner: &Partner,
    line: &mut Option<Line>,
    release: &Recorded<Release>,
    file: &Arc<File>,
) -> Result<(), DeliverError> {
    let line = open_line(gateway, partner, line).await?;
    let state = line.offer(release).await?;
    let bundle = &release.event().sealed().bundle;
    tracing::debug!(%bundle, "offered");
    line.send_body(release, &state, file, |bytes| tracing::debug!(%bundle, bytes, "segment sent")).await
}

/// Asks the partner for the receipt of every attempt whose outcome is not known.
async fn ask_what_became_of_it(
    gateway: &Gateway,
    record: &BundleRecord,
    partner: &Partner,
    line: &mut Option<Line>,
) -> Result<Option<(Receipt, usize)>, DeliverError> {
    let open: Vec<usize> = record.open_attempts().map(|(number, _)| number).collect();
    for number in open {
        let stamp = gateway
            .row::<Place>(Space::Stamp, &release_stamp(&record.bundle, number))
            .map_err(|error| local(&error))?;
        let Some(stamp) = stamp else { continue };
        let digest = dispatch_of(gateway, record, number, &stamp.value).sign(gateway.keys.signer()).digest();
        let Some(signed) = open_line(gateway, partner, line).await?.ask_receipt(&digest).await? else { continue };
        let keys = partner.signing_keys_at(gateway.now());
        match Receipt::verify(
            signed_receipt(signed),
            &digest,
            &record.bundle,
            partner.id(),
            gateway.id(),
            &keys,
            about(record),
        ) {
            Ok(receipt) => return Ok(Some((receipt, number))),
            Err(error) => tracing::warn!(bundle = %record.bundle, %error, "the partner's receipt was not accepted"),
        }
    }
    Ok(None)
}

async fn open_line<'a>(
    gateway: &Gateway,
    partner: &Partner,
    line: &'a mut Option<Line>,
) -> Result<&'a mut Line, DeliverError> {
    if line.is_none() {
        *line = Some(Line::connect(&gateway.tls, partner.id(), &partner.card().endpoint, gateway.line_limits()).await?);
    }
    Ok(line.as_mut().expect("the line was opened just now"))
}

/// The dispatch of the attempt with this number; the same every time it is asked for.
fn dispatch_of(gateway: &Gateway, record: &BundleRecord, number: usize, place: &Place) -> Dispatch {
    let sealed = record.sealed.as_ref().expect("an attempt is made of sealed bundles only");
    let place =
        InOurLog { us: gateway.id().clone(), decision: place.leaf, at: place.at, head: gateway.log_head(place) };
    let attempt = &record.attempts[number];
    let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
    let dispatch = Dispatch::of(sealed, &why_of(record), number, &attempt.obligations, place);
    Dispatch { erase_at: attempt.erase_at.clone(), notices_sha256: attempt.notices_sha256, ..dispatch }
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

/// What a receipt is about in our own log.
fn about(record: &BundleRecord) -> About {
    About { case: record.case.clone(), subject: record.subject.clone() }
}

/// A receipt as it came, not verified.
fn signed_receipt(answer: ReceiptAnswer) -> Signed {
    Signed { text: answer.receipt, signature: answer.signature }
}

/// Something of our own that cannot be read.
fn local(error: &(dyn std::error::Error + 'static)) -> DeliverError {
    DeliverError::LocalFile { source: std::io::Error::other(error.to_string()) }
}

fn why_of(record: &BundleRecord) -> Why {
    Why { purpose: record.purpose.clone(), answers: record.answers.clone(), subject: record.subject.clone() }
}

fn bundle_row(gateway: &Gateway, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    gateway
        .row(Space::Bundle, bundle.as_str().as_bytes())?
        .ok_or_else(|| Problem::not_found(format!("there is no bundle {bundle}")))
}

fn release_stamp(bundle: &BundleId, number: usize) -> Vec<u8> {
    format!("release/{bundle}/{number}").into_bytes()
}

fn receipt_key(bundle: &BundleId) -> Vec<u8> {
    format!("receipt/{bundle}").into_bytes()
}
