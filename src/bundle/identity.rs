//! Is the patient whom a document names the patient of the case?
//!
//! Rule: only an identifier of the same issuer makes a match; a name and a birth date alone never do, they only spare
//! a conflict, and a person decides. The words here name the patient: they go to the clerk's own terminal and into
//! sealed records, nowhere else.

mod names;

use std::fmt;

use jiff::civil::Date;

use self::names::Name;
use super::survey::{Checked, PatientSeen, SeenIdentifier, Surveyed};
use crate::id::PatientIdentifier;

/// The patient of a case, as the institution knows them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct PatientOfCase {
    /// Identifiers, with every alias that a clerk has confirmed.
    pub identifiers: Vec<PatientIdentifier>,
    /// The name, if known.
    pub name: Option<String>,
    /// The birth date, if known.
    pub birth_date: Option<Date>,
}

impl fmt::Debug for PatientOfCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientOfCase(hidden)")
    }
}

/// What a comparison found; the words say why, naming values.
#[derive(Clone, Eq, PartialEq)]
pub enum Likeness {
    /// The same patient.
    Match,
    /// Perhaps the same; a clerk confirms.
    Unknown(String),
    /// Another patient.
    Conflict(String),
    /// Nothing to compare.
    NotChecked(String),
}

impl Likeness {
    /// The words, if it is no match.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Match => None,
            Self::Unknown(why) | Self::Conflict(why) | Self::NotChecked(why) => Some(why),
        }
    }

    /// What outweighs what when a document names several patients.
    fn weight(&self) -> u8 {
        match self {
            Self::Match => 0,
            Self::NotChecked(_) => 1,
            Self::Unknown(_) => 2,
            Self::Conflict(_) => 3,
        }
    }
}

impl fmt::Debug for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Match => "Match",
            Self::Unknown(_) => "Unknown(hidden)",
            Self::Conflict(_) => "Conflict(hidden)",
            Self::NotChecked(_) => "NotChecked(hidden)",
        })
    }
}

/// Compares whom a surveyed document names with the patient of the case. Another patient is a conflict even where
/// the document was not searched to its end; a match counts only where it was.
pub fn check(surveyed: &Surveyed, case: &PatientOfCase) -> Likeness {
    let likeness = compare(&surveyed.patients, case);
    match (&surveyed.checked, likeness) {
        (Checked::Yes, likeness) | (Checked::No(_), likeness @ Likeness::Conflict(_)) => likeness,
        (Checked::No(why), _) => Likeness::NotChecked((*why).to_owned()),
    }
}

/// Compares every patient whom a document names with the patient of the case: one stranger among them is a conflict.
pub fn compare(seen: &[PatientSeen], case: &PatientOfCase) -> Likeness {
    seen.iter()
        .map(|patient| compare_one(patient, case))
        .max_by_key(Likeness::weight)
        .unwrap_or_else(|| Likeness::NotChecked("the document names no patient".to_owned()))
}

fn compare_one(seen: &PatientSeen, case: &PatientOfCase) -> Likeness {
    let name = compare_names(seen, case);
    let birth = compare_births(seen, case);
    let person = describe(seen);
    let contradicts = name == Some(false) || birth == Some(false);

    match by_identifier(&seen.identifiers, &case.identifiers) {
        // One wrong number is a slip of the pen in two other places, or another person's number on this document.
        ByIdentifier::Same if name == Some(false) && birth == Some(false) => Likeness::Conflict(format!(
            "the document names {person}: the identifier is the case's, but name and birth date are not"
        )),
        ByIdentifier::SameValue if contradicts => Likeness::Conflict(format!(
            "the document names {person}: the number without issuer fits, {} not",
            what(name, birth)
        )),
        ByIdentifier::Same | ByIdentifier::SameValue => Likeness::Match,
        ByIdentifier::Other(system) => {
            Likeness::Conflict(format!("the document names {person}: another identifier of the same issuer ({system})"))
        }
        ByIdentifier::Nothing if contradicts => {
            Likeness::Conflict(format!("the document names {person}: {} not the case's", what(name, birth)))
        }
        ByIdentifier::Nothing => match (name, birth) {
            (Some(true), Some(true)) => {
                Likeness::Unknown(format!("the document names {person}: other issuer, same name and birth date"))
            }
            (Some(true), _) => Likeness::Unknown(format!(
                "the document names {person}: the name fits, no identifier and no birth date to compare"
            )),
            (_, Some(true)) => Likeness::Unknown(format!(
                "the document names {person}: the birth date fits, no identifier and no name to compare"
            )),
            _ => Likeness::NotChecked(format!(
                "the document names {person}: nothing that the case knows can be compared"
            )),
        },
    }
}

/// The parts that contradict, with their verb.
fn what(name: Option<bool>, birth: Option<bool>) -> &'static str {
    match (name, birth) {
        (Some(false), Some(false)) => "name and birth date are",
        (Some(false), _) => "the name is",
        _ => "the birth date is",
    }
}

enum ByIdentifier {
    /// An issuer and its value are equal.
    Same,
    /// A value without an issuer is equal.
    SameValue,
    /// An issuer is shared, its values are not.
    Other(String),
    /// No issuer is shared.
    Nothing,
}

fn by_identifier(seen: &[SeenIdentifier], case: &[PatientIdentifier]) -> ByIdentifier {
    let mut found = ByIdentifier::Nothing;
    for theirs in seen {
        for ours in case {
            let same_value = same_value(&theirs.value, ours.value());
            match &theirs.system {
                Some(system) if same_system(system, ours.system()) => {
                    if same_value {
                        return ByIdentifier::Same;
                    }
                    found = ByIdentifier::Other(ours.system().to_owned());
                }
                // A number without issuer never outweighs one with.
                None if same_value && matches!(found, ByIdentifier::Nothing) => found = ByIdentifier::SameValue,
                _ => {}
            }
        }
    }
    found
}

/// Issuers are URIs: equal as they stand, but an OID may be bare and a trailing slash says nothing.
fn same_system(a: &str, b: &str) -> bool {
    fn plain(system: &str) -> &str {
        let system = system.trim();
        match system.get(..8) {
            Some(start) if start.eq_ignore_ascii_case("urn:oid:") => &system[8..],
            _ => system.strip_suffix('/').unwrap_or(system),
        }
    }
    plain(a) == plain(b)
}

fn same_value(a: &str, b: &str) -> bool {
    a.trim() == b.trim()
}

/// `None` when there is nothing to compare.
fn compare_names(seen: &PatientSeen, case: &PatientOfCase) -> Option<bool> {
    let ours = Name::read(case.name.as_deref()?)?;
    let theirs: Vec<_> = seen.names.iter().filter_map(|name| Name::read(name)).collect();
    if theirs.is_empty() {
        return None;
    }
    Some(theirs.iter().any(|name| name.fits(&ours)))
}

/// `None` when there is nothing to compare; a date without its day fits every day in it, but is no proof of it.
fn compare_births(seen: &PatientSeen, case: &PatientOfCase) -> Option<bool> {
    let (theirs, ours) = (seen.birth_date.as_deref()?, case.birth_date?.to_string());
    if theirs == ours {
        return Some(true);
    }
    if ours.starts_with(theirs) { None } else { Some(false) }
}

fn describe(seen: &PatientSeen) -> String {
    let mut text = seen.name().unwrap_or("a patient without a name").to_owned();
    if let Some(birth_date) = &seen.birth_date {
        text.push_str(", born ");
        text.push_str(birth_date);
    }
    if let Some(identifier) = seen.identifiers.first() {
        text.push_str(", ");
        text.push_str(&identifier.value);
    }
    text
}
