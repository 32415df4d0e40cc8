//! A text that a person gives: as it stands, from a file with `@FILE`, or from standard input with `-`.
//!
//! Rule: whoever names a patient can keep the name out of the process list and the shell's history.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::str::FromStr;

use anyhow::Context as _;

use super::failure::Failure;
use crate::reason::Reason;

/// A text, or where it stands.
#[derive(Clone)]
pub(crate) struct Words(String);

impl FromStr for Words {
    type Err = Infallible;
    fn from_str(given: &str) -> Result<Self, Infallible> {
        Ok(Self(given.to_owned()))
    }
}

impl Words {
    /// The text itself, without the line break at its end.
    pub(crate) fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let mut limited: Box<dyn std::io::Read> = match self.0.strip_prefix('@') {
            Some(path) => Box::new(File::open(path).with_context(|| path.to_owned())?),
            None if self.is_standard_input() => Box::new(std::io::stdin()),
            None => return Ok(self.0.clone()),
        };
        limited
            .by_ref()
            .take(WORDS_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("reading {}", self.0))?;
        if text.len() as u64 > WORDS_BYTES_MAX {
            let limit = format!("{} holds more than {WORDS_BYTES_MAX} bytes", self.0);
            return Err(Failure::bad_input(Reason::LimitExceeded, limit).hint("give a shorter text"));
        }
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// Whether it comes from standard input, which only one text of a call can.
    pub(crate) fn is_standard_input(&self) -> bool {
        self.0 == "-"
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words(hidden)")
    }
}

/// The longest text taken from a file or from standard input, in bytes.
const WORDS_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("question.txt");
        crate::durable::write_new(&path, "Is surgery right?\n".as_bytes(), 0o600).expect("written");
        let words = |given: &str| given.parse::<Words>().expect("never fails").read();
        assert_eq!(words(&format!("@{}", path.display())).expect("read"), "Is surgery right?");
        assert_eq!(words("as it stands").expect("read"), "as it stands");
        assert!(words("@/nowhere/at/all").expect_err("no such file").text().contains("/nowhere/at/all"));
    }
}
