//! Why a policy set is not used: by file, and by rule.

use std::path::PathBuf;

use super::texts::FILE_BYTES_MAX;
use crate::id::Digest;
use crate::reason::Reason;

/// Why a policy set is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file or folder cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in base/ or the schema differs from what this version ships.
    #[error(
        "{file} is not the one of this version of medseal\nbase/ and the schema belong to medseal; put your own rules into site/"
    )]
    NotShipped {
        /// The file.
        file: String,
    },
    /// A file is larger than any policy.
    #[error("{file} is {found} bytes long; {FILE_BYTES_MAX} are allowed")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size in bytes.
        found: u64,
    },
    /// Cedar does not read it.
    #[error("{file} is not Cedar: {what}")]
    Parse {
        /// The file.
        file: String,
        /// Cedar's message.
        what: String,
    },
    /// A rule lacks an annotation.
    #[error("{file}: the rule {rule} has no @{annotation}(\"...\")")]
    Annotation {
        /// The file.
        file: String,
        /// The rule's id, or its number in the file.
        rule: String,
        /// The annotation that is missing.
        annotation: &'static str,
    },
    /// `@reason` names no reason code.
    #[error("{file}: the rule {rule} has @reason({found:?}), which is no reason code of docs/REASONS.md")]
    UnknownReason {
        /// The file.
        file: String,
        /// The rule.
        rule: String,
        /// What stands there.
        found: String,
    },
    /// Two rules have one id.
    #[error("{file}: the id {rule} is taken by another rule")]
    DuplicateId {
        /// The file of the second one.
        file: String,
        /// The id.
        rule: String,
    },
    /// A file in site/ permits something.
    #[error("{file}: the rule {rule} permits; the site's own rules may only forbid")]
    SitePermits {
        /// The file.
        file: String,
        /// The rule.
        rule: String,
    },
    /// A template that is not medseal's own.
    #[error("{file}: the rule {rule} is a template; a site links the shipped ones and adds none")]
    Template {
        /// The file.
        file: String,
        /// The template.
        rule: String,
    },
    /// A shipped template that permits: a link of it would.
    #[error("{file}: the template {rule} permits; a site could then permit by linking it")]
    TemplatePermits {
        /// The file.
        file: String,
        /// The template.
        rule: String,
    },
    /// The list of links is not in its form, or links what cannot be linked.
    #[error("{file}: {what}")]
    Links {
        /// The file.
        file: String,
        /// What is wrong, naming the link.
        what: String,
    },
    /// A file in site/ that nothing would read.
    #[error("{file} is no part of a policy set: *.cedar, countries.json and links.json are read")]
    Stray {
        /// The file.
        file: String,
    },
    /// A kept set is not the one that its digest names, or not in its form.
    #[error("the kept policy set {digest} is not as it was kept")]
    NotAsKept {
        /// The digest under which it was kept.
        digest: Digest,
    },
    /// The table of countries is not in its form, or takes something away.
    #[error("{file} is not a table of countries: {what}")]
    Countries {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The set does not fit the schema, or Cedar warns of it.
    #[error("the policy set is refused by strict validation: {what}")]
    Validation {
        /// Cedar's messages.
        what: String,
    },
}

impl PolicyError {
    /// The code under which this is refused.
    pub const fn reason(&self) -> Reason {
        Reason::PolicyError
    }
}
