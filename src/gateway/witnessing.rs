//! What the gateway remembers of checkpoints that were countersigned, by us and for us.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::audit::trust::{ReadTrustError, TrustPolicy};
use crate::audit::witness::{Seen, SeenError};
use crate::clock::Timestamp;
use crate::config::{Home, WITNESS_REQUESTS_PER_MINUTE_MAX};
use crate::gateway::Gateway;
use crate::id::InstitutionId;
use crate::problem::Problem;

/// The state of the witness, and of our own log with other witnesses.
#[derive(Debug)]
pub struct Witnessing {
    /// What we saw last of partners' logs.
    pub seen: Seen,
    /// Held while a request is checked, remembered and signed: one at a time.
    pub turn: tokio::sync::Mutex<()>,
    /// How our own log stands with its witnesses.
    pub ours: Mutex<Ours>,
    /// Woken when somebody wants signatures now.
    pub wanted: tokio::sync::Notify,
    /// Woken when somebody signed.
    pub signed: tokio::sync::Notify,
    requests: Mutex<BTreeMap<InstitutionId, (i64, u32)>>,
}

/// How our own log stands with its witnesses.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// What each partner signed last: the size, and when.
    pub signed: BTreeMap<InstitutionId, (u64, Timestamp)>,
    /// The newest note with its countersignatures.
    pub note: Option<String>,
    /// When it was first seen that nobody has ever signed.
    pub waiting_since: Option<Timestamp>,
}

impl Witnessing {
    /// Opens the witness's folder.
    pub(super) fn open(dir: &Path) -> Result<Self, SeenError> {
        Ok(Self {
            seen: Seen::open(dir)?,
            turn: tokio::sync::Mutex::default(),
            ours: Mutex::default(),
            wanted: tokio::sync::Notify::new(),
            signed: tokio::sync::Notify::new(),
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

impl Gateway {
    /// Whose countersignatures are enough under our log: what the site wrote, or else any one partner's; with whether
    /// the site wrote it. It is read anew each time.
    pub fn trust(&self) -> Result<(TrustPolicy, bool), Problem> {
        if let Some(written) = own_trust(&self.home).map_err(|error| Problem::internal("witness-policy", &error))? {
            return Ok((written.or_log(self.log.key()), true));
        }
        let now = self.now();
        let partners = self.partners()?.into_iter().filter(|partner| partner.may_exchange(now));
        let keys = partners.flat_map(|partner| partner.witness_vkeys_at(now));
        let keys: Vec<_> = keys.filter_map(|vkey| vkey.parse().ok()).collect();
        let any = TrustPolicy::any_of(std::slice::from_ref(self.log.key()), &keys);
        any.map(|any| (any, false)).map_err(|error| Problem::internal("the partners' keys", &error))
    }
}

/// What the site wrote about it, if it wrote something.
pub(super) fn own_trust(home: &Home) -> Result<Option<TrustPolicy>, ReadTrustError> {
    match TrustPolicy::read(&home.witness_policy()) {
        Ok(written) => Ok(Some(written)),
        Err(ReadTrustError::Io(why)) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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
