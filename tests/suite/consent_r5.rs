//! FHIR R5: is each level an exception to the one above, and is the release of FHIR never guessed?

use medseal::bundle::document::{ConfidentialityCode as C, Document};
use medseal::consent::{Answer, Consent, Question, evaluate};
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, ACT_REASON, CONFIDENTIALITY, NOW, at, code, code_at, consent, consent_r5, dissent, document, label,
    on_file, recipient, request, sensitive, with,
};

fn record() -> Document {
    document("summary.pdf")
}

fn permission(change: impl FnOnce(&mut Value)) -> Value {
    with(consent_r5(), |consent| change(&mut consent["provision"][0]))
}

fn excepting(exception: Value) -> Value {
    permission(|p| p["provision"] = Value::Array(vec![exception]))
}

fn read(resource: &Value) -> String {
    match Consent::parse(&serde_json::to_vec(resource).expect("serialises")) {
        Ok(_) => "understood".to_owned(),
        Err(error) => format!("{}: {error}", error.reason()),
    }
}

/// The tree that the FHIR notes on provisions draw: org A from 2020 to 2022; not for marketing; nothing restricted; not
/// for payment, unless it is one of three kinds of document.
fn worked_example() -> Value {
    let purpose = |code: &str| json!([{"system": ACT_REASON, "code": code}]);
    let kinds: Value = ["11506-3", "18842-5", "34133-9"]
        .iter()
        .map(|code| json!({"system": "http://loinc.org", "code": code}))
        .collect();
    with(consent_r5(), |c| {
        c["date"] = json!("2020-01-01");
        c.as_object_mut().expect("an object").remove("period");
        c["provision"] = json!([{
            "actor": [recipient("heidelberg")],
            "period": {"start": "2020-01-01", "end": "2022-12-31"},
            "provision": [
                {"purpose": purpose("HMARKT")},
                {"securityLabel": [{"system": CONFIDENTIALITY, "code": "R"}]},
                {"purpose": purpose("HPAYMT"), "provision": [{"documentType": kinds}]},
            ],
        }]);
    })
}

#[test]
fn the_worked_example_of_the_fhir_notes_is_read_as_it_is_drawn() {
    let permits = |recipient: &str, purpose: &str, class: &str, confidentiality: C, now: &str| {
        let base = request(Vec::new());
        let mut document = label(record(), confidentiality);
        document.class = Some(class.to_owned());
        let question = Question {
            patient: &base.patient,
            recipient: &recipient.parse().expect("an id"),
            country: &(if recipient == "heidelberg" { "DE" } else { "US" }).parse().expect("a country"),
            purpose: &purpose.parse().expect("a purpose"),
            documents: &[document],
            obligations_met: &base.obligations_met,
            zone: &base.zone,
            now: at(now),
        };
        matches!(evaluate(&[on_file(&worked_example())], &question), Answer::Permits(_))
    };
    let then = "2021-06-01T00:00:00Z";
    let (claim, other) = ("11506-3", "11526-1");
    assert!(permits("heidelberg", "TREAT", other, C::N, then), "org A, within the time");
    assert!(!permits("mayo", "TREAT", other, C::N, then), "another organisation");
    assert!(!permits("heidelberg", "TREAT", other, C::N, "2019-12-31T18:29:59Z"), "before 2020 in Kolkata");
    assert!(!permits("heidelberg", "TREAT", other, C::N, "2022-12-31T18:30:00Z"), "after 2022 in Kolkata");
    assert!(!permits("heidelberg", "HMARKT", other, C::N, then), "first exception: marketing");
    assert!(!permits("heidelberg", "TREAT", other, C::R, then), "second exception: restricted");
    assert!(!permits("heidelberg", "TREAT", other, C::V, then), "and what is above it");
    assert!(!permits("heidelberg", "HPAYMT", other, C::N, then), "third exception: payment");
    assert!(permits("heidelberg", "HPAYMT", claim, C::N, then), "unless it is a claim");
    assert!(!permits("heidelberg", "HPAYMT", claim, C::R, then), "a restricted claim is still restricted");
    assert!(!permits("heidelberg", "HMARKT", claim, C::N, then), "for marketing, a claim is no exception");
}

