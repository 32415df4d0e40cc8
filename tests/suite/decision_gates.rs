//! What a decision rests on, what it says, and what it refuses to decide.

use std::sync::Arc;

use medseal::clock::{Timestamp, stamp};
use medseal::decision::{Approval, Basis, Confirmation, ENGINE_SEMANTICS, Gates, Kind, PART2_NOTICE, Request, decide};
use medseal::id::Digest;
use medseal::partner::{Standing, TransferBasis};
use medseal::policy::Policy;
use medseal::sample_case;
use serde_json::json;

use crate::asking::{
    ACT_CODE, CONFIDENTIALITY, NOW, ask_at, at, code_at, consent, dissent, document, gates, on_file, request,
    sensitive, with,
};

/// What is changed in an ordinary request, with what it is or what comes of it.
type Changed = (&'static str, fn(&mut Request));

fn later(text: &str, seconds: i64) -> Timestamp {
    Timestamp::from_second(at(text).as_second() + seconds).expect("a time")
}

#[test]
fn a_permit_names_everything_that_it_rests_on() {
    let mut asked = request(vec![on_file(&consent())]);
    asked.consents[0].version = 7;
    let permit = ask_at(&mut asked, NOW).expect("allowed");
    assert_eq!(permit.bundle(), &asked.bundle);
    assert_eq!((permit.attempt(), permit.kind()), (1, Kind::Records));
    assert_eq!(permit.partner().as_str(), "heidelberg");
    assert_eq!(permit.basis(), &Basis::Consent);
    assert_eq!(permit.consent(), Some((&asked.consents[0].id, 7)));
    assert_eq!(permit.policy(), gates().policy.digest());
    assert_eq!(permit.policies(), ["release-second-opinion"]);
    assert_eq!(permit.engine_semantics(), ENGINE_SEMANTICS);
    assert!(permit.obligations().contains("NORDSCLCD"));
    assert!(permit.reason().contains(asked.consents[0].id.as_str()), "{}", permit.reason());
}

#[test]
fn a_permit_lives_for_a_minute() {
    let mut asked = request(vec![on_file(&consent())]);
    let permit = ask_at(&mut asked, NOW).expect("allowed");
    assert!(permit.is_fresh(at(NOW)));
    assert!(permit.is_fresh(later(NOW, 59)));
    assert!(!permit.is_fresh(later(NOW, 60)));
    assert!(!permit.is_fresh(later(NOW, -1)), "a clock that was set back");
}

#[test]
fn a_permit_ends_with_the_consent_and_with_the_card() {
    let mut asked = request(vec![on_file(&consent())]);
    let permit = ask_at(&mut asked, "2026-12-31T18:29:50Z").expect("allowed");
    assert_eq!(permit.expires(), at("2026-12-31T18:30:00Z"));
    asked.partner.card_expires = later(NOW, 5);
    let permit = ask_at(&mut asked, NOW).expect("allowed");
    assert_eq!(permit.expires(), later(NOW, 5));
}

#[test]
fn a_permit_ends_with_the_minority_for_which_a_parent_consented() {
    let parent = with(consent(), |c| {
        c["extension"] = json!([{"url": "urn:medseal:extension:grantor", "extension": [
            {"url": "capacity", "valueCode": "parent"},
            {"url": "verified-by", "valueString": "M. Rao"},
            {"url": "verified-on", "valueDate": "2026-01-09"},
        ]}]);
    });
    let mut asked = request(vec![on_file(&parent)]);
    asked.birth_date = Some("2008-11-23".parse().expect("a day"));
    // The birthday begins at midnight in Kolkata.
    let permit = ask_at(&mut asked, "2026-11-22T18:29:30Z").expect("allowed");
    assert_eq!(permit.expires(), at("2026-11-22T18:30:00Z"));
    assert_eq!(code_at(&mut asked, "2026-11-22T18:30:00Z"), "CONSENT_EXPIRED");
}

#[test]
fn a_shorter_life_may_be_configured_and_a_longer_one_may_not() {
    let asked = request(vec![on_file(&consent())]);
    for (configured, lives) in [(10, 10), (3600, 60)] {
        let mut gates = gates();
        gates.permit_age_s_max = configured;
        let permit = decide(&gates, &asked, at(NOW)).expect("allowed");
        assert_eq!(permit.expires(), later(NOW, lives));
    }
}

#[test]
fn of_two_consents_that_permit_the_one_that_ends_first_is_used() {
    let longer = with(consent(), |c| c["provision"]["period"]["end"] = json!("2028-12-31"));
    let mut asked = request(vec![on_file(&longer), on_file(&consent())]);
    let permit = ask_at(&mut asked, NOW).expect("allowed");
    assert_eq!(permit.consent().expect("a consent").0, &asked.consents[1].id);
}

#[test]
fn half_a_request_is_denied_before_anything_is_evaluated() {
    let cases: [Changed; 8] = [
        ("no document", |r| r.documents.clear()),
        ("a path twice", |r| r.documents.push(document("summary.pdf"))),
        ("no patient", |r| r.patient.clear()),
        ("no attempt", |r| r.attempt = 0),
        ("no media type", |r| r.documents[0].media_type.clear()),
        ("records as an answer", |r| r.basis = Basis::Answers(Digest::of(b"dispatch"))),
        ("an opinion under a consent", |r| r.kind = Kind::Opinion),
        ("an opinion without a document", |r| {
            r.kind = Kind::Opinion;
            r.basis = Basis::Answers(Digest::of(b"dispatch"));
            r.documents.clear();
        }),
    ];
    for (what, change) in cases {
        let mut asked = request(vec![on_file(&consent())]);
        change(&mut asked);
        let denied = ask_at(&mut asked, NOW).expect_err(what);
        assert_eq!(denied.reason.code(), "REQUEST_INCOMPLETE", "{what}");
        assert!(denied.policies.is_empty(), "{what}: the policy was asked");
    }
}

#[test]
fn both_gates_must_say_yes_and_both_are_heard() {
    let mut asked = request(vec![on_file(&consent())]);
    asked.partner.standing = Standing::Suspended;
    assert_eq!(code_at(&mut asked, NOW), "PARTNER_SUSPENDED");
    let mut asked = request(vec![]);
    asked.partner.standing = Standing::Suspended;
    let denied = ask_at(&mut asked, NOW).expect_err("denied twice");
    assert_eq!(denied.codes(), ["NO_CONSENT", "PARTNER_SUSPENDED"]);
    assert_eq!(*denied.policies, ["consent-necessary", "partner-suspended"]);
}

#[test]
fn each_fact_about_partner_and_case_is_asked_of_the_policy() {
    let cases: [Changed; 10] = [
        ("PARTNER_UNKNOWN", |r| r.partner.standing = Standing::Removed),
        ("PARTNER_EXPIRED", |r| r.partner.agreement_until = Some(at(NOW))),
        ("PARTNER_NOT_YET", |r| r.partner.agreement_from = later(NOW, 1)),
        ("PARTNER_EXPIRED", |r| r.partner.card_expires = at(NOW)),
        ("RECIPIENT_KEY", |r| r.partner.has_valid_recipient_key = false),
        ("PARTNER_NOT_YET", |r| {
            (r.partner.has_valid_recipient_key, r.partner.recipient_key_begins_later) = (false, true);
        }),
        ("TRANSFER_BASIS", |r| r.partner.transfer_basis = TransferBasis::None),
        ("CASE_CLOSED", |r| r.case.open = false),
        ("PARTNER_NOT_INVITED", |r| r.case.partners.clear()),
        ("OBLIGATION", |r| r.obligations_met.clear()),
    ];
    for (expected, change) in cases {
        let mut asked = request(vec![on_file(&consent())]);
        change(&mut asked);
        assert_eq!(code_at(&mut asked, NOW), expected);
    }
}

#[test]
fn facts_that_were_read_too_long_ago_or_later_than_now_decide_nothing() {
    let mut asked = request(vec![on_file(&consent())]);
    for (read, expected) in [(0, None), (-60, None), (-61, Some("PERMIT_STALE")), (1, Some("PERMIT_STALE"))] {
        asked.read_at = later(NOW, read);
        let answer = decide(&gates(), &asked, at(NOW));
        assert_eq!(answer.err().map(|denied| denied.reason.code()), expected, "{read}");
    }
    asked.read_at = at("2026-11-22T09:58:59.999999Z");
    assert!(decide(&gates(), &asked, at(NOW)).is_err(), "60.000001 s are more than 60");
}

#[test]
fn records_of_substance_use_need_their_notice() {
    let named = with(consent(), |c| {
        c["provision"]["securityLabel"] =
            json!([{"system": CONFIDENTIALITY, "code": "R"}, {"system": ACT_CODE, "code": "ETH"}]);
    });
    let mut asked = request(vec![on_file(&named)]);
    asked.documents = vec![sensitive(document("notes.pdf"), "ETHUD")];
    assert_eq!(code_at(&mut asked, NOW), "OBLIGATION");
    asked.obligations_met.insert(PART2_NOTICE.to_owned());
    assert_eq!(code_at(&mut asked, NOW), "OBLIGATION", "the partner has not undertaken what the notice asks");
    asked.partner.part2 = true;
    let permit = ask_at(&mut asked, NOW).expect("the notice travels along");
    assert!(permit.obligations().contains(PART2_NOTICE));
}

#[test]
fn an_opinion_goes_back_although_the_consent_has_ended_or_was_never_here() {
    let mut asked = request(vec![on_file(&dissent())]);
    asked.kind = Kind::Opinion;
    asked.basis = Basis::Answers(Digest::of(b"dispatch"));
    asked.partner.transfer_basis = TransferBasis::None;
    let permit = ask_at(&mut asked, NOW).expect("allowed");
    assert_eq!((permit.kind(), permit.consent()), (Kind::Opinion, None));
    assert_eq!(permit.policies(), ["return-opinion"]);
    asked.case.partners.clear();
    assert_eq!(code_at(&mut asked, NOW), "PARTNER_NOT_INVITED");
}

#[test]
fn a_denial_is_written_without_the_patient_and_keeps_to_a_limit() {
    let excepted = with(consent(), |c| {
        c["provision"]["provision"] =
            json!([{"type": "deny", "securityLabel": [{"system": CONFIDENTIALITY, "code": "U"}]}]);
    });
    let mut asked = request(vec![on_file(&excepted)]);
    asked.documents = (0..500).map(|n| document(&format!("{n}.pdf"))).collect();
    let denied = ask_at(&mut asked, NOW).expect_err("all are excluded");
    assert_eq!((denied.causes.len(), denied.more), (32, 468));
    let written = serde_json::to_string(&denied).expect("serialises");
    assert!(!written.contains("4711"), "{written}");
    assert!(written.contains("\"CONSENT_DENIED\"") && written.contains(ENGINE_SEMANTICS));
}

#[test]
fn the_consent_of_the_sample_case_is_read_and_permits_its_release() {
    let mut asked = request(Vec::new());
    let (recipient, country) = (asked.partner.id.clone(), asked.partner.country.clone());
    let (from, until) = (jiff::civil::date(2026, 1, 1), jiff::civil::date(2026, 12, 31));
    let text = sample_case::consent_json(&sample_case::patient(), &recipient, &country, from, until);
    asked.consents = vec![on_file(&serde_json::from_str(&text).expect("JSON"))];
    asked.patient = vec![sample_case::patient()];
    assert_eq!(code_at(&mut asked, NOW), "ALLOW");
}

/// Found by `the_clock_past_an_end_never_turns_no_into_yes`: the consent that ended first was the only one that the
/// policy was shown, and when it had ended a no became a yes.
#[test]
fn a_consent_that_the_policy_does_not_take_stands_in_no_other_ones_way() {
    let silent = consent();
    let naming = with(consent(), |c| {
        c["provision"]["securityLabel"] = json!([{"system": ACT_CODE, "code": "PSY"}]);
        c["provision"]["period"]["end"] = json!("2027-06-30");
    });
    let asked = |consents: &[&serde_json::Value]| {
        let mut asked = request(consents.iter().copied().map(on_file).collect());
        asked.documents = vec![sensitive(document("report.pdf"), "PSY")];
        asked
    };
    assert_eq!(code_at(&mut asked(&[&silent]), NOW), "SENSITIVITY");
    let mut both = asked(&[&silent, &naming]);
    let permit = ask_at(&mut both, NOW).expect("the one that names the sensitivity permits");
    assert_eq!(permit.consent().map(|(id, _)| id), Some(&both.consents[1].id));
}

#[test]
fn a_second_person_is_asked_for_only_when_nothing_else_stands_in_the_way() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("site")).expect("a folder");
    let rule = "@id(\"a\") @says(\"a second person confirms\") @reason(\"APPROVAL_NEEDED\")\n\
        forbid (principal, action == Medseal::Action::\"release\", resource) when { context.approvals < 1 };";
    medseal::durable::write_new(&folder.path().join("site/a.cedar"), rule.as_bytes(), 0o644).expect("written");
    let four_eyes = Gates::new(Arc::new(Policy::load(folder.path()).expect("a site rule")));
    let mut asked = request(vec![on_file(&consent())]);
    let code =
        |asked: &Request| decide(&four_eyes, asked, at(NOW)).map_or_else(|denied| denied.reason.code(), |_| "ALLOW");
    assert_eq!(code(&asked), "APPROVAL_NEEDED");
    asked.confirmation = Confirmation {
        sent_by: 1000,
        sealed: Some((Digest::of(b"sealed"), Digest::of(b"manifest"))),
        approvals: vec![Approval {
            by: 1001,
            at: stamp(later(NOW, -10)),
            until: stamp(later(NOW, 20)),
            sealed_sha256: Digest::of(b"sealed"),
            manifest_sha256: Digest::of(b"manifest"),
            card: asked.partner.card,
            consents: asked.consents_digest(),
        }],
    };
    let permit = decide(&four_eyes, &asked, at(NOW)).expect("a second person said yes");
    assert_eq!(permit.expires(), later(NOW, 20), "a permit does not outlive the approval");
    asked.confirmation.sent_by = 1001;
    assert_eq!(code(&asked), "APPROVAL_NEEDED", "the sender's own yes is none");
    asked.attempt = 1001;
    assert_eq!(code(&asked), "GAVE_UP", "asking a second person would not help");
}
