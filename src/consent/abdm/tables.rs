//! The pinned tables of policies/terminology/ for India's health network: what its codes mean here.
//!
//! Rule: a code that no table lists is refused; one that a table lists without a meaning permits nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::super::{Class, Code};

/// The tables as they were compiled in; part of what a decision's policy digest covers.
pub(crate) const PURPOSES: &str = include_str!("../../../policies/terminology/abdm-purpose.json");
/// See [`PURPOSES`].
pub(crate) const HI_TYPES: &str = include_str!("../../../policies/terminology/abdm-hi-types.json");

/// What a purpose means; `None` when the network has no such code.
pub(super) fn purpose(code: &str) -> Option<Code> {
    static TABLE: LazyLock<Purposes> = LazyLock::new(|| serde_json::from_str(PURPOSES).expect(SHIPPED));
    let meaning = TABLE.means.get(code)?;
    Some(meaning.clone().map_or(Code::Elsewhere, Code::Known))
}

/// Whether a purpose may say that it refers to this value set.
pub(super) fn is_purpose_system(uri: &str) -> bool {
    static TABLE: LazyLock<Purposes> = LazyLock::new(|| serde_json::from_str(PURPOSES).expect(SHIPPED));
    TABLE.refers_to.iter().any(|known| known == uri)
}

/// Which classes of documents a kind of health information means; `None` when the network has no such kind.
pub(super) fn hi_type(name: &str) -> Option<Vec<Class>> {
    static TABLE: LazyLock<HiTypes> = LazyLock::new(|| serde_json::from_str(HI_TYPES).expect(SHIPPED));
    let meaning = TABLE.means.get(name)?;
    let loinc = meaning.loinc.iter().cloned().map(Class::Loinc);
    let classes: Vec<Class> = loinc.chain(meaning.media_types.iter().cloned().map(Class::MediaType)).collect();
    Some(if classes.is_empty() { vec![Class::Elsewhere] } else { classes })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purposes {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "source")]
    _source: String,
    refers_to: Vec<String>,
    means: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HiTypes {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "source")]
    _source: String,
    means: BTreeMap<String, Meaning>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meaning {
    loinc: Vec<String>,
    media_types: Vec<String>,
}

const SHIPPED: &str = "the shipped tables are read by a test";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_tables_are_read_and_an_unknown_code_is_none() {
        assert_eq!(purpose("CAREMGT"), Some(Code::Known("CAREMGT".to_owned())));
        assert_eq!(purpose("BTG"), Some(Code::Elsewhere));
        assert_eq!(purpose("caremgt"), None);
        assert_eq!(hi_type("WellnessRecord"), Some(vec![Class::Elsewhere]));
        assert!(
            hi_type("DiagnosticReport").is_some_and(|classes| classes.contains(&Class::Loinc("11526-1".to_owned())))
        );
        assert_eq!(hi_type("X-Ray"), None);
    }
}
