//! The tree in tiles of 256 hashes, as C2SP tlog-tiles cuts it, so that a proof reads a few of them and not the log.
//!
//! Rule: a full tile is stored with the leaf that completes it, in one write; the right edge is never stored, but
//! computed again from the leaves.

use crate::audit::proof::{self, Subtrees};
use crate::audit::tree::{Frontier, parent};
use crate::id::Digest;
use crate::leaf;
use crate::store::{Expect, Put, Space, Store, StoreError};

/// How many hashes a full tile has.
pub const TILE_HASHES: u64 = 256;

/// How many levels of the tree one tile spans.
const LEVELS: u8 = 8;

/// The most tiles that one leaf completes: 8 levels of them reach beyond a `u64`.
pub(super) const TILES_PER_LEAF: usize = 8;

/// One full tile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tile {
    /// Its level, counted in tiles: the hashes stand at level 8 times this of the tree.
    pub level: u8,
    /// Its number in its level.
    pub index: u64,
    /// The hashes, 32 bytes each.
    pub hashes: Vec<u8>,
}

/// The right edge of the tiles: per level the hashes that fill no tile yet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edge {
    size: u64,
    rows: Vec<Vec<Digest>>,
}

impl Edge {
    /// How many leaves it has seen.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of the next leaf, and hands over the tiles that it completes, the lowest first.
    pub fn push(&mut self, leaf: Digest) -> Vec<Tile> {
        self.size += 1;
        let (mut node, mut full) = (leaf, Vec::new());
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.rows.len() == at {
                self.rows.push(Vec::new());
            }
            self.rows[at].push(node);
            if (self.rows[at].len() as u64) < TILE_HASHES {
                break;
            }
            let row = std::mem::take(&mut self.rows[at]);
            node = fold(row.clone());
            let index = (self.size >> (u32::from(level + 1) * u32::from(LEVELS))) - 1;
            full.push(Tile { level, index, hashes: bytes_of(&row) });
        }
        full
    }

    /// The tiles that are begun and not full, the lowest first.
    pub fn begun(&self) -> impl Iterator<Item = Tile> {
        let begun = (0_u8..).zip(&self.rows).filter(|(_, row)| !row.is_empty());
        begun.map(|(level, row)| {
            let index = self.size >> (u32::from(level + 1) * u32::from(LEVELS));
            Tile { level, index, hashes: bytes_of(row) }
        })
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Digest {
        // What is left over of a row stands to the right of everything in the row above.
        let mut below = None;
        for row in &self.rows {
            let mut tree = Frontier::new();
            row.iter().copied().chain(below).for_each(|hash| tree.push(hash));
            below = (tree.size() > 0).then(|| tree.root());
        }
        below.unwrap_or_else(|| Frontier::new().root())
    }

    /// Reads the edge of the stored tiles, which may be behind the leaves by any number of full tiles: a log from before
    /// the tiles has none.
    pub fn of_stored(store: &dyn Store, leaves: u64) -> Result<Self, StoreError> {
        // Tiles are stored in order, so that those that are there are a beginning.
        let (mut there, mut missing) = (0, leaves / TILE_HASHES);
        while there < missing {
            let middle = there + (missing - there) / 2;
            match read(store, 0, middle)? {
                Some(_) => there = middle + 1,
                None => missing = middle,
            }
        }
        let size = there * TILE_HASHES;
        let mut rows = vec![Vec::new()];
        let (mut level, mut nodes) = (0_u8, there);
        while nodes > 0 {
            let first = nodes - nodes % TILE_HASHES;
            let mut row = Vec::new();
            for index in first..nodes {
                row.push(fold(read(store, level, index)?.ok_or_else(|| damaged(level, index))?));
            }
            rows.push(row);
            (level, nodes) = (level + 1, nodes / TILE_HASHES);
        }
        Ok(Self { size, rows })
    }
}

impl Tile {
    /// How many hashes it has.
    pub const fn width(&self) -> u64 {
        (self.hashes.len() / 32) as u64
    }

    /// What stores it.
    pub(super) fn put(self) -> Put {
        // What is there already can only be the same tile: it was computed from the same leaves.
        Put { space: Space::Tile, key: key(self.level, self.index), expect: Expect::Any, value: self.hashes }
    }
}

/// The subtrees of a stored log, from its tiles and, at the right edge, from its leaves.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    store: &'a dyn Store,
}

impl<'a> Stored<'a> {
    /// The subtrees of the log in a store.
    pub const fn new(store: &'a dyn Store) -> Self {
        Self { store }
    }

    /// The root over the first `size` leaves.
    pub fn root_of(&self, size: u64) -> Result<Digest, StoreError> {
        if size == 0 { Ok(Frontier::new().root()) } else { proof::root(size, self) }
    }

    /// Some hashes of one row of tiles that are not in a full tile: of leaves, or of the tiles below.
    fn edge(&self, level: u8, first: u64, count: u64) -> Result<Vec<Digest>, StoreError> {
        if let Some(below) = level.checked_sub(1) {
            let tile = |index| Ok(fold(read(self.store, below, index)?.ok_or_else(|| damaged(below, index))?));
            return (first..first + count).map(tile).collect();
        }
        let limit = usize::try_from(count).expect("a tile has 256 hashes");
        let leaves = self.store.read(first, limit)?;
        if leaves.len() < limit {
            return Err(damaged(level, first / TILE_HASHES));
        }
        Ok(leaves.iter().map(|(_, line)| leaf::hash(line)).collect())
    }
}

impl Subtrees for Stored<'_> {
    type Error = StoreError;

    fn root(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let (row, height) = (level / LEVELS, level % LEVELS);
        let (first, count) = (index << height, 1_u64 << height);
        let tile = first / TILE_HASHES;
        let hashes = match read(self.store, row, tile)? {
            Some(hashes) => {
                let first = usize::try_from(first % TILE_HASHES).expect("a tile has 256 hashes");
                hashes.into_iter().skip(first).take(1 << height).collect()
            }
            None => self.edge(row, first, count)?,
        };
        Ok(fold(hashes))
    }
}

/// Reads a full tile.
pub(super) fn read(store: &dyn Store, level: u8, index: u64) -> Result<Option<Vec<Digest>>, StoreError> {
    let Some(found) = store.get(Space::Tile, &key(level, index))? else { return Ok(None) };
    let (hashes, rest) = found.value.as_chunks::<32>();
    if hashes.len() as u64 != TILE_HASHES || !rest.is_empty() {
        return Err(damaged(level, index));
    }
    Ok(Some(hashes.iter().copied().map(Digest::from_bytes).collect()))
}

/// The path of a tile below the root of an export: `tile/LEVEL/x001/x234/067`, with `.p/WIDTH` behind a partial one.
pub fn path(level: &str, index: u64, width: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width < TILE_HASHES { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{path}{partial}")
}

/// The hashes as a tile has them.
pub(super) fn bytes_of(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The root over 2^n hashes.
fn fold(mut hashes: Vec<Digest>) -> Digest {
    while hashes.len() > 1 {
        hashes = hashes.as_chunks().0.iter().map(|[left, right]| parent(left, right)).collect();
    }
    hashes.pop().expect("a subtree has a leaf")
}

fn key(level: u8, index: u64) -> Vec<u8> {
    [&[level][..], &index.to_be_bytes()].concat()
}

fn damaged(level: u8, index: u64) -> StoreError {
    StoreError::Damaged { what: format!("tile {level}/{index} of the log is missing or malformed") }
}
