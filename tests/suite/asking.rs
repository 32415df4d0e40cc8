//! What the tests of consents and decisions ask about: one ordinary release, to be changed a little.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use medseal::bundle::document::{Confidentiality, ConfidentialityCode, DateRange, Document, PatientCheck};
use medseal::clock::Timestamp;
use medseal::consent::{Consent, OnFile};
use medseal::decision::{
    Basis, CaseState, Confirmation, DELIVERY_MEETS, Denied, Gates, Kind, PartnerState, Permit, Request, decide,
};
use medseal::id::{BundleId, CaseId, ConsentId, Digest, SubjectId};
use medseal::partner::{Standing, TransferBasis};
use medseal::policy::Policy;
use serde_json::{Value, json};

pub(crate) const NOW: &str = "2026-11-22T10:00:00Z";
pub(crate) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
pub(crate) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub(crate) const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
pub(crate) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// An active consent: records of one patient may go to heidelberg for treatment, until the end of 2026.
pub(crate) fn consent() -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": "https://st-mary.example/mrn", "value": "4711"}},
        "dateTime": "2026-01-10",
        "policy": [{"uri": "https://st-mary.example/policies/second-opinion"}],
        "provision": {
            "type": "permit",
            "period": {"start": "2026-01-10", "end": "2026-12-31"},
            "actor": [recipient("heidelberg")],
            "purpose": [{"system": ACT_REASON, "code": "TREAT"}],
        },
    })
}

/// The same in FHIR R5, which can name a recipient only in an exception to a base denial.
pub(crate) fn consent_r5() -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "subject": {"identifier": {"system": "https://st-mary.example/mrn", "value": "4711"}},
        "date": "2026-01-10",
        "period": {"start": "2026-01-10", "end": "2026-12-31"},
        "decision": "deny",
        "provision": [{
            "actor": [recipient("heidelberg")],
            "purpose": [{"system": ACT_REASON, "code": "TREAT"}],
        }],
    })
}

/// An active consent that denies everything to everyone, limited by what the caller adds to its provision.
pub(crate) fn dissent() -> Value {
    let mut dissent = consent();
    dissent["provision"] = json!({"type": "deny"});
    dissent
}

pub(crate) fn recipient(id: &str) -> Value {
    json!({
        "role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]},
        "reference": {"identifier": {"system": "urn:medseal:institution", "value": id}},
    })
}

/// `value` with `change` made to it.
pub(crate) fn with(mut value: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut value);
    value
}

/// The consent as it is kept, recorded while heidelberg and mayo had their present countries.
pub(crate) fn on_file(resource: &Value) -> OnFile {
    let id = |text: &str| text.parse().expect("an institution id");
    let country = |text: &str| text.parse().expect("a country");
    OnFile {
        id: ConsentId::random(),
        version: 1,
        withdrawn: None,
        countries: BTreeMap::from([(id("heidelberg"), country("DE")), (id("mayo"), country("US"))]),
        sha256: Digest::of(&serde_json::to_vec(resource).expect("serialises")),
        depends: None,
        consent: Consent::parse(&serde_json::to_vec(resource).expect("serialises")),
    }
}

pub(crate) fn withdrawn(resource: &Value) -> OnFile {
    OnFile { withdrawn: Some(at("2026-11-01T00:00:00Z")), ..on_file(resource) }
}

/// A discharge summary of March 2026, stated to be of normal confidentiality.
pub(crate) fn document(path: &str) -> Document {
    Document {
        path: path.parse().expect("a path"),
        media_type: "application/pdf".to_owned(),
        class: Some("18842-5".to_owned()),
        title: None,
        confidentiality: Confidentiality { code: ConfidentialityCode::N, assumed: false },
        sensitivity: Vec::new(),
        date: Some(days("2026-03-01", "2026-03-05")),
        patient_check: PatientCheck::Match,
        bytes: 5,
        sha256: Digest::of(b"bytes"),
    }
}

pub(crate) fn days(first: &str, last: &str) -> DateRange {
    let day = |text: &str| text.parse().expect("a day");
    DateRange::new(day(first), day(last)).expect("a range")
}

pub(crate) fn label(mut document: Document, code: ConfidentialityCode) -> Document {
    document.confidentiality.code = code;
    document.confidentiality.assumed = false;
    document
}

pub(crate) fn dated(mut document: Document, first: &str, last: &str) -> Document {
    document.date = Some(days(first, last));
    document
}

pub(crate) fn sensitive(mut document: Document, code: &str) -> Document {
    document.sensitivity.push(code.to_owned());
    document
}

/// Records of one document to heidelberg, with these consents on file.
pub(crate) fn request(consents: Vec<OnFile>) -> Request {
    let id = |text: &str| text.parse().expect("an institution id");
    Request {
        bundle: BundleId::random(),
        attempt: 1,
        kind: Kind::Records,
        basis: Basis::Consent,
        case: CaseState {
            id: CaseId::random(),
            open: true,
            partners: BTreeSet::from([id("heidelberg"), id("mayo")]),
            purpose: "TREAT".parse().expect("a purpose"),
            subject: SubjectId::random(),
        },
        partner: PartnerState {
            id: id("heidelberg"),
            country: "DE".parse().expect("a country"),
            standing: Standing::Active,
            agreement_from: at("2026-01-01T00:00:00Z"),
            agreement_until: Some(at("2027-12-31T00:00:00Z")),
            transfer_basis: TransferBasis::Scc,
            card: Digest::of(b"card"),
            card_expires: at("2027-11-22T00:00:00Z"),
            part2: false,
            has_valid_recipient_key: true,
            recipient_key_begins_later: false,
        },
        confirmation: Confirmation::none(1000),
        documents: vec![document("summary.pdf")],
        patient: vec!["https://st-mary.example/mrn|4711".parse().expect("an identifier")],
        birth_date: None,
        consents,
        obligations_met: DELIVERY_MEETS.iter().map(|each| (*each).to_owned()).collect(),
        origin_country: "IN".parse().expect("a country"),
        zone: jiff::tz::TimeZone::get("Asia/Kolkata").expect("a zone"),
        read_at: at(NOW),
    }
}

pub(crate) fn gates() -> Gates {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    Gates::new(Arc::clone(POLICY.get_or_init(|| Arc::new(Policy::shipped()))))
}

/// The decision at `now`, on facts read at `now`.
pub(crate) fn ask_at(request: &mut Request, now: &str) -> Result<Permit, Denied> {
    request.read_at = at(now);
    decide(&gates(), request, at(now))
}

/// `ALLOW`, or the code that helps most.
pub(crate) fn code_at(request: &mut Request, now: &str) -> &'static str {
    ask_at(request, now).map_or_else(|denied| denied.reason.code(), |_| "ALLOW")
}

/// The same, now, for one document and these consents.
pub(crate) fn code(document: Document, consents: &[Value]) -> &'static str {
    let mut request = request(consents.iter().map(on_file).collect());
    request.documents = vec![document];
    code_at(&mut request, NOW)
}
