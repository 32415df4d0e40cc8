//! What somebody with access to an exported log may do: a copy of it, with one byte changed.

use std::fs;
use std::path::Path;

use super::super::failure::Failure;
use crate::durable;

/// Copies an export and changes one digit in its middle entry; answers which entry that is.
pub(super) fn copy_with_one_byte_changed(export: &Path, copy: &Path) -> Result<u64, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::unable(format!("the copy of the exported log: {error}"));
    copy_folder(export, copy).map_err(|error| failed(&error))?;
    let file = fs::read_dir(copy)
        .map_err(|error| failed(&error))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("entries")))
        .ok_or_else(|| failed(&"it has no entries"))?;
    let text = fs::read_to_string(&file).map_err(|error| failed(&error))?;
    let middle = text.lines().count() / 2;
    // A digit of the year: 2026 becomes 2027.
    let edited: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let year = line.find("\"_t\":\"").map(|time| time + 9).filter(|_| at == middle);
            year.map_or_else(|| line.to_owned(), |digit| changed(line, digit))
        })
        .collect();
    let edited = format!("{}\n", edited.join("\n"));
    durable::replace(&file, edited.as_bytes(), 0o600).map_err(|error| failed(&error))?;
    Ok(middle as u64)
}

/// The line with the last bit of the digit at `at` flipped.
fn changed(line: &str, at: usize) -> String {
    line.bytes().enumerate().map(|(place, byte)| char::from(if place == at { byte ^ 1 } else { byte })).collect()
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
