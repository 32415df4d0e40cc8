//! E0451
//! Only the log says that something is recorded.
use medseal::audit::log::{Place, Recorded};
use medseal::statement::dispatch::Release;

fn forge(event: Release, place: Place) -> Recorded<Release> {
    Recorded { event, place }
}

fn main() {}
