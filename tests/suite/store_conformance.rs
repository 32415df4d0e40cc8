//! Does every engine keep the contract of the storage seam?

use std::sync::{Arc, Barrier};

use medseal::clock::Timestamp;
use medseal::id::Digest;
use medseal::store::memory::MemoryStore;
use medseal::store::sled::SledStore;
use medseal::store::{
    CHANGES_MAX, CommitError, Delete, Expect, Head, Job, KEY_BYTES_MAX, LEAF_BYTES_MAX, Malformed, Put, Settle, Space,
    Store, StoreError, VALUE_BYTES_MAX, WriteSet, job_key,
};

/// Makes a write set fail.
type Spoil = fn(&mut WriteSet);

/// Each test below runs once per engine.
macro_rules! every_engine {
    ($($test:ident)+) => {
        mod memory {
            $(#[test] fn $test() { super::$test(&super::MemoryStore::create()); })+
        }
        mod sled {
            $(#[test] fn $test() {
                let dir = tempfile::tempdir().expect("a folder");
                super::$test(&super::SledStore::create(&dir.path().join("store")).expect("a store"));
            })+
        }
    };
}

every_engine! {
    an_empty_store_stands_at_64_zeros
    a_commit_moves_the_head_and_keeps_its_leaves
    a_moved_head_changes_nothing
    one_failed_precondition_changes_nothing
    a_version_never_comes_back
    naming_a_key_twice_is_refused
    a_malformed_write_set_changes_nothing
    the_largest_of_everything_is_kept
    a_scan_is_in_order_and_pages_without_gap_or_repeat
    spaces_do_not_meet
    leaves_are_read_in_pages
    a_deleted_value_is_gone
    jobs_are_claimed_by_priority_then_age
    a_job_has_one_holder_at_a_time
    a_lease_runs_out_and_its_token_goes_stale
    an_extended_lease_runs_longer
    a_released_job_is_free_at_once
    a_hastened_job_is_due_and_a_held_one_is_not_touched
    settling_is_part_of_the_write_set
    a_job_can_be_made_due_whoever_holds_it
    a_cancelled_job_is_gone_whoever_holds_it
    a_worker_knows_when_to_wake
    sixteen_threads_race_for_one_head_and_one_wins
    a_reader_sees_whole_write_sets
}

fn an_empty_store_stands_at_64_zeros(store: &dyn Store) {
    let head = store.head().expect("a head");
    assert_eq!(head, Head::EMPTY);
    assert_eq!(head.leaf.to_string(), "0".repeat(64));
    assert_eq!(store.read(0, 10).expect("read"), []);
    assert_eq!(store.jobs(10).expect("jobs"), []);
}

fn a_commit_moves_the_head_and_keeps_its_leaves(store: &dyn Store) {
    append(store, &["one", "two"]);
    let head = append(store, &["three"]);
    assert_eq!(store.head().expect("a head"), head);
    assert_eq!(head.size, 3);
    let leaves = store.read(0, 10).expect("read");
    assert_eq!(leaves, [(0, b"one".to_vec()), (1, b"two".to_vec()), (2, b"three".to_vec())]);
}

fn a_moved_head_changes_nothing(store: &dyn Store) {
    let head = append(store, &["one"]);
    let wrong_leaf = Head { leaf: Digest::of(b"another"), ..head };
    for stale in [Head::EMPTY, wrong_leaf, Head { size: 2, ..head }] {
        let set =
            WriteSet { puts: vec![put("a", Expect::Any, "1")], enqueue: vec![job("a", 0, 0)], ..leaves(stale, &["x"]) };
        match store.commit(set) {
            Err(CommitError::HeadMoved(found)) => assert_eq!(found, head),
            other => panic!("{other:?} with the head at {stale:?}"),
        }
    }
    assert_eq!(store.head().expect("a head"), head);
    assert_eq!(store.read(0, 10).expect("read").len(), 1);
    assert_eq!(store.get(Space::Case, b"a").expect("get"), None);
    assert_eq!(store.jobs(10).expect("jobs"), []);
}

