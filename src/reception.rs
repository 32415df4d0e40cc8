//! What partners bring: kept as noise until the header comes with a dispatch, then verified, stored, recorded, and
//! only then acknowledged with a signed receipt.
//!
//! Rule: the same dispatch is one delivery and gets the same receipt, byte for byte, for ever.

use std::sync::Arc;

use crate::audit::happened::Happened;
use crate::audit::log::{Change, Place};
use crate::clock;
use crate::gateway::{Gateway, put};
use crate::id::{Digest, InstitutionId, PatientIdentifier};
use crate::problem::Problem;
use crate::records::{AcceptedDispatch, BundleRecord, CasePrivate, CaseRecord, InboxRecord, Side};
use crate::release;
use crate::statement::dispatch::Dispatch;
use crate::statement::receipt::ReceiptText;
use crate::statement::{Kind, Signed};
use crate::store::{Expect, Space};

/// Why a dispatch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Its signature, its parties or its time are wrong.
    #[error(transparent)]
    Statement(#[from] crate::statement::StatementError),
    /// It speaks of another transfer than the one that it closes.
    #[error("the dispatch names another {0} than the transfer")]
    OtherTransfer(&'static str),
    /// It answers a release that we did not make to this partner.
    #[error("the opinion answers nothing that we sent to this partner")]
    AnswersNothing,
    /// The gateway could not do it.
    #[error(transparent)]
    Problem(#[from] Problem),
}

/// Verifies the dispatch that closes a transfer, before anything of it is stored.
pub fn check_dispatch(gateway: &Gateway, from: &InstitutionId, signed: &Signed) -> Result<Dispatch, NotTaken> {
    let partner = gateway.partner(from)?;
    let now = gateway.now();
    let keys = partner.signing_keys_at(now);
    let skew = gateway.config.exchange.clock_skew_s_max;
    let dispatch = Dispatch::verify(signed, from, gateway.id(), &keys, now, skew)?;
    if dispatch.kind == Kind::Opinion && !answers_ours(gateway, from, &dispatch)? {
        return Err(NotTaken::AnswersNothing);
    }
    Ok(dispatch)
}

/// Records a bundle whose bytes are stored and verified, and signs the receipt. A dispatch that is recorded already
/// gets the receipt that it got before.
pub async fn accept(
    gateway: &Arc<Gateway>,
    from: &InstitutionId,
    dispatch: &Dispatch,
    signed: Signed,
) -> Result<Signed, NotTaken> {
    let digest = signed.digest();
    for _ in 0..RACES_MAX {
        if let Some(receipt) = receipt_for(gateway, from, &digest)? {
            return Ok(receipt);
        }
        match record(gateway, from, dispatch, &signed).await {
            // The same dispatch came twice at one moment: the other one recorded it.
            Err(problem) if problem.status == 409 => {}
            Err(problem) => return Err(problem.into()),
            Ok(()) => {}
        }
    }
    Err(Problem::conflict("the same bundle came on too many lines at once").into())
}

/// The receipt for a dispatch that was recorded before; made again from the record, it has the same bytes.
pub fn receipt_for(gateway: &Gateway, from: &InstitutionId, dispatch: &Digest) -> Result<Option<Signed>, Problem> {
    let key = AcceptedDispatch::key(from, dispatch);
    let Some(accepted) = gateway.row::<AcceptedDispatch>(Space::Transfer, &key)? else { return Ok(None) };
    let accepted = accepted.value;
    let (place, inbox) = (
        gateway.row::<Place>(Space::Stamp, &key)?,
        gateway.row::<InboxRecord>(Space::Inbox, &InboxRecord::key(from, &accepted.bundle))?,
    );
    let (Some(place), Some(inbox)) = (place, inbox) else {
        return Err(Problem::conflict("the record of a dispatch is not whole"));
    };
    let receipt = ReceiptText::stored(
        *dispatch,
        accepted.bundle,
        gateway.id().clone(),
        from.clone(),
        accepted.received,
        inbox.value.received,
        gateway.log_head(&place.value),
    );
    Ok(Some(receipt.sign(gateway.keys.signer())))
}

async fn record(gateway: &Gateway, from: &InstitutionId, dispatch: &Dispatch, signed: &Signed) -> Result<(), Problem> {
    let now = clock::stamp(gateway.now());
    let digest = signed.digest();
    let mut change = Change::default();
    let side = if dispatch.kind == Kind::Opinion { Side::Ours } else { Side::Theirs(from.clone()) };
    let case_key = CaseRecord::key(&side, &dispatch.case);
    let subject = match gateway.row::<CaseRecord>(Space::Case, &case_key)? {
        Some(case) => case.value.subject,
        None => {
            // We do not know their patient: the pseudonym is that of the case, with a key of its own.
            let pseudonym = PatientIdentifier::new(&format!("urn:medseal:case:{from}"), dispatch.case.as_str())
                .expect("a case id is a valid identifier");
            let subject = gateway.new_subject(&pseudonym)?;
            let case = CaseRecord {
                case: dispatch.case.clone(),
                side,
                subject: subject.clone(),
                partner: from.clone(),
                purpose: dispatch.purpose.clone(),
                opened: now.clone(),
                closed: None,
            };
            change.puts.extend(gateway.new_case(&case, &CasePrivate::default())?);
            subject
        }
    };
    let inbox_key = InboxRecord::key(from, &dispatch.bundle);
    let again = match gateway.row::<InboxRecord>(Space::Inbox, &inbox_key)? {
        Some(known) if known.value.sealed_sha256 == dispatch.sealed_sha256 => true,
        // One bundle id, two contents: the second is refused, whoever is wrong.
        Some(_) => return Err(Problem::refused(crate::reason::Reason::Conflict, "this bundle id names another content")),
        None => {
            let inbox = InboxRecord {
                bundle: dispatch.bundle.clone(),
                from: from.clone(),
                case: dispatch.case.clone(),
                kind: dispatch.kind,
                purpose: dispatch.purpose.clone(),
                received: now.clone(),
                sealed_sha256: dispatch.sealed_sha256,
                sealed_bytes: dispatch.sealed_bytes,
                answers: dispatch.answers.clone(),
                dispatch: digest,
                opened: None,
            };
            change.puts.push(put(Space::Inbox, &inbox_key, &inbox, Expect::Absent));
            false
        }
    };
    let key = AcceptedDispatch::key(from, &digest);
    let accepted = AcceptedDispatch { bundle: dispatch.bundle.clone(), received: now, signed: signed.clone() };
    change.puts.push(put(Space::Transfer, &key, &accepted, Expect::Absent));
    change.stamps.push((Space::Stamp, key));
    gateway.record(Happened::received(dispatch, digest, &subject, again), change).await?;
    tracing::info!(bundle = %dispatch.bundle, partner = %from, again, "received");
    Ok(())
}

/// Whether an opinion answers a bundle that we sent to this partner, in the case that it names.
fn answers_ours(gateway: &Gateway, from: &InstitutionId, dispatch: &Dispatch) -> Result<bool, Problem> {
    let Some(answers) = &dispatch.answers else { return Ok(false) };
    let Some(sent) = gateway.row::<BundleRecord>(Space::Bundle, answers.bundle.as_str().as_bytes())? else {
        return Ok(false);
    };
    let sent = sent.value;
    if sent.partner != *from || sent.case != dispatch.case || sent.side != Side::Ours {
        return Ok(false);
    }
    Ok(release::dispatches_of(gateway, &sent)?.contains(&answers.dispatch))
}

/// How often the same dispatch may come at one moment before the sender is told to come again.
const RACES_MAX: usize = 5;
