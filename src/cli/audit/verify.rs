//! `medseal audit verify`: our own log through the gateway, or an export without one.
//!
//! Rule: it exits 0 only when everything was checked and nothing was found.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::prove;
use crate::audit::export::{VERIFY_PY, verify_export};
use crate::audit::note::{Checkpoint, LogKey, NoteKey};
use crate::cli::Context;
use crate::cli::answer::text;
use crate::cli::failure::{Failure, Outcome, Status};
use crate::cli::partner::spaced;
use crate::reason::Reason;

/// Verifies the log and names the first bad entry and its kind.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples: medseal audit verify\n          medseal audit verify export-2026 --key log.vkey\n          \
    medseal audit verify entry-42.tlog-proof --entry entry-42.entry --key log.vkey\n\
    Without EXPORT the running gateway checks its own log. An export is checked here, without a gateway; its key comes\n\
    from --key, or else from the export itself, which is then only as good as a comparison of its fingerprint."
)]
pub(in crate::cli) struct Verify {
    /// The folder of an export, or a .tlog-proof file.
    export: Option<PathBuf>,
    /// The log key that is trusted: NAME+KEYID+BASE64, or a file that holds it.
    #[arg(long, value_name = "VKEY|FILE", requires = "export")]
    key: Vec<String>,
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
        if let Some(export) = &self.export {
            if prove::is_proof(export) {
                return self.proof(context, export);
            }
            return tell(context, self.offline(context, export)?);
        }
        let report = context.api()?.get("/v1/audit/verify")?;
        context.out.say("the gateway checked its own log; an export shows it to others");
        tell(context, report)
    }

    fn proof(&self, context: &Context, proof: &Path) -> Outcome {
        let keys = self.key.iter().map(|given| read_key(given)).collect::<Result<Vec<_>, _>>()?;
        let witnesses = self.witness.iter().map(|given| read_key(given)).collect::<Result<Vec<_>, _>>()?;
        prove::check(context, proof, self.entry.as_deref(), &keys, &witnesses)
    }

    fn offline(&self, context: &Context, export: &Path) -> Result<Value, Failure> {
        let keys = self.key.iter().map(|given| read_key(given)).collect::<Result<Vec<_>, _>>()?;
        let trusted = self.trusted_checkpoint.as_deref().map(|path| read_trusted(path, &keys, export)).transpose()?;
        let report = verify_export(export, &keys, trusted.as_ref(), |_| ())
            .with_context(|| format!("{} cannot be read as an export", export.display()))
            .map_err(|error| Failure::from(error).hint("name the folder that `medseal audit export` made"))?;
        if let (true, Some(key)) = (report.self_asserted, &report.key) {
            context.out.say(
                "warning: the export vouches for itself; compare the fingerprint of its key with the institution:",
            );
            context.out.say(format!("  {}  {}", key.name().as_str(), spaced(&key.fingerprint().to_string())));
        }
        if std::fs::read(export.join("verify.py")).is_ok_and(|found| found != VERIFY_PY.as_bytes()) {
            context.out.say("warning: verify.py in the export is not the one of this medseal: run a copy of your own");
        }
        serde_json::to_value(&report).map_err(|error| Failure::unable(error.to_string()))
    }
}

/// Prints a report; a finding is a no.
fn tell(context: &Context, mut report: Value) -> Outcome {
    let finding = report.get("finding").cloned().filter(|finding| !finding.is_null());
    let ok = report.get("ok") == Some(&Value::Bool(true)) && finding.is_none();
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
        context.out.line(format!("{} entries verified, root {}", text(&report, "entries"), text(&report, "root")))?;
    }
    if ok {
        return Ok(Status::Done);
    }
    context.out.say("error: the log is not what was recorded");
    context.out.say("hint: keep store/, head/ and every export as they are, and call whoever answers for the gateway");
    Ok(Status::Refused)
}

/// Reads a key that was given as itself or as a file that holds it.
pub(super) fn read_key<const TYPE: u8>(given: &str) -> Result<NoteKey<TYPE>, Failure> {
    let text = match given.parse() {
        Ok(key) => return Ok(key),
        Err(_) => std::fs::read_to_string(given).with_context(|| given.to_owned())?,
    };
    text.trim().parse().map_err(|error| {
        Failure::bad_input(Reason::BadInput, format!("{given}: {error}"))
            .hint("`medseal audit export` writes it as log.vkey, and `medseal card` names it")
    })
}

/// A kept checkpoint counts only by its signature.
fn read_trusted(path: &Path, keys: &[LogKey], export: &Path) -> Result<Checkpoint, Failure> {
    let note = std::fs::read(path).with_context(|| path.display().to_string())?;
    let own;
    let keys = if keys.is_empty() {
        own = [read_key(&export.join("log.vkey").display().to_string())?];
        &own[..]
    } else {
        keys
    };
    Checkpoint::open(&note, keys)
        .map_err(|error| Failure::refused(Reason::BadSignature, format!("{}: {error}", path.display())))
}
