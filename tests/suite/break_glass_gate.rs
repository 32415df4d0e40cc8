//! Does an emergency stand in for a consent that is absent, and for nothing else?

use medseal::clock::stamp;
use medseal::decision::{Approval, Basis, BreakGlass, Confirmation, Denied, Kind, Permit, Request};
use medseal::id::Digest;
use medseal::partner::Standing;
use serde_json::{Value, json};

use crate::asking::{
    ACT_REASON, NOW, ask_at, at, consent, dissent, document, on_file, recipient, request, sensitive, with, withdrawn,
};

/// The code that is expected, and what is changed for it.
type Changed = (&'static str, fn(&mut Request));

const REQUESTED: &str = "2026-11-22T09:00:00Z";
const UNTIL: &str = "2026-11-22T13:00:00Z";
const CLINICIAN: u32 = 1000;

/// An emergency that two other people have confirmed, with these consents on file.
fn emergency(consents: Vec<medseal::consent::OnFile>) -> Request {
    let mut asked = request(consents);
    asked.case.purpose = "ETREAT".parse().expect("a purpose");
    asked.basis =
        Basis::BreakGlass(BreakGlass { enabled: true, justified: true, requested: at(REQUESTED), until: at(UNTIL) });
    asked.confirmation.sent_by = CLINICIAN;
    approve(&mut asked, &[1001, 1002]);
    asked
}

/// These people approve the release as it stands.
fn approve(asked: &mut Request, people: &[u32]) {
    let (sealed, manifest) = (Digest::of(b"sealed"), Digest::of(b"manifest"));
    let approval = |by: &u32| Approval {
        by: *by,
        at: stamp(at(REQUESTED)),
        until: stamp(at("2026-11-23T09:00:00Z")),
        sealed_sha256: sealed,
        manifest_sha256: manifest,
        card: asked.partner.card,
        consents: asked.consents_digest(),
    };
    let approvals = people.iter().map(approval).collect();
    asked.confirmation = Confirmation { sealed: Some((sealed, manifest)), approvals, ..asked.confirmation.clone() };
}

fn code(asked: &mut Request) -> &'static str {
    ask_at(asked, NOW).map_or_else(|denied| denied.reason.code(), |_| "ALLOW")
}

fn with_consents(consents: &[Value]) -> &'static str {
    code(&mut emergency(consents.iter().map(on_file).collect()))
}

#[test]
fn two_people_let_records_go_without_a_consent_and_the_permit_says_so() {
    let mut asked = emergency(Vec::new());
    let permit: Permit = ask_at(&mut asked, NOW).expect("an emergency");
    assert!(matches!(permit.basis(), Basis::BreakGlass(_)));
    assert_eq!((permit.consent(), permit.policies()), (None, &["break-glass".to_owned()][..]));
    assert!(permit.reason().contains("emergency"), "{}", permit.reason());
    let permit = ask_at(&mut asked, "2026-11-22T12:59:50Z").expect("within the time box");
    assert_eq!(permit.expires(), at(UNTIL), "a permit does not outlive the time box");
}

#[test]
fn one_person_is_not_two_and_whoever_asks_is_none() {
    for people in [&[][..], &[1001], &[1001, 1001], &[CLINICIAN, 1001], &[CLINICIAN]] {
        let mut asked = emergency(Vec::new());
        approve(&mut asked, people);
        assert_eq!(code(&mut asked), "APPROVAL_NEEDED", "{people:?}");
    }
}

#[test]
fn an_emergency_that_is_off_or_over_or_not_justified_or_none_lets_nothing_go() {
    let change = |change: fn(&mut BreakGlass)| {
        let mut asked = emergency(Vec::new());
        let Basis::BreakGlass(emergency) = &mut asked.basis else { unreachable!("it was made so") };
        change(emergency);
        code(&mut asked)
    };
    assert_eq!(change(|emergency| emergency.enabled = false), "BREAK_GLASS_OFF");
    assert_eq!(change(|emergency| emergency.justified = false), "REQUEST_INCOMPLETE");
    assert_eq!(change(|emergency| emergency.until = at(NOW)), "BREAK_GLASS_ENDED");
    let mut everyday = emergency(Vec::new());
    everyday.case.purpose = "TREAT".parse().expect("a purpose");
    assert_eq!(code(&mut everyday), "PURPOSE");
    let mut opinion = emergency(Vec::new());
    opinion.kind = Kind::Opinion;
    assert_eq!(code(&mut opinion), "REQUEST_INCOMPLETE");
}

