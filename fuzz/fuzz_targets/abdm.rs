//! Any bytes as the text of a consent artefact, signed so that the reading goes all the way; and the same bytes unsigned
//! or signed by another, which must never be read.
//!
//! Input: the text of `consentDetail`; the notification around it is made here.
#![no_main]

mod asked;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::LazyLock;

use asked::granted;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use libfuzzer_sys::fuzz_target;
use medseal::consent::{Consent, Network, Notice, Source};
use medseal::id::{InstitutionId, Purpose};
use medseal::keys::ConsentManagers;

struct Manager {
    _keys: tempfile::TempDir,
    key: KeyPair,
    managers: ConsentManagers,
    recipients: BTreeMap<String, InstitutionId>,
}

static MANAGER: LazyLock<Manager> = LazyLock::new(|| {
    let keys = tempfile::tempdir().expect("a folder");
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().expect("the public half");
    let folder = keys.path().join("consent-managers");
    std::fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder");
    let mut file = std::fs::File::create(folder.join("sbx.pem")).expect("a file");
    let pem = BASE64.encode(public.as_ref());
    write!(file, "-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n").expect("written");
    let managers = ConsentManagers::of(keys.path());
    let recipients = BTreeMap::from([("HIU-EX-07".to_owned(), "heidelberg".parse().expect("an id"))]);
    Manager { _keys: keys, key, managers, recipients }
});

fuzz_target!(|detail: &[u8]| {
    let manager = &*MANAGER;
    let network = Network { managers: &manager.managers, hip: Some("HIP-EX-01"), recipients: &manager.recipients };
    drop(Notice::read(detail));
    assert!(!matches!(Consent::read(detail, &network), Ok(consent) if consent.source() == Source::Abdm), "unsigned");

    let mut signature = vec![0; manager.key.public_modulus_len()];
    manager.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), detail, &mut signature).expect("signed");
    // The id that the text names, found without reading it as JSON: a wrong one is refused.
    let id = "3fa85f64-5717-4562-b3fc-2c963f66ab01";
    let notice = |signature: &[u8]| {
        let head = format!(r#"{{"notification":{{"status":"GRANTED","consentId":"{id}","consentDetail":"#);
        let tail = format!(r#","signature":"{}"}}}}"#, BASE64.encode(signature));
        [head.as_bytes(), detail, tail.as_bytes()].concat()
    };
    let Ok(consent) = Consent::read(&notice(&signature), &network) else { return };
    assert_eq!(consent.source(), Source::Abdm);
    assert!(!consent.in_words().is_empty(), "what is understood is said");
    let patient = consent.patient().clone();
    signature[0] ^= 1;
    assert!(Consent::read(&notice(&signature), &network).is_err(), "a forged signature");
    let purpose: Purpose = "HRESCH".parse().expect("a purpose");
    assert!(granted(vec![Ok(consent)], &patient, &purpose, None).is_none(), "no artefact means all research");
});
