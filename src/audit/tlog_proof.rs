//! The proof of one entry as a file: C2SP tlog-proof, with the signed checkpoint that it leads to.
//!
//! Rule: a proof in a file shows nothing by itself; it counts together with the entry and with a key that the reader
//! chose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit::note::{Checkpoint, Cosignature, LogKey, NOTE_BYTES_MAX, NoteError, WitnessKey};
use crate::audit::proof::{ProofError, verify_inclusion};
use crate::id::Digest;
use crate::leaf;

/// The longest proof file, in bytes: its head, at most 64 hashes, what others add, and a note.
pub const PROOF_FILE_BYTES_MAX: usize = 16 * 1024 + NOTE_BYTES_MAX;

/// The proof that a log has an entry at a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryProof {
    /// The entry's number.
    pub index: u64,
    /// The hashes from the entry up to the root.
    pub path: Vec<Digest>,
    /// The signed checkpoint, with the lines of its witnesses.
    pub note: String,
}

/// What a proof shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proved {
    /// The checkpoint whose log has the entry.
    pub checkpoint: Checkpoint,
    /// The witnesses who signed under it.
    pub countersigned: Vec<Cosignature>,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProofError {
    /// The file is not in the form.
    #[error("not a proof of an entry: {0}")]
    Form(&'static str),
    /// The checkpoint in it does not count.
    #[error("the checkpoint in the proof does not count: {0}")]
    Note(#[from] NoteError),
    /// The hashes do not lead from the entry to the checkpoint.
    #[error("the entry is not the one that was proved, or the proof was changed: {0}")]
    Proof(#[from] ProofError),
}

impl EntryProof {
    /// The content of a `.tlog-proof` file.
    pub fn to_text(&self) -> String {
        let path = self.path.iter().map(|hash| format!("{}\n", STANDARD.encode(hash.as_bytes())));
        format!("{HEAD}\nindex {}\n{}\n{}", self.index, path.collect::<String>(), self.note)
    }

    /// Reads a `.tlog-proof` file; nothing is verified. A line `extra` of others is passed over: nobody vouches for it.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryProofError> {
        let bad = EntryProofError::Form;
        if bytes.len() > PROOF_FILE_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(bad("it has no blank line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return Err(bad("its first line is not that of a proof"));
        }
        if let Some(extra) = lines.next_if(|line| line.starts_with("extra ")) {
            STANDARD.decode(&extra["extra ".len()..]).map_err(|_| bad("its extra line is malformed"))?;
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(read_number);
        let index = index.ok_or(bad("it has no index"))?;
        let path: Option<Vec<Digest>> = lines.map(read_hash).collect();
        let path = path.filter(|path| path.len() <= PATH_MAX).ok_or(bad("a line is no hash, or there are too many"))?;
        Checkpoint::claimed(note.as_bytes())?;
        Ok(Self { index, path, note: note.to_owned() })
    }

    /// Verifies that the log of one of `keys` has `line` as this entry, and which of `witnesses` signed under that.
    pub fn verify(&self, line: &[u8], keys: &[LogKey], witnesses: &[WitnessKey]) -> Result<Proved, EntryProofError> {
        let checkpoint = Checkpoint::open(self.note.as_bytes(), keys)?;
        let countersigned = Checkpoint::cosignatures(self.note.as_bytes(), witnesses)?;
        verify_inclusion(self.index, checkpoint.size, &leaf::hash(line), &checkpoint.root, &self.path)?;
        Ok(Proved { checkpoint, countersigned })
    }
}

/// A number in its one form.
fn read_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn read_hash(line: &str) -> Option<Digest> {
    let bytes: [u8; 32] = STANDARD.decode(line).ok()?.try_into().ok()?;
    Some(Digest::from_bytes(bytes))
}

const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// A tree of 2^64 leaves is no higher.
const PATH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::Frontier;
    use crate::signature::NoteSigner;

    fn signer() -> NoteSigner {
        NoteSigner::from_seed(&[7; 32])
    }

    fn key() -> LogKey {
        LogKey::new("st-mary.example/audit".parse().unwrap(), signer().public())
    }

    /// The proof of the second of three entries.
    fn sample() -> EntryProof {
        let mut tree = Frontier::new();
        let hashes: Vec<_> = ["first", "second", "third"].iter().map(|line| leaf::hash(line.as_bytes())).collect();
        for hash in &hashes {
            tree.push(*hash);
        }
        let checkpoint = Checkpoint { origin: key().name().clone(), size: 3, root: tree.root() };
        let witness = "partner.example/witness".parse().unwrap();
        let other = NoteSigner::from_seed(&[8; 32]);
        let line = checkpoint.cosign(&witness, &other, "2026-11-22T10:00:00Z".parse().unwrap());
        EntryProof { index: 1, path: vec![hashes[0], hashes[2]], note: checkpoint.sign(&signer()) + &line }
    }

    fn witness() -> WitnessKey {
        WitnessKey::new("partner.example/witness".parse().unwrap(), NoteSigner::from_seed(&[8; 32]).public())
    }

    #[test]
    fn a_proof_reads_back_and_shows_its_entry_and_its_witnesses() {
        let proof = sample();
        let text = proof.to_text();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"), "{text}");
        assert_eq!(EntryProof::parse(text.as_bytes()), Ok(proof.clone()));
        let proved = proof.verify(b"second", &[key()], &[witness()]).unwrap();
        assert_eq!((proved.checkpoint.size, proved.countersigned.len()), (3, 1));
        assert_eq!(proved.countersigned[0].key, witness());
        let with_extra = text.replacen('\n', "\nextra AAAA\n", 1);
        assert_eq!(EntryProof::parse(with_extra.as_bytes()), Ok(proof));
    }

    #[test]
    fn a_proof_shows_no_other_entry_place_or_log() {
        let proof = sample();
        assert!(matches!(proof.verify(b"Second", &[key()], &[]), Err(EntryProofError::Proof(ProofError::Root))));
        let elsewhere = EntryProof { index: 0, ..proof.clone() };
        assert!(matches!(elsewhere.verify(b"second", &[key()], &[]), Err(EntryProofError::Proof(_))));
        let stranger = LogKey::new(key().name().clone(), NoteSigner::from_seed(&[9; 32]).public());
        assert_eq!(proof.verify(b"second", &[stranger], &[]), Err(EntryProofError::Note(NoteError::Unsigned)));
        assert_eq!(proof.verify(b"second", &[key()], &[]).unwrap().countersigned, []);
    }

    #[test]
    fn every_flipped_bit_of_a_proof_is_refused_or_takes_the_witness_away() {
        let text = sample().to_text().into_bytes();
        let shows = |text: &[u8]| {
            let proved = EntryProof::parse(text).and_then(|proof| proof.verify(b"second", &[key()], &[witness()]));
            proved.is_ok_and(|proved| !proved.countersigned.is_empty())
        };
        assert!(shows(&text));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone();
                flipped[at] ^= 1 << bit;
                assert!(!shows(&flipped), "byte {at} bit {bit}");
            }
            assert!(!shows(&text[..at]), "{at} bytes");
        }
    }
}