fn one_failed_precondition_changes_nothing(store: &dyn Store) {
    change(store, |set| {
        set.puts = vec![put("held", Expect::Absent, "1"), put("gone", Expect::Absent, "1")];
        set.enqueue = vec![job("held", 0, 0), job("old", 0, 0)];
    });
    let held = store.get(Space::Case, b"held").expect("get").expect("a value");
    let lease = store.claim("deliver", "w", 60, at(1)).expect("claim").expect("a job");
    let before = (store.head().expect("a head"), store.jobs(10).expect("jobs"));

    let spoils: [(&str, Spoil); 9] = [
        ("put absent", |set| set.puts.push(put("held", Expect::Absent, "2"))),
        ("put version", |set| set.puts.push(put("held", Expect::Version(99), "2"))),
        ("put version of nothing", |set| set.puts.push(put("nothing", Expect::Version(1), "2"))),
        ("delete version", |set| set.deletes.push(delete("gone", Expect::Version(99)))),
        ("delete absent", |set| set.deletes.push(delete("gone", Expect::Absent))),
        ("delete nothing", |set| set.deletes.push(delete("nothing", Expect::Version(1)))),
        ("enqueue again", |set| set.enqueue.push(job("held", 5, 5))),
        ("cancel nothing", |set| set.settle.push(cancel("nothing"))),
        ("cancel another kind", |set| set.settle.push(Settle::Cancel { kind: "x".into(), key: b"held".to_vec() })),
    ];
    for (what, spoil) in spoils {
        let mut set = WriteSet {
            puts: vec![put("new", Expect::Absent, "1")],
            deletes: vec![delete("other", Expect::Any)],
            enqueue: vec![job("new", 0, 0)],
            settle: vec![Settle::Done(lease.token.clone())],
            ..leaves(before.0, &["leaf"])
        };
        spoil(&mut set);
        let outcome = store.commit(set);
        assert!(matches!(outcome, Err(CommitError::Precondition { .. })), "{what}: {outcome:?}");
        assert_eq!(store.get(Space::Case, b"new").expect("get"), None, "{what}");
        assert_eq!(store.get(Space::Case, b"held").expect("get").as_ref(), Some(&held), "{what}");
        assert!(store.get(Space::Case, b"gone").expect("get").is_some(), "{what}");
        assert_eq!((store.head().expect("a head"), store.jobs(10).expect("jobs")), before, "{what}");
        assert_eq!(store.read(0, 10).expect("read"), [], "{what}");
    }
}

fn a_version_never_comes_back(store: &dyn Store) {
    let version = |store: &dyn Store| store.get(Space::Case, b"a").expect("get").expect("a value").version;
    change(store, |set| set.puts = vec![put("a", Expect::Absent, "same")]);
    let first = version(store);
    change(store, |set| set.deletes = vec![delete("a", Expect::Version(first))]);
    change(store, |set| set.puts = vec![put("a", Expect::Absent, "same")]);
    let second = version(store);
    assert!(second > first);
    let set = WriteSet { puts: vec![put("a", Expect::Version(first), "x")], ..WriteSet::at(Head::EMPTY) };
    assert!(matches!(store.commit(set), Err(CommitError::Precondition { space: Space::Case, key }) if key == b"a"));
    change(store, |set| set.puts = vec![put("a", Expect::Version(second), "x")]);
}

fn naming_a_key_twice_is_refused(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 0, 0)]);
    let twice = [
        WriteSet { puts: vec![put("a", Expect::Any, "1"), put("a", Expect::Any, "2")], ..WriteSet::at(Head::EMPTY) },
        WriteSet {
            puts: vec![put("a", Expect::Any, "1")],
            deletes: vec![delete("a", Expect::Any)],
            ..WriteSet::at(Head::EMPTY)
        },
        WriteSet { enqueue: vec![job("b", 0, 0), job("b", 0, 0)], ..WriteSet::at(Head::EMPTY) },
        WriteSet { enqueue: vec![job("a", 0, 0)], settle: vec![cancel("a")], ..WriteSet::at(Head::EMPTY) },
    ];
    for set in twice {
        assert!(matches!(store.commit(set), Err(CommitError::Precondition { .. })));
    }
    assert_eq!(store.get(Space::Case, b"a").expect("get"), None);
    assert_eq!(store.jobs(10).expect("jobs"), [job("a", 0, 0)]);
}

