//! The edge cases that other engines get wrong, one test each, numbered as in the list of 55 that policies/README.md
//! gives: what the patient's consents answer. Each is asked in FHIR R4, and in R5 where R5 can say it.

use medseal::bundle::document::{ConfidentialityCode as C, Document};
use medseal::consent::Consent;
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, ACT_REASON, CONFIDENTIALITY, PARTICIPATION, code, code_at, consent, consent_r5, dated, dissent, document,
    label, on_file, recipient, request, sensitive, with, withdrawn,
};

fn record() -> Document {
    document("summary.pdf")
}

/// The ordinary permission in both releases, its provision changed.
fn both(change: impl Fn(&mut Value)) -> [Value; 2] {
    let r4 = with(consent(), |c| change(&mut c["provision"]));
    let r5 = with(consent_r5(), |c| change(&mut c["provision"][0]));
    [r4, r5]
}

/// The same with an exception, which R4 must call a denial and R5 must not.
fn both_excepting(exception: &Value) -> [Value; 2] {
    let [r4, r5] = [with(exception.clone(), |e| e["type"] = json!("deny")), exception.clone()];
    [
        with(consent(), |c| c["provision"]["provision"] = json!([r4])),
        with(consent_r5(), |c| c["provision"][0]["provision"] = json!([r5])),
    ]
}

fn without(mut value: Value, key: &str) -> Value {
    value.as_object_mut().expect("an object").remove(key);
    value
}

fn purpose(codes: &[&str]) -> Value {
    codes.iter().map(|code| json!({"system": ACT_REASON, "code": code})).collect()
}

fn labels(codes: &[(&str, &str)]) -> Value {
    codes.iter().map(|(system, code)| json!({"system": system, "code": code})).collect()
}

fn refused(resource: &Value) -> String {
    match Consent::parse(&serde_json::to_vec(resource).expect("serialises")) {
        Ok(_) => "understood".to_owned(),
        Err(error) => error.reason().code().to_owned(),
    }
}

fn asked_for(code: &str, consent: &Value, now: &str) -> &'static str {
    let mut asked = request(vec![on_file(consent)]);
    asked.case.purpose = code.parse().expect("a purpose");
    code_at(&mut asked, now)
}

const NOW: &str = crate::asking::NOW;

#[test]
fn row_01_no_consent_on_file() {
    assert_eq!(code(record(), &[]), "NO_CONSENT");
}

#[test]
fn row_02_a_status_that_is_not_active() {
    for status in ["draft", "inactive", "entered-in-error"] {
        for base in [consent(), consent_r5()] {
            assert_eq!(code(record(), &[with(base, |c| c["status"] = json!(status))]), "CONSENT_INACTIVE");
        }
    }
    for base in [consent(), consent_r5()] {
        assert_ne!(refused(&with(base, |c| c["status"] = json!("enthusiastic"))), "understood");
    }
}

#[test]
fn row_03_expired_one_second_ago() {
    let until = |p: &mut Value| p["period"] = json!({"start": "2026-01-10", "end": "2026-11-22T09:59:59Z"});
    for consent in both(until) {
        let mut asked = request(vec![on_file(&consent)]);
        assert_eq!(code_at(&mut asked, "2026-11-22T10:00:00Z"), "CONSENT_EXPIRED");
        assert_eq!(code_at(&mut asked, "2026-11-22T09:59:58Z"), "ALLOW");
    }
}

#[test]
fn row_04_not_yet_valid() {
    for consent in both(|p| p["period"] = json!({"start": "2026-11-24T10:00:00Z", "end": "2026-12-31"})) {
        assert_eq!(code(record(), &[consent]), "CONSENT_NOT_YET");
    }
}

