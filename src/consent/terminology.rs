//! The pinned code tables of policies/terminology/: which purpose, and which sensitivity, contains which; the levels of
//! confidentiality; the labels that are obligations.
//!
//! Rule: two codes are unrelated only if the table knows both; what it does not know may be anything, so it satisfies
//! no permit and every denial.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;

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

    /// What fits when this does not, and the reverse.
    pub(super) const fn opposite(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
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

/// A table of codes that contain each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "notes")]
    _notes: Vec<String>,
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
        if code == listed || self.below(listed).contains(code) {
            return Fit::Yes;
        }
        if !self.knows(code) || !self.knows(listed) || self.below(code).contains(listed) {
            return Fit::Unknown;
        }
        // What a code may touch, its parents and its children may touch as well.
        let (ours, theirs) = (self.kin(code), self.kin(listed));
        let touches = |a: &str, b: &str| self.may_touch.get(a).is_some_and(|touched| touched.contains(b));
        let met = ours.iter().any(|a| theirs.iter().any(|b| touches(a, b) || touches(b, a)));
        if met { Fit::Unknown } else { Fit::No }
    }

    /// Everything that `code` contains, to the last level.
    fn below<'a>(&'a self, code: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = self.contains.get(code).into_iter().flatten().map(String::as_str).collect();
        while let Some(child) = open.pop() {
            if found.insert(child) {
                open.extend(self.contains.get(child).into_iter().flatten().map(String::as_str));
            }
        }
        found
    }

    /// The code itself, what it contains, and what contains it.
    fn kin<'a>(&'a self, code: &'a str) -> BTreeSet<&'a str> {
        let above = self.contains.keys().filter(|parent| self.below(parent).contains(code)).map(String::as_str);
        self.below(code).into_iter().chain([code]).chain(above).collect()
    }

    fn knows(&self, code: &str) -> bool {
        self.contains.contains_key(code) || self.contains.values().any(|children| children.contains(code))
    }
}

/// The levels of confidentiality.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Levels {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "notes")]
    _notes: Vec<String>,
    systems: BTreeSet<String>,
    #[allow(dead_code, reason = "a test holds it against the order that is compiled in")]
    order: Vec<String>,
}

/// The labels that say how to handle a document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handling {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "notes")]
    _notes: Vec<String>,
    pub(super) systems: BTreeSet<String>,
    pub(super) value_sets: BTreeSet<String>,
    pub(super) obligations: BTreeSet<String>,
    pub(super) refrains: BTreeSet<String>,
    /// The present code of a retired one.
    pub(super) synonyms: BTreeMap<String, String>,
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

/// The names under which the levels of confidentiality are seen in the field.
pub(super) fn confidentialities() -> &'static BTreeSet<String> {
    static TABLE: LazyLock<Levels> = LazyLock::new(|| read(CONFIDENTIALITY));
    &TABLE.systems
}

/// The table of obligations and refrains.
pub(super) fn handling() -> &'static Handling {
    static TABLE: LazyLock<Handling> = LazyLock::new(|| read(HANDLING));
    &TABLE
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the shipped tables are read by a test")
}

/// The tables as they were compiled in, each under its file's name; part of what a decision's policy digest covers.
pub(crate) const TABLES: [(&str, &str); 6] = [
    ("terminology/abdm-hi-types.json", super::abdm::HI_TYPES),
    ("terminology/abdm-purpose.json", super::abdm::PURPOSES),
    ("terminology/confidentiality.json", CONFIDENTIALITY),
    ("terminology/handling.json", HANDLING),
    ("terminology/purpose.json", PURPOSE),
    ("terminology/sensitivity.json", SENSITIVITY),
];

const CONFIDENTIALITY: &str = include_str!("../../policies/terminology/confidentiality.json");
const HANDLING: &str = include_str!("../../policies/terminology/handling.json");
const PURPOSE: &str = include_str!("../../policies/terminology/purpose.json");
const SENSITIVITY: &str = include_str!("../../policies/terminology/sensitivity.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::document::ConfidentialityCode;
    use crate::id::Digest;

    #[test]
    fn a_child_lies_within_its_parent_and_not_the_reverse() {
        assert_eq!(purposes().within("ETREAT", "TREAT"), Fit::Yes);
        assert_eq!(purposes().within("ERTREAT", "TREAT"), Fit::Yes, "a grandchild too");
        assert_eq!(purposes().within("TREAT", "ETREAT"), Fit::Unknown);
        assert_eq!(sensitivities().within("ETHUD", "ETH"), Fit::Yes);
        assert_eq!(sensitivities().within("OPIOIDUD", "SPI"), Fit::Yes);
    }

    #[test]
    fn treatment_is_not_research_and_an_unknown_code_may_be_anything() {
        assert_eq!(purposes().within("HRESCH", "TREAT"), Fit::No);
        assert_eq!(purposes().within("BTG", "TREAT"), Fit::Unknown);
        assert_eq!(purposes().within("BTG", "ETREAT"), Fit::Unknown);
        assert_eq!(purposes().within("NEWCODE", "HRESCH"), Fit::Unknown);
        assert_eq!(sensitivities().within("LOCAL", "PSY"), Fit::Unknown);
        assert_eq!(sensitivities().within("HIV", "PSY"), Fit::No);
        assert_eq!(sensitivities().within("TBOO", "PSY"), Fit::Unknown);
        assert_eq!(sensitivities().within("PSYTHPN", "SPI"), Fit::Unknown, "it needs a consent of its own");
    }

    #[test]
    fn no_code_contains_itself_and_every_code_that_may_touch_is_known() {
        for table in [purposes(), sensitivities()] {
            for code in table.contains.keys() {
                assert!(!table.below(code).contains(code.as_str()), "{code} contains itself");
            }
            for (code, touched) in &table.may_touch {
                assert!(table.knows(code), "{code}");
                assert!(touched.iter().all(|touched| table.knows(touched)), "{touched:?}");
            }
        }
    }

    #[test]
    fn the_levels_in_the_table_are_the_ones_that_are_compared() {
        let levels: Levels = read(CONFIDENTIALITY);
        let compared: Vec<&str> = ConfidentialityCode::ALL.iter().map(|code| code.letter()).collect();
        assert_eq!(levels.order, compared);
        assert!(ConfidentialityCode::ALL.is_sorted());
    }

    #[test]
    fn a_handling_label_is_no_sensitivity() {
        let table = handling();
        for code in table.obligations.iter().chain(&table.refrains) {
            assert!(!sensitivities().knows(code), "{code}");
        }
        assert!(table.synonyms.values().all(|code| table.refrains.contains(code)));
    }

    /// A changed table changes decisions: whoever changes one also writes its new digest into the README beside it.
    #[test]
    fn the_tables_are_the_ones_that_the_readme_pins() {
        let readme = include_str!("../../policies/terminology/README.md");
        for (name, text) in TABLES {
            let file = name.rsplit('/').next().expect("a name");
            let line = format!("| `{file}` | `{}` |", Digest::of(text.as_bytes()));
            assert!(readme.contains(&line), "policies/terminology/README.md lacks {line}");
        }
    }
}
