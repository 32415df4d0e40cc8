//! Is an export that nobody vouches for told from one that a key of the reader's verifies?

use std::path::Path;
use std::process::Command;

use crate::needs;
use crate::site::{Ran, Site, medseal, ran};

/// What both programs answer, in words; they must not differ.
fn verify(args: &[&str]) -> Ran {
    let by_program = ran(&medseal().args(["audit", "verify"]).args(args).output().expect("it runs"));
    let alone = ran(&Command::new(env!("CARGO_BIN_EXE_medseal-verify")).args(args).output().expect("it runs"));
    assert_eq!(
        (alone.status, &alone.stdout, &alone.stderr),
        (by_program.status, &by_program.stdout, &by_program.stderr),
        "{args:?}"
    );
    alone
}

fn card(site: &Site, folder: &Path) -> String {
    let card = folder.join(format!("{}.card", site.id)).display().to_string();
    site.run(&["card", "--out", &card]).ok();
    card
}

fn first_line(ran: &Ran) -> &str {
    ran.stdout.lines().next().unwrap_or_default()
}

#[test]
fn an_export_without_a_key_is_said_to_agree_with_itself_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = Site::init(folder.path(), "tallinn-east", "EE");
    site.start();
    let export = folder.path().join("export").display().to_string();
    let kept = folder.path().join("kept").display().to_string();
    let note = medseal().arg("--home").arg(&site.home).args(["audit", "checkpoint"]).output().expect("it runs");
    medseal::durable::write_new(Path::new(&kept), &note.stdout, 0o644).expect("written");
    site.run(&["audit", "export", &export]).ok();
    site.stop();

    let said = verify(&[&export]);
    assert_eq!(said.status, 3, "{}", said.stderr);
    assert!(first_line(&said).starts_with("not vouched for: this folder agrees with itself"), "{}", said.stdout);
    assert!(!said.stdout.contains("verified"), "{}", said.stdout);
    let json = verify(&[&export, "--json"]);
    assert_eq!((json.status, &json.json["self_asserted"]), (3, &true.into()), "{}", json.stdout);

    // A checkpoint that the reader kept is something of the reader's.
    let said = verify(&[&export, "--trusted-checkpoint", &kept]);
    assert!(said.status == 0 && first_line(&said).contains("entries verified"), "{}{}", said.stdout, said.stderr);
    if let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) {
        let python = |args: &[&str]| {
            ran(&Command::new(&python).arg("verify.py").args(args).current_dir(&export).output().expect("python runs"))
        };
        let said = python(&[]);
        assert!(said.status == 3 && first_line(&said).starts_with("NOT VOUCHED FOR"), "{}", said.stdout);
        let said = python(&["--key", "log.vkey"]);
        assert!(said.status == 0 && first_line(&said).starts_with("OK: "), "{}", said.stdout);
        assert_eq!(python(&["--trusted-checkpoint", &kept]).status, 0);
    }
}

#[test]
fn a_card_is_a_key_and_a_log_of_somebody_else_is_not_the_one_of_the_card() {
    let folder = tempfile::tempdir().expect("a folder");
    let sites = ["tallinn-east", "nordhafen"].map(|id| Site::init(folder.path(), id, "EE"));
    let [(ours, our_export), (theirs, their_export)] = sites.map(|mut site| {
        site.start();
        let export = folder.path().join(format!("export-{}", site.id)).display().to_string();
        site.run(&["audit", "export", &export]).ok();
        let card = card(&site, folder.path());
        site.stop();
        (card, export)
    });
    let said = verify(&[&our_export, "--key", &ours]);
    assert!(said.status == 0 && first_line(&said).contains("entries verified"), "{}{}", said.stdout, said.stderr);
    assert_eq!(verify(&[&our_export, "--key", &theirs, "--key", &ours]).status, 0);
    for (export, card) in [(&our_export, &theirs), (&their_export, &ours)] {
        let said = verify(&[export, "--key", card, "--json"]);
        assert_eq!((said.status, &said.json["finding"]["kind"]), (1, &"bad-signature".into()), "{}", said.stdout);
    }
    // A card that somebody put another key on is no card.
    let changed = folder.path().join("changed.card");
    let text = std::fs::read_to_string(&ours).expect("a card").replacen("Tallinn", "Tallin_", 1);
    let text = if text.contains("Tallin_") { text } else { text.replacen("\"serial\":1", "\"serial\":2", 1) };
    medseal::durable::write_new(&changed, text.as_bytes(), 0o644).expect("written");
    let said = verify(&[&our_export, "--key", changed.to_str().expect("a path")]);
    assert!(said.status != 0 && said.status != 3, "{}{}", said.stdout, said.stderr);
    assert!(!said.stdout.contains("verified"), "{}", said.stdout);

    let entries = std::fs::read_dir(&our_export).expect("a folder").map(|file| file.expect("a file").path());
    let entries = entries.into_iter().find(|path| path.to_string_lossy().contains("/entries-")).expect("entries");
    let edited = std::fs::read_to_string(&entries).expect("entries").replacen("genesis", "genesys", 1);
    medseal::durable::replace(&entries, edited.as_bytes(), 0o644).expect("written");
    for args in [&[our_export.as_str()][..], &[&our_export, "--key", &ours]] {
        let said = verify(args);
        assert!(said.status == 1 && first_line(&said).starts_with("entry 0: edited"), "{}", said.stdout);
    }
}
