//! The log against a store in memory that can be held up or made to fail.

mod cadence;
mod rig;
mod tiles;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use self::rig::{Fate, Home, Note, TestStore, note};
use super::*;
use crate::audit::note::Checkpoint;
use crate::audit::reader::Detail;
use crate::audit::tree::Frontier;
use crate::durable;
use crate::id::SubjectId;
use crate::json;
use crate::leaf::{self, Leaf};
use crate::signature::NoteSigner;
use crate::store::{Expect, Head, Store, WriteSet};

fn record(log: &Log, event: Note, change: Change) -> Place {
    log.append_blocking(event, change).unwrap().place().clone()
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Puts many appends before the writer at once, and waits for all answers.
fn at_once(home: &Home, log: &Log, what: Vec<(Note, Change)>) -> Vec<Result<Recorded<Note>, AppendError>> {
    home.store.hold(true);
    // One entry goes ahead and stands at the gate, so that the others queue behind it.
    let ahead = std::thread::spawn({
        let log = log.clone();
        move || drop(log.append_blocking(note("ahead"), Change::default()))
    });
    home.store.wait_for_arrival();
    let answers = block_on::block_on(async {
        let mut waiting = Vec::new();
        for (event, change) in what {
            let mut append = Box::pin({
                let log = log.clone();
                async move { log.append(event, change).await }
            });
            // One poll queues it.
            assert!(poll_once(append.as_mut()).await.is_pending());
            waiting.push(append);
        }
        home.store.hold(false);
        let mut answers = Vec::new();
        for append in waiting {
            answers.push(append.await);
        }
        answers
    });
    ahead.join().unwrap();
    answers
}

fn put(space: Space, key: &str, expect: Expect, value: &str) -> Change {
    let put = Put { space, key: key.into(), expect, value: value.into() };
    Change { puts: vec![put], ..Change::default() }
}

#[test]
fn an_entry_has_its_place_and_the_next_start_goes_on_after_it() {
    let home = Home::new();
    let log = home.open();
    assert_eq!(log.size(), 1);
    let change =
        Change { stamps: vec![(Space::Stamp, b"here".to_vec())], ..put(Space::Case, "a", Expect::Absent, "v") };
    let recorded = log.append_blocking(note("one"), change).unwrap();
    assert_eq!((recorded.place().seq, recorded.event().text.as_str(), log.size()), (1, "one", 2));
    let stamped = home.store.get(Space::Stamp, b"here").unwrap().unwrap().value;
    assert_eq!(json::from_line::<Place>(&stamped, 1000).unwrap(), *recorded.place());
    assert_eq!(home.store.get(Space::Case, b"a").unwrap().unwrap().value, b"v");
    assert_eq!(log.newest(), *recorded.place());
    log.close().unwrap();
    assert!(log.has_died());
    assert!(matches!(log.append_blocking(note("late"), Change::default()), Err(AppendError::Stopped)));

    let log = home.open();
    assert_eq!(log.newest(), *recorded.place());
    assert_eq!(log.append_blocking(note("two"), Change::default()).unwrap().place().seq, 2);
    log.close().unwrap();
    assert_eq!(home.verified(), ["one", "two"]);
}

#[test]
fn the_first_leaf_names_the_log_and_its_key() {
    let home = Home::new();
    let genesis = Leaf::read(&home.store.read(0, 1).unwrap()[0].1).unwrap();
    assert_eq!((genesis.kind.as_str(), genesis.seq, genesis.prev), ("genesis", 0, leaf::NO_LEAF));
    assert_eq!(genesis.facts["format"], "medseal-log@v1");
    assert_eq!(genesis.facts["origin"], "st-mary.example/audit");
    assert_eq!(genesis.facts["institution"], "st-mary");
    assert_eq!(genesis.facts["log_key"], home.open().key().to_string());
    assert!(matches!(init(&home.parts(), &"st-mary".parse().unwrap()), Err(InitLogError::Exists)));
}

#[test]
fn what_queues_during_a_commit_shares_the_next_one() {
    let home = Home::new();
    let log = home.open();
    let before = home.store.commits();
    let answers = at_once(&home, &log, (0..200).map(|at| (note(&at.to_string()), Change::default())).collect());
    let places: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().place().seq).collect();
    assert_eq!(places, (2..202).collect::<Vec<_>>());
    assert_eq!(home.store.commits() - before, 2, "one for the entry ahead, one for the 200");
    log.close().unwrap();
    assert_eq!(home.verified().len(), 201);
}

