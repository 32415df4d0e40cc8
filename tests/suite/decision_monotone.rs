//! Can less turn a no into a yes? For random consents of both FHIR releases, and random requests: never.
//!
//! Ten thousand cases for each question in an optimised build, as tests/run makes it; a tenth of that otherwise.

use medseal::bundle::document::{Confidentiality, ConfidentialityCode, Document};
use medseal::consent::OnFile;
use medseal::decision::Request;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, ACT_REASON, CONFIDENTIALITY, NOW, ask_at, at, code_at, consent, consent_r5, dated, dissent, document,
    on_file, recipient, request, with,
};

const CASES: u32 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Release {
    R4,
    R5,
}

/// What a permission is limited to: little, so that something is permitted.
fn wide(release: Release, names_recipients: f64) -> impl Strategy<Value = Value> {
    limits(release, names_recipients, 0.4)
}

/// What a denial is limited to: much, so that something escapes it.
fn narrow(release: Release, names_recipients: f64) -> impl Strategy<Value = Value> {
    limits(release, names_recipients, 1.4)
}

/// One provision's limits: each absent or one or two of a few values, so that matches are frequent.
fn limits(release: Release, names_recipients: f64, density: f64) -> impl Strategy<Value = Value> {
    let purpose = prop::sample::subsequence(vec!["TREAT", "ETREAT", "HRESCH", "TREAT", "COC"], 1..=3);
    let actor = prop::sample::subsequence(vec!["heidelberg", "heidelberg", "mayo"], 1..=2);
    let label = prop::sample::subsequence(
        vec![
            (CONFIDENTIALITY, "N"),
            (CONFIDENTIALITY, "R"),
            (ACT_CODE, "PSY"),
            (ACT_CODE, "ETH"),
            (ACT_CODE, "NOREUSE"),
            (ACT_CODE, "MASK"),
            ("urn:else", "X"),
        ],
        1..=2,
    );
    let class = prop::sample::subsequence(
        vec![("http://loinc.org", "18842-5"), ("http://loinc.org", "11526-1"), ("urn:ietf:bcp:13", "application/pdf")],
        1..=2,
    );
    let data_period = prop::sample::select(vec![
        json!({"start": "2026-01-01"}),
        json!({"end": "2026-03-03"}),
        json!({"start": "2026-02", "end": "2026-04"}),
    ]);
    let chances = [0.5, names_recipients / density, 0.7, 0.3, 0.6, 0.05, 0.1].map(|chance| chance * density);
    (purpose, actor, label, class, data_period, prop::collection::vec(0.0..1.0, chances.len())).prop_map(
        move |(purpose, actor, label, class, data_period, dice)| {
            let coded = |list: Vec<(&str, &str)>| -> Value {
                list.into_iter().map(|(system, code)| json!({"system": system, "code": code})).collect()
            };
            let action = json!([{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "access"}]}]);
            let all = [
                ("purpose", coded(purpose.into_iter().map(|code| (ACT_REASON, code)).collect())),
                ("actor", actor.into_iter().map(recipient).collect()),
                ("securityLabel", coded(label)),
                (if release == Release::R4 { "class" } else { "documentType" }, coded(class)),
                ("dataPeriod", data_period),
                ("data", json!([{"meaning": "instance", "reference": {"reference": "Observation/1"}}])),
                ("action", action),
            ];
            let mut limits = json!({"id": "p"});
            for (index, (element, value)) in all.into_iter().enumerate() {
                if dice[index] < chances[index] {
                    limits[element] = value;
                }
            }
            limits
        },
    )
}

fn period() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        Value::Null,
        json!({"start": "2026-01-10", "end": "2026-12-31"}),
        json!({"start": "2026-01-10", "end": "2026-11-30"}),
        json!({"end": "2026-11-22"}),
        json!({"start": "2026-01-10"}),
        json!({"start": "2027-01-01"}),
    ])
}

/// What limits a permission beside its provisions; mostly nothing.
fn terms() -> impl Strategy<Value = Option<Value>> {
    let extension = prop::sample::select(vec![
        json!({"url": "urn:medseal:extension:country", "valueCode": "DE"}),
        json!({"url": "urn:medseal:extension:country", "valueCode": "US"}),
        json!({"url": "urn:medseal:extension:retention", "valueDate": "2026-12-24"}),
        json!({"url": "urn:medseal:extension:grantor", "extension": [{"url": "capacity", "valueCode": "guardian"}]}),
    ]);
    prop::option::weighted(0.15, extension)
}

fn set(mut value: Value, key: &str, element: Value) -> Value {
    if element.as_array().is_some_and(Vec::is_empty) || element.is_null() {
        return value;
    }
    value[key] = element;
    value
}

fn typed(provision: Value, kind: &str) -> Value {
    set(provision, "type", json!(kind))
}

