//! Proofs about the tree of leaves: that an entry is in it, and that a later tree begins with an earlier one; RFC 9162,
//! sections 2.1.3 and 2.1.4, with the hashes of RFC 6962.
//!
//! Rule: a check fails closed. It takes the one proof that has exactly the length which the sizes ask for, and nothing
//! is read from a proof that the caller could get wrong.

use crate::audit::tree::{Frontier, parent};
use crate::id::Digest;

/// Whoever knows the roots of full subtrees: a list of leaves, or stored tiles.
pub trait Subtrees {
    /// Why a root is not to be had.
    type Error;

    /// The root over the 2^`level` leaves from leaf `index` * 2^`level` on. Asked only for subtrees inside the tree.
    fn root(&self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

/// Why there is no proof.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProveError<E> {
    /// What is to be proved is not true of trees of these sizes.
    #[error("the tree of {size} leaves has no {asked}")]
    Beyond {
        /// The leaf's number, or the earlier size.
        asked: u64,
        /// The tree's size.
        size: u64,
    },
    /// A root of a subtree is not to be had.
    #[error(transparent)]
    Subtree(#[from] E),
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProofError {
    /// The leaf or the earlier tree is not inside the later tree.
    #[error("what is to be proved is beyond the end of the tree")]
    Beyond,
    /// The proof has more or fewer hashes than the sizes ask for.
    #[error("the proof does not have the length that the sizes ask for")]
    Length,
    /// The proof does not lead to the root of the tree, of the later one if there are two.
    #[error("the proof does not lead to the root")]
    Root,
    /// The proof does not lead to the root of the earlier tree.
    #[error("the proof does not lead to the root of the earlier tree")]
    OldRoot,
}

/// The root of the tree of `size` leaves; of none, the SHA-256 of nothing.
pub fn root<S: Subtrees>(size: u64, tree: &S) -> Result<Digest, S::Error> {
    if size == 0 { Ok(Digest::of(b"")) } else { range(tree, 0, size) }
}

/// The proof that leaf `index` is in the tree of `size` leaves: at most 64 hashes, the one beside the leaf first.
pub fn inclusion<S: Subtrees>(index: u64, size: u64, tree: &S) -> Result<Vec<Digest>, ProveError<S::Error>> {
    if index >= size {
        return Err(ProveError::Beyond { asked: index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = split(start, end);
        if index < middle {
            path.push(range(tree, middle, end)?);
            end = middle;
        } else {
            path.push(range(tree, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves; without hashes if one is empty or they
/// are the same.
pub fn consistency<S: Subtrees>(old: u64, new: u64, tree: &S) -> Result<Vec<Digest>, ProveError<S::Error>> {
    if old > new {
        return Err(ProveError::Beyond { asked: old, size: new });
    }
    let mut path = Vec::new();
    if old == 0 {
        return Ok(path);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = split(start, end);
        if old <= middle {
            path.push(range(tree, middle, end)?);
            end = middle;
        } else {
            path.push(range(tree, start, middle)?);
            start = middle;
        }
    }
    // From the first leaf on, this is the earlier tree itself, whose root the reader has.
    if start > 0 {
        path.push(range(tree, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that the leaf with hash `leaf` is number `index` in the tree of `size` leaves with this root.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Beyond);
    }
    let mut climb = Climb { at: index, last: size - 1 };
    let mut node = *leaf;
    for beside in proof {
        node = match climb.step()? {
            Side::Left => parent(beside, &node),
            Side::Right => parent(&node, beside),
        };
    }
    climb.arrived()?;
    if node == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// The tree of the leaves before leaf `index`, from a proof of that leaf that was verified: all that stands to its left.
pub fn tree_before(index: u64, size: u64, proof: &[Digest]) -> Result<Frontier, ProofError> {
    if index >= size {
        return Err(ProofError::Beyond);
    }
    let mut climb = Climb { at: index, last: size - 1 };
    let mut left = Vec::new();
    for beside in proof {
        if matches!(climb.step()?, Side::Left) {
            left.push(*beside);
        }
    }
    let peaks = left.iter().rev().flat_map(|peak| *peak.as_bytes());
    let bytes: Vec<_> = index.to_be_bytes().into_iter().chain(peaks).collect();
    Frontier::from_bytes(&bytes).ok_or(ProofError::Length)
}

/// Checks that the tree of `new` leaves with root `new_root` begins with the tree of `old` leaves with root `old_root`.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Digest,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Beyond);
    }
    if old == 0 && *old_root != Frontier::new().root() {
        return Err(ProofError::OldRoot);
    }
    if old == new && old_root != new_root {
        return Err(ProofError::Root);
    }
    if old == 0 || old == new {
        return if proof.is_empty() { Ok(()) } else { Err(ProofError::Length) };
    }
    // The climb begins at the largest full subtree that ends the earlier tree; only where that is the whole earlier
    // tree its root is known and not in the proof.
    let skipped = old.trailing_zeros();
    let (start, rest) =
        if old.is_power_of_two() { (old_root, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let mut climb = Climb { at: (old - 1) >> skipped, last: (new - 1) >> skipped };
    let (mut older, mut newer) = (*start, *start);
    for beside in rest {
        match climb.step()? {
            Side::Left => (older, newer) = (parent(beside, &older), parent(beside, &newer)),
            // What stands to the right came after the earlier tree.
            Side::Right => newer = parent(&newer, beside),
        }
    }
    climb.arrived()?;
    if older != *old_root {
        return Err(ProofError::OldRoot);
    }
    if newer == *new_root { Ok(()) } else { Err(ProofError::Root) }
}

/// The way from a node up to the root: the node's number in its level, and that of the level's last node.
struct Climb {
    at: u64,
    last: u64,
}

/// On which side of the node the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

impl Climb {
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length);
        }
        let side = if self.at % 2 == 1 {
            Side::Left
        } else if self.at < self.last {
            Side::Right
        } else {
            // The last node without a neighbour rises as it is to the level where it has one.
            let lone = self.at.trailing_zeros();
            (self.at, self.last) = (self.at >> lone, self.last >> lone);
            Side::Left
        };
        (self.at, self.last) = (self.at / 2, self.last / 2);
        Ok(side)
    }

    const fn arrived(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::Length) }
    }
}

/// Where the leaves from `start` to before `end`, two or more, part: after the most leaves that make a full subtree.
const fn split(start: u64, end: u64) -> u64 {
    start + (1 << (end - start - 1).ilog2())
}

/// The root over the leaves from `start` to before `end`, where a subtree of that many leaves may begin at `start`.
fn range<S: Subtrees>(tree: &S, mut start: u64, end: u64) -> Result<Digest, S::Error> {
    let mut peaks = Vec::new();
    while start < end {
        let level = (end - start).ilog2();
        let level = u8::try_from(level).expect("a u64 has less than 256 bits");
        peaks.push(tree.root(level, start >> level)?);
        start += 1 << level;
    }
    let fold = peaks.into_iter().rev().reduce(|right, left| parent(&left, &right));
    Ok(fold.expect("a range has a leaf"))
}
