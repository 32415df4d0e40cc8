//! Legal holds and erasures, as the store keeps them beside a patient's pseudonym.
//!
//! Rule: nothing here names a person or says why; the reasons stand in the log, sealed under the patient's key.

use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::id::SubjectId;

/// Forbids destroying anything of a patient. One person asks, another confirms; lifting it takes two as well.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HoldRecord {
    /// The patient's pseudonym.
    pub subject: SubjectId,
    /// Who asked for it, and when.
    pub asked: Word,
    /// Until when it forbids without a second person.
    pub asked_until: String,
    /// Who confirmed it.
    pub confirmed: Option<Word>,
    /// Who asked to lift it.
    pub lift_asked: Option<Word>,
    /// Who confirmed that it is lifted.
    pub lifted: Option<Word>,
}

/// A person's word: a user of the operating system, and when it was given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Word {
    /// The user's number.
    pub by: u32,
    /// When.
    pub at: String,
}

/// What an erasure is to destroy; carried out until the subject's key is gone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErasureRecord {
    /// The patient's pseudonym.
    pub subject: SubjectId,
    /// When it was recorded.
    pub at: String,
    /// How much of each kind was on file.
    pub counts: ErasedCounts,
}

/// How much of each kind was on file.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErasedCounts {
    /// Cases, ours and partners'.
    pub cases: usize,
    /// Consents.
    pub consents: usize,
    /// Bundles on their way out, or sent.
    pub bundles: usize,
    /// Bundles that came in.
    pub inbox: usize,
}

impl HoldRecord {
    /// The store key.
    pub fn key(subject: &SubjectId) -> Vec<u8> {
        format!("hold/{subject}").into_bytes()
    }

    /// Whether it forbids destruction now. A word that waits for the second person forbids for as long as an approval
    /// counts, so that nothing is lost meanwhile and nobody blocks an erasure alone.
    pub fn forbids(&self, now: Timestamp) -> bool {
        match (&self.confirmed, &self.lifted) {
            (_, Some(_)) => false,
            (Some(_), None) => true,
            (None, None) => clock::read_stamp(&self.asked_until).is_none_or(|until| now < until),
        }
    }
}

impl ErasureRecord {
    /// What the store keys of all of them begin with.
    pub const PREFIX: &str = "erasure/";

    /// The store key.
    pub fn key(subject: &SubjectId) -> Vec<u8> {
        format!("{}{subject}", Self::PREFIX).into_bytes()
    }
}