#[test]
fn an_r5_consent_lets_go_what_the_same_r4_consent_does() {
    assert_eq!(code(record(), &[consent_r5()]), "ALLOW");
    let for_mayo = permission(|p| p["actor"] = json!([recipient("mayo")]));
    assert_eq!(code(record(), std::slice::from_ref(&for_mayo)), "RECIPIENT");
    assert_eq!(code(record(), &[consent_r5(), for_mayo]), "ALLOW", "one consent for each institute");
    let purpose = permission(|p| p["purpose"][0]["code"] = json!("HRESCH"));
    assert_eq!(code(record(), &[purpose]), "PURPOSE");
    let class = permission(|p| p["documentType"] = json!([{"system": "http://loinc.org", "code": "11526-1"}]));
    assert_eq!(code(record(), &[class]), "DOCUMENT_CLASS");
    assert_eq!(code(record(), &[consent_r5(), dissent()]), "CONSENT_DENIED", "an R4 denial overrides it");
    let nobody = permission(|p| drop(p.as_object_mut().expect("an object").remove("actor")));
    assert_eq!(code(record(), std::slice::from_ref(&nobody)), "NO_CONSENT", "it lifts a denial, and permits nobody");
    let nobody_for_research = with(nobody, |c| c["provision"][0]["purpose"][0]["code"] = json!("HRESCH"));
    assert_eq!(code(record(), &[nobody_for_research]), "CONSENT_DENIED");
}

#[test]
fn each_level_is_the_opposite_of_the_one_above() {
    let psychiatry = json!([{"system": ACT_CODE, "code": "PSY"}, {"system": CONFIDENTIALITY, "code": "R"}]);
    let no_psychiatry = excepting(json!({"securityLabel": psychiatry}));
    assert_eq!(code(sensitive(record(), "PSY"), std::slice::from_ref(&no_psychiatry)), "CONSENT_DENIED");
    assert_eq!(code(record(), &[no_psychiatry]), "ALLOW");
    let unless = excepting(json!({
        "dataPeriod": {"start": "2026-01-01"},
        "provision": [{"documentType": [{"system": "http://loinc.org", "code": "18842-5"}]}],
    }));
    assert_eq!(code(record(), std::slice::from_ref(&unless)), "ALLOW", "the third level lifts the second");
    let mut unclassed = record();
    unclassed.class = None;
    assert_eq!(code(unclassed, &[unless]), "CONSENT_DENIED", "what cannot be told lifts nothing");
}

#[test]
fn what_lifts_a_denial_does_so_only_in_its_time_and_only_if_it_is_evaluated() {
    let lifted = |lifting: Value| excepting(json!({"dataPeriod": {"start": "2026-01-01"}, "provision": [lifting]}));
    let until = |end: &str| lifted(json!({"period": {"start": "2026-01-01", "end": end}}));
    assert_eq!(code(record(), &[until("2026-11-30")]), "ALLOW");
    assert_eq!(code(record(), &[until("2026-11-01")]), "CONSENT_DENIED");
    let mut asked = request(vec![on_file(&until("2026-11-30"))]);
    let permit = crate::asking::ask_at(&mut asked, "2026-11-30T18:29:30Z").expect("half a minute is left");
    assert_eq!(permit.expires(), at("2026-11-30T18:30:00Z"), "a permit ends when a denial is lifted no longer");
    let by_resource = json!({"resourceType": [{"system": "http://hl7.org/fhir/fhir-types", "code": "Claim"}]});
    assert_eq!(code(record(), &[lifted(by_resource)]), "CONSENT_DENIED");
    let expression = json!({"expression": {"language": "text/fhirpath", "expression": "true"}});
    assert_eq!(code(record(), &[lifted(expression.clone())]), "CONSENT_DENIED");
    assert_eq!(code(record(), &[excepting(expression)]), "CONSENT_DENIED");
    let handled = json!({"securityLabel": [{"system": ACT_CODE, "code": "MASK"}]});
    assert_eq!(code(record(), &[lifted(handled)]), "CONSENT_DENIED", "an obligation lifts nothing");
}

