//! compiles
//! The names that the bypasses use are right: what they are refused for is the bypass.
use medseal::audit::log::Recorded;
use medseal::decision::Permit;
use medseal::deliver::{DeliverError, Line};
use medseal::statement::dispatch::Release;
use medseal::wire::TransferState;

async fn offer(line: &mut Line, release: &Recorded<Release>) -> Result<TransferState, DeliverError> {
    line.offer(release).await
}

fn bundle(permit: &Permit) -> String {
    permit.bundle().to_string()
}

fn main() {}
