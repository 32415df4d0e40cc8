//! `medseal audit show`: the entries of the log, as a table or as they are stored.

use std::io::{BufRead as _, BufReader};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::answer::{moment, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::client::Api;
use crate::id::CaseId;

/// Shows the entries of the log.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit show --case case-0123456789abcdef\n\
    Who a patient is never stands in an entry: a random pseudonym does. With --json each entry is as it is stored.")]
pub(in crate::cli) struct Show {
    /// Only the entries of this case.
    #[arg(long)]
    case: Option<CaseId>,
    /// Only the entries about emergencies in which records left without a consent.
    #[arg(long)]
    break_glass: bool,
    /// The first entry.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// How many at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        let mut entries: Vec<Value> = Vec::new();
        let case = self.case.map(|case| format!("&case={case}")).unwrap_or_default();
        let only = format!("{case}{}", if self.break_glass { "&break_glass=true" } else { "" });
        each(&api, self.from, self.limit, &only, |line| {
            let entry: Value = serde_json::from_slice(line).map_err(|error| Failure::unable(error.to_string()))?;
            if context.out.is_json() {
                entries.push(entry);
                return Ok(());
            }
            context.out.line(row(&entry))
        })?;
        if context.out.is_json() {
            context.out.object(&json!({ "items": entries }))?;
        }
        Ok(Status::Done)
    }
}

/// Calls `with` for each stored entry, page by page, however long the log is; `only` limits them, as a query does.
pub(super) fn each(
    api: &Api,
    mut from: u64,
    limit: Option<usize>,
    only: &str,
    mut with: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let asked = left.min(PAGE);
        let page = api.download(&format!("/v1/audit/entries?from={from}&limit={asked}{only}"))?;
        let mut count = 0;
        for line in BufReader::new(page).split(b'\n') {
            let line = line.context("the entries")?;
            from = sequence(&line)? + 1;
            with(&line)?;
            count += 1;
        }
        left -= count.min(left);
        // A page that is not full is the last one.
        if count < asked {
            return Ok(());
        }
    }
    Ok(())
}

fn sequence(line: &[u8]) -> Result<u64, Failure> {
    let entry: Value = serde_json::from_slice(line).map_err(|error| Failure::unable(format!("an entry: {error}")))?;
    entry.get("_seq").and_then(Value::as_u64).ok_or_else(|| Failure::unable("an entry has no sequence number"))
}

/// Time, number and kind first; then every other fact, but not the hashes that only a verifier reads.
fn row(entry: &Value) -> String {
    let head = format!("{:>6}  {}  {}", text(entry, "_seq"), moment(entry, "_t"), text(entry, "kind"));
    let facts = entry.as_object().into_iter().flatten();
    let shown = facts.filter(|(name, _)| !matches!(name.as_str(), "_seq" | "_t" | "_prev" | "kind" | "det"));
    let facts = shown.map(|(name, _)| format!("{name}={}", text(entry, name)));
    std::iter::once(head).chain(facts).collect::<Vec<_>>().join("  ")
}

/// How many entries are asked for at a time.
const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_what_happened_and_hides_what_only_a_verifier_reads() {
        let entry = json!({"_prev": "00", "_seq": 7, "_t": "2026-11-22T10:15:30.000000Z", "kind": "delivered",
            "bundle": "bundle-1", "det": "ff"});
        assert_eq!(row(&entry), "     7  2026-11-22 10:15:30Z  delivered  bundle=bundle-1");
    }
}
