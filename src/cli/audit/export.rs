//! `medseal audit export`: a folder that anyone can verify without us.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::show::each;
use crate::audit::export::ExportWriter;
use crate::audit::note::{Checkpoint, LogKey};
use crate::cli::Context;
use crate::cli::answer::{items, list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::reason::Reason;

/// Writes a folder with the whole log, its signed checkpoint and a verifier that needs only Python and openssl.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit export log-2026-11\n\
    Whoever gets it runs `python3 verify.py` in it, or `medseal audit verify DIR`. It names no patient.")]
pub(in crate::cli) struct Export {
    /// The folder; it must not exist.
    dir: PathBuf,
    /// Ends at the newest checkpoint that enough have signed under, also where no partner can be reached.
    #[arg(long)]
    countersigned: bool,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        // Countersigned if partners can be reached: an export is for those who need not trust this gateway.
        let which = if self.countersigned { "/v1/audit/countersigned" } else { "/v1/audit/checkpoint/to-show" };
        let note = api.text(which)?;
        let keys = api.get("/v1/audit/keys")?;
        let key = list(&keys, "vkeys")
            .iter()
            .filter_map(|key| key.as_str()?.parse::<LogKey>().ok())
            .find(|key| Checkpoint::open(note.as_bytes(), std::slice::from_ref(key)).is_ok())
            .ok_or_else(|| Failure::refused(Reason::BadSignature, "no key of this gateway signed its checkpoint"))?;
        let signed = Checkpoint::open(note.as_bytes(), std::slice::from_ref(&key)).map_or(0, |point| point.size);
        let failed = |error: crate::audit::export::ExportError| {
            let text = format!("{:#}", anyhow::Error::new(error));
            Failure::unable(text)
                .hint("name a folder that does not exist; `medseal audit verify` checks the log itself")
        };
        let mut writer = ExportWriter::create(&self.dir, &note, &key).map_err(failed)?;
        for note in items(&api.get(&format!("/v1/audit/checkpoints?below={signed}"))?) {
            writer.past(note.as_str().unwrap_or_default()).map_err(failed)?;
        }
        let limit = usize::try_from(signed).unwrap_or(usize::MAX);
        each(&api, 0, Some(limit), "", |line| writer.entry(line).map_err(failed))?;
        for stamp in items(&api.get("/v1/audit/stamps")?) {
            let size = stamp.get("entries").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let answer = STANDARD.decode(text(stamp, "response"));
            if let (Ok(answer), true) = (answer, size <= signed) {
                writer.stamp(size, text(stamp, "note").as_bytes(), &answer).map_err(failed)?;
            }
        }
        let exported = writer.finish().map_err(failed)?;
        if context.out.is_json() {
            context.out.object(&json!({ "entries": exported.entries, "root": exported.root, "dir": self.dir }))?;
        } else {
            context.out.line(format!("{} entries in {}", exported.entries, self.dir.display()))?;
        }
        Ok(Status::Done)
    }
}