/// R4: a root permission with exceptions; now and then with an addition, as IHE PCF reads it.
fn permission_r4() -> impl Strategy<Value = Value> {
    let exceptions = prop::collection::vec(narrow(Release::R4, 0.4), 0..2);
    let nested = (exceptions, prop::option::weighted(0.15, wide(Release::R4, 0.5)));
    (wide(Release::R4, 0.95), nested, period(), terms()).prop_map(|(root, (exceptions, addition), period, terms)| {
        let added = addition.is_some();
        let exceptions = exceptions.into_iter().map(|exception| typed(exception, "deny"));
        let nested: Value = exceptions.chain(addition.map(|addition| typed(addition, "permit"))).collect();
        with(set(consent(), "extension", terms.into_iter().collect()), |c| {
            c["provision"] = set(set(typed(root, "permit"), "period", period), "provision", nested);
            if added {
                let profile = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced";
                c["meta"] = json!({"profile": [profile]});
            }
        })
    })
}

/// R5: a base denial with permissions as exceptions, those with denials, and those with what lifts them.
fn permission_r5() -> impl Strategy<Value = Value> {
    let lifting = (wide(Release::R5, 0.3), prop::option::of(prop::sample::select(vec!["2026-11-25", "2026-10-31"])))
        .prop_map(|(lifting, end)| set(lifting, "period", end.map_or(Value::Null, |end| json!({"end": end}))));
    let exception = (narrow(Release::R5, 0.4), prop::collection::vec(lifting, 0..2))
        .prop_map(|(exception, lifting)| set(exception, "provision", lifting.into_iter().collect()));
    let permission = (wide(Release::R5, 0.95), prop::collection::vec(exception, 0..2), period()).prop_map(
        |(root, exceptions, period)| set(set(root, "period", period), "provision", exceptions.into_iter().collect()),
    );
    (prop::collection::vec(permission, 1..3), period(), terms()).prop_map(|(permissions, period, terms)| {
        let consent = set(consent_r5(), "extension", terms.into_iter().collect());
        let consent = if period.is_null() { consent } else { set(consent, "period", period) };
        set(consent, "provision", permissions.into_iter().collect())
    })
}

fn denial_r4() -> impl Strategy<Value = Value> {
    let period = prop::sample::select(vec![Value::Null, json!({"start": "2026-01-01", "end": "2026-12-01"})]);
    (narrow(Release::R4, 0.6), period)
        .prop_map(|(root, period)| set(dissent(), "provision", set(typed(root, "deny"), "period", period)))
}

/// R5: a base denial that names no institution, or a base permission, which names nobody, with its exceptions.
fn denial_r5() -> impl Strategy<Value = Value> {
    let lifted = prop::collection::vec(wide(Release::R5, 0.0), 0..2);
    let exceptions = prop::collection::vec(narrow(Release::R5, 0.5), 1..3);
    let without = || with(consent_r5(), |c| drop(c.as_object_mut().expect("an object").remove("provision")));
    prop_oneof![
        lifted.prop_map(move |lifted| set(without(), "provision", lifted.into_iter().collect())),
        exceptions.prop_map(move |exceptions| {
            set(set(without(), "decision", json!("permit")), "provision", exceptions.into_iter().collect())
        }),
    ]
}

fn denial() -> impl Strategy<Value = Value> {
    prop_oneof![denial_r4(), denial_r5()]
}

fn consents() -> impl Strategy<Value = Vec<Value>> {
    let permission = || prop_oneof![permission_r4(), permission_r5()];
    prop_oneof![
        7 => prop::collection::vec(permission(), 1..4),
        2 => (prop::collection::vec(permission(), 1..3), denial()).prop_map(|(mut all, denial)| { all.push(denial); all }),
    ]
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let one = (
        prop::sample::select(vec![ConfidentialityCode::L, ConfidentialityCode::N, ConfidentialityCode::R]),
        prop::sample::select(vec![false, false, false, false, false, true]),
        prop::sample::select(vec![None, None, None, None, None, None, Some("PSY"), Some("ETHUD"), Some("LOCAL")]),
        prop::sample::select(vec![Some("18842-5"), Some("11526-1"), None]),
        prop::sample::select(vec![None, Some(("2026-03-01", "2026-03-05")), Some(("2026-02-10", "2026-02-11"))]),
    );
    prop::collection::vec(one, 1..3).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(index, (code, assumed, sensitivity, class, date))| {
                let mut document = document(&format!("{index}.pdf"));
                document.confidentiality = Confidentiality { code, assumed };
                document.sensitivity = sensitivity.into_iter().map(str::to_owned).collect();
                document.class = class.map(str::to_owned);
                document.date = None;
                if let Some((first, last)) = date { dated(document, first, last) } else { document }
            })
            .collect()
    })
}

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
/// and an addition to an R4 permission goes beyond it by what it names.
fn narrowed(mut consent: Value, limit: &Value) -> Value {
    for (pointer, says) in provisions(&consent) {
        let provision = consent.pointer_mut(&pointer).expect("it stands there");
        for (element, value) in limit.as_object().into_iter().flatten() {
            let limits = ["purpose", "dataPeriod", "data", "action"].contains(&element.as_str());
            let adds = pointer.starts_with("/provision/provision");
            if says && limits && !adds && provision.get(element).is_none() {
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