fn a_malformed_write_set_changes_nothing(store: &dyn Store) {
    let head = append(store, &["one"]);
    let at_head = || WriteSet::at(head);
    let with_key =
        |bytes| WriteSet { puts: vec![Put { key: vec![b'k'; bytes], ..put("", Expect::Any, "") }], ..at_head() };
    let with_leaf = |bytes| {
        let leaf = vec![b'l'; bytes];
        WriteSet { append: vec![leaf], head_after: Head { size: 2, ..head }, ..at_head() }
    };
    let value = vec![0; VALUE_BYTES_MAX + 1];
    let kind = |bytes| Job { kind: "k".repeat(bytes), ..job("a", 0, 0) };
    let wrong = [
        ("no key", with_key(0)),
        ("long key", with_key(KEY_BYTES_MAX + 1)),
        ("no leaf", with_leaf(0)),
        ("long leaf", with_leaf(LEAF_BYTES_MAX + 1)),
        ("long value", WriteSet { puts: vec![Put { value, ..put("a", Expect::Any, "") }], ..at_head() }),
        ("size", WriteSet { head_after: Head { size: 3, ..head }, ..leaves(head, &["x"]) }),
        ("head without leaf", WriteSet { head_after: Head { leaf: Digest::of(b"x"), ..head }, ..at_head() }),
        ("queue", WriteSet { puts: vec![Put { space: Space::Queue, ..put("a", Expect::Any, "") }], ..at_head() }),
        ("no kind", WriteSet { enqueue: vec![kind(0)], ..at_head() }),
        ("long kind", WriteSet { enqueue: vec![kind(256)], ..at_head() }),
        ("long job key", WriteSet { enqueue: vec![job(&"k".repeat(KEY_BYTES_MAX), 0, 0)], ..at_head() }),
        ("much", WriteSet { deletes: vec![delete("a", Expect::Any); CHANGES_MAX + 1], ..at_head() }),
    ];
    for (what, set) in wrong {
        let outcome = store.commit(set);
        assert!(matches!(outcome, Err(CommitError::Malformed(_))), "{what}: {outcome:?}");
    }
    assert_eq!(store.head().expect("a head"), head);
    assert_eq!(store.read(0, 10).expect("read").len(), 1);
    let too_long = store.commit(with_leaf(LEAF_BYTES_MAX + 1));
    let Err(CommitError::Malformed(rule)) = too_long else { panic!("{too_long:?}") };
    assert_eq!(rule, Malformed::Leaf { bytes: LEAF_BYTES_MAX + 1 });
    assert_eq!(rule.to_string(), "a leaf of 16385 bytes; 1 to 16384 are allowed");
}

/// sled moves a page that grows too large into a file that nothing syncs, and a page holds many values: values well
/// under a quarter of a segment did it, until the segments were made larger. The engine fails a commit that does it.
fn the_largest_of_everything_is_kept(store: &dyn Store) {
    let leaf = vec![b'l'; LEAF_BYTES_MAX];
    let value = |n: u8| vec![n; VALUE_BYTES_MAX];
    let key = |n: u8| vec![n; KEY_BYTES_MAX];
    for n in 0..60 {
        let head = store.head().expect("a head");
        let set = WriteSet {
            append: vec![leaf.clone(); 4],
            head_after: Head { size: head.size + 4, leaf: Digest::of(&[n]) },
            puts: vec![
                Put { key: key(n), value: value(n), ..put("", Expect::Any, "") },
                // Written over and over: the page is rebuilt every time.
                Put { key: key(n % 7), space: Space::Consent, value: value(n), ..put("", Expect::Any, "") },
            ],
            ..WriteSet::at(head)
        };
        store.commit(set).expect("committed");
    }
    for n in 0..60 {
        assert_eq!(store.get(Space::Case, &key(n)).expect("get").expect("a value").value, value(n));
    }
    assert!(store.read(0, 1000).expect("read").iter().all(|(_, found)| *found == leaf));
}

fn a_scan_is_in_order_and_pages_without_gap_or_repeat(store: &dyn Store) {
    let mut keys: Vec<Vec<u8>> = (0..100u8).map(|n| [b"case-", &[n, 0][..usize::from(1 + n % 2)]].concat()).collect();
    keys.extend([b"case".to_vec(), b"case-\xff\xff".to_vec(), b"cas".to_vec(), b"casf".to_vec(), b"d".to_vec()]);
    change(store, |set| {
        set.puts = keys.iter().map(|key| Put { key: key.clone(), ..put("", Expect::Absent, "v") }).collect();
    });
    let mut expected: Vec<_> = keys.into_iter().filter(|key| key.starts_with(b"case-")).collect();
    expected.sort();
    for limit in [1, 7, 101, 1000] {
        let mut found: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = store.scan(Space::Case, b"case-", found.last().map(Vec::as_slice), limit).expect("a page");
            assert!(page.len() <= limit);
            let done = page.len() < limit;
            found.extend(page.into_iter().map(|(key, _)| key));
            if done {
                break;
            }
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    let all = |prefix: &[u8], after| store.scan(Space::Case, prefix, after, 1000).expect("a page").len();
    assert_eq!(all(b"", None), 105);
    assert_eq!(all(b"case-", Some(b"a")), 101, "a cursor before the prefix leaves nothing out");
    assert_eq!(all(b"case-", Some(b"z")), 0, "a cursor behind the prefix leaves everything out");
    assert_eq!(all(b"nothing", None), 0);
    assert_eq!(store.scan(Space::Case, b"", None, 0).expect("a page"), []);
}

fn spaces_do_not_meet(store: &dyn Store) {
    let spaces: Vec<_> = Space::ALL.iter().copied().filter(|space| *space != Space::Queue).collect();
    change(store, |set| {
        set.puts = spaces
            .iter()
            .map(|space| Put { space: *space, ..put("k", Expect::Absent, &format!("{space:?}")) })
            .collect();
        set.enqueue = vec![job("k", 0, 0)];
    });
    append(store, &["leaf"]);
    for space in spaces {
        let found = store.scan(space, b"", None, 10).expect("a page");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.value, format!("{space:?}").into_bytes());
    }
    assert_eq!(store.scan(Space::Queue, b"", None, 10).expect("a page"), [], "the queue is read by job() and jobs()");
    assert_eq!(store.get(Space::Queue, &job_key("deliver", b"k")).expect("get"), None);
}