#[test]
fn row_05_an_end_without_a_time_lasts_to_the_end_of_its_day() {
    for consent in both(|p| p["period"] = json!({"start": "2026-01-10", "end": "2026-11-22"})) {
        let mut asked = request(vec![on_file(&consent)]);
        assert_eq!(code_at(&mut asked, "2026-11-22T18:00:00Z"), "ALLOW", "23:30 in Kolkata");
        assert_eq!(code_at(&mut asked, "2026-11-22T18:30:00Z"), "CONSENT_EXPIRED");
    }
}

#[test]
fn row_06_a_period_that_nobody_can_read_or_that_ends_first() {
    for bad in
        [json!({"end": "soon"}), json!({"start": "2026-02-01", "end": "2026-01-01"}), json!({"start": "2026-02-30"})]
    {
        for consent in both(|p| p["period"] = bad.clone()) {
            assert_eq!(refused(&consent), "BAD_INPUT", "{bad}");
        }
    }
}

#[test]
fn row_07_a_consent_that_ends_between_two_attempts() {
    for consent in both(|p| p["period"] = json!({"end": "2026-11-22T10:03:00Z"})) {
        let mut asked = request(vec![on_file(&consent)]);
        let answers = ["10:00", "10:01", "10:02", "10:03"].map(|at| {
            asked.attempt += 1;
            code_at(&mut asked, &format!("2026-11-22T{at}:00Z"))
        });
        assert_eq!(answers, ["ALLOW", "ALLOW", "ALLOW", "CONSENT_EXPIRED"]);
    }
}

#[test]
fn row_10_an_exception_for_one_of_two_recipients() {
    let two = |mut consent: Value| {
        let root =
            if consent["provision"].is_array() { &mut consent["provision"][0] } else { &mut consent["provision"] };
        root["actor"] = json!([recipient("heidelberg"), recipient("mayo")]);
        consent
    };
    for (excepted, expected) in [("heidelberg", "CONSENT_DENIED"), ("mayo", "ALLOW")] {
        for consent in both_excepting(&json!({"actor": [recipient(excepted)]})) {
            assert_eq!(code(record(), &[two(consent)]), expected);
        }
    }
}

#[test]
fn row_11_a_recipient_under_a_second_identifier() {
    let alias = with(recipient("heidelberg"), |a| {
        a["reference"]["identifier"] = json!({"system": "urn:oid:1.2.276", "value": "17"});
    });
    for consent in both_excepting(&json!({"actor": [alias]})) {
        assert_eq!(code(record(), &[consent]), "CONSENT_DENIED", "it may be the same institution");
    }
}

#[test]
fn row_12_another_institute_is_named() {
    for consent in both(|p| p["actor"] = json!([recipient("mayo")])) {
        assert_eq!(code(record(), &[consent]), "RECIPIENT");
    }
}

#[test]
fn row_13_nobody_is_named() {
    let [r4, r5] = both(|p| *p = without(p.take(), "actor"));
    assert_eq!(code(record(), &[r4]), "RECIPIENT");
    assert_eq!(code(record(), &[r5]), "NO_CONSENT");
}

#[test]
fn row_14_an_actor_who_is_author_or_custodian() {
    for role in ["AUT", "CST"] {
        let [r4, r5] = both(|p| p["actor"][0]["role"]["coding"][0]["code"] = json!(role));
        assert_eq!(code(record(), &[r4]), "RECIPIENT");
        assert_ne!(code(record(), &[r5]), "ALLOW");
    }
}

