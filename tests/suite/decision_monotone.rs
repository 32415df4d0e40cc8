//! Can less turn a no into a yes? For random consents of both FHIR releases, and random requests: never.
//!
//! Ten thousand cases for each question in an optimised build, as tests/run makes it; a tenth of that otherwise.

use medseal::bundle::document::{ConfidentialityCode, Document};
use medseal::consent::OnFile;
use medseal::decision::Request;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::asking::{NOW, ask_at, at, code_at, dissent, on_file, request, with};
use crate::random_wills::{Release, consents, denial, documents, limits, narrow};

const CASES: u32 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

fn asked(consents: &[Value], documents: &[Document]) -> Request {
    let mut request = request(consents.iter().map(on_file).collect());
    request.documents = documents.to_vec();
    request.obligations_met.extend(["DELAU", "PART2-NOTICE"].map(str::to_owned));
    request
}

fn allows(consents: &[Value], documents: &[Document]) -> bool {
    code_at(&mut asked(consents, documents), NOW) == "ALLOW"
}

/// A change that must never help: it takes something away, or adds a reason against.
type Worsen = (&'static str, fn(&mut Request));

const WORSE: &[Worsen] = &[
    ("no consent at all", |r| r.consents.clear()),
    ("the permissions withdrawn, the denials left", |r| {
        r.consents = std::mem::take(&mut r.consents).into_iter().filter(is_denial).collect();
    }),
    ("a consent that cannot be read", |r| r.consents.push(on_file(&json!({"resourceType": "Consent"})))),
    ("a denial of everything", |r| r.consents.push(on_file(&dissent()))),
    ("no patient identifier", |r| r.patient.clear()),
    ("another issuer's identifier only", |r| r.patient = vec!["urn:oid:1.2.3|1".parse().expect("an identifier")]),
    ("no known countries", |r| r.consents.iter_mut().for_each(|kept| kept.countries.clear())),
    ("no dates", |r| r.documents.iter_mut().for_each(|d| d.date = None)),
    ("no classes", |r| r.documents.iter_mut().for_each(|d| d.class = None)),
    ("no media types", |r| r.documents.iter_mut().for_each(|d| d.media_type.clear())),
    ("no stated labels", |r| r.documents.iter_mut().for_each(|d| d.confidentiality.assumed = true)),
    ("one more sensitivity", |r| r.documents[0].sensitivity.push("HIV".to_owned())),
    ("a very restricted document", |r| r.documents[0].confidentiality.code = ConfidentialityCode::V),
    ("no invitation", |r| r.case.partners.clear()),
    ("no obligation met", |r| r.obligations_met.clear()),
    ("no document", |r| r.documents.clear()),
];

fn is_denial(kept: &OnFile) -> bool {
    kept.consent.as_ref().is_ok_and(|consent| consent.recipients().is_empty())
}

/// Where each provision of a consent stands, as a JSON pointer, and whether it permits.
fn provisions(consent: &Value) -> Vec<(String, bool)> {
    fn below(parent: &Value, pointer: &str, says: bool, found: &mut Vec<(String, bool)>) {
        for (index, provision) in parent["provision"].as_array().into_iter().flatten().enumerate() {
            let pointer = format!("{pointer}/provision/{index}");
            let says = provision.get("type").map_or(!says, |kind| kind == "permit");
            below(provision, &pointer, says, found);
            found.push((pointer, says));
        }
    }
    let mut found = Vec::new();
    if let Some(decision) = consent.get("decision") {
        below(consent, "", decision == "permit", &mut found);
    } else {
        let says = consent["provision"]["type"] == "permit";
        below(&consent["provision"], "/provision", says, &mut found);
        found.push(("/provision".to_owned(), says));
    }
    found
}

/// One permission less: a provision that permits, or else the whole consent. Not one with exceptions, which would go
/// with it: they hold for its recipients and purposes, whatever else permits.
fn with_one_permission_less(consents: &[Value], which: (Index, Index)) -> Vec<Value> {
    let mut fewer = consents.to_vec();
    let consent = which.0.index(fewer.len());
    let excepts = |at: &str| {
        let beside = if at.starts_with("/provision/provision") { "/provision" } else { at };
        let nested = fewer[consent].pointer(beside).and_then(|provision| provision["provision"].as_array());
        nested.into_iter().flatten().any(|nested| nested.get("type").is_none_or(|kind| kind == "deny"))
    };
    let permitting = |(at, says): (String, bool)| (says && at != "/provision" && !excepts(&at)).then_some(at);
    let nested: Vec<String> = provisions(&fewer[consent]).into_iter().filter_map(permitting).collect();
    if nested.is_empty() {
        let denies = fewer[consent].get("decision").is_some() || fewer[consent]["provision"]["type"] == "deny";
        if !denies && fewer[consent]["provision"].get("provision").is_none() {
            fewer.remove(consent);
        }
        return fewer;
    }
    let pointer = &nested[which.1.index(nested.len())];
    let (list, index) = pointer.rsplit_once('/').expect("an element of a list");
    let holder = list.strip_suffix("/provision").expect("a list of provisions");
    let list = fewer[consent].pointer_mut(list).and_then(Value::as_array_mut).expect("the list");
    list.remove(index.parse().expect("a number"));
    if list.is_empty() {
        let holder = fewer[consent].pointer_mut(holder).and_then(Value::as_object_mut).expect("its holder");
        holder.remove("provision");
    }
    fewer
}

/// One more exception to a permission of the consent.
fn with_one_exception_more(mut consent: Value, exception: &Value) -> Value {
    let r4 = consent.get("decision").is_none();
    let depth = |pointer: &str| pointer.matches("/provision").count();
    let beside = provisions(&consent).into_iter().find(|(pointer, says)| *says && depth(pointer) < 2);
    let holder = if !r4 && consent["decision"] == "permit" { Some(String::new()) } else { beside.map(|(at, _)| at) };
    let Some(holder) = holder.and_then(|at| consent.pointer_mut(&at)) else { return consent };
    let mut exception = exception.clone();
    if r4 {
        exception["type"] = json!("deny");
    } else if let Some(class) = exception.as_object_mut().and_then(|e| e.remove("class")) {
        exception["documentType"] = class;
    }
    match holder.get_mut("provision").and_then(Value::as_array_mut) {
        Some(list) => list.push(exception),
        None => holder["provision"] = json!([exception]),
    }
    consent
}

/// One limit more on every permission. Recipients and labels are no such limits: to name one is to permit it;
/// and an addition to an R4 permission goes beyond it by what it names. Nor is a purpose, where there are exceptions: they
/// hold for the purposes of their permission, so they would hold for fewer.
fn narrowed(mut consent: Value, limit: &Value) -> Value {
    for (pointer, says) in provisions(&consent) {
        let provision = consent.pointer_mut(&pointer).expect("it stands there");
        for (element, value) in limit.as_object().into_iter().flatten() {
            let limits = ["purpose", "dataPeriod", "data", "action"].contains(&element.as_str());
            let adds = pointer.starts_with("/provision/provision");
            let excepts = element == "purpose" && provision.get("provision").is_some();
            if says && limits && !adds && !excepts && provision.get(element).is_none() {
                provision[element] = value.clone();
            }
        }
    }
    consent
}

/// Every list in it the other way round.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().rev().map(reversed).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), reversed(value))).collect(),
        other => other.clone(),
    }
}

