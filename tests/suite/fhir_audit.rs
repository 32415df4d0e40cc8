//! Are the audit events of an accounting what FHIR R4 and the profiles of IHE BALP ask for, element by element?

use std::collections::BTreeSet;

use serde_json::Value;

use medseal::sample_case;

use crate::site::{Pair, Site};

/// The elements of FHIR R4's `AuditEvent` that may be here, by the path of what holds them.
const ELEMENTS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "resourceType",
            "id",
            "meta",
            "type",
            "subtype",
            "action",
            "recorded",
            "outcome",
            "outcomeDesc",
            "purposeOfEvent",
            "agent",
            "source",
            "entity",
        ],
    ),
    ("meta", &["profile"]),
    ("type", &["system", "code", "display"]),
    ("subtype", &["system", "code", "display"]),
    ("purposeOfEvent", &["coding", "text"]),
    ("agent", &["type", "who", "requestor", "network"]),
    ("agent.type", &["coding", "text"]),
    ("agent.network", &["address", "type"]),
    ("source", &["site", "observer", "type"]),
    ("source.type", &["system", "code", "display"]),
    ("entity", &["what", "type", "role", "description", "detail"]),
    ("entity.type", &["system", "code", "display"]),
    ("entity.role", &["system", "code", "display"]),
    ("entity.detail", &["type", "valueString"]),
];

fn members<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).fold(vec![value], |found, part| {
        let inner = found.into_iter().filter_map(|value| value.get(part));
        inner.flat_map(|value| value.as_array().map_or_else(|| vec![value], |list| list.iter().collect())).collect()
    })
}

fn texts<'a>(value: &'a Value, path: &str) -> Vec<&'a str> {
    members(value, path).into_iter().filter_map(Value::as_str).collect()
}

/// What FHIR R4 asks of every `AuditEvent`.
fn fhir_r4(event: &Value) {
    assert_eq!(event["resourceType"], "AuditEvent");
    for (path, allowed) in ELEMENTS {
        for holder in members(event, path) {
            for (name, value) in holder.as_object().expect("an object") {
                assert!(allowed.contains(&name.as_str()), "{path}.{name} is no element: {event}");
                let empty = value == "" || value == &serde_json::json!([]) || value == &serde_json::json!({});
                assert!(!empty && !value.is_null(), "{path}.{name} is empty: {event}");
            }
        }
    }
    let id = event["id"].as_str().expect("an id");
    assert!(id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.'), "{id}");
    assert_eq!(members(event, "type").len(), 1);
    assert!(event["type"]["system"].is_string() && event["type"]["code"].is_string());
    assert!(["C", "R", "U", "D", "E"].contains(&event["action"].as_str().expect("a code")));
    assert!(["0", "4", "8", "12"].contains(&event["outcome"].as_str().expect("a code")));
    let recorded = event["recorded"].as_str().expect("an instant");
    assert!(recorded.parse::<medseal::clock::Timestamp>().is_ok() && recorded.ends_with('Z'), "{recorded}");
    assert!(!members(event, "agent").is_empty() && event["source"]["observer"].is_object());
    for agent in members(event, "agent") {
        assert!(agent["requestor"].is_boolean(), "{agent}");
        let network = agent.get("network");
        assert!(
            network.is_none_or(|network| ["1", "2", "3", "4", "5"].contains(&network["type"].as_str().unwrap_or("")))
        );
    }
    for what in members(event, "entity.what").into_iter().chain(members(event, "agent.who")) {
        assert!(what["identifier"]["system"].is_string() && what["identifier"]["value"].is_string(), "{what}");
    }
    for detail in members(event, "entity.detail") {
        assert!(detail["type"].is_string() && detail["valueString"].is_string(), "{detail}");
    }
}

/// What IHE BALP asks of a disclosure, at its source or at its recipient.
fn balp(event: &Value, profile: &str, code: &str, action: &str, recorded_by: &str) {
    assert_eq!(
        texts(event, "meta.profile"),
        [format!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/{profile}")]
    );
    assert_eq!(event["type"]["system"], "http://dicom.nema.org/resources/ontology/DCM");
    assert_eq!((&event["type"]["code"], &event["action"]), (&code.into(), &action.into()));
    let disclose = |subtype: &&Value| {
        subtype["system"] == "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
            && subtype["code"] == "disclose"
    };
    assert!(members(event, "subtype").iter().any(disclose));
    assert!(event.get("outcome").is_some() && members(event, "agent").len() >= 2);
    for role in ["110153", "110152"] {
        let with = |agent: &&Value| texts(agent, "type.coding.code") == [role];
        let agents: Vec<&Value> = members(event, "agent").into_iter().filter(with).collect();
        let [agent] = agents[..] else { panic!("one agent {role}: {event}") };
        assert!(agent["who"].is_object() && agent["network"]["address"].is_string(), "{agent}");
        if role == recorded_by {
            assert_eq!(agent["who"], event["source"]["observer"], "the source recorded it");
        }
    }
    let patient = |entity: &&Value| entity["type"]["code"] == "1";
    let entities = members(event, "entity");
    let patients: Vec<&Value> = entities.iter().copied().filter(patient).collect();
    let [patient] = patients[..] else { panic!("one patient: {event}") };
    assert_eq!((&patient["what"]["type"], &patient["role"]["code"]), (&"Patient".into(), &"1".into()));
    assert!(entities.len() >= 2, "and what was disclosed");
}

fn events(pair: &Pair, site: &Site, patient: &str, name: &str) -> Vec<Value> {
    let out = pair.folder.path().join(name);
    let folder = out.to_string_lossy().into_owned();
    let ran = site.run(&["audit", "report", "--patient", patient, "--officer", "--fhir", "--out", &folder]).ok();
    let text = std::fs::read_to_string(out.join("report.fhir.ndjson")).expect("written");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events.len() as u64, ran.json["lines"].as_u64().expect("a number"));
    events.iter().for_each(fhir_r4);
    let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), events.len(), "no id twice");
    events
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let has = |event: &&Value| members(event, "subtype").iter().any(|subtype| subtype["code"] == kind);
    events.iter().filter(has).collect()
}

