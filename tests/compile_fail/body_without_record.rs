//! E0308
//! Not even noise leaves for a release that is not recorded.
use std::fs::File;
use std::sync::Arc;

use medseal::deliver::Line;
use medseal::statement::dispatch::Release;
use medseal::wire::TransferState;

async fn send(line: &mut Line, release: &Release, state: &TransferState, file: &Arc<File>) {
    line.send_body(release, state, file, |_| ()).await.ok();
}

fn main() {}
