//! E0308
//! A permit is used once: it cannot be copied.
use medseal::decision::Permit;

fn twice(permit: &Permit) -> Permit {
    permit.clone()
}

fn main() {}