fn leaves_are_read_in_pages(store: &dyn Store) {
    let mut expected = Vec::new();
    for group in 0..20 {
        let texts: Vec<_> = (0..=group).map(|n| format!("{group}-{n}").repeat(1 + 137 * n)).collect();
        append(store, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        expected.extend(texts.into_iter().map(String::into_bytes));
    }
    let expected: Vec<_> = (0..).zip(expected).collect();
    let all = store.read(0, usize::MAX).expect("read");
    assert_eq!(all.len(), 210);
    assert_eq!(all, expected);
    for from in 0..210 {
        let page = store.read(from, 3).expect("read");
        let from = usize::try_from(from).expect("few");
        assert_eq!(page, expected[from..(from + 3).min(210)]);
    }
    let mut paged = Vec::new();
    while let page @ [_, ..] = &store.read(paged.len() as u64, 13).expect("read")[..] {
        paged.extend_from_slice(page);
    }
    assert_eq!(paged, all);
    assert_eq!(store.read(209, 5).expect("read").len(), 1);
    for from in [210, 211, u64::MAX] {
        assert_eq!(store.read(from, 5).expect("read"), []);
    }
    assert_eq!(store.read(0, 0).expect("read"), []);
}

fn a_deleted_value_is_gone(store: &dyn Store) {
    change(store, |set| set.puts = vec![put("a", Expect::Any, "1"), put("b", Expect::Any, "")]);
    change(store, |set| set.deletes = vec![delete("a", Expect::Any), delete("never", Expect::Absent)]);
    assert_eq!(store.get(Space::Case, b"a").expect("get"), None);
    let left = store.scan(Space::Case, b"", None, 10).expect("a page");
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0.as_slice(), left[0].1.value.as_slice()), (&b"b"[..], &b""[..]), "an empty value is a value");
}

fn jobs_are_claimed_by_priority_then_age(store: &dyn Store) {
    let other = Job { kind: "other".into(), ..job("z", 0, 255) };
    change(store, |set| {
        set.enqueue =
            vec![job("late", 20, 5), job("early", 10, 5), job("urgent", 30, 9), job("future", 100, 255), other];
    });
    let claim = |now| store.claim("deliver", "w", 600, at(now)).expect("claim").map(|lease| lease.job.key);
    assert_eq!(claim(5), None);
    assert_eq!(claim(40), Some(b"urgent".to_vec()));
    assert_eq!(claim(40), Some(b"early".to_vec()));
    assert_eq!(claim(40), Some(b"late".to_vec()));
    assert_eq!(claim(40), None);
    assert_eq!(claim(100), Some(b"future".to_vec()));
    assert_eq!(store.claim("othe", "w", 600, at(40)).expect("claim"), None);
    assert!(store.claim("other", "w", 600, at(40)).expect("claim").is_some());
    let kinds: Vec<_> = store.jobs(10).expect("jobs").into_iter().map(|job| (job.kind, job.key)).collect();
    assert!(kinds.is_sorted() && kinds.len() == 5, "held jobs are listed too");
}

fn a_job_has_one_holder_at_a_time(store: &dyn Store) {
    change(store, |set| set.enqueue = (0..50).map(|n| job(&format!("job-{n}"), 0, 0)).collect());
    let barrier = Barrier::new(8);
    let mut claimed: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let worker = || {
            barrier.wait();
            std::iter::from_fn(|| store.claim("deliver", "w", 60, at(1)).expect("claim"))
                .map(|lease| lease.job.key)
                .collect()
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| -> Vec<Vec<u8>> { worker.join().expect("a worker") }).collect()
    });
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 50);
}

