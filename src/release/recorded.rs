//! A release that stands in the log, with the bundle's record of it.
//!
//! Rule: [`record_release`] alone makes a [`Released`]: from there on the log says that the bundle may have left.

use std::time::Duration;

use super::evidence::{release_stamp, why_of};
use crate::audit::log::{Change, Recorded};
use crate::clock::Moment;
use crate::decision::{PERMIT_AGE_S_MAX, Permit};
use crate::gateway::{Gateway, Row, put};
use crate::id::BundleId;
use crate::problem::Problem;
use crate::records::BundleRecord;
use crate::statement::dispatch::{Release, SealedBundle};
use crate::store::Space;

/// A recorded release, and what the bundle's record says since.
pub(super) struct Released {
    pub(super) release: Recorded<Release>,
    /// The bundle, with this release as its last attempt.
    pub(super) row: Row<BundleRecord>,
    /// Which attempt it is, counted from 0.
    pub(super) number: usize,
    /// When it was decided.
    pub(super) decided: Decided,
}

/// When a decision was taken: before which change, and at which moment.
#[derive(Clone, Copy)]
pub(super) struct Decided {
    epoch: u64,
    moment: Moment,
}

impl Decided {
    /// To be taken before it is decided, so that whatever changes meanwhile makes the permit stale.
    pub(super) fn now(gateway: &Gateway) -> Self {
        Self { epoch: gateway.epoch(), moment: Moment::now() }
    }

    /// The gateway's epoch before it was decided.
    pub(super) const fn epoch(self) -> u64 {
        self.epoch
    }

    /// Whether a permit may still be used for all that is known here. Its own end is a time of day: were that set back, it
    /// would live longer.
    pub(super) fn holds(self, gateway: &Gateway) -> bool {
        gateway.epoch() == self.epoch && self.moment.age() < Duration::from_secs(PERMIT_AGE_S_MAX.into())
    }
}

/// Records the release and the attempt in one write.
pub(super) async fn record_release(
    gateway: &Gateway,
    row: Row<BundleRecord>,
    sealed: SealedBundle,
    permit: Permit,
    decided: Decided,
) -> Result<Released, Problem> {
    let number = row.value.attempts.len();
    let from_one = u32::try_from(number + 1).unwrap_or(u32::MAX);
    let release = Release::new(sealed, permit, why_of(&row.value), from_one)
        .map_err(|error| Problem::internal("a permit", &error))?;
    let record = row.value.clone().sending(gateway.now(), &release);
    let change = Change {
        puts: vec![put(Space::Bundle, &row.key, &record, row.unchanged())],
        stamps: vec![(Space::Stamp, release_stamp(&record.bundle, number))],
        ..Change::default()
    };
    let release = gateway.record(release, change).await?;
    Ok(Released { release, row: reread(gateway, &record.bundle)?, number, decided })
}

/// The bundle as it stands now.
pub(super) fn reread(gateway: &Gateway, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    gateway
        .row(Space::Bundle, bundle.as_str().as_bytes())?
        .ok_or_else(|| Problem::not_found(format!("there is no bundle {bundle}")))
}

/// The bundle as it stands now, its last attempt marked as one whose header stayed here; the mark is written with
/// whatever comes next. Read again, since a withdrawal writes every bundle of the patient that is on its way.
pub(super) fn reread_header_stayed(gateway: &Gateway, bundle: &BundleId) -> Result<Row<BundleRecord>, Problem> {
    let mut row = reread(gateway, bundle)?;
    row.value = row.value.header_stayed();
    Ok(row)
}