#[test]
fn a_place_holds_the_root_of_the_log_up_to_it() {
    let home = Home::new();
    let log = home.open();
    let answers = at_once(&home, &log, (0..20).map(|at| (note(&at.to_string()), Change::default())).collect());
    let mut tree = Frontier::new();
    let lines = home.store.read(0, 100).unwrap();
    let roots: Vec<_> = lines
        .iter()
        .map(|(_, line)| {
            tree.push(leaf::hash(line));
            tree.root()
        })
        .collect();
    for answer in answers {
        let place = answer.unwrap().place().clone();
        let at = usize::try_from(place.seq).unwrap();
        assert_eq!((place.root, place.leaf), (roots[at], leaf::hash(&lines[at].1)));
    }
}

#[test]
fn one_callers_failed_precondition_never_fails_its_neighbours() {
    let home = Home::new();
    let log = home.open();
    record(&log, note("first"), put(Space::Case, "taken", Expect::Absent, "1"));
    let too_long = Note { text: "x".repeat(leaf::LEAF_BYTES_MAX), about: None };
    let job = |due: &str| Job { kind: "deliver".into(), key: b"b".to_vec(), due: due.parse().unwrap(), priority: 1 };
    let enqueue = || Change { enqueue: vec![job("2026-11-22T10:00:00Z")], ..Change::default() };
    let cancel = Settle::Cancel { kind: "deliver".into(), key: b"absent".to_vec() };
    let twice = Change { stamps: vec![(Space::Case, b"x".to_vec())], ..put(Space::Case, "x", Expect::Any, "") };
    let answers = at_once(
        &home,
        &log,
        vec![
            (note("a"), Change::default()),
            (note("b"), put(Space::Case, "taken", Expect::Absent, "2")),
            (note("c"), put(Space::Case, "taken", Expect::Version(999), "2")),
            (too_long, Change::default()),
            (note("d"), enqueue()),
            (note("e"), enqueue()),
            (note("f"), Change { settle: vec![cancel], ..Change::default() }),
            (note("g"), twice),
            (note("h"), put(Space::Meta, "log-frontier", Expect::Any, "mine")),
            (note("i"), put(Space::Case, "free", Expect::Absent, "3")),
        ],
    );
    let shape: String = answers
        .iter()
        .map(|answer| match answer {
            Ok(_) => '+',
            Err(AppendError::Precondition { .. }) => 'p',
            Err(AppendError::Leaf(LeafError::TooLong { .. })) => 'l',
            Err(_) => '?',
        })
        .collect();
    assert_eq!(shape, "+ppld".replace('d', "+") + "pppp+");
    log.close().unwrap();
    assert_eq!(home.verified(), ["first", "ahead", "a", "d", "i"]);
}

#[test]
fn what_only_the_store_can_refuse_fails_its_caller_alone() {
    let home = Home::new();
    let log = home.open();
    let now = home.clock.now();
    let job = Job { kind: "deliver".into(), key: b"b".to_vec(), due: now, priority: 1 };
    record(&log, note("job"), Change { enqueue: vec![job], ..Change::default() });
    let stale = home.store.claim("deliver", "one", 1, now).unwrap().unwrap().token;
    home.clock.advance_s(10);
    let held = home.store.claim("deliver", "two", 1, home.clock.now()).unwrap().unwrap().token;
    let done = |token| Change { settle: vec![Settle::Done(token)], ..Change::default() };
    let large = "x".repeat(crate::store::VALUE_BYTES_MAX + 1);
    let answers = at_once(
        &home,
        &log,
        vec![
            (note("a"), Change::default()),
            (note("stale"), done(stale)),
            (note("b"), Change::default()),
            (note("large"), put(Space::Case, "large", Expect::Any, &large)),
            (note("c"), done(held)),
        ],
    );
    assert!(matches!(answers[1], Err(AppendError::Precondition { space: Space::Queue, .. })), "{:?}", answers[1]);
    assert!(matches!(answers[3], Err(AppendError::Malformed(_))), "{:?}", answers[3]);
    log.close().unwrap();
    assert_eq!(home.verified(), ["job", "ahead", "a", "b", "c"]);
}

#[test]
fn changes_of_one_record_are_made_in_the_order_of_their_entries() {
    let home = Home::new();
    let log = home.open();
    let answers = at_once(
        &home,
        &log,
        vec![
            (note("a"), put(Space::Case, "k", Expect::Absent, "1")),
            (note("b"), put(Space::Case, "k", Expect::Absent, "2")),
            (note("c"), put(Space::Case, "k", Expect::Any, "3")),
            (note("d"), put(Space::Case, "k", Expect::Any, "4")),
        ],
    );
    let recorded: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(recorded, [true, false, true, true]);
    assert_eq!(home.store.get(Space::Case, b"k").unwrap().unwrap().value, b"4");
    log.close().unwrap();
    assert_eq!(home.verified(), ["ahead", "a", "c", "d"]);
}

