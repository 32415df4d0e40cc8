//! Does every test, compile-fail case and file that the documents name exist?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_documents_name_exists() {
    let tests = names_of_tests();
    let bypasses = stems_below("tests/compile_fail");
    let mut wrong = Vec::new();
    let mut named = 0;
    for page in ["docs/ARCHITECTURE.md", "docs/THREATS.md"] {
        for word in quoted(&read(page)) {
            if let Some(file) = word.strip_prefix("tests/") {
                if !root().join("tests").join(file).exists() {
                    wrong.push(format!("{page}: there is no {word}"));
                }
            } else if is_sentence(&word) && !tests.contains(&word) && !bypasses.contains(&word) {
                wrong.push(format!("{page}: there is no test {word}"));
            } else if is_sentence(&word) {
                named += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 60, "only {named} tests are named: is this test still reading the pages?");
}

#[test]
fn every_bypass_is_named_in_the_architecture() {
    let named: BTreeSet<String> = quoted(&read("docs/ARCHITECTURE.md")).into_iter().collect();
    let silent: Vec<String> = stems_below("tests/compile_fail")
        .into_iter()
        .filter(|stem| stem != "control" && !named.contains(stem))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn the_documents_are_plain_ascii_and_name_no_folder_of_somebodys_machine() {
    let mut wrong = Vec::new();
    for page in ["README.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "docs/REASONS.md", "docs/THREATS.md"] {
        let text = read(page);
        if let Some(line) = text.lines().find(|line| !line.is_ascii()) {
            wrong.push(format!("{page}: {line}"));
        }
        for folder in ["/home/", "/root/", "/work/"] {
            if text.contains(folder) {
                wrong.push(format!("{page} has {folder}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// What stands between backquotes in the text, outside fenced blocks.
fn quoted(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut words = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            words.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    words
}

/// A test's name: words joined by `_`, in lower case, at least two of them.
fn is_sentence(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    plain && word.contains('_') && !KEYS.contains(&word)
}

/// Words of that form that are no tests: keys of JSON and of medseal.toml.
const KEYS: [&str; 3] = ["object_store", "concurrent_per_partner", "first_received"];

/// Every function that follows a test attribute, in the tests and in the source.
fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in rust_files(&root().join("tests")).into_iter().chain(rust_files(&root().join("src"))) {
        let text = std::fs::read_to_string(&path).expect("text");
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let rest = line.strip_prefix("async ").unwrap_or(line);
            if let Some(rest) = rest.strip_prefix("fn ") {
                if is_test {
                    names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
                }
                is_test = false;
            }
        }
    }
    names
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn stems_below(folder: &str) -> BTreeSet<String> {
    rust_files(&root().join(folder))
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect()
}
