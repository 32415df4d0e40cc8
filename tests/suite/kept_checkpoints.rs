//! Does a gateway notice when a checkpoint that its store keeps of the log's past is not one of its log?

use medseal::audit::note::Checkpoint;
use medseal::clock::Clock;
use medseal::config::Home;
use medseal::gateway::Gateway;
use medseal::id::Digest;
use medseal::keys::Keys;
use medseal::signature::NoteSigner;
use medseal::store::{Expect, Put, Space, WriteSet};

use crate::site::Site;

/// Puts a note among the kept checkpoints of a gateway that is stopped, behind the log's back; without one, changes
/// nothing. Answers with the kept checkpoint over the shortest log.
fn keep(site: &Site, size: u64, note: Option<&str>) -> String {
    let gateway = Gateway::open(&Home::at(&site.home), Clock::system()).expect("the home opens");
    if let Some(note) = note {
        let head = gateway.store().head().expect("a head");
        let put = Put {
            space: Space::Note,
            key: size.to_be_bytes().to_vec(),
            expect: Expect::Any,
            value: note.as_bytes().to_vec(),
        };
        gateway.store().commit(WriteSet { puts: vec![put], ..WriteSet::at(head) }).expect("written");
    }
    let kept = gateway.log.reader().kept_checkpoints().expect("read").into_iter().next();
    gateway.log.close().expect("closed");
    kept.map(|(_, note)| note).unwrap_or_default()
}

#[test]
fn a_kept_checkpoint_that_is_not_of_the_log_is_a_finding_with_its_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = Site::init(folder.path(), "tallinn-east", "EE");
    for _ in 0..2 {
        site.start();
        site.run(&["audit", "verify"]).ok();
        site.stop();
    }
    let good = keep(&site, 0, None);
    let truth = Checkpoint::claimed(good.as_bytes()).expect("a checkpoint is kept");
    let keys = Keys::open(&site.home.join("keys")).expect("keys");
    let size = truth.size;
    let signed = |size, root| Checkpoint { origin: truth.origin.clone(), size, root }.sign(keys.log_signer());
    let other = Digest::of(b"another history");
    for (what, under, note, kind, seq) in [
        ("another history", size, signed(size, other), "forked", Some(size - 1)),
        ("another key", size, truth.sign(&NoteSigner::from_seed(&[8; 32])), "bad-signature", Some(size - 1)),
        ("no note", size, "nothing".to_owned(), "bad-signature", Some(size - 1)),
        ("another size", size, signed(size + 1, other), "bad-signature", Some(size - 1)),
        ("a longer log", 100_000, signed(100_000, other), "truncated", None),
    ] {
        keep(&site, under, Some(&note));
        site.start();
        let found = site.run(&["audit", "verify"]);
        assert_eq!((found.status, &found.json["finding"]["kind"]), (1, &kind.into()), "{what}: {}", found.stdout);
        assert!(seq.is_none_or(|seq| found.json["finding"]["seq"] == seq), "{what}: {}", found.stdout);
        site.stop();
        keep(&site, size, Some(&good));
    }
}
