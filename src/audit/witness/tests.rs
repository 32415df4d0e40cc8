use super::*;
use crate::audit::note::Origin;
use crate::audit::proof::{Subtrees, consistency};
use crate::audit::tree::Frontier;
use crate::signature::NoteSigner;

/// The hashes of a log's first leaves, to prove from.
#[derive(Clone, Debug, Eq, PartialEq)]
struct LeafHashes(Vec<Digest>);

impl Subtrees for LeafHashes {
    type Error = std::convert::Infallible;

    fn root(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        let count = 1_usize << level;
        let first = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(count);
        Ok(root(self.0.iter().skip(first).take(count)))
    }
}

fn root<'a>(leaves: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut tree = Frontier::new();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

fn signer() -> NoteSigner {
    NoteSigner::from_seed(&[7; 32])
}

fn origin() -> Origin {
    "st-mary/medseal/log".parse().unwrap()
}

fn keys() -> [LogKey; 1] {
    [LogKey::new(origin(), signer().public())]
}

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|at| Digest::of(&at.to_be_bytes())).collect()
}

fn of(leaves: &[Digest]) -> Checkpoint {
    let mut tree = Frontier::new();
    for leaf in leaves {
        tree.push(*leaf);
    }
    Checkpoint { origin: origin(), size: tree.size(), root: tree.root() }
}

fn grown(old: u64, new: u64) -> Submission {
    let all = leaves(new);
    let proof = consistency(old, new, &LeafHashes(all.clone())).unwrap();
    Submission { old, proof, note: of(&all).sign(&signer()) }
}

#[test]
fn a_log_that_grew_is_signed_and_its_request_reads_back() {
    for (old, new) in [(0, 5), (3, 11), (4, 8), (8, 8), (1, 2), (7, 300)] {
        let submission = grown(old, new);
        assert_eq!(Submission::parse(submission.to_body().as_bytes()), Ok(submission.clone()));
        let seen = (old > 0).then(|| of(&leaves(old)));
        assert_eq!(submission.decide(&keys(), seen.as_ref()), Ok(of(&leaves(new))), "{old} to {new}");
    }
}

#[test]
fn each_refusal_has_the_status_of_the_specification() {
    let seen = of(&leaves(3));
    let status = |submission: &Submission, seen: Option<&Checkpoint>| {
        submission.decide(&keys(), seen).map_err(|refusal| refusal.status())
    };
    let good = grown(3, 11);
    assert_eq!(status(&good, Some(&seen)).map(|next| next.size), Ok(11));

    let shrunk = Submission { old: 12, ..good.clone() };
    assert_eq!(status(&shrunk, Some(&seen)), Err(400));
    let stranger = Submission { note: of(&leaves(11)).sign(&NoteSigner::from_seed(&[8; 32])), ..good.clone() };
    assert_eq!(status(&stranger, Some(&seen)), Err(403));
    let foreign = Checkpoint { origin: "other/medseal/log".parse().unwrap(), ..of(&leaves(11)) };
    let foreign = Submission { note: foreign.sign(&signer()), ..good.clone() };
    assert_eq!(status(&foreign, Some(&seen)), Err(404));
    assert_eq!(status(&grown(2, 11), Some(&seen)), Err(409));
    assert_eq!(good.decide(&keys(), Some(&of(&leaves(7)))), Err(Refusal::OtherSize { size: 7 }));
    assert_eq!(good.decide(&keys(), None), Err(Refusal::OtherSize { size: 0 }));

    let mut other = leaves(11);
    other[1] = Digest::of(b"rewritten");
    let forked = Submission {
        old: 3,
        proof: consistency(3, other.len() as u64, &LeafHashes(other.clone())).unwrap(),
        note: of(&other).sign(&signer()),
    };
    assert_eq!(status(&forked, Some(&seen)), Err(422));
    let lying = Submission { proof: grown(4, 11).proof, ..good.clone() };
    assert_eq!(status(&lying, Some(&seen)), Err(422));
    let beside = Submission { old: 11, proof: Vec::new(), note: of(&other).sign(&signer()) };
    assert_eq!(status(&beside, Some(&of(&leaves(11)))), Err(422));
    let needless = Submission { old: 0, proof: vec![Digest::of(b"x")], note: good.note };
    assert_eq!(status(&needless, None), Err(422));
}

#[test]
fn other_forms_of_a_request_are_malformed() {
    let good = grown(3, 11).to_body();
    assert!(Submission::parse(good.as_bytes()).is_ok());
    let hash = STANDARD.encode([7; 32]);
    let long = format!("{hash}\n").repeat(PROOF_LINES_MAX + 1);
    for bad in [
        String::new(),
        good.replace("old 3", "old 03"),
        good.replace("old 3", "old +3"),
        good.replace("old 3", "old -1"),
        good.replace("old 3", "old  3"),
        good.replace("old 3", "Old 3"),
        good.replace("old 3", "old 18446744073709551616"),
        good.replace("old 3\n", "old 3\r\n"),
        good.replace("old 3\n", ""),
        good.replace("old 3\n", "old 3\n!!!!\n"),
        good.replace("old 3\n", "old 3\nAAAA\n"),
        good.replace("old 3\n", &format!("old 3\n{long}")),
        good.replace("\n\n", "\n"),
        good.replacen("\n\n", "\n", 1),
        format!("\n{good}"),
        format!("{good}{}", "x".repeat(SUBMISSION_BYTES_MAX)),
    ] {
        let refusal = Submission::parse(bad.as_bytes()).expect_err(&bad);
        assert_eq!(refusal.status(), 400, "{bad:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_request_gets_no_signature() {
    let seen = of(&leaves(3));
    let body = grown(3, 11).to_body().into_bytes();
    for at in 0..body.len() {
        for bit in 0..8 {
            let mut flipped = body.clone();
            flipped[at] ^= 1 << bit;
            let signed = Submission::parse(&flipped).and_then(|submission| submission.decide(&keys(), Some(&seen)));
            assert!(signed.is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_memory_that_was_set_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::open(&folder.path().join("witness")).unwrap();
    let (partner, other) = ("st-mary".parse().unwrap(), "harbour".parse().unwrap());
    assert!(seen.last(&partner, &origin(), None).unwrap().is_none());
    seen.remember(&partner, &origin(), &grown(0, 5).note).unwrap();
    let last = |recorded: Option<&Checkpoint>| seen.last(&partner, &origin(), recorded);
    assert_eq!(last(None).unwrap().map(|(_, seen)| seen), Some(of(&leaves(5))));
    assert_eq!(last(Some(&of(&leaves(4)))).unwrap().map(|(_, seen)| seen.size), Some(5));
    assert!(matches!(last(Some(&of(&leaves(6)))), Err(SeenError::RolledBack { recorded: 6, .. })));
    let beside = Checkpoint { root: Digest::of(b"other"), ..of(&leaves(5)) };
    assert!(matches!(last(Some(&beside)), Err(SeenError::RolledBack { .. })));
    assert!(seen.last(&other, &origin(), None).unwrap().is_none(), "another partner's log of that name");
    assert!(matches!(seen.last(&other, &origin(), Some(&beside)), Err(SeenError::RolledBack { .. })));
    seen.remember(&partner, &origin(), "no note").unwrap();
    assert!(matches!(last(None), Err(SeenError::Malformed { .. })));
}
