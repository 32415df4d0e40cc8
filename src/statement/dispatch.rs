//! A release and its dispatch: a sealed bundle that a permit lets go, and the signed note that goes with it.
//!
//! Rule: a [`Release`] is made only of a sealed bundle and a [`Permit`] for that very bundle and partner.

use serde::{Deserialize, Serialize};

use super::notices::{Notices, NoticesError, SealedNotices};
use super::{Kind, LogHead, Signed, StatementError};
use crate::clock::{self, Timestamp};
use crate::decision::Permit;
use crate::id::{BundleId, CaseId, Digest, InstitutionId, Purpose, SubjectId};
use crate::signature::{Namespace, Signer, VerifyingKey};

/// A bundle that lies sealed in the vault, ready for its one partner.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBundle {
    /// The bundle.
    pub bundle: BundleId,
    /// The case that it belongs to.
    pub case: CaseId,
    /// The only institution that can open it.
    pub to: InstitutionId,
    /// What it carries.
    pub kind: Kind,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: u64,
    /// Size of the age header at its start, in bytes: the part that is handed over last.
    pub header_bytes: u64,
    /// SHA-256 of the bag's `tagmanifest-sha256.txt`.
    pub manifest_sha256: Digest,
    /// The age recipients that it is sealed to.
    pub recipients: Vec<String>,
}

/// What an opinion answers: the dispatch that it has the right to come back on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The bundle that was read.
    pub bundle: BundleId,
    /// The digest of the dispatch that it came with.
    pub dispatch: Digest,
}

/// A sealed bundle that a decision lets go, once, now.
#[derive(Debug)]
#[must_use = "a release that is not recorded was a decision for nothing"]
pub struct Release {
    sealed: SealedBundle,
    permit: Permit,
    why: Why,
    attempt: u32,
    notices: SealedNotices,
}

/// Why a bundle is sent, and about whom.
#[derive(Clone, Debug)]
pub struct Why {
    /// A code of v3-ActReason.
    pub purpose: Purpose,
    /// What an opinion answers.
    pub answers: Option<Answers>,
    /// The patient's pseudonym in our own log; it does not travel.
    pub subject: SubjectId,
}

/// Why a permit does not let the sealed bundle go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It speaks of another bundle or partner than the sealed one.
    #[error("the permit is for another bundle or another partner")]
    Mismatch,
    /// What it obliges to cannot be told to the receiver alone.
    #[error(transparent)]
    Notices(#[from] NoticesError),
}

impl Release {
    /// Spends a permit on the sealed bundle that it names. What the permit obliges to is sealed to whoever can open
    /// the bundle.
    pub fn new(sealed: SealedBundle, permit: Permit, why: Why, attempt: u32) -> Result<Self, ReleaseError> {
        if *permit.bundle() != sealed.bundle || *permit.partner() != sealed.to {
            return Err(ReleaseError::Mismatch);
        }
        let notices = Notices::of(&permit).seal(&sealed.recipients)?;
        Ok(Self { sealed, permit, why, attempt, notices })
    }

    /// The bundle that leaves.
    pub const fn sealed(&self) -> &SealedBundle {
        &self.sealed
    }

    /// The decision that lets it.
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }

    /// What the receiver alone may read of the obligations.
    pub const fn notices(&self) -> &SealedNotices {
        &self.notices
    }

    /// Which attempt this is, counted from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Why the data is sent.
    pub const fn purpose(&self) -> &Purpose {
        &self.why.purpose
    }

    /// What it answers, if it is an opinion.
    pub const fn answers(&self) -> Option<&Answers> {
        self.why.answers.as_ref()
    }

    /// The patient's pseudonym in our own log.
    pub const fn subject(&self) -> &SubjectId {
        &self.why.subject
    }
}