fn a_lease_runs_out_and_its_token_goes_stale(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 0, 0)]);
    let claim = |now| store.claim("deliver", "w", 60, at(now)).expect("claim");
    let first = claim(10).expect("a job");
    assert_eq!(first.until, at(70));
    assert_eq!(claim(69), None);
    let second = claim(70).expect("the job again");
    assert_ne!(second.token, first.token);
    assert_eq!(store.extend(&first.token, 60, at(71)).expect("extend"), None);
    store.release(&first.token).expect("a stale token releases nothing");
    assert_eq!(claim(72), None);
    for settle in [Settle::Done(first.token.clone()), Settle::Again { token: first.token, due: at(0) }] {
        let outcome = store.commit(WriteSet { settle: vec![settle], ..WriteSet::at(Head::EMPTY) });
        let Err(CommitError::Precondition { space: Space::Queue, key }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(key, job_key("deliver", b"a"));
    }
    // Run out, but claimed by nobody: the holder's work still counts.
    assert_eq!(store.next_due("deliver").expect("a time"), Some(at(130)));
    assert_eq!(store.claim("deliver", "w", 60, at(129)).expect("claim"), None);
    change(store, |set| set.settle = vec![Settle::Done(second.token)]);
    assert_eq!(claim(1000), None);
}

fn an_extended_lease_runs_longer(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 0, 0), job("b", 0, 0)]);
    let lease = store.claim("deliver", "w", 60, at(0)).expect("claim").expect("a job");
    assert_eq!(store.extend(&lease.token, 60, at(50)).expect("extend"), Some(at(110)));
    let other = store.claim("deliver", "w", 60, at(100)).expect("claim").expect("the other job");
    assert_ne!(other.job, lease.job);
    assert_eq!(store.claim("deliver", "w", 60, at(109)).expect("claim"), None);
    let again = store.claim("deliver", "w", 5, at(110)).expect("claim").expect("the job again");
    assert_eq!(again.job, lease.job);
    // It ran out at 115 and was noticed at 116 in vain, since the holder is back before anyone else claims it.
    assert_eq!(store.claim("none", "w", 60, at(116)).expect("claim"), None);
    assert_eq!(store.extend(&again.token, 60, at(117)).expect("extend"), Some(at(177)));
    assert_eq!(store.claim("deliver", "w", 60, at(118)).expect("claim"), None);
}

fn a_released_job_is_free_at_once(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 3, 0)]);
    let lease = store.claim("deliver", "w", 60, at(10)).expect("claim").expect("a job");
    store.release(&lease.token).expect("released");
    assert_eq!(store.next_due("deliver").expect("a time"), Some(at(3)));
    let again = store.claim("deliver", "w", 60, at(10)).expect("claim").expect("the job again");
    assert_eq!(again.job, lease.job);
    assert_eq!(store.extend(&lease.token, 60, at(10)).expect("extend"), None);
}

fn settling_is_part_of_the_write_set(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 0, 3)]);
    let claim = |now| store.claim("deliver", "w", 60, at(now)).expect("claim");
    let lease = claim(1).expect("a job");
    change(store, |set| {
        set.settle = vec![Settle::Again { token: lease.token.clone(), due: at(500) }];
        set.puts = vec![put("attempts", Expect::Absent, "1")];
    });
    assert_eq!(store.job("deliver", b"a").expect("a job"), Some(job("a", 500, 3)), "later, as urgent as before");
    assert_eq!(claim(499), None);
    let stale = store.commit(WriteSet { settle: vec![Settle::Done(lease.token)], ..WriteSet::at(Head::EMPTY) });
    assert!(matches!(stale, Err(CommitError::Precondition { .. })), "a token serves once");
    let lease = claim(500).expect("the job again");
    change(store, |set| {
        set.settle = vec![Settle::Done(lease.token)];
        set.enqueue = vec![job("next", 600, 0)];
    });
    assert_eq!(store.jobs(10).expect("jobs"), [job("next", 600, 0)]);
    change(store, |set| set.enqueue = vec![job("a", 0, 0)]);
}

