//! What an event says of itself, before the log gives it a place.
//!
//! Rule: `facts` stand in the log for good and for everybody; what names or describes a person goes into `detail`.

use crate::id::SubjectId;
use crate::json::Object;

/// One entry of the log, without its place.
#[derive(Clone)]
pub struct Entry {
    /// What happened, one word.
    pub kind: &'static str,
    /// What everybody who sees the log may read; no identifier of a person.
    pub facts: Object,
    /// The pseudonym of the patient concerned; an entry with a `detail` needs it.
    pub subject: Option<SubjectId>,
    /// Names, paths, questions: sealed under the subject's key.
    pub detail: Option<Object>,
}

/// Something that can be recorded.
pub trait Event {
    /// Its entry.
    fn entry(&self) -> Entry;
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("kind", &self.kind).field("subject", &self.subject).finish_non_exhaustive()
    }
}
