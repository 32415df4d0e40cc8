//! Scans that a clerk hands in with a consent: what they are, and whether they may be kept.
//!
//! Rule: the first bytes decide what a scan is, never its name; the name is not even asked for, since it often names the
//! patient.

use crate::config::{EVIDENCE_BYTES_MAX, EVIDENCE_COUNT_MAX, EVIDENCE_TOTAL_BYTES_MAX};
use crate::gateway::Scan;
use crate::id::Digest;
use crate::problem::Problem;
use crate::reason::Reason;

/// Describes the scans, or refuses them.
pub(super) fn look_at(scans: &[Vec<u8>]) -> Result<Vec<Scan>, Problem> {
    let limit = |found: usize, allowed: usize, what: &str| {
        let detail = format!("{what}: {found}; {allowed} are allowed");
        Problem::bad_input(Reason::LimitExceeded, detail).hint("scan at a lower resolution, or hand in less")
    };
    if scans.len() > EVIDENCE_COUNT_MAX {
        return Err(limit(scans.len(), EVIDENCE_COUNT_MAX, "scans beside one consent"));
    }
    if let Some(scan) = scans.iter().find(|scan| scan.len() > EVIDENCE_BYTES_MAX) {
        return Err(limit(scan.len(), EVIDENCE_BYTES_MAX, "bytes of one scan"));
    }
    let total = scans.iter().map(Vec::len).sum();
    if total > EVIDENCE_TOTAL_BYTES_MAX {
        return Err(limit(total, EVIDENCE_TOTAL_BYTES_MAX, "bytes of all scans together"));
    }
    scans.iter().enumerate().map(|(at, scan)| describe(at + 1, scan)).collect()
}

fn describe(number: usize, scan: &[u8]) -> Result<Scan, Problem> {
    let Some((_, media_type)) = MAGIC.iter().find(|(magic, _)| scan.starts_with(magic)) else {
        let detail = format!("scan {number} is neither PDF nor PNG, JPEG or TIFF");
        return Err(Problem::bad_input(Reason::BadInput, detail).hint("hand in the paper as a PDF or an image"));
    };
    let bytes = u64::try_from(scan.len()).expect("a length fits in 64 bits");
    Ok(Scan { sha256: Digest::of(scan), media_type: (*media_type).to_owned(), bytes })
}

const MAGIC: [(&[u8], &str); 5] = [
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II\x2a\0", "image/tiff"),
    (b"MM\0\x2a", "image/tiff"),
];