/// The same consents, each part of them begun long ago.
fn begun(consents: &[Value]) -> Vec<Value> {
    fn begin(value: &mut Value) {
        if let Some(start) = value.get_mut("period").and_then(|period| period.get_mut("start")) {
            *start = json!("2026-01-10");
        }
        match value {
            Value::Array(list) => list.iter_mut().for_each(begin),
            Value::Object(fields) => fields.values_mut().for_each(begin),
            _ => {}
        }
    }
    consents.iter().map(|consent| with(consent.clone(), begin)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn taking_something_away_never_turns_no_into_yes(
        consents in consents(), documents in documents(), which in prop::collection::vec(any::<Index>(), 4),
    ) {
        let before = allows(&consents, &documents);
        for (what, worsen) in which.into_iter().filter(|_| !before).map(|which| WORSE[which.index(WORSE.len())]) {
            let mut worse = asked(&consents, &documents);
            worsen(&mut worse);
            prop_assert!(code_at(&mut worse, NOW) != "ALLOW", "{}", what);
        }
    }

    #[test]
    fn adding_a_denial_never_turns_no_into_yes(consents in consents(), more in denial(), documents in documents()) {
        let all: Vec<Value> = consents.iter().cloned().chain([more]).collect();
        prop_assert!(!allows(&all, &documents) || allows(&consents, &documents));
    }

    #[test]
    fn adding_an_exception_never_turns_no_into_yes(
        consents in consents(), more in narrow(Release::R4, 0.4), documents in documents(), which: Index,
    ) {
        let mut narrowed = consents.clone();
        let one = which.index(narrowed.len());
        narrowed[one] = with_one_exception_more(narrowed[one].clone(), &more);
        prop_assert!(!allows(&narrowed, &documents) || allows(&consents, &documents));
    }

    #[test]
    fn narrowing_every_permission_never_turns_no_into_yes(
        consents in consents(), limit in limits(Release::R4, 0.0, 1.0), documents in documents(), country: bool,
    ) {
        let mut fewer: Vec<Value> = consents.iter().map(|c| narrowed(c.clone(), &limit)).collect();
        if country {
            let elsewhere = json!([{"url": "urn:medseal:extension:country", "valueCode": "CH"}]);
            for consent in &mut fewer {
                consent["extension"] = elsewhere.clone();
            }
        }
        prop_assert!(!allows(&fewer, &documents) || allows(&consents, &documents));
        prop_assert!(!country || !allows(&fewer, &documents));
    }

    #[test]
    fn removing_a_permission_never_turns_no_into_yes(
        consents in consents(), documents in documents(), which: (Index, Index),
    ) {
        let fewer = with_one_permission_less(&consents, which);
        prop_assert!(!allows(&fewer, &documents) || allows(&consents, &documents), "{}", json!(fewer));
    }

    #[test]
    fn raising_a_label_never_turns_no_into_yes(consents in consents(), documents in documents(), all: bool) {
        let mut raised = documents.clone();
        for document in raised.iter_mut().take(if all { usize::MAX } else { 1 }) {
            document.confidentiality.code = match document.confidentiality.code {
                ConfidentialityCode::L => ConfidentialityCode::N,
                ConfidentialityCode::N => ConfidentialityCode::R,
                _ => ConfidentialityCode::V,
            };
        }
        prop_assert!(!allows(&consents, &raised) || allows(&consents, &documents));
    }

    #[test]
    fn the_clock_past_an_end_never_turns_no_into_yes(consents in consents(), documents in documents(), which: Index) {
        const TIMES: [&str; 9] = [
            "2026-11-20T00:00:00Z", NOW, "2026-11-22T18:30:00Z", "2026-11-25T18:30:00Z", "2026-12-02T00:00:00Z",
            "2026-12-24T18:30:00Z", "2027-01-01T00:00:00Z", "2027-01-11T00:00:00Z", "2027-11-21T00:00:00Z",
        ];
        let begun = begun(&consents);
        let later = 1 + which.index(TIMES.len() - 1);
        let allowed = |now: &str| code_at(&mut asked(&begun, &documents), now) == "ALLOW";
        prop_assert!(!allowed(TIMES[later]) || allowed(TIMES[later - 1]), "{}", TIMES[later]);
        // And where something is still to begin, everything has by then.
        let allowed = |now: &str| code_at(&mut asked(&consents, &documents), now) == "ALLOW";
        prop_assert!(!allowed("2027-11-01T00:00:00Z") || allowed("2027-02-01T00:00:00Z"));
    }

    #[test]
    fn no_order_matters(consents in consents(), documents in documents()) {
        let mut turned: Vec<Value> = consents.iter().map(reversed).collect();
        turned.reverse();
        let other: Vec<Document> = documents.iter().rev().cloned().collect();
        prop_assert_eq!(allows(&consents, &documents), allows(&turned, &other));
    }

    #[test]
    fn the_same_request_gets_the_same_answer(consents in consents(), documents in documents()) {
        let answer = |request: &mut Request| match ask_at(request, NOW) {
            Ok(permit) => format!("{:?} {:?} {:?} {}", permit.consent(), permit.policies(), permit.obligations(), permit.expires()),
            Err(denied) => serde_json::to_string(&denied).expect("serialises"),
        };
        let mut first = asked(&consents, &documents);
        let mut second = asked(&consents, &documents);
        // Ids are drawn at random; all else is read anew from the same bytes.
        second.bundle = first.bundle.clone();
        second.case = first.case.clone();
        for (again, before) in second.consents.iter_mut().zip(&first.consents) {
            again.id = before.id.clone();
        }
        prop_assert_eq!(answer(&mut first), answer(&mut second));
        prop_assert_eq!(answer(&mut first), answer(&mut first));
    }
}

#[test]
fn the_random_cases_hold_both_answers_in_both_releases() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut yes = [0, 0];
    for _ in 0..400 {
        let (consents, documents) = (consents(), documents()).new_tree(&mut runner).expect("a case").current();
        for consent in &consents {
            assert!(on_file(consent).consent.is_ok(), "{consent}: {:?}", on_file(consent).consent);
        }
        for (release, count) in yes.iter_mut().enumerate() {
            let alone: Vec<Value> =
                consents.iter().filter(|c| c.get("decision").is_some() == (release == 1)).cloned().collect();
            *count += usize::from(allows(&alone, &documents));
        }
    }
    assert!(yes.iter().all(|count| (20..380).contains(count)), "{yes:?} of 400 are allowed");
    assert!(at(NOW) > at("2026-01-10T00:00:00Z"));
}
