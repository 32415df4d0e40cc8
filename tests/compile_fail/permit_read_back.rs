//! E0277
//! A permit cannot be read back from storage.
use medseal::decision::Permit;

fn restore(text: &str) -> Permit {
    serde_json::from_str(text).unwrap()
}

fn main() {}
