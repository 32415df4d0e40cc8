//! When is a checkpoint signed, and which of them are kept?

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::*;
use crate::audit::history::{self, KEPT_MAX};

fn kept(home: &Home) -> Vec<u64> {
    history::read(home.store.as_ref(), u64::MAX).unwrap().into_iter().map(|(size, _)| size).collect()
}

fn signed_on_disk(home: &Home, log: &Log) -> Checkpoint {
    let note = std::fs::read(home.head_file()).unwrap();
    Checkpoint::open(&note, std::slice::from_ref(log.key())).unwrap()
}

#[test]
fn never_more_than_1000_entries_are_without_a_signature() {
    let home = Home::new();
    let log = home.open();
    // Far fewer than these would fit between two checkpoints that come once a second.
    for round in 0..10 {
        let many = (0..250).map(|at| (note(&format!("{round} {at}")), Change::default())).collect();
        for answer in at_once(&home, &log, many) {
            drop(answer.unwrap());
        }
        let unsigned = log.size() - signed_on_disk(&home, &log).size;
        assert!(unsigned <= 1000, "{unsigned} entries are not signed");
    }
    log.close().unwrap();
    assert_eq!(home.verified().len(), 2510);
}

#[test]
fn entries_are_recorded_while_a_checkpoint_is_being_signed_but_no_more_than_1000() {
    let home = Home::new();
    let signer = Arc::new(HeldSigner { signer: NoteSigner::from_seed(&[7; 32]), hand: Mutex::default() });
    let log = Log::open(LogParts { signer: Arc::clone(&signer) as Arc<dyn SignsNotes>, ..home.parts() }).unwrap();
    let hand = signer.hand.lock().unwrap();
    let round = || {
        let many = (0..250).map(|at| (note(&at.to_string()), Change::default())).collect();
        for answer in at_once(&home, &log, many) {
            drop(answer.unwrap());
        }
    };
    (0..3).for_each(|_| round());
    assert_eq!((log.size(), signed_on_disk(&home, &log).size), (754, 1));
    let (done, fourth) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            round();
            done.send(()).unwrap();
        });
        // They could become too many, so they wait for the signature.
        assert_eq!(fourth.recv_timeout(Duration::from_millis(200)), Err(RecvTimeoutError::Timeout));
        drop(hand);
        fourth.recv().unwrap();
    });
    assert_eq!(log.size(), 1005);
    log.close().unwrap();
    assert_eq!(signed_on_disk(&home, &log).size, 1005);
}

/// Signs only when nobody holds its hand.
struct HeldSigner {
    signer: NoteSigner,
    hand: Mutex<()>,
}

impl SignsNotes for HeldSigner {
    fn note_signer(&self) -> &NoteSigner {
        drop(self.hand.lock().unwrap());
        &self.signer
    }
}

#[test]
fn a_checkpoint_is_kept_each_hour_of_growth_each_1000_entries_and_at_the_end() {
    let home = Home::new();
    let log = home.open();
    let sign = |text: &str| {
        record(&log, note(text), Change::default());
        log.sign_now_blocking().unwrap();
    };
    sign("first");
    sign("the first goes into the store with this one");
    assert_eq!(kept(&home), [2]);
    home.clock.advance_s(3599);
    sign("not yet an hour");
    sign("nor now");
    assert_eq!(kept(&home), [2]);
    home.clock.advance_s(1);
    sign("an hour");
    sign("after the hour");
    assert_eq!(kept(&home), [2, 6]);
    home.clock.advance_s(7200);
    log.sign_now_blocking().unwrap();
    for at in 0..1000 {
        record(&log, note(&at.to_string()), Change::default());
    }
    let last = log.sign_now_blocking().unwrap();
    let size = Checkpoint::claimed(last.as_bytes()).unwrap().size;
    log.close().unwrap();
    let kept = kept(&home);
    assert_eq!((kept[..2].to_vec(), kept.last()), (vec![2, 6], Some(&size)), "{kept:?}");
    // Opened and closed without an entry, the log keeps nothing more.
    home.open().close().unwrap();
    assert_eq!(self::kept(&home), kept);
    let again = home.open();
    record(&again, note("too early for the hour and the thousand"), Change::default());
    again.close().unwrap();
    assert_eq!(self::kept(&home).last(), Some(&(size + 1)), "the end of a growing log is kept");
    // Each is what it says, of this log.
    for (size, note) in history::read(home.store.as_ref(), u64::MAX).unwrap() {
        let signed = Checkpoint::open(note.as_bytes(), std::slice::from_ref(log.key())).unwrap();
        let root = crate::audit::tiles::Stored::new(home.store.as_ref()).root_of(size).unwrap();
        assert_eq!((signed.size, signed.root), (size, root));
    }
}

#[test]
fn a_new_kept_checkpoint_pushes_the_oldest_out() {
    let home = Home::new();
    let head = home.store.head().unwrap();
    for first in (0..u64::try_from(KEPT_MAX).unwrap()).step_by(1024) {
        let mut set = WriteSet::at(head);
        set.puts.extend((first..first + 1024).map(|at| Put {
            space: Space::Note,
            key: at.to_be_bytes().to_vec(),
            expect: Expect::Any,
            value: b"as if kept".to_vec(),
        }));
        home.store.commit(set).unwrap();
    }
    let log = home.open();
    while log.size() < 5098 {
        let more = (0..250).map(|at| (note(&at.to_string()), Change::default())).collect();
        for answer in at_once(&home, &log, more) {
            drop(answer.unwrap());
        }
    }
    log.close().unwrap();
    let kept = kept(&home);
    assert_eq!(kept.len(), KEPT_MAX);
    assert_eq!((kept[0] > 0, kept.last()), (true, Some(&log.size())));
}
