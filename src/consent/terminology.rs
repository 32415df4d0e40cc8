//! The pinned code tables of policies/terminology/: which purpose, and which sensitivity, contains which.
//!
//! Rule: two codes are unrelated only if the table knows both; what it does not know may be anything, so it satisfies
//! no permit and every denial.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

/// How surely something fits: a permit needs `Yes`, a denial is escaped only by `No`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fit {
    /// It does not fit, provably.
    No,
    /// It cannot be told.
    Unknown,
    /// It fits, provably.
    Yes,
}

impl Fit {
    /// Yes or no, where it is known.
    pub(super) const fn of(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }

    /// The best of several alternatives; `No` if there is none.
    pub(super) fn any(fits: impl IntoIterator<Item = Self>) -> Self {
        fits.into_iter().max().unwrap_or(Self::No)
    }

    /// The worst of several conditions; `Yes` if there is none.
    pub(super) fn all(fits: impl IntoIterator<Item = Self>) -> Self {
        fits.into_iter().min().unwrap_or(Self::Yes)
    }
}

/// One code table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "source")]
    _source: String,
    systems: BTreeSet<String>,
    contains: BTreeMap<String, BTreeSet<String>>,
    may_touch: BTreeMap<String, BTreeSet<String>>,
}

impl Table {
    /// Whether `system` names the code system of this table, under any of the names seen in the field.
    pub(super) fn is_system(&self, system: &str) -> bool {
        self.systems.contains(system)
    }

    /// Whether `code` lies within `listed`.
    pub(super) fn within(&self, code: &str, listed: &str) -> Fit {
        if code == listed || self.has(&self.contains, listed, code) {
            return Fit::Yes;
        }
        let touches = self.has(&self.contains, code, listed)
            || self.has(&self.may_touch, listed, code)
            || self.has(&self.may_touch, code, listed);
        if touches || !self.knows(code) || !self.knows(listed) { Fit::Unknown } else { Fit::No }
    }

    #[allow(clippy::unused_self, reason = "reads as a question to the table")]
    fn has(&self, relation: &BTreeMap<String, BTreeSet<String>>, parent: &str, child: &str) -> bool {
        relation.get(parent).is_some_and(|children| children.contains(child))
    }

    fn knows(&self, code: &str) -> bool {
        self.contains.contains_key(code) || self.contains.values().any(|children| children.contains(code))
    }
}

/// The table of purposes.
pub(super) fn purposes() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| read(PURPOSE));
    &TABLE
}

/// The table of sensitivities.
pub(super) fn sensitivities() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| read(SENSITIVITY));
    &TABLE
}

fn read(text: &str) -> Table {
    serde_json::from_str(text).expect("the shipped tables are read by a test")
}

/// The tables as they were compiled in; part of what a decision's policy digest covers.
pub(crate) const PURPOSE: &str = include_str!("../../policies/terminology/purpose.json");
/// See [`PURPOSE`].
pub(crate) const SENSITIVITY: &str = include_str!("../../policies/terminology/sensitivity.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_lies_within_its_parent_and_not_the_reverse() {
        assert_eq!(purposes().within("ETREAT", "TREAT"), Fit::Yes);
        assert_eq!(purposes().within("TREAT", "ETREAT"), Fit::Unknown);
        assert_eq!(sensitivities().within("ETHUD", "ETH"), Fit::Yes);
    }

    #[test]
    fn treatment_is_not_research_and_an_unknown_code_may_be_anything() {
        assert_eq!(purposes().within("HRESCH", "TREAT"), Fit::No);
        assert_eq!(purposes().within("BTG", "TREAT"), Fit::Unknown);
        assert_eq!(purposes().within("NEWCODE", "HRESCH"), Fit::Unknown);
        assert_eq!(sensitivities().within("LOCAL", "PSY"), Fit::Unknown);
        assert_eq!(sensitivities().within("HIV", "PSY"), Fit::No);
    }

    #[test]
    fn a_code_has_one_parent_at_most() {
        for table in [purposes(), sensitivities()] {
            let children: Vec<_> = table.contains.values().flatten().collect();
            let distinct: BTreeSet<_> = children.iter().collect();
            assert_eq!(children.len(), distinct.len());
            assert!(children.iter().all(|child| !table.contains.contains_key(*child)), "one level deep");
        }
    }
}
