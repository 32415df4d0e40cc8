//! Are the proofs about the tree those of others, and is every other proof refused?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::collections::BTreeMap;
use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use medseal::audit::proof::{
    ProofError, ProveError, Subtrees, consistency, inclusion, verify_consistency, verify_inclusion,
};
use medseal::audit::tree::Frontier;
use medseal::id::Digest;
use medseal::leaf;
use proptest::prelude::*;
use sha2_later::{Digest as _, Sha256};
use tlog_tiles::{Hash, HashReader, prove_record, prove_tree, split_stored_hash_index, tree_hash};

/// Every size up to this one is compared with the other implementations.
const SIZES: u64 = 300;

fn parent(left: &Digest, right: &Digest) -> Digest {
    let node = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest::from_bytes(node.finalize().into())
}

fn leaf_hash(at: u64) -> Digest {
    leaf::hash(&at.to_be_bytes())
}

/// The roots of all full subtrees of a tree in memory.
pub(crate) struct InMemory(Vec<Vec<Digest>>);

impl InMemory {
    fn new(size: u64) -> Self {
        Self::over((0..size).map(leaf_hash).collect())
    }

    pub(crate) fn over(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(above) = levels.last().filter(|below| below.len() > 1) {
            levels.push(above.as_chunks().0.iter().map(|[left, right]| parent(left, right)).collect());
        }
        Self(levels)
    }
}

impl Subtrees for InMemory {
    type Error = Infallible;
    fn root(&self, level: u8, index: u64) -> Result<Digest, Infallible> {
        Ok(self.0[usize::from(level)][usize::try_from(index).unwrap()])
    }
}

/// A tree of any size: all leaves are the same but a few, so that a subtree's root shows where it stands.
struct Sparse {
    special: BTreeMap<u64, Digest>,
    plain: Vec<Digest>,
}

impl Sparse {
    fn new(special: impl IntoIterator<Item = u64>) -> Self {
        let mut plain = vec![leaf::hash(b"plain")];
        (0..64).for_each(|level| plain.push(parent(&plain[level], &plain[level])));
        Self { special: special.into_iter().map(|at| (at, leaf_hash(at))).collect(), plain }
    }

    fn leaf(&self, at: u64) -> Digest {
        self.root(0, at).unwrap()
    }
}

impl Subtrees for Sparse {
    type Error = Infallible;
    fn root(&self, level: u8, index: u64) -> Result<Digest, Infallible> {
        let first = index << level;
        let mut inside = self.special.range(first..=first + ((1 << level) - 1));
        Ok(match (level, inside.next()) {
            (_, None) => self.plain[usize::from(level)],
            (0, Some((_, leaf))) => *leaf,
            _ => parent(&self.root(level - 1, 2 * index)?, &self.root(level - 1, 2 * index + 1)?),
        })
    }
}

/// The same subtrees for the other implementation.
struct Theirs<'a, S>(&'a S);

impl<S: Subtrees<Error = Infallible>> HashReader for Theirs<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let root = |(level, index)| Hash(*self.0.root(level, index).unwrap().as_bytes());
        Ok(indexes.iter().map(|at| root(split_stored_hash_index(*at))).collect())
    }
}

fn ours(hashes: &[Hash]) -> Vec<Digest> {
    hashes.iter().map(|hash| Digest::from_bytes(hash.0)).collect()
}