#[test]
fn row_15_a_group_whose_members_nobody_knows() {
    let group =
        json!({"role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}, "reference": {"reference": "Group/7"}});
    for consent in both(|p| p["actor"] = json!([group])) {
        assert_ne!(code(record(), &[consent]), "ALLOW", "it permits nobody");
    }
    for consent in both_excepting(&json!({"actor": [group]})) {
        assert_eq!(code(record(), &[consent]), "CONSENT_DENIED", "it may be anybody");
    }
}

#[test]
fn row_16_and_17_a_request_has_exactly_one_purpose() {
    // The type of a case's purpose holds one code and cannot hold none; what is no code is no purpose.
    for none in ["", " ", "TREAT,HMARKT", "TREAT HMARKT", "treat"] {
        assert!(none.parse::<medseal::id::Purpose>().is_err(), "{none:?}");
    }
    for consent in both(|p| p["purpose"] = purpose(&["HRESCH"])) {
        assert_eq!(code(record(), &[consent]), "PURPOSE");
    }
}

#[test]
fn row_18_a_child_purpose_under_its_parent_and_not_the_reverse() {
    for consent in both(|p| p["purpose"] = purpose(&["TREAT"])) {
        assert_eq!(asked_for("COC", &consent, NOW), "ALLOW");
    }
    for consent in both(|p| p["purpose"] = purpose(&["COC"])) {
        assert_eq!(asked_for("TREAT", &consent, NOW), "PURPOSE");
    }
}

#[test]
fn row_19_research_under_a_consent_to_treatment() {
    for consent in both(|p| p["purpose"] = purpose(&["TREAT"])) {
        assert_eq!(asked_for("HRESCH", &consent, NOW), "PURPOSE");
    }
}

#[test]
fn row_20_a_denial_under_a_denial() {
    let twice = with(dissent(), |c| c["provision"]["provision"] = json!([{"type": "deny"}]));
    assert_eq!(refused(&twice), "CONSENT_UNSUPPORTED");
    assert_eq!(code(record(), &[consent(), twice]), "CONSENT_UNSUPPORTED", "and on file it stops everything");
}

#[test]
fn row_21_a_permission_under_a_permission_needs_the_profile_that_explains_it() {
    let psychiatry =
        json!({"type": "permit", "securityLabel": labels(&[(ACT_CODE, "PSY")]), "actor": [recipient("heidelberg")]});
    let nested = with(consent(), |c| {
        c["provision"]["securityLabel"] = labels(&[(CONFIDENTIALITY, "N")]);
        c["provision"]["actor"] = json!([recipient("heidelberg"), recipient("mayo")]);
        c["provision"]["provision"] = json!([psychiatry]);
    });
    assert_eq!(refused(&nested), "CONSENT_UNSUPPORTED");
    let profile = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced";
    for (url, expected) in [
        (profile.to_owned(), "ALLOW"),
        (format!("{profile}|1.1.0"), "ALLOW"),
        (format!("{profile}X"), "CONSENT_UNSUPPORTED"),
        ("https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentBasic".to_owned(), "CONSENT_UNSUPPORTED"),
    ] {
        let declared = with(nested.clone(), |c| c["meta"] = json!({"profile": [url]}));
        let sensitive = label(sensitive(record(), "PSY"), C::R);
        assert_eq!(code(sensitive, std::slice::from_ref(&declared)), expected, "{url}");
        assert_eq!(code(record(), &[declared]), expected, "{url}");
    }
    let declared = with(nested, |c| c["meta"] = json!({"profile": [profile]}));
    let mut asked = request(vec![on_file(&declared)]);
    asked.documents = vec![label(sensitive(record(), "PSY"), C::R)];
    asked.case.purpose = "HRESCH".parse().expect("a purpose");
    assert_eq!(code_at(&mut asked, NOW), "PURPOSE", "what the addition leaves open stays as the root limits it");
    asked.case.purpose = "TREAT".parse().expect("a purpose");
    asked.partner.id = "mayo".parse().expect("an id");
    asked.partner.country = "US".parse().expect("a country");
    assert_eq!(code_at(&mut asked, NOW), "CONFIDENTIALITY", "the addition is for one of the two");
    let with_denial = with(declared, |c| {
        let denial = json!({"type": "deny", "purpose": purpose(&["TREAT"])});
        c["provision"]["provision"].as_array_mut().expect("a list").push(denial);
    });
    assert_eq!(code(label(sensitive(record(), "PSY"), C::R), &[with_denial]), "CONSENT_DENIED");
}

#[test]
fn row_22_a_third_level_is_refused_in_r4_and_read_in_r5() {
    let payment = |class: Value| json!({"purpose": purpose(&["TREAT"]), "provision": [class]});
    let r4 = with(consent(), |c| {
        let third = json!({"type": "permit", "class": [{"system": "http://loinc.org", "code": "18842-5"}]});
        c["provision"]["provision"] = json!([with(payment(third), |p| p["type"] = json!("deny"))]);
    });
    assert_eq!(refused(&r4), "CONSENT_UNSUPPORTED");
    let r5 = |class: &str| {
        let third = json!({"documentType": [{"system": "http://loinc.org", "code": class}]});
        with(consent_r5(), |c| c["provision"][0]["provision"] = json!([payment(third)]))
    };
    assert_eq!(code(record(), &[r5("18842-5")]), "ALLOW");
    assert_eq!(code(record(), &[r5("11526-1")]), "CONSENT_DENIED");
}

#[test]
fn row_23_a_document_across_the_edge_of_the_permitted_time() {
    for consent in both(|p| p["dataPeriod"] = json!({"start": "2021-01-01", "end": "2021-12-31"})) {
        let spanning = dated(record(), "2021-12-20", "2022-01-05");
        assert_eq!(code(spanning, std::slice::from_ref(&consent)), "DATE");
        assert_eq!(code(dated(record(), "2021-12-20", "2021-12-31"), &[consent]), "ALLOW");
    }
}

#[test]
fn row_24_an_undated_scan_and_a_denied_time() {
    for consent in both_excepting(&json!({"dataPeriod": {"start": "2021-01-01", "end": "2021-12-31"}})) {
        let mut undated = record();
        undated.date = None;
        assert_eq!(code(undated, std::slice::from_ref(&consent)), "CONSENT_DENIED");
        assert_eq!(code(record(), &[consent]), "ALLOW", "a dated one can be told");
    }
}

#[test]
fn row_25_a_permission_limited_by_what_is_not_evaluated() {
    for (element, limit) in [
        ("data", json!([{"meaning": "instance", "reference": {"reference": "Observation/1"}}])),
        ("code", json!([{"coding": [{"system": "http://loinc.org", "code": "18842-5"}]}])),
        (
            "action",
            json!([{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "correct"}]}]),
        ),
    ] {
        for consent in both(|p| p[element] = limit.clone()) {
            assert_eq!(code(record(), &[consent]), "CONSENT_UNSUPPORTED", "{element}");
        }
    }
}