#[test]
fn it_never_overrides_what_the_patient_has_said() {
    let denying = |provision: Value| with(dissent(), |c| c["provision"] = provision);
    let purpose = |code: &str| json!({"system": ACT_REASON, "code": code});
    for (what, consent) in [
        ("a denial of everything", dissent()),
        ("a denial for this institution", denying(json!({"type": "deny", "actor": [recipient("heidelberg")]}))),
        ("a denial of breaking the glass", denying(json!({"type": "deny", "purpose": [purpose("BTG")]}))),
        ("a denial of emergency treatment", denying(json!({"type": "deny", "purpose": [purpose("ETREAT")]}))),
        ("a denial of treatment", denying(json!({"type": "deny", "purpose": [purpose("TREAT")]}))),
    ] {
        assert_eq!(with_consents(std::slice::from_ref(&consent)), "CONSENT_DENIED", "{what}");
        assert_eq!(with_consents(&[consent, self::consent()]), "CONSENT_DENIED", "{what}, beside a permission");
    }
    let left_out =
        with(consent(), |c| c["provision"]["class"] = json!([{"system": "http://loinc.org", "code": "11526-1"}]));
    assert_eq!(with_consents(&[left_out]), "DOCUMENT_CLASS", "a consent that leaves the document out");
    assert_eq!(with_consents(&[with(consent(), |c| c["implicitRules"] = json!("urn:x"))]), "CONSENT_UNSUPPORTED");
    assert_eq!(with_consents(&[with(consent(), |c| c["status"] = json!("rejected"))]), "CONSENT_INACTIVE");
    assert_eq!(code(&mut emergency(vec![withdrawn(&consent())])), "CONSENT_WITHDRAWN");
    let hidden = vec![on_file(&consent()), withdrawn(&consent())];
    assert_eq!(code(&mut emergency(hidden)), "CONSENT_WITHDRAWN", "no consent hides what another says");
}

#[test]
fn a_consent_that_is_about_something_else_or_has_ended_is_no_objection() {
    for (what, consent) in [
        ("another institution", with(consent(), |c| c["provision"]["actor"] = json!([recipient("mayo")]))),
        (
            "research",
            with(consent(), |c| c["provision"]["purpose"] = json!([{"system": ACT_REASON, "code": "HRESCH"}])),
        ),
        ("it ended", with(consent(), |c| c["provision"]["period"]["end"] = json!("2026-06-30"))),
        ("another patient", with(consent(), |c| c["patient"]["identifier"]["value"] = json!("4712"))),
    ] {
        assert_eq!(with_consents(&[consent]), "ALLOW", "{what}");
    }
    assert_eq!(code(&mut emergency(vec![withdrawn(&dissent())])), "ALLOW", "a denial that the patient took back");
}

#[test]
fn whatever_else_forbids_a_release_forbids_it_in_an_emergency() {
    let cases: [Changed; 6] = [
        ("PARTNER_SUSPENDED", |r| r.partner.standing = Standing::Suspended),
        ("CASE_CLOSED", |r| r.case.open = false),
        ("PARTNER_NOT_INVITED", |r| r.case.partners.clear()),
        ("RECIPIENT_KEY", |r| r.partner.has_valid_recipient_key = false),
        ("PARTNER_EXPIRED", |r| r.partner.agreement_until = Some(at(NOW))),
        ("OBLIGATION", |r| r.documents = vec![sensitive(document("report.pdf"), "SUD")]),
    ];
    for (expected, change) in cases {
        let mut asked = emergency(Vec::new());
        change(&mut asked);
        assert_eq!(code(&mut asked), expected);
    }
}

#[test]
fn a_new_consent_ends_the_approvals() {
    let mut asked = emergency(Vec::new());
    asked.consents.push(on_file(&with(consent(), |c| c["provision"]["actor"] = json!([recipient("mayo")]))));
    let denied: Denied = ask_at(&mut asked, NOW).expect_err("it is not what they approved");
    assert_eq!(denied.reason.code(), "APPROVAL_NEEDED");
}
