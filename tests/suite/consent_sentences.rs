//! What a patient's consent lets go, case by case.

use medseal::bundle::document::ConfidentialityCode as C;
use medseal::consent::Consent;
use serde_json::{Value, json};

use crate::asking::{
    ACT_CODE, ACT_REASON, CONFIDENTIALITY, NOW, PARTICIPATION, code, code_at, consent, dated, dissent, document, label,
    on_file, recipient, request, sensitive, with, withdrawn,
};

fn provision(change: impl FnOnce(&mut Value)) -> Value {
    with(consent(), |consent| change(&mut consent["provision"]))
}

fn denying(change: impl FnOnce(&mut Value)) -> Value {
    with(dissent(), |consent| change(&mut consent["provision"]))
}

fn excepting(exception: Value) -> Value {
    provision(|p| p["provision"] = json!([with(exception, |e| e["type"] = json!("deny"))]))
}

fn labels(codes: &[(&str, &str)]) -> Value {
    codes.iter().map(|(system, code)| json!({"system": system, "code": code})).collect()
}

fn record() -> medseal::bundle::document::Document {
    document("summary.pdf")
}

#[test]
fn a_consent_that_names_patient_recipient_and_purpose_lets_the_records_go() {
    assert_eq!(code(record(), &[consent()]), "ALLOW");
}

#[test]
fn without_a_consent_nothing_goes() {
    assert_eq!(code(record(), &[]), "NO_CONSENT");
}

#[test]
fn only_an_active_consent_counts() {
    for status in ["draft", "proposed", "rejected", "inactive", "entered-in-error"] {
        assert_eq!(code(record(), &[with(consent(), |c| c["status"] = json!(status))]), "CONSENT_INACTIVE", "{status}");
    }
    assert_eq!(code(record(), &[with(consent(), |c| c["status"] = json!("unknown"))]), "CONSENT_UNSUPPORTED");
}

#[test]
fn a_consent_ends_with_its_last_day_where_the_hospital_is() {
    let mut asked = request(vec![on_file(&consent())]);
    // 2026-12-31 ends in Kolkata at 18:30 UTC.
    assert_eq!(code_at(&mut asked, "2026-12-31T18:29:59Z"), "ALLOW");
    assert_eq!(code_at(&mut asked, "2026-12-31T18:30:00Z"), "CONSENT_EXPIRED");
}

#[test]
fn a_consent_does_not_begin_before_its_first_day() {
    let mut asked = request(vec![on_file(&consent())]);
    assert_eq!(code_at(&mut asked, "2026-01-09T18:29:59Z"), "CONSENT_NOT_YET");
    assert_eq!(code_at(&mut asked, "2026-01-09T18:30:00Z"), "ALLOW");
}

#[test]
fn a_consent_without_an_end_holds_for_a_year_from_the_day_it_was_given() {
    let endless = provision(|p| p["period"] = json!({"start": "2026-01-10"}));
    let mut asked = request(vec![on_file(&endless)]);
    assert_eq!(code_at(&mut asked, "2027-01-09T18:29:59Z"), "ALLOW");
    assert_eq!(code_at(&mut asked, "2027-01-09T18:30:00Z"), "CONSENT_EXPIRED");
}

#[test]
fn a_consent_that_says_neither_when_it_was_given_nor_when_it_ends_permits_nothing() {
    let timeless = with(provision(|p| drop(p.as_object_mut().expect("an object").remove("period"))), |c| {
        c.as_object_mut().expect("an object").remove("dateTime");
    });
    assert_eq!(code(record(), &[timeless]), "CONSENT_UNSUPPORTED");
}

#[test]
fn a_withdrawn_consent_permits_nothing_and_is_named_as_the_reason() {
    let mut asked = request(vec![withdrawn(&consent())]);
    assert_eq!(code_at(&mut asked, NOW), "CONSENT_WITHDRAWN");
}