#[test]
fn row_26_a_label_is_a_high_water_mark() {
    for consent in both(|p| p["securityLabel"] = labels(&[(CONFIDENTIALITY, "N")])) {
        assert_eq!(code(label(record(), C::R), std::slice::from_ref(&consent)), "CONFIDENTIALITY");
        assert_eq!(code(label(record(), C::L), &[consent]), "ALLOW");
    }
}

#[test]
fn row_27_one_restricted_document_among_ten() {
    for consent in both_excepting(&json!({"securityLabel": labels(&[(CONFIDENTIALITY, "R")])})) {
        let mut asked = request(vec![on_file(&consent)]);
        asked.documents = (0..9).map(|n| document(&format!("{n}.pdf"))).collect();
        assert_eq!(code_at(&mut asked, NOW), "ALLOW");
        asked.documents.push(label(document("9.pdf"), C::R));
        assert_eq!(code_at(&mut asked, NOW), "CONSENT_DENIED");
    }
}

#[test]
fn row_28_a_denied_sensitivity_and_its_child() {
    for consent in both_excepting(&json!({"securityLabel": labels(&[(ACT_CODE, "ETH")])})) {
        assert_eq!(code(sensitive(record(), "ETHUD"), &[consent]), "CONSENT_DENIED");
    }
}

