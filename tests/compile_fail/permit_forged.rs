//! E0451
//! A permit cannot be put together by hand.
use medseal::decision::Permit;

fn forge(real: Permit) -> Permit {
    Permit { attempt: 2, ..real }
}

fn main() {}