#[test]
fn a_base_permission_names_nobody_and_its_exceptions_deny() {
    let base = |c: &mut Value| {
        c["decision"] = json!("permit");
        c["provision"] = json!([{"purpose": [{"system": ACT_REASON, "code": "TREAT"}]}]);
    };
    let permitting = with(consent_r5(), base);
    assert_eq!(code(record(), std::slice::from_ref(&permitting)), "CONSENT_DENIED");
    let elsewhere = with(permitting, |c| c["provision"][0]["purpose"][0]["code"] = json!("HMARKT"));
    assert_eq!(code(record(), std::slice::from_ref(&elsewhere)), "RECIPIENT");
    assert_eq!(code(record(), &[elsewhere, consent_r5()]), "ALLOW");
}

#[test]
fn a_base_denial_that_names_no_institution_denies_all_but_what_it_lifts() {
    let denial = with(consent_r5(), |c| drop(c.as_object_mut().expect("an object").remove("provision")));
    assert_eq!(code(record(), &[consent_r5(), denial.clone()]), "CONSENT_DENIED");
    let but_research =
        with(denial.clone(), |c| c["provision"] = json!([{"purpose": [{"system": ACT_REASON, "code": "HRESCH"}]}]));
    assert_eq!(code(record(), &[consent_r5(), but_research]), "CONSENT_DENIED");
    let but_treatment =
        with(denial.clone(), |c| c["provision"] = json!([{"purpose": [{"system": ACT_REASON, "code": "TREAT"}]}]));
    assert_eq!(code(record(), std::slice::from_ref(&but_treatment)), "NO_CONSENT", "lifting is not permitting");
    assert_eq!(code(record(), &[consent_r5(), but_treatment]), "ALLOW");
    let somebody = json!([{"role": {"coding": [{"code": "x"}]}, "reference": {"reference": "Group/7"}}]);
    let but_a_group = with(denial, |c| c["provision"] = json!([{"actor": somebody}]));
    assert_eq!(code(record(), &[consent_r5(), but_a_group]), "CONSENT_DENIED");
}

#[test]
fn a_consent_and_its_parts_have_their_own_times() {
    let of_both = |whole: Value, part: Value| with(permission(|p| p["period"] = part), |c| c["period"] = whole);
    let mut asked = request(vec![on_file(&of_both(json!({"end": "2026-12-31"}), json!({"end": "2026-11-30"})))]);
    assert_eq!(code_at(&mut asked, "2026-11-30T18:29:59Z"), "ALLOW");
    assert_eq!(code_at(&mut asked, "2026-11-30T18:30:00Z"), "CONSENT_EXPIRED");
    let mut asked = request(vec![on_file(&of_both(json!({"end": "2026-11-30"}), json!({"end": "2026-12-31"})))]);
    assert_eq!(code_at(&mut asked, "2026-11-30T18:30:00Z"), "CONSENT_EXPIRED");
    let later = of_both(json!({"start": "2026-01-01"}), json!({"start": "2026-12-01"}));
    assert_eq!(code(record(), &[later]), "CONSENT_NOT_YET");
    let endless = with(consent_r5(), |c| drop(c.as_object_mut().expect("an object").remove("period")));
    let mut asked = request(vec![on_file(&endless)]);
    assert_eq!(code_at(&mut asked, "2027-01-09T18:29:59Z"), "ALLOW");
    assert_eq!(code_at(&mut asked, "2027-01-09T18:30:00Z"), "CONSENT_EXPIRED");
}

