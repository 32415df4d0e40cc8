//! Does a consent artefact of India's health network permit exactly what its manager signed, and nothing else?

use std::collections::BTreeMap;

use medseal::consent::{
    Answer, Consent, ConsentError, Network, Notice, NoticeStatus, OnFile, Question, Source, evaluate,
};
use medseal::durable;
use medseal::id::{ConsentId, Digest, InstitutionId};
use medseal::keys::ConsentManagers;
use medseal::reason::Reason;
use serde_json::{Value, json};

use crate::abdm_rig::{Manager, PATIENT, detail, ended, notification};
use crate::asking::{at, consent, dated, document, with};
use crate::needs;

/// An institution that trusts one manager.
struct Institution {
    keys: tempfile::TempDir,
    managers: ConsentManagers,
    recipients: BTreeMap<String, InstitutionId>,
}

impl Institution {
    fn trusting(manager: &Manager) -> Self {
        let keys = tempfile::tempdir().expect("a folder");
        manager.trust_in(keys.path());
        let recipients = BTreeMap::from([("HIU-EX-07".to_owned(), "heidelberg".parse().expect("an id"))]);
        Self { managers: ConsentManagers::of(keys.path()), keys, recipients }
    }

    fn network(&self) -> Network<'_> {
        Network { managers: &self.managers, hip: Some("HIP-EX-01"), recipients: &self.recipients }
    }

    fn read(&self, text: &str) -> Result<Consent, ConsentError> {
        Consent::read(text.as_bytes(), &self.network())
    }

    fn on_file(&self, text: &str) -> OnFile {
        OnFile {
            id: ConsentId::random(),
            version: 1,
            withdrawn: None,
            countries: BTreeMap::from([("heidelberg".parse().expect("an id"), "DE".parse().expect("a country"))]),
            sha256: Digest::of(text.as_bytes()),
            depends: None,
            consent: self.read(text),
        }
    }
}

/// What is asked: one discharge summary of March 2026, to heidelberg.
struct Asked {
    purpose: &'static str,
    patient: &'static str,
    now: &'static str,
    document: medseal::bundle::document::Document,
}

fn asked() -> Asked {
    Asked { purpose: "CAREMGT", patient: PATIENT, now: "2026-11-23T10:00:00Z", document: document("summary.pdf") }
}

impl Asked {
    /// `ALLOW`, or the code that helps most.
    fn code(&self, on_file: &[OnFile]) -> &'static str {
        match self.answer(on_file) {
            Answer::Permits(_) => "ALLOW",
            Answer::Refuses(findings) => findings[0].reason.code(),
        }
    }

    fn answer(&self, on_file: &[OnFile]) -> Answer {
        evaluate(
            on_file,
            &Question {
                patient: &[self.patient.parse().expect("an identifier")],
                recipient: &"heidelberg".parse().expect("an id"),
                country: &"DE".parse().expect("a country"),
                purpose: &self.purpose.parse().expect("a purpose"),
                documents: std::slice::from_ref(&self.document),
                obligations_met: &medseal::decision::DELIVERY_MEETS.iter().map(|code| (*code).to_owned()).collect(),
                zone: &jiff::tz::TimeZone::get("Asia/Kolkata").expect("a zone"),
                now: at(self.now),
            },
        )
    }
}

/// The answer for the ordinary release under the artefact with this text, signed.
fn code_of(manager: &Manager, institution: &Institution, detail: &Value) -> &'static str {
    asked().code(&[institution.on_file(&manager.granted(detail))])
}

#[test]
fn a_signed_artefact_permits_what_it_names_until_its_erase_date() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    let Answer::Permits(granted) = asked().answer(&[institution.on_file(&manager.granted(&detail()))]) else {
        panic!("it is permitted")
    };
    assert_eq!(granted[0].source, Source::Abdm);
    assert_eq!(granted[0].until, at("2036-02-22T00:00:00Z"));
    assert_eq!(granted[0].erase_at, Some(at("2036-02-22T00:00:00Z")));
}

