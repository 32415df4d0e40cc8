//! Where a document lies in its bundle: a path that every system can store, and that leads nowhere else.
//!
//! Rule: a [`BundlePath`] in hand is in the normal form of docs/FORMAT.md; there is no other way to a path.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    if device || numbered("COM") || numbered("LPT") || part.ends_with('.') || part.ends_with(char::is_whitespace) {
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
///
/// Kept as a tree: a hostile archive of long paths takes memory for each part once, not for each path above a file.
#[derive(Clone, Debug, Default)]
pub struct PathSet {
    /// By the number of the folder that a part lies in, and the part's folded spelling.
    seen: BTreeMap<(u32, String), Seen>,
    folders: u32,
}

#[derive(Clone, Debug)]
struct Seen {
    spelling: String,
    /// The number of the folder; `None` for a file.
    folder: Option<u32>,
}

impl PathSet {
    /// Adds a file's path; refuses one that clashes with those before.
    pub fn add(&mut self, path: &BundlePath) -> Result<(), PathError> {
        self.add_parts(path, true)
    }

    /// Adds a folder's path, which may come again; refuses one that clashes with those before.
    pub fn add_folder(&mut self, path: &BundlePath) -> Result<(), PathError> {
        self.add_parts(path, false)
    }

    fn add_parts(&mut self, path: &BundlePath, file: bool) -> Result<(), PathError> {
        let (mut folder, mut start) = (0, 0);
        for part in path.parts() {
            let end = start + part.len();
            let wanted = file && end == path.as_str().len();
            let seen = match self.seen.entry((folder, fold(part))) {
                Entry::Vacant(place) => {
                    self.folders += u32::from(!wanted);
                    let folder = (!wanted).then_some(self.folders);
                    place.insert(Seen { spelling: part.to_owned(), folder });
                    folder
                }
                Entry::Occupied(place) => match place.get() {
                    Seen { spelling, folder: Some(number) } if !wanted && spelling == part => Some(*number),
                    other => return Err(PathError::Clash(format!("{}{}", &path.as_str()[..start], other.spelling))),
                },
            };
            folder = seen.unwrap_or_default();
            start = end + 1;
        }
        Ok(())
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

/// Beside control characters: what Windows cannot store, `%` and `\`, which RFC 8493 and sha256sum escape unlike, and
/// the separators of lines and paragraphs, where Python, and so its bagit, ends a manifest's line.
const FORBIDDEN: [char; 12] = ['\\', '%', '<', '>', ':', '"', '|', '?', '*', '\u{feff}', '\u{2028}', '\u{2029}'];

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
            "com1", "LPT9.log", "a.", "a ", "a\u{a0}", "a/b./c", "e\u{301}", "a*", "a?", "a|b", "a\"", &long, &deep,
        ];
        for bad in bad.into_iter().chain(["a\u{2028}b", "a\u{2029}b"]) {
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
        paths.add_folder(&path("a")).expect("a folder may be named again");
        assert!(paths.add_folder(&path("a/Report.pdf")).is_err(), "a file is no folder");
        let clash = paths.add(&path("a/REPORT.pdf")).expect_err("clashes");
        assert_eq!(clash, PathError::Clash("a/Report.pdf".to_owned()), "names what it clashes with");
        paths.add(&path("b/Report.pdf")).expect("the same name in another folder");
    }
}
