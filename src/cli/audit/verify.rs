//! `medseal audit verify`: our own log through the gateway, or an export without one.
//!
//! Rule: it exits 0 only when everything was checked against something of the reader's, and nothing was found.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::keys::{log_keys, read_key, read_trusted};
use super::{prove, trust};
use crate::audit::export::{ExportReport, VERIFY_PY, gap, read_note, verify_export};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::trust::{TrustPolicy, verify_export_by};
use crate::audit::verify::Kind;
use crate::cli::Context;
use crate::cli::answer::{list, moment, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::cli::partner::spaced;
use crate::reason::Reason;

/// Verifies the log and names the first bad entry and its kind.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples: medseal audit verify\n          medseal audit verify export-2026 --key log.vkey\n          \
    medseal audit verify range-2025 range-2026 --key log.vkey\n          \
    medseal audit verify entry-42.tlog-proof --entry entry-42.entry --key log.vkey\n\
    Without EXPORT the running gateway checks its own log. An export is checked here, without a gateway, by the key of\n\
    --key (from the institution's card, not from the export) or --policy, or by a checkpoint that you kept. Without any\n\
    of them it is only shown that the folder agrees with itself, which anyone can arrange: the exit status is then 3,\n\
    and 1 if something is wrong. A policy also says whose countersignatures are enough: `log VKEY`, `witness NAME VKEY`,
\
    `group NAME all|any|NUMBER MEMBER...`, `quorum NAME` (C2SP tlog-policy)."
)]
pub(in crate::cli) struct Verify {
    /// The folder of an export, or a .tlog-proof file.
    export: Option<PathBuf>,
    /// More folders, when all are ranges of one log: do they join without a gap?
    #[arg(conflicts_with_all = ["trusted_checkpoint", "entry"])]
    next: Vec<PathBuf>,
    /// The log key that is trusted: NAME+KEYID+BASE64, a file that holds it, or the institution's card.
    #[arg(long, value_name = "VKEY|FILE|CARD", requires = "export")]
    key: Vec<String>,
    /// Whose countersignatures are enough, and the log's key: a file, one rule a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "witness"])]
    policy: Option<PathBuf>,
    /// A checkpoint kept from earlier, which the log must contain.
    #[arg(long, value_name = "FILE", requires = "export")]
    trusted_checkpoint: Option<PathBuf>,
    /// The entry that a .tlog-proof is about; without it, the .entry file beside the proof.
    #[arg(long, value_name = "FILE", requires = "export")]
    entry: Option<PathBuf>,
    /// A witness whose countersignature under a .tlog-proof shall be verified.
    #[arg(long, value_name = "VKEY|FILE", requires = "export")]
    witness: Vec<String>,
}

impl Verify {
    pub(super) fn run(self, context: &Context) -> Outcome {
        if self.export.is_some() {
            return self.alone(context);
        }
        let policy = self.policy.as_deref().map(trust::read).transpose()?;
        let api = context.api()?;
        let mut report = api.get("/v1/audit/verify")?;
        trust::judge_home(&api, policy, &mut report)?;
        context.out.say("the gateway checked its own log; an export shows it to others");
        tell(context, report)
    }

    /// Verifies what was given, without a gateway.
    pub(in crate::cli) fn alone(self, context: &Context) -> Outcome {
        let Some(export) = &self.export else {
            return Err(Failure::bad_input(Reason::BadInput, "there is nothing to verify")
                .hint("name the folder of an export, or a .tlog-proof file"));
        };
        let policy = self.policy.as_deref().map(trust::read).transpose()?;
        if !self.next.is_empty() {
            return self.joined(context, policy.as_ref());
        }
        match policy {
            _ if prove::is_proof(export) => self.proof(context, export, policy.as_ref()),
            Some(policy) => tell(context, self.by_policy(context, export, &policy)?),
            None => tell(context, self.offline(context, export)?),
        }
    }

