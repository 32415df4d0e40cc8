//! Who is who in India's health network (ABDM): our own id there, and which institution an id of a recipient means.
//!
//! Rule: an id that is not listed here means nobody. Two institutions are never told apart by guessing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::id::InstitutionId;

/// The names of India's health network, as consent artefacts use them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Abdm {
    /// Our id as a health information provider (HIP); without it no consent artefact is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hip: Option<String>,
    /// Which institution each id of a health information user (HIU) means.
    pub recipients: BTreeMap<String, InstitutionId>,
}

impl Abdm {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_id = |id: &String| (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        for (key, id) in
            self.hip.iter().map(|hip| ("abdm.hip", hip)).chain(self.recipients.keys().map(|id| ("abdm.recipients", id)))
        {
            if !is_id(id) {
                let allowed = "an id as the health network writes it: 1 to 128 visible ASCII characters";
                return Err(ConfigError::Range { key, found: id.clone(), allowed });
            }
        }
        Ok(())
    }
}

const ID_BYTES_MAX: usize = 128;
