//! Drafts: bundles that were announced and whose documents have not come yet. They live in memory only.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::Gateway;
use crate::bundle::claim::Claim;
use crate::clock::Timestamp;
use crate::decision::Kind;
use crate::id::{BundleId, InstitutionId, Purpose};
use crate::problem::Problem;
use crate::records::{CasePrivate, CaseRecord, EMERGENCY_PURPOSE, Emergency, EmergencyPrivate, Outcome};
use crate::statement::dispatch::Answers;

/// A bundle that was announced and whose documents are awaited. Lives in memory only.
#[derive(Clone)]
pub struct Draft {
    /// The bundle.
    pub bundle: BundleId,
    /// Who announced it: a user of the operating system.
    pub by: u32,
    /// Its case.
    pub case: CaseRecord,
    /// What the case's sealed part holds.
    pub private: CasePrivate,
    /// Where it goes.
    pub partner: InstitutionId,
    /// What it carries.
    pub kind: Kind,
    /// What it answers, if it is an opinion.
    pub answers: Option<Answers>,
    /// What the opinion says.
    pub opinion: Option<OpinionFacts>,
    /// The emergency under which it is to leave without a consent.
    pub emergency: Option<(Emergency, EmergencyPrivate)>,
    /// Goes before others.
    pub urgent: bool,
    /// Why documents that name another patient belong to the case all the same.
    pub confirm_patient: Option<String>,
    /// The documents.
    pub claims: Vec<Claim>,
    /// When it was announced.
    pub announced: Timestamp,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Draft(hidden)")
    }
}

/// The drafts whose documents have not come yet.
#[derive(Default)]
pub struct Drafts(Mutex<BTreeMap<BundleId, Draft>>);

impl std::fmt::Debug for Drafts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Drafts")
    }
}

impl Draft {
    /// Why it is sent, as whoever receives it is told.
    pub fn purpose(&self) -> Purpose {
        match self.emergency {
            Some(_) => EMERGENCY_PURPOSE.parse().expect("a constant code"),
            None => self.case.purpose.clone(),
        }
    }

    /// A draft of an opinion.
    pub fn opinion(
        gateway: &Gateway,
        by: u32,
        case: CaseRecord,
        answers: Answers,
        opinion: OpinionFacts,
        claims: Vec<Claim>,
    ) -> Result<Self, Problem> {
        Ok(Self {
            bundle: BundleId::random(),
            by,
            private: gateway.case_private(&case)?,
            partner: case.partner.clone(),
            case,
            kind: Kind::Opinion,
            answers: Some(answers),
            opinion: Some(opinion),
            emergency: None,
            urgent: true,
            confirm_patient: None,
            claims,
            announced: gateway.now(),
        })
    }
}

impl Drafts {
    /// Keeps a draft until its documents come; old ones are dropped.
    pub fn keep(&self, draft: Draft) {
        let mut drafts = self.0.lock().expect("no one panics while holding the drafts");
        let oldest = draft.announced - jiff::SignedDuration::from_secs(DRAFT_AGE_S_MAX);
        drafts.retain(|_, kept| kept.announced > oldest);
        if drafts.len() >= DRAFTS_MAX {
            let oldest = drafts.values().min_by_key(|kept| kept.announced).map(|kept| kept.bundle.clone());
            oldest.and_then(|bundle| drafts.remove(&bundle));
        }
        drafts.insert(draft.bundle.clone(), draft);
    }

    /// Takes a draft out, once, for whoever announced it.
    pub fn take(&self, bundle: &BundleId, by: u32) -> Option<Draft> {
        let mut drafts = self.0.lock().expect("no one panics while holding the drafts");
        drafts.get(bundle).is_some_and(|draft| draft.by == by).then(|| drafts.remove(bundle)).flatten()
    }
}

/// How far an opinion stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OpinionStatus {
    /// More will come.
    Preliminary,
    /// Complete.
    #[default]
    Final,
    /// Adds to an earlier one.
    Addendum,
    /// Replaces an earlier one.
    Corrected,
}

impl OpinionStatus {
    /// The word as it stands in the descriptor.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Addendum => "addendum",
            Self::Corrected => "corrected",
        }
    }
}

/// What the opinion says, as the descriptor carries it.
#[derive(Clone)]
pub struct OpinionFacts {
    /// What the expert concludes.
    pub outcome: Outcome,
    /// Who wrote it.
    pub author: Option<String>,
    /// The author's registration number.
    pub registration: Option<String>,
    /// How far it stands.
    pub status: OpinionStatus,
}

impl std::fmt::Debug for OpinionFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpinionFacts(hidden)")
    }
}

/// The most drafts that are kept; the oldest goes when one more comes.
const DRAFTS_MAX: usize = 100;

/// How long an announced bundle waits for its documents, in seconds.
const DRAFT_AGE_S_MAX: i64 = 24 * 3600;
