//! A small log, harmed in every way.

use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::durable;
use crate::json::Object;
use crate::leaf::Draft;
use crate::signature::NoteSigner;

fn signer() -> NoteSigner {
    NoteSigner::from_seed(&[7; 32])
}

fn keys() -> [LogKey; 1] {
    [LogKey::new("st-mary.example/audit".parse().unwrap(), signer().public())]
}

fn lines(count: u64) -> Vec<Vec<u8>> {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let mut prev = NO_LEAF;
    (0..count)
        .map(|seq| {
            let facts = Object::from([("text".to_owned(), json!(format!("entry number {seq}")))]);
            let at = Timestamp::from_second(start.as_second() + i64::try_from(seq).unwrap()).unwrap();
            let draft = Draft { prev, seq, at, kind: "note", facts: &facts, subject: None, detail: None };
            let line = leaf::write(&draft).unwrap().into_bytes();
            prev = leaf::hash(&line);
            line
        })
        .collect()
}

fn checkpoint(lines: &[Vec<u8>]) -> Checkpoint {
    let mut tree = Frontier::new();
    for line in lines {
        tree.push(leaf::hash(line));
    }
    Checkpoint { origin: "st-mary.example/audit".parse().unwrap(), size: tree.size(), root: tree.root() }
}

fn verify(lines: &[Vec<u8>], note: &str, trusted: Option<&Checkpoint>) -> Report {
    let against = Against { checkpoint: Some(note.as_bytes()), keys: &keys(), trusted, behind: Behind::Finding };
    verify_lines(lines.iter().cloned().map(Ok), &against, |_| ()).unwrap()
}

fn found(lines: &[Vec<u8>], note: &str) -> (u64, Kind) {
    let report = verify(lines, note, None);
    assert!(!report.ok);
    let finding = report.finding.expect("a finding");
    (finding.seq, finding.kind)
}

fn edit(line: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(text.contains(from));
    *line = text.replacen(from, to, 1).into_bytes();
}

#[test]
fn a_whole_log_of_any_size_verifies() {
    for size in 0..40 {
        let lines = lines(size);
        let signed = checkpoint(&lines);
        let report = verify(&lines, &signed.sign(&signer()), Some(&signed));
        assert_eq!(
            report,
            Report {
                ok: true,
                entries: size,
                signed: size,
                details: 0,
                erased: 0,
                sealed: 0,
                root: signed.root,
                finding: None
            }
        );
        for earlier in 0..=size {
            let earlier = checkpoint(&lines[..usize::try_from(earlier).unwrap()]);
            assert!(verify(&lines, &signed.sign(&signer()), Some(&earlier)).ok);
        }
    }
}

#[test]
fn an_edited_entry_is_named_wherever_it_stands() {
    let good = lines(9);
    let note = checkpoint(&good).sign(&signer());
    for at in 0..9 {
        let mut bad = good.clone();
        edit(&mut bad[at], "entry number", "Entry number");
        assert_eq!(found(&bad, &note), (at as u64, Kind::Edited));
        for (from, to) in [("\"_prev\":\"", "\"_prev\":\"f"), ("\"note\"", "note"), ("2026", "2o26"), ("{", "[")] {
            let mut bad = good.clone();
            edit(&mut bad[at], from, to);
            assert_eq!(found(&bad, &note), (at as u64, Kind::Edited), "{from} -> {to}");
        }
        let mut bad = good.clone();
        edit(&mut bad[at], &format!("\"_seq\":{at}"), "\"_seq\":77");
        assert_eq!(found(&bad, &note).0, at as u64);
    }
}

#[test]
fn an_entry_whose_link_alone_was_edited_is_named_and_not_the_one_before() {
    let good = lines(9);
    let note = checkpoint(&good).sign(&signer());
    for at in 0..9 {
        let mut bad = good.clone();
        let text = String::from_utf8(bad[at].clone()).unwrap();
        bad[at] = format!("{}{}{}", &text[..10], "0123456789abcdef".repeat(4), &text[74..]).into_bytes();
        assert_eq!(found(&bad, &note), (at as u64, Kind::Edited));
    }
}

#[test]
fn a_missing_entry_is_named_and_a_missing_end_is_truncated() {
    let good = lines(9);
    let note = checkpoint(&good).sign(&signer());
    for at in 0..8 {
        let mut bad = good.clone();
        bad.remove(at);
        assert_eq!(found(&bad, &note), (at as u64, Kind::Missing));
    }
    for size in 0..9 {
        assert_eq!(found(&good[..size], &note), (size as u64, Kind::Truncated));
    }
}

#[test]
fn entries_in_another_order_are_named() {
    let good = lines(9);
    let note = checkpoint(&good).sign(&signer());
    for at in 0..8 {
        for with in at + 1..9 {
            let mut bad = good.clone();
            bad.swap(at, with);
            assert_eq!(found(&bad, &note), (at as u64, Kind::Reordered), "{at} and {with}");
        }
        let mut twice = good.clone();
        twice.insert(at + 1, good[at].clone());
        assert_eq!(found(&twice, &note), (at as u64, Kind::Reordered), "{at} twice");
    }
}

