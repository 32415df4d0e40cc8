//! What goes because its time is over, and whatever the gateway does by itself because the site says so.

use serde_json::json;

use super::Happened;
use crate::id::{BundleId, CaseId, Digest, SubjectId};

/// A sealed file whose time is over.
#[derive(Clone, Debug)]
pub struct Retired<'a> {
    /// `sealed`, `inbox` or `opinion`.
    pub what: &'static str,
    /// Its bundle.
    pub bundle: &'a BundleId,
    /// Its case.
    pub case: &'a CaseId,
    /// SHA-256 of the file.
    pub sealed_sha256: Digest,
    /// Which line of the schedule says so.
    pub rule: &'static str,
    /// When its time was over.
    pub since: &'a str,
}

impl Happened {
    /// The sealed file of a bundle is about to be destroyed because its time is over.
    pub fn retired(subject: &SubjectId, what: &Retired<'_>) -> Self {
        Self::new(
            RETENTION,
            json!({
                "content": what.what, "bundle": what.bundle, "case": what.case, "sealed_sha256": what.sealed_sha256,
                "rule": what.rule, "since": what.since,
            }),
        )
        .on(subject)
    }

    /// Says that nobody asked for it: the site's configuration did.
    #[must_use]
    pub fn by_schedule(mut self) -> Self {
        self.0.facts.insert("by".to_owned(), json!("schedule"));
        self
    }
}

/// The kind of the entry after which a sealed file is destroyed because its time is over.
pub const RETENTION: &str = "retention";
