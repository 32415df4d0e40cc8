//! That the officer looked up whom an incident affects.

use serde_json::{Value, json};

use super::{Happened, object};

impl Happened {
    /// Somebody asked whom an incident affects. The scope names partners, accounts, times and keys, and no person.
    pub fn incident(scope: &Value, known_at: &str, subjects: usize, bundles: usize, names: bool) -> Self {
        let asked = Self::new(
            "incident",
            json!({ "known_at": known_at, "subjects": subjects, "bundles": bundles, "names": names }),
        );
        asked.and(object(json!({ "scope": scope })))
    }
}
