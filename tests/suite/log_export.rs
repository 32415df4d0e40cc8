//! Can anyone verify an export, with this program and without it, and do both name the same bad entry?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medseal::audit::export::{ExportReport, ExportWriter, verify_export};
use medseal::audit::log::Change;
use medseal::audit::note::{Checkpoint, LogKey};
use medseal::audit::verify::Kind;
use medseal::signature::NoteSigner;
use serde_json::Value;

use crate::log_home::{Home, note, openings};
use crate::needs;

fn verify(export: &Path) -> ExportReport {
    verify_export(export, &[], None, |_| ()).unwrap()
}

fn finding(report: &ExportReport) -> Option<(u64, String)> {
    report.report.finding.as_ref().map(|finding| (finding.seq, finding.kind.word().to_owned()))
}

/// What verify.py says of an export: its exit code, and the finding.
fn python(python: &Path, export: &Path, options: &[&str]) -> (Option<i32>, Value) {
    let script = export.join("verify.py");
    let ended = Command::new(python).arg(script).arg("--json").args(options).output().unwrap();
    let report = serde_json::from_slice(&ended.stdout).unwrap_or(Value::Null);
    (ended.status.code(), report)
}

fn python_finding(report: &Value) -> Option<(u64, String)> {
    let finding = report.get("finding")?;
    Some((finding["seq"].as_u64()?, finding["kind"].as_str()?.to_owned()))
}

fn entries_file(export: &Path) -> PathBuf {
    let found = fs::read_dir(export).unwrap().map(|entry| entry.unwrap().path());
    found
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "jsonl") && !path.ends_with("details.jsonl"))
        .unwrap()
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    // Thousands of writes: none of them needs to survive a power cut.
    fs::File::create(path).unwrap().write_all(content.as_ref()).unwrap();
}

fn every_tool() -> Option<PathBuf> {
    needs::tool("openssl")?;
    needs::tool("python3")
}

#[test]
fn an_export_verifies_here_and_with_python_and_openssl() {
    let (home, log) = Home::with_notes(6);
    let export = home.export(&log, "export", true);
    let report = verify(&export);
    assert_eq!((report.report.ok, report.report.entries, report.report.details), (true, 7, 3), "{report:?}");
    assert_eq!((report.report.sealed, report.report.erased), (0, 0), "{report:?}");
    let closed = verify(&home.export(&log, "closed", false)).report;
    assert_eq!((closed.details, closed.sealed, closed.erased), (0, 3, 0), "{closed:?}");
    assert!(report.self_asserted);
    assert_eq!(report.key.as_ref(), Some(log.key()));
    let trusted = verify_export(&export, std::slice::from_ref(log.key()), None, |_| ()).unwrap();
    assert!(trusted.report.ok && !trusted.self_asserted);

    let Some(program) = every_tool() else { return };
    for (options, status) in [(&[][..], 3), (&["--key", &log.key().to_string()], 0)] {
        let (code, python) = python(&program, &export, options);
        assert_eq!((code, python["ok"].as_bool()), (Some(status), Some(true)), "{python}");
        assert_eq!(python["root"].as_str(), Some(report.report.root.to_string().as_str()));
        assert_eq!((python["entries"].as_u64(), python["details"].as_u64()), (Some(7), Some(3)));
    }
    let sums = Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(&export).output().unwrap();
    assert!(sums.status.success(), "{sums:?}");
    let by_hand = [
        "pkeyutl",
        "-verify",
        "-rawin",
        "-pubin",
        "-inkey",
        "keys/log.pem",
        "-in",
        "checkpoint.body",
        "-sigfile",
        "checkpoint.sig",
    ];
    assert!(Command::new("openssl").args(by_hand).current_dir(&export).output().unwrap().status.success());
    let link = "( printf '\\0'; sed -n 5p entries-000000000000-*.jsonl | tr -d '\\n' ) | sha256sum";
    let link = Command::new("sh").args(["-c", link]).current_dir(&export).output().unwrap();
    let sixth = fs::read_to_string(entries_file(&export)).unwrap().lines().nth(5).unwrap().to_owned();
    assert_eq!(&link.stdout[..64], &sixth.as_bytes()[10..74]);
}

