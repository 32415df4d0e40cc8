//! compiles
//! The names that the bypasses use are right: what they are refused for is the bypass.
use medseal::audit::log::Recorded;
use medseal::decision::Permit;
use medseal::deliver::{DeliverError, Line};
use medseal::records::BundleRecord;
use medseal::statement::dispatch::Release;
use medseal::statement::recall::{Recall, Recalled};
use medseal::wire::{RecalledAnswer, TransferState};

async fn offer(line: &mut Line, release: &Recorded<Release>) -> Result<TransferState, DeliverError> {
    line.offer(release).await
}

async fn recall(line: &mut Line, recall: Recorded<Recall>) -> Result<RecalledAnswer, DeliverError> {
    line.recall(recall).await
}

fn recalled(record: BundleRecord, answer: &Recalled) -> BundleRecord {
    record.recalled(answer)
}

fn bundle(permit: &Permit) -> String {
    permit.bundle().to_string()
}

fn main() {}
