//! Whether a log only grew: RFC 9162, section 2.1.4, from a list of leaf hashes and without one.
//!
//! Rule: the check fails closed, and takes a proof of exactly the length that the two sizes ask for.

use sha2::{Digest as _, Sha256};

use crate::id::Digest;

/// Whether the proof shows that the tree of `old` leaves is the beginning of the tree of `new` leaves.
pub(super) fn verifies(old: u64, new: u64, old_root: &Digest, new_root: &Digest, proof: &[Digest]) -> bool {
    if old == 0 || old >= new {
        return false;
    }
    // A complete subtree is its own first hash, which the proof then leaves out.
    let (first, mut rest) = if old.is_power_of_two() {
        (*old_root, proof.iter())
    } else {
        let Some((first, rest)) = proof.split_first() else { return false };
        (*first, rest.iter())
    };
    let (mut at, mut last) = (old - 1, new - 1);
    while at % 2 == 1 {
        (at, last) = (at / 2, last / 2);
    }
    let (mut smaller, mut larger) = (first, first);
    while last > 0 {
        if at % 2 == 1 || at == last {
            let Some(node) = rest.next() else { return false };
            (smaller, larger) = (parent(node, &smaller), parent(node, &larger));
            while at % 2 == 0 && at > 0 {
                (at, last) = (at / 2, last / 2);
            }
        } else {
            let Some(node) = rest.next() else { return false };
            larger = parent(&larger, node);
        }
        (at, last) = (at / 2, last / 2);
    }
    rest.next().is_none() && smaller == *old_root && larger == *new_root
}

/// The proof that the first `old` leaves are the beginning of all of them.
pub fn consistency(old: usize, leaves: &[Digest]) -> Vec<Digest> {
    let mut proof = Vec::new();
    if old > 0 && old < leaves.len() {
        below(old, leaves, true, &mut proof);
    }
    proof
}

fn below(old: usize, leaves: &[Digest], whole: bool, proof: &mut Vec<Digest>) {
    if old == leaves.len() {
        if !whole {
            proof.push(root(leaves));
        }
        return;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    if old <= left.len() {
        below(old, left, whole, proof);
        proof.push(root(right));
    } else {
        below(old - left.len(), right, false, proof);
        proof.push(root(left));
    }
}

fn root(leaves: &[Digest]) -> Digest {
    let mut tree = crate::audit::tree::Frontier::new();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    let node = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest::from_bytes(node.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_between_two_sizes_up_to_40_holds_and_no_changed_one_does() {
        let leaves: Vec<Digest> = (0..40_u8).map(|at| Digest::of(&[at])).collect();
        let stranger = Digest::of(b"stranger");
        for new in 2..=leaves.len() {
            for old in 1..new {
                let (old_root, new_root) = (root(&leaves[..old]), root(&leaves[..new]));
                let check = |proof: &[Digest]| verifies(old as u64, new as u64, &old_root, &new_root, proof);
                let proof = consistency(old, &leaves[..new]);
                assert!(check(&proof), "{old} of {new}");
                assert!(!check(&[&proof[..], &[stranger]].concat()) && !check(&[&[stranger], &proof[..]].concat()));
                for at in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[at] = stranger;
                    assert!(!check(&changed), "{old} of {new}, {at} changed");
                    changed.remove(at);
                    assert!(!check(&changed), "{old} of {new}, {at} left out");
                }
                assert!(!verifies(old as u64, new as u64, &stranger, &new_root, &proof));
                assert!(!verifies(old as u64, new as u64, &old_root, &stranger, &proof));
            }
        }
    }
}