#[test]
fn row_46_each_way_in_which_an_artefact_does_not_cover_the_release_is_a_no() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    let changed = |change: &dyn Fn(&mut Value)| code_of(&manager, &institution, &with(detail(), change));
    assert_eq!(changed(&|_| {}), "ALLOW");
    // A kind of health information outside, and one that means no class of documents here.
    assert_eq!(changed(&|d| d["hiTypes"] = json!(["Prescription"])), "DOCUMENT_CLASS");
    assert_eq!(changed(&|d| d["hiTypes"] = json!(["WellnessRecord"])), "DOCUMENT_CLASS");
    // Single care contexts: no document in a bundle names one.
    let contexts = json!([{ "patientReference": "MRN-1", "careContextReference": "EP-1" }]);
    assert_eq!(changed(&|d| d["careContexts"] = contexts.clone()), "CONSENT_UNSUPPORTED");
    // The range of dates is the artefact's own, whatever the bundle spans.
    assert_eq!(changed(&|d| d["permission"]["dateRange"]["from"] = json!("2026-03-03T00:00:00.000Z")), "DATE");
    assert_eq!(changed(&|d| d["permission"]["dateRange"]["to"] = json!("2026-03-03T00:00:00.000Z")), "DATE");
    let artefact = [institution.on_file(&manager.granted(&detail()))];
    let wider = Asked { document: dated(document("both.pdf"), "2024-12-30", "2025-01-02"), ..asked() };
    assert_eq!(wider.code(&artefact), "DATE");
    // After the date at which the data must be erased, and at that very instant.
    for now in ["2036-02-22T00:00:00Z", "2036-02-22T00:00:01Z"] {
        assert_eq!(Asked { now, ..asked() }.code(&artefact), "CONSENT_EXPIRED");
    }
    assert_eq!(Asked { now: "2026-11-22T06:29:59Z", ..asked() }.code(&artefact), "CONSENT_NOT_YET");
    // Revoked, recorded as a withdrawal; and every status but GRANTED.
    let withdrawn =
        OnFile { withdrawn: Some(at("2026-11-23T00:00:00Z")), ..institution.on_file(&manager.granted(&detail())) };
    assert_eq!(asked().code(&[withdrawn]), "CONSENT_WITHDRAWN");
    let text = detail().to_string();
    for status in ["REQUESTED", "DENIED", "REVOKED", "EXPIRED", "PAUSED"] {
        let notice =
            notification("3fa85f64-5717-4562-b3fc-2c963f66ab01", status, &text, &manager.sign(text.as_bytes()));
        assert_ne!(asked().code(&[institution.on_file(&notice)]), "ALLOW", "{status}");
    }
}

#[test]
fn an_artefact_under_which_the_recipient_keeps_no_copy_permits_no_delivery() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    for mode in ["VIEW", "QUERY", "STREAM"] {
        let artefact = with(detail(), |d| d["permission"]["accessMode"] = json!(mode));
        assert_eq!(code_of(&manager, &institution, &artefact), "CONSENT_UNSUPPORTED", "{mode}");
        let words = institution.read(&manager.granted(&artefact)).expect("it is read").in_words().join(" ");
        assert!(words.contains(mode) && words.contains("permits nothing"), "{words}");
    }
}

#[test]
fn a_recipient_a_purpose_or_a_patient_that_the_artefact_does_not_name_gets_nothing() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    let other = |change: &dyn Fn(&mut Value)| code_of(&manager, &institution, &with(detail(), change));
    assert_eq!(other(&|d| d["hiu"]["id"] = json!("HIU-EX-08")), "RECIPIENT");
    assert_eq!(other(&|d| drop(d.as_object_mut().expect("an object").remove("hiu"))), "RECIPIENT");
    assert_eq!(other(&|d| d["purpose"]["code"] = json!("DSRCH")), "PURPOSE");
    assert_eq!(other(&|d| d["purpose"]["code"] = json!("BTG")), "PURPOSE");
    let artefact = [institution.on_file(&manager.granted(&detail()))];
    assert_eq!(Asked { purpose: "HRESCH", ..asked() }.code(&artefact), "PURPOSE");
    let somebody = "https://healthid.ndhm.gov.in/abha-address|usha.example@sbx";
    assert_eq!(Asked { patient: somebody, ..asked() }.code(&artefact), "NO_CONSENT");
    // The same text under the system of numbers is another identifier.
    let number = "https://healthid.ndhm.gov.in|asha.example@sbx";
    assert_eq!(Asked { patient: number, ..asked() }.code(&artefact), "NO_CONSENT");
}

