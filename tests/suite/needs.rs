//! What a test needs beside Rust: sample data and stock tools.
//!
//! Absent, a test says so in one line and ends; with `MEDSEAL_REQUIRE=1`, as tests/run sets it, absence is a failure.

#![allow(dead_code, reason = "not every test needs every tool")]

use std::path::PathBuf;

/// The folder `name` of the sample data, or `None` after saying that the test is not run.
#[allow(clippy::print_stdout, reason = "a test that does not run says so")]
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("MEDSEAL_DATA").map(|root| PathBuf::from(root).join(name)).filter(|path| path.exists());
    assert!(found.is_some() || !required(), "MEDSEAL_DATA must name the sample data: no {name} found");
    if found.is_none() {
        println!("MEDSEAL_DATA is not set: nothing tested with {name}");
    }
    found
}

/// The program `name`, found on the path, or `None` after saying that the test is not run.
#[allow(clippy::print_stdout, reason = "a test that does not run says so")]
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file());
    assert!(found.is_some() || !required(), "{name} is not installed; tests/run installs it");
    if found.is_none() {
        println!("{name} is not installed: nothing tested with it");
    }
    found
}

/// Whether other users can be acted for, which only root can; says so when the test is not run.
pub(crate) fn other_users() -> bool {
    root("two users of the operating system")
}

/// Whether disks can be mounted, which only root can; says so when the test is not run.
pub(crate) fn mounts() -> bool {
    root("a disk of its own")
}

#[allow(clippy::print_stdout, reason = "a test that does not run says so")]
fn root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || !required(), "tests with {what} need root");
    if !root {
        println!("not root: nothing tested with {what}");
    }
    root
}

fn required() -> bool {
    std::env::var_os("MEDSEAL_REQUIRE").is_some_and(|value| value == "1")
}
