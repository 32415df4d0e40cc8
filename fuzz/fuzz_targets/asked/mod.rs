//! One ordinary release, asked about: a discharge summary of March 2026, to heidelberg.

#![allow(dead_code, reason = "each target asks in its own way")]

use std::collections::BTreeMap;

use medseal::bundle::document::{Confidentiality, ConfidentialityCode, DateRange, Document, PatientCheck};
use medseal::consent::{Answer, Consent, ConsentError, Granted, OnFile, Question, evaluate};
use medseal::decision::DELIVERY_MEETS;
use medseal::id::{ConsentId, Digest, PatientIdentifier, Purpose};
use serde_json::{Value, json};

/// A consent as it was read.
pub(crate) type Read = Result<Consent, ConsentError>;

/// The consent by which it is permitted, if one does.
pub(crate) fn granted(
    consents: Vec<Read>,
    patient: &PatientIdentifier,
    purpose: &Purpose,
    sensitivity: Option<&str>,
) -> Option<Granted> {
    let on_file = |(number, consent): (usize, Read)| OnFile {
        id: format!("consent-{number:016}").parse::<ConsentId>().unwrap_or_else(|_| ConsentId::random()),
        version: 1,
        withdrawn: None,
        countries: BTreeMap::from([("heidelberg".parse().expect("an id"), "DE".parse().expect("a country"))]),
        sha256: Digest::of(b"not looked at"),
        depends: None,
        consent,
    };
    let on_file: Vec<OnFile> = consents.into_iter().enumerate().map(on_file).collect();
    let day = |text: &str| text.parse().expect("a day");
    let document = Document {
        path: "summary.pdf".parse().expect("a path"),
        media_type: "application/pdf".to_owned(),
        class: Some("18842-5".to_owned()),
        title: None,
        confidentiality: Confidentiality { code: ConfidentialityCode::N, assumed: false },
        sensitivity: sensitivity.into_iter().map(str::to_owned).collect(),
        date: Some(DateRange::new(day("2026-03-01"), day("2026-03-05")).expect("a range")),
        patient_check: PatientCheck::Match,
        bytes: 5,
        sha256: Digest::of(b"bytes"),
    };
    let question = Question {
        patient: std::slice::from_ref(patient),
        recipient: &"heidelberg".parse().expect("an id"),
        country: &"DE".parse().expect("a country"),
        purpose,
        documents: std::slice::from_ref(&document),
        zone: &jiff::tz::TimeZone::UTC,
        obligations_met: &DELIVERY_MEETS.iter().map(|code| (*code).to_owned()).collect(),
        now: "2026-11-22T10:00:00Z".parse().expect("a time"),
    };
    match evaluate(&on_file, &question) {
        Answer::Permits(granted) => granted.into_iter().next(),
        Answer::Refuses(findings) => {
            assert!(!findings.is_empty(), "a refusal says why");
            None
        }
    }
}

/// A consent of this patient that permits it, with these purposes and labels.
pub(crate) fn consent(patient: &PatientIdentifier, purpose: &Value, labels: &Value) -> String {
    let mut consent = json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": patient.system(), "value": patient.value()}},
        "dateTime": "2026-01-10",
        "provision": {
            "type": "permit",
            "period": {"start": "2026-01-10", "end": "2026-12-31"},
            "actor": [{
                "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                "reference": {"identifier": {"system": "urn:medseal:institution", "value": "heidelberg"}},
            }],
            "purpose": [purpose],
        },
    });
    if labels.as_array().is_some_and(|labels| !labels.is_empty()) {
        consent["provision"]["securityLabel"] = labels.clone();
    }
    consent.to_string()
}

/// A consent of this patient that denies everything.
pub(crate) fn dissent(patient: &PatientIdentifier) -> String {
    let mut dissent: Value = serde_json::from_str(&consent(patient, &json!({}), &json!([]))).expect("JSON");
    dissent["provision"] = json!({"type": "deny"});
    dissent.to_string()
}
