//! Emergencies: a release that takes the place of a consent which nobody can ask for. It is called break-glass.
//!
//! Rule: it stands in for a consent that is absent, and for nothing else. Whatever the patient has said about this
//! receiver that does not let the release go is an objection, and an objection is a no: a denial, a withdrawal, a
//! consent that leaves a document out, one that cannot be understood.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::clock::{Timestamp, stamped};
use crate::consent::{self, Answer, Finding, Question};
use crate::id::Purpose;
use crate::reason::Reason;

/// Why something may leave without a consent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Whether the institution has switched it on.
    pub enabled: bool,
    /// Whether a clinician is named and a reason given, and both can still be read.
    pub justified: bool,
    /// When it was asked for.
    #[serde(with = "stamped")]
    pub requested: Timestamp,
    /// The first instant at which nothing leaves under it any more.
    #[serde(with = "stamped")]
    pub until: Timestamp,
}

/// What the patient has said that stands against a release without a consent.
///
/// Each consent on file is asked by itself, so that none hides what another says, and for each purpose under which an
/// emergency could be read, so that a denial of treatment is one of emergency treatment too.
pub(super) fn objections(request: &Request, now: Timestamp) -> Vec<Finding> {
    let mut objections: Vec<Finding> = Vec::new();
    let purposes =
        PURPOSES.iter().filter_map(|code| code.parse::<Purpose>().ok()).chain([request.case.purpose.clone()]);
    for purpose in purposes {
        let question = Question {
            patient: &request.patient,
            recipient: &request.partner.id,
            country: &request.partner.country,
            purpose: &purpose,
            documents: &request.documents,
            obligations_met: &request.obligations_met,
            zone: &request.zone,
            now,
        };
        for kept in &request.consents {
            if let Answer::Refuses(findings) = consent::evaluate(std::slice::from_ref(kept), &question) {
                objections.extend(findings.into_iter().filter(|finding| !ABSENT.contains(&finding.reason)));
            }
        }
    }
    objections.sort_by(|a, b| (a.reason, a.document, &a.text).cmp(&(b.reason, b.document, &b.text)));
    objections.dedup();
    objections
}

/// Breaking the glass, emergency treatment, and treatment, which contains them (v3-ActReason).
const PURPOSES: [&str; 3] = ["BTG", "ETREAT", "TREAT"];

/// The codes by which one consent says that it is none for this: it is about something else, or it has ended.
const ABSENT: [Reason; 4] = [Reason::NoConsent, Reason::ConsentExpired, Reason::Recipient, Reason::Purpose];