#[test]
fn an_export_says_nothing_of_a_person_unless_its_details_are_opened() {
    let (home, log) = Home::with_notes(4);
    let export = home.export(&log, "export", false);
    for entry in fs::read_dir(&export).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains("Erika") && !content.contains("4711"), "{}", path.display());
        }
    }
    assert!(!export.join("details.jsonl").exists());
    assert!(fs::read_to_string(home.export(&log, "opened", true).join("details.jsonl")).unwrap().contains("Erika"));
}

#[test]
fn both_verifiers_name_the_same_entry_and_kind_for_every_changed_byte() {
    let (home, log) = Home::with_notes(2);
    // A checkpoint of the past, which is kept an hour after the one before, with the next entry.
    home.clock.advance_s(3601);
    drop(log.append_blocking(note("an hour later"), Change::default()).unwrap());
    log.sign_now_blocking().unwrap();
    drop(log.append_blocking(note("and one more"), Change::default()).unwrap());
    let export = home.export_with_proofs(&log, "export", true, &[1]);
    let files = files_below(&export, "");
    for kind in ["checkpoints/", "details.jsonl", "keys/", "proofs/", "tile/0/", "tile/entries/", "verify.py"] {
        assert!(files.iter().any(|name| name.starts_with(kind)), "no {kind}: {files:?}");
    }
    let program = every_tool();
    for name in &files {
        let path = export.join(name);
        let good = fs::read(&path).unwrap();
        let mut rust = Vec::new();
        // What the verifier says is long, and nothing but its digest is known of it: some of its bytes stand for all.
        for at in (0..good.len()).step_by(if name == "verify.py" { 37 } else { 1 }) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            write(&path, &bad);
            let named = finding(&verify(&export));
            let (seq, kind) = named.unwrap_or_else(|| panic!("{name} byte {at} was not noticed"));
            rust.push(format!("{at} {kind} {seq}"));
        }
        write(&path, &good);
        // Whoever changes the verifier is judged by another one.
        let Some(program) = program.as_ref().filter(|_| name != "verify.py") else { continue };
        let ended = Command::new(program).args(["-c", FLIP]).arg(&export).arg(name).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let python: Vec<_> = String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(python, rust, "{name}");
    }
    assert!(verify(&export).report.ok);
}

#[test]
fn both_verifiers_notice_a_file_that_is_gone_cut_short_or_too_many() {
    let (home, log) = Home::with_notes(3);
    let export = home.export_with_proofs(&log, "export", true, &[2]);
    let program = every_tool();
    let noticed = |what: String| {
        assert!(finding(&verify(&export)).is_some(), "{what}");
        if let Some(program) = &program {
            assert_ne!(python(program, &export, &[]).0, Some(0), "{what}");
        }
    };
    for name in files_below(&export, "") {
        let path = export.join(&name);
        let good = fs::read(&path).unwrap();
        write(&path, &good[..good.len() - 1]);
        if name != "verify.py" {
            noticed(format!("{name} lost its last byte"));
            fs::remove_file(&path).unwrap();
            noticed(format!("{name} is gone"));
        }
        write(&path, good);
    }
    for name in ["entries-000000000000-000000000009.jsonl", "more", "tile/0/001", "proofs/3", "checkpoints/1", "keys/x"]
    {
        let path = export.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, b"");
        noticed(format!("{name} is too many"));
        fs::remove_file(&path).unwrap();
    }
    assert!(verify(&export).report.ok);
}