#[test]
fn a_detail_is_read_back_only_with_the_subjects_key() {
    let home = Home::new();
    let log = home.open();
    let subject = home.subjects.find_or_create(&"mrn|4711".parse().unwrap()).unwrap();
    let event = Note { text: "t".into(), about: Some((subject.clone(), "Erika".into())) };
    let seq = log.append_blocking(event, Change::default()).unwrap().place().seq;
    let Detail::Open(opening) = log.reader().detail(seq).unwrap() else { panic!("not opened") };
    assert_eq!(opening.detail["name"], "Erika");
    assert_eq!(log.reader().detail(0).unwrap(), Detail::None);
    assert!(log.reader().detail(99).is_err());

    let stored = home.store.get(Space::Detail, &seq.to_be_bytes()).unwrap().unwrap().value;
    let line = home.store.read(seq, 1).unwrap()[0].1.clone();
    for bytes in [&stored, &line] {
        assert!(!String::from_utf8_lossy(bytes).contains("Erika"));
        assert!(!bytes.windows(32).any(|window| window == opening.salt));
    }
    let stranger = Note { text: "t".into(), about: Some((SubjectId::random(), "Max".into())) };
    assert!(matches!(log.append_blocking(stranger, Change::default()), Err(AppendError::NoSubjectKey)));

    let other = log.append_blocking(note("x"), put(Space::Case, "z", Expect::Any, "")).unwrap().place().seq;
    assert_eq!(log.reader().detail(other).unwrap(), Detail::None);
    for entry in std::fs::read_dir(home.folder.path().join("subjects")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("key-") {
            durable::remove(&path).unwrap();
        }
    }
    assert_eq!(log.reader().detail(seq).unwrap(), Detail::NoKey);
}

#[test]
fn a_clock_that_is_set_back_never_turns_the_log_around() {
    let home = Home::new();
    let log = home.open();
    let first = log.append_blocking(note("one"), Change::default()).unwrap().place().at;
    home.clock.advance_s(-3600);
    assert_eq!(log.append_blocking(note("two"), Change::default()).unwrap().place().at, first);
    log.close().unwrap();
    let log = home.open();
    assert_eq!(log.append_blocking(note("three"), Change::default()).unwrap().place().at, first);
    home.clock.advance_s(3601);
    assert!(log.append_blocking(note("four"), Change::default()).unwrap().place().at > first);
}

#[test]
fn the_log_signs_by_itself_after_it_grew() {
    let home = Home::new();
    let log = home.open();
    record(&log, note("one"), Change::default());
    let mut newest = log.0.state.newest.subscribe();
    let signed = |note: &str| Checkpoint::open(note.as_bytes(), std::slice::from_ref(log.key())).unwrap().size;
    block_on::block_on(newest.wait_for(|newest| signed(&newest.note) == 2)).unwrap();
    assert_eq!(std::fs::read_to_string(home.head_file()).unwrap(), log.checkpoint());
}

#[test]
fn a_checkpoint_can_be_asked_for_and_covers_everything() {
    let home = Home::new();
    let log = home.open();
    for at in 0..5 {
        record(&log, note(&at.to_string()), Change::default());
        let signed = Checkpoint::open(log.sign_now_blocking().unwrap().as_bytes(), std::slice::from_ref(log.key()));
        assert_eq!((signed.as_ref().unwrap().size, signed.unwrap().root), (log.size(), log.newest().root));
    }
    assert_eq!(log.sign_now_blocking().unwrap(), log.checkpoint());
}

#[test]
fn opening_reads_on_from_the_saved_edge_and_from_nothing_alike() {
    let home = Home::new();
    let log = home.open();
    for at in 0..10 {
        record(&log, note(&at.to_string()), Change::default());
        if at % 4 == 0 {
            log.sign_now_blocking().unwrap();
        }
    }
    let newest = log.newest();
    log.close().unwrap();
    for edge in [None, Some(0_u64), Some(3), Some(u64::MAX)] {
        let mut set = WriteSet::at(home.store.head().unwrap());
        let mut tree = Frontier::new();
        let lines = home.store.read(0, 100).unwrap();
        lines
            .iter()
            .take(edge.map_or(11, |size| usize::try_from(size).unwrap()))
            .for_each(|(_, line)| tree.push(leaf::hash(line)));
        let value = if edge == Some(u64::MAX) { b"damaged".to_vec() } else { tree.to_bytes() };
        set.puts.push(Put { space: Space::Meta, key: writer::FRONTIER_KEY.to_vec(), expect: Expect::Any, value });
        home.store.commit(set).unwrap();
        let log = home.open();
        assert_eq!(log.newest(), newest);
    }
}

