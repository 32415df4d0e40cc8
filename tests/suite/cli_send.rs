//! Does `medseal send` refuse by name what cannot travel, and tell a refusal from a failure? Against a real gateway.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::site::Pair;

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::File::create(path).and_then(|mut file| file.write_all(bytes)).expect("written");
}

#[test]
fn what_cannot_travel_is_named_and_nothing_is_queued() {
    let pair = Pair::ready();
    let folder = pair.folder.path().join("export");
    let sent = folder.to_str().expect("a path").to_owned();
    let refused = |code: &str, named: &str| {
        let ran = pair.hospital.run(&["send", &sent, "--case", &pair.case]);
        assert_eq!((ran.status, ran.json["error"]["code"].as_str()), (2, Some(code)), "{}", ran.stderr);
        assert!(ran.stderr.contains(named), "{named} is not named: {}", ran.stderr);
        fs::remove_dir_all(&folder).expect("removed");
    };
    fs::create_dir(&folder).expect("a folder");
    refused("NOTHING_TO_SEND", "export");
    write(&folder.join("scan"), b"x");
    symlink("/etc/hostname", folder.join("elsewhere")).expect("a link");
    refused("NOT_A_FILE", "elsewhere");
    write(&folder.join("con.pdf"), b"x");
    refused("BAD_NAME", "con.pdf");
    write(&folder.join("Letter.pdf"), b"x");
    write(&folder.join("letter.PDF"), b"x");
    refused("BAD_NAME", "letter.PDF");
    write(&folder.join("scan"), b"x");
    fs::create_dir(folder.join("series")).expect("a folder");
    refused("EMPTY_FOLDER", "series");
    assert_eq!(pair.hospital.run(&["status"]).ok().json["items"].as_array().map(Vec::len), Some(0));
}

#[test]
fn what_goes_out_comes_back_the_same_with_its_hidden_files_and_long_names() {
    let pair = Pair::ready();
    let folder = pair.folder.path().join("export");
    let long = format!("{}/{}", "Ordner mit Umlaut ä".repeat(4), "name ".repeat(30).trim());
    for (name, bytes) in [(".hidden", 0), (long.as_str(), 70_000), ("a/b/c/d.bin", 3_000_000), ("a/b.bin", 65_536)] {
        let content: Vec<u8> = (0..bytes).map(|at: u32| u8::try_from(at % 251).expect("small")).collect();
        write(&folder.join(name), &content);
    }
    let sent = folder.to_str().expect("a path").to_owned();
    let delivered = pair.hospital.run(&["send", &sent, "--case", &pair.case, "--wait", "--urgent"]).ok();
    assert_eq!(delivered.text("state"), "delivered");
    let bundle = delivered.text("bundle");
    let out = pair.folder.path().join("opened");
    pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).ok();
    assert_eq!(tree(&folder), tree(&out));

    // The same from the saved file, where only the reader's key is, without a gateway.
    let saved = pair.folder.path().join("saved");
    fs::create_dir(&saved).expect("a folder");
    pair.institute.run(&["inbox", &bundle, "--save", saved.to_str().expect("a path")]).ok();
    let again = pair.folder.path().join("again");
    let at = |path: &Path| path.to_str().expect("a path").to_owned();
    let (file, card) = (at(&saved.join(format!("{bundle}.age"))), at(&saved.join("tallinn-east.card")));
    let key = at(&pair.institute.home.join("keys/age.key"));
    let args = ["open", &file, "--identity", &key, "--card", &card, "--out", &at(&again)];
    assert_eq!(pair.hospital.run(&args).ok().json["sender_verified"], true);
    assert_eq!(tree(&folder), tree(&again));
}

#[test]
fn a_refusal_names_the_bundle_and_its_end() {
    let pair = Pair::ready();
    let refused = pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "the patient called"]).ok();
    assert_eq!(refused.text("consent"), pair.consent);
    let refused = pair.send(&["--wait"]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert_eq!((refused.text("state"), refused.text("reason")), ("refused".to_owned(), "CONSENT_WITHDRAWN".to_owned()));
    let bundle = refused.text("bundle");
    assert_eq!(pair.hospital.run(&["status", &bundle]).ok().text("state"), "refused");
}

#[test]
fn waiting_ends_with_try_again_when_the_time_is_over() {
    let mut pair = Pair::ready();
    pair.institute.stop();
    let late = pair.send(&["--wait", "--timeout", "1"]);
    assert_eq!(late.status, 75, "{}{}", late.stdout, late.stderr);
    assert_eq!(late.text("state"), "waiting");
    let bundle = late.text("bundle");
    assert!(pair.hospital.run(&["queue"]).ok().stdout.contains(&bundle));
}

#[test]
fn a_list_that_names_a_file_that_is_not_there_stops_the_sending() {
    let pair = Pair::ready();
    let list = pair.folder.path().join("list.csv");
    write(&list, b"path,class\nnot-there.pdf,18842-5\n");
    let documents = pair.documents();
    let args = ["send", &documents, "--case", &pair.case, "--documents", list.to_str().expect("a path")];
    let ran = pair.hospital.run(&args);
    assert_eq!((ran.status, ran.json["error"]["code"].as_str()), (2, Some("DOCUMENTS_LIST")), "{}", ran.stderr);
    assert!(ran.stderr.contains("not-there.pdf"));
}

#[test]
fn a_full_queue_takes_no_more_and_says_try_again() {
    let mut pair = Pair::ready();
    pair.institute.stop();
    pair.hospital.stop();
    let path = pair.hospital.home.join("medseal.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    assert!(config.contains("queue_max = 10000"), "{config}");
    let short = config.replace("queue_max = 10000", "queue_max = 2");
    medseal::durable::replace(&path, short.as_bytes(), 0o644).expect("written");
    pair.hospital.start();
    for _ in 0..2 {
        pair.send(&[]).ok();
    }
    let refused = pair.send(&[]);
    assert_eq!((refused.status, refused.json["error"]["code"].as_str()), (75, Some("LIMIT_EXCEEDED")), "{refused:?}");
    assert_eq!(pair.hospital.run(&["queue"]).ok().json["items"].as_array().map(Vec::len), Some(2));
}

/// Every file below a folder with its content, and every folder.
fn tree(folder: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
            if path.is_dir() {
                found.push((name, None));
                folders.push(path);
            } else {
                found.push((name, Some(fs::read(&path).expect("readable"))));
            }
        }
    }
    found.sort();
    found
}
