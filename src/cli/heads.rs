//! Reads as much of a document as tells what it is and whom it names.
//!
//! Rule: bounded, whatever the document is; what lies behind the bound is said to be not checked.

use super::failure::Failure;
use super::gather::Found;
use crate::bundle::survey::{Survey, SurveyLimits, Surveyed};

/// Surveys the head of one document; `progress` is told how many bytes were read.
pub(super) fn survey(document: &Found, buffer: &mut [u8], mut progress: impl FnMut(u64)) -> Result<Surveyed, Failure> {
    let mut survey = Survey::new(document.path.as_str(), SurveyLimits::default());
    let (mut opened, mut seen, mut seen_max) = (document.open()?, 0, HEAD_BYTES);
    while seen < seen_max {
        let read = opened.read(buffer)?;
        if read == 0 {
            break;
        }
        // Text formats name the patient anywhere; images say it in their head.
        if seen == 0 && is_text(&buffer[..read]) {
            seen_max = TEXT_BYTES_MAX;
        }
        survey.push(&buffer[..read]);
        seen += read as u64;
        progress(read as u64);
    }
    opened.check()?;
    Ok(survey.finish())
}

/// How much of a document [`survey`] reads at most, if its kind needs no more.
pub(super) const HEAD_BYTES: u64 = 1 << 20;

/// How much is read of a document at a time, in bytes.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Whether it may be JSON or HL7 v2, whose patient can stand far from the start.
fn is_text(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|byte| matches!(byte, b'{' | b'[' | b'M' | b'\x0b'))
}

/// How much is surveyed of a document whose patient can stand anywhere, in bytes.
const TEXT_BYTES_MAX: u64 = 64 << 20;