#[test]
fn an_error_of_the_store_is_never_an_answer_and_nothing_answered_is_lost() {
    for fate in [Fate::Kept, Fate::Lost, Fate::Panic] {
        for step in 1..=4 {
            let home = fails_at(Home::new(), step, fate);
            goes_on(&home, step, fate);
        }
    }
}

#[test]
fn nothing_answered_is_lost_on_the_disk_when_a_commit_fails_at_any_step() {
    for fate in [Fate::Kept, Fate::Lost, Fate::Panic] {
        for step in 1..=4 {
            let home = fails_at(Home::on_disk(), step, fate);
            goes_on(&home.restart(), step, fate);
        }
    }
}

/// Six entries into a log whose store fails at one of them.
fn fails_at(home: Home, step: usize, fate: Fate) -> Home {
    let log = home.open();
    home.store.fail_at(step, fate);
    let answers: Vec<_> = (0..6).map(|at: i32| log.append_blocking(note(&at.to_string()), Change::default())).collect();
    for (at, answer) in answers.iter().enumerate() {
        let answered = at + 1 < step;
        assert_eq!(answered, answer.is_ok(), "{fate:?} at {step}: nobody is answered after the error");
        assert!(answered || matches!(answer, Err(AppendError::Stopped)), "{answer:?}");
    }
    block_on::block_on(log.died());
    assert!(log.sign_now_blocking().is_err() && log.close().is_err());
    drop(log);
    home
}

/// The next start goes on after every entry that was answered.
fn goes_on(home: &Home, step: usize, fate: Fate) {
    let log = home.open();
    record(&log, note("again"), Change::default());
    log.close().unwrap();
    let kept = usize::from(fate == Fate::Kept);
    let mut expected: Vec<_> = (0..step - 1 + kept).map(|at| at.to_string()).collect();
    expected.push("again".to_owned());
    assert_eq!(home.verified(), expected, "{fate:?} at {step}");
}

#[test]
fn a_whole_group_hears_of_an_error_of_the_store() {
    for fate in [Fate::Kept, Fate::Lost, Fate::Panic] {
        let home = Home::new();
        let log = home.open();
        home.store.fail_at(2, fate);
        let answers = at_once(&home, &log, (0..20).map(|at| (note(&at.to_string()), Change::default())).collect());
        assert!(answers.iter().all(|answer| matches!(answer, Err(AppendError::Stopped))));
        drop(log);
        home.open().close().unwrap();
        assert_eq!(home.verified().len(), if fate == Fate::Kept { 21 } else { 1 });
    }
}

#[test]
fn an_empty_rolled_back_or_forked_store_is_an_alarm() {
    let home = Home::new();
    let log = home.open();
    for at in 0..5 {
        record(&log, note(&at.to_string()), Change::default());
    }
    log.close().unwrap();
    let lines: Vec<_> = home.store.read(0, 100).unwrap().into_iter().map(|(_, line)| line).collect();
    let with = |lines: &[Vec<u8>]| {
        let store = TestStore::create();
        if !lines.is_empty() {
            let mut set = WriteSet::at(Head::EMPTY);
            set.append = lines.to_vec();
            set.head_after = Head { size: lines.len() as u64, leaf: leaf::hash(&lines[lines.len() - 1]) };
            store.commit(set).unwrap();
        }
        Log::open(LogParts { store, ..home.parts() })
    };
    assert!(matches!(with(&[]), Err(OpenLogError::Empty { signed: 6 })));
    assert!(matches!(with(&lines[..5]), Err(OpenLogError::RolledBack { found: 5, signed: 6 })));
    assert!(with(&lines).is_ok());

    // The last entry rewritten, with a chain that holds.
    let mut forked = lines.clone();
    forked[5] = String::from_utf8(lines[5].clone()).unwrap().replace("\"4\"", "\"5\"").into_bytes();
    assert!(matches!(with(&forked), Err(OpenLogError::Forked { signed: 6 })));
    let mut broken = lines.clone();
    broken[3] = String::from_utf8(lines[3].clone()).unwrap().replace("\"2\"", "\"9\"").into_bytes();
    assert!(matches!(with(&broken), Err(OpenLogError::Broken { seq: 4 })));
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert!(matches!(with(&swapped), Err(OpenLogError::Broken { seq: 2 })));
}