/// The signed note that goes with a release: what leaves, for whom, by which decision.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// `medseal-dispatch@v1`.
    pub format: String,
    /// The bundle.
    pub bundle: BundleId,
    /// The sender's case.
    pub case: CaseId,
    /// The sender.
    pub from: InstitutionId,
    /// The receiver.
    pub to: InstitutionId,
    /// What the bundle carries.
    pub kind: Kind,
    /// Why the data is sent, a code of v3-ActReason.
    pub purpose: Purpose,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// Size of the sealed file, in bytes.
    pub sealed_bytes: u64,
    /// SHA-256 of the bag's `tagmanifest-sha256.txt`.
    pub manifest_sha256: Digest,
    /// The age recipients that it is sealed to.
    pub recipients: Vec<String>,
    /// What an opinion answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
    /// The leaf hash of the decision in the sender's log.
    pub decision: Digest,
    /// What the receiver must observe, as codes of v3-ActCode: those that tell nothing of what the records hold.
    pub obligations: Vec<String>,
    /// SHA-256 of the sealed notices, which hold every obligation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notices_sha256: Option<Digest>,
    /// When the receiver must have erased everything in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase_at: Option<String>,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// When it was made.
    pub issued: String,
    /// Until when it may be handed over.
    pub expires: String,
    /// The sender's log with the decision in it.
    pub head: LogHead,
}

/// Where a release stands in our log.
#[derive(Clone, Debug)]
pub struct InOurLog {
    /// Us.
    pub us: InstitutionId,
    /// The leaf hash of the release's entry.
    pub decision: Digest,
    /// When the entry was made.
    pub at: Timestamp,
    /// Our log with that entry in it.
    pub head: LogHead,
}

impl Dispatch {
    /// The dispatch of the release that stands at `place` in our log. The same arguments give the same dispatch, so
    /// that after a crash the partner can be asked what became of it.
    pub fn of(sealed: &SealedBundle, why: &Why, attempt: u32, obligations: &[String], place: InOurLog) -> Self {
        Self {
            format: FORMAT.to_owned(),
            bundle: sealed.bundle.clone(),
            case: sealed.case.clone(),
            from: place.us,
            to: sealed.to.clone(),
            kind: sealed.kind,
            purpose: why.purpose.clone(),
            sealed_sha256: sealed.sealed_sha256,
            sealed_bytes: sealed.sealed_bytes,
            manifest_sha256: sealed.manifest_sha256,
            recipients: sealed.recipients.clone(),
            answers: why.answers.clone(),
            decision: place.decision,
            obligations: obligations.to_vec(),
            notices_sha256: None,
            erase_at: None,
            attempt,
            issued: clock::stamp(place.at),
            expires: clock::stamp(place.at + jiff::SignedDuration::from_secs(DISPATCH_AGE_S_MAX)),
            head: place.head,
        }
    }

    /// Signs it.
    pub fn sign(&self, signer: &Signer) -> Signed {
        Signed::make(self, Namespace::Dispatch, signer)
    }

    /// Verifies a partner's dispatch and that it is from that partner to us, and valid now.
    pub fn verify(
        signed: &Signed,
        from: &InstitutionId,
        us: &InstitutionId,
        keys: &[VerifyingKey],
        now: Timestamp,
        clock_skew_s_max: u32,
    ) -> Result<Self, StatementError> {
        let dispatch = Self::verify_undated(signed, from, keys)?;
        if dispatch.to != *us {
            return Err(StatementError::Mismatch { kind: KIND, field: "receiver" });
        }
        let skew = jiff::SignedDuration::from_secs(i64::from(clock_skew_s_max));
        let time = |text: &str| {
            clock::read_stamp(text)
                .ok_or_else(|| StatementError::Form { kind: KIND, why: "a time is malformed".to_owned() })
        };
        if time(&dispatch.issued)? > now + skew {
            return Err(StatementError::Time { kind: KIND, why: "it was issued in the future" });
        }
        dispatch.erase_at.as_deref().map(time).transpose()?;
        if time(&dispatch.expires)? < now - skew {
            return Err(StatementError::Time { kind: KIND, why: "it has expired" });
        }
        Ok(dispatch)
    }

    /// Verifies a dispatch that was received earlier: signature and sender, whatever the time is now.
    pub fn verify_undated(
        signed: &Signed,
        from: &InstitutionId,
        keys: &[VerifyingKey],
    ) -> Result<Self, StatementError> {
        let dispatch: Self = signed.read(KIND, Namespace::Dispatch, keys)?;
        if dispatch.format != FORMAT {
            return Err(StatementError::Form { kind: KIND, why: format!("its format is {:?}", dispatch.format) });
        }
        if dispatch.from != *from {
            return Err(StatementError::Mismatch { kind: KIND, field: "sender" });
        }
        Ok(dispatch)
    }
}

const FORMAT: &str = "medseal-dispatch@v1";
const KIND: &str = "dispatch";

/// How long a dispatch may be handed over, in seconds.
const DISPATCH_AGE_S_MAX: i64 = 600;
