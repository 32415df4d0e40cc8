//! What a crash left of bundles that were being sealed, and of scans that were being put beside a consent.
//!
//! Rule: only what no record names is removed, and only after the log was found to fit what was signed; the clerk was
//! never told that it is here.

use super::Gateway;
use crate::id::BundleId;
use crate::problem::Problem;
use crate::records::BundleRecord;
use crate::store::Space;
use crate::vault::{BlobName, VaultError};

impl Gateway {
    /// Removes sealed files of ours that no record names, and says how many. To be called before anything is served:
    /// afterwards such a file may be one that is just being sealed.
    pub fn drop_leftovers(&self) -> Result<usize, Problem> {
        let unable = |error: VaultError| Problem::internal("the vault", &error);
        let mut dropped = 0;
        // What partners were bringing has a journal of its own; its names are no bundle ids.
        for bundle in self.vault.list_partials().map_err(unable)?.iter().filter_map(ours) {
            self.vault.abandon(&BlobName::ours(&bundle)).map_err(unable)?;
            dropped += 1;
        }
        for bundle in self.vault.list().map_err(unable)?.iter().filter_map(ours) {
            let record = self.row::<BundleRecord>(Space::Bundle, bundle.as_str().as_bytes())?;
            if record.is_none_or(|record| record.value.sealed.is_none()) {
                self.vault.remove(&BlobName::ours(&bundle)).map_err(unable)?;
                dropped += 1;
            }
        }
        for name in self.vault.list_partials().map_err(unable)? {
            if name.evidence_of().is_some() {
                self.vault.abandon(&name).map_err(unable)?;
                dropped += 1;
            }
        }
        for name in self.vault.list().map_err(unable)? {
            let Some(consent) = name.evidence_of() else { continue };
            if self.consent(&consent)?.is_none() {
                self.vault.remove(&name).map_err(unable)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

fn ours(name: &BlobName) -> Option<BundleId> {
    name.as_str().parse().ok()
}
