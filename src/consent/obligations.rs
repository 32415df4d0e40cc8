//! What must accompany the documents: what every delivery carries, what the consent asks for, what the records require.
//!
//! Rule: an obligation is never dropped. One that the delivery does not meet stops it, whether or not it is known here.

use std::collections::BTreeSet;

use crate::bundle::document::Document;

use super::terminology::{Fit, sensitivities};
use super::{Granted, terminology};

/// What accompanies every document that leaves (v3-ActCode): it is encrypted, must not be passed on without the
/// patient's consent, and keeps its labels.
pub const ALWAYS: [&str; 3] = ["ENCRYPT", "NORDSCLCD", "PERSISTLABEL"];

/// The obligation that comes with records of substance use: 42 CFR 2.32.
pub const PART2_NOTICE: &str = "PART2-NOTICE";

/// The obligation to erase; when, the consent says.
const DELETE_AFTER_USE: &str = "DELAU";

/// Everything that must accompany these documents under this consent; without one, whatever the partner is.
pub fn obligations(documents: &[Document], granted: Option<&Granted>) -> BTreeSet<String> {
    let mut obligations: BTreeSet<String> = ALWAYS.into_iter().map(str::to_owned).collect();
    if documents.iter().flat_map(|document| &document.sensitivity).any(|code| is_substance_use(code)) {
        obligations.insert(PART2_NOTICE.to_owned());
    }
    if let Some(granted) = granted {
        obligations.extend(granted.obligations.iter().cloned());
        if granted.erase_at.is_some() {
            obligations.insert(DELETE_AFTER_USE.to_owned());
        }
    }
    obligations
}

/// Whether the label says, or may stand for, that a record tells of substance use.
fn is_substance_use(code: &str) -> bool {
    let table = sensitivities();
    let within = |code: &str, listed: &str| table.within(code, listed) == Fit::Yes;
    code == "42CFRPart2" || within(code, "ETH") || within(code, "SUD") || within("SUD", code)
}

/// The obligation or refrain that a label names, under its present code; `None`: it labels what the document is.
pub(super) fn named_by(system: &str, code: &str) -> Option<String> {
    let table = terminology::handling();
    let code = table.synonyms.get(code).map_or(code, String::as_str);
    let known = table.obligations.contains(code) || table.refrains.contains(code);
    // A value set of obligations holds nothing else, so a code of it that is not known here is one all the same.
    let is_one = table.value_sets.contains(system) || (known && table.systems.contains(system));
    is_one.then(|| code.to_owned())
}
