//! What a consent asks for beside its yes: countries, retention, who gave it, the notice given, obligations.

use medseal::consent::{Answer, Consent, Granted, Grantor, Question, Source, evaluate};
use medseal::decision::{DELIVERY_MEETS, ENGINE_SEMANTICS};
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, NOW, ask_at, at, code, code_at, consent, consent_r5, document, on_file, recipient, request, sensitive,
    with,
};

const OBLIGATION_VALUE_SET: &str = "http://terminology.hl7.org/ValueSet/v3-ObligationPolicy";

fn extended(base: Value, extension: Value) -> Value {
    with(base, |c| c["extension"] = extension)
}

fn ours(name: &str, value: (&str, Value)) -> Value {
    let mut extension = json!({"url": format!("urn:medseal:extension:{name}")});
    extension[value.0] = value.1;
    extension
}

fn parts(name: &str, parts: &[(&str, &str, &str)]) -> Value {
    let part = |(url, key, value): &(&str, &str, &str)| with(json!({"url": url}), |p| p[*key] = json!(value));
    ours(name, ("extension", parts.iter().map(part).collect()))
}

fn country(code: &str) -> Value {
    ours("country", ("valueCode", json!(code)))
}

fn parent(verified: bool) -> Value {
    let mut all = vec![("capacity", "valueCode", "parent")];
    if verified {
        all.extend([("verified-by", "valueString", "M. Rao"), ("verified-on", "valueDate", "2026-01-09")]);
    }
    parts("grantor", &all)
}

fn notice() -> Value {
    let all = [
        ("version", "valueString", "risk-3"),
        ("language", "valueCode", "hi"),
        ("given", "valueDateTime", "2026-01-09"),
    ];
    parts("risk-notice", &all)
}

/// What the consents grant for one ordinary document.
fn granted(resource: &Value) -> Granted {
    let base = request(Vec::new());
    let met = base.obligations_met.iter().cloned().chain(["MASK".to_owned()]).collect();
    let question = Question {
        patient: &base.patient,
        recipient: &base.partner.id,
        country: &base.partner.country,
        purpose: &base.case.purpose,
        documents: &base.documents,
        obligations_met: &met,
        zone: &base.zone,
        now: at(NOW),
    };
    match evaluate(&[on_file(resource)], &question) {
        Answer::Permits(mut granted) => granted.remove(0),
        Answer::Refuses(findings) => panic!("refused: {findings:?}"),
    }
}

fn read(resource: &Value) -> String {
    match Consent::parse(&serde_json::to_vec(resource).expect("serialises")) {
        Ok(_) => "understood".to_owned(),
        Err(error) => format!("{}: {error}", error.reason()),
    }
}

#[test]
fn a_consent_that_says_nothing_of_it_states_no_fact() {
    for (resource, source, path) in
        [(consent(), Source::FhirR4, "Consent.provision"), (consent_r5(), Source::FhirR5, "Consent.provision[0]")]
    {
        let granted = granted(&resource);
        assert_eq!((granted.grantor, granted.risk_notice, granted.erase_at), (Grantor::NotStated, None, None));
        assert!(!granted.cross_border && granted.obligations.is_empty());
        assert_eq!((granted.source, granted.path.as_str()), (source, path));
    }
}

#[test]
fn named_countries_limit_the_permission_and_say_that_a_border_may_be_crossed() {
    for base in [consent(), consent_r5()] {
        let limited = |codes: &[&str]| extended(base.clone(), codes.iter().map(|code| country(code)).collect());
        assert!(granted(&limited(&["DE"])).cross_border);
        assert!(granted(&limited(&["CH", "DE"])).cross_border);
        let elsewhere = limited(&["CH"]);
        assert_eq!(code(document("a.pdf"), &[elsewhere]), "RECIPIENT_COUNTRY");
    }
}

#[test]
fn retention_is_an_obligation_with_a_date_and_ends_the_permission() {
    for base in [consent(), consent_r5()] {
        let kept_until = |day: &str| extended(base.clone(), json!([ours("retention", ("valueDate", json!(day)))]));
        let long = kept_until("2027-06-30");
        assert_eq!(granted(&long).erase_at, Some(at("2027-06-30T18:30:00Z")), "the end of the day in Kolkata");
        let mut asked = request(vec![on_file(&long)]);
        asked.obligations_met = DELIVERY_MEETS.iter().chain(&["DELAU"]).map(|code| (*code).to_owned()).collect();
        let permit = ask_at(&mut asked, NOW).expect("this way of delivery can ask for it");
        assert!(permit.obligations().contains("DELAU"));
        asked.obligations_met.remove("DELAU");
        assert_eq!(code_at(&mut asked, NOW), "OBLIGATION", "one that cannot may not");
        let short = kept_until("2026-11-22");
        assert_eq!(granted(&short).until, at("2026-11-22T18:30:00Z"));
        let mut asked = request(vec![on_file(&short)]);
        assert_eq!(code_at(&mut asked, "2026-11-22T18:30:00Z"), "CONSENT_EXPIRED");
    }
}

