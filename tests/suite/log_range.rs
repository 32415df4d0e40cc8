//! Can anyone verify a stretch of a log without the rest of it, and see whether two stretches join?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medseal::audit::export::{ExportReport, RangeWriter, gap, verify_export};
use medseal::audit::log::Log;
use medseal::audit::proof;
use medseal::audit::tlog_proof::EntryProof;
use medseal::id::Digest;

use crate::log_home::Home;
use crate::needs;
use crate::site::{Site, medseal, ran};

/// Writes the entries from `from` to `to`.
fn range(home: &Home, log: &Log, from: u64, to: u64) -> PathBuf {
    let out = home.path().join(format!("range-{from}-{to}"));
    let note = log.sign_now_blocking().unwrap();
    let lines: Vec<_> =
        log.reader().lines(from).take(usize::try_from(to - from + 1).unwrap()).map(Result::unwrap).collect();
    let prove = |index| {
        let path = proof::inclusion(index, log.size(), &log.reader().tree()).unwrap();
        EntryProof { index, path, note: note.clone() }
    };
    let (first, last) = ((&lines[0][..], prove(from)), (&lines[lines.len() - 1][..], prove(to)));
    let mut writer = RangeWriter::create(&out, first, last, log.key()).unwrap();
    for line in &lines {
        writer.entry(line).unwrap();
    }
    assert_eq!(writer.finish().unwrap().entries, to - from + 1);
    out
}

fn verify(dir: &Path) -> ExportReport {
    verify_export(dir, &[], None, |_| ()).unwrap()
}

/// What both verifiers find.
fn finding(dir: &Path) -> Option<(u64, String)> {
    let found = verify(dir).report.finding.map(|finding| (finding.seq, finding.kind.word().to_owned()));
    if let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) {
        let ended = Command::new(python).arg(dir.join("verify.py")).arg("--json").output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        let other =
            report.get("finding").map(|one| (one["seq"].as_u64().unwrap(), one["kind"].as_str().unwrap().to_owned()));
        assert_eq!(other, found, "{report}");
    }
    found
}

fn put(path: &Path, content: &[u8]) {
    fs::File::create(path).unwrap().write_all(content).unwrap();
}

#[test]
fn every_stretch_of_a_log_verifies_alone() {
    let (home, log) = Home::with_notes(10);
    for from in 0..11 {
        for to in from..11 {
            let report = verify(&range(&home, &log, from, to));
            assert!(report.report.ok, "{from} to {to}: {report:?}");
            let said = report.range.map(|range| (range.first, range.last));
            assert_eq!((said, report.report.entries), (Some((from, to)), to - from + 1));
        }
    }
    assert_eq!(finding(&home.path().join("range-3-9")), None);
    assert_eq!(finding(&home.path().join("range-0-10")), None);
}

#[test]
fn both_verifiers_name_what_was_done_to_an_entry_of_a_range() {
    let (home, log) = Home::with_notes(10);
    let dir = range(&home, &log, 3, 8);
    let file = dir.join("entries-000000000003-000000000008.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let harm = |what: &str, changed: &[&str], wanted: (u64, &str)| {
        put(&file, changed.concat().as_bytes());
        assert_eq!(finding(&dir), Some((wanted.0, wanted.1.to_owned())), "{what}");
    };
    for at in 0..6 {
        let edited = lines[at].replacen("note", "Note", 1);
        let mut changed = lines.clone();
        changed[at] = &edited;
        harm("edited", &changed, (3 + at as u64, "edited"));
        let mut changed = lines.clone();
        changed.remove(at);
        harm("missing", &changed, (3 + at as u64, if at == 5 { "truncated" } else { "missing" }));
    }
    let mut changed = lines.clone();
    changed.swap(1, 3);
    harm("swapped", &changed, (4, "reordered"));
    harm("nothing left", &[], (3, "truncated"));
    put(&file, text.as_bytes());

    for name in ["range", "first.tlog-proof", "last.tlog-proof", "checkpoint"] {
        let good = fs::read(dir.join(name)).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            put(&dir.join(name), &bad);
            assert!(!verify(&dir).report.ok, "{name} byte {at}");
        }
        put(&dir.join(name), &good);
    }
    medseal::durable::remove(&dir.join("range")).unwrap();
    assert_eq!(finding(&dir), Some((0, "missing".to_owned())), "a range does not pass as a log");
}

#[test]
fn the_entry_before_a_range_cannot_be_another_even_if_the_digests_were_made_anew() {
    let (home, log) = Home::with_notes(6);
    let dir = range(&home, &log, 3, 5);
    let good = fs::read_to_string(dir.join("range")).unwrap();
    let sums = fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    for field in ["before", "first_leaf", "last_leaf"] {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        value[field] = "0".repeat(64).into();
        let bad = format!("{value}\n");
        put(&dir.join("range"), bad.as_bytes());
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        put(&dir.join("SHA256SUMS"), sums.replace(&digest(&good), &digest(&bad)).as_bytes());
        assert!(finding(&dir).is_some(), "{field}");
    }
}

#[test]
fn ranges_join_only_where_one_begins_behind_the_other() {
    let (home, log) = Home::with_notes(10);
    let said = |from, to| verify(&range(&home, &log, from, to)).range.unwrap();
    let (one, two, late, early) = (said(0, 4), said(5, 7), said(6, 8), said(3, 6));
    assert_eq!(gap(&one, &two), None);
    assert_eq!(gap(&one, &late), Some("entries 5 to 5 are in no range".to_owned()));
    assert!(gap(&one, &early).is_some() && gap(&two, &one).is_some());
    let (other_home, other_log) = Home::with_notes(11);
    other_home.clock.advance_s(1);
    drop(other_log);
    let mut foreign = two.clone();
    foreign.before = Digest::of(b"another log");
    assert!(gap(&one, &foreign).is_some());
}

#[test]
fn a_gateway_exports_a_range_and_a_year_and_says_whether_they_join() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::init(folder.path(), "tallinn-east", "EE");
    site.start();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let show = site.run(&["audit", "show"]).ok();
    let entries = show.json["items"].as_array().unwrap().clone();
    let year = entries[0]["_t"].as_str().unwrap()[..4].to_owned();
    let (one, two, all) = (path("one"), path("two"), path("all"));
    site.run(&["audit", "export", &one, "--to", "0"]).ok();
    site.run(&["audit", "export", &two, "--from", "1"]).ok();
    let exported = site.run(&["audit", "export", &all, "--year", &year]).ok();
    assert!(exported.json["entries"].as_u64().unwrap() >= entries.len() as u64);
    assert_eq!(site.run(&["audit", "export", &path("none"), "--year", "1999"]).status, 2);
    site.stop();
    let key = format!("{all}/log.vkey");
    let outside =
        |args: &[&str]| ran(&medseal().args(["--json", "audit", "verify", "--key", &key]).args(args).output().unwrap());
    assert_eq!(outside(&[&all]).ok().json["range"]["first"], 0);
    let joined = outside(&[&one, &two]).ok();
    assert_eq!(joined.json["range"]["first"], 0, "{joined:?}");
    assert_eq!(joined.json["range"]["last"].as_u64().unwrap() + 1, joined.json["entries"].as_u64().unwrap());
    outside(&[&two, &one]).refused("CONFLICT");
}
