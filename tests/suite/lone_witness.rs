//! Does a witness on an officer's own computer sign one history, and does the gateway take its signature?

use std::path::{Path, PathBuf};

use medseal::audit::note::Checkpoint;
use medseal::id::Digest;
use medseal::keys::Keys;

use crate::site::{Ran, Site};
use crate::witness::log_key;

/// A gateway without partners, and the computer of its officer.
struct Alone {
    site: Site,
    folder: tempfile::TempDir,
}

impl Alone {
    fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = Site::init(folder.path(), "tallinn-east", "EE");
        site.start();
        Self { site, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        medseal::durable::replace(&path, text.as_bytes(), 0o644).expect("written");
        path
    }

    /// Makes the officer's key, and a policy that wants it.
    fn appoint(&self) {
        let made =
            self.site.run(&["audit", "witness", "--key", arg(&self.file("key")), "--init", "tallinn-east/officer"]);
        let vkey = made.ok().text("witness");
        let policy = format!("witness officer {vkey}\nquorum officer\n");
        medseal::durable::replace(&self.site.home.join("witness-policy"), policy.as_bytes(), 0o644).expect("written");
    }

    fn sign(&self, note: &Path, more: &[&str]) -> Ran {
        let (key, state, log) = (self.file("key"), self.file("state"), log_key(&self.site).to_string());
        let mut args = vec!["audit", "witness", "--key", arg(&key), "--state", arg(&state), "--log", &log, arg(note)];
        args.extend(more);
        self.site.run(&args)
    }

    /// The log grows by its restart.
    fn grow(&mut self) {
        self.site.stop();
        self.site.start();
    }

    fn checkpoint(&self, name: &str) -> PathBuf {
        let note = self.site.run(&["audit", "checkpoint"]).ok().text("checkpoint");
        self.write(name, &note)
    }

    fn seen(&self) -> u64 {
        Checkpoint::claimed(&std::fs::read(self.file("state")).expect("a state")).expect("a note").size
    }

