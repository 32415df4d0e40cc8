//! Does another implementation of signed notes accept what we sign, and do both refuse every change of it?

use medseal::audit::note::{Checkpoint, LogKey};
use medseal::id::Digest;
use medseal::signature::NoteSigner;
use signed_note::{Note, StandardVerifier, VerifierList};

fn theirs(note: &[u8], vkey: &str) -> bool {
    let Ok(verifier) = StandardVerifier::new(vkey) else { return false };
    let verifiers = VerifierList::new(vec![Box::new(verifier)]);
    Note::from_bytes(note).is_ok_and(|note| note.verify(&verifiers).is_ok_and(|(known, _)| known.len() == 1))
}

#[test]
fn another_implementation_accepts_our_notes_and_both_refuse_every_changed_byte() {
    let signer = NoteSigner::from_seed(&[3; 32]);
    let key = LogKey::new("st-mary/medseal/log".parse().expect("a name"), signer.public());
    let keys = std::slice::from_ref(&key);
    for size in [0, 1, 42, u64::MAX] {
        let checkpoint = Checkpoint { origin: key.name().clone(), size, root: Digest::of(&size.to_be_bytes()) };
        let note = checkpoint.sign(&signer).into_bytes();
        assert_eq!(Checkpoint::open(&note, keys), Ok(checkpoint));
        assert!(theirs(&note, &key.to_string()), "{}", String::from_utf8_lossy(&note));
        for at in 0..note.len() {
            for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut changed = note.clone();
                changed[at] ^= change;
                let accepted = (Checkpoint::open(&changed, keys).is_ok(), theirs(&changed, &key.to_string()));
                assert_eq!(accepted, (false, false), "byte {at} of {size} entries, changed by {change}");
            }
            assert!(Checkpoint::open(&note[..at], keys).is_err(), "{at} bytes");
            assert!(!theirs(&note[..at], &key.to_string()), "{at} bytes");
        }
        let other = LogKey::new(key.name().clone(), NoteSigner::from_seed(&[4; 32]).public());
        assert!(!theirs(&note, &other.to_string()) && Checkpoint::open(&note, &[other]).is_err());
    }
}

#[test]
fn a_partners_line_below_ours_changes_nothing_for_another_implementation() {
    let signer = NoteSigner::from_seed(&[3; 32]);
    let key = LogKey::new("st-mary/medseal/log".parse().expect("a name"), signer.public());
    let checkpoint = Checkpoint { origin: key.name().clone(), size: 7, root: Digest::of(b"root") };
    let name = "nordhafen/medseal/witness".parse().expect("a name");
    let line =
        checkpoint.cosign(&name, &NoteSigner::from_seed(&[5; 32]), "2026-11-23T08:00:00Z".parse().expect("a time"));
    let note = Checkpoint::merge(&checkpoint.sign(&signer), &line).expect("a note");
    assert!(theirs(note.as_bytes(), &key.to_string()));
}
