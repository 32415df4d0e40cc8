//! The witness: what is asked of it (C2SP tlog-witness `add-checkpoint`), and what it answers.
//!
//! Rule: a witness signs under a checkpoint only after it has checked that the log only grew, and after what it signs is
//! on the disk. Nothing here speaks to a network.

mod seen;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use self::seen::{Seen, SeenError};
use crate::audit::note::{Checkpoint, LogKey, NOTE_BYTES_MAX, NoteError};
use crate::audit::proof::verify_consistency;
use crate::id::Digest;

/// The most lines that a proof may have.
pub const PROOF_LINES_MAX: usize = 63;

/// The largest request, in bytes: the first line, the longest proof, and a note.
pub const SUBMISSION_BYTES_MAX: usize = 32 + PROOF_LINES_MAX * 45 + 1 + NOTE_BYTES_MAX;

/// A checkpoint that a log brings, with the proof that it contains the one that the witness saw last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    /// The size that the witness saw last, as the log believes.
    pub old: u64,
    /// That the log of that size is the beginning of this one.
    pub proof: Vec<Digest>,
    /// The signed checkpoint.
    pub note: String,
}

/// Why a witness does not sign. Each is one HTTP status of the specification.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: not a request of this form.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// 400: the log says that it was larger before.
    #[error("the old size is larger than the checkpoint's")]
    Shrunk,
    /// 403: no signature that counts.
    #[error("the checkpoint is not signed by a key of this log: {0}")]
    Unsigned(NoteError),
    /// 404: a log that this witness does not know from this partner.
    #[error("this partner has no log of this name")]
    UnknownOrigin,
    /// 409: the witness saw another size last.
    #[error("the witness saw {size} entries last")]
    OtherSize {
        /// The size that it saw.
        size: u64,
    },
    /// 422: the log is not a continuation of what the witness saw.
    #[error("the log is not a continuation of what was seen before")]
    Inconsistent,
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Shrunk => 400,
            Self::Unsigned(_) => 403,
            Self::UnknownOrigin => 404,
            Self::OtherSize { .. } => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl Submission {
    /// Reads the body of `add-checkpoint`.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let bad = Refusal::Malformed;
        if body.len() > SUBMISSION_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| bad("it is not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(bad("it has no blank line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(read_size);
        let old = old.ok_or(bad("its first line is not `old` and a size"))?;
        let proof: Option<Vec<Digest>> = lines.map(read_hash).collect();
        let proof = proof.ok_or(bad("a line of its proof is no hash"))?;
        if proof.len() > PROOF_LINES_MAX {
            return Err(bad("its proof has too many lines"));
        }
        Checkpoint::claimed(note.as_bytes()).map_err(|_| bad("it ends with no signed checkpoint"))?;
        Ok(Self { old, proof, note: note.to_owned() })
    }

    /// The body of `add-checkpoint`.
    pub fn to_body(&self) -> String {
        let proof = self.proof.iter().map(|hash| format!("{}\n", STANDARD.encode(hash.as_bytes())));
        format!("old {}\n{}\n{}", self.old, proof.collect::<String>(), self.note)
    }

    /// What a witness answers who knows the log by these keys and saw this checkpoint of it last: the checkpoint to
    /// sign, or why not. The order of the checks is that of the specification.
    pub fn decide(&self, keys: &[LogKey], seen: Option<&Checkpoint>) -> Result<Checkpoint, Refusal> {
        let bad = Refusal::Malformed("it ends with no signed checkpoint");
        let claimed = Checkpoint::claimed(self.note.as_bytes()).map_err(|_| bad)?;
        if keys.iter().all(|key| *key.name() != claimed.origin) {
            return Err(Refusal::UnknownOrigin);
        }
        let next = Checkpoint::open(self.note.as_bytes(), keys).map_err(Refusal::Unsigned)?;
        if self.old > next.size {
            return Err(Refusal::Shrunk);
        }
        let size = seen.map_or(0, |seen| seen.size);
        if self.old != size {
            return Err(Refusal::OtherSize { size });
        }
        let continues = match seen {
            // The first sight of a log: there is nothing to contradict.
            None => self.proof.is_empty(),
            Some(seen) => verify_consistency(seen.size, next.size, &seen.root, &next.root, &self.proof).is_ok(),
        };
        if continues { Ok(next) } else { Err(Refusal::Inconsistent) }
    }
}

/// A proof as a file of its own: one hash a line.
pub fn proof_text(proof: &[Digest]) -> String {
    let lines: Vec<_> = proof.iter().map(|hash| format!("{}\n", STANDARD.encode(hash.as_bytes()))).collect();
    lines.concat()
}

/// Reads [`proof_text`].
pub fn read_proof(bytes: &[u8]) -> Result<Vec<Digest>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed("it is not UTF-8"))?;
    let proof: Option<Vec<_>> = text.lines().take(PROOF_LINES_MAX + 1).map(read_hash).collect();
    proof
        .filter(|proof| proof.len() <= PROOF_LINES_MAX)
        .ok_or(Refusal::Malformed("a line of the proof is no hash, or there are too many"))
}

/// A size in its one form.
fn read_size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

fn read_hash(line: &str) -> Option<Digest> {
    let bytes: [u8; 32] = STANDARD.decode(line).ok()?.try_into().ok()?;
    Some(Digest::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
