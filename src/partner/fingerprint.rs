//! Fingerprints as people read them aloud and type them.
//!
//! Rule: shown in one way, read in every way in which 64 hex digits arrive from paper or telephone.

use crate::id::{Digest, IdError};

/// 64 hex digits in eight groups of eight.
pub fn show_fingerprint(fingerprint: &Digest) -> String {
    let digits = fingerprint.to_string();
    let groups: Vec<&str> = (0..8).map(|at| &digits[at * 8..at * 8 + 8]).collect();
    groups.join(" ")
}

/// Reads 64 hex digits in any grouping by white space, `:` or `-`, in either case.
pub fn parse_fingerprint(text: &str) -> Result<Digest, IdError> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, ':' | '-')).collect();
    digits.to_ascii_lowercase().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back_in_every_usual_form() {
        let digest = Digest::of(b"card");
        let shown = show_fingerprint(&digest);
        assert_eq!(shown.len(), 64 + 7);
        let digits = digest.to_string();
        let colons = (0..32).map(|at| &digits[at * 2..at * 2 + 2]).collect::<Vec<_>>().join(":");
        for text in [&shown, &shown.replace(' ', ":"), &shown.to_uppercase(), &colons, &format!(" {shown}\n")] {
            assert_eq!(parse_fingerprint(text), Ok(digest), "{text:?}");
        }
    }

    #[test]
    fn a_digit_less_or_a_strange_one_is_refused() {
        let shown = show_fingerprint(&Digest::of(b"card"));
        for bad in ["", &shown[1..], &format!("{shown}0"), &shown.replacen(|c: char| c.is_ascii_digit(), "g", 1)] {
            assert!(parse_fingerprint(bad).is_err(), "{bad:?}");
        }
    }
}