    /// Verifies ranges, each alone and then where they meet.
    fn joined(&self, context: &Context, policy: Option<&TrustPolicy>) -> Outcome {
        let mut whole: Option<(ExportReport, Value)> = None;
        for dir in self.export.iter().chain(&self.next) {
            let value = match policy {
                Some(policy) => self.by_policy(context, dir, policy)?,
                None => self.offline(context, dir)?,
            };
            if value.get("ok") != Some(&Value::Bool(true)) {
                context.out.say(format!("in {}:", dir.display()));
                return tell(context, value);
            }
            let report: ExportReport =
                serde_json::from_value(value.clone()).map_err(|error| Failure::unable(error.to_string()))?;
            let Some(range) = &report.range else {
                return Err(Failure::bad_input(Reason::BadInput, format!("{} is no range", dir.display()))
                    .hint("`medseal audit verify DIR` alone checks the export of a whole log"));
            };
            if let Some((before, total)) = &mut whole {
                let earlier = before.range.as_ref().and_then(|earlier| gap(earlier, range));
                let other_key = (before.key != report.key).then(|| "the ranges are of two logs".to_owned());
                if let Some(message) = other_key.or(earlier) {
                    return Err(Failure::refused(Reason::Conflict, format!("{}: {message}", dir.display()))
                        .hint("name the ranges in the order of their entries, and ask for the one that is missing"));
                }
                for name in ["entries", "details", "sealed", "erased"] {
                    total[name] = (total[name].as_u64().unwrap_or(0) + value[name].as_u64().unwrap_or(0)).into();
                }
                total["root"] = value["root"].clone();
                total["range"]["last"] = range.last.into();
                total["range"]["last_leaf"] = value["range"]["last_leaf"].clone();
                *before = report;
            } else {
                whole = Some((report, value));
            }
        }
        tell(context, whole.map_or(Value::Null, |(_, total)| total))
    }

    fn proof(&self, context: &Context, proof: &Path, policy: Option<&TrustPolicy>) -> Outcome {
        let mut keys = log_keys(&self.key)?;
        let mut witnesses = self.witness.iter().map(|given| read_key(given)).collect::<Result<Vec<_>, _>>()?;
        if let Some(policy) = policy {
            keys.extend_from_slice(policy.logs());
            witnesses.extend(policy.witnesses());
        }
        prove::check(context, proof, self.entry.as_deref(), &keys, &witnesses, policy)
    }

    fn by_policy(&self, context: &Context, export: &Path, policy: &TrustPolicy) -> Result<Value, Failure> {
        let trusted = self.trusted_checkpoint.as_deref();
        let trusted = trusted.map(|path| read_trusted(path, policy.logs(), export)).transpose()?;
        let (report, standing) = verify_export_by(export, policy, trusted.as_ref(), progress(context, export))
            .map_err(|error| unreadable(export, error))?;
        warn_of_script(context, export);
        let mut report = serde_json::to_value(&report).map_err(|error| Failure::unable(error.to_string()))?;
        if let Some(standing) = standing {
            trust::add(&mut report, &standing);
        }
        Ok(report)
    }

    fn offline(&self, context: &Context, export: &Path) -> Result<Value, Failure> {
        let keys = log_keys(&self.key)?;
        let trusted = self.trusted_checkpoint.as_deref().map(|path| read_trusted(path, &keys, export)).transpose()?;
        let report = verify_export(export, &keys, trusted.as_ref(), progress(context, export))
            .map_err(|error| unreadable(export, error))?;
        warn_of_script(context, export);
        serde_json::to_value(&report).map_err(|error| Failure::unable(error.to_string()))
    }
}

/// Shows how far the verification has come; how far it has to go is what the export itself says.
fn progress(context: &Context, export: &Path) -> impl FnMut(u64) + use<> {
    let claimed = read_note(export).ok().and_then(|note| Checkpoint::claimed(&note).ok());
    let bar = context.out.counting("verifying", claimed.map_or(0, |checkpoint| checkpoint.size));
    move |entries| bar.reach(entries)
}

