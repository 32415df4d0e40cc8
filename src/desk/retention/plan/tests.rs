//! When is what came in past its time, and what keeps it?

use super::*;
use crate::id::{BundleId, CaseId, Digest};
use crate::records::TakenRecall;
use crate::statement::recall::Cause;

fn due(change: impl FnOnce(&mut InboxRecord), days_later: i64) -> Option<(&'static str, Vec<Kept>)> {
    let received: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut row = InboxRecord {
        bundle: BundleId::random(),
        from: "nordhafen".parse().unwrap(),
        case: CaseId::random(),
        kind: Kind::Records,
        purpose: "TREAT".parse().unwrap(),
        received: clock::stamp(received),
        sealed_sha256: Digest::of(b"sealed"),
        sealed_bytes: 6,
        answers: None,
        erase_at: None,
        dispatch: Digest::of(b"dispatch"),
        opened: Some(clock::stamp(received)),
        recall: None,
        expired: None,
    };
    change(&mut row);
    let now = received + jiff::SignedDuration::from_hours(24 * days_later);
    let due = inbox_due(&Retention::default(), &SubjectId::random(), &row, false, now)?;
    Some((due.rule, due.kept_by))
}

const ERASE: &str = "2026-02-01T00:00:00.000000Z";

#[test]
fn what_came_in_is_due_by_the_schedule_or_as_early_as_its_sender_says() {
    assert_eq!(due(|_| {}, 364), None);
    assert_eq!(due(|_| {}, 365), Some(("inbox_days", vec![])));
    assert_eq!(due(|row| row.kind = Kind::Opinion, 365), None, "an opinion is a medical record");
    assert_eq!(due(|row| row.opened = None, 365), Some(("inbox_days", vec![Kept::Unopened])));
    // The patient's own date does not wait for a reader.
    let until = |row: &mut InboxRecord| (row.opened, row.erase_at) = (None, Some(ERASE.to_owned()));
    assert_eq!(due(until, 30), None);
    assert_eq!(due(until, 31), Some((ERASE_AT, vec![])));
    let opinion =
        |row: &mut InboxRecord| (row.kind, row.opened, row.erase_at) = (Kind::Opinion, None, Some(ERASE.to_owned()));
    assert_eq!(due(opinion, 300), None, "no partner has an unread opinion destroyed");
    // One that cannot be read destroys nothing earlier.
    assert_eq!(due(|row| row.erase_at = Some("soon".to_owned()), 364), None);
    assert_eq!(due(|row| row.received = "then".to_owned(), 4000), None);
}

#[test]
fn a_recall_that_waits_keeps_and_one_that_is_carried_out_leaves_nothing_to_do() {
    let recall = |destroyed: Option<&str>| {
        let destroyed = destroyed.map(str::to_owned);
        Some(TakenRecall { cause: Cause::ConsentWithdrawn, received: ERASE.to_owned(), opened: None, destroyed })
    };
    assert_eq!(due(|row| row.recall = recall(None), 365), Some(("inbox_days", vec![Kept::RecallWaits])));
    assert_eq!(due(|row| row.recall = recall(Some(ERASE)), 365), None);
    assert_eq!(due(|row| row.expired = Some(ERASE.to_owned()), 365), None);
}
