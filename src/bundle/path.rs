//! Where a document lies in its bundle: a path that every system can store, and that leads nowhere else.
//!
//! Rule: a [`BundlePath`] in hand is in the normal form of docs/FORMAT.md; there is no other way to a path.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::is_nfc;

/// A relative path of UTF-8 parts in NFC, separated by `/`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BundlePath(String);

/// Why a name is not a path of a bundle.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It is absolute, or has `.`, `..` or an empty part.
    #[error("a path must lead down from its folder: no leading /, no empty part, no . and no ..")]
    Leads,
    /// A character that some system or tool cannot store or reads otherwise.
    #[error("the character {0:?} is not allowed in a name; rename the file")]
    Character(char),
    /// The same letters in another encoding.
    #[error("the name is not in Unicode normal form C; rename the file")]
    NotNormal,
    /// A name that Windows keeps for itself, or cannot end so.
    #[error("Windows cannot store a file named {0:?}; rename it")]
    Reserved(String),
    /// Too long.
    #[error("{what} of {found} bytes; {max} are allowed")]
    Long {
        /// A part or the path.
        what: &'static str,
        /// The length found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Too deep.
    #[error("{found} folders deep; {max} are allowed")]
    Deep {
        /// The depth found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Two names that a system without case cannot tell apart, or a file where a folder is.
    #[error("the name clashes with {0:?}: a system that does not tell case apart cannot store both")]
    Clash(String),
    /// The name is not UTF-8.
    #[error("the name is not UTF-8 text; rename the file")]
    NotText,
}

impl BundlePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, from the outermost folder to the file.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::Long { what: "a path", found: text.len(), max: PATH_BYTES_MAX });
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || FORBIDDEN.contains(c) || turns_writing(*c)) {
            return Err(PathError::Character(bad));
        }
        if !is_nfc(text) {
            return Err(PathError::NotNormal);
        }
        let depth = text.split('/').count() - 1;
        if depth > DEPTH_MAX {
            return Err(PathError::Deep { found: depth, max: DEPTH_MAX });
        }
        text.split('/').try_for_each(check_part)?;
        Ok(Self(text.to_owned()))
    }
}

fn check_part(part: &str) -> Result<(), PathError> {
    if part.is_empty() || part == "." || part == ".." {
        return Err(PathError::Leads);
    }
    if part.len() > PART_BYTES_MAX {
        return Err(PathError::Long { what: "a name", found: part.len(), max: PART_BYTES_MAX });
    }
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
    let numbered = |word: &str| {
        stem.strip_prefix(word).is_some_and(|rest| {
            matches!(rest, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$");
    if device || numbered("COM") || numbered("LPT") || part.ends_with('.') || part.ends_with(' ') {
        return Err(PathError::Reserved(part.to_owned()));
    }
    Ok(())
}

impl FromStr for BundlePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for BundlePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BundlePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The paths of one bundle: no two that a system without case takes for one, no file that is also a folder.
#[derive(Clone, Debug, Default)]
pub struct PathSet {
    /// Folded spelling to the spelling that was seen, and whether it is a file.
    seen: BTreeMap<String, (String, bool)>,
}

impl PathSet {
    /// Adds a file's path; refuses one that clashes with those before.
    pub fn add(&mut self, path: &BundlePath) -> Result<(), PathError> {
        for (end, _) in path.as_str().match_indices('/') {
            self.add_part(&path.as_str()[..end], false)?;
        }
        self.add_part(path.as_str(), true)
    }

    fn add_part(&mut self, path: &str, file: bool) -> Result<(), PathError> {
        match self.seen.get(&fold(path)) {
            Some((known, known_file)) if *known_file || file || known != path => Err(PathError::Clash(known.clone())),
            Some(_) => Ok(()),
            None => {
                self.seen.insert(fold(path), (path.to_owned(), file));
                Ok(())
            }
        }
    }
}

/// A spelling without case. Both directions, because some letters fold only one way (ß, ſ, K).
fn fold(path: &str) -> String {
    path.to_uppercase().to_lowercase()
}

/// Characters that turn the direction of writing: with them, a program looks like a document.
fn turns_writing(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Beside control characters: what Windows cannot store, and `%` and `\`, which RFC 8493 and sha256sum escape unlike.
const FORBIDDEN: [char; 10] = ['\\', '%', '<', '>', ':', '"', '|', '?', '*', '\u{feff}'];

const PART_BYTES_MAX: usize = 255;
/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// How many folders deep a document may lie.
pub const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_taken_as_it_is() {
        for good in ["a.pdf", ".hidden", "ct/IM 0001", "befund/Größe.pdf", "x/y/z", "com10", "CONTRACT.pdf"] {
            assert_eq!(good.parse::<BundlePath>().expect(good).as_str(), good);
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_or_cannot_be_stored_is_refused() {
        let long = "a".repeat(256);
        let deep = "d/".repeat(33) + "f";
        let bad = [
            "", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\\b", "C:a", "a%b", "a\nb", "a\u{7f}", "nul", "NUL.txt",
            "com1", "LPT9.log", "a.", "a ", "a/b./c", "e\u{301}", "a*", "a?", "a|b", "a\"", &long, &deep,
        ];
        for bad in bad {
            assert!(bad.parse::<BundlePath>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn names_that_differ_in_case_only_clash() {
        let path = |text: &str| text.parse::<BundlePath>().expect(text);
        let mut paths = PathSet::default();
        paths.add(&path("a/Report.pdf")).expect("the first");
        paths.add(&path("a/Other.pdf")).expect("another");
        assert!(paths.add(&path("a/report.PDF")).is_err());
        assert!(paths.add(&path("A/x")).is_err(), "the folder differs in case");
        assert!(paths.add(&path("a/Report.pdf/x")).is_err(), "a file is no folder");
        assert!(paths.add(&path("a")).is_err(), "a folder is no file");
        assert!(paths.add(&path("a/Report.pdf")).is_err(), "twice the same");
    }
}