#[test]
fn a_withdrawn_consent_for_someone_else_is_not_the_reason() {
    let other = provision(|p| p["actor"] = json!([recipient("mayo")]));
    let mut asked = request(vec![withdrawn(&other)]);
    assert_eq!(code_at(&mut asked, NOW), "NO_CONSENT");
}

#[test]
fn a_new_consent_holds_although_an_older_one_was_withdrawn() {
    let mut asked = request(vec![withdrawn(&consent()), on_file(&consent())]);
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
}

#[test]
fn another_patients_consent_permits_nothing_and_denies_nothing() {
    let other = |c: Value| with(c, |c| c["patient"]["identifier"]["value"] = json!("4712"));
    assert_eq!(code(record(), &[other(consent())]), "NO_CONSENT");
    assert_eq!(code(record(), &[consent(), other(dissent())]), "ALLOW");
}

#[test]
fn the_same_number_from_another_issuer_permits_nothing_but_still_denies() {
    let other = |c: Value| with(c, |c| c["patient"]["identifier"]["system"] = json!("urn:oid:1.2.3"));
    assert_eq!(code(record(), &[other(consent())]), "NO_CONSENT");
    assert_eq!(code(record(), &[consent(), other(dissent())]), "CONSENT_DENIED");
}

#[test]
fn a_patient_known_by_reference_only_is_refused_when_the_consent_is_read() {
    let literal = with(consent(), |c| c["patient"] = json!({"reference": "Patient/52"}));
    assert!(read(&literal).contains("names no identifier"), "{}", read(&literal));
}