/// The names of all files of an export.
fn files_below(export: &Path, below: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(export.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            names.extend(files_below(export, &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Flips one bit of each byte of the files named and prints what verify.py, loaded once, says.
const FLIP: &str = r"
import importlib.util, os, sys
sys.dont_write_bytecode = True
folder, names = sys.argv[1], sys.argv[2:]
spec = importlib.util.spec_from_file_location('verify', os.path.join(folder, 'verify.py'))
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
# One openssl for each question asked of it, not one for each byte.
ask, asked = verify.Key.verifies, {}
def verifies(key, body, signature):
    question = key.text, body, signature
    if question not in asked:
        asked[question] = ask(key, body, signature)
    return asked[question]
verify.Key.verifies = verifies
for name in names:
    path = os.path.join(folder, name)
    good = open(path, 'rb').read()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        with open(path, 'wb') as file:
            file.write(bad)
        try:
            verify.verify(folder, None, None, {})
            print(at, 'not noticed')
        except verify.Finding as finding:
            print(at, finding.kind, finding.seq)
    with open(path, 'wb') as file:
        file.write(good)
";

#[test]
fn both_verifiers_say_the_same_of_every_kind_of_harm() {
    let (home, log) = Home::with_notes(6);
    let export = home.export(&log, "export", true);
    let entries = entries_file(&export);
    let text = fs::read_to_string(&entries).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let without = |at: usize| {
        let mut fewer = lines.clone();
        fewer.remove(at);
        join(&fewer)
    };
    let swapped = |one: usize, two: usize| {
        let mut other = lines.clone();
        other.swap(one, two);
        join(&other)
    };
    let edited = |at: usize, from: &str, to: &str| {
        let line = lines[at].replacen(from, to, 1);
        assert_ne!(line, lines[at]);
        let mut other = lines.clone();
        other[at] = &line;
        join(&other)
    };
    let harms: Vec<(&str, String, u64, &str)> = vec![
        ("edited in the middle", edited(3, "note", "Note"), 3, "edited"),
        ("edited first", edited(0, "st-mary", "st-Mary"), 0, "edited"),
        ("edited last", edited(6, "note", "Note"), 6, "edited"),
        ("link edited", edited(3, "_prev\":\"", "_prev\":\"0"), 3, "edited"),
        ("number edited", edited(3, "\"_seq\":3", "\"_seq\":4"), 3, "edited"),
        ("missing first", without(0), 0, "missing"),
        ("missing in the middle", without(4), 4, "missing"),
        ("truncated", without(6), 6, "truncated"),
        ("nothing left", String::new(), 0, "truncated"),
        ("swapped", swapped(2, 3), 2, "reordered"),
        ("swapped far", swapped(1, 5), 1, "reordered"),
        ("twice", format!("{}{}\n", text, lines[6]), 6, "reordered"),
        ("an empty line", text.replacen('\n', "\n\n", 1), 1, "edited"),
        ("carriage returns", text.replace('\n', "\r\n"), 0, "edited"),
        ("a space", edited(2, "\"kind\":", "\"kind\": "), 2, "edited"),
        ("not text", edited(2, "note 1 ü", "note 1 u\u{308}"), 2, "edited"),
        ("a line without end", "x".repeat(40_000), 0, "edited"),
    ];
    let program = every_tool();
    let check = |what: &str, seq: u64, kind: &str| {
        let wanted = Some((seq, kind.to_owned()));
        assert_eq!(finding(&verify(&export)), wanted, "{what}");
        if let Some(program) = &program {
            let (code, report) = python(program, &export, &[]);
            assert_eq!((code, python_finding(&report)), (Some(1), wanted), "{what}");
        }
    };
    for (what, harmed, seq, kind) in &harms {
        write(&entries, harmed);
        check(what, *seq, kind);
    }
    // A missing final newline harms nothing but the list of digests.
    write(&entries, text.trim_end());
    check("no final newline", 7, "bad-file");
    write(&entries, &text);

    let details = fs::read_to_string(export.join("details.jsonl")).unwrap();
    write(&export.join("details.jsonl"), details.replace("Erika 3", "Erika 4"));
    check("another detail", 4, "detail-mismatch");
    write(&export.join("details.jsonl"), details.lines().next().unwrap().repeat(2));
    check("a detail that is no line", 0, "detail-mismatch");
    write(&export.join("details.jsonl"), &details);

    write(&export.join("surplus"), "x");
    check("a surplus file", 7, "bad-file");
    medseal::durable::remove(&export.join("surplus")).unwrap();
    std::os::unix::fs::symlink("README", export.join("link")).unwrap();
    check("a link", 7, "bad-file");
    medseal::durable::remove(&export.join("link")).unwrap();
    medseal::durable::remove(&export.join("checkpoint")).unwrap();
    check("no checkpoint", 7, "bad-signature");
}

#[test]
fn a_file_that_repeats_another_must_say_the_same_even_if_the_digests_were_made_anew() {
    let (home, log) = Home::with_notes(2);
    let export = home.export(&log, "export", false);
    let other = LogKey::new(log.key().name().clone(), NoteSigner::from_seed(&[8; 32]).public());
    let sums = fs::read_to_string(export.join("SHA256SUMS")).unwrap();
    for (name, content) in [
        ("keys/log.pem", other.to_pem()),
        ("policy", format!("log {other}\nquorum none\n")),
        ("checkpoint.body", "another\n".to_owned()),
        ("checkpoint.sig", "x".repeat(64)),
    ] {
        let good = fs::read(export.join(name)).unwrap();
        let digest = |content: &[u8]| medseal::id::Digest::of(content).to_string();
        write(&export.join(name), &content);
        write(&export.join("SHA256SUMS"), sums.replace(&digest(&good), &digest(content.as_bytes())));
        let wanted = Some((3, "bad-file".to_owned()));
        assert_eq!(finding(&verify(&export)), wanted, "{name}");
        if let Some(program) = every_tool() {
            assert_eq!(python_finding(&python(&program, &export, &[]).1), wanted, "{name}");
        }
        write(&export.join(name), &good);
    }
    write(&export.join("SHA256SUMS"), &sums);
    assert!(verify(&export).report.ok);
}

#[test]
fn a_stolen_key_does_not_hide_a_rewritten_log_from_whoever_kept_a_checkpoint() {
    let (home, log) = Home::with_notes(4);
    let kept = log.sign_now_blocking().unwrap();
    let (rewritten, other_log) = Home::with_notes(6);
    let export = rewritten.export(&other_log, "export", false);
    assert!(verify(&export).report.ok, "signed with the same key");
    let trusted = Checkpoint::open(kept.as_bytes(), std::slice::from_ref(log.key())).unwrap();
    let report = verify_export(&export, &[], Some(&trusted), |_| ()).unwrap();
    assert_eq!(report.report.finding.as_ref().map(|finding| (finding.seq, finding.kind)), Some((4, Kind::Forked)));
    let file = home.path().join("kept");
    write(&file, &kept);
    if let Some(program) = every_tool() {
        let (code, python) = python(&program, &export, &["--trusted-checkpoint", file.to_str().unwrap()]);
        assert_eq!((code, python_finding(&python)), (Some(1), Some((4, "forked".into()))));
    }
    // The log's own later export continues it.
    let later = home.export(&log, "later", false);
    assert!(verify_export(&later, &[], Some(&trusted), |_| ()).unwrap().report.ok);
}

#[test]
fn a_given_key_counts_and_not_the_exports_own() {
    let (home, log) = Home::with_notes(2);
    let export = home.export(&log, "export", false);
    let other = LogKey::new(log.key().name().clone(), NoteSigner::from_seed(&[8; 32]).public());
    let report = verify_export(&export, std::slice::from_ref(&other), None, |_| ()).unwrap();
    assert_eq!(finding(&report), Some((3, "bad-signature".into())));
    if let Some(program) = every_tool() {
        let (code, report) = python(&program, &export, &["--key", &other.to_string()]);
        assert_eq!((code, python_finding(&report)), (Some(1), Some((3, "bad-signature".into()))));
        assert_eq!(python(&program, &export, &["--key", "nonsense"]).0, Some(2));
    }
}

#[test]
fn an_export_is_whole_or_not_there() {
    let (home, log) = Home::with_notes(2);
    let note = log.sign_now_blocking().unwrap();
    let out = home.path().join("export");
    let lines: Vec<_> = log.reader().lines(0).map(Result::unwrap).collect();
    let mut short = ExportWriter::create(&out, &note, log.key()).unwrap();
    short.entry(&lines[0]).unwrap();
    assert!(short.finish().is_err());
    let mut wrong = ExportWriter::create(&out, &note, log.key()).unwrap();
    for at in [0, 2, 1] {
        wrong.entry(&lines[at]).unwrap();
    }
    assert!(wrong.entry(&lines[0]).is_err() && wrong.finish().is_err());
    drop(ExportWriter::create(&out, &note, log.key()).unwrap());
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only head and subjects: {left:?}");

    home.export(&log, "export", false);
    assert!(ExportWriter::create(&out, &note, log.key()).is_err());
    let alien = LogKey::new(log.key().name().clone(), NoteSigner::from_seed(&[8; 32]).public());
    assert!(ExportWriter::create(&home.path().join("other"), &note, &alien).is_err());
    assert!(openings(&log).iter().all(|opening| !format!("{opening:?}").contains("Erika")));
}
