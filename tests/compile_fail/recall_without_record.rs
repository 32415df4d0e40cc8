//! E0308
//! A recall leaves only after it is recorded.
use medseal::deliver::{DeliverError, Line};
use medseal::statement::recall::Recall;
use medseal::wire::RecalledAnswer;

async fn bring(line: &mut Line, recall: Recall) -> Result<RecalledAnswer, DeliverError> {
    line.recall(recall).await
}

fn main() {}
