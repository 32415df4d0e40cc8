//! Tests of reading and admitting cards.

use super::*;
use crate::config::Config;
use crate::keys::Keys;
use crate::signature::Signer;

struct Home {
    _folder: tempfile::TempDir,
    keys: Keys,
    config: Config,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

fn home(id: &str) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let id: InstitutionId = id.parse().unwrap();
    let keys = Keys::create(&folder.path().join("keys"), &id, "127.0.0.1", now()).unwrap();
    let config =
        Config::new(id, "Expert Clinic", "CH".parse().unwrap(), "https://127.0.0.1:8443", "127.0.0.1:0").unwrap();
    Home { _folder: folder, keys, config }
}

fn card(home: &Home, serial: u64) -> SignedCard {
    SignedCard::make(&home.keys, &home.config, serial, now()).unwrap()
}

fn admit(existing: Option<&Partner>, card: SignedCard, fingerprint: Option<&Digest>) -> Result<Partner, CardError> {
    Partner::admit(existing, card, fingerprint, Agreement::attested(now()), now())
}

fn partner(home: &Home) -> Partner {
    let card = card(home, 1);
    let fingerprint = card.fingerprint();
    admit(None, card, Some(&fingerprint)).unwrap()
}

/// A card changed and then signed properly.
fn changed(home: &Home, change: impl FnOnce(&mut Card)) -> Result<SignedCard, CardError> {
    let mut card = Card::of(&home.keys, &home.config, 2, now()).unwrap();
    change(&mut card);
    SignedCard::sign(&card, home.keys.signer())
}

#[test]
fn a_card_reads_back_and_its_fingerprint_covers_the_json_line() {
    let card = card(&home("expert"), 1);
    let file = card.file_text();
    let (line, _) = file.split_once('\n').unwrap();
    assert_eq!(card.fingerprint(), Digest::of(line.as_bytes()));
    assert_eq!(SignedCard::parse(file.as_bytes()).unwrap(), card);
    assert_eq!(SignedCard::parse(file.replace('\n', "\r\n").as_bytes()).unwrap(), card);
    assert_eq!(card.card().country.as_str(), "CH");
    assert!(file.len() < 3000, "{}", file.len());
}

#[test]
fn every_changed_byte_of_a_card_is_noticed() {
    let card = card(&home("expert"), 1);
    let file = card.file_text().into_bytes();
    for at in 0..file.len() - 1 {
        for flip in [1, 0x20] {
            let mut changed = file.clone();
            changed[at] ^= flip;
            assert!(SignedCard::parse(&changed).is_err(), "byte {at} changed to {:?}", char::from(changed[at]));
        }
    }
    for cut in [0, 1, 100, file.len() / 2, file.len() - 40] {
        assert!(SignedCard::parse(&file[..cut]).is_err(), "cut to {cut} bytes");
    }
}

#[test]
fn a_card_signed_by_a_key_that_is_not_on_it_is_refused() {
    let home = home("expert");
    let card = Card::of(&home.keys, &home.config, 1, now()).unwrap();
    let stranger = Signer::from_seed(&[5; 32]);
    let refused = SignedCard::sign(&card, &stranger).unwrap_err();
    assert!(matches!(refused, CardError::SignedByStranger { .. }), "{refused}");
    assert_eq!(refused.reason(), Reason::BadSignature);
    // On it, but not counting yet when the card was made.
    let refused = changed(&home, |card| card.signing[0].not_before = at("2027-01-01T00:00:00Z")).unwrap_err();
    assert!(matches!(refused, CardError::SignedByStranger { .. }), "{refused}");
}

