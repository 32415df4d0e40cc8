//! Any code under any system: a consent never covers a purpose or a sensitivity that the pinned tables do not put below
//! what it names. The tables are read here anew, by other code.
//!
//! Input: four lines: system, code, the purpose asked for, the sensitivity of the document.
#![no_main]

mod asked;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use asked::{consent, granted};
use libfuzzer_sys::fuzz_target;
use medseal::consent::Consent;
use medseal::id::{PatientIdentifier, Purpose};
use serde_json::{Value, json};

static PURPOSES: LazyLock<Value> = LazyLock::new(|| read(include_str!("../../policies/terminology/purpose.json")));
static SENSITIVITIES: LazyLock<Value> =
    LazyLock::new(|| read(include_str!("../../policies/terminology/sensitivity.json")));

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (system, code, asked, sensitivity) = (next(), next(), next(), next());
    let patient = PatientIdentifier::new("https://st-mary.example/mrn", "4711").expect("an identifier");
    let coding = json!({"system": system, "code": code});

    if let Ok(purpose) = asked.parse::<Purpose>() {
        let text = consent(&patient, &coding, &json!([]));
        let permitted = granted(vec![Consent::parse(text.as_bytes())], &patient, &purpose, None).is_some();
        assert!(!permitted || covers(&PURPOSES, system, code, asked), "{code} does not contain {asked}");
    }
    let treat: Purpose = "TREAT".parse().expect("a purpose");
    let care = json!({"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"});
    let normal = json!({"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"});
    let text = consent(&patient, &care, &json!([normal, coding]));
    let granted = granted(vec![Consent::parse(text.as_bytes())], &patient, &treat, Some(sensitivity));
    let named = granted.is_some_and(|granted| granted.sensitivities_named);
    assert!(!named || covers(&SENSITIVITIES, system, code, sensitivity), "{code} does not contain {sensitivity}");
});

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("a shipped table")
}

/// Whether the table puts `asked` at or below `code`, under a system that it knows.
fn covers(table: &Value, system: &str, code: &str, asked: &str) -> bool {
    let known = table["systems"].as_array().expect("a list").iter().any(|known| known == system);
    let mut below = BTreeSet::from([code.to_owned()]);
    loop {
        let children = |code: &String| table["contains"][code].as_array().cloned().unwrap_or_default();
        let more: BTreeSet<String> =
            below.iter().flat_map(children).filter_map(|child| child.as_str().map(str::to_owned)).collect();
        let before = below.len();
        below.extend(more);
        if below.len() == before {
            return known && below.contains(asked);
        }
    }
}
