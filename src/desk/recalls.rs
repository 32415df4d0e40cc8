//! Recalls that a person orders: a wrong recipient, a mistake.
//!
//! Rule: what was delivered is recalled, by the one who sent it; an opinion never is.

use super::bundles::{BundleView, found, show};
use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::gateway::Gateway;
use crate::id::BundleId;
use crate::problem::Problem;
use crate::recall;
use crate::records::State;
use crate::statement::Kind;
use crate::statement::recall::Cause;

/// Orders the recall of a bundle that was delivered. It goes to the partner at once, and for as long as it takes.
pub async fn order(gateway: &Gateway, staff: Staff, bundle: &BundleId, why: &str) -> Result<BundleView, Problem> {
    let why = free_text("reason", why, &gateway.config.limits)?;
    let row = found(gateway, bundle)?;
    let state = row.value.state();
    if row.value.kind == Kind::Opinion {
        return Err(Problem::conflict(format!("{bundle} is an opinion, and an opinion is not recalled"))
            .hint("somebody may have acted on it: correct it with `medseal opinion CASE FILE...`")
            .about(bundle));
    }
    if state != State::Delivered {
        let hint = match state {
            State::Recalled => "`medseal status BUNDLE` shows what the partner answered",
            _ => "only what the partner has can be recalled; what waits leaves no more once its consent is withdrawn",
        };
        return Err(Problem::conflict(format!("{bundle} is {}", state.word())).hint(hint).about(bundle));
    }
    // A recall that was given up goes on under the reason that it had.
    let cause = row.value.recall.as_ref().map_or(Cause::SentByMistake, |order| order.cause);
    let mut change = Change::default();
    if !recall::order(&mut change, row.value.clone(), row.unchanged(), cause, gateway.now()) {
        return Err(Problem::conflict(format!("{bundle} is recalled already"))
            .hint("`medseal status BUNDLE` shows how far that is")
            .about(bundle));
    }
    gateway.enter(Happened::recall_ordered(&row.value, cause, &why).by(staff.uid), change).await?;
    show(gateway, bundle)
}
