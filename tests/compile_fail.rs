//! What must not compile: each bypass of a safeguard is one file in `tests/compile_fail`/, and its first line names the
//! error that the compiler must give.
//!
//! The compiler is called directly against the library that this test was built with, so nothing is built twice. A
//! control that must compile shows that a refusal is the bypass's own and not a mistake in the set-up.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn no_bypass_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    cases.sort();
    assert!(cases.len() > 10, "there are cases: {cases:?}");
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&case).expect("a case");
        let expected = text.lines().next().unwrap_or_default().strip_prefix("//! ").unwrap_or_default();
        let said = compile(&case);
        match expected {
            "compiles" if said.is_empty() => {}
            "compiles" => wrong.push(format!("{name} must compile, but: {said}")),
            code if code.starts_with('E') && said.contains(&format!("error[{code}]")) => {}
            code => wrong.push(format!("{name} must be refused with {code}, but: {said}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The errors that the compiler gives for a file; empty when it compiles.
fn compile(case: &Path) -> String {
    let deps = std::env::current_exe().expect("this test").parent().expect("a folder").to_owned();
    let out = tempfile::tempdir().expect("a folder");
    let run = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--crate-name=bypass", "-Awarnings"])
        .arg("--out-dir")
        .arg(out.path())
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .args(["--extern", &newest(&deps, "medseal"), "--extern", &newest(&deps, "serde_json")])
        .arg(case)
        .output()
        .expect("rustc runs");
    if run.status.success() { String::new() } else { String::from_utf8_lossy(&run.stderr).into_owned() }
}

/// The newest build of a library in cargo's folder: the one that this test was linked with.
fn newest(deps: &Path, name: &str) -> String {
    let prefix = format!("lib{name}-");
    let newest = std::fs::read_dir(deps)
        .expect("cargo's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&prefix) && file.ends_with(".rlib")
        })
        .max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
    format!("{name}={}", newest.expect("the library was built").display())
}
