//! Does the code keep its own rules? Import order, and what only one file may touch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules in the order of src/lib.rs: one may use only what stands above it.
fn order() -> Vec<String> {
    let lib = std::fs::read_to_string(source().join("lib.rs")).expect("lib.rs");
    lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned)).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file with its text, without tests.
fn files() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                let below = path.strip_prefix(source()).expect("below src").to_owned();
                let test_file =
                    below.file_name().is_some_and(|name| name == "tests.rs") || below.ends_with("testing.rs");
                if !test_file {
                    found.insert(below, code);
                }
            }
        }
    }
    found
}

/// The top-level module that a file belongs to.
fn module(path: &Path) -> String {
    let first = path.iter().next().expect("a part").to_string_lossy();
    first.strip_suffix(".rs").unwrap_or(&first).to_owned()
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn a_module_uses_only_what_stands_above_it() {
    let order = order();
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut wrong = Vec::new();
    for (path, text) in files() {
        let own = module(&path);
        let Some(here) = place(&own) else { continue };
        for line in code_lines(&text) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if place(&used).is_some_and(|there| there > here) {
                    wrong.push(format!("{} uses {used}, which comes after it", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_only_one_file_may_touch_is_touched_by_that_file_only() {
    let rules: [(&str, &[&str]); 5] = [
        ("sled::", &["store/sled.rs"]),
        ("Config::builder", &["tls.rs", "tls/"]),
        ("Timestamp::now(", &["clock.rs"]),
        ("SystemTime::now(", &["clock.rs"]),
        ("\"sign.key\"", &["keys.rs", "keys/"]),
    ];
    let mut wrong = Vec::new();
    for (path, text) in files() {
        let name = path.to_string_lossy().into_owned();
        for (word, allowed) in &rules {
            let used = code_lines(&text)
                .any(|line| line.replace("store::sled::", "").replace("crate::store::", "").contains(word));
            let may = allowed.iter().any(|file| name == *file || (file.ends_with('/') && name.starts_with(file)));
            if used && !may {
                wrong.push(format!("{name} has {word}, which belongs to {allowed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_decision_makes_permits_and_only_the_log_makes_records() {
    let rules = [("Permit {", "decision.rs"), ("Recorded {", "audit/log"), ("impl Event for ", "audit/")];
    let mut wrong = Vec::new();
    for (path, text) in files() {
        let name = path.to_string_lossy().into_owned();
        for (word, home) in rules {
            let makes = |line: &str| {
                // A literal, not a signature that ends in the type's name nor another type's variant.
                line.split(word).count() > 1 && !line.contains("fn ") && !line.contains(&format!("::{word}"))
            };
            if code_lines(&text).any(makes) && !name.starts_with(home) {
                wrong.push(format!("{name} has {word:?}, which belongs to {home}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent: Vec<PathBuf> =
        files().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn nothing_in_the_repository_names_a_folder_of_somebodys_machine() {
    for (path, text) in files() {
        for word in ["/home/", "/root/", "/work/"] {
            let named = text.lines().any(|line| line.contains(word));
            assert!(!named, "{} has {word}", path.display());
        }
    }
}