fn bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn roots_and_proofs_are_those_of_two_other_implementations_for_all_sizes_up_to_300() {
    let tree = InMemory::new(SIZES);
    let mut second = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let (mut frontier, mut roots) = (Frontier::new(), vec![Frontier::new().root()]);
    for size in 1..=SIZES {
        frontier.push(leaf_hash(size - 1));
        second.push((size - 1).to_be_bytes().to_vec());
        let root = frontier.root();
        roots.push(root);
        assert_eq!(root.as_bytes(), &tree_hash(size, &Theirs(&tree)).unwrap().0, "{size} leaves");
        assert_eq!(root.as_bytes()[..], second.root().as_bytes()[..], "{size} leaves");
        for asked in 0..size {
            let proof = inclusion(asked, size, &tree).unwrap();
            assert_eq!(proof, ours(&prove_record(size, asked, &Theirs(&tree)).unwrap()), "leaf {asked} of {size}");
            let place = usize::try_from(asked).unwrap();
            assert_eq!(bytes(&proof), second.prove_inclusion(place).as_bytes(), "leaf {asked} of {size}");
            assert_eq!(verify_inclusion(asked, size, &leaf_hash(asked), &root, &proof), Ok(()));
        }
        for old in 1..=size {
            let proof = consistency(old, size, &tree).unwrap();
            assert_eq!(proof, ours(&prove_tree(size, old, &Theirs(&tree)).unwrap()), "{old} of {size}");
            let added = usize::try_from(size - old).unwrap();
            assert_eq!(bytes(&proof), second.prove_consistency(added).as_bytes(), "{old} of {size}");
            let old_root = &roots[usize::try_from(old).unwrap()];
            assert_eq!(verify_consistency(old, size, old_root, &root, &proof), Ok(()));
        }
    }
}

/// Every proof that is one change away from this one: a hash left out, doubled, strange, or exchanged with the next.
fn mutations(proof: &[Digest]) -> Vec<Vec<Digest>> {
    let stranger = Digest::of(b"stranger");
    let mut found = vec![[proof, &[stranger]].concat(), [&[stranger], proof].concat()];
    for at in 0..proof.len() {
        let mut flipped = *proof[at].as_bytes();
        flipped[at % 32] ^= 1 << (at % 8);
        let mut change = |edit: &dyn Fn(&mut Vec<Digest>)| {
            let mut changed = proof.to_vec();
            edit(&mut changed);
            found.push(changed);
        };
        change(&|changed| _ = changed.remove(at));
        change(&|changed| changed.truncate(at));
        change(&|changed| changed.insert(at, proof[at]));
        change(&|changed| changed[at] = Digest::from_bytes(flipped));
        if at + 1 < proof.len() && proof[at] != proof[at + 1] {
            change(&|changed| changed.swap(at, at + 1));
        }
    }
    found
}

#[test]
fn every_changed_proof_is_refused_for_all_sizes_up_to_70() {
    let tree = InMemory::new(70);
    let roots: Vec<_> = (0..=70).map(|size| root_of(&tree, size)).collect();
    let root = |size: u64| &roots[usize::try_from(size).unwrap()];
    let stranger = Digest::of(b"stranger");
    for size in 1..=70 {
        for at in 0..size {
            let (proof, leaf) = (inclusion(at, size, &tree).unwrap(), leaf_hash(at));
            let check = |leaf: &Digest, root: &Digest, proof: &[Digest]| verify_inclusion(at, size, leaf, root, proof);
            for changed in mutations(&proof) {
                assert!(check(&leaf, root(size), &changed).is_err(), "leaf {at} of {size}: {changed:?}");
            }
            assert_eq!(check(&stranger, root(size), &proof), Err(ProofError::Root));
            assert_eq!(check(&leaf, &stranger, &proof), Err(ProofError::Root));
        }
        for old in 1..=size {
            let proof = consistency(old, size, &tree).unwrap();
            for changed in mutations(&proof) {
                let checked = verify_consistency(old, size, root(old), root(size), &changed);
                assert!(checked.is_err(), "{old} of {size}: {changed:?}");
            }
            assert!(verify_consistency(old, size, &stranger, root(size), &proof).is_err());
            assert!(verify_consistency(old, size, root(old), &stranger, &proof).is_err());
        }
    }
}

#[test]
fn a_proof_for_one_place_or_size_proves_no_other() {
    let tree = InMemory::new(40);
    let root = |size| root_of(&tree, size);
    for size in 1..=40 {
        for at in 0..size {
            let proof = inclusion(at, size, &tree).unwrap();
            for other in (0..size + 2).filter(|other| *other != at) {
                assert!(verify_inclusion(other, size, &leaf_hash(at), &root(size), &proof).is_err());
            }
            let proof = consistency(at, size, &tree).unwrap();
            for other in (1..size + 2).filter(|other| *other != at) {
                assert!(verify_consistency(other, size, &root(at), &root(size), &proof).is_err(), "{other} for {at}");
            }
        }
    }
}

