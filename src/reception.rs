//! What partners bring: kept as noise until the header comes with a dispatch, then verified, stored, recorded, and
//! only then acknowledged with a signed receipt.
//!
//! Rule: the same dispatch is one delivery and gets the same receipt, byte for byte, for ever.

mod recalls;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audit::happened::Happened;
use crate::audit::log::{Change, Place};
use crate::clock;
use crate::gateway::{Gateway, put};
use crate::id::{Digest, InstitutionId, PatientIdentifier};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::receive::{self, Answer, Body, Caller, ReceiveError, Reception};
use crate::records::{AcceptedDispatch, BundleRecord, CasePrivate, CaseRecord, InboxRecord, Side};
use crate::release;
use crate::statement::dispatch::Dispatch;
use crate::statement::notices::SEALED_NOTICES_BYTES_MAX;
use crate::statement::receipt::ReceiptText;
use crate::statement::{Kind, Signed, StatementError};
use crate::store::{Expect, Space};
use crate::vault::BlobName;
use crate::wire::{
    Code, Handover, Offer, Pong, Progress, RecallRequest, RecalledAnswer, ReceiptAnswer, SegmentHead, TransferId,
    TransferState, WitnessAnswer,
};
use crate::witness;

pub use recalls::finish as finish_recalls;

