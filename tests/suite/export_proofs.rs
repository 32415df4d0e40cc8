//! Does an export carry the proofs of single entries that were asked for, and is a wrong one named?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use medseal::audit::export::{ExportError, ExportWriter, RangeWriter, verify_export};
use medseal::audit::log::Log;
use medseal::audit::note::LogKey;
use medseal::audit::proof;
use medseal::audit::tlog_proof::EntryProof;
use medseal::id::Digest;

use crate::log_home::Home;
use crate::log_tiles::put;
use crate::needs;
use crate::site::{Site, medseal, ran};

fn line(log: &Log, seq: u64) -> Vec<u8> {
    log.reader().entries(seq, 1).unwrap().remove(0).1
}

fn path(log: &Log, seq: u64) -> Vec<Digest> {
    proof::inclusion(seq, log.size(), &log.reader().tree()).unwrap()
}

/// The whole log, with these entries proved one by one.
fn whole(home: &Home, log: &Log, proved: &[u64]) -> PathBuf {
    let out = home.path().join("whole");
    let mut writer = ExportWriter::create(&out, &log.sign_now_blocking().unwrap(), log.key()).unwrap();
    for seq in 0..log.size() {
        writer.entry(&line(log, seq)).unwrap();
    }
    for seq in proved {
        writer.prove(*seq, &line(log, *seq), path(log, *seq)).unwrap();
    }
    writer.finish().unwrap();
    out
}

/// The entries from `from` to `to`, with some of them proved one by one.
fn range(home: &Home, log: &Log, (from, to): (u64, u64), proved: &[u64]) -> PathBuf {
    let out = home.path().join("range");
    let note = log.sign_now_blocking().unwrap();
    let end = |index| EntryProof { index, path: path(log, index), note: note.clone() };
    let (one, two) = (line(log, from), line(log, to));
    let mut writer = RangeWriter::create(&out, (&one, end(from)), (&two, end(to)), log.key()).unwrap();
    for seq in from..=to {
        writer.entry(&line(log, seq)).unwrap();
    }
    let outside = writer.prove(to + 1, &line(log, to + 1), path(log, to + 1));
    assert!(matches!(outside, Err(ExportError::NotProved { .. })), "a proof of an entry that is not there");
    for seq in proved {
        writer.prove(*seq, &line(log, *seq), path(log, *seq)).unwrap();
    }
    writer.finish().unwrap();
    out
}

/// What both verifiers say of an export: the message of the finding.
fn said(dir: &Path, key: &LogKey) -> Option<String> {
    let report = verify_export(dir, std::slice::from_ref(key), None, |_| ()).unwrap().report;
    let found = report.finding.map(|finding| (finding.seq, finding.kind.word().to_owned(), finding.message));
    if let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) {
        let script = dir.join("verify.py");
        let ended = Command::new(python).arg(script).args(["--json", "--key", &key.to_string()]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        let finding = report.get("finding").map(|one| {
            let word = |name: &str| one[name].as_str().unwrap().to_owned();
            (one["seq"].as_u64().unwrap(), word("kind"), word("message"))
        });
        assert_eq!(finding, found, "verify.py says the same");
    }
    found.map(|(_, _, message)| message)
}

