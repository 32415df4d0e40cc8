//! Does the command line keep its contract: exit status, one JSON object, errors with a hint? What needs no gateway.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn medseal(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medseal"));
    command.args(args).env_remove("MEDSEAL_HOME").stdin(Stdio::null()).output().expect("medseal runs")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write(path: &Path, bytes: &[u8]) {
    File::create(path).and_then(|mut file| file.write_all(bytes)).expect("written");
}

fn policies() -> String {
    format!("{}/policies", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_wrong_call_ends_with_2_and_says_what_is_right() {
    for args in [
        &["send"][..],
        &["no-such-verb"],
        &["case", "open", "--partner", "Not An Id", "--patient", "a|b", "--question", "q"],
        &["status", "bundle-UPPER"],
        &["send", "x", "--case", "case-0123456789abcdef", "--timeout", "5"],
    ] {
        let output = medseal(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", words(&output));
        assert!(output.stdout.is_empty(), "{args:?} printed data");
    }
    let output = medseal(&["queue"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("error: ") && words(&output).contains("hint: ") && words(&output).contains("--home")
    );
}

#[test]
fn every_failure_is_one_json_object_with_its_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().to_str().expect("a path");
    let output = medseal(&["--json", "--home", home, "queue"]);
    assert_eq!(output.status.code(), Some(2));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(object["error"]["text"].as_str().is_some_and(|text| text.contains("not the home")), "{object}");
    assert!(object["error"]["hint"].is_string());
}

#[test]
fn a_home_whose_gateway_is_away_is_told_from_a_folder_that_is_no_home() {
    let folder = tempfile::tempdir().expect("a folder");
    // Deeper than the name of a socket may be long.
    let home = folder.path().join("d".repeat(120));
    let home = home.to_str().expect("a path");
    let init = ["--home", home, "init", "--id", "st-mary", "--name", "St Mary", "--country", "IN"];
    let output = medseal(&[&init[..], &["--endpoint", "https://localhost:8443"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let output = medseal(&["--json", "--home", home, "queue"]);
    assert_eq!(output.status.code(), Some(75));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(object["error"]["code"], "GATEWAY_AWAY");
    assert!(object["error"]["hint"].as_str().is_some_and(|hint| hint.contains("serve")), "{object}");
    let again = medseal(&[&init[..], &["--endpoint", "https://localhost:8443"]].concat());
    assert_eq!(again.status.code(), Some(2), "a home was made twice");
    let output = medseal(&["--json", "--home", home, "key", "list"]);
    let keys: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(keys["items"].as_array().is_some_and(|items| items.len() >= 6), "{keys}");
    let output = medseal(&["--json", "--home", home, "doctor"]);
    assert_eq!(output.status.code(), Some(1), "a gateway that does not run must be mended: {}", words(&output));
}

#[test]
fn a_reader_who_closes_the_pipe_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_medseal"));
    command.args(["policy", "check", &policies()]).stdout(writer).stderr(Stdio::piped());
    let output = command.output().expect("medseal runs");
    assert_eq!((output.status.code(), words(&output)), (Some(0), String::new()));
}

#[test]
fn a_policy_set_is_valid_or_refused_or_not_there() {
    assert_eq!(medseal(&["policy", "check", &policies()]).status.code(), Some(0));
    assert_eq!(medseal(&["policy", "test", &policies()]).status.code(), Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path");
    std::fs::create_dir(folder.path().join("site")).expect("a folder");
    write(&folder.path().join("site/own.cedar"), b"permit (principal, action, resource);");
    let output = medseal(&["policy", "check", dir]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert_eq!(medseal(&["policy", "check", &format!("{dir}/absent")]).status.code(), Some(2));
    assert_ne!(medseal(&["policy", "test", dir]).status.code(), Some(0), "nothing was tested");
}

#[test]
fn shells_and_manuals_are_served() {
    for shell in ["bash", "zsh", "fish"] {
        let output = medseal(&["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 1000, "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    assert!(medseal(&["man", "--out", folder.path().to_str().expect("a path")]).status.success());
    for page in ["medseal.1", "medseal-send.1", "medseal-partner-add.1"] {
        assert!(folder.path().join(page).is_file(), "{page} is missing");
    }
    assert!(words(&medseal(&["--version"])).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_export_that_cannot_be_read_is_never_called_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path");
    for path in [dir, "/dev/null", "/no/such/folder"] {
        let output = medseal(&["audit", "verify", path]);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{path}: {}", words(&output));
    }
}
