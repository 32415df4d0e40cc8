//! The tree over entries that somebody reads once, from an export or from a file.
//!
//! Rule: it holds one hash for each entry, and nothing of the entries.

use crate::audit::compare::Witnessed;
use crate::audit::proof::{Subtrees, consistency, root};
use crate::audit::tree::Frontier;
use crate::id::Digest;
use crate::leaf;

/// The hashes of entries, in order.
#[derive(Clone, Debug, Default)]
pub struct Leaves(Vec<Digest>);

/// A subtree was asked for that the leaves do not reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the entries end before that")]
pub struct TooFew;

impl Leaves {
    /// Adds the next entry.
    pub fn push(&mut self, line: &[u8]) {
        self.0.push(leaf::hash(line));
    }

    /// How many there are.
    pub const fn size(&self) -> u64 {
        self.0.len() as u64
    }

    /// The roots at two sizes and the proof between them; `None` if there are fewer entries.
    pub fn witnessed(&self, old: u64, new: u64) -> Option<Witnessed> {
        let proof = consistency(old, new, self).ok()?;
        Some(Witnessed { older: root(old, self).ok()?, newer: root(new, self).ok()?, proof })
    }
}

impl Subtrees for Leaves {
    type Error = TooFew;
    fn root(&self, level: u8, index: u64) -> Result<Digest, TooFew> {
        let size = 1_u64.checked_shl(u32::from(level)).ok_or(TooFew)?;
        let start = index.checked_mul(size).and_then(|start| usize::try_from(start).ok()).ok_or(TooFew)?;
        let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size)).ok_or(TooFew)?;
        let mut tree = Frontier::new();
        self.0.get(start..end).ok_or(TooFew)?.iter().for_each(|leaf| tree.push(*leaf));
        Ok(tree.root())
    }
}
