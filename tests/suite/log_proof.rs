//! Can somebody outside check one entry of a log, with nothing of the gateway but its key?

use std::fs;

use serde_json::Value;

use crate::site::{Ran, Site, medseal, ran};

/// A verification far from any gateway.
fn outside(args: &[&str]) -> Ran {
    let output = medseal().args(["--json", "audit", "verify"]).args(args).output().expect("medseal runs");
    ran(&output)
}

#[test]
fn an_entry_is_proved_to_somebody_who_has_only_the_logs_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
    hospital.start();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (proof, entry, page) = (path("p.tlog-proof"), path("p.entry"), path("p.html"));
    let proved = hospital.run(&["audit", "prove", "0", "--out", &proof]).ok();
    assert_eq!(proved.json["proved"]["seq"], 0);
    assert!(fs::read_to_string(&proof).expect("a proof").starts_with("c2sp.org/tlog-proof@v1\nindex 0\n"));
    let text = fs::read_to_string(&page).expect("a page");
    assert!(text.contains("Statement") && text.contains("genesis") && !text.contains("<script"), "{text}");

    let export = path("export");
    hospital.run(&["audit", "export", &export]).ok();
    let key = format!("{export}/log.vkey");
    hospital.stop();
    let checked = outside(&[&proof, "--key", &key]).ok();
    assert_eq!((checked.json["ok"].as_bool(), checked.json["seq"].as_u64()), (Some(true), Some(0)), "{checked:?}");
    outside(&[&proof, "--key", &key, "--entry", &entry]).ok();

    let line = fs::read(&entry).expect("an entry");
    let first: Value = serde_json::from_slice(&line).expect("a JSON line");
    assert_eq!(first["kind"], "genesis");
    let changed = path("changed");
    for at in [5, line.len() / 2, line.len() - 2] {
        let mut other = line.clone();
        other[at] ^= 1;
        write(&changed, &other);
        outside(&[&proof, "--key", &key, "--entry", &changed]).refused("BAD_SIGNATURE");
    }
    let nobody = outside(&[&proof]);
    assert_eq!((nobody.status, nobody.json["error"]["code"].as_str()), (2, Some("BAD_INPUT")), "{nobody:?}");
}

#[test]
fn what_cannot_be_proved_or_written_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
    hospital.start();
    let out = folder.path().join("p.tlog-proof").display().to_string();
    let beyond = hospital.run(&["audit", "prove", "4000000000", "--out", &out]);
    assert_ne!(beyond.status, 0);
    assert!(!folder.path().join("p.tlog-proof").exists());
    let other_name =
        hospital.run(&["audit", "prove", "0", "--out", &folder.path().join("p.txt").display().to_string()]);
    assert_eq!(other_name.status, 2, "{other_name:?}");
    assert!(other_name.stderr.contains(".tlog-proof") || other_name.json.to_string().contains(".tlog-proof"));
    hospital.run(&["audit", "prove", "0", "--out", &out]).ok();
    let before = fs::read(&out).expect("a proof");
    assert_ne!(hospital.run(&["audit", "prove", "0", "--out", &out]).status, 0, "a file was written over");
    assert_eq!(fs::read(&out).expect("a proof"), before);
}

fn write(path: &str, content: &[u8]) {
    let written = fs::File::create(path).and_then(|mut file| std::io::Write::write_all(&mut file, content));
    written.expect("written");
}
