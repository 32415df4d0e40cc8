//! How long what is on file of a patient is kept: the least times, before which an erasure destroys nothing, and the
//! times after which sealed files have done their work.
//!
//! Rule: nothing is destroyed because a time is over, unless the site says so; somebody has to ask for it.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// How long what is on file of a patient is kept, in days.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Whether the gateway itself destroys sealed files that are past their time, once a day. Patients are erased by
    /// people only.
    pub automatic: bool,
    /// Our own sealed file of records that were sent, from the last attempt. A month by default: the documents lie in
    /// the institution's own records, and by then every question about what arrived has come.
    pub sealed_days: u32,
    /// The sealed file of records that came in, from the day they came, or as early as their sender says. A year by
    /// default: what was read of them lies in the reader's own records, and a follow-up question may need them again.
    pub inbox_days: u32,
    /// Consents, from the day of their withdrawal, or else from the day they were recorded: the proof that a release was
    /// allowed. Six years, as 45 CFR 164.530(j) asks of authorisations.
    pub consents_days: u32,
    /// Opinions, from the day they were sent or came in. Six years by default; the law on medical records of your country
    /// may ask for more (in Germany ten).
    pub opinions_days: u32,
    /// The details of the log, from the last thing that happened with the patient: an accounting of disclosures reaches
    /// back six years (45 CFR 164.528). The entries themselves name nobody and stay.
    pub log_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            automatic: false,
            sealed_days: 30,
            inbox_days: 365,
            consents_days: SIX_YEARS,
            opinions_days: SIX_YEARS,
            log_days: SIX_YEARS,
        }
    }
}

impl Retention {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let days = [
            ("retention.sealed_days", self.sealed_days),
            ("retention.inbox_days", self.inbox_days),
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
