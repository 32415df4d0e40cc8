//! E0308
//! A release that is not recorded opens no transfer.
use medseal::deliver::Line;
use medseal::statement::dispatch::Release;

async fn offer(line: &mut Line, release: &Release) {
    line.offer(release).await.ok();
}

fn main() {}
