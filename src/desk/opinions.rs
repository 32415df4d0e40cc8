//! Opinions: the expert's written answer, back on the dispatch that it answers.

use serde::Deserialize;

use super::bundles::{Announced, announce_draft};
use super::{Staff, cases, free_text};
use crate::bundle::claim::Claim;
use crate::gateway::{Draft, Gateway, OpinionFacts, OpinionStatus};
use crate::id::{BundleId, CaseId};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{InboxRecord, Outcome, Side};
use crate::statement::Kind;
use crate::statement::dispatch::Answers;
use crate::store::Space;

/// What `opinion` is given before the files come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveOpinion {
    /// What the expert concludes.
    pub outcome: Outcome,
    /// Who wrote it.
    #[serde(default)]
    pub author: Option<String>,
    /// The author's registration number.
    #[serde(default)]
    pub registration: Option<String>,
    /// `preliminary`, `final`, `addendum` or `corrected`; final unless it says otherwise.
    #[serde(default)]
    pub status: Option<OpinionStatus>,
    /// The bundle that is answered; the newest of the case unless it says otherwise.
    #[serde(default)]
    pub answers: Option<BundleId>,
    /// The files, in the order in which they will come.
    pub documents: Vec<Claim>,
}

impl std::fmt::Debug for GiveOpinion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GiveOpinion(hidden)")
    }
}

/// Announces an opinion on a case that a partner sent. Its files come next, as those of any bundle.
pub async fn announce(
    gateway: &Gateway,
    staff: Staff,
    case: &CaseId,
    request: GiveOpinion,
) -> Result<Announced, Problem> {
    let case = cases::find(gateway, case)?.value;
    let Side::Theirs(from) = &case.side else {
        return Err(Problem::conflict(format!("{} is our own case: the opinion comes from the partner", case.case)));
    };
    let limits = &gateway.config.limits;
    let author = request.author.as_deref().map(|text| free_text("author", text, limits)).transpose()?;
    let registration =
        request.registration.as_deref().map(|text| free_text("registration", text, limits)).transpose()?;
    let mut received: Vec<InboxRecord> = gateway
        .rows::<InboxRecord>(Space::Inbox, format!("{from}/").as_bytes())?
        .into_iter()
        .map(|row| row.value)
        .filter(|record| record.case == case.case && record.kind == Kind::Records)
        .filter(|record| request.answers.as_ref().is_none_or(|wanted| record.bundle == *wanted))
        .collect();
    received.sort_by(|a, b| a.received.cmp(&b.received));
    let answered = received.pop().ok_or_else(|| {
        Problem::bad_input(
            Reason::NotFound,
            format!("no records of {} were received that could be answered", case.case),
        )
    })?;
    let answers = Answers { bundle: answered.bundle, dispatch: answered.dispatch };
    let status = request.status.unwrap_or_default();
    let opinion = OpinionFacts { outcome: request.outcome, author, registration, status };
    let draft = Draft::opinion(gateway, staff.uid, case, answers, opinion, request.documents)?;
    announce_draft(gateway, staff, draft).await
}
