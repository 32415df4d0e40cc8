//! What a person must look at and nobody may overlook, as the store keeps it.
//!
//! Rule: an alarm stands until what it says has passed, or until somebody has said that he saw it; a restart ends none.

use serde::{Deserialize, Serialize};

use super::Word;
use crate::id::{Digest, InstitutionId};

/// Something about our log or a partner's that does not pass unnoticed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AlarmRecord {
    /// What it is about.
    pub what: Alarm,
    /// Since when it stands.
    pub since: String,
    /// How it ended, if it has.
    pub ended: Option<AlarmEnd>,
}

/// What an alarm is about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Alarm {
    /// Our log grew, and too few signed under it for longer than the limit.
    Overdue {
        /// How many entries the log had.
        entries: u64,
        /// How many of them were countersigned.
        countersigned: u64,
    },
    /// A partner holds a checkpoint that our own key signed and that our log contradicts.
    Forked {
        /// Who holds it.
        partner: InstitutionId,
        /// The root that it names.
        root: Digest,
        /// The file that holds both.
        evidence: Digest,
    },
    /// A partner's log contradicts what was seen of it before.
    Refused {
        /// Whose log it is.
        partner: InstitutionId,
        /// The root that was seen before.
        root: Digest,
        /// The file that holds both.
        evidence: Digest,
    },
}

/// How an alarm ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum AlarmEnd {
    /// What it said has passed.
    Recovered {
        /// When.
        at: String,
    },
    /// Somebody saw it.
    Acknowledged(Word),
}

impl Alarm {
    /// Its name: the same thing has the same name, and is told once.
    pub fn id(&self) -> String {
        let short = |root: &Digest| root.to_string().chars().take(16).collect::<String>();
        match self {
            Self::Overdue { .. } => OVERDUE.to_owned(),
            Self::Forked { partner, root, .. } => format!("forked-{partner}-{}", short(root)),
            Self::Refused { partner, root, .. } => format!("refused-{partner}-{}", short(root)),
        }
    }

    /// The file that holds what contradicts each other, below `witness/evidence`.
    pub fn evidence(&self) -> Option<String> {
        match self {
            Self::Overdue { .. } => None,
            Self::Forked { partner, evidence, .. } | Self::Refused { partner, evidence, .. } => {
                Some(format!("{partner}-{evidence}.txt"))
            }
        }
    }

    /// Whether it ends when what it says has passed, and not because somebody saw it.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Overdue { .. })
    }

    /// One sentence for a person, without a full stop.
    pub fn words(&self) -> String {
        match self {
            Self::Overdue { entries, countersigned } => format!(
                "too few have signed under the log for too long: {countersigned} of {entries} entries were countersigned"
            ),
            Self::Forked { partner, .. } => {
                format!("{partner} holds a checkpoint that our key signed and that our log contradicts")
            }
            Self::Refused { partner, .. } => format!("the log of {partner} contradicts what was seen of it before"),
        }
    }
}

impl AlarmRecord {
    /// Where all of them begin in the store.
    pub const PREFIX: &str = "alarm/";

    /// The store key.
    pub fn key(id: &str) -> Vec<u8> {
        format!("{}{id}", Self::PREFIX).into_bytes()
    }
}

/// The name of the alarm about missing countersignatures: there is one of it.
pub const OVERDUE: &str = "overdue";
