//! What is written to the store, and what must be there after a cut: whole groups, at least those acknowledged.

use std::path::Path;

use medseal::clock::Timestamp;
use medseal::id::Digest;
use medseal::store::sled::SledStore;
use medseal::store::{Delete, Expect, Head, Job, Put, Space, Store as _, StoreError, WriteSet};

use crate::rig::{Acks, Random};

/// Commits group after group until the process is killed; goes on where a life before ended.
pub(crate) fn write(dir: &Path, acks: &Acks, open: fn(&Path) -> Result<SledStore, StoreError>) {
    let store = if dir.exists() {
        open(dir).expect("the store opens")
    } else {
        // Made with every care in any case; how it is used after is what `open` decides.
        drop(SledStore::create(dir).expect("a store"));
        open(dir).expect("the store opens")
    };
    let mut head = store.head().expect("a head");
    acks.acknowledge(head.size);
    loop {
        let set = group(head);
        head = set.head_after;
        store.commit(set).expect("committed");
        acks.acknowledge(head.size);
    }
}

/// How many leaves there are, or what is wrong.
pub(crate) fn check(dir: &Path, acknowledged: Option<u64>) -> Result<u64, String> {
    if acknowledged.is_none() && !dir.exists() {
        // Cut off while it was made: no store, rather than half of one.
        return Ok(0);
    }
    let store = SledStore::open(dir).map_err(|error| format!("does not open: {error}"))?;
    let head = store.head().map_err(|error| error.to_string())?;
    if head.size < acknowledged.unwrap_or(0) {
        return Err(format!("only {} leaves are there", head.size));
    }
    let leaves = store.read(0, usize::MAX).map_err(|error| error.to_string())?;
    for (seq, found) in &leaves {
        if *found != leaf(*seq) {
            return Err(format!("leaf {seq} is another"));
        }
    }
    let (before, last) = last_group(head.size);
    if last != head.size {
        return Err(format!("{} leaves are no whole number of groups", head.size));
    }
    let details = store.scan(Space::Detail, b"", None, usize::MAX).map_err(|error| error.to_string())?;
    let expected = (0..head.size).map(|seq| (seq.to_be_bytes().to_vec(), detail(seq)));
    if !details.into_iter().map(|(key, found)| (key, found.value)).eq(expected) {
        return Err("the details are not those of the leaves".to_owned());
    }
    // What the last group put, removed and enqueued, and nothing of another.
    let group = if head.size == 0 { WriteSet::at(head) } else { group_at(before) };
    if head != group.head_after {
        return Err("the head is not that of the last leaf".to_owned());
    }
    let stamps = store.scan(Space::Stamp, b"", None, usize::MAX).map_err(|error| error.to_string())?;
    let put = group.puts.into_iter().filter(|put| put.space == Space::Stamp).map(|put| (put.key, put.value));
    if !stamps.into_iter().map(|(key, found)| (key, found.value)).eq(put) {
        return Err("the stamp is not that of the last group".to_owned());
    }
    let mut jobs = store.jobs(usize::MAX).map_err(|error| error.to_string())?;
    jobs.sort_by_key(|job| job.due);
    if jobs.last() != group.enqueue.last() {
        return Err("the last job is not that of the last group".to_owned());
    }
    Ok(head.size)
}

/// The group that follows `size` leaves: a function of that number alone, so that the check can make it again.
fn group_at(size: u64) -> WriteSet {
    group(Head { size, leaf: if size == 0 { Head::EMPTY.leaf } else { Digest::of(&leaf(size - 1)) } })
}

fn group(head: Head) -> WriteSet {
    let after = head.size + group_size(head.size);
    let before = previous_stamp(head.size);
    let stamp = |size: u64| size.to_be_bytes().to_vec();
    let any = |space, key, value| Put { space, key, expect: Expect::Any, value };
    let mut puts: Vec<_> =
        (head.size..after).map(|seq| any(Space::Detail, seq.to_be_bytes().to_vec(), detail(seq))).collect();
    puts.push(any(Space::Stamp, stamp(head.size), format!("{after}").into_bytes()));
    WriteSet {
        append: (head.size..after).map(leaf).collect(),
        head_after: Head { size: after, leaf: Digest::of(&leaf(after - 1)) },
        puts,
        deletes: before
            .map(|size| Delete { space: Space::Stamp, key: stamp(size), expect: Expect::Any })
            .into_iter()
            .collect(),
        enqueue: vec![job(head.size)],
        ..WriteSet::at(head)
    }
}

/// Where the group before the one that starts at `size` started.
fn previous_stamp(size: u64) -> Option<u64> {
    (size > 0).then(|| last_group(size).0)
}

/// The start and the end of the last group that starts below `size`.
fn last_group(size: u64) -> (u64, u64) {
    // Groups repeat in rounds, so that this need not walk from the beginning.
    let mut end = size.saturating_sub(1) / ROUND * ROUND;
    let mut start = end;
    while end < size {
        start = end;
        end += group_size(start);
    }
    (start, end)
}

/// 1 to 8 leaves; the first group of a round is a large one.
fn group_size(start: u64) -> u64 {
    let at = start % ROUND;
    let wanted = if at == 0 { 64 } else { 1 + Random(at).next() % 8 };
    wanted.min(ROUND - at)
}

fn leaf(seq: u64) -> Vec<u8> {
    let mut random = Random(seq);
    let bytes = random.between(200, 1200);
    random.bytes(bytes)
}

fn detail(seq: u64) -> Vec<u8> {
    let mut random = Random(!seq);
    let bytes = random.between(40, 400);
    random.bytes(bytes)
}

fn job(size: u64) -> Job {
    let due = Timestamp::from_second(i64::try_from(size).expect("few leaves")).expect("a time");
    Job { kind: "deliver".into(), key: size.to_be_bytes().to_vec(), due, priority: 7 }
}

const ROUND: u64 = 512;
