//! What becomes of the mistakes of somebody in a hurry: the wrong folder, the same thing twice, two at once?

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use medseal::durable;

use crate::site::{Pair, add_consent, medseal};

#[test]
fn nothing_of_a_gateways_home_is_ever_sent() {
    let pair = Pair::silent();
    let home = pair.hospital.home.clone();
    let other = pair.institute.home.join("keys");
    let single = home.join("keys/age.key");
    let around = home.parent().expect("the folder of both homes").to_owned();
    for path in [home.join("keys"), home, other, single, around] {
        let refused = pair.hospital.run(&["send", path.to_str().expect("a path"), "--case", &pair.case]);
        assert_eq!(refused.status, 2, "{}: {}{}", path.display(), refused.stdout, refused.stderr);
        assert!(format!("{}{}", refused.stdout, refused.stderr).contains("OWN_HOME"), "{}", refused.stderr);
    }
    let opinion = pair.institute.home.join("keys");
    let args = ["opinion", &pair.case, opinion.to_str().expect("a path"), "--outcome", "confirmed"];
    assert!(pair.institute.run(&args).stderr.contains("OWN_HOME"));
    assert!(pair.hospital.run(&["status"]).ok().json["items"].as_array().expect("a list").is_empty());
}

#[test]
fn the_same_consent_is_on_file_once_however_it_is_written() {
    let pair = Pair::ready();
    let path = pair.folder.path().join("consent-nordhafen.json");
    let read: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("the consent")).expect("JSON");
    let spaced = pair.folder.path().join("spaced.json");
    let text = format!("\n{}\n", serde_json::to_string_pretty(&read).expect("text"));
    durable::replace(&spaced, text.as_bytes(), 0o600).expect("written");
    for again in [&path, &spaced] {
        let said = pair.hospital.run(&["consent", "add", again.to_str().expect("a path")]);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(said.status == 2 && text.contains("CONFLICT") && text.contains(&pair.consent), "{text}");
    }
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "the wrong one"]).ok();
    let anew = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    assert_ne!(anew, pair.consent, "what was withdrawn by mistake can be recorded anew");
}

#[test]
fn a_consent_names_its_patient_and_its_withdrawal_names_the_others_that_still_stand() {
    let pair = Pair::ready();
    let patient = medseal::sample_case::patient().to_string();
    let other = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "AT");
    assert_eq!(pair.hospital.run(&["consent", "show", &other]).ok().text("patient"), patient);
    let listed = pair.hospital.run(&["consent", "list"]).ok();
    assert!(listed.json["items"].as_array().expect("a list").iter().all(|one| one["patient"] == patient.as_str()));
    let withdrawn = pair.hospital.run(&["consent", "withdraw", &other, "--reason", "the patient called"]).ok();
    assert_eq!(withdrawn.json["standing"], serde_json::json!([pair.consent]), "{}", withdrawn.stdout);
    let last = pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "the patient called"]).ok();
    assert_eq!(last.json["standing"], serde_json::json!([]));
}

#[test]
fn of_two_who_withdraw_the_same_consent_one_is_told_that_it_is_withdrawn() {
    let pair = Pair::ready();
    let withdraw = || pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]);
    let both = std::thread::scope(|scope| {
        [scope.spawn(withdraw), scope.spawn(withdraw)].map(std::thread::ScopedJoinHandle::join)
    });
    let mut both = both.map(|one| one.expect("it ran"));
    both.sort_by_key(|one| one.status);
    let said = format!("{}{}", both[1].stdout, both[1].stderr);
    assert_eq!((both[0].status, both[1].status), (0, 2), "{said}");
    assert!(said.contains("is withdrawn already"), "{said}");
}

#[test]
fn an_empty_file_is_named_when_it_is_sent() {
    let pair = Pair::ready();
    let empty = pair.sample.documents_dir.join("scan-of-page-2.pdf");
    durable::replace(&empty, b"", 0o600).expect("written");
    let sent = pair.send(&[]).ok();
    assert!(sent.stderr.contains("scan-of-page-2.pdf: this file is empty"), "{}", sent.stderr);
}

#[test]
fn an_opening_that_is_stopped_leaves_no_record_behind() {
    let pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let folder = pair.folder.path().join("reader");
    fs::create_dir(&folder).expect("a folder");
    let place = folder.to_str().expect("a path");
    pair.institute.run(&["inbox", &bundle, "--save", place]).ok();
    let sealed = fs::read(folder.join(format!("{bundle}.age"))).expect("the sealed file");
    for signal in ["-INT", "-TERM"] {
        let pipe = folder.join(format!("sealed{signal}.age"));
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
        let mut opening = medseal();
        opening.arg("open").arg(&pipe).arg("--identity").arg(pair.institute.home.join("keys/age.key"));
        opening.args(["--unsigned", "--out"]).arg(folder.join("out")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut opening = opening.spawn().expect("it starts");
        let mut feed = fs::File::options().write(true).open(&pipe).expect("its reader is there");
        feed.write_all(&sealed[..sealed.len() / 2]).expect("it reads");
        while half_made(&folder).is_empty() {
            assert!(opening.try_wait().expect("asked").is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        let pid = opening.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
        drop(feed);
        let ended = opening.wait().expect("it ends");
        assert!(ended.code().is_some_and(|code| code != 0), "{signal} {ended}");
        assert_eq!(half_made(&folder), Vec::<String>::new(), "{signal}");
        assert!(!folder.join("out").exists());
    }
}

/// What lies in a folder under a name for what is not finished.
fn half_made(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with('.')).collect()
}
