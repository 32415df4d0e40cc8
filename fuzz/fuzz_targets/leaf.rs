//! Any bytes as a line of the log: the reader that takes it apart, the one that looks at its beginning only, and the
//! writer agree about every line that is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medseal::clock::stamp;
use medseal::leaf::{Draft, Leaf, Link, write};

fuzz_target!(|bytes: &[u8]| {
    let Ok(leaf) = Leaf::read(bytes) else { return };
    let draft = Draft {
        prev: leaf.prev,
        seq: leaf.seq,
        at: leaf.at,
        kind: &leaf.kind,
        facts: &leaf.facts,
        subject: leaf.subject.as_ref(),
        detail: leaf.detail.as_ref(),
    };
    assert_eq!(write(&draft).expect("it was read").as_bytes(), bytes, "one leaf, one line");
    let link = Link::read(bytes).expect("a leaf begins as a leaf does");
    assert_eq!((link.prev, link.seq, link.at.as_slice()), (leaf.prev, leaf.seq, stamp(leaf.at).as_bytes()));
    assert_eq!(Link::of_next(bytes, &leaf.prev, leaf.seq), Some(link));
    assert_eq!(Link::of_next(bytes, &leaf.prev, leaf.seq + 1), None);
});
