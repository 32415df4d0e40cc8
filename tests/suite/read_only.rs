//! Does a gateway whose store was emptied or rolled back refuse to change, sign or exchange anything, and say why?

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use medseal::store::sled::SledStore;

use crate::site::{Pair, Site, add_consent, medseal};

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}

/// Every file of the home outside the store, the socket and the daemon's own words.
fn kept(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("store") {
                folders.push(path);
            } else if path.is_file() && !path.ends_with("daemon.log") {
                files.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

/// Starts the gateway and sees that it only says why it does nothing.
fn changes_nothing(pair: &mut Pair) {
    let before = kept(&pair.hospital.home);
    pair.hospital.start_read_only();
    let letter = pair.folder.path().join("letter.txt");
    medseal::durable::replace(&letter, b"no finding", 0o600).expect("written");
    let letter = letter.to_str().expect("a path");
    let card = pair.hospital.home.join(format!("card-of-{}", pair.institute.id));
    let changes: [&[&str]; 6] = [
        &["send", letter, "--case", &pair.case],
        &["consent", "withdraw", &pair.consent, "--reason", "no more"],
        &["case", "close", &pair.case, "--outcome", "confirmed"],
        &["partner", "add", card.to_str().expect("a path")],
        &["partner", "suspend", pair.institute.id],
        &["audit", "checkpoint"],
    ];
    for change in changes {
        let refused = pair.hospital.run(change);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("STORE_ROLLED_BACK"), "{change:?}: {said}");
        assert!(matches!(refused.status, 2 | 75), "{change:?} ends with {}", refused.status);
        assert!(said.contains("hint"), "{change:?} shows no way out: {said}");
    }
    TcpStream::connect(("127.0.0.1", pair.hospital.port)).expect_err("no partner gets a line");
    assert!(!pair.hospital.has_ended());
    pair.hospital.stop();
    assert_eq!(kept(&pair.hospital.home), before, "nothing was signed or written");
}

#[test]
fn a_store_put_back_to_an_older_copy_makes_the_gateway_read_only() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    let (store, older, newer) =
        (pair.hospital.home.join("store"), pair.folder.path().join("older"), pair.folder.path().join("newer"));
    copy(&store, &older);
    pair.hospital.start();
    add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    pair.hospital.stop();
    medseal::durable::move_new(&store, &newer).expect("moved");
    copy(&older, &store);
    changes_nothing(&mut pair);
    // The way out: the newest copy of the store, put back, serves again.
    fs::remove_dir_all(&store).expect("removed");
    copy(&newer, &store);
    pair.hospital.start();
    assert_eq!(pair.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
}

#[test]
fn a_store_that_was_emptied_makes_the_gateway_read_only() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    let store = pair.hospital.home.join("store");
    fs::remove_dir_all(&store).expect("removed");
    drop(SledStore::create(&store).expect("an empty store"));
    changes_nothing(&mut pair);
}

#[test]
fn a_store_that_is_gone_starts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::init(folder.path(), "st-mary", "IN");
    fs::remove_dir_all(site.home.join("store")).expect("removed");
    let before = kept(&site.home);
    let ended =
        medseal().args(["serve", "--home"]).arg(&site.home).stdin(Stdio::null()).output().expect("medseal runs");
    assert!(matches!(ended.status.code(), Some(2 | 75)), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("hint:"), "{ended:?}");
    assert_eq!(kept(&site.home), before);
    assert!(!site.home.join("store").exists(), "no store is made in place of one that was lost");
}
