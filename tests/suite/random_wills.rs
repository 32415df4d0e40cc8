//! Random wills: consents of both FHIR releases and documents, so alike that some fit and some do not.

use medseal::bundle::document::{Confidentiality, ConfidentialityCode, Document};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, ACT_REASON, CONFIDENTIALITY, consent, consent_r5, dated, dissent, document, recipient, with,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Release {
    R4,
    R5,
}

/// What a permission is limited to: little, so that something is permitted.
pub(crate) fn wide(release: Release, names_recipients: f64) -> impl Strategy<Value = Value> {
    limits(release, names_recipients, 0.4)
}

/// What a denial is limited to: much, so that something escapes it.
pub(crate) fn narrow(release: Release, names_recipients: f64) -> impl Strategy<Value = Value> {
    limits(release, names_recipients, 1.4)
}

/// One provision's limits: each absent or one or two of a few values, so that matches are frequent.
pub(crate) fn limits(release: Release, names_recipients: f64, density: f64) -> impl Strategy<Value = Value> {
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

pub(crate) fn denial() -> impl Strategy<Value = Value> {
    prop_oneof![denial_r4(), denial_r5()]
}

pub(crate) fn consents() -> impl Strategy<Value = Vec<Value>> {
    let permission = || prop_oneof![permission_r4(), permission_r5()];
    prop_oneof![
        7 => prop::collection::vec(permission(), 1..4),
        2 => (prop::collection::vec(permission(), 1..3), denial()).prop_map(|(mut all, denial)| { all.push(denial); all }),
    ]
}

pub(crate) fn documents() -> impl Strategy<Value = Vec<Document>> {
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