#[test]
fn who_gave_it_and_who_checked_that_is_a_fact() {
    let given = |extension: Value| granted(&extended(consent(), json!([extension]))).grantor;
    assert_eq!(given(parts("grantor", &[("capacity", "valueCode", "self")])), Grantor::SelfGiven);
    assert_eq!(given(parent(false)), Grantor::Parent { verified: false });
    assert_eq!(given(parent(true)), Grantor::Parent { verified: true });
    let guardian = with(parent(true), |e| e["extension"][0]["valueCode"] = json!("guardian"));
    assert_eq!(given(guardian), Grantor::Guardian { verified: true });
}

#[test]
fn the_grantor_of_r5_is_the_patient_or_a_representative_whom_nobody_checked() {
    let patient = json!([{"identifier": {"system": "https://st-mary.example/mrn", "value": "4711"}}]);
    let mother = json!([{"reference": "RelatedPerson/7"}]);
    let given = |grantor: &Value| with(consent_r5(), |c| c["grantor"] = grantor.clone());
    assert_eq!(granted(&given(&patient)).grantor, Grantor::SelfGiven);
    assert_eq!(granted(&given(&mother)).grantor, Grantor::Guardian { verified: false });
    let stated = |grantor: &Value, extension: Value| extended(given(grantor), json!([extension]));
    assert_eq!(granted(&stated(&mother, parent(true))).grantor, Grantor::Parent { verified: true });
    assert!(read(&stated(&patient, parent(true))).starts_with("CONSENT_AMBIGUOUS"));
    let oneself = parts("grantor", &[("capacity", "valueCode", "self")]);
    assert!(read(&stated(&mother, oneself)).starts_with("CONSENT_AMBIGUOUS"));
    let here = with(given(&json!([{"reference": "Patient/1"}])), |c| c["subject"]["reference"] = json!("Patient/1"));
    assert_eq!(granted(&here).grantor, Grantor::SelfGiven, "the same reference in the same resource");
}

#[test]
fn a_risk_notice_counts_with_its_version_language_and_time() {
    let told = extended(consent(), json!([notice()]));
    assert_eq!(granted(&told).risk_notice.as_deref(), Some("risk-3"));
    for missing in 0..3 {
        let half = with(notice(), |n| drop(n["extension"].as_array_mut().expect("a list").remove(missing)));
        assert!(read(&extended(consent(), json!([half]))).starts_with("BAD_INPUT"), "{missing}");
    }
}

#[test]
fn an_extension_of_ours_that_is_not_exactly_right_is_refused() {
    let refused = |what: &str, extension: Value| {
        for base in [consent(), consent_r5()] {
            let found = read(&extended(base, extension.clone()));
            assert_ne!(found, "understood", "{what}");
        }
    };
    refused("an unknown one", json!([ours("colour", ("valueCode", json!("red")))]));
    refused("no country", json!([country("Germany")]));
    refused("a text for a code", json!([ours("country", ("valueString", json!("DE")))]));
    refused("a country and more", json!([with(country("DE"), |c| c["valueString"] = json!("FR"))]));
    refused("no day", json!([ours("retention", ("valueDate", json!("soon")))]));
    refused(
        "two retentions",
        json!([ours("retention", ("valueDate", json!("2027"))), ours("retention", ("valueDate", json!("2028")))]),
    );
    refused("two grantors", json!([parent(true), parent(true)]));
    refused(
        "no capacity",
        json!([parts("grantor", &[("verified-by", "valueString", "x"), ("verified-on", "valueDate", "2026")])]),
    );
    refused(
        "checked by nobody",
        json!([with(parent(true), |e| drop(e["extension"].as_array_mut().expect("a list").remove(1)))]),
    );
    refused(
        "a patient who is checked",
        json!([with(parent(true), |e| e["extension"][0]["valueCode"] = json!("self"))]),
    );
    refused(
        "an unknown part",
        json!([parts("grantor", &[("capacity", "valueCode", "parent"), ("colour", "valueCode", "red")])]),
    );
    refused(
        "a part twice",
        json!([parts("grantor", &[("capacity", "valueCode", "parent"), ("capacity", "valueCode", "self")])]),
    );
    refused("no address", json!([{"valueString": "x"}]));
    refused(
        "a notice with an escape",
        json!([with(notice(), |n| n["extension"][0]["valueString"] = json!("\u{1b}[2J"))]),
    );
    assert_eq!(read(&extended(consent(), json!([{"url": "http://example.org/x", "valueString": "y"}]))), "understood");
}