#[test]
fn documents_of_one_bundle_may_go_by_different_parts_of_one_consent() {
    let class = |code: &str| json!({"actor": [recipient("heidelberg")], "documentType": [{"system": "http://loinc.org", "code": code}]});
    let both = with(consent_r5(), |c| c["provision"] = json!([class("18842-5"), class("11526-1")]));
    let mut pathology = document("pathology.pdf");
    pathology.class = Some("11526-1".to_owned());
    let mut asked = request(vec![on_file(&both)]);
    asked.documents.push(pathology.clone());
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
    pathology.class = Some("34133-9".to_owned());
    asked.documents[1] = pathology;
    assert_eq!(code_at(&mut asked, NOW), "DOCUMENT_CLASS");
}

#[test]
fn the_release_of_fhir_is_told_by_its_elements_and_never_mixed() {
    let refused = |what: &str, resource: &Value, begins: &str| {
        assert!(read(resource).starts_with(begins), "{what}: {}", read(resource));
    };
    let r4_with = |key: &str, value: Value| with(consent(), |c| c[key] = value);
    let r5_with = |key: &str, value: Value| with(consent_r5(), |c| c[key] = value);
    refused("R4 with a decision", &r4_with("decision", json!("permit")), "CONSENT_UNSUPPORTED: patient of the consent");
    refused("R4 with a period", &r4_with("period", json!({"end": "2026-12-31"})), "CONSENT_UNSUPPORTED: patient");
    refused("R5 with a scope", &r5_with("scope", consent()["scope"].clone()), "CONSENT_UNSUPPORTED: scope");
    refused("R5 with a policy rule", &r5_with("policyRule", json!({"text": "x"})), "CONSENT_UNSUPPORTED: policyRule");
    refused("a type in R5", &permission(|p| p["type"] = json!("permit")), "CONSENT_UNSUPPORTED: provision.type");
    refused("R4's classes in R5", &permission(|p| p["class"] = json!([{"code": "x"}])), "CONSENT_UNSUPPORTED");
    let listed = with(consent(), |c| c["provision"] = json!([c["provision"]]));
    refused("R5's list in R4", &listed, "BAD_INPUT: provision of the consent must be an object");
    let single = with(consent_r5(), |c| c["provision"] = c["provision"][0].clone());
    refused("R4's single root in R5", &single, "BAD_INPUT: provision of the consent must be a list");
    refused("neither", &json!({"resourceType": "Consent", "status": "active"}), "CONSENT_UNSUPPORTED: patient");
}

#[test]
fn an_r5_consent_that_does_not_say_what_decides_is_refused() {
    let without = |key: &str| with(consent_r5(), |c| drop(c.as_object_mut().expect("an object").remove(key)));
    let refused = |what: &str, resource: &Value, begins: &str| {
        assert!(read(resource).starts_with(begins), "{what}: {}", read(resource));
    };
    refused("no decision", &without("decision"), "CONSENT_UNSUPPORTED: decision");
    refused("no category", &without("category"), "CONSENT_UNSUPPORTED: category");
    refused("no subject", &without("subject"), "CONSENT_UNSUPPORTED: subject");
    refused(
        "an unknown status",
        &with(consent_r5(), |c| c["status"] = json!("unknown")),
        "CONSENT_UNSUPPORTED: status",
    );
    refused("a status of R4", &with(consent_r5(), |c| c["status"] = json!("rejected")), "BAD_INPUT: status");
    refused("a group", &with(consent_r5(), |c| c["subject"]["reference"] = json!("Group/1")), "CONSENT_UNSUPPORTED");
    refused(
        "a practitioner",
        &with(consent_r5(), |c| c["subject"]["type"] = json!("Practitioner")),
        "CONSENT_UNSUPPORTED",
    );
    let optout = json!([{"coding": [{"system": ACT_CODE, "code": "OPTIN"}]}]);
    refused("an opposite basis", &with(consent_r5(), |c| c["regulatoryBasis"] = optout), "CONSENT_AMBIGUOUS");
    let denying = json!({"url": "https://profiles.ihe.net/ITI/PCF/Policy-deny"});
    let permitting = with(consent_r5(), |c| {
        c["decision"] = json!("permit");
        c["policyBasis"] = denying;
    });
    refused("a denying policy", &permitting, "CONSENT_AMBIGUOUS");
    let fourth = excepting(json!({"provision": [{"id": "3", "provision": [{"id": "4"}]}]}));
    refused("a fourth level", &fourth, "CONSENT_UNSUPPORTED: provision");
    refused(
        "unverified",
        &with(consent_r5(), |c| c["verification"] = json!([{"verified": false}])),
        "CONSENT_UNSUPPORTED",
    );
    refused("a modifier below", &excepting(json!({"modifierExtension": [{"url": "u"}]})), "CONSENT_UNSUPPORTED");
    for status in ["draft", "inactive", "not-done", "entered-in-error"] {
        assert_eq!(code(record(), &[with(consent_r5(), |c| c["status"] = json!(status))]), "CONSENT_INACTIVE");
    }
    let research =
        json!([{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]}]);
    assert_eq!(code(record(), &[with(consent_r5(), |c| c["category"] = research)]), "NO_CONSENT");
}

