//! What our own log and store say about a release: its place, its dispatch, its receipt.
//!
//! Rule: a dispatch is made of the record and of the place of its release in the log, so that the same attempt gives
//! the same bytes whenever it is asked for.

use crate::audit::log::Place;
use crate::gateway::Gateway;
use crate::id::{BundleId, Digest};
use crate::problem::Problem;
use crate::records::BundleRecord;
use crate::statement::Signed;
use crate::statement::dispatch::{Dispatch, InOurLog, Why};
use crate::statement::receipt::About;
use crate::store::Space;

/// The digest of every dispatch that was made for this bundle.
pub fn dispatches_of(gateway: &Gateway, record: &BundleRecord) -> Result<Vec<Digest>, Problem> {
    let mut digests = Vec::new();
    for number in (0..record.attempts.len()).filter(|number| record.attempts[*number].was_permitted()) {
        if let Some(stamp) = gateway.row::<Place>(Space::Stamp, &release_stamp(&record.bundle, number))? {
            digests.push(dispatch_of(gateway, record, number, &stamp.value).sign(gateway.keys.signer()).digest());
        }
    }
    Ok(digests)
}

/// Where the release of the attempt with this number stands in our log, counted from 0; `None` if it was no release.
pub fn place_of(gateway: &Gateway, record: &BundleRecord, number: usize) -> Result<Option<Place>, Problem> {
    Ok(gateway.row::<Place>(Space::Stamp, &release_stamp(&record.bundle, number))?.map(|row| row.value))
}

/// The partner's receipt, as it came and was verified; `None` while the bundle is not delivered.
pub fn receipt_of(gateway: &Gateway, bundle: &BundleId) -> Result<Option<Signed>, Problem> {
    Ok(gateway.row::<Signed>(Space::Index, &receipt_key(bundle))?.map(|row| row.value))
}

/// The dispatch of the attempt with this number; the same every time it is asked for.
pub(super) fn dispatch_of(gateway: &Gateway, record: &BundleRecord, number: usize, place: &Place) -> Dispatch {
    let sealed = record.sealed.as_ref().expect("an attempt is made of sealed bundles only");
    let place =
        InOurLog { us: gateway.id().clone(), decision: place.leaf, at: place.at, head: gateway.log_head(place) };
    let attempt = &record.attempts[number];
    let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
    let dispatch = Dispatch::of(sealed, &why_of(record), number, &attempt.obligations, place);
    Dispatch {
        // Not the time of its entry, which never goes back: after a clock that was ahead, partners would refuse for as
        // long as it was.
        issued: attempt.at.clone(),
        erase_at: attempt.erase_at.clone(),
        notices_sha256: attempt.notices_sha256,
        ..dispatch
    }
}

/// What a receipt is about in our own log.
pub(super) fn about(record: &BundleRecord) -> About {
    About { case: record.case.clone(), subject: record.subject.clone() }
}

/// What a release says about itself beside the sealed bundle.
pub(super) fn why_of(record: &BundleRecord) -> Why {
    Why { purpose: record.purpose.clone(), answers: record.answers.clone(), subject: record.subject.clone() }
}

/// Where the place of a release in the log is kept; attempts are counted from 0.
pub(super) fn release_stamp(bundle: &BundleId, number: usize) -> Vec<u8> {
    format!("release/{bundle}/{number}").into_bytes()
}

/// Where the partner's receipt is kept.
pub(super) fn receipt_key(bundle: &BundleId) -> Vec<u8> {
    format!("receipt/{bundle}").into_bytes()
}
