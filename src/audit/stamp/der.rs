//! The few forms of DER that a time stamp needs: X.690, definite lengths in their shortest form, tags of one byte.
//!
//! Rule: what is not in its one form is not read.

use super::StampError;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const EXPLICIT_0: u8 = 0xa0;

/// What is left to read.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], StampError> {
        let bad = StampError::Form;
        let (found, rest) = self.0.split_first().ok_or(bad("it ends too soon"))?;
        if *found != tag {
            return Err(bad("a value has another type"));
        }
        let (first, rest) = rest.split_first().ok_or(bad("it ends too soon"))?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81 | 0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(bad("it ends too soon"))?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                let shortest = if *first == 0x81 { 0x80 } else { 0x100 };
                if length < shortest {
                    return Err(bad("a length is not in its shortest form"));
                }
                (length, rest)
            }
            _ => return Err(bad("a length is not definite, or too long")),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(bad("it ends too soon"))?;
        self.0 = rest;
        Ok(content)
    }

    /// Nothing is left.
    pub(super) fn end(&self) -> Result<(), StampError> {
        if self.0.is_empty() { Ok(()) } else { Err(StampError::Form("something follows its end")) }
    }
}

/// A value of less than 64 KiB.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}

/// A sequence of values.
pub(super) fn sequence(values: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &values.concat())
}