#[test]
fn an_r5_consent_says_in_words_what_it_permits() {
    let words = Consent::parse(worked_example().to_string().as_bytes()).expect("it is read").in_words();
    assert_eq!(
        words,
        [
            "It permits sending records to heidelberg.",
            "It holds from 2020-01-01 to 2022-12-31.",
            "It excludes sending for the purpose HMARKT.",
            "It excludes documents labelled R (confidentiality).",
            "It excludes sending for the purpose HPAYMT, unless documents of the class LOINC 11506-3, LOINC 18842-5 or LOINC 34133-9.",
            "It says nothing about anybody else; another consent may.",
        ]
    );
    let denial = with(consent_r5(), |c| {
        c["provision"] = json!([{"purpose": [{"system": ACT_REASON, "code": "HRESCH"}]}]);
    });
    let words = Consent::parse(denial.to_string().as_bytes()).expect("it is read").in_words();
    assert_eq!(
        words,
        [
            "It forbids sending records to anyone.",
            "It holds from 2026-01-10 until it is withdrawn.",
            "It does not forbid sending for the purpose HRESCH; this alone permits nothing.",
        ]
    );
}

#[test]
fn the_examples_of_the_documentation_let_something_go() {
    let page = include_str!("../../docs/CONSENT.md");
    let examples: Vec<Value> = page
        .split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().expect("its end")).expect("JSON"))
        .collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        assert_eq!(code(record(), &[example]), "ALLOW");
    }
}

#[test]
fn an_r5_consent_lets_records_go_between_two_real_gateways_until_the_day_it_names() {
    let pair = crate::site::Pair::silent();
    let patient = medseal::sample_case::patient();
    let resource = with(consent_r5(), |c| {
        c["subject"]["identifier"] = json!({"system": patient.system(), "value": patient.value()});
        c["period"] = json!({"start": "2026-01-01", "end": "2036-01-01"});
        c["provision"][0]["actor"] = json!([recipient(pair.institute.id)]);
        c["extension"] = json!([
            {"url": "urn:medseal:extension:country", "valueCode": "DE"},
            {"url": "urn:medseal:extension:retention", "valueDate": "2035-12-31"},
        ]);
    });
    let path = pair.folder.path().join("r5.json");
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, resource.to_string().as_bytes()))
        .expect("written");
    let added = pair.hospital.run(&["consent", "add", path.to_str().expect("a path")]).ok();
    let permits = added.text("permits");
    for said in ["to nordhafen", "from 2026-01-01 to 2036-01-01", "Only in DE", "until 2035-12-31"] {
        assert!(permits.contains(said), "{permits}");
    }
    let sent = pair.send(&["--wait"]).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", pair.hospital.log());
    let received = pair.institute.run(&["inbox", &sent.text("bundle")]).ok();
    assert!(received.stdout.contains("DELAU") || received.stdout.contains("erase"), "{}", received.stdout);
}
