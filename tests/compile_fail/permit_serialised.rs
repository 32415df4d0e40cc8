//! E0277
//! A permit has no written form: what waits in a queue must earn a new one.
use medseal::decision::Permit;

fn keep(permit: &Permit) -> String {
    serde_json::to_string(permit).unwrap()
}

fn main() {}
