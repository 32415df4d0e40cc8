//! Any bytes as what others hand in as evidence: a signed note, a proof of an entry, a policy, a key, a time stamp.
//!
//! Whatever is read has one form only, and nothing that nobody trusted signed is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medseal::audit::note::{Checkpoint, LogKey, WitnessKey};
use medseal::audit::stamp;
use medseal::audit::tlog_proof::EntryProof;
use medseal::audit::trust::TrustPolicy;
use medseal::signature::NoteSigner;

fuzz_target!(|bytes: &[u8]| {
    let signer = NoteSigner::from_seed(&[7; 32]);
    let key = LogKey::new("st-mary.example/audit".parse().expect("a name"), signer.public());
    let witness = WitnessKey::new("heidelberg.example/witness".parse().expect("a name"), signer.public());
    let (keys, witnesses) = ([key.clone()], [witness]);

    if let Ok(claimed) = Checkpoint::claimed(bytes) {
        assert!(bytes.starts_with(claimed.body().as_bytes()), "one checkpoint, one text");
        if claimed.origin == *key.name() {
            assert_eq!(Checkpoint::open(claimed.sign(&signer).as_bytes(), &keys), Ok(claimed));
        }
    }
    // Only whoever has the key makes what opens; the seeds hold one such note.
    if let Ok(opened) = Checkpoint::open(bytes, &keys) {
        assert_eq!(opened.origin, *key.name());
        assert!(Checkpoint::signature(bytes, &key).is_ok());
    }
    drop(Checkpoint::cosignatures(bytes, &witnesses));
    if let Ok(proof) = EntryProof::parse(bytes) {
        assert_eq!(proof.to_text().as_bytes(), bytes, "one proof, one text");
        drop(proof.verify(b"{}", &keys, &witnesses));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = text.parse::<LogKey>() {
            assert_eq!(key.to_string(), text, "one key, one text");
        }
        drop(Checkpoint::lines_of(text, &witnesses));
        if let Ok(policy) = text.parse::<TrustPolicy>() {
            let standing = policy.judge(bytes);
            assert!(standing.is_err(), "a policy is no signed note");
        }
    }
    drop(stamp::read(bytes));
});
