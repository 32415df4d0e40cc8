//! One document of a bundle, as the decision and the reader see it.

use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::path::BundlePath;
use crate::id::Digest;

/// A level of HL7 v3-Confidentiality, from unrestricted to very restricted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ConfidentialityCode {
    /// Unrestricted.
    U,
    /// Low.
    L,
    /// Moderate.
    M,
    /// Normal: health data as such.
    N,
    /// Restricted.
    R,
    /// Very restricted.
    V,
}

impl ConfidentialityCode {
    /// Every level, from low to high.
    pub const ALL: [Self; 6] = [Self::U, Self::L, Self::M, Self::N, Self::R, Self::V];

    /// The code of one letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::U => "U",
            Self::L => "L",
            Self::M => "M",
            Self::N => "N",
            Self::R => "R",
            Self::V => "V",
        }
    }
}

/// The letter is none of v3-Confidentiality.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the confidentiality {0:?} is none of U, L, M, N, R and V")]
pub struct ConfidentialityError(String);

impl FromStr for ConfidentialityCode {
    type Err = ConfidentialityError;
    fn from_str(text: &str) -> Result<Self, ConfidentialityError> {
        Self::ALL
            .into_iter()
            .find(|code| code.letter() == text)
            .ok_or_else(|| ConfidentialityError(text.chars().take(16).collect()))
    }
}

/// How confidential a document is, and whether anyone said so.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Confidentiality {
    /// The level.
    pub code: ConfidentialityCode,
    /// True when nobody stated it and the configured assumption stands here.
    pub assumed: bool,
}

/// The days that a document is about, both included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "RawDateRange", into = "RawDateRange")]
pub struct DateRange {
    first: Date,
    last: Date,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawDateRange {
    first: String,
    last: String,
}

/// The days are not dates, or the last comes before the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a range of dates needs two days as YYYY-MM-DD, the last not before the first")]
pub struct DateRangeError;

impl DateRange {
    /// From the first to the last day; the other way round is no range.
    pub fn new(first: Date, last: Date) -> Result<Self, DateRangeError> {
        if first <= last { Ok(Self { first, last }) } else { Err(DateRangeError) }
    }

    /// The first day.
    pub const fn first(&self) -> Date {
        self.first
    }

    /// The last day.
    pub const fn last(&self) -> Date {
        self.last
    }
}

impl TryFrom<RawDateRange> for DateRange {
    type Error = DateRangeError;
    fn try_from(raw: RawDateRange) -> Result<Self, DateRangeError> {
        let day = |text: &str| text.parse::<Date>().map_err(|_| DateRangeError);
        Self::new(day(&raw.first)?, day(&raw.last)?)
    }
}

impl From<DateRange> for RawDateRange {
    fn from(range: DateRange) -> Self {
        Self { first: range.first.to_string(), last: range.last.to_string() }
    }
}

/// Whether the patient whom a document names is the patient of the case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatientCheck {
    /// An identifier is the same.
    Match,
    /// A clerk said why it belongs to the case although it names somebody else, or nobody that could be compared.
    Confirmed,
    /// Nobody could read whom it names.
    NotChecked,
}

/// One document of a bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Where it lies below `data/`.
    pub path: BundlePath,
    /// Its media type, from its content.
    pub media_type: String,
    /// The LOINC code of its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Its title, where it carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How confidential it is.
    pub confidentiality: Confidentiality,
    /// Sensitivity labels, codes of v3-ActCode.
    pub sensitivity: Vec<String>,
    /// The days that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateRange>,
    /// Whether it names the patient of the case.
    pub patient_check: PatientCheck,
    /// Its size, in bytes.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: Digest,
}
