//! Does the verifier alone say what the program says, and does it need nothing else?

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::needs;
use crate::site::{Pair, Ran, ran};

/// The verifier alone, in an empty folder and without anything in its environment.
fn alone(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medseal-verify"));
    ran(&command.env_clear().current_dir(folder).args(args).output().expect("it runs"))
}

#[test]
fn the_verifier_alone_says_what_the_program_says() {
    let mut pair = Pair::ready();
    let folder = pair.folder.path().to_owned();
    let at = |name: &str| folder.join(name).display().to_string();
    let (export, proof) = (at("export"), at("entry-3.tlog-proof"));
    pair.hospital.run(&["audit", "export", &export]).ok();
    pair.hospital.run(&["audit", "prove", "3", "--out", &proof]).ok();
    pair.hospital.stop();
    let key = format!("{export}/log.vkey");
    let both = |args: &[&str], status: i32| {
        let said = alone(&folder, &[&["--json"], args].concat());
        let by_program = pair.hospital.run(&[&["audit", "verify"], args].concat());
        assert_eq!((said.status, said.stdout), (status, by_program.stdout), "{args:?}: {}", said.stderr);
        assert_eq!(by_program.status, status, "{args:?}");
    };
    both(&[&export, "--key", &key], 0);
    both(&[&proof, "--key", &key], 0);
    both(&[&export], 3);

    let entries = fs::read_dir(&export).expect("the export").map(|file| file.expect("a file").path());
    let entries = entries.into_iter().find(|path| path.to_string_lossy().contains("/entries-")).expect("entries");
    let text = fs::read_to_string(&entries).expect("text");
    let edited =
        text.replacen("\"kind\":\"card", "\"kind\":\"cord", 1).replacen("\"kind\":\"consent", "\"kind\":\"consant", 1);
    assert_ne!(edited, text);
    fs::File::create(&entries).expect("ours").write_all(edited.as_bytes()).expect("written");
    both(&[&export, "--key", &key], 1);
    both(&[&at("nowhere")], 2);
    assert_eq!(alone(&folder, &["--json"]).status, 2, "there is nothing to verify");
}

#[test]
fn the_verifier_alone_opens_no_socket_and_writes_nothing() {
    let Some(strace) = needs::tool("strace") else { return };
    let pair = Pair::ready();
    let export = pair.folder.path().join("export").display().to_string();
    pair.hospital.run(&["audit", "export", &export]).ok();
    let calls = pair.folder.path().join("calls");
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-e", "trace=%network,openat,open,creat,rename,mkdir,unlink", "-o"]).arg(&calls);
    command.arg(env!("CARGO_BIN_EXE_medseal-verify")).args([&export, "--json", "--key", &format!("{export}/log.vkey")]);
    let ended = command.output().expect("strace runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let calls = fs::read_to_string(&calls).expect("what it did");
    assert!(calls.contains("/entries-"), "it was not looked at: {calls}");
    for forbidden in ["socket(", "connect(", "O_WRONLY", "O_RDWR", "O_CREAT", "rename", "mkdir(", "unlink"] {
        assert!(!calls.contains(forbidden), "{forbidden} in {calls}");
    }
}
