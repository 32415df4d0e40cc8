//! Why the gateway did not do what its staff asked: one shape for every verb, as RFC 9457 problem details.
//!
//! Rule: the code is stable, the detail is for a person at the institution; nothing here goes to a partner.

use serde::Serialize;

use crate::id::BundleId;
use crate::reason::Reason;

/// Why the gateway did not do what was asked.
#[derive(Clone, Debug, Serialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The stable code.
    pub code: Reason,
    /// What the code means.
    pub title: &'static str,
    /// What was found, and what is allowed.
    pub detail: String,
    /// What mends it.
    pub hint: String,
    /// The HTTP status: 403 is a refusal, 503 means try again, everything else means it could not be done.
    pub status: u16,
    /// The bundle that the answer is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleId>,
    /// The documents or rules that the answer is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
}

/// One document or rule of a problem.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Item {
    /// The document's path in the bundle; empty where the item is about all of it.
    pub path: String,
    /// The stable code.
    pub code: Reason,
    /// One plain sentence.
    pub text: String,
}

impl Problem {
    /// The answer is no.
    pub fn refused(code: Reason, detail: impl Into<String>) -> Self {
        Self::new(403, code, detail)
    }

    /// The request is not one that can be carried out.
    pub fn bad_input(code: Reason, detail: impl Into<String>) -> Self {
        Self::new(400, code, detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, Reason::NotFound, detail)
    }

    /// It does not fit the present state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(409, Reason::Conflict, detail)
    }

    /// It may work later.
    pub fn try_again(code: Reason, detail: impl Into<String>) -> Self {
        Self::new(503, code, detail)
    }

    /// The gateway is at fault; `context` says during what, the error chain says why.
    pub fn internal(context: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut detail = format!("{context}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::error!(%detail, "could not do what was asked");
        Self::new(500, Reason::Internal, detail)
    }

    /// Names the bundle that the answer is about.
    #[must_use]
    pub fn about(mut self, bundle: &BundleId) -> Self {
        self.bundle = Some(bundle.clone());
        self
    }

    /// Lists the documents or rules that the answer is about.
    #[must_use]
    pub fn with_items(mut self, items: Vec<Item>) -> Self {
        self.items = items;
        self
    }

    /// Says what mends it, where the code's own remedy is too general.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    fn new(status: u16, code: Reason, detail: impl Into<String>) -> Self {
        Self {
            code,
            title: code.meaning(),
            detail: detail.into(),
            hint: code.remedy().to_owned(),
            status,
            bundle: None,
            items: Vec::new(),
        }
    }
}

impl Item {
    /// The item as one sentence.
    pub fn sentence(&self) -> String {
        if self.path.is_empty() { self.text.clone() } else { format!("{}: {}", self.path, self.text) }
    }
}