#[test]
fn labels_that_name_an_obligation_become_one() {
    let labelled = |base: Value, system: &str, codes: &[&str]| {
        let labels: Value = codes.iter().map(|code| json!({"system": system, "code": code})).collect();
        with(base, |c| match c["provision"].get_mut(0) {
            Some(first) => first["securityLabel"] = labels,
            None => c["provision"]["securityLabel"] = labels,
        })
    };
    for base in [consent(), consent_r5()] {
        let named = labelled(base.clone(), ACT_CODE, &["NORDSCLCDS", "NOREUSE"]);
        assert!(granted(&named).obligations.iter().eq(["NORDSCLCDS", "NOREUSE"]));
        assert_eq!(code(document("a.pdf"), &[named]), "ALLOW", "the dispatch says both");
        let masked = labelled(base.clone(), ACT_CODE, &["MASK"]);
        assert_eq!(code(document("a.pdf"), &[masked]), "OBLIGATION", "nothing here masks");
        let unknown = labelled(base.clone(), OBLIGATION_VALUE_SET, &["SINGTOIT"]);
        assert_eq!(code(document("a.pdf"), &[unknown]), "OBLIGATION", "an obligation that nobody knows is not dropped");
        let retired = labelled(base.clone(), ACT_CODE, &["NORDSLCD"]);
        assert!(granted(&retired).obligations.iter().eq(["NORDSCLCD"]));
        let of_the_resource = with(base, |c| {
            c["meta"] =
                json!({"security": [{"system": ACT_CODE, "code": "MASK"}, {"system": ACT_CODE, "code": "PSY"}]});
        });
        assert!(granted(&of_the_resource).obligations.iter().eq(["MASK"]));
    }
    let denied = with(consent(), |c| {
        c["provision"]["provision"] =
            json!([{"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": "MASK"}]}]);
    });
    assert_eq!(code(document("a.pdf"), &[denied]), "CONSENT_DENIED", "in a denial it is a label that nobody knows");
}

#[test]
fn an_obligation_of_one_permission_among_several_goes_with_that_one() {
    let masked = json!({"actor": [recipient("heidelberg")], "securityLabel": [{"system": ACT_CODE, "code": "MASK"}]});
    let two = with(consent_r5(), |c| c["provision"].as_array_mut().expect("a list").insert(0, masked));
    assert_eq!(code(document("a.pdf"), std::slice::from_ref(&two)), "ALLOW", "the other one asks for nothing");
    assert_eq!(granted(&two).path, "Consent.provision[0]", "where masking is done, the first will do");
    assert!(granted(&two).obligations.contains("MASK"));
    let turned = with(two, |c| c["provision"][1]["actor"] = json!([recipient("mayo")]));
    assert_eq!(code(document("a.pdf"), &[turned]), "OBLIGATION");
}

#[test]
fn the_notice_of_part_2_goes_with_every_label_of_substance_use() {
    let named = |code: &str| {
        with(consent(), |c| {
            c["provision"]["securityLabel"] = json!([
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"},
                {"system": ACT_CODE, "code": code},
            ]);
        })
    };
    for (label, needs) in [
        ("ETH", true),
        ("ETHUD", true),
        ("SUD", true),
        ("SPI", true),
        ("42CFRPart2", true),
        ("HIV", false),
        ("PSY", false),
    ] {
        let mut asked = request(vec![on_file(&named(label))]);
        asked.documents = vec![sensitive(document("a.pdf"), label)];
        asked.obligations_met.remove("PART2-NOTICE");
        assert_eq!(code_at(&mut asked, NOW), if needs { "OBLIGATION" } else { "ALLOW" }, "{label}");
    }
}

#[test]
fn what_it_asks_for_is_said_in_words() {
    let all = extended(
        consent(),
        json!([country("DE"), ours("retention", ("valueDate", json!("2027-06-30"))), parent(true), notice()]),
    );
    let all = with(all, |c| c["meta"] = json!({"security": [{"system": ACT_CODE, "code": "NOREUSE"}]}));
    let words = Consent::parse(all.to_string().as_bytes()).expect("it is read").in_words();
    assert_eq!(
        words[3..],
        [
            "Only in DE.",
            "The recipient may keep the records until 2027-06-30, and must then erase them.",
            "It asks that these travel with the records: NOREUSE.",
            "The patient was told of the risks of sending abroad (notice risk-3).",
            "A parent gave it, whose authority was checked.",
        ]
    );
}

#[test]
fn the_version_of_the_reading_rules_stands_in_every_decision() {
    assert!(ENGINE_SEMANTICS.ends_with(&format!("/{}", medseal::consent::ENGINE_SEMANTICS)));
    let permit = ask_at(&mut request(vec![on_file(&consent())]), NOW).expect("allowed");
    assert_eq!(permit.engine_semantics(), ENGINE_SEMANTICS);
    let denied = ask_at(&mut request(Vec::new()), NOW).expect_err("denied");
    assert!(serde_json::to_string(&denied).expect("serialises").contains(medseal::consent::ENGINE_SEMANTICS));
}