/// Why a dispatch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Its signature, its parties or its time are wrong.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It speaks of another transfer than the one that it closes.
    #[error("the dispatch names another {0} than the transfer")]
    OtherTransfer(&'static str),
    /// The notices that came are not those that it names.
    #[error("the notices are not those that the dispatch names")]
    OtherNotices,
    /// It answers a release that we did not make to this partner.
    #[error("the opinion answers nothing that we sent to this partner")]
    AnswersNothing,
    /// Its sender has recalled it: it does not come back.
    #[error("this bundle was recalled by its sender")]
    WasRecalled,
    /// A recall of something that was not accepted from this partner.
    #[error("the recall names no dispatch that was accepted from this partner")]
    RecallsNothing,
    /// A recall of an opinion.
    #[error("an opinion is not recalled; it is corrected by another one")]
    OpinionStays,
    /// Its bytes are not here, or not what was offered.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
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
    if recalls::is_recalled(gateway, from, &dispatch.bundle)? {
        return Err(NotTaken::WasRecalled);
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
    notices: &[u8],
) -> Result<Signed, NotTaken> {
    let digest = signed.digest();
    for _ in 0..RACES_MAX {
        if let Some(receipt) = receipt_for(gateway, from, &digest)? {
            return Ok(receipt);
        }
        match record(gateway, from, dispatch, &signed, notices).await {
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

async fn record(
    gateway: &Gateway,
    from: &InstitutionId,
    dispatch: &Dispatch,
    signed: &Signed,
    notices: &[u8],
) -> Result<(), Problem> {
    let now = clock::stamp(gateway.now());
    let digest = signed.digest();
    let inbox_key = InboxRecord::key(from, &dispatch.bundle);
    let known = gateway.row::<InboxRecord>(Space::Inbox, &inbox_key)?.map(|row| row.value);
    if let Some(known) = &known {
        // Recalled while it came again: whoever brought it is refused, and what was stored of it goes.
        if known.recall.is_some() {
            return Err(Problem::refused(Reason::Recalled, "this bundle was recalled"));
        }
        // One bundle id, two contents or two meanings: the second is refused, whoever is wrong.
        if known.sealed_sha256 != dispatch.sealed_sha256 {
            return Err(Problem::refused(Reason::Conflict, "this bundle id names another content"));
        }
        let same = known.kind == dispatch.kind
            && known.case == dispatch.case
            && known.purpose == dispatch.purpose
            && known.answers == dispatch.answers;
        if !same {
            return Err(Problem::refused(Reason::Conflict, "this bundle came for another case or as another kind"));
        }
    }
    let mut change = Change::default();
    let side = if dispatch.kind == Kind::Opinion { Side::Ours } else { Side::Theirs(from.clone()) };
    let case_key = CaseRecord::key(&side, &dispatch.case);
    let subject = if let Some(case) = gateway.row::<CaseRecord>(Space::Case, &case_key)? {
        case.value.subject
    } else {
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
    };
    let again = known.is_some();
    if !again {
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
            erase_at: dispatch.erase_at.clone(),
            dispatch: digest,
            opened: None,
            recall: None,
            expired: None,
        };
        change.puts.push(put(Space::Inbox, &inbox_key, &inbox, Expect::Absent));
    }
    let key = AcceptedDispatch::key(from, &digest);
    let accepted = AcceptedDispatch {
        bundle: dispatch.bundle.clone(),
        received: now,
        signed: signed.clone(),
        notices: dispatch.notices_sha256.map(|_| BASE64.encode(notices)),
    };
    change.puts.push(put(Space::Transfer, &key, &accepted, Expect::Absent));
    change.stamps.push((Space::Stamp, key));
    gateway.enter(Happened::received(dispatch, digest, &subject, again), change).await?;
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

/// Serves partners until `stop` turns true.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let limits = gateway.line_limits();
    let tls = gateway.tls.clone();
    let ended = async move {
        // A sender that is gone means the same.
        let _stopped = stop.wait_for(|stop| *stop).await;
    };
    receive::serve(listener, tls, Arc::new(Desk(gateway)), limits, ended).await;
}

/// The gateway as its partners meet it.
struct Desk(Arc<Gateway>);

impl Reception for Desk {
    fn knows(&self, institution: &InstitutionId) -> bool {
        self.0.partner(institution).is_ok_and(|partner| partner.may_exchange(self.0.now()))
    }

    fn ping(&self) -> Pong {
        Pong { institution: self.0.id().clone(), time: clock::stamp(self.0.now()) }
    }

    fn offer<'a>(&'a self, caller: &'a Caller, offer: Offer) -> Answer<'a, TransferState> {
        Box::pin(async move {
            match recalls::is_recalled(&self.0, &caller.institution, &offer.bundle) {
                Ok(false) => {}
                Ok(true) => return Err(tell(caller, &NotTaken::WasRecalled, Code::Refused)),
                Err(problem) => return Err(tell(caller, &problem, Code::Internal)),
            }
            self.0.receiver.offer(&caller.institution, &offer).await.map_err(|error| tell(caller, &error, error.code()))
        })
    }

    fn segment<'a>(
        &'a self,
        caller: &'a Caller,
        transfer: &'a TransferId,
        head: SegmentHead,
        body: &'a mut Body,
    ) -> Answer<'a, Progress> {
        Box::pin(async move {
            let taken = self.0.receiver.segment(&caller.institution, transfer, &head, body).await;
            if taken.is_ok() {
                tracing::debug!(bundle = %transfer.bundle, bytes = head.bytes, "segment taken");
            }
            taken.map_err(|error| tell(caller, &error, error.code()))
        })
    }

    fn progress<'a>(&'a self, caller: &'a Caller, transfer: &'a TransferId) -> Answer<'a, Progress> {
        Box::pin(async move {
            let progress = self.0.receiver.progress(&caller.institution, transfer).await;
            progress.map_err(|error| tell(caller, &error, error.code()))
        })
    }

    fn hand_over<'a>(
        &'a self,
        caller: &'a Caller,
        transfer: &'a TransferId,
        handover: Handover,
    ) -> Answer<'a, ReceiptAnswer> {
        Box::pin(async move {
            let taken = take(&self.0, &caller.institution, transfer, handover).await;
            taken.map_err(|error| tell(caller, &error, error.code())).map(answer_of)
        })
    }

    fn abandon<'a>(&'a self, caller: &'a Caller, transfer: &'a TransferId) -> Answer<'a, ()> {
        Box::pin(async move {
            let given_up = give_up(&self.0, &caller.institution, transfer).await;
            given_up.map_err(|error| tell(caller, &error, error.code()))
        })
    }

    fn recall<'a>(&'a self, caller: &'a Caller, recall: RecallRequest) -> Answer<'a, RecalledAnswer> {
        Box::pin(async move {
            let signed = Signed { text: recall.recall, signature: recall.signature };
            match recalls::take(&self.0, &caller.institution, signed).await {
                Ok(answer) => Ok(RecalledAnswer { recalled: answer.text, signature: answer.signature }),
                Err(error) => Err(tell(caller, &error, error.code())),
            }
        })
    }

    fn add_checkpoint<'a>(&'a self, caller: &'a Caller, body: &'a [u8]) -> Answer<'a, WitnessAnswer> {
        Box::pin(async move {
            match witness::take(&self.0, &caller.institution, body).await {
                Ok(line) => Ok(WitnessAnswer { status: 200, body: line }),
                Err(error) => {
                    tracing::info!(partner = %caller.institution, request = caller.request.as_str(), %error, "not countersigned");
                    error.answer()
                }
            }
        })
    }

    fn seen_checkpoint<'a>(&'a self, caller: &'a Caller, origin: &'a Digest) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let seen = witness::seen(&self.0, &caller.institution, origin);
            seen.map_err(|error| tell(caller, &error, Code::Internal))
        })
    }

    fn receipt<'a>(&'a self, caller: &'a Caller, dispatch: &'a Digest) -> Answer<'a, Option<ReceiptAnswer>> {
        Box::pin(async move {
            let found = receipt_for(&self.0, &caller.institution, dispatch);
            found.map(|receipt| receipt.map(answer_of)).map_err(|error| tell(caller, &error, Code::Internal))
        })
    }
}

