//! What the store holds of an emergency under which a bundle leaves without a consent.
//!
//! Rule: who the clinician is and why it was urgent stand in the sealed part; what is still owed to the patient and to
//! the institution afterwards stays on the record until somebody says that it is done.

use serde::{Deserialize, Serialize};

/// An emergency, as the bundle's record holds it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Emergency {
    /// When it was asked for.
    pub requested: String,
    /// The first instant at which nothing leaves under it any more.
    pub until: String,
    /// When the patient, or who speaks for the patient, was told.
    #[serde(default)]
    pub patient_told: Option<String>,
    /// When somebody else looked at it afterwards.
    #[serde(default)]
    pub reviewed: Option<String>,
}

/// What the sealed part holds of it.
#[derive(Clone, Deserialize, Serialize)]
pub struct EmergencyPrivate {
    /// The clinician who answers for it.
    pub clinician: String,
    /// Why the patient cannot be asked, and why it cannot wait.
    pub reason: String,
}

impl std::fmt::Debug for EmergencyPrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmergencyPrivate(hidden)")
    }
}

/// The purpose with which a bundle leaves in an emergency, a code of v3-ActReason.
pub const PURPOSE: &str = "BTG";
