//! Whether two signed notes of one log tell one history.
//!
//! Rule: both signatures have been verified before anything is said; a fork is told only where two roots cannot both be
//! of one log that only grew.

use crate::audit::note::{Checkpoint, LogKey, NoteError};
use crate::audit::proof::verify_consistency;
use crate::id::Digest;

/// Two verified notes of one log, the smaller one first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// The one that covers fewer entries.
    pub older: Checkpoint,
    /// The one that covers more.
    pub newer: Checkpoint,
}

/// What somebody who has the entries says of two sizes of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witnessed {
    /// The root over as many entries as the older note covers.
    pub older: Digest,
    /// The root over as many entries as the newer note covers.
    pub newer: Digest,
    /// That the second continues the first.
    pub proof: Vec<Digest>,
}

/// What two notes say of each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// They are the same.
    Same,
    /// The newer one continues the older one, as the proof shows.
    Continues,
    /// One size, two roots, both signed: the signer keeps two histories.
    TwoRoots,
    /// The newer one is the log that was looked at, and the older one is no beginning of it.
    OlderElsewhere,
    /// The older one is a beginning of the log that was looked at, and the newer one is not.
    NewerElsewhere,
    /// Neither is of the log that was looked at: nothing is known of the two.
    BothElsewhere,
    /// Only the entries, or a proof made from them, can tell.
    NeedsProof,
}

/// Why two notes cannot be compared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A note does not count.
    #[error("the {which} note does not count: {why}")]
    Note {
        /// `first` or `second`.
        which: &'static str,
        /// Why.
        #[source]
        why: NoteError,
    },
    /// They are of two logs.
    #[error("the notes are of two logs: {0} and {1}")]
    TwoLogs(String, String),
}

impl Pair {
    /// Verifies two notes by these keys.
    pub fn open(first: &[u8], second: &[u8], keys: &[LogKey]) -> Result<Self, CompareError> {
        let open = |note, which| Checkpoint::open(note, keys).map_err(|why| CompareError::Note { which, why });
        let (first, second) = (open(first, "first")?, open(second, "second")?);
        if first.origin != second.origin {
            return Err(CompareError::TwoLogs(first.origin.to_string(), second.origin.to_string()));
        }
        let (older, newer) = if first.size <= second.size { (first, second) } else { (second, first) };
        Ok(Self { older, newer })
    }

    /// What the notes say by themselves.
    pub fn alone(&self) -> Verdict {
        match (self.older.size == self.newer.size, self.older.root == self.newer.root) {
            (true, true) => Verdict::Same,
            (true, false) => Verdict::TwoRoots,
            // Every log continues the empty one.
            _ if self.proves(&[]) => Verdict::Continues,
            _ => Verdict::NeedsProof,
        }
    }

    /// Whether a proof shows that the newer note continues the older one.
    pub fn proves(&self, proof: &[Digest]) -> bool {
        let (older, newer) = (&self.older, &self.newer);
        verify_consistency(older.size, newer.size, &older.root, &newer.root, proof).is_ok()
    }

    /// What they say together with somebody who has the entries.
    pub fn with(&self, witnessed: &Witnessed) -> Verdict {
        match self.alone() {
            Verdict::NeedsProof => {}
            verdict => return verdict,
        }
        match (witnessed.older == self.older.root, witnessed.newer == self.newer.root) {
            (true, true) if self.proves(&witnessed.proof) => Verdict::Continues,
            (true, true) => Verdict::NeedsProof,
            (false, true) => Verdict::OlderElsewhere,
            (true, false) => Verdict::NewerElsewhere,
            (false, false) => Verdict::BothElsewhere,
        }
    }
}

impl Verdict {
    /// The word for it, as it stands in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Continues => "consistent",
            Self::TwoRoots | Self::OlderElsewhere | Self::NewerElsewhere => "forked",
            Self::BothElsewhere => "elsewhere",
            Self::NeedsProof => "needs-proof",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::Frontier;
    use crate::leaf;
    use crate::signature::NoteSigner;

    fn signer() -> NoteSigner {
        NoteSigner::from_seed(&[1; 32])
    }

    fn keys() -> [LogKey; 1] {
        [LogKey::new("st-mary/medseal/log".parse().unwrap(), signer().public())]
    }

    /// The root over entries that are told apart by a mark from this one on.
    fn root(size: u64, marked_from: u64) -> Digest {
        let mut tree = Frontier::new();
        (0..size).for_each(|at| tree.push(leaf::hash(&[u8::try_from(at).unwrap(), u8::from(at >= marked_from)])));
        tree.root()
    }

    fn note(size: u64, root: Digest) -> Vec<u8> {
        Checkpoint { origin: keys()[0].name().clone(), size, root }.sign(&signer()).into_bytes()
    }

    fn pair(older: (u64, u64), newer: (u64, u64)) -> Pair {
        let note = |(size, marked)| note(size, root(size, marked));
        // The order in which they are given does not matter.
        Pair::open(&note(newer), &note(older), &keys()).unwrap()
    }

    #[test]
    fn one_size_and_two_roots_are_a_fork_by_themselves() {
        assert_eq!(pair((5, 9), (5, 9)).alone(), Verdict::Same);
        assert_eq!(pair((5, 9), (5, 4)).alone(), Verdict::TwoRoots);
        assert_eq!(pair((5, 9), (8, 9)).alone(), Verdict::NeedsProof);
        assert_eq!(pair((0, 9), (8, 9)).alone(), Verdict::Continues);
    }

    #[test]
    fn the_entries_tell_which_note_is_of_another_history() {
        // Four and eight entries: the proof is the root of the second half.
        let second_half = {
            let mut tree = Frontier::new();
            (4..8).for_each(|at| tree.push(leaf::hash(&[at, 0])));
            tree.root()
        };
        let truth = Witnessed { older: root(4, 9), newer: root(8, 9), proof: vec![second_half] };
        assert_eq!(pair((4, 9), (8, 9)).with(&truth), Verdict::Continues);
        assert_eq!(pair((4, 2), (8, 9)).with(&truth), Verdict::OlderElsewhere);
        assert_eq!(pair((4, 9), (8, 6)).with(&truth), Verdict::NewerElsewhere);
        assert_eq!(pair((4, 2), (8, 2)).with(&truth), Verdict::BothElsewhere);
        // Roots without a proof between them show nothing.
        let unproved = Witnessed { proof: Vec::new(), ..truth };
        assert_eq!(pair((4, 9), (8, 9)).with(&unproved), Verdict::NeedsProof);
    }

    #[test]
    fn a_note_that_its_log_did_not_sign_is_not_compared() {
        let good = note(5, root(5, 9));
        let forged = Checkpoint { origin: keys()[0].name().clone(), size: 5, root: root(5, 4) };
        let forged = forged.sign(&NoteSigner::from_seed(&[2; 32])).into_bytes();
        let refused = Pair::open(&good, &forged, &keys()).unwrap_err();
        assert_eq!(refused, CompareError::Note { which: "second", why: NoteError::Unsigned });
        let other = LogKey::new("other/medseal/log".parse().unwrap(), signer().public());
        let foreign = Checkpoint { origin: other.name().clone(), size: 5, root: root(5, 9) };
        let both = [keys()[0].clone(), other];
        let refused = Pair::open(&good, foreign.sign(&signer()).as_bytes(), &both).unwrap_err();
        assert!(matches!(refused, CompareError::TwoLogs(..)));
    }
}