/// Verifies the dispatch, then stores the whole, then records it, then signs.
async fn take(
    gateway: &Arc<Gateway>,
    from: &InstitutionId,
    transfer: &TransferId,
    handover: Handover,
) -> Result<Signed, NotTaken> {
    let signed = Signed { text: handover.dispatch, signature: handover.signature };
    let _turn = gateway.receiver.turn(from, transfer).await;
    if let Some(receipt) = receipt_for(gateway, from, &signed.digest())? {
        return Ok(receipt);
    }
    let dispatch = check_dispatch(gateway, from, &signed)?;
    if dispatch.bundle != transfer.bundle {
        return Err(NotTaken::OtherTransfer("bundle"));
    }
    if dispatch.sealed_sha256 != transfer.sealed_sha256 {
        return Err(NotTaken::OtherTransfer("content"));
    }
    // They are sealed to a reader: all that can be told here is that they are those that the sender signed for.
    let named = (!handover.notices.is_empty()).then(|| Digest::of(&handover.notices));
    if dispatch.notices_sha256 != named || handover.notices.len() > SEALED_NOTICES_BYTES_MAX {
        return Err(NotTaken::OtherNotices);
    }
    tracing::debug!(bundle = %dispatch.bundle, "dispatch verified");
    let stored = gateway.receiver.assemble(from, transfer, handover.header).await?;
    if stored.sealed_bytes != dispatch.sealed_bytes {
        drop_unnamed(gateway, from, transfer).await?;
        return Err(NotTaken::OtherTransfer("size"));
    }
    tracing::debug!(bundle = %dispatch.bundle, "stored");
    let receipt = match accept(gateway, from, &dispatch, signed, &handover.notices).await {
        Err(NotTaken::Problem(problem)) if problem.code == Reason::Recalled => {
            remove_stored(gateway, stored.name).await?;
            return Err(NotTaken::WasRecalled);
        }
        Err(refused) => {
            drop_unnamed(gateway, from, transfer).await?;
            return Err(refused);
        }
        Ok(receipt) => receipt,
    };
    tracing::debug!(bundle = %dispatch.bundle, "receipt signed");
    Ok(receipt)
}

/// Gives a transfer up for its sender. A handover that has begun ends first: once this is answered, either all of it is
/// recorded, or nothing of it is here and no header that is still on its way can change that.
async fn give_up(gateway: &Arc<Gateway>, from: &InstitutionId, transfer: &TransferId) -> Result<(), NotTaken> {
    let _turn = gateway.receiver.turn(from, transfer).await;
    gateway.receiver.forget(from, transfer).await?;
    drop_unnamed(gateway, from, transfer).await?;
    tracing::debug!(bundle = %transfer.bundle, "given up");
    Ok(())
}

/// Removes what was put together of a transfer and then not recorded: nobody has been told of it, and nothing else would
/// ever find it.
async fn drop_unnamed(gateway: &Arc<Gateway>, from: &InstitutionId, transfer: &TransferId) -> Result<(), NotTaken> {
    let inbox = gateway.row::<InboxRecord>(Space::Inbox, &InboxRecord::key(from, &transfer.bundle))?;
    if inbox.is_none_or(|row| row.value.sealed_sha256 != transfer.sealed_sha256) {
        remove_stored(gateway, BlobName::theirs(from, &transfer.bundle, &transfer.sealed_sha256)).await?;
    }
    Ok(())
}

async fn remove_stored(gateway: &Arc<Gateway>, name: BlobName) -> Result<(), ReceiveError> {
    let vault = Arc::clone(&gateway.vault);
    Ok(tokio::task::spawn_blocking(move || vault.remove(&name)).await.map_err(std::io::Error::other)??)
}

impl NotTaken {
    /// Why, in one word, for an entry of the log.
    const fn word(&self) -> &'static str {
        match self {
            Self::Statement(StatementError::Signature { .. }) => "signature",
            Self::Statement(_) => "statement",
            Self::OpinionStays => "opinion",
            Self::RecallsNothing => "nothing of this partner's",
            _ => "unable",
        }
    }

    /// All that the partner learns.
    fn code(&self) -> Code {
        match self {
            Self::Statement(StatementError::Signature { .. }) => Code::Signature,
            Self::Statement(StatementError::Time { .. }) => Code::Expired,
            Self::Statement(_) | Self::OtherTransfer(_) | Self::OtherNotices => Code::BadRequest,
            Self::AnswersNothing | Self::WasRecalled | Self::OpinionStays => Code::Refused,
            Self::RecallsNothing => Code::NotFound,
            Self::Receive(error) => error.code(),
            Self::Problem(problem) if problem.status == 403 => Code::Refused,
            Self::Problem(problem) if problem.status == 409 => Code::Busy,
            Self::Problem(_) => Code::Internal,
        }
    }
}

fn answer_of(signed: Signed) -> ReceiptAnswer {
    ReceiptAnswer { receipt: signed.text, signature: signed.signature }
}

/// The reason stays here; the partner gets the code and the request's name.
fn tell(caller: &Caller, error: &dyn std::error::Error, code: Code) -> Code {
    tracing::info!(partner = %caller.institution, request = caller.request.as_str(), %code, %error, "a partner's request was refused");
    code
}