#[test]
fn a_wrong_proof_in_an_export_is_named_by_both_verifiers_even_if_the_digests_were_made_anew() {
    let (home, log) = Home::with_notes(10);
    for dir in [whole(&home, &log, &[0, 4, 7]), range(&home, &log, (3, 8), &[4, 7])] {
        assert_eq!(said(&dir, log.key()), None, "{}", dir.display());
        let harm = |name: &str, content: &[u8], message: &str| {
            let good = fs::read(dir.join(name)).unwrap();
            put(&dir, name, content);
            assert_eq!(said(&dir, log.key()).as_deref(), Some(message), "{}", dir.display());
            put(&dir, name, &good);
        };
        let (proof, entry) = ("proofs/4.tlog-proof", "proofs/4.entry");
        let text = fs::read_to_string(dir.join(proof)).unwrap();
        let message = "the file proofs/4.tlog-proof is not that of entry 4 in this log";
        harm(proof, &fs::read(dir.join("proofs/7.tlog-proof")).unwrap(), message);
        harm(proof, text.replace("index 4", "index 7").as_bytes(), message);
        harm(proof, text.replacen('\n', "\nextra AAAA\n", 1).as_bytes(), message);
        let other = EntryProof { index: 4, path: path(&log, 5), note: log.sign_now_blocking().unwrap() };
        harm(proof, other.to_text().as_bytes(), message);
        harm(
            entry,
            &[line(&log, 7), b"\n".to_vec()].concat(),
            "the file proofs/4.entry is not that of entry 4 in this log",
        );
        harm(entry, b"", "the file proofs/4.entry is not that of entry 4 in this log");
        for at in (0..text.len()).step_by(61) {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1;
            harm(proof, &flipped, message);
        }
        put(&dir, "proofs/99.entry", b"x\n");
        assert!(said(&dir, log.key()).is_some_and(|message| message.contains("proofs/99.tlog-proof")));
    }
}

#[test]
fn a_file_that_is_no_proof_does_not_hide_among_them() {
    let (home, log) = Home::with_notes(3);
    let dir = whole(&home, &log, &[1]);
    for name in ["proofs/notes.txt", "proofs/01.tlog-proof", "proofs/1.html"] {
        put(&dir, name, b"x");
        let said = said(&dir, log.key());
        assert_eq!(said, Some(format!("the file {name} is not the proof of an entry")));
        medseal::durable::remove(&dir.join(name)).unwrap();
    }
}

#[test]
fn a_proof_of_an_earlier_checkpoint_is_not_one_of_this_export() {
    let (home, log) = Home::with_notes(4);
    let (earlier, path) = (log.sign_now_blocking().unwrap(), path(&log, 2));
    let place = log.append_blocking(crate::log_home::note("later"), medseal::audit::log::Change::default());
    drop(place.unwrap());
    let dir = whole(&home, &log, &[2]);
    let proof = EntryProof { index: 2, path: path.clone(), note: earlier };
    proof.verify(&line(&log, 2), std::slice::from_ref(log.key()), &[]).unwrap();
    put(&dir, "proofs/2.tlog-proof", proof.to_text().as_bytes());
    assert!(said(&dir, log.key()).is_some_and(|message| message.contains("proofs/2.tlog-proof")));
    let note = log.sign_now_blocking().unwrap();
    let mut writer = ExportWriter::create(&home.path().join("other"), &note, log.key()).unwrap();
    assert!(writer.prove(2, &line(&log, 2), path).is_err(), "nothing is written that does not prove its entry");
}

#[test]
fn a_gateway_exports_proofs_of_the_entries_asked_for_and_none_beyond_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::init(folder.path(), "tallinn-east", "EE");
    site.start();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (all, some) = (path("all"), path("some"));
    site.run(&["audit", "export", &all, "--prove", "1,0,1"]).ok();
    site.run(&["audit", "export", &some, "--from", "1", "--prove", "1"]).ok();
    for (args, why) in [
        (&["--prove", "0,999999"][..], "entry 999999 cannot be proved"),
        (&["--from", "1", "--prove", "0"], "entry 0 cannot be proved"),
    ] {
        let refused = site.run(&[&["audit", "export", &path("none")][..], args].concat());
        assert_eq!(refused.status, 2, "{}", refused.stdout);
        assert!(format!("{}{}", refused.stdout, refused.stderr).contains(why), "{}", refused.stdout);
        assert!(!Path::new(&path("none")).exists());
    }
    site.stop();
    let key = format!("{all}/log.vkey");
    let outside = |path: &str| {
        ran(&medseal().args(["--json", "audit", "verify", path, "--key", &key]).output().unwrap()).ok().json
    };
    assert_eq!(fs::read_dir(format!("{all}/proofs")).unwrap().count(), 4);
    for export in [&all, &some] {
        let entries = outside(export)["entries"].as_u64().unwrap();
        let proved = outside(&format!("{export}/proofs/1.tlog-proof"));
        assert_eq!(proved["seq"], 1);
        assert_eq!(proved["entries"].as_u64().unwrap(), entries + u64::from(export == &some));
    }
}
