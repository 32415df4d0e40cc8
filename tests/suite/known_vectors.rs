//! Do our tree, notes and keys agree with what others have published?
//!
//! Facts only: roots, keys and signatures of the C2SP specifications and of the test log that transparency.dev's
//! implementations (Apache-2.0) share, whose key is public on purpose.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medseal::audit::note::{Checkpoint, LogKey, NoteError};
use medseal::audit::proof::{consistency, inclusion, root, verify_consistency, verify_inclusion};
use medseal::id::Digest;
use medseal::leaf;
use medseal::signature::{NoteSigner, verify_note_signature};

use crate::tree_proofs::InMemory;

/// The first entries of the shared test log.
const ENTRIES: [&str; 7] = ["one", "two", "three", "four", "five", "six", "seven"];

/// Its roots, from the first entry on.
const ROOTS: [&str; 7] = [
    "0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=",
    "T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=",
    "Wqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=",
    "zY1lN35vrXYAPixXSd59LsU29xUJtuW4o2dNNg5Y2Co=",
    "gy5gl3aksFyiCO95a/1vLXz88A3dRq+0l9Sxte8ZqZQ=",
    "a6sWvsc2eEzmj72vah7mZ5dwFltivehh2b11qwlp5Jg=",
    "IrSXADBqJ7EQoUODSDKROySgNveeL6CFhik2w/+fS7U=",
];

/// Its keys, the private one too.
const KEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
const SEED: &str = "AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";

/// A checkpoint that another implementation signed with it.
const CHECKPOINT: &str = "example.com/log/testdata\n100270\nGRV1O0dCqmjjPvYi7CtOT79zb/fPwLNsMFWsynwU8Ac=\n\n\
    \u{2014} example.com/log/testdata \
    M9e0lkcvy5bAe7rrC8tCyAP+my+CLzswA91zOpBNWVU7qCojkUOHnfdQzDImoYeYH8G8PJSwOqsx0RkSa261OmKVwwM=\n";

fn digest(text: &str) -> Digest {
    Digest::from_bytes(STANDARD.decode(text).unwrap().try_into().unwrap())
}

#[test]
fn roots_and_proofs_of_the_shared_test_log_are_ours() {
    let leaves: Vec<Digest> = ENTRIES.iter().map(|entry| leaf::hash(entry.as_bytes())).collect();
    let tree = InMemory::over(leaves.clone());
    let roots: Vec<_> = (1..).zip(ROOTS.map(digest)).collect();
    for (new, new_root) in &roots {
        assert_eq!(root(*new, &tree).unwrap(), *new_root, "{new} entries");
        for (index, leaf) in (0..*new).zip(&leaves) {
            let path = inclusion(index, *new, &tree).unwrap();
            verify_inclusion(index, *new, leaf, new_root, &path).unwrap();
        }
        for (old, old_root) in roots.iter().filter(|(old, _)| old <= new) {
            let proof = consistency(*old, *new, &tree).unwrap();
            verify_consistency(*old, *new, old_root, new_root, &proof).unwrap();
        }
    }
}

#[test]
fn the_key_of_the_shared_test_log_is_made_of_its_seed_as_others_make_it() {
    let seed: [u8; 33] = STANDARD.decode(SEED).unwrap().try_into().unwrap();
    let signer = NoteSigner::from_seed(seed[1..].try_into().unwrap());
    let key: LogKey = KEY.parse().unwrap();
    assert_eq!(LogKey::new("example.com/log/testdata".parse().unwrap(), signer.public()).to_string(), KEY);

    let opened = Checkpoint::open(CHECKPOINT.as_bytes(), std::slice::from_ref(&key)).unwrap();
    assert_eq!(opened.size, 100_270);
    assert_eq!(opened.root, digest("GRV1O0dCqmjjPvYi7CtOT79zb/fPwLNsMFWsynwU8Ac="));
    // Ed25519 signs the same text with the same bytes, whoever does it.
    assert_eq!(opened.sign(&signer), CHECKPOINT);
    let other = CHECKPOINT.replacen("100270", "100271", 1);
    assert!(matches!(Checkpoint::open(other.as_bytes(), &[key]), Err(NoteError::Signature(_))));
}

#[test]
fn the_example_of_the_note_specification_verifies() {
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const LINE: &str = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";
    let key: LogKey = KEY.parse().unwrap();
    assert_eq!(key.to_string(), KEY, "the id of the key is computed as the specification says");
    let line = STANDARD.decode(LINE).unwrap();
    let (id, signature) = line.split_first_chunk::<4>().unwrap();
    assert_eq!(*id, [0x53, 0x0d, 0x90, 0x3a]);
    let public = STANDARD.decode(KEY.rsplit('+').next().unwrap()).unwrap();
    let public: [u8; 32] = public[1..].try_into().unwrap();
    let verifies = |text: &[u8]| verify_note_signature(&public, text, signature.try_into().unwrap()).is_ok();
    assert!(verifies(b"This is an example message.\n"));
    assert!(!verifies(b"This is an example message"));
}
