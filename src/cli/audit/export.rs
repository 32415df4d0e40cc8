//! `medseal audit export`: a folder that anyone can verify without us.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::show::each;
use crate::audit::export::{ExportError, ExportWriter, Exported, RangeWriter};
use crate::audit::note::{Checkpoint, LogKey};
use crate::audit::tlog_proof::EntryProof;
use crate::cli::Context;
use crate::cli::answer::{items, list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::client::Api;
use crate::id::Digest;
use crate::leaf::Link;
use crate::reason::Reason;

/// Writes a folder with the whole log or a stretch of it, its signed checkpoint and a verifier that needs only Python and openssl.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit export log-2026-11\n\
    Whoever gets it runs `python3 verify.py` in it, or `medseal audit verify DIR`. It names no patient.\n\
    --from, --to and --year write a range: the entries of a stretch, with the proof that both ends are in the signed log.\n\
    It has no tiles. `medseal audit verify DIR NEXT...` says whether ranges join without a gap.\n\
    --prove 42,57 adds proofs/42.tlog-proof and proofs/42.entry, and so on: hand both on to prove one entry alone.")]
pub(in crate::cli) struct Export {
    /// The folder; it must not exist.
    dir: PathBuf,
    /// Ends at the newest checkpoint that enough have signed under, also where no partner can be reached.
    #[arg(long)]
    countersigned: bool,
    /// Only from this entry on.
    #[arg(long, value_name = "N", conflicts_with_all = ["year", "countersigned"])]
    from: Option<u64>,
    /// Only to this entry, itself included.
    #[arg(long, value_name = "N", conflicts_with_all = ["year", "countersigned"])]
    to: Option<u64>,
    /// Only the entries of a year, in UTC.
    #[arg(long, value_name = "YYYY", conflicts_with = "countersigned", value_parser = clap::value_parser!(u16).range(1970..=9998))]
    year: Option<u16>,
    /// Proves these entries one by one, too: DIR/proofs/SEQ.tlog-proof, with the entry beside it.
    #[arg(long, value_name = "SEQ", value_delimiter = ',')]
    prove: Vec<u64>,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let api = context.api()?;
        if (self.from, self.to, self.year) != (None, None, None) {
            let exported = self.range(&api)?;
            return tell(context, &exported, &self.dir);
        }
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
        let proofs = self.proofs(&api, 0, signed, signed)?;
        let mut writer = ExportWriter::create(&self.dir, &note, &key).map_err(failed)?;
        for note in items(&api.get(&format!("/v1/audit/checkpoints?below={signed}"))?) {
            writer.past(note.as_str().unwrap_or_default()).map_err(failed)?;
        }
        for stamp in items(&api.get("/v1/audit/stamps")?) {
            let size = stamp.get("entries").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let answer = STANDARD.decode(text(stamp, "response"));
            if let (Ok(answer), true) = (answer, size <= signed) {
                writer.stamp(text(stamp, "note").as_bytes(), &answer).map_err(failed)?;
            }
        }
        let limit = usize::try_from(signed).unwrap_or(usize::MAX);
        each(&api, 0, Some(limit), "", |line| writer.entry(line).map_err(failed))?;
        for (seq, entry, path) in proofs {
            writer.prove(seq, entry.as_bytes(), path).map_err(failed)?;
        }
        let exported = writer.finish().map_err(failed)?;
        tell(context, &exported, &self.dir)
    }

    /// Writes a stretch of the log.
    fn range(&self, api: &Api) -> Result<Exported, Failure> {
        let note = api.text("/v1/audit/checkpoint/to-show")?;
        let keys = api.get("/v1/audit/keys")?;
        let keys: Vec<LogKey> = list(&keys, "vkeys").iter().filter_map(|key| key.as_str()?.parse().ok()).collect();
        let signed = Checkpoint::open(note.as_bytes(), &keys)
            .map_err(|_| Failure::refused(Reason::BadSignature, "no key of this gateway signed its checkpoint"))?;
        let (from, end) = match self.year {
            Some(year) => (begin(api, year, signed.size)?, begin(api, year + 1, signed.size)?),
            None => (self.from.unwrap_or(0), self.to.map_or(signed.size, |to| to.saturating_add(1))),
        };
        if from >= end || end > signed.size {
            let size = signed.size;
            return Err(Failure::bad_input(Reason::BadInput, format!("the log of {size} entries has none there"))
                .hint("`medseal audit show` tells the number and the time of each entry"));
        }
        let prove = |seq: u64| {
            let answer = api.get(&format!("/v1/audit/proof?seq={seq}"))?;
            let proof = EntryProof::parse(text(&answer, "proof").as_bytes());
            Ok::<_, Failure>((text(&answer, "entry"), proof.map_err(|error| Failure::unable(error.to_string()))?))
        };
        let (first, last) = (prove(from)?, prove(end - 1)?);
        let key = keys
            .iter()
            .find(|key| Checkpoint::open(last.1.note.as_bytes(), std::slice::from_ref(key)).is_ok())
            .ok_or_else(|| {
            Failure::refused(Reason::BadSignature, "no key of this gateway signed its checkpoint")
        })?;
        let size = Checkpoint::open(last.1.note.as_bytes(), std::slice::from_ref(key)).map_or(0, |point| point.size);
        let proofs = self.proofs(api, from, end, size)?;
        let (first, last) = ((first.0.as_bytes(), first.1), (last.0.as_bytes(), last.1));
        let mut writer = RangeWriter::create(&self.dir, first, last, key).map_err(failed)?;
        let limit = usize::try_from(end - from).unwrap_or(usize::MAX);
        each(api, from, Some(limit), "", |line| writer.entry(line).map_err(failed))?;
        for (seq, entry, path) in proofs {
            writer.prove(seq, entry.as_bytes(), path).map_err(failed)?;
        }
        writer.finish().map_err(failed)
    }

    /// The entries to be proved, each with the hashes from it to the root of the log of `size` entries. Asked before
    /// anything is written: the export has entries `from` to before `end`.
    fn proofs(&self, api: &Api, from: u64, end: u64, size: u64) -> Result<Vec<(u64, String, Vec<Digest>)>, Failure> {
        let wanted: BTreeSet<u64> = self.prove.iter().copied().collect();
        if let Some(beyond) = wanted.iter().find(|seq| !(from..end).contains(*seq)) {
            let text = format!("entry {beyond} cannot be proved: the export has entries {from} to {}", end - 1);
            return Err(
                Failure::bad_input(Reason::BadInput, text).hint("`medseal audit show` tells the number of each entry")
            );
        }
        let prove = |seq| {
            let answer = api.get(&format!("/v1/audit/place?seq={seq}&size={size}"))?;
            let path = list(&answer, "path").iter().map(|hash| hash.as_str().and_then(|hash| hash.parse().ok()));
            let path = path.collect::<Option<_>>().ok_or_else(|| Failure::unable("a hash of a proof is malformed"))?;
            Ok((seq, text(&answer, "entry"), path))
        };
        wanted.into_iter().map(prove).collect()
    }
}

/// The number of the first entry of a year or of one after it; `size` if there is none.
fn begin(api: &Api, year: u16, size: u64) -> Result<u64, Failure> {
    let time = format!("{year}-01-01T00:00:00.000000Z");
    // No entry is older than the one before it.
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut at = None;
        each(api, middle, Some(1), "", |line| {
            at = Link::read(line).map(|link| link.at);
            Ok(())
        })?;
        if at.ok_or_else(|| Failure::unable(format!("entry {middle} cannot be read")))?.as_slice() < time.as_bytes() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn failed(error: ExportError) -> Failure {
    let text = format!("{:#}", anyhow::Error::new(error));
    Failure::unable(text).hint("name a folder that does not exist; `medseal audit verify` checks the log itself")
}

fn tell(context: &Context, exported: &Exported, dir: &Path) -> Outcome {
    if context.out.is_json() {
        context.out.object(&json!({ "entries": exported.entries, "root": exported.root, "dir": dir }))?;
    } else {
        context.out.line(format!("{} entries in {}", exported.entries, dir.display()))?;
    }
    Ok(Status::Done)
}
