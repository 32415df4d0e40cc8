//! Can two officers who kept notes of one log tell whether it kept one history?

use std::path::{Path, PathBuf};

use medseal::audit::note::Checkpoint;
use medseal::id::Digest;
use medseal::keys::Keys;

use crate::witness::{Two, grow, log_key, until_signed};

fn write(path: &Path, text: &str) -> PathBuf {
    medseal::durable::write_new(path, text.as_bytes(), 0o644).expect("written");
    path.to_owned()
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn two_kept_notes_are_the_same_or_one_continues_the_other_or_they_prove_a_fork() {
    let two = Two::at_rest();
    let (home, folder) = (&two.hospital, two.folder.path());
    let first = write(&folder.join("first"), &until_signed(home));
    grow(home, &two.institute, 2);
    let second = write(&folder.join("second"), &until_signed(home));
    let key = log_key(home).to_string();
    let compare = |more: &[&str]| {
        let mut args = vec!["audit", "compare", arg(&second), arg(&first)];
        args.extend(more);
        home.run(&args)
    };
    // The gateway whose log it is proves it from its own entries, and knows the key.
    assert_eq!(compare(&[]).ok().json["verdict"], "consistent");
    let same = home.run(&["audit", "compare", arg(&first), arg(&first)]).ok();
    assert_eq!(same.json["verdict"], "same");

    // Somebody else needs the key, and an export or a proof.
    let export = folder.join("export");
    home.run(&["audit", "export", arg(&export)]).ok();
    assert_eq!(compare(&["--key", &key, "--export", arg(&export)]).ok().json["verdict"], "consistent");
    let since = Checkpoint::claimed(&std::fs::read(&first).expect("a note")).expect("a note").size.to_string();
    let (growth, later) = (folder.join("growth"), folder.join("later"));
    let printed = home.run(&["audit", "checkpoint", "--since", &since, "--proof", arg(&growth)]).ok();
    write(&later, &printed.text("checkpoint"));
    let with_proof = ["audit", "compare", arg(&first), arg(&later), "--key", &key, "--proof", arg(&growth)];
    assert_eq!(two.institute.run(&with_proof).ok().json["verdict"], "consistent");
    let unknown = two.institute.run(&["audit", "compare", arg(&first), arg(&second)]);
    assert_eq!((unknown.status, &unknown.json["verdict"]), (2, &"needs-proof".into()), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("--since"), "{}", unknown.stderr);

    // Another history, signed with the log's own key.
    let keys = Keys::open(&home.home.join("keys")).expect("keys");
    let forge = |name: &str, note: &Path| {
        let truth = Checkpoint::claimed(&std::fs::read(note).expect("a note")).expect("a note");
        let forged = Checkpoint { root: Digest::of(b"another history"), ..truth };
        write(&folder.join(name), &forged.sign(keys.log_signer()))
    };
    let (other_first, other_second) = (forge("other-first", &first), forge("other-second", &second));
    let forked = home.run(&["audit", "compare", arg(&first), arg(&other_first)]);
    assert_eq!((forked.status, &forked.json["verdict"]), (1, &"forked".into()));
    for (one, other) in [(&first, &other_second), (&other_first, &second)] {
        let export = ["audit", "compare", arg(one), arg(other), "--key", &key, "--export", arg(&export)];
        for args in [&["audit", "compare", arg(one), arg(other)][..], &export] {
            let forked = home.run(args);
            assert_eq!((forked.status, &forked.json["verdict"]), (1, &"forked".into()), "{args:?} {}", forked.stdout);
        }
    }
    // A note that somebody else signed shows nothing of the log.
    let text = std::fs::read_to_string(&first).expect("a note").replacen("\n\n\u{2014} ", "\n\n\u{2014} x", 1);
    let unsigned = write(&folder.join("unsigned"), &text);
    home.run(&["audit", "compare", arg(&unsigned), arg(&second)]).refused("BAD_SIGNATURE");
}
