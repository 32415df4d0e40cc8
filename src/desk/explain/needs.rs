//! What a new consent would have to say, and that consent, so that it can be tried.
//!
//! Rule: as narrow as the documents allow; a consent that says more than this permits too.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::bundle::document::ConfidentialityCode;
use crate::clock::Timestamp;
use crate::consent::{Consent, INSTITUTION_SYSTEM, OnFile};
use crate::decision::Request;
use crate::id::{ConsentId, Digest, InstitutionId, Purpose};

/// What a consent must say to permit a release.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Needs {
    /// Whom it must name.
    pub recipient: InstitutionId,
    /// For what.
    pub purpose: Purpose,
    /// The classes that it must have if it is limited to classes; `None`: it must not be.
    pub classes: Option<BTreeSet<String>>,
    /// The confidentiality that it must reach if it is limited by labels; `None`: it must not be.
    pub confidentiality: Option<ConfidentialityCode>,
    /// The sensitivities that it must name in any case.
    pub sensitivity: BTreeSet<String>,
}

impl Needs {
    pub(super) fn of(request: &Request) -> Self {
        let documents = &request.documents;
        let stated = documents.iter().all(|document| !document.confidentiality.assumed);
        Self {
            recipient: request.partner.id.clone(),
            purpose: request.case.purpose.clone(),
            classes: documents.iter().map(|document| document.class.clone()).collect(),
            confidentiality: documents.iter().map(|document| document.confidentiality.code).max().filter(|_| stated),
            sensitivity: documents.iter().flat_map(|document| document.sensitivity.iter().cloned()).collect(),
        }
    }

    /// The narrowest consent of this kind, given now for a year.
    pub(super) fn on_file(&self, request: &Request, now: Timestamp) -> OnFile {
        let resource = self.resource(request, now).to_string();
        OnFile {
            id: ConsentId::random(),
            version: 1,
            withdrawn: None,
            countries: BTreeMap::from([(request.partner.id.clone(), request.partner.country.clone())]),
            sha256: Digest::of(resource.as_bytes()),
            depends: None,
            consent: Consent::parse(resource.as_bytes()),
        }
    }

    fn resource(&self, request: &Request, now: Timestamp) -> Value {
        let coded = |system: &str, code: &str| json!({ "coding": [{ "system": hl7(system), "code": code }] });
        let today = now.to_zoned(request.zone.clone()).date();
        let (start, end) = (today.yesterday().unwrap_or(today), today.checked_add(1.years()).unwrap_or(today));
        let mut provision = json!({
            "type": "permit",
            "period": { "start": start.to_string(), "end": end.to_string() },
            "actor": [{
                "role": coded("v3-ParticipationType", "IRCP"),
                "reference": { "identifier": { "system": INSTITUTION_SYSTEM, "value": self.recipient } },
            }],
            "purpose": [{ "system": hl7("v3-ActReason"), "code": self.purpose }],
        });
        if let Some(classes) = &self.classes {
            let class = |code: &String| json!({ "system": "http://loinc.org", "code": code });
            provision["class"] = classes.iter().map(class).collect();
        }
        let mut labels: Vec<Value> =
            self.sensitivity.iter().map(|code| json!({ "system": hl7("v3-ActCode"), "code": code })).collect();
        labels.extend(self.confidentiality.map(|code| json!({ "system": hl7("v3-Confidentiality"), "code": code })));
        if !labels.is_empty() {
            provision["securityLabel"] = labels.into();
        }
        json!({
            "resourceType": "Consent",
            "status": "active",
            "scope": coded("consentscope", "patient-privacy"),
            "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
            "patient": request.patient.first().map(|patient| json!({
                "identifier": { "system": patient.system(), "value": patient.value() },
            })),
            "dateTime": start.to_string(),
            "provision": provision,
        })
    }

    pub(super) fn in_words(&self) -> String {
        let mut parts = vec![format!("names {} as recipient and the purpose {}", self.recipient, self.purpose)];
        parts.push(match &self.classes {
            Some(classes) if classes.len() == 1 => format!("covers the class {}", listed(classes)),
            Some(classes) => format!("covers the classes {}", listed(classes)),
            None => "is not limited to classes (a document states none)".to_owned(),
        });
        parts.push(match self.confidentiality {
            Some(code) => format!("covers the confidentiality {}", code.letter()),
            None => "is not limited by confidentiality (that of a document is assumed)".to_owned(),
        });
        if !self.sensitivity.is_empty() {
            parts.push(format!("names the sensitivity {}", listed(&self.sensitivity)));
        }
        let last = parts.pop().unwrap_or_default();
        format!("ask the patient for a consent that {}, and {last}", parts.join(", "))
    }
}

fn hl7(system: &str) -> String {
    format!("http://terminology.hl7.org/CodeSystem/{system}")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(items: &BTreeSet<String>) -> String {
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    match items.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
