//! E0382
//! One permit lets one release go.
use medseal::decision::Permit;
use medseal::statement::dispatch::{Release, SealedBundle, Why};

fn twice(sealed: SealedBundle, permit: Permit, why: Why) {
    let _first = Release::new(sealed.clone(), permit, why.clone(), 1);
    let _second = Release::new(sealed, permit, why, 2);
}

fn main() {}
