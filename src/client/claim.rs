//! What the sender says of a document before its bytes come.
//!
//! Rule: a claim only lets the gateway refuse early; it surveys the bytes itself.

use serde::Serialize;

use crate::bundle::document::{ConfidentialityCode, DateRange};
use crate::bundle::path::BundlePath;
use crate::bundle::survey::{Checked, PatientSeen, Sex, Surveyed};

/// A document that is about to be sent.
#[derive(Serialize)]
pub struct Claim {
    /// Its path in the bundle.
    pub path: BundlePath,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What a person says of it, which stands above what is read from it.
    #[serde(flatten)]
    pub given: Given,
    /// What its head says of itself.
    pub seen: Seen,
}

/// What a person says of a document.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Given {
    /// The LOINC code of its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How confidential it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidentiality: Option<ConfidentialityCode>,
    /// Codes of v3-ActCode; `None` where nothing was said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Vec<String>>,
    /// The days that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<DateRange>,
}

/// What the head of a document says of itself.
#[derive(Serialize)]
pub struct Seen {
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<DateRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Why it was not searched for names to its end; absent where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_checked: Option<&'static str>,
    patients: Vec<Patient>,
}

#[derive(Serialize)]
struct Patient {
    identifiers: Vec<Identifier>,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birth_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sex: Option<&'static str>,
}

#[derive(Serialize)]
struct Identifier {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    value: String,
}

impl From<Surveyed> for Seen {
    fn from(surveyed: Surveyed) -> Self {
        Self {
            media_type: surveyed.media_type,
            class: surveyed.class,
            date: surveyed.date.and_then(|(first, last)| DateRange::new(first, last).ok()),
            title: surveyed.title,
            not_checked: match surveyed.checked {
                Checked::Yes => None,
                Checked::No(why) => Some(why),
            },
            patients: surveyed.patients.into_iter().map(Patient::from).collect(),
        }
    }
}

impl From<PatientSeen> for Patient {
    fn from(seen: PatientSeen) -> Self {
        let identifier = |id: crate::bundle::survey::SeenIdentifier| Identifier { system: id.system, value: id.value };
        Self {
            identifiers: seen.identifiers.into_iter().map(identifier).collect(),
            names: seen.names,
            birth_date: seen.birth_date,
            sex: seen.sex.map(|sex| match sex {
                Sex::Female => "female",
                Sex::Male => "male",
                Sex::Other => "other",
            }),
        }
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claim(hidden)")
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen(hidden)")
    }
}
