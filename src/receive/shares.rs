//! Shares of something scarce: so many in total, so many for each partner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::InstitutionId;

/// So many things at one time, in total and for each partner.
#[derive(Debug)]
pub(super) struct Shares {
    taken: Arc<Mutex<BTreeMap<InstitutionId, usize>>>,
    total_max: usize,
    each_max: usize,
}

/// One share, given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Share {
    taken: Arc<Mutex<BTreeMap<InstitutionId, usize>>>,
    institution: InstitutionId,
}

impl Shares {
    pub(super) fn new(total_max: usize, each_max: usize) -> Self {
        Self { taken: Arc::default(), total_max, each_max }
    }

    /// A share for this partner, or `None` when it, or all together, have as many as they may.
    pub(super) fn take(&self, institution: &InstitutionId) -> Option<Share> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = taken.values().sum();
        let own = taken.get(institution).copied().unwrap_or(0);
        if total >= self.total_max || own >= self.each_max {
            return None;
        }
        taken.insert(institution.clone(), own + 1);
        Some(Share { taken: Arc::clone(&self.taken), institution: institution.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.institution) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.institution)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partner_cannot_take_the_shares_of_all() {
        let shares = Shares::new(3, 2);
        let (a, b): (InstitutionId, InstitutionId) = ("a".parse().expect("an id"), "b".parse().expect("an id"));
        let first = shares.take(&a).expect("a share");
        let _second = shares.take(&a).expect("a share");
        assert!(shares.take(&a).is_none(), "a has more than its part");
        let _third = shares.take(&b).expect("a share");
        assert!(shares.take(&b).is_none(), "more than all shares are taken");
        drop(first);
        assert!(shares.take(&b).is_some(), "a share did not come back");
    }
}