#[test]
fn a_log_rewritten_with_a_chain_that_holds_is_not_what_was_signed() {
    let good = lines(9);
    let signed = checkpoint(&good);
    let mut rewritten = good[..4].to_vec();
    let mut prev = leaf::hash(&rewritten[3]);
    for (at, line) in good.iter().enumerate().skip(4) {
        let mut leaf = Leaf::read(line).unwrap();
        leaf.facts.insert("text".into(), json!(format!("another {at}")));
        let draft =
            Draft { prev, seq: leaf.seq, at: leaf.at, kind: "note", facts: &leaf.facts, subject: None, detail: None };
        rewritten.push(leaf::write(&draft).unwrap().into_bytes());
        prev = leaf::hash(&rewritten[at]);
    }
    assert_eq!(found(&rewritten, &signed.sign(&signer())), (8, Kind::Edited));

    // With a stolen key the rewritten log is signed as well; only an old checkpoint shows it.
    let stolen = checkpoint(&rewritten).sign(&signer());
    assert!(verify(&rewritten, &stolen, None).ok);
    for kept in 5..=9 {
        let finding = verify(&rewritten, &stolen, Some(&checkpoint(&good[..kept]))).finding.unwrap();
        assert_eq!((finding.seq, finding.kind), (kept as u64 - 1, Kind::Forked));
    }
    assert!(verify(&rewritten, &stolen, Some(&checkpoint(&good[..4]))).ok);
}

#[test]
fn a_log_shorter_than_a_trusted_checkpoint_is_truncated() {
    let good = lines(9);
    let shorter = checkpoint(&good[..6]).sign(&signer());
    assert!(verify(&good[..6], &shorter, None).ok);
    let finding = verify(&good[..6], &shorter, Some(&checkpoint(&good))).finding.unwrap();
    assert_eq!((finding.seq, finding.kind), (6, Kind::Truncated));
    let other = Checkpoint { origin: "other.example/audit".parse().unwrap(), ..checkpoint(&good[..6]) };
    assert_eq!(verify(&good[..6], &shorter, Some(&other)).finding.unwrap().kind, Kind::Forked);
}

#[test]
fn a_checkpoint_counts_only_with_a_trusted_keys_signature() {
    let good = lines(3);
    let signed = checkpoint(&good);
    for note in [signed.sign(&NoteSigner::from_seed(&[8; 32])), String::new(), "x".into(), signed.body()] {
        assert_eq!(found(&good, &note), (3, Kind::BadSignature));
    }
    // A broken chain is the more telling finding.
    assert_eq!(found(&[good[0].clone(), good[2].clone()], ""), (1, Kind::Missing));
}

#[test]
fn entries_behind_the_checkpoint_are_growth_in_a_home_and_a_finding_in_an_export() {
    let good = lines(5);
    let note = checkpoint(&good[..3]).sign(&signer());
    assert_eq!(found(&good, &note), (3, Kind::Unsigned));
    let against = Against { checkpoint: Some(note.as_bytes()), keys: &keys(), trusted: None, behind: Behind::Growth };
    let report = verify_lines(good.iter().cloned().map(Ok), &against, |_| ()).unwrap();
    assert_eq!((report.ok, report.entries, report.signed), (true, 5, 3));
}

#[test]
fn what_was_recorded_in_another_form_is_malformed_and_not_edited() {
    let mut bad = lines(3);
    edit(&mut bad[1], "\"kind\":\"note\",", "\"kind\": \"note\",");
    let next = String::from_utf8(bad[2].clone()).unwrap();
    bad[2] = format!("{}{}{}", &next[..10], leaf::hash(&bad[1]), &next[74..]).into_bytes();
    assert_eq!(found(&bad, &checkpoint(&bad).sign(&signer())), (1, Kind::Malformed));
    bad.truncate(2);
    assert_eq!(found(&bad, &checkpoint(&bad).sign(&signer())), (1, Kind::Malformed));

    let mut backwards = lines(3);
    edit(&mut backwards[2], "10:00:02", "09:00:02");
    assert_eq!(found(&backwards, &checkpoint(&backwards).sign(&signer())), (2, Kind::Malformed));
}

