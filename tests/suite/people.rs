//! People with accounts of their own: commands run as another user, over the staff's socket of a gateway.

#![allow(dead_code, reason = "not every test needs every move")]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::site::{Pair, Ran, Site, ran};

/// Users that no machine has: the kernel needs no account to act as one.
pub(crate) const KUMAR: u32 = 41_001;
pub(crate) const LEE: u32 = 41_002;
pub(crate) const ROSE: u32 = 41_003;
pub(crate) const STRANGER: u32 = 41_004;

/// The staff's way to a gateway.
pub(crate) struct Door {
    pub(crate) socket: PathBuf,
}

impl Door {
    /// Lists these people as the staff of the hospital, with these site rules, and starts it again. `more` stands in
    /// medseal.toml in place of what is there.
    pub(crate) fn open(pair: &mut Pair, people: &[u32], rules: &str, more: &[(&str, &str)]) -> Self {
        pair.hospital.stop();
        fs::set_permissions(pair.folder.path(), Permissions::from_mode(0o711)).expect("ours");
        let folder = pair.folder.path().join("staff");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("ours");
        let door = Self { socket: folder.join("staff.sock") };
        let users: Vec<String> = people.iter().map(|uid| format!("\"{uid}\"")).collect();
        let staff = format!("users = [{}]\nsocket = \"{}\"", users.join(", "), door.socket.display());
        configure(&pair.hospital, &[&[("users = []", staff.as_str())][..], more].concat());
        let site = pair.hospital.home.join("policies/site/ours.cedar");
        medseal::durable::replace(&site, rules.as_bytes(), 0o644).expect("written");
        pair.hospital.start();
        door
    }

    /// Runs a command as this user, with `--json`.
    pub(crate) fn run(&self, uid: u32, args: &[&str]) -> Ran {
        // The program may lie where this user cannot go: it is handed over as an open file.
        let program = File::open(env!("CARGO_BIN_EXE_medseal")).expect("the program");
        let mut command = Command::new("/proc/self/fd/0");
        command.stdin(program).uid(uid).gid(uid).current_dir("/").env_remove("MEDSEAL_HOME");
        command.arg("--socket").arg(&self.socket).arg("--json").args(args);
        ran(&command.output().expect("medseal runs as another user"))
    }
}

/// Changes lines of medseal.toml, each of which must be there.
pub(crate) fn configure(site: &Site, changes: &[(&str, &str)]) {
    let path = site.home.join("medseal.toml");
    let mut text = fs::read_to_string(&path).expect("the configuration");
    for (from, to) in changes {
        assert!(text.contains(from), "no {from} in {text}");
        text = text.replace(from, to);
    }
    medseal::durable::replace(&path, text.as_bytes(), 0o600).expect("written");
}

/// Lets everybody read what lies below.
pub(crate) fn readable(folder: &Path) {
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(folder).status().expect("chmod runs").success());
}

/// A site's rule: a second person confirms every release of records.
pub(crate) const FOUR_EYES: &str = r#"
@id("four-eyes")
@says("a second person confirms what leaves")
@reason("APPROVAL_NEEDED")
forbid (principal, action == Medseal::Action::"release", resource)
when { context.approvals < 1 };
"#;

/// How many bundles came to the institute.
pub(crate) fn came(pair: &Pair) -> usize {
    pair.institute.run(&["inbox"]).ok().json["items"].as_array().expect("a list").len()
}

/// The entries of the hospital's log of this kind.
pub(crate) fn entries(pair: &Pair, kind: &str) -> Vec<serde_json::Value> {
    let shown = pair.hospital.run(&["audit", "show"]).ok();
    let items = shown.json["items"].as_array().expect("a list").clone();
    items.into_iter().filter(|entry| entry["kind"] == kind).collect()
}
