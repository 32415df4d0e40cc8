//! E0277
//! A record is spent once.
use medseal::audit::log::Recorded;
use medseal::statement::dispatch::Release;

fn twice(release: &Recorded<Release>) -> Recorded<Release> {
    Recorded::clone(release)
}

fn main() {}
