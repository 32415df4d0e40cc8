//! How many signatures under the log count for whoever verifies it, and whose.

use std::path::Path;

use serde_json::{Value, json};

use crate::audit::trust::{Standing, TrustPolicy};
use crate::cli::Context;
use crate::cli::answer::{list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::client::{Api, ApiError};
use crate::reason::Reason;

/// Reads the policy that somebody verifies by; it must name the log.
pub(super) fn read(path: &Path) -> Result<TrustPolicy, Failure> {
    let failed = |text| Failure::bad_input(Reason::BadInput, format!("{}: {text}", path.display()));
    let policy = TrustPolicy::read(path).map_err(|error| failed(error.to_string()).hint(FORM))?;
    if policy.logs().is_empty() {
        return Err(failed("it names no log".to_owned()).hint("add a line `log VKEY` with the key of the log's card"));
    }
    Ok(policy)
}

/// Adds how the newest countersigned checkpoint of a running gateway stands with a policy: the given one, the site's, or
/// any one partner. Only what somebody wrote down can be missed.
pub(super) fn judge_home(api: &Api, given: Option<TrustPolicy>, report: &mut Value) -> Result<(), Failure> {
    let (policy, is_written) = if let Some(policy) = given {
        (policy, true)
    } else {
        let answer = api.get("/v1/audit/policy")?;
        let policy =
            text(&answer, "policy").parse().map_err(|error| Failure::unable(format!("the policy: {error}")))?;
        (policy, answer.get("written") == Some(&Value::Bool(true)))
    };
    let note = match api.text("/v1/audit/countersigned") {
        // Nobody has signed yet: then the gateway's own note stands for itself.
        Err(ApiError::Problem(_)) => api.text("/v1/audit/checkpoint")?,
        note => note?,
    };
    let standing = policy.judge(note.as_bytes()).map_err(|error| {
        Failure::refused(Reason::BadSignature, format!("the newest countersigned checkpoint does not count: {error}"))
            .hint("head/countersigned was changed: keep it, and `medseal audit verify` an export by --policy")
    })?;
    add(report, &standing);
    let seq = report.get("entries").and_then(Value::as_u64).unwrap_or_default();
    if let Some(finding) = standing.finding(seq).filter(|_| is_written && report["finding"].is_null()) {
        report["ok"] = json!(false);
        report["finding"] = json!(finding);
    }
    Ok(())
}

/// Adds whose signatures count to a report.
pub(super) fn add(report: &mut Value, standing: &Standing) {
    report["countersigned"] = json!(standing.countersigned);
    report["quorum"] = json!({ "enough": standing.enough, "wanted": standing.wanted, "entries": standing.entries });
}

/// Says it in words.
pub(super) fn tell(context: &Context, report: &Value) -> Outcome {
    for one in list(report, "countersigned") {
        context.out.line(format!("countersigned by {} since {}", text(one, "by"), text(one, "since")))?;
    }
    if let Some(quorum) = report.get("quorum") {
        let enough = if quorum.get("enough") == Some(&Value::Bool(true)) { "enough" } else { "not enough" };
        context.out.line(format!(
            "{enough} for {} of its entries: wanted is {}",
            text(quorum, "entries"),
            text(quorum, "wanted")
        ))?;
    }
    Ok(Status::Done)
}

const FORM: &str = "one rule a line: log VKEY, witness NAME VKEY, group NAME all|any|NUMBER MEMBER..., quorum NAME";