fn a_hastened_job_is_due_and_a_held_one_is_not_touched(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 900, 5)]);
    let claim = || store.claim("deliver", "w", 60, at(100)).expect("claim");
    assert_eq!(claim(), None);
    for (key, due, is_free_and_later) in [("a", 100, true), ("a", 800, false), ("b", 100, false)] {
        let hastened = store.hasten("deliver", key.as_bytes(), at(due)).expect("an answer");
        assert_eq!(hastened, is_free_and_later, "{key} {due}");
    }
    assert_eq!(store.next_due("deliver").expect("a time"), Some(at(100)), "never later than it was");
    let lease = claim().expect("a job");
    assert!(!store.hasten("deliver", b"a", at(50)).expect("an answer"), "it is held");
    assert_eq!(claim(), None, "it has one holder");
    store.release(&lease.token).expect("released");
    assert_eq!(claim().expect("the job again").job, job("a", 100, 5));
}

fn a_job_can_be_made_due_whoever_holds_it(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("a", 900, 3)]);
    let due = |second| Settle::Due { kind: "deliver".into(), key: b"a".to_vec(), due: at(second) };
    change(store, |set| set.settle = vec![due(5)]);
    assert_eq!(store.job("deliver", b"a").expect("a job"), Some(job("a", 5, 3)), "sooner, as urgent as before");
    let lease = store.claim("deliver", "w", 60, at(5)).expect("claim").expect("the job");
    change(store, |set| set.settle = vec![due(7)]);
    let stale = store.commit(WriteSet { settle: vec![Settle::Done(lease.token)], ..WriteSet::at(Head::EMPTY) });
    assert!(matches!(stale, Err(CommitError::Precondition { .. })), "its holder holds it no more");
    let again = store.claim("deliver", "w", 60, at(7)).expect("claim").expect("the job again");
    change(store, |set| set.settle = vec![Settle::Done(again.token)]);
    let absent = store.commit(WriteSet { settle: vec![due(9)], ..WriteSet::at(Head::EMPTY) });
    assert!(matches!(absent, Err(CommitError::Precondition { .. })), "there is no such job");
}

fn a_cancelled_job_is_gone_whoever_holds_it(store: &dyn Store) {
    change(store, |set| set.enqueue = vec![job("held", 0, 0), job("free", 0, 0)]);
    let lease = store.claim("deliver", "w", 60, at(1)).expect("claim").expect("a job");
    change(store, |set| set.settle = vec![cancel("held"), cancel("free")]);
    assert_eq!(store.jobs(10).expect("jobs"), []);
    assert_eq!(store.next_due("deliver").expect("a time"), None);
    assert_eq!(store.extend(&lease.token, 60, at(2)).expect("extend"), None);
    let outcome = store.commit(WriteSet { settle: vec![Settle::Done(lease.token)], ..WriteSet::at(Head::EMPTY) });
    assert!(matches!(outcome, Err(CommitError::Precondition { .. })), "{outcome:?}");
}

fn a_worker_knows_when_to_wake(store: &dyn Store) {
    let wake = || store.next_due("deliver").expect("a time");
    assert_eq!(wake(), None);
    change(store, |set| {
        set.enqueue = vec![job("low", 50, 0), job("high", 90, 9), Job { kind: "aaa".into(), ..job("x", 1, 0) }];
    });
    assert_eq!(wake(), Some(at(50)));
    let low = store.claim("deliver", "w", 10, at(60)).expect("claim").expect("a job");
    assert_eq!(wake(), Some(at(70)), "the lease ends before the other is due");
    store.extend(&low.token, 60, at(60)).expect("extend");
    assert_eq!(wake(), Some(at(90)));
    change(store, |set| set.settle = vec![cancel("high")]);
    assert_eq!(wake(), Some(at(120)));
    change(store, |set| set.settle = vec![Settle::Done(low.token)]);
    assert_eq!(wake(), None);
}

fn sixteen_threads_race_for_one_head_and_one_wins(store: &dyn Store) {
    const ROUNDS: u64 = 20;
    let barrier = Barrier::new(16);
    let wins: usize = std::thread::scope(|scope| {
        let racer = |name: usize| {
            let mut wins = 0;
            for round in 0..ROUNDS {
                barrier.wait();
                let head = store.head().expect("a head");
                assert_eq!(head.size, round);
                barrier.wait();
                match store.commit(leaves(head, &[&format!("{name}")])) {
                    Ok(()) => wins += 1,
                    Err(CommitError::HeadMoved(moved)) => assert_eq!(moved.size, round + 1),
                    Err(other) => panic!("{other}"),
                }
            }
            wins
        };
        let racers: Vec<_> = (0..16).map(|name| scope.spawn(move || racer(name))).collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).sum()
    });
    assert_eq!(wins as u64, ROUNDS);
    assert_eq!(store.head().expect("a head").size, ROUNDS);
    assert_eq!(store.read(0, 100).expect("read").len() as u64, ROUNDS);
}