#[test]
fn every_line_of_an_accounting_is_an_audit_event_and_disclosures_fit_their_profile() {
    let pair = Pair::ready();
    let patient = sample_case::patient().to_string();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let out = pair.folder.path().join("read").to_string_lossy().into_owned();
    pair.institute.run(&["open", &bundle, "--out", &out]).ok();
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    pair.hospital.wait_for(&bundle, &["recalled"]);
    pair.send(&[]).refused("CONSENT_WITHDRAWN");

    let sent = events(&pair, &pair.hospital, &patient, "hers");
    let [disclosed] = of_kind(&sent, "receipt")[..] else { panic!("one disclosure: {sent:?}") };
    balp(disclosed, "IHE.BasicAudit.PrivacyDisclosure.Source", "110106", "R", "110153");
    assert_eq!(texts(disclosed, "purposeOfEvent.coding.code"), ["TREAT"]);
    assert_eq!(disclosed["outcome"], "0");
    let named = texts(disclosed, "entity.what.identifier.value");
    assert!(named.contains(&bundle.as_str()) && named.contains(&pair.consent.as_str()), "{named:?}");
    assert!(named.contains(&sample_case::patient().value()));
    let authorizer = |agent: &&Value| texts(agent, "type.coding.code") == ["429577009"];
    assert_eq!(members(disclosed, "agent").into_iter().filter(authorizer).count(), 1, "the patient allowed it");
    let [refused] = of_kind(&sent, "refusal")[..] else { panic!("one refusal: {sent:?}") };
    assert!(refused["outcome"] == "4" && refused.get("meta").is_none(), "{refused}");

    let case = format!("urn:medseal:case:{}|{}", pair.hospital.id, pair.case);
    let came = events(&pair, &pair.institute, &case, "theirs");
    let [received] = of_kind(&came, "inbox")[..] else { panic!("one came in: {came:?}") };
    balp(received, "IHE.BasicAudit.PrivacyDisclosure.Recipient", "110107", "C", "110152");
    assert_eq!(of_kind(&came, "opened")[0]["action"], "R");
    assert_eq!(of_kind(&came, "destroyed")[0]["action"], "D");
}
