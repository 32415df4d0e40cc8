//! Durable appends per second through the sled engine, beside what the disk allows: `cargo bench --bench store`.
//!
//! Limit and engine take turns in the same run, so that the ratio means something on a shared machine. The disk is the one
//! that holds the target folder, or `MEDSEAL_BENCH_DIR`.

#![allow(clippy::print_stdout, reason = "a measurement prints what it found")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use medseal::id::Digest;
use medseal::store::sled::SledStore;
use medseal::store::{Expect, Head, Put, Space, Store as _, WriteSet};

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Compiled by `cargo test --all-targets`, which wants no numbers.
        return;
    }
    let base = std::env::var_os("MEDSEAL_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let dir = tempfile::tempdir_in(base).expect("a folder");
    let store = SledStore::create(&dir.path().join("store")).expect("a store");
    println!("{LEAF_BYTES} bytes per leaf; an entry is a leaf, a sealed detail and a stamp; median of {ROUNDS} rounds");
    println!("{:<28}{:>12}{:>12}{:>12}{:>12}", "entries per commit", "limit/s", "leaves/s", "entries/s", "of limit");
    for group in [1, 10, 100, 256] {
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            rates[0].push(limit(dir.path(), group));
            rates[1].push(rate(group, || commit(&store, group, Content::Leaves)));
            rates[2].push(rate(group, || commit(&store, group, Content::Entries)));
        }
        let [limit, leaves, entries] = rates.map(median);
        println!("{group:<28}{limit:>12.0}{leaves:>12.0}{entries:>12.0}{:>11.0}%", leaves / limit * 100.0);
    }
    println!(
        "{:<28}{:>12.0} leaves/s of {}",
        "read in pages of 1,000",
        read(&store),
        store.head().expect("a head").size
    );
}

/// What a write set holds per entry.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Content {
    Leaves,
    Entries,
}

fn commit(store: &SledStore, group: u64, content: Content) {
    let head = store.head().expect("a head");
    let after = head.size + group;
    let put = |space, seq: u64, bytes| {
        let key = seq.to_be_bytes().to_vec();
        Put { space, key, expect: Expect::Any, value: vec![b's'; bytes] }
    };
    let puts = match content {
        Content::Leaves => Vec::new(),
        Content::Entries => (head.size..after)
            .flat_map(|seq| [put(Space::Detail, seq, DETAIL_BYTES), put(Space::Stamp, seq, STAMP_BYTES)])
            .collect(),
    };
    let set = WriteSet {
        append: (head.size..after).map(leaf).collect(),
        head_after: Head { size: after, leaf: Digest::of(&after.to_be_bytes()) },
        puts,
        ..WriteSet::at(head)
    };
    store.commit(set).expect("committed");
}

/// The same leaves appended to a plain file, `fdatasync` after each group.
fn limit(dir: &Path, group: u64) -> f64 {
    let mut file = File::options().append(true).create(true).open(dir.join("limit")).expect("a file");
    let mut seq = 0;
    rate(group, || {
        let bytes: Vec<u8> = (seq..seq + group).flat_map(leaf).collect();
        seq += group;
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("synced");
    })
}

/// Entries per second of `step`, which makes `group` of them.
fn rate(group: u64, mut step: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut steps = 0;
    while start.elapsed() < ROUND {
        step();
        steps += 1;
    }
    (f64::from(steps) * to_f64(group)) / start.elapsed().as_secs_f64()
}

fn read(store: &SledStore) -> f64 {
    let start = Instant::now();
    let mut count = 0;
    while let page @ [_, ..] = &store.read(count, 1000).expect("read")[..] {
        count += page.len() as u64;
    }
    to_f64(count) / start.elapsed().as_secs_f64()
}

fn leaf(seq: u64) -> Vec<u8> {
    let mut leaf = vec![b'l'; LEAF_BYTES];
    leaf[..8].copy_from_slice(&seq.to_be_bytes());
    leaf
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("few"))
}

const LEAF_BYTES: usize = 600;
const DETAIL_BYTES: usize = 300;
const STAMP_BYTES: usize = 250;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(500);
