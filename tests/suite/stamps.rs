//! Can an officer have a checkpoint stamped by an authority outside, and does openssl verify what an export carries?

use std::path::{Path, PathBuf};
use std::process::Command;

use medseal::audit::note::Checkpoint;
use medseal::id::Digest;
use medseal::keys::Keys;

use crate::log_tiles::put;
use crate::needs;
use crate::site::Site;
use crate::witness::{Two, grow};

/// A time stamp authority made with stock openssl.
struct Authority {
    openssl: PathBuf,
    dir: PathBuf,
}

impl Authority {
    fn make(openssl: PathBuf, dir: PathBuf) -> Self {
        std::fs::create_dir(&dir).expect("a folder");
        let config = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=Authority for tests\n\
            [ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n\
            [leaf]\nbasicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n\
            extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
            [tsa]\ndefault_tsa=one\n[one]\nserial=serial\ncrypto_device=builtin\nsigner_cert=tsa.pem\ncerts=ca.pem\n\
            signer_key=tsa.key\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256\n\
            accuracy=secs:1\nordering=yes\ntsa_name=yes\ness_cert_id_chain=no\ness_cert_id_alg=sha256\n";
        write(&dir.join("tsa.cnf"), config.as_bytes());
        write(&dir.join("serial"), b"01\n");
        let authority = Self { openssl, dir };
        let curve = "ec_paramgen_curve:P-256";
        authority.run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            curve,
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-config",
            "tsa.cnf",
            "-extensions",
            "ca",
        ]);
        authority.run(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            curve,
            "-nodes",
            "-keyout",
            "tsa.key",
            "-out",
            "tsa.csr",
            "-config",
            "tsa.cnf",
            "-subj",
            "/CN=Stamps for tests",
        ]);
        authority.run(&[
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "tsa.cnf",
            "-extensions",
            "leaf",
            "-out",
            "tsa.pem",
        ]);
        authority
    }

    fn run(&self, args: &[&str]) {
        let ended = Command::new(&self.openssl).args(args).current_dir(&self.dir).output().expect("openssl runs");
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Answers a request.
    fn answer(&self, request: &Path, answer: &Path) {
        let (request, answer) = (arg(request), arg(answer));
        self.run(&["ts", "-reply", "-config", "tsa.cnf", "-queryfile", request, "-out", answer]);
    }

    fn verifies(&self, data: &Path, answer: &Path) -> bool {
        let args = ["ts", "-verify", "-data", arg(data), "-in", arg(answer), "-CAfile", "ca.pem"];
        Command::new(&self.openssl).args(args).current_dir(&self.dir).output().expect("openssl runs").status.success()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    medseal::durable::replace(path, bytes, 0o644).expect("written");
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn asked(site: &Site, path: &Path) -> u64 {
    site.run(&["audit", "stamp", "--request", arg(path)]).ok().json["entries"].as_u64().expect("a size")
}

#[test]
fn a_checkpoint_is_stamped_and_openssl_verifies_what_the_export_carries() {
    let Some(openssl) = needs::tool("openssl") else { return };
    let two = Two::at_rest();
    let (site, folder) = (&two.hospital, two.folder.path());
    let authority = Authority::make(openssl, folder.join("authority"));
    let (request, answer) = (folder.join("now.tsq"), folder.join("now.tsr"));
    let size = asked(site, &request);
    authority.answer(&request, &answer);
    let kept = site.run(&["audit", "stamp", "--response", arg(&answer)]).ok();
    assert_eq!(kept.json["entries"], size);
    assert!(kept.json["at"].as_str().is_some_and(|at| at.starts_with("20")), "{}", kept.stdout);
    assert_eq!(site.run(&["audit", "stamp"]).ok().json["items"].as_array().map(Vec::len), Some(1));
    assert_ne!(site.run(&["audit", "stamp", "--response", arg(&answer)]).status, 0, "once is enough");

    // Somebody changes what is kept.
    let (kept, truth) = (site.home.join(format!("head/stamps/{size}.tsr")), std::fs::read(&answer).expect("an answer"));
    let (request, other) = (folder.join("other.tsq"), folder.join("other.tsr"));
    asked(&two.institute, &request);
    authority.answer(&request, &other);
    write(&kept, &std::fs::read(&other).expect("an answer"));
    let found = site.run(&["audit", "verify"]);
    assert_eq!((found.status, &found.json["finding"]["kind"]), (1, &"bad-file".into()), "{}", found.stdout);
    write(&kept, &truth);
    site.run(&["audit", "verify"]).ok();

    grow(site, &two.institute, 1);
    let export = folder.join("export");
    site.run(&["audit", "export", arg(&export)]).ok();
    let (note, stamp) = (export.join(format!("stamps/{size}.note")), export.join(format!("stamps/{size}.tsr")));
    assert!(authority.verifies(&note, &stamp));
    let stamped = Checkpoint::claimed(&std::fs::read(&note).expect("a note")).expect("a note");
    assert_eq!(stamped.size, size);
    site.run(&["audit", "compare", arg(&note), arg(&export.join("checkpoint"))]).ok();
    let key = export.join("log.vkey");
    site.run(&["audit", "verify", arg(&export), "--key", arg(&key)]).ok();
    if let Some(python) = needs::tool("python3") {
        let ended = Command::new(python)
            .args(["verify.py", "--key", "log.vkey"])
            .current_dir(&export)
            .output()
            .expect("python runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    }
    let verified = site.run(&["audit", "verify", arg(&export), "--key", arg(&key)]).ok();
    assert_eq!(verified.json["stamps"][0]["entries"], size, "{}", verified.stdout);
    assert!(verified.json["stamps"][0]["at"].as_str().is_some_and(|at| at.starts_with("20")), "{}", verified.stdout);
    wrong_stamps_are_named(&two, &authority, &export, size);
    // Another note than the one that was stamped.
    assert!(!authority.verifies(&export.join("checkpoint"), &stamp));
    let mut changed = std::fs::read(&note).expect("a note");
    changed[0] ^= 1;
    write(&note, &changed);
    assert!(!authority.verifies(&note, &stamp));
    assert_eq!(site.run(&["audit", "verify", arg(&export)]).status, 1, "a changed stamp is a finding");
}

/// Both verifiers name a stamp that is not over the note beside it, even if the digests were made anew.
fn wrong_stamps_are_named(two: &Two, authority: &Authority, export: &Path, size: u64) {
    let (note, stamp) = (format!("stamps/{size}.note"), format!("stamps/{size}.tsr"));
    let read = |name: &str| std::fs::read(export.join(name)).expect("a file");
    let (good_note, good_stamp) = (read(&note), read(&stamp));
    let verify = |what: &str, part: Option<&str>| {
        let found = two.hospital.run(&["audit", "verify", arg(export), "--key", arg(&export.join("log.vkey"))]);
        let said = found.json["finding"]["message"].as_str();
        assert_eq!(found.status, i32::from(part.is_some()), "{what}: {}{}", found.stdout, found.stderr);
        assert!(part.is_none_or(|part| said.is_some_and(|said| said.contains(part))), "{what}: {said:?}");
        if let Some(python) = needs::tool("python3") {
            let ended =
                Command::new(python).args(["verify.py", "--json", "--key", "log.vkey"]).current_dir(export).output();
            let report: serde_json::Value =
                serde_json::from_slice(&ended.expect("python runs").stdout).expect("a report");
            assert_eq!(report["finding"]["message"].as_str(), said, "{what}");
            assert_eq!(report["stamps"], found.json["stamps"], "{what}");
        }
    };
    verify("as it was made", None);
    // An answer of the same authority about another note, and what is no answer.
    let (request, answer) = (two.folder.path().join("theirs.tsq"), two.folder.path().join("theirs.tsr"));
    asked(&two.institute, &request);
    authority.answer(&request, &answer);
    let theirs = std::fs::read(&answer).expect("an answer");
    let not_over = format!("{stamp} is not a time stamp over {note}");
    for bytes in [&theirs[..], &good_stamp[..good_stamp.len() - 1], b""] {
        put(export, &stamp, bytes);
        verify("another answer", Some(&not_over));
    }
    put(export, &stamp, &good_stamp);
    // The same note with another signature under it: its log is the same, but it is not what was stamped.
    let witnessed = String::from_utf8(read("checkpoint")).expect("a note");
    let line = witnessed.lines().last().expect("a signature");
    put(export, &note, &[&good_note[..], line.as_bytes(), b"\n"].concat());
    verify("another note", Some(&not_over));
    // What a thief of the key could have had stamped, and the log does not hold.
    let keys = Keys::open(&two.hospital.home.join("keys")).expect("keys");
    let truth = Checkpoint::claimed(&good_note).expect("a note");
    let forked = Checkpoint { root: Digest::of(b"another history"), ..truth }.sign(keys.log_signer());
    let (note_path, request) = (two.folder.path().join("forked"), two.folder.path().join("forked.tsq"));
    write(&note_path, forked.as_bytes());
    authority.run(&["ts", "-query", "-data", arg(&note_path), "-sha256", "-no_nonce", "-cert", "-out", arg(&request)]);
    authority.answer(&request, &answer);
    put(export, &note, forked.as_bytes());
    put(export, &stamp, &std::fs::read(&answer).expect("an answer"));
    verify("another history", Some(&format!("not those of {note}")));
    put(export, &note, &good_note);
    put(export, &stamp, &good_stamp);
    put(export, "stamps/more", b"x");
    verify("a surplus file", Some("stamps/more"));
    medseal::durable::remove(&export.join("stamps/more")).expect("removed");
    put(export, &note, &good_note);
    verify("as it was made, again", None);
}

#[test]
fn a_log_that_contradicts_what_others_signed_or_stamped_is_a_finding() {
    let mut two = Two::at_rest();
    let site = &mut two.hospital;
    let size = asked(site, &two.folder.path().join("now.tsq"));
    let keys = Keys::open(&site.home.join("keys")).expect("keys");
    let (stamped, signed) = (site.home.join(format!("head/stamps/{size}.note")), site.home.join("head/countersigned"));
    two.institute.stop();
    for (path, restart) in [(stamped, false), (signed, true)] {
        let before = std::fs::read(&path).expect("a note");
        let truth = Checkpoint::claimed(&before).expect("a note");
        site.run(&["audit", "verify"]).ok();
        // What a thief of the key could have signed then, and the log does not hold now.
        let other = Checkpoint { root: Digest::of(b"another history"), ..truth };
        write(&path, other.sign(keys.log_signer()).as_bytes());
        if restart {
            site.stop();
            site.start();
        }
        let found = site.run(&["audit", "verify"]);
        assert_eq!((found.status, &found.json["finding"]["kind"]), (1, &"forked".into()), "{}", found.stdout);
        write(&path, &before);
    }
}

#[test]
fn an_answer_about_something_else_is_not_kept() {
    let Some(openssl) = needs::tool("openssl") else { return };
    let two = Two::at_rest();
    let (site, folder) = (&two.hospital, two.folder.path());
    let authority = Authority::make(openssl, folder.join("authority"));
    let (ours, theirs, answer) = (folder.join("ours.tsq"), folder.join("theirs.tsq"), folder.join("answer.tsr"));
    asked(site, &ours);
    asked(&two.institute, &theirs);
    authority.answer(&theirs, &answer);
    let refused = site.run(&["audit", "stamp", "--response", arg(&answer)]);
    assert!(
        refused.status == 1 && refused.stdout.contains("nothing that was asked"),
        "{}{}",
        refused.stdout,
        refused.stderr
    );
    // The authority says no, or says nothing that is an answer.
    write(&folder.join("no.tsr"), b"\x30\x05\x30\x03\x02\x01\x02");
    assert_eq!(site.run(&["audit", "stamp", "--response", arg(&folder.join("no.tsr"))]).status, 1);
    authority.answer(&ours, &answer);
    let whole = std::fs::read(&answer).expect("an answer");
    for (name, bytes) in [("cut", &whole[..whole.len() - 1]), ("text", b"an answer".as_slice())] {
        write(&folder.join(name), bytes);
        assert_eq!(site.run(&["audit", "stamp", "--response", arg(&folder.join(name))]).status, 2, "{name}");
    }
    assert!(site.run(&["audit", "stamp"]).ok().json["items"].as_array().is_some_and(Vec::is_empty));
    site.run(&["audit", "stamp", "--response", arg(&answer)]).ok();
}
