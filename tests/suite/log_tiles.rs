//! Can a client of C2SP tlog-tiles, which knows nothing of us, read an export and check every entry of it?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medseal::audit::export::{ExportError, ExportWriter, verify_export};
use medseal::audit::log::Log;
use medseal::id::Digest;
use medseal::signature::NoteSigner;
use tlog_tiles::{
    Checkpoint, Error, Hash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree,
    record_hash, tree_hash,
};

use crate::log_home::Home;
use crate::needs;

/// The tiles of a folder, for the other implementation.
struct Folder(PathBuf);

/// As the specification has them; the client's own names begin with the height.
fn name(tile: &Tile) -> String {
    let path = tile.path();
    let (_, rest) = path.strip_prefix("tile/").unwrap().split_once('/').unwrap();
    format!("tile/{}", rest.replacen("data/", "entries/", 1))
}

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(tiles.iter().map(|tile| fs::read(self.0.join(name(tile))).unwrap()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The entries of a tile of entries: each behind its length.
fn entries(mut bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        found.push(entry.to_vec());
        bundle = rest;
    }
    found
}

#[test]
fn a_client_of_tiles_reads_every_entry_of_an_export_and_proves_it() {
    let (home, log) = Home::with_notes(599);
    let export = home.export(&log, "export", false);
    let signed = Checkpoint::from_bytes(&fs::read(export.join("checkpoint.body")).unwrap()).unwrap();
    assert_eq!(signed.size(), 600);
    let folder = Folder(export);
    let reader = TileHashReader::new(signed.size(), *signed.hash(), &folder);
    assert_eq!(tree_hash(signed.size(), &reader).unwrap(), *signed.hash());

    let mut read = Vec::new();
    for (index, width) in [(0, 256), (1, 256), (2, 88)] {
        let mut tile = Tile::new(8, 0, index, width, false);
        tile.set_is_data();
        read.extend(entries(&folder.read_tiles(&[tile]).unwrap()[0]));
    }
    let lines: Vec<_> = log.reader().lines(0).map(Result::unwrap).collect();
    assert!(read == lines, "the bundles hold the entries");
    for (seq, line) in (0..).zip(&read) {
        let proof = prove_record(signed.size(), seq, &reader).unwrap();
        check_record(&proof, signed.size(), *signed.hash(), seq, record_hash(line)).unwrap();
    }
    for earlier in [1, 255, 256, 257, 512, 599] {
        let proof = prove_tree(signed.size(), earlier, &reader).unwrap();
        let mut tree = medseal::audit::tree::Frontier::new();
        lines[..usize::try_from(earlier).unwrap()].iter().for_each(|line| tree.push(medseal::leaf::hash(line)));
        check_tree(&proof, signed.size(), *signed.hash(), earlier, Hash(*tree.root().as_bytes())).unwrap();
    }
}

#[test]
fn two_exports_of_one_checkpoint_are_the_same_bytes() {
    let (home, log) = Home::with_notes(300);
    let (one, two) = (home.export(&log, "one", true), home.export(&log, "two", true));
    let same = Command::new("diff").args(["-r"]).arg(&one).arg(&two).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

#[test]
fn a_tile_that_is_not_of_these_entries_is_named_even_if_the_digests_were_made_anew() {
    let (home, log) = Home::with_notes(299);
    let export = home.export(&log, "export", false);
    let names = ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"];
    for tile in names {
        let good = fs::read(export.join(tile)).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            put(&export, tile, &bad);
            refused(&export, tile);
        }
        put(&export, tile, &good[..good.len() - 32]);
        refused(&export, "a short tile");
        put(&export, tile, &[&good[..], &[0; 32]].concat());
        refused(&export, "a long tile");
        put(&export, tile, &good);
    }
    // Each of these would be a hash or an entry more than the log has.
    for tile in ["tile/2/000.p/1", "tile/entries/002.p/1", "tile/0/001"] {
        put(&export, tile, b"more");
        refused(&export, tile);
        medseal::durable::remove(&export.join(tile)).unwrap();
        sum(&export);
    }
    medseal::durable::remove(&export.join("tile/0/000")).unwrap();
    sum(&export);
    refused(&export, "a missing tile");
}

/// An export of 300 entries that has the checkpoint over the first 100 with it.
fn with_past(home: &Home, log: &Log) -> PathBuf {
    let earlier = sign_at(log, 100, &signer());
    let out = home.path().join("past");
    let note = log.sign_now_blocking().unwrap();
    let mut export = ExportWriter::create(&out, &note, log.key()).unwrap();
    export.past(&earlier).unwrap();
    log.reader().lines(0).for_each(|line| export.entry(&line.unwrap()).unwrap());
    export.finish().unwrap();
    out
}

/// The key that the harness gives its log.
fn signer() -> NoteSigner {
    NoteSigner::from_seed(&[7; 32])
}

/// A checkpoint over the first entries of a log.
fn sign_at(log: &Log, size: u64, signer: &NoteSigner) -> String {
    let root = log.reader().tree().root_of(size).unwrap();
    medseal::audit::note::Checkpoint { origin: log.key().name().clone(), size, root }.sign(signer)
}

#[test]
fn a_checkpoint_of_the_past_that_is_not_of_these_entries_is_named() {
    let (home, log) = Home::with_notes(299);
    let export = with_past(&home, &log);
    let good = fs::read_to_string(export.join("checkpoints/100")).unwrap();
    assert!(verify_export(&export, &[], None, |_| ()).unwrap().report.ok);
    if let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) {
        let ended = Command::new(python).arg(export.join("verify.py")).output().unwrap();
        assert!(ended.status.code() == Some(3), "{}", String::from_utf8_lossy(&ended.stdout));
    }
    let root = log.reader().tree().root_of(99).unwrap();
    let origin = log.key().name().clone();
    let forked = medseal::audit::note::Checkpoint { origin, size: 100, root }.sign(&signer());
    let strange = sign_at(&log, 100, &NoteSigner::from_seed(&[8; 32]));
    for (what, name, content) in [
        ("another history", "checkpoints/100", forked.as_str()),
        ("another key", "checkpoints/100", &strange),
        ("another size", "checkpoints/101", &good),
        ("no note", "checkpoints/7", "nothing"),
    ] {
        put(&export, name, content.as_bytes());
        refused(&export, what);
        medseal::durable::remove(&export.join(name)).unwrap();
        put(&export, "checkpoints/100", good.as_bytes());
    }
    // Nor is an export made of one.
    let mut export = ExportWriter::create(&home.path().join("none"), &log.checkpoint(), log.key()).unwrap();
    export.past(&forked).unwrap();
    let refused = log.reader().lines(0).find_map(|line| export.entry(&line.unwrap()).err());
    assert!(matches!(refused, Some(ExportError::Past { size: 100 })), "{refused:?}");
}

