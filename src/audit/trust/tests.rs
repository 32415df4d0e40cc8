use super::*;
use crate::id::Digest;
use crate::signature::NoteSigner;

fn signer(seed: u8) -> NoteSigner {
    NoteSigner::from_seed(&[seed; 32])
}

fn log_key() -> LogKey {
    LogKey::new("st-mary/medseal/log".parse().unwrap(), signer(1).public())
}

fn witness(seed: u8) -> WitnessKey {
    WitnessKey::new(format!("w{seed}/medseal/witness").parse().unwrap(), signer(seed).public())
}

/// A note that these witnesses signed under.
fn note(witnesses: &[u8]) -> String {
    let checkpoint = Checkpoint { origin: log_key().name().clone(), size: 42, root: Digest::of(b"root") };
    witnesses.iter().fold(checkpoint.sign(&signer(1)), |note, seed| {
        let line = checkpoint.cosign(witness(*seed).name(), &signer(*seed), "2026-11-23T08:00:00Z".parse().unwrap());
        Checkpoint::merge(&note, &line).unwrap()
    })
}

/// Two of three, and any one of two others.
fn two_houses() -> String {
    let witnesses: Vec<_> = (2..7).map(|seed| format!("witness W{seed} {}\n", witness(seed))).collect();
    let witnesses = witnesses.concat();
    format!(
        "# Our own, and the partners'\n\nlog {} https://log.example\n{witnesses}group own 2 W2 W3 W4\n\
         \tgroup partners  any W5 W6\ngroup both all own partners\nquorum both\n",
        log_key()
    )
}

#[test]
fn a_quorum_of_groups_holds_only_when_each_group_does() {
    let policy: TrustPolicy = two_houses().parse().unwrap();
    for (witnesses, enough) in [
        (&[][..], false),
        (&[2, 3], false),
        (&[2, 3, 4], false),
        (&[5, 6], false),
        (&[2, 5], false),
        (&[2, 4, 6], true),
        (&[2, 3, 4, 5, 6], true),
        // A stranger's signature is passed over.
        (&[2, 9, 5], false),
    ] {
        let standing = policy.judge(note(witnesses).as_bytes()).unwrap();
        assert_eq!(standing.enough, enough, "{witnesses:?}");
        assert_eq!(standing.countersigned.len(), witnesses.iter().filter(|seed| **seed != 9).count());
        assert_eq!(standing.finding(42).is_none(), enough);
    }
    let standing = policy.judge(note(&[2]).as_bytes()).unwrap();
    assert_eq!(standing.countersigned[0].by, "W2");
    assert_eq!(standing.countersigned[0].since, "2026-11-23T08:00:00.000000Z");
    assert_eq!(standing.wanted, "2 of (2 of (W2, W3, W4), 1 of (W5, W6))");
}

#[test]
fn one_witness_that_signs_twice_or_under_two_names_counts_once() {
    let twice = note(&[2]) + note(&[2]).lines().last().unwrap() + "\n";
    let policy: TrustPolicy = two_houses().parse().unwrap();
    assert_eq!(policy.judge(twice.as_bytes()).unwrap().countersigned.len(), 1);
    let renamed = WitnessKey::new("other".parse().unwrap(), signer(2).public());
    let text = format!("witness a {}\nwitness b {renamed}\ngroup g all a b\nquorum g\n", witness(2));
    assert_eq!(text.parse::<TrustPolicy>().unwrap_err().line, 2);
}

#[test]
fn a_bad_line_of_a_known_witness_condemns_the_note_and_another_log_does_not_count() {
    let policy: TrustPolicy = two_houses().parse().unwrap();
    // The line of another size, put under this one.
    let other = Checkpoint { origin: log_key().name().clone(), size: 43, root: Digest::of(b"root") };
    let line = other.cosign(witness(2).name(), &signer(2), "2026-11-23T08:00:00Z".parse().unwrap());
    let moved = Checkpoint::merge(&note(&[4, 6]), &line).unwrap();
    assert_eq!(policy.judge(moved.as_bytes()), Err(NoteError::Signature(witness(2).name().clone())));
    let foreign = other.sign(&signer(9));
    assert_eq!(policy.judge(foreign.as_bytes()), Err(NoteError::Unsigned));
}

#[test]
fn any_one_partner_is_enough_unless_the_site_says_otherwise() {
    let policy = TrustPolicy::any_of(&[log_key()], &[witness(2), witness(3), witness(2)]).unwrap();
    assert_eq!(policy.to_string().parse::<TrustPolicy>().unwrap(), policy);
    assert_eq!(policy.witnesses().len(), 2);
    assert!(!policy.judge(note(&[]).as_bytes()).unwrap().enough);
    assert!(policy.judge(note(&[3]).as_bytes()).unwrap().enough);
    let alone = TrustPolicy::any_of(&[log_key()], &[]).unwrap();
    assert!(!alone.wants_witnesses() && alone.judge(note(&[]).as_bytes()).unwrap().enough);
}

#[test]
fn what_is_not_a_whole_policy_is_refused_with_its_line() {
    let (log, a, b) = (log_key(), witness(2), witness(3));
    let two = format!("witness a {a}\nwitness b {b}\n");
    for (text, line, says) in [
        (String::new(), 1, "no quorum"),
        (format!("log {log}\n"), 2, "no quorum"),
        ("quorum none\nquorum none\n".into(), 2, "already"),
        ("quorum a\n".into(), 1, "not defined"),
        ("quorum a b\n".into(), 1, "quorum line is"),
        (format!("log {a}\nquorum none\n"), 1, "not a key"),
        (format!("witness a {log}\nquorum a\n"), 1, "not a key"),
        (format!("log {log}\nlog {log}\nquorum none\n"), 2, "earlier line"),
        (format!("log {log} https://a b\nquorum none\n"), 1, "log line is"),
        ("witness a\nquorum none\n".into(), 1, "witness line is"),
        (format!("witness none {a}\nquorum none\n"), 1, "none is not a name"),
        (format!("witness a {a}\nwitness a {b}\nquorum a\n"), 2, "defined on an earlier"),
        (format!("{two}group g any\nquorum g\n"), 3, "group line is"),
        (format!("{two}group g 0 a b\nquorum g\n"), 3, "from 1 to 2"),
        (format!("{two}group g 3 a b\nquorum g\n"), 3, "from 1 to 2"),
        (format!("{two}group g 01 a b\nquorum g\n"), 3, "from 1 to 2"),
        (format!("{two}group g 1 a a\nquorum g\n"), 3, "counts once"),
        (format!("{two}group g 1 a\ngroup h 1 a b\nquorum h\n"), 4, "counts once"),
        (format!("{two}group g 1 g a\nquorum g\n"), 3, "not defined"),
        (format!("{two}group g 1 h\ngroup h 1 g\nquorum g\n"), 3, "not defined"),
        (format!("{two}group a 1 b\nquorum a\n"), 3, "defined on an earlier"),
        (format!("{two}group g 1 none a\nquorum g\n"), 3, "not defined"),
        (format!("quorum a\n{two}"), 1, "not defined"),
        (format!("{two}quorum a\r\n"), 3, "control"),
        (format!("{two}trust a\n"), 3, "no such word"),
    ] {
        let error = text.parse::<TrustPolicy>().unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.what.contains(says), "{text:?}: {error}");
    }
}
