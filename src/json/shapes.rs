//! Strict lines that look like one seen before, judged in one pass over their bytes.
//!
//! Rule: it says yes to nothing that [`super::check`] refuses. A log holds a few dozen kinds of entries; two of one kind
//! and length differ in values only. Such a line is strict if every byte that is not a value's is the same, and every
//! value's stays within its kind: text, or a number with as many digits. Whatever differs more is checked as ever.

use super::recognise::is_surely_strict;
use super::{JsonError, check};

/// The shapes of the lines seen last.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// By the length of their lines.
    known: Vec<Option<Shape>>,
}

/// What a strict line of this length allows at each byte: how far it may be above the least.
#[derive(Debug)]
struct Shape {
    least: Vec<u8>,
    above: Vec<u8>,
}

impl Shapes {
    /// As [`super::check`].
    pub(crate) fn check(&mut self, line: &[u8], bytes_max: usize) -> Result<(), JsonError> {
        if let Some(Some(shape)) = self.known.get(line.len())
            && line.len() <= bytes_max
            && shape.holds(line)
        {
            return Ok(());
        }
        check(line, bytes_max)?;
        if line.len() < LENGTHS && is_surely_strict(line) {
            if self.known.is_empty() {
                self.known.resize_with(LENGTHS, || None);
            }
            self.known[line.len()] = Some(Shape::of(line));
        }
        Ok(())
    }
}

impl Shape {
    /// The shape of a line in which every byte stands for itself.
    fn of(line: &[u8]) -> Self {
        let (mut least, mut above) = (line.to_vec(), vec![0; line.len()]);
        let mut at = 1;
        while at < line.len() {
            // A key with its quotes and colon; nothing in it is escaped.
            at += 1 + end(&line[at + 1..], |byte| byte == b'"') + 2;
            match line[at] {
                b'"' => {
                    let length = end(&line[at + 1..], |byte| byte == b'"');
                    least[at + 1..][..length].fill(b' ');
                    above[at + 1..][..length].fill(b'~' - b' ');
                    at += length + 2;
                }
                b'1'..=b'9' => {
                    let length = end(&line[at..], |byte| !byte.is_ascii_digit());
                    least[at..][..length].fill(b'0');
                    above[at..][..length].fill(9);
                    (least[at], above[at]) = (b'1', 8);
                    at += length;
                }
                _ => at += end(&line[at..], |byte| matches!(byte, b',' | b'}')),
            }
            at += 1;
        }
        Self { least, above }
    }

    /// Whether a line of the same length has this shape. Without a branch for each byte: the compiler makes wide
    /// instructions of it.
    fn holds(&self, line: &[u8]) -> bool {
        let allowed = self.least.iter().zip(&self.above);
        let other = line.iter().zip(allowed).fold(0, |other, (byte, (least, above))| {
            let outside = u8::from(byte.wrapping_sub(*least) > *above);
            // A quote stands where a quote stood, and nowhere else; nothing is escaped.
            let quote = u8::from(*byte == b'"') ^ u8::from(*least == b'"');
            other | outside | quote | u8::from(*byte == b'\\')
        });
        other == 0 && self.least.len() == line.len()
    }
}

fn end(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| is_end(*byte)).expect("a strict line ends what it begins")
}

/// Longer lines are rare: they are checked as ever, and their shapes take no memory.
const LENGTHS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [
        r#"{"_prev":"00ff","_seq":10,"_t":"2026-11-22","kind":"a b","n":0,"ok":true,"size":7,"yes":false}"#,
        r#"{"a":"","b":" ~","c":123456789012345}"#,
        r#"{"a":1}"#,
        r#"{"a":"x"}"#,
    ];

    #[test]
    fn a_shape_takes_every_line_of_its_kind() {
        for (seen, other) in [
            (
                LINES[0],
                r#"{"_prev":"abcd","_seq":99,"_t":"~~~~~~~~~~","kind":"{,}","n":0,"ok":true,"size":1,"yes":false}"#,
            ),
            (LINES[1], r#"{"a":"","b":"ab","c":999999999999999}"#),
            (LINES[2], r#"{"a":9}"#),
        ] {
            assert_eq!(check(other.as_bytes(), 1000), Ok(()));
            assert!(Shape::of(seen.as_bytes()).holds(other.as_bytes()), "{other}");
        }
    }

    /// Whatever a byte becomes, at every place, and whatever two neighbours become that matter.
    #[test]
    fn after_any_line_it_takes_exactly_what_is_strict() {
        for line in LINES {
            for at in 0..line.len() {
                for byte in 0..=255 {
                    let mut changed = line.as_bytes().to_vec();
                    changed[at] = byte;
                    agrees(line, &changed);
                    for next in *b"\"\\09a,:}{ \x7f\x80" {
                        if at + 1 < line.len() {
                            changed[at + 1] = next;
                            agrees(line, &changed);
                        }
                    }
                }
            }
        }
    }

    fn agrees(seen: &str, line: &[u8]) {
        let mut shapes = Shapes::default();
        assert_eq!(shapes.check(seen.as_bytes(), 1000), Ok(()));
        assert!(shapes.known[seen.len()].is_some(), "{seen}");
        let strict = check(line, 1000);
        assert_eq!(shapes.check(line, 1000), strict, "{} after {seen}", line.escape_ascii());
        // What was taken is remembered in the place of what was there, and says the same.
        assert_eq!(shapes.check(line, 1000), strict, "{} again", line.escape_ascii());
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_whatever_was_seen() {
        let mut shapes = Shapes::default();
        assert_eq!(shapes.check(br#"{"a":1}"#, 7), Ok(()));
        assert_eq!(shapes.check(br#"{"a":1}"#, 6), Err(JsonError::TooLong { found: 7, allowed: 6 }));
    }

    #[test]
    fn what_is_escaped_or_nested_is_strict_and_has_no_shape() {
        for line in [r#"{"a":"\n"}"#, r#"{"a":[1]}"#, r#"{"a":"ü"}"#, r#"{"a":-1}"#, "{}"] {
            let mut shapes = Shapes::default();
            assert_eq!(shapes.check(line.as_bytes(), 100), Ok(()), "{line}");
            assert!(shapes.known.iter().all(Option::is_none), "{line}");
        }
    }
}
