//! Are the tiles stored with their leaves, and made for a log that has none?

use super::*;
use crate::audit::proof::{inclusion, verify_inclusion};
use crate::audit::tiles::{self, Edge, Stored, TILE_HASHES, Tile};
use crate::store::Delete;
use crate::store::memory::MemoryStore;

/// Lets the log grow to `size` entries.
fn grown(home: &Home, size: u64) {
    let log = home.open();
    grown_with(&log, size);
    log.close().unwrap();
}

fn grown_with(log: &Log, size: u64) {
    while log.size() < size {
        record(log, note("one more"), Change::default());
    }
}

fn leaves(home: &Home) -> Vec<Digest> {
    home.store.read(0, usize::MAX).unwrap().iter().map(|(_, line)| leaf::hash(line)).collect()
}

fn full_tiles(home: &Home) -> Vec<Option<Vec<Digest>>> {
    (0..3).map(|index| tiles::read(home.store.as_ref(), 0, index).unwrap()).collect()
}

/// Every subtree that a proof asks of the store is that of the leaves.
fn proves(home: &Home) {
    let (leaves, tree) = (leaves(home), Stored::new(home.store.as_ref()));
    let mut frontier = Frontier::new();
    for (size, leaf) in (1..).zip(&leaves) {
        frontier.push(*leaf);
        assert_eq!(tree.root_of(size).unwrap(), frontier.root(), "{size} entries");
    }
    for (index, leaf) in (0..).zip(&leaves) {
        let proof = inclusion(index, frontier.size(), &tree).unwrap();
        assert_eq!(verify_inclusion(index, frontier.size(), leaf, &frontier.root(), &proof), Ok(()));
    }
}

#[test]
fn a_full_tile_is_stored_with_the_leaf_that_completes_it_and_proofs_hold() {
    let home = Home::new();
    grown(&home, 255);
    assert!(full_tiles(&home) == [None, None, None]);
    let log = home.open();
    let before = home.store.commits();
    record(&log, note("the last of a tile"), Change::default());
    assert_eq!(home.store.commits(), before + 1, "no commit more than without tiles");
    assert!(full_tiles(&home) == [Some(leaves(&home)), None, None]);
    // A group of many entries completes a tile in its middle.
    let many = (0..250).map(|at| (note(&at.to_string()), Change::default())).collect();
    for answer in at_once(&home, &log, many) {
        drop(answer.unwrap());
    }
    grown_with(&log, 600);
    log.close().unwrap();
    let found = leaves(&home);
    assert!(full_tiles(&home) == [Some(found[..256].to_vec()), Some(found[256..512].to_vec()), None]);
    proves(&home);
}

#[test]
fn a_log_from_before_the_tiles_gets_them_at_opening_and_damaged_ones_are_made_anew() {
    let home = Home::new();
    grown(&home, 600);
    let whole = full_tiles(&home);
    assert!(whole[1].is_some() && whole[2].is_none());
    let set = |change: &dyn Fn(&mut WriteSet)| {
        let mut set = WriteSet::at(home.store.head().unwrap());
        change(&mut set);
        home.store.commit(set).unwrap();
    };
    let key = |index: u8| [&[0; 8][..], &[index]].concat();
    let delete = |index| Delete { space: Space::Tile, key: key(index), expect: Expect::Any };
    let put = |index, value| Put { space: Space::Tile, key: key(index), expect: Expect::Any, value };
    let first = tiles::bytes_of(whole[0].as_ref().unwrap());
    let wrongs: [&dyn Fn(&mut WriteSet); 4] = [
        &|set| set.deletes.extend([delete(0), delete(1)]),
        &|set| set.deletes.push(delete(1)),
        &|set| set.puts.push(put(1, first.clone())),
        &|set| set.puts.push(put(0, first[1..].to_vec())),
    ];
    for wrong in wrongs {
        set(wrong);
        assert!(full_tiles_or_damage(&home) != Some(whole.clone()));
        home.open().close().unwrap();
        assert!(full_tiles(&home) == whole);
        proves(&home);
    }
}

fn full_tiles_or_damage(home: &Home) -> Option<Vec<Option<Vec<Digest>>>> {
    (0..3).map(|index| tiles::read(home.store.as_ref(), 0, index).ok()).collect()
}

#[test]
fn a_caller_cannot_write_a_tile() {
    let home = Home::new();
    let log = home.open();
    let refused = log.append_blocking(note("forger"), put_tile()).unwrap_err();
    assert!(matches!(refused, AppendError::Precondition { space: Space::Tile, .. }), "{refused:?}");
}

fn put_tile() -> Change {
    put(Space::Tile, "tile", Expect::Any, "hashes")
}

#[test]
fn tiles_of_tiles_lead_to_the_same_root() {
    let store = MemoryStore::create();
    let (mut edge, mut frontier, mut completed) = (Edge::default(), Frontier::new(), Vec::new());
    let size = TILE_HASHES * (TILE_HASHES + 3);
    for at in 0..size {
        let leaf = leaf::hash(&at.to_be_bytes());
        frontier.push(leaf);
        completed.extend(edge.push(leaf));
    }
    let places: Vec<_> = completed.iter().map(|tile| (tile.level, tile.index)).collect();
    assert_eq!(places.iter().filter(|(level, _)| *level == 1).collect::<Vec<_>>(), [&(1, 0)]);
    assert!(places.iter().filter(|(level, _)| *level == 0).map(|(_, index)| *index).eq(0..TILE_HASHES + 3));
    let mut set = WriteSet::at(Head::EMPTY);
    set.puts.extend(completed.into_iter().map(Tile::put));
    store.commit(set).unwrap();
    assert_eq!(Edge::of_stored(&store, size).unwrap(), edge);
    let tree = Stored::new(&store);
    assert_eq!(tree.root_of(size).unwrap(), frontier.root());
    for index in [0, 255, 256, 65_535, 65_536, size - 1] {
        let proof = inclusion(index, size, &tree).unwrap();
        let leaf = leaf::hash(&index.to_be_bytes());
        assert_eq!(verify_inclusion(index, size, &leaf, &frontier.root(), &proof), Ok(()));
    }
}

#[test]
fn a_tile_has_the_path_of_the_specification() {
    assert_eq!(tiles::path("0", 0, 256), "tile/0/000");
    assert_eq!(tiles::path("1", 1_234_067, 256), "tile/1/x001/x234/067");
    assert_eq!(tiles::path("entries", 273, 112), "tile/entries/273.p/112");
    assert_eq!(tiles::path("0", 1000, 1), "tile/0/x001/000.p/1");
}