#[test]
fn row_29_a_document_that_nobody_labelled() {
    let mut unlabelled = record();
    unlabelled.confidentiality.assumed = true;
    for consent in both(|p| p["securityLabel"] = labels(&[(CONFIDENTIALITY, "R")])) {
        assert_eq!(code(unlabelled.clone(), &[consent]), "CONFIDENTIALITY");
    }
    for consent in both_excepting(&json!({"securityLabel": labels(&[(ACT_CODE, "HIV")])})) {
        assert_eq!(code(unlabelled.clone(), &[consent]), "CONSENT_DENIED");
    }
}

#[test]
fn row_30_the_address_of_a_value_set_where_the_system_belongs() {
    let alias = "http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy";
    for consent in both_excepting(&json!({"securityLabel": labels(&[(alias, "HIV")])})) {
        assert_eq!(code(sensitive(record(), "HIV"), std::slice::from_ref(&consent)), "CONSENT_DENIED");
        assert_eq!(code(record(), &[consent]), "ALLOW");
    }
    let alias = "http://terminology.hl7.org/ValueSet/v3-PurposeOfUse";
    for consent in both(|p| p["purpose"] = json!([{"system": alias, "code": "TREAT"}])) {
        assert_eq!(code(record(), &[consent]), "ALLOW");
    }
    for consent in both(|p| p["purpose"] = json!([{"system": "urn:somewhere:else", "code": "TREAT"}])) {
        assert_eq!(code(record(), &[consent]), "PURPOSE");
    }
    let alias = "http://hl7.org/fhir/ValueSet/v3-ConfidentialityClassification";
    for consent in both_excepting(&json!({"securityLabel": labels(&[(alias, "R")])})) {
        assert_eq!(code(record(), std::slice::from_ref(&consent)), "ALLOW");
        assert_eq!(code(label(record(), C::R), &[consent]), "CONSENT_DENIED");
    }
}

#[test]
fn row_31_a_permission_and_a_denial_of_any_age() {
    let r5_denial = without(consent_r5(), "provision");
    for permission in [consent(), consent_r5()] {
        for denial in [dissent(), r5_denial.clone()] {
            assert_eq!(code(record(), &[permission.clone(), denial.clone()]), "CONSENT_DENIED");
            assert_eq!(code(record(), &[denial, permission.clone()]), "CONSENT_DENIED");
        }
    }
}

#[test]
fn row_32_a_consent_without_a_date_and_a_newer_denial() {
    assert_eq!(code(record(), &[without(consent(), "dateTime"), dissent()]), "CONSENT_DENIED");
    assert_eq!(code(record(), &[without(consent_r5(), "date"), dissent()]), "CONSENT_DENIED");
}

#[test]
fn row_33_two_halves_are_no_consent() {
    let halves = [both(|p| p["actor"] = json!([recipient("mayo")])), both(|p| p["purpose"] = purpose(&["HPAYMT"]))];
    for (wrong_recipient, wrong_purpose) in halves[0].iter().zip(&halves[1]) {
        assert_eq!(code(record(), &[wrong_recipient.clone(), wrong_purpose.clone()]), "PURPOSE");
    }
}

#[test]
fn row_34_two_versions_of_one_consent_on_file() {
    // A FHIR id never supersedes in silence: both count, so the narrower one stands until the wider is withdrawn.
    let wide = with(consent(), |c| c["id"] = json!("17"));
    let narrow = with(dissent(), |c| c["id"] = json!("17"));
    assert_eq!(code(record(), &[wide.clone(), narrow.clone()]), "CONSENT_DENIED");
    let mut asked = request(vec![withdrawn(&narrow), on_file(&wide)]);
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
}

#[test]
fn row_35_the_same_local_number_elsewhere() {
    let elsewhere = |key: &str, c: Value| with(c, |c| c[key]["identifier"]["system"] = json!("urn:oid:1.2.3"));
    assert_eq!(code(record(), &[elsewhere("patient", consent())]), "NO_CONSENT");
    assert_eq!(code(record(), &[elsewhere("subject", consent_r5())]), "NO_CONSENT");
    assert_eq!(code(record(), &[consent(), elsewhere("patient", dissent())]), "CONSENT_DENIED");
}