#[test]
fn a_card_that_says_what_no_card_may_say_is_refused() {
    type Change = fn(&mut Card);
    let home = home("expert");
    let leaf = Certificate::of(CertificateDer::from(home.keys.tls_chain()[0].to_vec())).unwrap();
    match changed(&home, |card| card.tls[0].value = leaf.clone()) {
        Err(CardError::Field { field: "tls", .. }) => {}
        other => panic!("a leaf is no authority: {other:?}"),
    }
    let refusals: [(&str, Change); 15] = [
        ("format", |card| card.format = "medseal-card@v2".to_owned()),
        ("name", |card| card.name = " ".to_owned()),
        ("name", |card| card.name = "St\u{202e}yraM".to_owned()),
        ("name", |card| card.name = "x".repeat(201)),
        ("endpoint", |card| card.endpoint = "http://gateway.example".to_owned()),
        ("endpoint", |card| card.endpoint = String::new()),
        ("endpoint", |card| card.endpoint = "https://gateway.example/folder/".to_owned()),
        ("endpoint", |card| card.exchange = Exchange::Pull),
        ("log", |card| card.exchange = Exchange::HttpsPut),
        ("serial", |card| card.serial = 0),
        ("expires", |card| card.expires = card.issued),
        ("tls", |card| card.tls.clear()),
        ("age", |card| card.age = vec![card.age[0].clone(); 9]),
        ("age", |card| card.age.push(card.age[0].clone())),
        ("log", |card| card.log[0].not_after = card.log[0].not_before),
    ];
    for (expected, change) in refusals {
        match changed(&home, change) {
            Err(CardError::Field { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    changed(&home, |card| card.log.clear()).unwrap();
}

#[test]
fn a_card_names_keys_under_its_own_name_only() {
    let (other, home) = (home("clinic"), home("expert"));
    let theirs = card(&other, 1).card().clone();
    let refused = |change: &dyn Fn(&mut Card), field: &str| match changed(&home, |card| change(card)) {
        Err(CardError::Field { field: found, .. }) => assert_eq!(found, field),
        other => panic!("{field}: {other:?}"),
    };
    // With another's log it could show us a second history of it; with another's witness it would stand for two.
    refused(&|card| card.log.clone_from(&theirs.log), "log");
    refused(&|card| card.witness.clone_from(&theirs.witness), "witness");
}

#[test]
fn another_certificate_around_the_same_key_is_the_same_authority() {
    let ours = home("expert").keys.ca_certificate().clone();
    let other = home("clinic").keys.ca_certificate().clone();
    let mut flipped = ours.to_vec();
    // A bit of the signature, which nobody checks on an authority that is trusted by itself.
    *flipped.last_mut().unwrap() ^= 1;
    let [ours, flipped, other] = [ours, CertificateDer::from(flipped), other].map(|der| Certificate::of(der).unwrap());
    assert!(ours != flipped && ours.has_key_of(&flipped));
    assert!(!ours.has_key_of(&other));
}

#[test]
fn an_unknown_field_and_a_swollen_file_are_refused() {
    let file = card(&home("expert"), 1).file_text();
    let extended = file.replacen("{\"age\"", "{\"admin\":\"yes\",\"age\"", 1);
    let unknown = SignedCard::parse(extended.as_bytes()).unwrap_err();
    assert!(matches!(unknown, CardError::Slip(Slip::Unknown { .. })), "{unknown}");
    let swollen = format!("{file}{}", "\n".repeat(CARD_BYTES_MAX));
    assert!(matches!(SignedCard::parse(swollen.as_bytes()), Err(CardError::TooLong { .. })));
    for other in [&b"\xff\xfe"[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"{}", b""] {
        assert!(matches!(SignedCard::parse(other), Err(CardError::NotACard)));
    }
}

#[test]
fn a_first_card_needs_its_own_fingerprint() {
    let home = home("expert");
    let card = card(&home, 1);
    let right = card.fingerprint();
    let refused = admit(None, card.clone(), None).unwrap_err();
    assert!(matches!(refused, CardError::FingerprintNeeded { .. }));
    let refused = admit(None, card.clone(), Some(&Digest::of(b"another"))).unwrap_err();
    assert_eq!(refused.reason(), Reason::WrongFingerprint);
    assert!(refused.to_string().contains(&show_fingerprint(&right)), "{refused}");
    let partner = admit(None, card, Some(&right)).unwrap();
    assert!(partner.may_exchange(now()) && partner.is_registered());
    assert_eq!(partner.recipients_at(now()), home.keys.age_recipients());
    assert_eq!(partner.signing_keys_at(now()), [home.keys.signer().public()]);
    assert_eq!(partner.ca_certificates_at(now()), [home.keys.ca_certificate().clone()]);
    assert_eq!(partner.log_vkeys_at(now()).len(), 1);
}

#[test]
fn an_ended_card_and_one_from_the_future_are_refused() {
    let home = home("expert");
    let card = card(&home, 1);
    let fingerprint = card.fingerprint();
    let admit_at = |when| {
        let agreement = Agreement::attested(when);
        Partner::admit(None, card.clone(), Some(&fingerprint), agreement, when)
    };
    assert!(matches!(admit_at(card.card().expires), Err(CardError::Expired { .. })));
    assert!(matches!(admit_at(at("2026-11-22T10:59:59Z")), Err(CardError::FromTheFuture { .. })));
    admit_at(at("2026-11-22T11:00:00Z")).unwrap();
}

#[test]
fn an_older_card_never_comes_back() {
    let home = home("expert");
    let old = card(&home, 1);
    let newer = card(&home, 2);
    let partner = admit(Some(&partner(&home)), newer.clone(), None).unwrap();
    for fingerprint in [None, Some(old.fingerprint())] {
        let refused = admit(Some(&partner), old.clone(), fingerprint.as_ref()).unwrap_err();
        assert_eq!(refused.reason(), Reason::CardOutdated);
    }
    // Nor another card under the same serial; the same card again is nothing new.
    let twin = changed(&home, |card| card.name = "Another Name".to_owned()).unwrap();
    assert!(matches!(admit(Some(&partner), twin, None), Err(CardError::Outdated { found: 2, on_file: 2 })));
    admit(Some(&partner), newer, None).unwrap();
    // Not even after the partner was removed.
    let removed = Partner { standing: Standing::Removed, ..partner };
    let refused = admit(Some(&removed), old.clone(), Some(&old.fingerprint())).unwrap_err();
    assert_eq!(refused.reason(), Reason::CardOutdated);
}

#[test]
fn a_new_card_needs_the_old_key_or_a_fingerprint() {
    let (home, stolen_name) = (home("expert"), home("expert"));
    let partner = partner(&home);
    let foreign = card(&stolen_name, 2);
    let refused = admit(Some(&partner), foreign.clone(), None).unwrap_err();
    assert!(matches!(refused, CardError::OtherKey { .. }), "{refused}");
    assert_eq!(refused.reason(), Reason::WrongFingerprint);
    let fingerprint = foreign.fingerprint();
    admit(Some(&partner), foreign, Some(&fingerprint)).unwrap();
}

#[test]
fn the_old_key_carries_a_roll_over_while_it_counts_and_no_longer() {
    let (home, next) = (home("expert"), home("expert"));
    let end = at("2027-01-01T00:00:00Z");
    let first = changed(&home, |card| {
        card.serial = 1;
        card.signing[0].not_after = end;
    })
    .unwrap();
    let fingerprint = first.fingerprint();
    let partner = admit(None, first, Some(&fingerprint)).unwrap();
    // The second card names both keys and both authorities, and the old key signs it.
    let both = changed(&home, |card| {
        let later = Card::of(&next.keys, &next.config, 2, now()).unwrap();
        card.signing[0].not_after = end;
        card.tls[0].not_after = end;
        card.tls.extend(later.tls);
        card.signing.extend(later.signing);
    })
    .unwrap();
    let overlapping = admit(Some(&partner), both.clone(), None).unwrap();
    assert_eq!(overlapping.ca_certificates_at(now()).len(), 2);
    assert_eq!(overlapping.signing_keys_at(now()).len(), 2);
    assert_eq!(overlapping.ca_certificates_at(end), [next.keys.ca_certificate().clone()]);
    assert_eq!(overlapping.signing_keys_at(end), [next.keys.signer().public()]);
    // Once the old key has ended, its signature carries nothing any more.
    let late = Partner::admit(Some(&partner), both, None, Agreement::attested(end), end);
    assert!(matches!(late, Err(CardError::OtherKey { .. })), "{late:?}");
    // The third card is signed by the new key alone, and the second card vouches for that.
    admit(Some(&overlapping), card(&next, 3), None).unwrap();
}

#[test]
fn a_card_of_another_institution_never_takes_a_partners_place() {
    let (expert, clinic) = (home("expert"), home("clinic"));
    let other = card(&clinic, 9);
    let fingerprint = other.fingerprint();
    let refused = admit(Some(&partner(&expert)), other, Some(&fingerprint)).unwrap_err();
    assert!(matches!(refused, CardError::OtherInstitution { .. }), "{refused}");
}

#[test]
fn standing_and_dates_stop_the_exchange() {
    let home = home("expert");
    let mut partner = partner(&home);
    assert_eq!(partner.obstacle(now()), None);
    assert_eq!(partner.obstacle(partner.card().expires), Some(Reason::PartnerExpired));
    assert!(partner.recipients_at(partner.card().expires).is_empty());
    partner.agreement.until = Some(at("2026-12-31T00:00:00Z"));
    assert_eq!(partner.obstacle(at("2026-12-31T00:00:00Z")), Some(Reason::PartnerExpired));
    assert_eq!(partner.obstacle(at("2026-11-22T11:59:59Z")), Some(Reason::PartnerNotYet));
    partner.standing = Standing::Suspended;
    assert_eq!(partner.obstacle(now()), Some(Reason::PartnerSuspended));
    // A new card does not resume a suspended partner.
    assert_eq!(admit(Some(&partner), card(&home, 2), None).unwrap().standing, Standing::Suspended);
    partner.standing = Standing::Removed;
    assert!(!partner.is_registered() && !partner.may_exchange(now()));
    assert!(matches!(admit(Some(&partner), card(&home, 2), None), Err(CardError::FingerprintNeeded { .. })));
    let fingerprint = card(&home, 2).fingerprint();
    assert_eq!(admit(Some(&partner), card(&home, 2), Some(&fingerprint)).unwrap().standing, Standing::Active);
}

#[test]
fn a_partner_is_stored_as_strict_json_and_checked_when_it_is_read() {
    let mut partner = partner(&home("expert"));
    for until in [None, Some(at("2028-01-01T00:00:00Z"))] {
        partner.agreement =
            Agreement { until, basis: TransferBasis::UkIdta, document: Some(Digest::of(b"pdf")), ..partner.agreement };
        let line = crate::json::to_line(&partner).unwrap();
        let read: Partner = crate::json::from_line(line.as_bytes(), 64 * 1024).unwrap();
        assert_eq!(read.signed_card(), partner.signed_card());
        assert_eq!(
            (read.standing, &read.agreement, read.added()),
            (partner.standing, &partner.agreement, partner.added())
        );
        let tampered = line.replace("Expert Clinic", "Expert Clinik");
        assert!(crate::json::from_line::<Partner>(tampered.as_bytes(), 64 * 1024).is_err());
    }
}

#[test]
fn an_agreement_may_be_given_with_any_rfc_3339_time() {
    let text = r#"{"from":"2026-01-01T00:00:00+01:00","basis":"scc"}"#;
    let agreement: Agreement = serde_json::from_str(text).unwrap();
    assert_eq!(agreement.from, at("2025-12-31T23:00:00Z"));
    assert!(serde_json::from_str::<Agreement>(r#"{"from":"yesterday"}"#).is_err());
}

/// A card as a person without medseal makes it: no log, no witness, and the certificate that it shows itself.
fn plain(card: &mut Card, exchange: Exchange, leaf: &Certificate) {
    card.exchange = exchange;
    (card.log, card.witness) = (Vec::new(), Vec::new());
    card.tls[0].value = leaf.clone();
    card.endpoint = match exchange {
        Exchange::Pull => String::new(),
        _ => "https://files.example:8443/medseal/".to_owned(),
    };
}

#[test]
fn a_partner_without_medseal_says_how_it_exchanges_and_a_card_of_medseal_stays_as_it_was() {
    let home = home("expert");
    let leaf = Certificate::of(CertificateDer::from(home.keys.tls_chain()[0].to_vec())).unwrap();
    for (exchange, word) in [(Exchange::HttpsPut, "https-put"), (Exchange::Pull, "pull")] {
        let signed = changed(&home, |card| plain(card, exchange, &leaf)).unwrap();
        assert_eq!(signed.card().exchange, exchange);
        assert!(signed.file_text().contains(&format!("\"exchange\":\"{word}\"")), "{word}");
        assert_eq!(signed.file_text().contains("\"endpoint\""), exchange == Exchange::HttpsPut);
        let fingerprint = signed.fingerprint();
        let partner = admit(None, signed, Some(&fingerprint)).unwrap();
        assert_eq!((partner.exchange(), partner.log_vkeys_at(now()).len()), (exchange, 0));
    }
    let ours = card(&home, 1);
    assert_eq!(ours.card().exchange, Exchange::Medseal);
    assert!(!ours.file_text().contains("exchange"), "{}", ours.file_text());
}

#[test]
fn each_likely_slip_in_a_card_written_by_hand_is_named_with_what_mends_it() {
    let home = home("expert");
    let leaf = Certificate::of(CertificateDer::from(home.keys.tls_chain()[0].to_vec())).unwrap();
    let card = changed(&home, |card| plain(card, Exchange::HttpsPut, &leaf)).unwrap();
    let file = card.file_text();
    let (line, signature) = file.split_once('\n').unwrap();
    let tree: serde_json::Value = serde_json::from_str(line).unwrap();
    let signed = |line: &str| {
        let signature = home.keys.signer().sign(crate::signature::Namespace::Card, line.as_bytes());
        SignedCard::parse(format!("{line}\n{signature}").as_bytes()).unwrap_err()
    };
    let same_second = line.replacen("T12:00:00.000000Z\",\"format", "T12:00:00Z\",\"format", 1);
    let key = home.keys.signer().public().to_string();
    let slips: [(String, &str); 10] = [
        (serde_json::to_string_pretty(&tree).unwrap(), "several lines"),
        (line.replace("\":", "\": "), "spaces between the fields"),
        (line.replacen("{\"age\"", "{\"serial\":2,\"age\"", 1).replacen(",\"serial\":2", "", 1), "`age`"),
        (
            same_second,
            "`expires` on the card is not a time in the one form that is allowed: 2028-11-21T12:00:00.000000Z",
        ),
        (line.replacen("\"issued\":\"2026-11-22T12:00:00.000000Z\"", "\"issued\":\"today\"", 1), "`issued`"),
        (line.replace(&key, &format!("{key} me@laptop")), "without a comment"),
        (line.replacen("\"value\":\"MII", "\"value\":\"-----BEGIN CERTIFICATE-----MII", 1), "base64 of DER"),
        (line.replacen("\"value\":\"age1", "\"value\":\"AGE-SECRET-KEY-1", 1), "`age`"),
        (line.replacen("https-put", "https", 1), "`exchange`"),
        (line.replacen("\"signing\"", "\"signings\"", 1), "no card has a field `signings`"),
    ];
    for (text, said) in slips {
        assert_ne!(text, line, "{said}: nothing was changed");
        let error = signed(&text);
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.len() > 20), "{error}");
    }
    // The slip of whoever signs a file that an editor ended with a newline.
    let newline = home.keys.signer().sign(crate::signature::Namespace::Card, format!("{line}\n").as_bytes());
    let error = SignedCard::parse(format!("{line}\n{newline}").as_bytes()).unwrap_err();
    assert!(matches!(error, CardError::Slip(Slip::NewlineSigned)), "{error}");
    assert_eq!(error.reason(), Reason::BadSignature);
    SignedCard::parse(format!("{line}\n{signature}").as_bytes()).unwrap();
}
