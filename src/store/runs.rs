//! Leaves side by side in one value: what one commit appends costs the engine a few writes, and not one for each leaf.
//!
//! Rule: a run is written once, with the commit that appended its leaves, and never joined or cut afterwards.

use crate::store::LEAF_BYTES_MAX;

/// Puts leaves into runs, in their order: each run's first leaf, counted from 0, and its bytes.
///
/// A leaf is its length, in two bytes, big-endian, and itself.
pub(super) fn pack(leaves: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at, leaf) in (0..).zip(leaves) {
        let added = LENGTH_BYTES + leaf.len();
        if runs.last().is_none_or(|(_, run)| run.len() + added > RUN_BYTES) {
            runs.push((at, Vec::with_capacity(added)));
        }
        let (_, run) = runs.last_mut().expect("one was begun");
        let length = u16::try_from(leaf.len()).expect("the seam refuses what is longer");
        run.extend_from_slice(&length.to_be_bytes());
        run.extend_from_slice(leaf);
    }
    runs
}

/// The leaves of a run; `None` for anything that [`pack`] does not write.
pub(super) fn unpack(mut run: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = run.split_first_chunk::<LENGTH_BYTES>() {
        let (leaf, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if leaf.is_empty() {
            return None;
        }
        leaves.push(leaf);
        run = rest;
    }
    (run.is_empty() && !leaves.is_empty()).then_some(leaves)
}

const LENGTH_BYTES: usize = 2;

/// A run of several leaves is at most this long: the engine copies a page of some 20 values whenever one is added.
const RUN_BYTES: usize = 16 * 1024;

const _: () = assert!(LEAF_BYTES_MAX <= u16::MAX as usize, "a leaf's length fits two bytes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_out_of_their_runs_as_they_went_in() {
        for count in [1, 2, 3, 40, 250] {
            for bytes in [1, 600, 5000, LEAF_BYTES_MAX] {
                let leaves: Vec<Vec<u8>> = (0..count).map(|at: u8| vec![at; bytes]).collect();
                let runs = pack(&leaves);
                let mut found: Vec<&[u8]> = Vec::new();
                for (first, run) in &runs {
                    assert_eq!(*first, found.len() as u64);
                    let unpacked = unpack(run).expect("a run");
                    assert!(unpacked.len() == 1 || run.len() <= RUN_BYTES);
                    found.extend(unpacked);
                }
                assert_eq!(found, leaves);
            }
        }
    }

    #[test]
    fn leaves_that_fit_share_a_run() {
        let leaves = vec![vec![7; 600]; 256];
        assert_eq!(pack(&leaves).len(), 256_usize.div_ceil(RUN_BYTES / 602));
    }

    #[test]
    fn a_run_that_is_cut_short_or_holds_nothing_is_none() {
        let (_, run) = pack(&[b"one".to_vec(), b"two".to_vec()]).remove(0);
        assert_eq!(unpack(&run).expect("a run"), [b"one", b"two"]);
        for end in 0..run.len() {
            let read = unpack(&run[..end]);
            assert_eq!(read.map(|leaves| leaves.len()), (end == run.len() / 2).then_some(1), "{end} bytes");
        }
        assert_eq!(unpack(&[0, 0]), None);
    }
}