#[test]
fn an_artefact_for_another_hospital_or_of_another_managers_patient_is_refused() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    let read = |change: &dyn Fn(&mut Value)| institution.read(&manager.granted(&with(detail(), change)));
    assert!(read(&|_| {}).is_ok());
    for change in [
        (&|d: &mut Value| d["hip"]["id"] = json!("HIP-EX-02")) as &dyn Fn(&mut Value),
        &|d| d["patient"]["id"] = json!("asha.example@abdm"),
        &|d| d["patient"]["id"] = json!("4711"),
        &|d| d["schemaVersion"] = json!("v4"),
        &|d| d["purpose"]["refUri"] = json!("https://example.org/purposes"),
        &|d| d["purpose"]["code"] = json!("CARE"),
        &|d| d["hiTypes"] = json!(["Xray"]),
        &|d| d["permission"]["accessMode"] = json!("COPY"),
        &|d| d["permission"]["frequency"]["unit"] = json!("FORTNIGHT"),
        &|d| d["permission"]["dataEraseAt"] = json!("2027-02-22"),
        &|d| d["permission"]["dataEraseAt"] = json!("2026-11-22T06:30:00.000Z"),
        &|d| d["permission"]["dateRange"]["to"] = json!("2024-01-01T00:00:00.000Z"),
        &|d| d["createdAt"] = json!("soon"),
    ] {
        let error = read(change).expect_err("it is refused");
        assert!(error.to_string().contains("of the consent"), "{error}");
    }
    let nobody = Network { hip: None, ..institution.network() };
    assert!(Consent::read(manager.granted(&detail()).as_bytes(), &nobody).is_err(), "who we are is not configured");
}

#[test]
fn an_unknown_element_anywhere_is_refused_by_its_path() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    for place in ["", "/patient", "/purpose", "/hip", "/permission", "/permission/dateRange", "/permission/frequency"] {
        let artefact = with(detail(), |d| d.pointer_mut(place).expect("a place")["unlessAskedNicely"] = json!(true));
        let error = institution.read(&manager.granted(&artefact)).expect_err("it is refused");
        assert_eq!(error.reason(), Reason::ConsentUnsupported);
        let path = format!("notification.consentDetail{}.unlessAskedNicely", place.replace('/', "."));
        assert!(error.to_string().contains(&path), "{error}");
    }
}

