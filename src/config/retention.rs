//! How long what is on file of a patient must be kept, before an erasure may destroy it.
//!
//! Rule: these are the least times. Nothing is destroyed because one is over; somebody has to ask for it.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// How long what is on file of a patient must be kept, in days.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Consents, from the day of their withdrawal, or else from the day they were recorded: the proof that a release was
    /// allowed. Six years, as 45 CFR 164.530(j) asks of authorisations.
    pub consents_days: u32,
    /// Opinions, from the day they were sent or came in. Six years by default; the law on medical records of your country
    /// may ask for more (in Germany ten).
    pub opinions_days: u32,
    /// The details of the log, from the last thing that happened with the patient: an accounting of disclosures reaches
    /// back six years (45 CFR 164.528).
    pub log_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { consents_days: SIX_YEARS, opinions_days: SIX_YEARS, log_days: SIX_YEARS }
    }
}

impl Retention {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let days = [
            ("retention.consents_days", self.consents_days),
            ("retention.opinions_days", self.opinions_days),
            ("retention.log_days", self.log_days),
        ];
        match days.into_iter().find(|(_, days)| *days > DAYS_MAX) {
            Some((key, found)) => Err(ConfigError::Range { key, found: found.to_string(), allowed: "0 to 36525 days" }),
            None => Ok(()),
        }
    }
}

const SIX_YEARS: u32 = 2192;
const DAYS_MAX: u32 = 36_525;