#[test]
fn row_36_a_merged_patient_until_a_person_says_so() {
    // The link stands in the hospital's index, not in a consent; here a person adds the number to the patient.
    let old = with(consent(), |c| c["patient"]["identifier"]["value"] = json!("0815"));
    let mut asked = request(vec![on_file(&old)]);
    assert_eq!(code_at(&mut asked, NOW), "NO_CONSENT");
    asked.patient.push("https://st-mary.example/mrn|0815".parse().expect("an identifier"));
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
}

#[test]
fn row_37_a_modifier_or_implicit_rules() {
    for base in [consent(), consent_r5()] {
        for (key, value) in [("modifierExtension", json!([{"url": "urn:x"}])), ("implicitRules", json!("urn:x"))] {
            assert_eq!(refused(&with(base.clone(), |c| c[key] = value)), "CONSENT_UNSUPPORTED");
        }
    }
}

#[test]
fn row_38_a_base_that_contradicts_itself() {
    let optout = json!({"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]});
    assert_eq!(refused(&with(consent(), |c| c["policyRule"] = optout.clone())), "CONSENT_AMBIGUOUS");
    let permitting = with(consent_r5(), |c| {
        c["decision"] = json!("permit");
        c["regulatoryBasis"] = json!([optout]);
    });
    assert_eq!(refused(&permitting), "CONSENT_AMBIGUOUS");
}

#[test]
fn row_39_r5_without_a_decision() {
    assert_eq!(refused(&without(consent_r5(), "decision")), "CONSENT_UNSUPPORTED");
}

#[test]
fn row_40_two_releases_of_fhir_in_one_consent() {
    assert_eq!(refused(&with(consent(), |c| c["decision"] = json!("permit"))), "CONSENT_UNSUPPORTED");
    assert_eq!(refused(&with(consent_r5(), |c| c["scope"] = consent()["scope"].clone())), "CONSENT_UNSUPPORTED");
}

#[test]
fn row_41_a_consent_to_research_or_an_advance_directive() {
    let scope = |code: &str| json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": code}]});
    for about in ["research", "adr", "treatment"] {
        assert_eq!(code(record(), &[with(consent(), |c| c["scope"] = scope(about))]), "NO_CONSENT");
        assert_eq!(code(record(), &[with(consent_r5(), |c| c["category"] = json!([scope(about)]))]), "NO_CONSENT");
    }
}

#[test]
fn row_44_a_country_that_is_not_named_and_a_recipient_that_has_moved() {
    let only_germany = json!([{"url": "urn:medseal:extension:country", "valueCode": "DE"}]);
    for base in [consent(), consent_r5()] {
        let limited = with(base, |c| c["extension"] = only_germany.clone());
        let mut asked = request(vec![on_file(&limited)]);
        assert_eq!(code_at(&mut asked, NOW), "ALLOW");
        asked.partner.country = "US".parse().expect("a country");
        assert_eq!(code_at(&mut asked, NOW), "RECIPIENT_COUNTRY");
        for kept in &mut asked.consents {
            kept.countries = [("heidelberg".parse().expect("an id"), asked.partner.country.clone())].into();
        }
        assert_eq!(code_at(&mut asked, NOW), "RECIPIENT_COUNTRY", "its own list stands, whatever the card says");
    }
}

#[test]
fn row_51_hostile_json() {
    for base in [consent(), consent_r5()] {
        let good = base.to_string();
        let twice = good.replacen('{', "{\"status\":\"inactive\",", 1);
        for hostile in
            [twice, good.replace("4711", "4\u{0}711"), format!("{good}]"), "[".repeat(1 << 18), " ".repeat(10 << 20)]
        {
            assert!(Consent::parse(hostile.as_bytes()).is_err());
        }
    }
    let bidi = with(consent(), |c| c["provision"]["purpose"][0]["code"] = json!("TREAT\u{202e}"));
    assert_eq!(code(record(), &[bidi]), "PURPOSE");
}