fn a_reader_sees_whole_write_sets(store: &dyn Store) {
    const ROUNDS: u64 = 60;
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    std::thread::scope(|scope| {
        let reader = || {
            loop {
                let head = store.head().expect("a head");
                assert!(store.read(0, usize::MAX).expect("read").len() as u64 >= head.size);
                let page = store.scan(Space::Case, b"k", None, 100).expect("a page");
                assert!(page.iter().all(|(_, found)| found.version == page[0].1.version), "half a write set was seen");
                if head.size == ROUNDS {
                    break;
                }
            }
        };
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(reader)).collect();
        for round in 0..ROUNDS {
            let head = store.head().expect("a head");
            let puts = keys.iter().map(|key| put(key, Expect::Any, &round.to_string())).collect();
            store.commit(WriteSet { puts, ..leaves(head, &["leaf"]) }).expect("committed");
        }
        for reader in readers {
            reader.join().expect("a reader");
        }
    });
}

#[test]
fn a_reopened_store_keeps_everything_but_the_leases() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let store = SledStore::create(&path).expect("a store");
    let head = append(&store, &["one", "two"]);
    change(&store, |set| {
        set.puts = vec![put("a", Expect::Absent, "1"), put("b", Expect::Absent, "2")];
        set.enqueue = vec![job("held", 5, 3), job("done", 0, 9), job("later", 1, 8)];
    });
    change(&store, |set| set.deletes = vec![delete("b", Expect::Any)]);
    let [done, later, held] =
        [(); 3].map(|()| store.claim("deliver", "w", 600, at(10)).expect("claim").expect("a job"));
    change(&store, |set| {
        set.settle = vec![Settle::Done(done.token), Settle::Again { token: later.token, due: at(700) }];
    });
    let version = store.get(Space::Case, b"a").expect("get").expect("a value").version;
    let jobs = store.jobs(10).expect("jobs");
    drop(store);

    let store = SledStore::open(&path).expect("opens again");
    assert_eq!(store.head().expect("a head"), head);
    assert_eq!(store.read(0, 10).expect("read"), [(0, b"one".to_vec()), (1, b"two".to_vec())]);
    let kept = store.scan(Space::Case, b"", None, 10).expect("a page");
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].1.version, kept[0].1.value.as_slice()), (version, &b"1"[..]));
    assert_eq!(jobs, [job("held", 5, 3), job("later", 700, 8)]);
    assert_eq!(store.jobs(10).expect("jobs"), jobs);
    let again = store.claim("deliver", "w", 60, at(11)).expect("claim").expect("a restart frees the job");
    assert_eq!(again.job, held.job);
    change(&store, |set| set.puts = vec![put("a", Expect::Version(version), "2")]);
    assert!(store.get(Space::Case, b"a").expect("get").expect("a value").version > version, "versions go on rising");
}

#[test]
fn opening_never_makes_a_store_and_making_never_opens_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    assert!(matches!(SledStore::open(&path), Err(StoreError::Absent { .. })));
    assert!(!path.exists());
    std::fs::create_dir(&path).expect("an empty folder");
    assert!(matches!(SledStore::open(&path), Err(StoreError::Emptied { .. })));
    assert!(matches!(SledStore::create(&path), Err(StoreError::Exists { .. })));
    assert_eq!(std::fs::read_dir(&path).expect("a folder").count(), 0);
    std::fs::remove_dir(&path).expect("removed");

    // What a crash half way through the making leaves is no store, and in nobody's way.
    std::fs::create_dir(dir.path().join(".store.new")).expect("a folder");
    let store = SledStore::create(&path).expect("a store");
    assert!(matches!(SledStore::create(&path), Err(StoreError::Exists { .. })));
    assert!(matches!(SledStore::open(&path), Err(StoreError::InUse { .. })));
    append(&store, &["one"]);
    drop(store);
    assert!(matches!(SledStore::create(&path), Err(StoreError::Exists { .. })));
    assert_eq!(SledStore::open(&path).expect("opens").head().expect("a head").size, 1);
}

#[test]
fn a_store_that_lost_its_content_does_not_open() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    drop(SledStore::create(&path).expect("a store"));
    // As a power cut leaves it whose file sizes never reached the disk.
    for zeros in [0, 4096, 16 * 1024 * 1024] {
        let db = std::fs::File::create(path.join("db")).expect("truncated");
        db.set_len(zeros).expect("zeros");
        for entry in std::fs::read_dir(&path).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.file_name().to_string_lossy().starts_with("snap") {
                std::fs::remove_file(entry.path()).expect("removed");
            }
        }
        let outcome = SledStore::open(&path);
        assert!(matches!(outcome, Err(StoreError::Emptied { .. })), "{zeros} zeros: {outcome:?}");
    }
}