fn unreadable(export: &Path, error: io::Error) -> Failure {
    let error = anyhow::Error::new(error).context(format!("{} cannot be read as an export", export.display()));
    Failure::from(error).hint("name the folder that `medseal audit export` made")
}

fn warn_of_script(context: &Context, export: &Path) {
    if std::fs::read(export.join("verify.py")).is_ok_and(|found| found != VERIFY_PY.as_bytes()) {
        context.out.say("warning: verify.py in the export is not the one of this medseal: run a copy of your own");
    }
}

/// Prints a report; a finding is a no.
fn tell(context: &Context, mut report: Value) -> Outcome {
    let finding = report.get("finding").cloned().filter(|finding| !finding.is_null());
    let is = |kind: Kind| finding.as_ref().is_some_and(|found| text(found, "kind") == kind.word());
    let (is_quorum, is_store) = (is(Kind::NotCountersigned), is(Kind::Unaccounted));
    let ok = report.get("ok") == Some(&Value::Bool(true)) && finding.is_none();
    let vouched = report.get("self_asserted") != Some(&Value::Bool(true));
    let key = text(&report, "key").parse::<LogKey>();
    if context.out.is_json() {
        report["finding"] = finding.unwrap_or(Value::Null);
        context.out.object(&report)?;
    } else if let Some(finding) = &finding {
        context.out.line(format!(
            "entry {}: {}: {}",
            text(finding, "seq"),
            text(finding, "kind"),
            text(finding, "message")
        ))?;
    } else {
        let verified = if vouched { "verified" } else { "agree with each other" };
        if !vouched {
            context.out.line(NOT_VOUCHED)?;
        }
        context.out.line(format!("{} entries {verified}, root {}", text(&report, "entries"), text(&report, "root")))?;
        let counts = ["details", "sealed", "erased"].map(|name| text(&report, name));
        if counts.iter().any(|count| !matches!(count.as_str(), "" | "0")) {
            let [opened, sealed, erased] = counts;
            context.out.line(format!("details: {opened} opened, {sealed} sealed, {erased} erased"))?;
        }
        if let Some(range) = report.get("range") {
            let (first, last) = (text(range, "first"), text(range, "last"));
            context
                .out
                .line(format!("a range of the log, entries {first} to {last}: nothing is said of the others"))?;
        }
        for stamp in list(&report, "stamps") {
            context.out.line(format!(
                "a time stamp says that {} entries existed at {} (its authority: `openssl ts -verify`)",
                text(stamp, "entries"),
                moment(stamp, "at")
            ))?;
        }
        trust::tell(context, &report)?;
    }
    if ok && vouched {
        return Ok(Status::Done);
    }
    if ok {
        if context.out.is_json() {
            context.out.say(NOT_VOUCHED);
        }
        context
            .out
            .say("hint: say --key CARD, with the institution's card; or ask the institution for this fingerprint:");
        if let Ok(key) = key {
            context.out.say(format!("  {}  {}", key.name(), spaced(&key.fingerprint().to_string())));
        }
        return Ok(Status::NotVouched);
    }
    if is_quorum {
        context.out.say("error: not enough of those who should have signed under the log have done so");
        context.out.say("hint: `medseal partner ping` says who is away; an export holds the signatures of its moment");
        return Ok(Status::Refused);
    }
    context.out.say(if is_store {
        "error: the log holds together, but the store does not say of every bundle what the log says"
    } else {
        "error: the log is not what was recorded"
    });
    context.out.say("hint: keep store/, head/ and every export as they are, and call whoever answers for the gateway");
    Ok(Status::Refused)
}

/// What is said first of an export that no key, policy or kept checkpoint of the reader's stands behind.
const NOT_VOUCHED: &str =
    "not vouched for: this folder agrees with itself, and that is all; whoever made it chose the key that signed it";
