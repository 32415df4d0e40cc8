//! What the sender says of a document before its bytes come.
//!
//! Rule: a claim only lets the gateway refuse early; it surveys the bytes itself.

use serde::{Deserialize, Serialize};

use super::document::{ConfidentialityCode, DateRange};
use super::path::BundlePath;
use super::survey::{Checked, PatientSeen, SeenIdentifier, Sex, Surveyed};

/// A document that is about to be sent.
#[derive(Clone, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
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
#[derive(Clone, Deserialize, Serialize)]
pub struct Seen {
    /// The media type.
    pub media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The LOINC code of its class.
    pub class: Option<String>,
    /// The days that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<DateRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Why it was not searched for names to its end; absent where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_checked: Option<String>,
    patients: Vec<Patient>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Patient {
    identifiers: Vec<Identifier>,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birth_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sex: Option<String>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Identifier {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    value: String,
}

impl From<Surveyed> for Seen {
    fn from(surveyed: Surveyed) -> Self {
        Self {
            media_type: surveyed.media_type.to_owned(),
            class: surveyed.class,
            date: surveyed.date.and_then(|(first, last)| DateRange::new(first, last).ok()),
            title: surveyed.title,
            not_checked: match surveyed.checked {
                Checked::Yes => None,
                Checked::No(why) => Some(why.to_owned()),
            },
            patients: surveyed.patients.into_iter().map(Patient::from).collect(),
        }
    }
}

impl From<PatientSeen> for Patient {
    fn from(seen: PatientSeen) -> Self {
        let identifier = |id: SeenIdentifier| Identifier { system: id.system, value: id.value };
        Self {
            identifiers: seen.identifiers.into_iter().map(identifier).collect(),
            names: seen.names,
            birth_date: seen.birth_date,
            sex: seen.sex.map(|sex| match sex {
                Sex::Female => "female".to_owned(),
                Sex::Male => "male".to_owned(),
                Sex::Other => "other".to_owned(),
            }),
        }
    }
}

impl Seen {
    /// Whom the head names.
    pub fn patients(&self) -> Vec<PatientSeen> {
        self.patients.iter().map(PatientSeen::from).collect()
    }
}

impl From<&Patient> for PatientSeen {
    fn from(patient: &Patient) -> Self {
        let identifier = |id: &Identifier| SeenIdentifier { system: id.system.clone(), value: id.value.clone() };
        Self {
            identifiers: patient.identifiers.iter().map(identifier).collect(),
            names: patient.names.clone(),
            birth_date: patient.birth_date.clone(),
            sex: None,
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