/// As a full disk leaves it, or a kill in the middle of a start.
#[test]
fn a_snapshot_that_a_start_left_unfinished_does_not_keep_the_store_from_opening() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let store = SledStore::create(&path).expect("a store");
    let head = Head { size: 1, leaf: Digest::of(b"a") };
    store
        .commit(WriteSet { append: vec![b"a".to_vec()], head_after: head, ..WriteSet::at(Head::EMPTY) })
        .expect("done");
    drop(store);
    for unfinished in [&b""[..], b"half of a snapshot"] {
        std::fs::File::create_new(path.join("snap.7FFFFFFFFFFFFFFF.generating"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, unfinished))
            .expect("written");
        let store = SledStore::open(&path).expect("opens again");
        assert_eq!(store.head().expect("a head"), head);
        assert_eq!(store.read(0, 2).expect("read"), [(0, b"a".to_vec())]);
    }
}

#[test]
fn a_file_that_nothing_syncs_keeps_the_store_from_opening_and_fails_a_commit() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let store = SledStore::create(&path).expect("a store");
    append(&store, &["one"]);
    let blob = path.join("blobs/4711");
    std::fs::File::create(&blob).expect("a file");
    let outcome = store.commit(leaves(store.head().expect("a head"), &["two"]));
    assert!(matches!(outcome, Err(CommitError::Store(StoreError::Damaged { .. }))), "{outcome:?}");

    // From here on it answers nothing, even when the cause is gone.
    std::fs::remove_file(&blob).expect("removed");
    let stopped = |error: &StoreError| matches!(error, StoreError::Stopped(_));
    let set = WriteSet::at(Head::EMPTY);
    assert!(matches!(store.commit(set), Err(CommitError::Store(error)) if stopped(&error)));
    assert!(store.head().is_err_and(|error| stopped(&error)));
    assert!(store.read(0, 1).is_err_and(|error| stopped(&error)));
    assert!(store.get(Space::Case, b"a").is_err_and(|error| stopped(&error)));
    assert!(store.scan(Space::Case, b"", None, 1).is_err_and(|error| stopped(&error)));
    assert!(store.claim("deliver", "w", 1, at(0)).is_err_and(|error| stopped(&error)));
    assert!(store.next_due("deliver").is_err_and(|error| stopped(&error)));
    assert!(store.jobs(1).is_err_and(|error| stopped(&error)));
    drop(store);

    std::fs::File::create(&blob).expect("a file");
    assert!(matches!(SledStore::open(&path), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_store_serves_through_the_trait_object_that_the_gateway_holds() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::create());
    let copy = Arc::clone(&store);
    std::thread::spawn(move || append(&*copy, &["one"])).join().expect("a thread");
    assert_eq!(store.head().expect("a head").size, 1);
}

/// Appends leaves where the log stands; their hash is not the log's, which an engine cannot know.
fn append(store: &dyn Store, texts: &[&str]) -> Head {
    let set = leaves(store.head().expect("a head"), texts);
    let head = set.head_after;
    store.commit(set).expect("committed");
    head
}

fn leaves(head: Head, texts: &[&str]) -> WriteSet {
    let last = texts.last().expect("a leaf");
    let head_after = Head { size: head.size + texts.len() as u64, leaf: Digest::of(last.as_bytes()) };
    let append = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    WriteSet { append, head_after, ..WriteSet::at(head) }
}

fn change(store: &dyn Store, fill: impl FnOnce(&mut WriteSet)) {
    let mut set = WriteSet::at(store.head().expect("a head"));
    fill(&mut set);
    store.commit(set).expect("committed");
}

fn put(key: &str, expect: Expect, value: &str) -> Put {
    Put { space: Space::Case, key: key.as_bytes().to_vec(), expect, value: value.as_bytes().to_vec() }
}

fn delete(key: &str, expect: Expect) -> Delete {
    Delete { space: Space::Case, key: key.as_bytes().to_vec(), expect }
}

fn job(key: &str, due_s: i64, priority: u8) -> Job {
    Job { kind: "deliver".into(), key: key.as_bytes().to_vec(), due: at(due_s), priority }
}

fn cancel(key: &str) -> Settle {
    Settle::Cancel { kind: "deliver".into(), key: key.as_bytes().to_vec() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}