#[test]
fn the_edges_are_decided() {
    let tree = InMemory::new(8);
    let (empty, five, eight) = (Frontier::new().root(), root_of(&tree, 5), root_of(&tree, 8));
    assert_eq!(consistency(0, 8, &tree), Ok(vec![]));
    assert_eq!(consistency(8, 8, &tree), Ok(vec![]));
    assert_eq!(verify_consistency(0, 8, &empty, &eight, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 0, &empty, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(8, 8, &eight, &eight, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 8, &five, &eight, &[]), Err(ProofError::OldRoot));
    assert_eq!(verify_consistency(0, 8, &empty, &eight, &[five]), Err(ProofError::Length));
    assert_eq!(verify_consistency(0, 0, &empty, &eight, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(8, 8, &five, &eight, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(8, 8, &eight, &eight, &[five]), Err(ProofError::Length));
    assert_eq!(verify_consistency(8, 5, &eight, &five, &[]), Err(ProofError::Beyond));
    assert_eq!(verify_consistency(5, 8, &five, &eight, &[]), Err(ProofError::Length));
    assert_eq!(inclusion(8, 8, &tree), Err(ProveError::Beyond { asked: 8, size: 8 }));
    assert_eq!(consistency(9, 8, &tree), Err(ProveError::Beyond { asked: 9, size: 8 }));
    assert_eq!(verify_inclusion(0, 0, &five, &five, &[]), Err(ProofError::Beyond));
    assert_eq!(verify_inclusion(0, 1, &five, &five, &[]), Ok(()));

    // The largest sizes that there are.
    let sparse = Sparse::new([0, 7, u64::MAX - 2, u64::MAX - 1]);
    let top = root_of(&sparse, u64::MAX);
    for at in [0, 7, 1 << 63, u64::MAX - 1] {
        let proof = inclusion(at, u64::MAX, &sparse).unwrap();
        assert_eq!(verify_inclusion(at, u64::MAX, &sparse.leaf(at), &top, &proof), Ok(()));
        let proof = consistency(at, u64::MAX, &sparse).unwrap();
        assert_eq!(verify_consistency(at, u64::MAX, &root_of(&sparse, at), &top, &proof), Ok(()));
    }
}

/// The root of the first `size` leaves, from the roots of their full subtrees.
fn root_of(tree: &impl Subtrees<Error = Infallible>, size: u64) -> Digest {
    let mut start = 0;
    let mut peaks = Vec::new();
    for level in (0..64_u8).rev().filter(|level| size >> level & 1 == 1) {
        peaks.push(tree.root(level, start >> level).unwrap());
        start += 1 << level;
    }
    peaks.into_iter().rev().reduce(|right, left| parent(&left, &right)).unwrap_or_else(|| Frontier::new().root())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn proofs_of_large_trees_are_those_of_another_implementation(
        size in 1_u64..1 << 40,
        part in any::<u64>(),
        special in prop::collection::vec(0_u64..1 << 40, 0..6),
    ) {
        let at = part % size;
        let sparse = Sparse::new(special.into_iter().chain([at, at / 2, size - 1]));
        let root = root_of(&sparse, size);
        prop_assert_eq!(root.as_bytes(), &tree_hash(size, &Theirs(&sparse)).unwrap().0);

        let proof = inclusion(at, size, &sparse).unwrap();
        prop_assert_eq!(&proof, &ours(&prove_record(size, at, &Theirs(&sparse)).unwrap()));
        prop_assert_eq!(verify_inclusion(at, size, &sparse.leaf(at), &root, &proof), Ok(()));
        for changed in mutations(&proof) {
            prop_assert!(verify_inclusion(at, size, &sparse.leaf(at), &root, &changed).is_err());
        }

        let old = at + 1;
        let old_root = root_of(&sparse, old);
        let proof = consistency(old, size, &sparse).unwrap();
        prop_assert_eq!(&proof, &ours(&prove_tree(size, old, &Theirs(&sparse)).unwrap()));
        prop_assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()));
        for changed in mutations(&proof) {
            prop_assert!(verify_consistency(old, size, &old_root, &root, &changed).is_err());
        }
    }
}