/// Both verifiers refuse the export for one of its files.
fn refused(export: &Path, what: &str) {
    let report = verify_export(export, &[], None, |_| ()).unwrap().report;
    let found = report.finding.map(|finding| (finding.seq, finding.kind.word()));
    assert_eq!(found, Some((300, "bad-file")), "{what}");
    if let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) {
        let ended = Command::new(python).arg(export.join("verify.py")).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.code() == Some(1) && said.starts_with("BAD: bad-file at entry 300"), "{what}: {said}");
    }
}

/// Writes a file of an export, and its digest into the list.
pub(crate) fn put(export: &Path, name: &str, content: &[u8]) {
    let path = export.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(content).unwrap();
    sum(export);
}

/// Makes the list of digests anew.
fn sum(export: &Path) {
    let mut names = vec![PathBuf::new()];
    let mut sums = Vec::new();
    while let Some(name) = names.pop() {
        let path = export.join(&name);
        if path.is_dir() {
            names.extend(fs::read_dir(path).unwrap().map(|entry| name.join(entry.unwrap().file_name())));
        } else if name != Path::new("SHA256SUMS") {
            sums.push(format!("{}  {}\n", Digest::of(&fs::read(path).unwrap()), name.display()));
        }
    }
    sums.sort();
    fs::File::create(export.join("SHA256SUMS")).unwrap().write_all(sums.concat().as_bytes()).unwrap();
}
