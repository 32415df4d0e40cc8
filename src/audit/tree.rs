//! The Merkle tree over the leaves: RFC 6962, section 2.1, with SHA-256.
//!
//! Rule: only the right edge is kept, at most 64 hashes; the leaves themselves are the tree.

use crate::id::Digest;

/// The right edge of a tree: the roots of its full subtrees, the largest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of the next leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.push_subtree(0, leaf);
    }

    /// Adds the root of the next 2^level leaves. The size is a multiple of their number.
    pub(super) fn push_subtree(&mut self, level: u32, root: Digest) {
        debug_assert!(self.size.is_multiple_of(1 << level), "a subtree stands where its leaves would");
        let mut node = root;
        // Each trailing one bit of the old size is a full subtree that the new one completes.
        for _ in 0..(self.size >> level).trailing_ones() {
            let left = self.peaks.pop().expect("a tree has one peak for each bit of its size");
            node = parent(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1 << level;
    }

    /// The root over all leaves so far; of no leaves, the SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Digest::of(b"") };
        peaks.fold(*last, |right, left| parent(left, &right))
    }

    /// The bytes to keep: the size as 8 bytes big-endian, then the peaks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak.as_bytes()));
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, peaks) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let count = u32::try_from(peaks.len()).ok()?;
        (rest.is_empty() && count == size.count_ones())
            .then(|| Self { size, peaks: peaks.iter().copied().map(Digest::from_bytes).collect() })
    }
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
pub(super) fn parent(left: &Digest, right: &Digest) -> Digest {
    // In one piece: for so few bytes, handing them over one by one costs as much as hashing them.
    let mut node = [1; 65];
    node[1..33].copy_from_slice(left.as_bytes());
    node[33..].copy_from_slice(right.as_bytes());
    Digest::of(&node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// RFC 6962 word for word: split at the largest power of two below the size.
    fn naive_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                parent(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc_for_every_size_up_to_600() {
        let (mut frontier, mut leaves) = (Frontier::new(), Vec::new());
        assert_eq!(frontier.root(), naive_root(&leaves));
        for at in 0..600_u64 {
            let leaf = leaf::hash(&at.to_be_bytes());
            frontier.push(leaf);
            leaves.push(leaf);
            assert_eq!(frontier.root(), naive_root(&leaves), "{} leaves", at + 1);
            assert_eq!(Frontier::from_bytes(&frontier.to_bytes()).as_ref(), Some(&frontier));
        }
        assert_eq!(frontier.size(), 600);
    }

    #[test]
    fn the_root_is_that_of_the_known_vectors() {
        // The leaves and roots of Certificate Transparency's own tests (merkle_tree_test).
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::new();
        for (leaf, root) in leaves.iter().zip(roots) {
            frontier.push(leaf::hash(leaf));
            assert_eq!(frontier.root().to_string(), root);
        }
        assert_eq!(STANDARD.encode(Frontier::new().root().as_bytes()), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn bytes_that_are_no_frontier_are_refused() {
        let mut frontier = Frontier::new();
        (0..5_u8).for_each(|at| frontier.push(Digest::of(&[at])));
        let bytes = frontier.to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Frontier::from_bytes(&bytes[..cut]), None, "{cut} bytes");
        }
        assert_eq!(Frontier::from_bytes(&[&bytes[..], &[0; 32]].concat()), None);
        assert!(Frontier::from_bytes(&[0; 8]).is_some());
    }
}
