//! A denial: what a person is told, and what the log keeps.
//!
//! Rule: codes and rule ids are for the log; document names stand in their own field, which never reaches `Debug`.

use std::fmt;

use serde::Serialize;

use super::{Asked, ENGINE_SEMANTICS, Request};
use crate::consent::Finding;
use crate::id::Digest;
use crate::policy::Verdict;
use crate::reason::Reason;

/// The answer is no.
#[derive(Clone, Serialize)]
pub struct Denied {
    /// The code that helps most.
    pub reason: Reason,
    /// Every cause found, the most helpful one first; at most [`CAUSES_MAX`].
    pub causes: Vec<Cause>,
    /// How many more causes there are.
    pub more: u32,
    /// The rules of the policy that forbid it, by id.
    pub policies: Box<[String]>,
    /// What went wrong in the evaluation of the policy.
    pub errors: Box<[String]>,
    /// The digest of the policy set.
    pub policy: Digest,
    /// The version of the rules by which it was decided.
    pub engine_semantics: &'static str,
    #[serde(skip)]
    asked: Box<Asked>,
}

/// One cause of a denial.
#[derive(Clone, Eq, PartialEq, Serialize)]
pub struct Cause {
    /// The path of the document that it concerns; `None`: the release as a whole. It may name the patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The code.
    pub reason: Reason,
    /// One plain sentence that names neither patient nor file.
    pub text: String,
}

/// No more causes are listed than this.
pub const CAUSES_MAX: usize = 32;

impl Denied {
    pub(super) fn incomplete(asked: Box<Asked>, what: &str) -> Self {
        let cause = Cause { document: None, reason: Reason::RequestIncomplete, text: what.to_owned() };
        Self::of(asked, vec![cause], Verdict::default())
    }

    /// The patient's reasons come before the institution's: they are the ones that a person must heed first.
    pub(super) fn new(request: &Request, asked: Box<Asked>, findings: Vec<Finding>, verdict: Verdict) -> Self {
        let by_consent = !findings.is_empty();
        let path = |index: usize| request.documents.get(index).map(|document| document.path.to_string());
        let mut causes: Vec<Cause> = findings
            .into_iter()
            .map(|finding| Cause {
                document: finding.document.and_then(path),
                reason: finding.reason,
                text: finding.text,
            })
            .collect();
        if !verdict.errors.is_empty() {
            let text = Reason::PolicyError.meaning().to_owned();
            causes.push(Cause { document: None, reason: Reason::PolicyError, text });
        }
        let mut forbidding: Vec<_> = verdict.rules.iter().filter_map(|rule| Some((rule.reason?, rule))).collect();
        // That a second person is missing comes last: asking one helps only if nothing else stands in the way.
        forbidding.sort_by_key(|(reason, rule)| (*reason == Reason::ApprovalNeeded, *reason, rule.id.clone()));
        for (reason, rule) in forbidding {
            // That there is no consent has been said, and better.
            if !(by_consent && reason == Reason::NoConsent) {
                causes.push(Cause { document: None, reason, text: rule.says.clone() });
            }
        }
        if causes.is_empty() {
            let text = "no rule of the policy allows this".to_owned();
            causes.push(Cause { document: None, reason: Reason::Policy, text });
        }
        Self::of(asked, causes, verdict)
    }

    fn of(asked: Box<Asked>, mut causes: Vec<Cause>, verdict: Verdict) -> Self {
        let reason = causes.first().map_or(Reason::Policy, |cause| cause.reason);
        let more = u32::try_from(causes.len().saturating_sub(CAUSES_MAX)).unwrap_or(u32::MAX);
        causes.truncate(CAUSES_MAX);
        Self {
            reason,
            causes,
            more,
            policies: verdict.rules.into_iter().filter(|rule| rule.reason.is_some()).map(|rule| rule.id).collect(),
            errors: verdict.errors.into_boxed_slice(),
            policy: asked.policy,
            engine_semantics: ENGINE_SEMANTICS,
            asked,
        }
    }

    /// What the decision was told.
    pub const fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The codes of all causes, each once, in their order: what the log may hold in clear.
    pub fn codes(&self) -> Vec<&'static str> {
        let mut codes: Vec<&'static str> = Vec::new();
        for cause in &self.causes {
            if !codes.contains(&cause.reason.code()) {
                codes.push(cause.reason.code());
            }
        }
        codes
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.causes.first().map_or(self.reason.meaning(), |cause| cause.text.as_str());
        write!(f, "{text}")
    }
}

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denied").field("codes", &self.codes()).field("policies", &self.policies).finish_non_exhaustive()
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cause").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl std::error::Error for Denied {}