#[test]
fn only_a_named_recipient_receives() {
    for (what, actor) in [
        ("another institute", recipient("mayo")),
        ("a custodian", with(recipient("heidelberg"), |a| a["role"]["coding"][0]["code"] = json!("CST"))),
        (
            "a literal reference",
            json!({"role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}, "reference": {"reference": "Organization/heidelberg"}}),
        ),
        (
            "another system",
            with(recipient("heidelberg"), |a| a["reference"]["identifier"]["system"] = json!("urn:oid:1.2")),
        ),
    ] {
        assert_eq!(code(record(), &[provision(|p| p["actor"] = json!([actor]))]), "RECIPIENT", "{what}");
    }
    let nobody = provision(|p| drop(p.as_object_mut().expect("an object").remove("actor")));
    assert_eq!(code(record(), &[nobody]), "RECIPIENT", "nobody named");
    let two = provision(|p| p["actor"] = json!([recipient("mayo"), recipient("heidelberg")]));
    assert_eq!(code(record(), &[two]), "ALLOW", "one of two");
}

#[test]
fn an_actor_who_is_not_a_recipient_is_a_limit_that_cannot_be_checked() {
    let custodian = with(recipient("st-mary"), |a| a["role"]["coding"][0]["code"] = json!("CST"));
    let both = provision(|p| p["actor"] = json!([recipient("heidelberg"), custodian]));
    assert_eq!(code(record(), &[both]), "CONSENT_UNSUPPORTED");
}

#[test]
fn a_recipient_that_moved_to_another_country_needs_a_new_consent() {
    let mut asked = request(vec![on_file(&consent())]);
    asked.partner.country = "US".parse().expect("a country");
    assert_eq!(code_at(&mut asked, NOW), "RECIPIENT_COUNTRY");
    let mut asked = request(vec![on_file(&consent())]);
    asked.consents[0].countries.clear();
    assert_eq!(code_at(&mut asked, NOW), "RECIPIENT_COUNTRY");
}

#[test]
fn a_purpose_contains_its_children_and_nothing_else() {
    let purpose = |code: &str| provision(|p| p["purpose"] = json!([{"system": ACT_REASON, "code": code}]));
    let asked = |purpose: &str, consent: &Value| {
        let mut asked = request(vec![on_file(consent)]);
        asked.case.purpose = purpose.parse().expect("a purpose");
        code_at(&mut asked, NOW)
    };
    assert_eq!(asked("COC", &purpose("TREAT")), "ALLOW");
    assert_eq!(asked("TREAT", &purpose("COC")), "PURPOSE");
    assert_eq!(asked("HRESCH", &purpose("TREAT")), "PURPOSE");
    assert_eq!(asked("BTG", &purpose("TREAT")), "PURPOSE");
    assert_eq!(asked("TREAT", &purpose("HRESCH")), "PURPOSE");
    let elsewhere = provision(|p| p["purpose"] = json!([{"system": "urn:else", "code": "TREAT"}]));
    assert_eq!(asked("TREAT", &elsewhere), "PURPOSE");
}

#[test]
fn confidentiality_is_a_high_water_mark() {
    let up_to = |code: &str| provision(|p| p["securityLabel"] = labels(&[(CONFIDENTIALITY, code)]));
    assert_eq!(code(label(record(), C::L), &[up_to("N")]), "ALLOW");
    assert_eq!(code(label(record(), C::N), &[up_to("N")]), "ALLOW");
    assert_eq!(code(label(record(), C::R), &[up_to("N")]), "CONFIDENTIALITY");
    assert_eq!(code(label(record(), C::R), &[up_to("R")]), "ALLOW");
}

#[test]
fn an_assumed_label_never_satisfies_a_consent_that_speaks_of_labels() {
    let mut unlabelled = record();
    unlabelled.confidentiality.assumed = true;
    assert_eq!(code(unlabelled.clone(), &[consent()]), "ALLOW");
    let normal = provision(|p| p["securityLabel"] = labels(&[(CONFIDENTIALITY, "N")]));
    assert_eq!(code(unlabelled.clone(), &[normal]), "CONFIDENTIALITY");
    for exception in [(CONFIDENTIALITY, "R"), (ACT_CODE, "PSY")] {
        let excepted = excepting(json!({"securityLabel": labels(&[exception])}));
        assert_eq!(code(unlabelled.clone(), &[excepted]), "CONSENT_DENIED", "{exception:?}");
    }
}

#[test]
fn a_very_restricted_document_never_goes_by_itself() {
    assert_eq!(code(label(record(), C::V), &[consent()]), "CONFIDENTIALITY");
}

#[test]
fn a_sensitive_document_goes_only_if_the_consent_names_the_sensitivity() {
    let hiv = || label(sensitive(record(), "HIV"), C::R);
    assert_eq!(code(hiv(), &[consent()]), "SENSITIVITY");
    let named = |codes: &[(&str, &str)]| provision(|p| p["securityLabel"] = labels(codes));
    assert_eq!(code(hiv(), &[named(&[(CONFIDENTIALITY, "R"), (ACT_CODE, "HIV")])]), "ALLOW");
    assert_eq!(code(hiv(), &[named(&[(CONFIDENTIALITY, "R")])]), "SENSITIVITY");
    assert_eq!(code(hiv(), &[named(&[(CONFIDENTIALITY, "N")])]), "CONFIDENTIALITY");
    assert_eq!(code(hiv(), &[named(&[(CONFIDENTIALITY, "R"), (ACT_CODE, "PSY")])]), "SENSITIVITY");
    assert_eq!(code(record(), &[named(&[(ACT_CODE, "HIV")])]), "SENSITIVITY", "HIV alone is nothing but HIV");
}

#[test]
fn a_stigmatising_document_is_restricted_whatever_its_label_says() {
    let understated = label(sensitive(record(), "PSY"), C::N);
    let normal = provision(|p| p["securityLabel"] = labels(&[(CONFIDENTIALITY, "N")]));
    assert_eq!(code(understated.clone(), &[normal]), "CONFIDENTIALITY");
    let excepted = excepting(json!({"securityLabel": labels(&[(CONFIDENTIALITY, "R")])}));
    assert_eq!(code(understated, &[excepted]), "CONSENT_DENIED");
}

#[test]
fn a_denied_sensitivity_contains_its_children_and_what_may_be_it() {
    let no_substance = excepting(json!({"securityLabel": labels(&[(ACT_CODE, "ETH")])}));
    for sensitivity in ["ETH", "ETHUD", "OPIOIDUD", "SUD", "LOCALCODE"] {
        assert_eq!(
            code(sensitive(record(), sensitivity), std::slice::from_ref(&no_substance)),
            "CONSENT_DENIED",
            "{sensitivity}"
        );
    }
    assert_eq!(code(record(), &[no_substance]), "ALLOW");
}

#[test]
fn a_sensitivity_under_the_name_of_its_value_set_still_denies() {
    let alias = "http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy";
    let excepted = excepting(json!({"securityLabel": labels(&[(alias, "HIV")])}));
    assert_eq!(code(sensitive(record(), "HIV"), std::slice::from_ref(&excepted)), "CONSENT_DENIED");
    assert_eq!(code(record(), &[excepted]), "ALLOW");
}

#[test]
fn a_class_is_matched_by_code_or_media_type() {
    let class = |system: &str, code: &str| provision(|p| p["class"] = json!([{"system": system, "code": code}]));
    assert_eq!(code(record(), &[class("http://loinc.org", "18842-5")]), "ALLOW");
    assert_eq!(code(record(), &[class("http://loinc.org", "11526-1")]), "DOCUMENT_CLASS");
    assert_eq!(code(record(), &[class("urn:ietf:bcp:13", "application/pdf")]), "ALLOW");
    assert_eq!(code(record(), &[class("urn:ietf:bcp:13", "application/dicom")]), "DOCUMENT_CLASS");
    assert_eq!(code(record(), &[class("http://hl7.org/fhir/resource-types", "Observation")]), "DOCUMENT_CLASS");
    let mut unclassed = record();
    unclassed.class = None;
    assert_eq!(code(unclassed.clone(), &[class("http://loinc.org", "18842-5")]), "DOCUMENT_CLASS");
    let excepted = excepting(json!({"class": [{"system": "http://loinc.org", "code": "11526-1"}]}));
    assert_eq!(code(unclassed, std::slice::from_ref(&excepted)), "CONSENT_DENIED");
    assert_eq!(code(record(), &[excepted]), "ALLOW");
}

#[test]
fn a_document_goes_only_if_all_its_days_lie_in_the_permitted_time() {
    let in_2026 = provision(|p| p["dataPeriod"] = json!({"start": "2026-01-01", "end": "2026-06-30"}));
    let of = |first, last| dated(record(), first, last);
    assert_eq!(code(of("2026-01-01", "2026-06-30"), std::slice::from_ref(&in_2026)), "ALLOW");
    assert_eq!(code(of("2025-12-31", "2026-01-05"), std::slice::from_ref(&in_2026)), "DATE");
    assert_eq!(code(of("2026-06-30", "2026-07-01"), std::slice::from_ref(&in_2026)), "DATE");
    let mut undated = record();
    undated.date = None;
    assert_eq!(code(undated.clone(), &[in_2026]), "DATE");
    let not_2026 = excepting(json!({"dataPeriod": {"start": "2026-01-01", "end": "2026-06-30"}}));
    assert_eq!(code(undated, std::slice::from_ref(&not_2026)), "CONSENT_DENIED");
    assert_eq!(code(of("2025-12-31", "2026-01-01"), std::slice::from_ref(&not_2026)), "CONSENT_DENIED");
    assert_eq!(code(of("2025-12-30", "2025-12-31"), &[not_2026]), "ALLOW");
}

#[test]
fn an_exception_for_one_recipient_leaves_the_others() {
    let both = json!([recipient("heidelberg"), recipient("mayo")]);
    let excepted =
        |id: &str| with(excepting(json!({"actor": [recipient(id)]})), |c| c["provision"]["actor"] = both.clone());
    assert_eq!(code(record(), &[excepted("heidelberg")]), "CONSENT_DENIED");
    assert_eq!(code(record(), &[excepted("mayo")]), "ALLOW");
    let group = json!({"actor": [{"role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}, "reference": {"reference": "Group/7"}}]});
    assert_eq!(code(record(), &[excepting(group)]), "CONSENT_DENIED", "the group may have anyone in it");
}

#[test]
fn an_exception_limits_only_the_permission_that_it_stands_under() {
    let for_mayo = with(excepting(json!({"securityLabel": labels(&[(CONFIDENTIALITY, "U")])})), |c| {
        c["provision"]["actor"] = json!([recipient("mayo")]);
    });
    assert_eq!(code(record(), &[consent(), for_mayo]), "ALLOW");
}

#[test]
fn a_part_that_is_not_evaluated_satisfies_no_permit_and_every_denial() {
    let data = json!([{"meaning": "instance", "reference": {"reference": "Observation/1"}}]);
    let codes = json!([{"coding": [{"system": "http://loinc.org", "code": "18842-5"}]}]);
    let correct =
        json!([{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "correct"}]}]);
    for (element, value) in [("data", data), ("code", codes), ("action", correct)] {
        let permit = provision(|p| p[element] = value.clone());
        assert_eq!(code(record(), &[permit]), "CONSENT_UNSUPPORTED", "{element}");
        let mut exception = json!({});
        exception[element] = value;
        assert_eq!(code(record(), &[excepting(exception)]), "CONSENT_DENIED", "{element}");
    }
    let disclose =
        json!([{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "disclose"}]}]);
    assert_eq!(code(record(), &[provision(|p| p["action"] = disclose)]), "ALLOW");
}

#[test]
fn a_denial_overrides_every_permission_whatever_the_dates() {
    for (permitted, denied) in [("2026-01-10", "2026-11-01"), ("2026-11-01", "2026-01-10")] {
        let permit = with(consent(), |c| c["dateTime"] = json!(permitted));
        let deny = with(dissent(), |c| c["dateTime"] = json!(denied));
        assert_eq!(code(record(), &[permit, deny]), "CONSENT_DENIED");
    }
    let for_research = denying(|p| p["purpose"] = json!([{"system": ACT_REASON, "code": "HRESCH"}]));
    assert_eq!(code(record(), &[consent(), for_research]), "ALLOW");
}

#[test]
fn a_denial_outlives_its_own_end_until_it_is_withdrawn() {
    let ended = denying(|p| p["period"] = json!({"end": "2026-03-31"}));
    assert_eq!(code(record(), &[consent(), ended.clone()]), "CONSENT_DENIED");
    let mut asked = request(vec![on_file(&consent()), withdrawn(&ended)]);
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
    let later = denying(|p| p["period"] = json!({"start": "2027-03-31"}));
    assert_eq!(code(record(), &[consent(), later]), "ALLOW", "it has not begun");
}

#[test]
fn a_permission_comes_wholly_from_one_consent() {
    let class = |code: &str| provision(|p| p["class"] = json!([{"system": "http://loinc.org", "code": code}]));
    let wrong_recipient = provision(|p| p["actor"] = json!([recipient("mayo")]));
    assert_eq!(code(record(), &[class("11526-1"), wrong_recipient]), "DOCUMENT_CLASS");
    let mut pathology = document("pathology.pdf");
    pathology.class = Some("11526-1".to_owned());
    let mut asked = request(vec![on_file(&class("18842-5")), on_file(&class("11526-1"))]);
    asked.documents.push(pathology);
    assert_eq!(code_at(&mut asked, NOW), "DOCUMENT_CLASS", "two halves are no whole");
}

#[test]
fn one_excluded_document_stops_the_whole_bundle_and_is_named() {
    let excepted = excepting(json!({"securityLabel": labels(&[(CONFIDENTIALITY, "R")])}));
    let mut asked = request(vec![on_file(&excepted)]);
    asked.documents = (0..9).map(|n| document(&format!("{n}.pdf"))).collect();
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
    asked.documents.push(label(document("psychiatry.pdf"), C::R));
    let denied = crate::asking::ask_at(&mut asked, NOW).expect_err("one is restricted");
    let named: Vec<_> = denied.causes.iter().filter_map(|cause| cause.document.as_deref()).collect();
    assert_eq!(named, ["psychiatry.pdf"]);
    assert!(!format!("{denied:?} {denied}").contains("psychiatry"), "a file's name stays out of text and Debug");
}

#[test]
fn a_consent_that_can_no_longer_be_understood_stops_everything() {
    let strange = with(dissent(), |c| c["surprise"] = json!(true));
    assert_eq!(code(record(), &[consent(), strange.clone()]), "CONSENT_UNSUPPORTED");
    let mut asked = request(vec![on_file(&consent()), withdrawn(&strange)]);
    assert_eq!(code_at(&mut asked, NOW), "ALLOW", "unless it was withdrawn");
}

#[test]
fn a_consent_about_research_is_not_about_this() {
    let research = |c: Value| with(c, |c| c["scope"]["coding"][0]["code"] = json!("research"));
    assert_eq!(code(record(), &[research(consent())]), "NO_CONSENT");
    assert_eq!(code(record(), &[consent(), research(dissent())]), "ALLOW");
}

#[test]
fn the_reason_given_is_the_one_that_helps_most() {
    let ended = provision(|p| p["period"] = json!({"end": "2026-10-31"}));
    let other = provision(|p| p["actor"] = json!([recipient("mayo")]));
    let narrow = provision(|p| p["class"] = json!([{"system": "http://loinc.org", "code": "11526-1"}]));
    assert_eq!(code(record(), &[other.clone(), ended.clone()]), "CONSENT_EXPIRED");
    assert_eq!(code(record(), &[ended.clone(), narrow.clone()]), "DOCUMENT_CLASS");
    let mut asked = request(vec![withdrawn(&consent()), on_file(&narrow), on_file(&ended)]);
    assert_eq!(code_at(&mut asked, NOW), "CONSENT_WITHDRAWN");
    assert_eq!(code(record(), &[other]), "RECIPIENT");
}

fn read(resource: &Value) -> String {
    match Consent::parse(&serde_json::to_vec(resource).expect("serialises")) {
        Ok(_) => "understood".to_owned(),
        Err(error) => format!("{}: {error}", error.reason()),
    }
}

#[test]
fn what_could_change_the_meaning_is_refused_when_the_consent_is_read() {
    let refused = |what: &str, resource: &Value, code: &str| {
        assert!(read(resource).starts_with(code), "{what}: {}", read(resource));
    };
    refused("an unknown element", &with(consent(), |c| c["surprise"] = json!(1)), "CONSENT_UNSUPPORTED: surprise");
    refused("one deep inside", &provision(|p| p["actor"][0]["x"] = json!(1)), "CONSENT_UNSUPPORTED: provision.actor.x");
    refused("a modifier", &with(consent(), |c| c["modifierExtension"] = json!([{"url": "u"}])), "CONSENT_UNSUPPORTED");
    refused(
        "a modifier in the narrative",
        &with(consent(), |c| c["text"] = json!({"modifierExtension": [{"url": "u"}]})),
        "CONSENT_UNSUPPORTED",
    );
    refused("implicit rules", &with(consent(), |c| c["implicitRules"] = json!("u")), "CONSENT_UNSUPPORTED");
    refused(
        "a contained resource",
        &with(consent(), |c| c["contained"] = json!([{"resourceType": "Group"}])),
        "CONSENT_UNSUPPORTED",
    );
    refused("an extended primitive", &provision(|p| p["_type"] = json!({"id": "x"})), "CONSENT_UNSUPPORTED");
    refused(
        "an extension of a provision",
        &provision(|p| p["extension"] = json!([{"url": "u"}])),
        "CONSENT_UNSUPPORTED",
    );
    refused(
        "our extension",
        &with(consent(), |c| c["extension"] = json!([{"url": "urn:medseal:countries", "valueString": "DE"}])),
        "CONSENT_UNSUPPORTED",
    );
    refused("FHIR R5", &with(consent(), |c| c["decision"] = json!("permit")), "CONSENT_UNSUPPORTED");
    refused(
        "opt-out with permit",
        &with(consent(), |c| c["policyRule"] = json!({"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]})),
        "CONSENT_AMBIGUOUS",
    );
    refused(
        "a policy that denies",
        &with(consent(), |c| c["policy"][0]["uri"] = json!("https://profiles.ihe.net/ITI/PCF/Policy-deny")),
        "CONSENT_AMBIGUOUS",
    );
    refused(
        "no type",
        &provision(|p| drop(p.as_object_mut().expect("an object").remove("type"))),
        "CONSENT_UNSUPPORTED",
    );
    refused("a nested permit", &provision(|p| p["provision"] = json!([{"type": "permit"}])), "CONSENT_UNSUPPORTED");
    refused(
        "a permit under a denial",
        &denying(|p| p["provision"] = json!([{"type": "permit"}])),
        "CONSENT_UNSUPPORTED",
    );
    refused("a third level", &excepting(json!({"provision": [{"type": "deny"}]})), "CONSENT_UNSUPPORTED");
    refused(
        "an unverified consent",
        &with(consent(), |c| c["verification"] = json!([{"verified": false}])),
        "CONSENT_UNSUPPORTED",
    );
    refused(
        "an unknown category",
        &with(consent(), |c| c["category"][0]["coding"][0]["code"] = json!("0000-0")),
        "CONSENT_UNSUPPORTED",
    );
    refused("no scope", &with(consent(), |c| drop(c.as_object_mut().expect("an object").remove("scope"))), "BAD_INPUT");
    refused("an unreadable end", &provision(|p| p["period"]["end"] = json!("soon")), "BAD_INPUT");
    refused(
        "an inverted period",
        &provision(|p| p["period"] = json!({"start": "2026-02-01", "end": "2026-01-01"})),
        "BAD_INPUT",
    );
    refused("a text for a list", &provision(|p| p["purpose"] = json!("TREAT")), "BAD_INPUT");
    refused("an empty list", &provision(|p| p["purpose"] = json!([])), "BAD_INPUT");
    refused("a null", &provision(|p| p["purpose"] = Value::Null), "BAD_INPUT");
    refused("another resource", &with(consent(), |c| c["resourceType"] = json!("Contract")), "BAD_INPUT");
}

#[test]
fn hostile_json_is_refused() {
    let good = consent().to_string();
    let refused = |what: &str, bytes: &[u8]| assert!(Consent::parse(bytes).is_err(), "{what} was read");
    assert!(Consent::parse(good.as_bytes()).is_ok());
    refused("a duplicate key", good.replacen('{', "{\"status\":\"active\",", 1).as_bytes());
    refused(
        "a duplicate key in the narrative",
        good.replacen('{', "{\"text\":{\"div\":\"a\",\"div\":\"b\"},", 1).as_bytes(),
    );
    refused("something after the end", format!("{good} {{}}").as_bytes());
    refused("a deep nest", format!("{{\"text\":{}{}}}", "[".repeat(20), "]".repeat(20)).as_bytes());
    refused("a deeper one", "[".repeat(100_000).as_bytes());
    refused("a large one", with(consent(), |c| c["text"] = json!({"div": "x".repeat(300_000)})).to_string().as_bytes());
    refused("no UTF-8", &[good.as_bytes(), &[0xff]].concat());
    refused("nothing", b"");
}

#[test]
fn a_consent_says_in_words_what_it_permits() {
    let rich = with(excepting(json!({"securityLabel": labels(&[(ACT_CODE, "PSY")])})), |c| {
        c["provision"]["actor"] = json!([recipient("heidelberg"), recipient("mayo")]);
        c["provision"]["class"] = json!([{"system": "http://loinc.org", "code": "18842-5"}]);
    });
    let words = Consent::parse(rich.to_string().as_bytes()).expect("it is read").in_words();
    assert_eq!(
        words,
        [
            "It permits sending records to heidelberg or mayo.",
            "Only for the purpose TREAT.",
            "Only documents of the class LOINC 18842-5.",
            "It holds from 2026-01-10 to 2026-12-31.",
            "It excludes documents labelled PSY (sensitivity).",
        ]
    );
}
