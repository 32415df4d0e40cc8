//! One try at releasing a bundle, as the bundle's record keeps it.
//!
//! Rule: an attempt stays open until a receipt, or the partner's promise to take no header any more, closes it: a
//! header may still be on its way while the partner says that it has none.

use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::id::{ConsentId, Digest};
use crate::reason::Reason;
use crate::statement::dispatch::Release;

/// One try at releasing a bundle.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Attempt {
    /// When it was decided.
    pub at: String,
    /// What was decided.
    pub decision: Decision,
    /// Why not, or why it did not arrive.
    pub reason: Option<Reason>,
    /// How it ended; `None` while it is under way.
    pub outcome: Option<AttemptOutcome>,
    /// What the dispatch says in clear of what the permit obliges to, so that it can be made again byte for byte.
    #[serde(default)]
    pub obligations: Vec<String>,
    /// SHA-256 of the sealed notices, which say the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notices_sha256: Option<Digest>,
    /// When the receiver must have erased what it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase_at: Option<String>,
    /// The consent that the permit rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentId>,
    /// The dispatch that the partner's receipt answers, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch: Option<Digest>,
}

/// What was decided of an attempt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may leave.
    Permit,
    /// It stays.
    Deny,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum AttemptOutcome {
    /// The partner's receipt for it is recorded.
    #[serde(rename = "delivered")]
    Delivered,
    /// Its header never arrived, and never will.
    #[serde(rename = "not delivered")]
    NotDelivered,
    /// Its header left, or may have left, and nobody knows whether it arrived.
    #[serde(rename = "unknown")]
    Unknown,
    /// The decision said no.
    #[serde(rename = "denied")]
    Denied,
    /// The decision said no before anything was sealed.
    #[serde(rename = "refused at intake")]
    RefusedAtIntake,
}

impl Attempt {
    pub(super) fn permitted(at: Timestamp, release: &Release) -> Self {
        let permit = release.permit();
        Self {
            at: clock::stamp(at),
            decision: Decision::Permit,
            reason: None,
            outcome: None,
            obligations: permit.open_obligations(),
            notices_sha256: Some(release.notices().sha256()),
            erase_at: permit.erase_at().map(clock::stamp),
            consent: permit.consent().map(|(consent, _)| consent.clone()),
            dispatch: None,
        }
    }

    pub(super) fn denied(at: Timestamp, reason: Reason, outcome: AttemptOutcome) -> Self {
        Self {
            at: clock::stamp(at),
            decision: Decision::Deny,
            reason: Some(reason),
            outcome: Some(outcome),
            obligations: Vec::new(),
            notices_sha256: None,
            erase_at: None,
            consent: None,
            dispatch: None,
        }
    }

    /// Whether it was allowed to leave.
    pub fn was_permitted(&self) -> bool {
        self.decision == Decision::Permit
    }

    /// Whether its receipt is recorded.
    pub fn was_delivered(&self) -> bool {
        self.outcome == Some(AttemptOutcome::Delivered)
    }

    /// Whether the partner may hold the bundle by it, or may yet, and nobody knows.
    pub fn is_open(&self) -> bool {
        self.was_permitted() && self.outcome.is_none_or(|outcome| outcome == AttemptOutcome::Unknown)
    }
}

impl AttemptOutcome {
    /// As it stands in an entry of the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::NotDelivered => "not delivered",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
            Self::RefusedAtIntake => "refused at intake",
        }
    }
}
