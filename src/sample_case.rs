//! The built-in sample case: one patient, one question, and what a hospital would send for a second opinion.
//!
//! Rule: everyone in it is invented and every document says so; the same bytes each time.

use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::{Date, date};
use serde_json::{Value, json};

use crate::durable;
use crate::id::{Country, InstitutionId, PatientIdentifier};

mod ct;
mod letters;
mod pdf;

/// An invented institution of the sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SampleInstitution {
    /// Its id in the exchange.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its country.
    pub country: &'static str,
}

/// The hospital that asks.
pub const HOSPITAL: SampleInstitution =
    SampleInstitution { id: "saaremere", name: "Saaremere Regional Hospital", country: "EE" };

/// The institution that is asked.
pub const EXPERT: SampleInstitution =
    SampleInstitution { id: "nordhafen", name: "Nordhafen University Hospital", country: "DE" };

/// Where the sample case was written, and what a case needs to know of it.
#[derive(Clone)]
pub struct SampleCase {
    /// The patient's identifier, the one in every structured document.
    pub patient: PatientIdentifier,
    /// The patient's name.
    pub name: &'static str,
    /// The patient's birth date.
    pub birth_date: Date,
    /// What the expert is asked.
    pub question: &'static str,
    /// The folder to send.
    pub documents_dir: PathBuf,
    /// Class and date of the documents that cannot say so themselves, as `send --documents` takes it.
    pub documents_list: PathBuf,
    /// A document of another patient, such as gets into a folder by mistake.
    pub stray_file: PathBuf,
    /// Whom the stray document names.
    pub stray_name: &'static str,
    /// The expert's written opinion.
    pub opinion_file: PathBuf,
    /// Who wrote it, with the registration number.
    pub opinion_author: &'static str,
    /// The outcome that it states, as `opinion --outcome` takes it.
    pub opinion_outcome: &'static str,
}

impl std::fmt::Debug for SampleCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SampleCase").field("documents_dir", &self.documents_dir).finish_non_exhaustive()
    }
}

/// Writes the case below `dir`, which must exist and hold none of it yet.
pub fn write_to(dir: &Path) -> io::Result<SampleCase> {
    let documents_dir = dir.join("documents");
    for folder in [&documents_dir, &documents_dir.join("ct"), &dir.join("stray"), &dir.join("opinion")] {
        durable::create_dir(folder, 0o700)?;
    }
    let write = |path: PathBuf, bytes: &[u8]| durable::write_new(&path, bytes, 0o600).map(|()| path);
    write(documents_dir.join("discharge-summary.pdf"), &letters::discharge_summary())?;
    write(documents_dir.join("pathology-report.xml"), include_bytes!("sample_case/pathology-report.xml"))?;
    write(documents_dir.join("summary.fhir.json"), include_bytes!("sample_case/summary.fhir.json"))?;
    for number in 1..=ct::SLICES {
        write(documents_dir.join(format!("ct/slice-{number:02}.dcm")), &ct::image(&STUDY, number))?;
    }
    let list = serde_json::to_vec_pretty(&json!([
        { "path": "discharge-summary.pdf", "class": "18842-5", "confidentiality": "N", "date": "2025-09-12" }
    ]))?;
    Ok(SampleCase {
        patient: patient(),
        name: NAME,
        birth_date: date(1988, 4, 17),
        question: QUESTION,
        documents_list: write(dir.join("documents.json"), &list)?,
        stray_file: write(dir.join("stray/referral-cardiology.xml"), include_bytes!("sample_case/stray-referral.xml"))?,
        stray_name: "Marten Kivisaar",
        opinion_file: write(dir.join("opinion/second-opinion.pdf"), &letters::opinion())?,
        opinion_author: "Prof. Annika Thorvald, DE-NSURG-2271",
        opinion_outcome: "treatment-modified",
        documents_dir,
    })
}

/// The patient's identifier: an OID of HL7's example arc, and an invented number.
pub fn patient() -> PatientIdentifier {
    PatientIdentifier::new("urn:oid:2.16.840.1.113883.19.5.7301", "SK-204188").expect("a system and a value")
}

/// The patient's consent to the release, as FHIR R4 JSON in the profile of docs/CONSENT.md: this patient's records,
/// to this recipient, for treatment, from one day to another.
pub fn consent_json(
    patient: &PatientIdentifier,
    recipient: &InstitutionId,
    country: &Country,
    from: Date,
    until: Date,
) -> String {
    let coded = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let consent: Value = json!({
        "resourceType": "Consent",
        "id": "sample-consent",
        "status": "active",
        "scope": coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [coded("http://loinc.org", "59284-0")],
        "patient": {
            "identifier": { "system": patient.system(), "value": patient.value() },
            "display": NAME
        },
        "dateTime": from.to_string(),
        "performer": [{ "display": NAME }],
        "organization": [{
            "identifier": { "system": INSTITUTION_SYSTEM, "value": HOSPITAL.id },
            "display": HOSPITAL.name
        }],
        "policyRule": coded("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
        "provision": {
            "type": "permit",
            "period": { "start": from.to_string(), "end": until.to_string() },
            "actor": [{
                "role": coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
                "reference": {
                    "identifier": { "system": INSTITUTION_SYSTEM, "value": recipient.as_str() },
                    "display": format!("{recipient} ({country})")
                }
            }],
            "purpose": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" }]
        }
    });
    format!("{consent:#}\n")
}

const INSTITUTION_SYSTEM: &str = "urn:medseal:institution";

const NAME: &str = "Liisu Õunapuu";

const QUESTION: &str = "Astrocytoma, IDH-mutant, CNS WHO grade 2, left superior frontal gyrus, 34 mm, next to the \
    supplementary motor area. One seizure, no deficit. Early maximal safe resection with awake mapping, or active \
    surveillance with MRI every three months? Would you treat with an IDH inhibitor, and when?";

const STUDY: ct::Study<'static> = ct::Study {
    name: "Õunapuu^Liisu",
    patient_id: "SK-204188",
    issuer: "2.16.840.1.113883.19.5.7301",
    born: "19880417",
    sex: "F",
    date: "20250902",
    institution: "Saaremere Regional Hospital",
    referrer: "Rebane^Kaarel^^Dr.",
    accession: "CT-25-33917",
};
