//! The tiles of an export, laid out as C2SP tlog-tiles says, so that any client of such logs can check it.
//!
//! Rule: a tile repeats what the entries say. Whoever writes and whoever checks compute it here, from the entries.

use std::mem;

use crate::audit::tiles::{Edge, TILE_HASHES, Tile, path};
use crate::id::Digest;

/// The folder of the tiles.
pub(super) const FOLDER: &str = "tile/";

/// One file below [`FOLDER`].
#[derive(Debug)]
pub(super) struct TileFile {
    /// Its path in the export.
    pub(super) name: String,
    /// What stands in it.
    pub(super) content: Vec<u8>,
}

/// The tiles that are not full yet: those of hashes, and the one of entries.
#[derive(Debug, Default)]
pub(super) struct Tiles {
    edge: Edge,
    bundle: Vec<u8>,
}

impl Tiles {
    /// How many entries there are.
    pub(super) const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root over them.
    pub(super) fn root(&self) -> Digest {
        self.edge.root()
    }

    /// Adds the next entry, and hands over the tiles that it completes.
    pub(super) fn push(&mut self, line: &[u8], hash: Digest) -> Vec<TileFile> {
        let length = u16::try_from(line.len()).expect("a leaf has at most 16 KiB");
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(line);
        let mut full: Vec<_> = self.edge.push(hash).into_iter().map(TileFile::of).collect();
        if self.size().is_multiple_of(TILE_HASHES) {
            full.push(TileFile::of_entries(self.size() - 1, mem::take(&mut self.bundle)));
        }
        full
    }

    /// The tiles that are begun and not full.
    pub(super) fn begun(&self) -> Vec<TileFile> {
        let mut begun: Vec<_> = self.edge.begun().map(TileFile::of).collect();
        if !self.bundle.is_empty() {
            begun.push(TileFile::of_entries(self.size() - 1, self.bundle.clone()));
        }
        begun
    }
}

impl TileFile {
    /// A tile of hashes.
    fn of(tile: Tile) -> Self {
        Self { name: path(&tile.level.to_string(), tile.index, tile.width()), content: tile.hashes }
    }

    /// The tile of entries that ends with entry `last`.
    fn of_entries(last: u64, content: Vec<u8>) -> Self {
        Self { name: path("entries", last / TILE_HASHES, last % TILE_HASHES + 1), content }
    }
}

/// The name of the tile with the hash of entry `seq` of a log of `size` entries.
pub(super) fn lowest(seq: u64, size: u64) -> String {
    let index = seq / TILE_HASHES;
    path("0", index, size.saturating_sub(index * TILE_HASHES).min(TILE_HASHES))
}