    fn kind(&self) -> String {
        self.site.run(&["audit", "verify"]).json["finding"]["kind"].as_str().unwrap_or("none").to_owned()
    }
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn an_officers_witness_signs_and_the_gateway_carries_its_signature() {
    let mut alone = Alone::begin();
    alone.appoint();
    assert_eq!(alone.kind(), "not-countersigned");
    let first = alone.checkpoint("first");
    let signed = alone.sign(&first, &["--first"]).ok().text("checkpoint");
    let signed = alone.write("signed", &signed);
    let taken = alone.site.run(&["audit", "checkpoint", "--add", arg(&signed)]).ok();
    assert_eq!(taken.json["countersigned"][0]["by"], "officer", "{}", taken.stdout);
    assert_eq!(alone.kind(), "none");

    // The next one needs the proof that it continues the first.
    alone.grow();
    let since = alone.seen().to_string();
    let growth = alone.file("growth");
    let note = alone.site.run(&["audit", "checkpoint", "--since", &since, "--proof", arg(&growth)]).ok();
    let second = alone.write("second", &note.text("checkpoint"));
    let unproved = alone.sign(&second, &[]);
    let said = format!("{}{}", unproved.stdout, unproved.stderr);
    assert!(unproved.status == 2 && said.contains("--since"), "{said}");
    let signed = alone.sign(&second, &["--proof", arg(&growth)]).ok().text("checkpoint");
    let signed = alone.write("signed", &signed);
    alone.site.run(&["audit", "checkpoint", "--add", arg(&signed)]).ok();
    let covered = Checkpoint::claimed(&std::fs::read(&signed).expect("a note")).expect("a note").size;
    let verified = alone.site.run(&["audit", "verify"]).ok();
    assert_eq!(verified.json["quorum"]["entries"], covered);

    // An export that ends there carries the signature, and counts for whoever has the policy.
    let export = alone.file("export");
    alone.site.run(&["audit", "export", arg(&export), "--countersigned"]).ok();
    let policy = std::fs::read_to_string(alone.site.home.join("witness-policy")).expect("a policy");
    let policy = alone.write("policy", &format!("log {}\n{policy}", log_key(&alone.site)));
    let verified = alone.site.run(&["audit", "verify", arg(&export), "--policy", arg(&policy)]).ok();
    assert_eq!(verified.json["countersigned"][0]["by"], "officer");
    assert_eq!(verified.json["entries"], covered);
}

#[test]
fn an_officers_witness_signs_no_second_history_and_nothing_without_its_memory() {
    let alone = Alone::begin();
    alone.appoint();
    let first = alone.checkpoint("first");
    assert_eq!(alone.sign(&first, &[]).status, 1, "its memory is missing, and nobody said that it is the first time");
    alone.sign(&first, &["--first"]).ok();
    alone.sign(&first, &[]).ok();
    assert_eq!(alone.sign(&first, &["--first"]).status, 1);

    let before = std::fs::read(alone.file("state")).expect("a state");
    let truth = Checkpoint::claimed(&before).expect("a note");
    let keys = Keys::open(&alone.site.home.join("keys")).expect("keys");
    for (name, size, root) in [("same", truth.size, b"a"), ("longer", truth.size + 5, b"b")] {
        let forged = Checkpoint { size, root: Digest::of(root), ..truth.clone() };
        let forged = alone.write(name, &forged.sign(keys.log_signer()));
        let proof = alone.write("proof", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
        let with_proof = ["--proof", arg(&proof)];
        let refused = alone.sign(&forged, if name == "longer" { &with_proof } else { &[] });
        refused.refused("BAD_SIGNATURE");
    }
    let kept = std::fs::read_dir(alone.folder.path()).expect("a folder").flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("state.refused-")).count();
    assert_eq!(kept, 2, "both notes are kept each time");
    assert_eq!(std::fs::read(alone.file("state")).expect("a state"), before);
    let shorter = Checkpoint { size: 1, ..truth.clone() };
    let shorter = alone.write("shorter", &shorter.sign(keys.log_signer()));
    assert_eq!(alone.sign(&shorter, &[]).status, 1);
    // A state that somebody wrote is no memory.
    let note = std::fs::read_to_string(&first).expect("a note").replacen("\n\n\u{2014} ", "\n\n\u{2014} x", 1);
    alone.write("state", &note);
    assert_eq!(alone.sign(&first, &[]).status, 1);
}

#[test]
fn the_gateway_takes_only_its_own_note_that_a_named_witness_signed() {
    let alone = Alone::begin();
    let first = alone.checkpoint("first");
    let add = |path: &Path| alone.site.run(&["audit", "checkpoint", "--add", arg(path)]);
    add(&first).refused("BAD_SIGNATURE");
    let made = alone.site.run(&["audit", "witness", "--key", arg(&alone.file("key")), "--init", "somebody"]).ok();
    assert_eq!(alone.site.run(&["audit", "witness", "--key", arg(&alone.file("key")), "--init", "somebody"]).status, 2);
    let signed = alone.sign(&first, &["--first"]).ok().text("checkpoint");
    let signed = alone.write("signed", &signed);
    // No policy names that witness.
    add(&signed).refused("BAD_SIGNATURE");
    let policy = format!("witness somebody {}\nquorum somebody\n", made.text("witness"));
    medseal::durable::replace(&alone.site.home.join("witness-policy"), policy.as_bytes(), 0o644).expect("written");
    // Signed by our own key and by the witness, and yet not our log.
    let keys = Keys::open(&alone.site.home.join("keys")).expect("keys");
    let truth = Checkpoint::claimed(&std::fs::read(&first).expect("a note")).expect("a note");
    for (name, size) in [("other", truth.size), ("longer", truth.size + 100)] {
        let forged = Checkpoint { size, root: Digest::of(b"other"), ..truth.clone() };
        let forged = alone.write(name, &forged.sign(keys.log_signer()));
        std::fs::remove_file(alone.file("state")).expect("removed");
        let forged = alone.sign(&forged, &["--first"]).ok().text("checkpoint");
        add(&alone.write(name, &forged)).refused("BAD_SIGNATURE");
    }
    add(&signed).ok();
    assert_eq!(alone.kind(), "none");
}

#[test]
fn what_two_people_signed_on_their_own_counts_together_and_one_newer_signature_takes_nothing_away() {
    let mut alone = Alone::begin();
    let [first, second] = ["first", "second"].map(|name| {
        let made = alone.site.run(&["audit", "witness", "--key", arg(&alone.file(name)), "--init", name]).ok();
        made.text("witness")
    });
    let policy = format!("witness first {first}\nwitness second {second}\ngroup both all first second\nquorum both\n");
    medseal::durable::replace(&alone.site.home.join("witness-policy"), policy.as_bytes(), 0o644).expect("written");
    let sign = |alone: &Alone, name: &str, note: &Path, more: &[&str]| {
        let (key, state, log) =
            (alone.file(name), alone.file(&format!("{name}.seen")), log_key(&alone.site).to_string());
        let args = ["audit", "witness", "--key", arg(&key), "--state", arg(&state), "--log", &log, arg(note)];
        let signed = alone.site.run(&[&args[..], more].concat()).ok().text("checkpoint");
        let signed = alone.write(&format!("{name}.signed"), &signed);
        alone.site.run(&["audit", "checkpoint", "--add", arg(&signed)]).ok();
    };
    let note = alone.checkpoint("note");
    sign(&alone, "first", &note, &["--first"]);
    assert_eq!(alone.kind(), "not-countersigned", "one of two is not enough");
    sign(&alone, "second", &note, &["--first"]);
    assert_eq!(alone.kind(), "none", "each brought the note with its own signature alone");

    let since = Checkpoint::claimed(&std::fs::read(&note).expect("a note")).expect("a note").size.to_string();
    alone.grow();
    let growth = alone.file("growth");
    let newer = alone.site.run(&["audit", "checkpoint", "--since", &since, "--proof", arg(&growth)]).ok();
    let newer = alone.write("newer", &newer.text("checkpoint"));
    sign(&alone, "first", &newer, &["--proof", arg(&growth)]);
    assert_eq!(alone.kind(), "none", "the older note that both signed still stands");
}
