//! Do the files of deploy/ hold what they promise?

use std::path::Path;
use std::process::Command;

use crate::needs;
use crate::site::medseal;
use medseal::config::Config;

#[test]
fn the_sample_configuration_is_accepted_and_shows_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/medseal.toml");
    let config = Config::read(&path).expect("the sample configuration");
    let shown: toml::Table = std::fs::read_to_string(&path).expect("text").parse().expect("TOML");
    let all: toml::Table = config.to_toml().parse().expect("TOML");
    assert_eq!(shown, all, "the sample shows every key with its default");
}

#[test]
fn the_systemd_unit_is_hardened() {
    let Some(analyze) = needs::tool("systemd-analyze") else { return };
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/medseal.service");
    let run =
        Command::new(analyze).args(["security", "--offline=true", "--threshold=20"]).arg(unit).output().expect("runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "the exposure is above 2.0: {}", said.lines().last().unwrap_or_default());
}

#[test]
fn the_daily_stamp_calls_verbs_and_options_that_exist() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/medseal-stamp.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let calls: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/medseal ")).collect();
    assert_eq!(calls.len(), 2, "{unit}");
    for call in calls {
        let help = medseal().args(call.split(' ')).arg("--help").output().expect("medseal runs");
        assert!(help.status.success(), "{call}: {}", String::from_utf8_lossy(&help.stderr));
    }
}
