//! `medseal.json`: what a bundle says of itself, inside the seal.
//!
//! Rule: one strict JSON line, so that its digest in the tag manifest has one meaning. The consent and the obligations
//! are not here: they belong to a decision, and travel with each attempt.

use serde::{Deserialize, Serialize};

use super::document::Document;
use super::identity::PatientOfCase;
use crate::id::{BundleId, CaseId, Digest, InstitutionId, PatientIdentifier, Purpose};

/// What a bundle says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// `medseal-bundle@v1`.
    pub format: String,
    /// `records` or `opinion`.
    pub kind: String,
    /// The bundle.
    pub bundle: BundleId,
    /// The case, by the id of the institution that asks.
    pub case: CaseId,
    /// The sender.
    pub from: InstitutionId,
    /// The receiver.
    pub to: InstitutionId,
    /// Why it is sent, a code of v3-ActReason.
    pub purpose: Purpose,
    /// When it was sealed.
    pub created: String,
    /// What is asked; absent in an opinion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The patient, where the sender knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<DescribedPatient>,
    /// The documents, in the order of their paths.
    pub documents: Vec<Document>,
    /// Notices that must travel with the documents.
    pub notices: Vec<String>,
    /// What an opinion answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<DescribedAnswers>,
    /// What an opinion says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opinion: Option<DescribedOpinion>,
}

/// The patient, so that the receiver can compare the documents again.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedPatient {
    /// The identifiers.
    pub identifiers: Vec<PatientIdentifier>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The date of birth, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
}

impl std::fmt::Debug for DescribedPatient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DescribedPatient(hidden)")
    }
}

impl From<&PatientOfCase> for DescribedPatient {
    fn from(patient: &PatientOfCase) -> Self {
        Self {
            identifiers: patient.identifiers.clone(),
            name: patient.name.clone(),
            birth_date: patient.birth_date.map(|date| date.to_string()),
        }
    }
}

impl From<&DescribedPatient> for PatientOfCase {
    fn from(patient: &DescribedPatient) -> Self {
        Self {
            identifiers: patient.identifiers.clone(),
            name: patient.name.clone(),
            birth_date: patient.birth_date.as_ref().and_then(|text| text.parse().ok()),
        }
    }
}

/// What an opinion answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedAnswers {
    /// The bundle that was read.
    pub bundle: BundleId,
    /// The digest of the dispatch that it came with.
    pub dispatch: Digest,
}

/// What an opinion says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedOpinion {
    /// `confirmed`, `treatment-modified`, `diagnosis-changed` or `different`.
    pub outcome: String,
    /// `preliminary`, `final`, `addendum` or `corrected`.
    pub status: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The author's registration number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
}

impl Descriptor {
    /// The format word of this version.
    pub const FORMAT: &str = "medseal-bundle@v1";
}

/// The longest descriptor, in bytes: a hundred thousand documents fit.
pub const DESCRIPTOR_BYTES_MAX: usize = 64 << 20;
