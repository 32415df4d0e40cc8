//! The partners on file, as every decision asks for them.
//!
//! Rule: a record whose bytes were read and whose card was verified once is not verified again while it stands in the
//! same version; another version is another record.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Gateway, rows};
use crate::id::InstitutionId;
use crate::partner::Partner;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::store::Space;

/// The records that were read, each in one version. As many as there were ever partners, which are few.
pub(super) type Read = Mutex<BTreeMap<InstitutionId, (u64, Partner)>>;

impl Gateway {
    /// The registered partner with this id; removed ones are no partners.
    pub fn partner(&self, id: &InstitutionId) -> Result<Partner, Problem> {
        self.read_partner(id)?
            .filter(Partner::is_registered)
            .ok_or_else(|| Problem::bad_input(Reason::PartnerUnknown, format!("{id} is not a registered partner")))
    }

    /// The partner with this id, as it was last known: a removed one too.
    pub fn known_partner(&self, id: &InstitutionId) -> Result<Partner, Problem> {
        self.read_partner(id)?
            .ok_or_else(|| Problem::bad_input(Reason::PartnerUnknown, format!("{id} was never a partner here")))
    }

    /// Every registered partner.
    pub fn partners(&self) -> Result<Vec<Partner>, Problem> {
        Ok(self
            .rows::<Partner>(Space::Partner, b"")?
            .into_iter()
            .map(|row| row.value)
            .filter(Partner::is_registered)
            .collect())
    }

    fn read_partner(&self, id: &InstitutionId) -> Result<Option<Partner>, Problem> {
        let stored = self.store().get(Space::Partner, id.as_str().as_bytes());
        let Some(stored) = stored.map_err(|error| Problem::internal("the store", &error))? else { return Ok(None) };
        let mut read = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, partner)) = read.get(id)
            && *version == stored.version
        {
            return Ok(Some(partner.clone()));
        }
        let partner: Partner = rows::read(&stored.value)?;
        read.insert(id.clone(), (stored.version, partner.clone()));
        Ok(Some(partner))
    }
}
