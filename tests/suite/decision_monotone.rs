//! Can less turn a no into a yes? For random consents and requests: never.

use medseal::bundle::document::{Confidentiality, ConfidentialityCode, Document};
use medseal::consent::OnFile;
use medseal::decision::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, ACT_REASON, CONFIDENTIALITY, NOW, at, code_at, consent, dated, dissent, document, on_file, recipient,
    request, with,
};

/// One provision's limits: each absent or one or two of a few values, so that matches are frequent.
fn limits() -> impl Strategy<Value = Value> {
    let purpose = prop::sample::subsequence(vec!["TREAT", "ETREAT", "HRESCH", "COC"], 1..=2);
    let actor = prop::sample::subsequence(vec!["heidelberg", "mayo"], 1..=2);
    let label = prop::sample::subsequence(
        vec![(CONFIDENTIALITY, "N"), (CONFIDENTIALITY, "R"), (ACT_CODE, "PSY"), (ACT_CODE, "ETH"), ("urn:else", "X")],
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
    let maybe = |weight: f64| move |on: f64| on < weight;
    (purpose, actor, label, class, data_period, prop::collection::vec(0.0..1.0, 6)).prop_map(
        move |(purpose, actor, label, class, data_period, dice)| {
            let coded = |list: Vec<(&str, &str)>| -> Value {
                list.into_iter().map(|(system, code)| json!({"system": system, "code": code})).collect()
            };
            let mut limits = json!({});
            if maybe(0.6)(dice[0]) {
                limits["purpose"] = coded(purpose.into_iter().map(|code| (ACT_REASON, code)).collect());
            }
            if maybe(0.9)(dice[1]) {
                limits["actor"] = actor.into_iter().map(recipient).collect();
            }
            if maybe(0.4)(dice[2]) {
                limits["securityLabel"] = coded(label);
            }
            if maybe(0.4)(dice[3]) {
                limits["class"] = coded(class);
            }
            if maybe(0.4)(dice[4]) {
                limits["dataPeriod"] = data_period;
            }
            if maybe(0.1)(dice[5]) {
                limits["data"] = json!([{"meaning": "instance", "reference": {"reference": "Observation/1"}}]);
            }
            limits
        },
    )
}

fn permission() -> impl Strategy<Value = Value> {
    let period = prop::sample::select(vec![
        json!({"start": "2026-01-10", "end": "2026-12-31"}),
        json!({"end": "2026-11-22"}),
        json!({"start": "2026-01-10"}),
        json!({"start": "2027-01-01"}),
    ]);
    (limits(), prop::collection::vec(limits(), 0..2), period).prop_map(|(root, exceptions, period)| {
        with(consent(), |c| {
            c["provision"] = with(root, |root| {
                root["type"] = json!("permit");
                root["period"] = period;
                if !exceptions.is_empty() {
                    root["provision"] =
                        exceptions.into_iter().map(|e| with(e, |e| e["type"] = json!("deny"))).collect();
                }
            });
        })
    })
}

fn denial() -> impl Strategy<Value = Value> {
    let period = prop::sample::select(vec![Value::Null, json!({"start": "2026-01-01", "end": "2026-12-01"})]);
    (limits(), period).prop_map(|(root, period)| {
        with(dissent(), |c| {
            c["provision"] = with(root, |root| {
                root["type"] = json!("deny");
                if !period.is_null() {
                    root["period"] = period;
                }
            });
        })
    })
}

fn consents() -> impl Strategy<Value = Vec<Value>> {
    prop_oneof![
        6 => prop::collection::vec(permission(), 1..4),
        2 => (prop::collection::vec(permission(), 1..3), denial()).prop_map(|(mut all, denial)| { all.push(denial); all }),
    ]
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let one = (
        prop::sample::select(vec![ConfidentialityCode::L, ConfidentialityCode::N, ConfidentialityCode::R]),
        prop::sample::select(vec![false, false, false, true]),
        prop::sample::select(vec![None, None, None, Some("PSY"), Some("ETHUD"), Some("LOCAL")]),
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
    request
}

fn allows(request: &mut Request, now: &str) -> bool {
    code_at(request, now) == "ALLOW"
}

/// A change that must never help: it takes something away, or adds a reason against.
type Worsen = (&'static str, fn(&mut Request));

const WORSE: &[Worsen] = &[
    ("no consent at all", |r| r.consents.clear()),
    ("the first consent withdrawn, a denial left", |r| {
        r.consents = std::mem::take(&mut r.consents).into_iter().filter(is_denial).collect();
    }),
    ("a consent that cannot be read", |r| r.consents.push(on_file(&json!({"resourceType": "Consent"})))),
    ("a denial of everything", |r| r.consents.push(on_file(&dissent()))),
    ("no patient identifier", |r| r.patient.clear()),
    ("another issuer's identifier only", |r| r.patient = vec!["urn:oid:1.2.3|1".parse().expect("an identifier")]),
    ("no known countries", |r| r.consents.iter_mut().for_each(|kept| kept.countries.clear())),
    ("no dates", |r| r.documents.iter_mut().for_each(|d| d.date = None)),
    ("no classes", |r| r.documents.iter_mut().for_each(|d| d.class = None)),
    ("no stated labels", |r| r.documents.iter_mut().for_each(|d| d.confidentiality.assumed = true)),
    ("a very restricted document", |r| r.documents[0].confidentiality.code = ConfidentialityCode::V),
    ("no invitation", |r| r.case.partners.clear()),
    ("no obligation met", |r| r.obligations_met.clear()),
    ("no document", |r| r.documents.clear()),
];

fn is_denial(kept: &OnFile) -> bool {
    kept.consent.as_ref().is_ok_and(|consent| consent.in_words().iter().any(|line| line.starts_with("It forbids")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn taking_something_away_never_turns_no_into_yes(consents in consents(), documents in documents()) {
        let before = allows(&mut asked(&consents, &documents), NOW);
        for (what, worsen) in WORSE {
            let mut worse = asked(&consents, &documents);
            worsen(&mut worse);
            prop_assert!(before || !allows(&mut worse, NOW), "{}", what);
        }
    }

    #[test]
    fn adding_a_denial_never_turns_no_into_yes(consents in consents(), more in denial(), documents in documents()) {
        let before = allows(&mut asked(&consents, &documents), NOW);
        let all: Vec<Value> = consents.iter().cloned().chain([more]).collect();
        prop_assert!(before || !allows(&mut asked(&all, &documents), NOW));
    }

    #[test]
    fn adding_an_exception_never_turns_no_into_yes(consents in consents(), more in limits(), documents in documents()) {
        let before = allows(&mut asked(&consents, &documents), NOW);
        let mut narrowed = consents;
        let root = &mut narrowed[0]["provision"];
        let exception = with(more, |e| e["type"] = json!("deny"));
        match root.get_mut("provision").and_then(Value::as_array_mut) {
            Some(list) => list.push(exception),
            None => root["provision"] = json!([exception]),
        }
        prop_assert!(before || !allows(&mut asked(&narrowed, &documents), NOW));
    }

    #[test]
    fn removing_a_permission_never_turns_no_into_yes(consents in consents(), documents in documents()) {
        let before = allows(&mut asked(&consents, &documents), NOW);
        let permits_only = |c: &&Value| c["provision"]["type"] == "deny" || c["provision"].get("provision").is_some();
        let fewer: Vec<Value> = consents.iter().filter(permits_only).cloned().collect();
        prop_assert!(before || !allows(&mut asked(&fewer, &documents), NOW));
    }

    #[test]
    fn raising_a_label_never_turns_no_into_yes(consents in consents(), documents in documents()) {
        let before = allows(&mut asked(&consents, &documents), NOW);
        let mut raised = documents;
        for document in &mut raised {
            document.confidentiality.code = match document.confidentiality.code {
                ConfidentialityCode::L => ConfidentialityCode::N,
                ConfidentialityCode::N => ConfidentialityCode::R,
                _ => ConfidentialityCode::V,
            };
        }
        prop_assert!(before || !allows(&mut asked(&consents, &raised), NOW));
    }

    #[test]
    fn the_clock_past_an_end_never_turns_no_into_yes(consents in consents(), documents in documents()) {
        // Everything that begins has begun by then, so only ends lie ahead.
        let (before, after) = ("2027-02-01T00:00:00Z", ["2027-11-01T00:00:00Z", "2027-11-21T00:00:00Z"]);
        for consents in [&consents, &begun(&consents)] {
            let allowed = allows(&mut asked(consents, &documents), before);
            for now in after {
                prop_assert!(allowed || !allows(&mut asked(consents, &documents), now), "{}", now);
            }
        }
        let begun = begun(&consents);
        let mut allowed = true;
        for now in ["2026-11-20T00:00:00Z", NOW, "2026-11-22T18:30:00Z", "2026-12-02T00:00:00Z", "2027-01-01T00:00:00Z", "2027-01-11T00:00:00Z"] {
            let now_allowed = allows(&mut asked(&begun, &documents), now);
            prop_assert!(allowed || !now_allowed, "{}", now);
            allowed = now_allowed;
        }
    }

    #[test]
    fn the_order_of_consents_and_documents_does_not_matter(consents in consents(), documents in documents()) {
        let before = allows(&mut asked(&consents, &documents), NOW);
        let (mut consents, mut documents) = (consents, documents);
        consents.reverse();
        documents.reverse();
        prop_assert_eq!(before, allows(&mut asked(&consents, &documents), NOW));
    }
}

/// The same consents, each begun long ago and given on one day.
fn begun(consents: &[Value]) -> Vec<Value> {
    consents
        .iter()
        .map(|consent| {
            with(consent.clone(), |c| {
                if let Some(period) = c["provision"].get_mut("period") {
                    period["start"] = json!("2026-01-10");
                }
            })
        })
        .collect()
}

#[test]
fn the_random_cases_hold_both_answers() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let yes = (0..400)
        .filter(|_| {
            let (consents, documents) = (consents(), documents()).new_tree(&mut runner).expect("a case").current();
            allows(&mut asked(&consents, &documents), NOW)
        })
        .count();
    assert!((20..380).contains(&yes), "{yes} of 400 are allowed");
    assert!(at(NOW) > at("2026-01-10T00:00:00Z"));
}
