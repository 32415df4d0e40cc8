//! Any bytes as one strict line: taken exactly if the writer would write those bytes, and a digest of it has one meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medseal::json::{check, from_line, to_line};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let taken = check(bytes, 300_000).is_ok();
    let written = serde_json::from_slice::<Value>(bytes).ok().and_then(|value| to_line(&value).ok());
    assert_eq!(taken, written.is_some_and(|line| line.as_bytes() == bytes), "the reader and the writer disagree");
    if taken {
        let value: Value = from_line(bytes, 300_000).expect("it was taken just now");
        assert_eq!(to_line(&value).expect("it has a form").as_bytes(), bytes);
    }
});
