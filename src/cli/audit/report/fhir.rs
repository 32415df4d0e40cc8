//! The accounting as FHIR R4 audit events, one a line: disclosures in the shapes of IHE BALP, the rest as plain events.
//!
//! Rule: derived from the accounting alone, so it tells of nobody else; a profile is named only where every element that
//! it asks for is there.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::desk::disclosures::{Line, Report};

/// NDJSON: one audit event for each line of the accounting.
pub(super) fn ndjson(report: &Report) -> String {
    let mut text = String::new();
    for line in &report.lines {
        writeln!(text, "{}", event(report, line)).expect("a string takes everything");
    }
    text
}

fn event(report: &Report, line: &Line) -> Value {
    let shape = Shape::of(line);
    let ours = agent(&report.id, &report.institution, &report.endpoint);
    let theirs = (!line.party_id.is_empty()).then(|| agent(&line.party_id, &line.party, &line.endpoint));
    let (source, recipient) = if shape.came_in { (theirs, Some(ours.clone())) } else { (Some(ours.clone()), theirs) };
    let with_type = |agent: Option<Value>, code: &str| {
        let mut agent = agent?;
        agent["type"] = concept(DCM, code);
        Some(agent)
    };
    let mut agents: Vec<Value> =
        [with_type(source, "110153"), with_type(recipient, "110152")].into_iter().flatten().collect();
    if !line.consent.is_empty() && line.disclosure {
        let who = json!({ "type": "Patient", "identifier": identifier(&report.patient) });
        agents.push(json!({ "type": concept(SNOMED, "429577009"), "who": who, "requestor": false }));
    }
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": line.leaf,
        "type": coding(shape.system, shape.code),
        "subtype": [coding(LIFECYCLE, shape.lifecycle), coding(OURS, &line.kind)],
        "action": shape.action,
        "recorded": line.at,
        "outcome": shape.outcome,
        "outcomeDesc": line.what,
        "agent": agents,
        "source": {
            "site": report.institution, "observer": ours["who"],
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4")],
        },
        "entity": entities(report, line),
    });
    // The profiles ask for both sides with their addresses.
    let both = agents_are_whole(&event["agent"]);
    if let Some(profile) = shape.profile.filter(|_| both) {
        event["meta"] = json!({ "profile": [format!("{BALP}{profile}")] });
    }
    if !line.purpose.is_empty() {
        event["purposeOfEvent"] = json!([{ "coding": [coding(REASON, &line.purpose)] }]);
    }
    event
}

/// How one kind of line is told in FHIR.
struct Shape {
    profile: Option<&'static str>,
    system: &'static str,
    code: &'static str,
    lifecycle: &'static str,
    action: &'static str,
    outcome: &'static str,
    came_in: bool,
}

impl Shape {
    fn of(line: &Line) -> Self {
        let plain = |lifecycle, action| Self {
            profile: None,
            system: DCM,
            code: "110100",
            lifecycle,
            action,
            outcome: "0",
            came_in: false,
        };
        match line.kind.as_str() {
            "release" | "receipt" => Self {
                profile: Some("IHE.BasicAudit.PrivacyDisclosure.Source"),
                code: "110106",
                // Sent, and nobody can prove that it arrived.
                outcome: if line.receipt.is_empty() { "4" } else { "0" },
                ..plain("disclose", "R")
            },
            "inbox" => Self {
                profile: Some("IHE.BasicAudit.PrivacyDisclosure.Recipient"),
                code: "110107",
                came_in: true,
                ..plain("disclose", "C")
            },
            "opened" => plain("access", "R"),
            "consent" | "opinion" => plain("originate", "C"),
            "retention" | "destroyed" | "recalled" => plain("destroy", "D"),
            "hold" => plain("hold", "E"),
            // Nothing left: the decision said no, or an attempt did not deliver.
            "refusal" | "attempt" => Self { code: "110113", outcome: "4", ..plain("transmit", "E") },
            _ => plain("amend", "E"),
        }
    }
}

fn entities(report: &Report, line: &Line) -> Vec<Value> {
    let patient = json!({
        "what": { "type": "Patient", "identifier": identifier(&report.patient) },
        "type": coding(ENTITY, "1"), "role": coding(ROLE, "1"),
    });
    let mut detail = vec![
        json!({ "type": "statement", "valueString": line.seq.to_string() }),
        json!({ "type": "leaf", "valueString": line.leaf }),
    ];
    let more = [("receipt", &line.receipt), ("proof", &line.proof), ("case", &line.case), ("basis", &line.basis)];
    detail.extend(
        more.iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| json!({ "type": name, "valueString": value })),
    );
    let (system, value) = match (line.bundle.as_str(), line.consent.as_str()) {
        ("", "") => ("urn:medseal:leaf", line.leaf.as_str()),
        ("", consent) => ("urn:medseal:consent", consent),
        (bundle, _) => ("urn:medseal:bundle", bundle),
    };
    let mut data = json!({
        "what": { "identifier": { "system": system, "value": value } },
        "type": coding(ENTITY, "2"), "role": coding(ROLE, "3"), "detail": detail,
    });
    if !line.description.is_empty() {
        data["description"] = json!(line.description);
    }
    let mut entities = vec![patient, data];
    if !line.consent.is_empty() && !line.bundle.is_empty() {
        entities.push(json!({
            "what": { "type": "Consent", "identifier": { "system": "urn:medseal:consent", "value": line.consent } },
            "type": coding("http://hl7.org/fhir/resource-types", "Consent"),
        }));
    }
    entities
}

fn agent(id: &str, name: &str, endpoint: &str) -> Value {
    let mut agent = json!({
        "who": { "identifier": { "system": "urn:medseal:institution", "value": id }, "display": name },
        "requestor": false,
    });
    if !endpoint.is_empty() {
        // 5: an address that is a URI.
        agent["network"] = json!({ "address": endpoint, "type": "5" });
    }
    agent
}

fn agents_are_whole(agents: &Value) -> bool {
    let has = |code: &str| {
        let mut agents = agents.as_array().into_iter().flatten();
        agents.any(|agent| agent["type"]["coding"][0]["code"] == code && agent.get("network").is_some())
    };
    has("110153") && has("110152")
}

/// The parts of `SYSTEM|VALUE`.
fn identifier(patient: &str) -> Value {
    let (system, value) = patient.split_once('|').unwrap_or(("", patient));
    json!({ "system": system, "value": value })
}

fn coding(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [coding(system, code)] })
}

const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/";
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const ENTITY: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SNOMED: &str = "http://snomed.info/sct";
/// The kinds of entries of our own log.
const OURS: &str = "urn:medseal:log:kind";
