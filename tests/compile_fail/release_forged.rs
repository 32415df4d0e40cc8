//! E0451
//! A release is made of a permit, by its own function only.
use medseal::decision::Permit;
use medseal::statement::dispatch::{Release, SealedBundle, Why};
use medseal::statement::notices::SealedNotices;

fn forge(sealed: SealedBundle, permit: Permit, why: Why, notices: SealedNotices) -> Release {
    Release { sealed, permit, why, attempt: 1, notices }
}

fn main() {}