#[test]
fn a_saved_edge_beyond_the_signed_head_hides_no_fork() {
    let home = Home::new();
    let log = home.open();
    record(&log, note("one"), Change::default());
    let signed = log.sign_now_blocking().unwrap();
    record(&log, note("two"), Change::default());
    log.close().unwrap();

    // The same two entries, the first of them another, chained and with its edge saved.
    let other = Home::new();
    let other_log = other.open();
    record(&other_log, note("ONE"), Change::default());
    record(&other_log, note("two"), Change::default());
    other_log.close().unwrap();
    durable::replace(&home.head_file(), signed.as_bytes(), 0o644).unwrap();
    let opened = Log::open(LogParts { store: Arc::clone(&other.store) as Arc<dyn Store>, ..home.parts() });
    assert!(matches!(opened, Err(OpenLogError::Forked { signed: 2 })), "{opened:?}");
    assert_eq!(home.open().size(), 3);
}

#[test]
fn a_missing_or_alien_head_is_an_alarm() {
    let home = Home::new();
    let ours = std::fs::read(home.head_file()).unwrap();
    durable::remove(&home.head_file()).unwrap();
    assert!(matches!(Log::open(home.parts()), Err(OpenLogError::Head { .. })));
    let checkpoint = Checkpoint::claimed(&ours).unwrap();
    let alien = checkpoint.sign(&NoteSigner::from_seed(&[8; 32]));
    durable::replace(&home.head_file(), alien.as_bytes(), 0o644).unwrap();
    assert!(matches!(Log::open(home.parts()), Err(OpenLogError::HeadNotOurs { .. })));
    durable::replace(&home.head_file(), b"", 0o644).unwrap();
    assert!(matches!(Log::open(home.parts()), Err(OpenLogError::HeadNotOurs { .. })));
    durable::replace(&home.head_file(), &ours, 0o644).unwrap();
    home.open().close().unwrap();
}

#[test]
fn the_log_never_signs_beside_a_head_that_it_did_not_write() {
    let home = Home::new();
    let log = home.open();
    record(&log, note("one"), Change::default());
    let signer = NoteSigner::from_seed(&[7; 32]);
    let beside = Checkpoint { size: 9, ..Checkpoint::claimed(log.checkpoint().as_bytes()).unwrap() };
    durable::replace(&home.head_file(), beside.sign(&signer).as_bytes(), 0o644).unwrap();
    assert!(log.sign_now_blocking().is_err());
    block_on::block_on(log.died());
    assert_eq!(std::fs::read_to_string(home.head_file()).unwrap(), beside.sign(&signer));
    assert!(matches!(Log::open(home.parts()), Err(OpenLogError::RolledBack { found: 2, signed: 9 })));
}

#[test]
fn no_more_than_the_limit_may_wait() {
    let home = Home::new();
    let log = home.open();
    let answers =
        at_once(&home, &log, (0..WAITING_MAX + 50).map(|at| (note(&at.to_string()), Change::default())).collect());
    assert!(answers.iter().all(Result::is_ok));
    home.store.hold(true);
    block_on::block_on(async {
        let mut waiting: Vec<_> =
            (0..WAITING_MAX + 5).map(|_| Box::pin(log.append(note("x"), Change::default()))).collect();
        for append in &mut waiting {
            assert!(poll_once(append.as_mut()).await.is_pending());
        }
        assert_eq!(log.0.waiting.available_permits(), 0);
        home.store.hold(false);
        for append in waiting {
            drop(append.await.unwrap());
        }
    });
    assert_eq!(log.0.waiting.available_permits(), WAITING_MAX);
}

#[test]
fn an_error_of_the_store_ends_the_gateways_process() {
    let child = "MEDSEAL_TEST_ABORTS";
    if std::env::var_os(child).is_some() {
        let home = Home::new();
        let log = Log::open(LogParts { on_failure: OnFailure::Abort, ..home.parts() }).unwrap();
        home.store.fail_at(1, Fate::Kept);
        drop(log.append_blocking(note("one"), Change::default()));
        // Reached only if the process outlived the error.
        return;
    }
    let this = std::env::current_exe().unwrap();
    let name = "audit::log::tests::an_error_of_the_store_ends_the_gateways_process";
    let ended = std::process::Command::new(this).args(["--exact", name]).env(child, "1").output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(6), "{ended:?}");
}