#[test]
fn a_change_in_any_region_of_the_artefact_or_its_signature_breaks_the_proof() {
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    let good = manager.granted(&detail());
    assert!(institution.read(&good).is_ok());
    let begin = good.find(r#"{"schemaVersion""#).or_else(|| good.find(r#""consentDetail":"#)).expect("the text");
    let end = good.find(r#","status":"#).expect("what follows");
    let signature = good.find(r#""signature":""#).expect("a signature") + r#""signature":""#.len();
    let after = signature + good[signature..].find('"').expect("its end");
    let mut tried = 0;
    for region in [begin..end, signature..after] {
        for at in region {
            let byte = good.as_bytes()[at];
            // Another digit or letter: most such texts are still artefacts in form.
            let other = match byte {
                b'0'..=b'8' | b'a'..=b'y' | b'A'..=b'Y' => byte + 1,
                b'9' | b'z' | b'Z' => byte - 1,
                _ => b'_',
            };
            let mut bytes = good.clone().into_bytes();
            bytes[at] = other;
            let changed = String::from_utf8(bytes).expect("text");
            assert!(
                institution.read(&changed).is_err(),
                "the change at byte {at} was not seen: {}",
                &changed[at - 9..at + 9]
            );
            tried += 1;
        }
    }
    assert!(tried > 900, "{tried}");
    // The same JSON written otherwise is not what was signed.
    let spaced = good.replacen(r#"{"schemaVersion""#, r#"{ "schemaVersion""#, 1).replacen(r#""hip":"#, r#""hip": "#, 1);
    assert_ne!(spaced, good);
    let error = institution.read(&spaced).expect_err("the bytes differ");
    assert_eq!(error.reason(), Reason::BadSignature);
}

#[test]
fn without_a_signature_or_with_anothers_an_artefact_is_refused() {
    let (Some(manager), Some(other)) = (Manager::new(), Manager::new()) else { return };
    let institution = Institution::trusting(&manager);
    let code = |text: &str| institution.read(text).expect_err("it is refused").reason();
    let text = detail().to_string();
    let id = "3fa85f64-5717-4562-b3fc-2c963f66ab01";
    assert_eq!(code(&other.granted(&detail())), Reason::BadSignature);
    assert_eq!(code(&notification(id, "GRANTED", &text, "BASE64-OF-CM-SIGNATURE")), Reason::BadSignature);
    assert_eq!(code(&notification(id, "GRANTED", &text, "AAAA")), Reason::BadSignature);
    let good = manager.granted(&detail());
    let signature = manager.sign(text.as_bytes());
    assert_eq!(code(&good.replace(&format!(r#""signature":"{signature}","#), "")), Reason::BadSignature);
    // A signature over another artefact of the same manager.
    let another = with(detail(), |d| d["hiTypes"] = json!(["OPConsultation"])).to_string();
    assert_eq!(code(&notification(id, "GRANTED", &another, &signature)), Reason::BadSignature);
    // Signed text and notification that speak of two artefacts.
    assert_eq!(code(&notification("another-id", "GRANTED", &text, &signature)), Reason::ConsentAmbiguous);
    // A manager whose key is not here; and one whose name would be a path.
    for manager_id in ["abdm", "../keys/sbx", "sbx.pem\u{0}", ""] {
        let foreign = with(detail(), |d| {
            d["consentManager"]["id"] = json!(manager_id);
            d["patient"]["id"] = json!(format!("asha.example@{manager_id}"));
        });
        let error = institution.read(&manager.granted(&foreign)).expect_err("it is refused");
        assert_ne!(error.reason(), Reason::Internal, "{error}");
    }
}

#[test]
fn a_key_that_is_taken_away_or_damaged_proves_nothing_from_that_moment() {
    let (Some(manager), Some(other)) = (Manager::new(), Manager::new()) else { return };
    let institution = Institution::trusting(&manager);
    let good = manager.granted(&detail());
    let key = institution.keys.path().join("consent-managers/sbx.pem");
    assert_eq!(asked().code(&[institution.on_file(&good)]), "ALLOW");
    // Renewed: the old key and the new one in one file; then the new one alone.
    let both = [std::fs::read(manager.public()).expect("read"), std::fs::read(other.public()).expect("read")].concat();
    durable::replace(&key, &both, 0o644).expect("written");
    assert!(institution.read(&good).is_ok() && institution.read(&other.granted(&detail())).is_ok());
    assert_eq!(institution.managers.list().expect("read")[0].fingerprints.len(), 2);
    std::fs::copy(other.public(), &key).expect("copied");
    assert_eq!(institution.read(&good).expect_err("an old key").reason(), Reason::BadSignature);
    durable::replace(&key, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0o644).expect("written");
    assert_eq!(institution.read(&good).expect_err("no key").reason(), Reason::ConsentUnverified);
    assert!(institution.managers.list().is_err(), "a damaged key is found before it matters");
    std::fs::remove_file(&key).expect("removed");
    let on_file = institution.on_file(&good);
    assert_eq!(on_file.consent.as_ref().expect_err("no key").reason(), Reason::ConsentUnverified);
    assert_ne!(asked().code(&[on_file]), "ALLOW");
}

#[test]
fn a_notification_is_told_from_a_fhir_consent_and_says_what_it_is_about() {
    let notice = Notice::read(ended("an-id", "REVOKED").as_bytes()).expect("it is read").expect("a notification");
    assert_eq!(
        (notice.artefact.as_str(), notice.status, notice.signed),
        ("an-id", NoticeStatus::Ended("revoked"), false)
    );
    assert_eq!(Notice::read(consent().to_string().as_bytes()).expect("it is read"), None);
    for bad in [
        ended("", "REVOKED"),
        ended("an-id", "WITHDRAWN"),
        ended("an id", "REVOKED"),
        r#"{"notification":[]}"#.to_owned(),
        with(consent(), |both| both["notification"] = json!({"status": "GRANTED", "consentId": "x"})).to_string(),
    ] {
        assert!(Notice::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn the_samples_that_are_no_real_artefacts_are_refused_for_what_is_wrong_with_them() {
    let Some(data) = needs::data("consents/abdm") else { return };
    let Some(manager) = Manager::new() else { return };
    let institution = Institution::trusting(&manager);
    for name in ["granted", "revoked"] {
        let path = data.join(format!("abdm-consent-artefact-{name}.synthetic.json"));
        let mut sample: Value = serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON");
        let error = Notice::read(sample.to_string().as_bytes()).expect_err("it has a note");
        assert!(error.to_string().starts_with("_note "), "{error}");
        sample.as_object_mut().expect("an object").remove("_note");
        let notice = Notice::read(sample.to_string().as_bytes()).expect("it is read").expect("a notification");
        assert_eq!(notice.status == NoticeStatus::Granted, name == "granted");
        assert!(institution.read(&sample.to_string()).is_err(), "{name} is signed by nobody");
    }
}
