//! What the gateway remembers of checkpoints that were countersigned, by us and for us.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::audit::witness::{Seen, SeenError};
use crate::clock::Timestamp;
use crate::config::WITNESS_REQUESTS_PER_MINUTE_MAX;
use crate::id::{Digest, InstitutionId};

/// The state of the witness, and of our own log with other witnesses.
#[derive(Debug)]
pub struct Witnessing {
    /// What we saw last of partners' logs.
    pub seen: Seen,
    /// Held while a request is checked, remembered and signed: one at a time.
    pub turn: tokio::sync::Mutex<()>,
    /// How our own log stands with its witnesses.
    pub ours: Mutex<Ours>,
    requests: Mutex<BTreeMap<InstitutionId, (i64, u32)>>,
}

/// How our own log stands with its witnesses.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// What each partner signed last: the size, and when.
    pub signed: BTreeMap<InstitutionId, (u64, Timestamp)>,
    /// The newest note with its countersignatures.
    pub note: Option<String>,
    /// When the log was first seen to be larger than what is countersigned.
    pub waiting_since: Option<Timestamp>,
    /// The wait that was told of as too long.
    pub overdue: Option<Timestamp>,
    /// The checkpoints that contradict our log and were told of.
    pub contradicting: BTreeSet<Digest>,
    /// What a person must look at, in words.
    pub alarm: Option<String>,
}

impl Ours {
    /// The largest size that a partner signed.
    pub fn countersigned(&self) -> u64 {
        self.signed.values().map(|(size, _)| *size).max().unwrap_or(0)
    }
}

impl Witnessing {
    /// Opens the witness's folder.
    pub(super) fn open(dir: &Path) -> Result<Self, SeenError> {
        Ok(Self {
            seen: Seen::open(dir)?,
            turn: tokio::sync::Mutex::default(),
            ours: Mutex::default(),
            requests: Mutex::default(),
        })
    }

    /// How our own log stands with its witnesses now.
    pub fn ours(&self) -> Ours {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes how our own log stands with its witnesses.
    pub fn change(&self, change: impl FnOnce(&mut Ours)) {
        change(&mut self.ours.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether this partner may ask again now.
    pub fn may_ask(&self, partner: &InstitutionId, now: Timestamp) -> bool {
        let minute = now.as_second().div_euclid(60);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = requests.entry(partner.clone()).or_insert((minute, 0));
        if count.0 != minute {
            *count = (minute, 0);
        }
        count.1 = count.1.saturating_add(1);
        count.1 <= WITNESS_REQUESTS_PER_MINUTE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_that_asks_too_often_waits_for_the_next_minute_and_holds_up_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let witnessing = Witnessing::open(&folder.path().join("witness")).unwrap();
        let (eager, calm) = ("eager".parse().unwrap(), "calm".parse().unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..WITNESS_REQUESTS_PER_MINUTE_MAX {
            assert!(witnessing.may_ask(&eager, at(600)));
        }
        assert!(!witnessing.may_ask(&eager, at(659)));
        assert!(witnessing.may_ask(&calm, at(659)) && witnessing.may_ask(&eager, at(660)));
    }
}
