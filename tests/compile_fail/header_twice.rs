//! E0382
//! The header leaves once for each recorded decision: handing it over spends the record.
use std::fs::File;
use std::sync::Arc;

use medseal::audit::log::Recorded;
use medseal::clock::Clock;
use medseal::deliver::Line;
use medseal::statement::Signed;
use medseal::statement::dispatch::Release;

async fn twice(line: &mut Line, release: Recorded<Release>, signed: &Signed, file: &Arc<File>, clock: &Clock) {
    line.hand_over(release, signed, file, clock, || true).await.ok();
    line.hand_over(release, signed, file, clock, || true).await.ok();
}

fn main() {}