#[test]
fn every_changed_byte_is_found() {
    let good = lines(4);
    let note = checkpoint(&good).sign(&signer());
    for seq in 0..good.len() {
        for at in 0..good[seq].len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[seq][at] ^= 1 << bit;
                let (named, _) = found(&bad, &note);
                assert_eq!(named, seq as u64, "entry {seq} byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn an_opened_detail_fits_its_entry_or_is_a_finding() {
    let subject = SubjectId::random();
    let detail = Object::from([("name".to_owned(), json!("Erika"))]);
    let opening = Opening { seq: 0, salt: [3; 32], detail };
    let detail_line = json::object_to_line(&opening.detail).unwrap();
    let committed = leaf::commit(&opening.salt, 0, detail_line.as_bytes());
    let facts = Object::new();
    let at = "2026-11-22T10:00:00Z".parse().unwrap();
    let draft = Draft {
        prev: NO_LEAF,
        seq: 0,
        at,
        kind: "note",
        facts: &facts,
        subject: Some(&subject),
        detail: Some(&committed),
    };
    let log = [leaf::write(&draft).unwrap().into_bytes()];
    let note = checkpoint(&log).sign(&signer());
    let verify = |openings: &[String]| {
        let against =
            Against { checkpoint: Some(note.as_bytes()), keys: &keys(), trusted: None, behind: Behind::Finding };
        let openings = openings.iter().map(|line| Ok(line.clone().into_bytes()));
        let report = verify_with_details(log.iter().cloned().map(Ok), openings, &against, |_| ()).unwrap();
        (report.details, report.finding.map(|finding| (finding.seq, finding.kind)))
    };
    let good = opening.to_line().unwrap();
    assert_eq!(verify(&[]), (0, None));
    assert_eq!(verify(std::slice::from_ref(&good)), (1, None));
    let bad = Some((0, Kind::DetailMismatch));
    assert_eq!(verify(&[good.replace("Erika", "Erica")]).1, bad);
    assert_eq!(verify(&[good.replace("0303", "0304")]).1, bad);
    assert_eq!(verify(&[good.replace(":{", ": {")]).1, bad);
    assert_eq!(verify(&[good.clone(), good.clone()]).1, Some((0, Kind::DetailMismatch)));
    assert_eq!(verify(&[good.replace("\"seq\":0", "\"seq\":1")]).1, Some((1, Kind::DetailMismatch)));
}

/// What the walk says of the lines, and what the cores say of the same lines in files.
fn both(lines: &[Vec<u8>], per_file: usize, note: &str, trusted: Option<&Checkpoint>) -> (Report, Report) {
    let folder = tempfile::tempdir().unwrap();
    let against = Against { checkpoint: Some(note.as_bytes()), keys: &keys(), trusted, behind: Behind::Finding };
    let mut files = Vec::new();
    for (number, lines) in lines.chunks(per_file).enumerate() {
        let path = folder.path().join(number.to_string());
        let mut text = lines.join(&b'\n');
        // The last line of a file need not end with a newline.
        if number % 2 == 0 {
            text.push(b'\n');
        }
        durable::write_new(&path, &text, 0o600).unwrap();
        files.push(path);
    }
    (verify(lines, note, trusted), verify_files(&files, None, &against, |_| ()).unwrap())
}

#[test]
fn many_cores_say_what_one_walk_says() {
    let good = lines(700);
    let signed = checkpoint(&good);
    let note = signed.sign(&signer());
    for size in [1, 2, 3, 255, 256, 257, 511, 699, 700] {
        let trusted = checkpoint(&good[..size]);
        let (walk, cores) = both(&good, 100, &note, Some(&trusted));
        assert!(cores.ok, "{cores:?}");
        assert_eq!(walk, cores);
        let (walk, cores) = both(&good[..size], 64, &note, Some(&trusted));
        assert_eq!(walk, cores, "{size} of 700 entries");
    }
    for at in [0, 1, 99, 100, 350, 698, 699] {
        for harm in 0..5 {
            let mut bad = good.clone();
            match harm {
                0 => edit(&mut bad[at], "entry number", "entry nombre"),
                1 => drop(bad.remove(at)),
                2 => bad.swap(at, (at + 7) % 700),
                3 => bad.insert(at, good[(at + 350) % 700].clone()),
                _ => bad[at].push(b' '),
            }
            let (walk, cores) = both(&bad, 100, &note, None);
            assert!(!walk.ok);
            assert_eq!(walk, cores, "harm {harm} at {at}");
        }
    }
}

#[test]
fn the_roots_at_any_two_sizes_are_those_of_the_tree_whatever_the_blocks() {
    let good = lines(70);
    let folder = tempfile::tempdir().unwrap();
    for per_file in [1, 3, 8, 33, 70] {
        let mut files = Vec::new();
        for (number, lines) in good.chunks(per_file).enumerate() {
            let path = folder.path().join(format!("{per_file}-{number}"));
            durable::write_new(&path, &lines.join(&b'\n'), 0o600).unwrap();
            files.push(path);
        }
        for (signed, trusted) in (0..=70).flat_map(|signed| [(signed, 70 - signed), (signed, signed / 3)]) {
            for cores in [1, 3] {
                let sound = cores::sound(&files, &[signed, trusted], cores, &mut |_| ()).unwrap().unwrap();
                assert_eq!(sound.tree.root(), checkpoint(&good).root);
                for size in [signed, trusted] {
                    let root = checkpoint(&good[..usize::try_from(size).unwrap()]).root;
                    assert!(sound.roots.contains(&(size, root)), "the root of {size} in files of {per_file}");
                }
            }
        }
    }
}
