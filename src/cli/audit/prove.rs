//! `medseal audit prove`: one entry with its proof, for somebody outside.
//!
//! Rule: nothing is handed out that was not verified here first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::keys::read_key;
use crate::audit::note::{Cosignature, LogKey, WitnessKey};
use crate::audit::proof_page;
use crate::audit::tlog_proof::{EntryProof, EntryProofError, PROOF_FILE_BYTES_MAX, Proved};
use crate::audit::trust::TrustPolicy;
use crate::cli::Context;
use crate::cli::answer::{list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::durable;
use crate::leaf::LEAF_BYTES_MAX;
use crate::reason::Reason;

/// Proves one entry of the log: a proof file, the entry, and a page to print that says what is proved.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal audit prove 42 --out entry-42.tlog-proof\n\
    It also writes entry-42.entry (the entry as it is stored) and entry-42.html (to read and print). They name no\n\
    patient. Whoever gets them runs `medseal audit verify entry-42.tlog-proof --key KEY`, without a gateway.")]
pub(in crate::cli) struct Prove {
    /// The entry's number, as `medseal audit show` tells it.
    seq: u64,
    /// The proof file; its name ends with .tlog-proof. No file that exists is written over.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A witness whose countersignature the page shall name: NAME+KEYID+BASE64, or a file that holds it.
    #[arg(long, value_name = "VKEY|FILE")]
    witness: Vec<String>,
}

impl Prove {
    pub(super) fn run(self, context: &Context) -> Outcome {
        if self.out.extension() != Some(OsStr::new(EXTENSION)) {
            return Err(Failure::bad_input(Reason::BadInput, "the name of a proof file ends with .tlog-proof")
                .hint(format!("say --out entry-{}.{EXTENSION}", self.seq)));
        }
        let witnesses = self.witness.iter().map(|given| read_key(given)).collect::<Result<Vec<WitnessKey>, _>>()?;
        let api = context.api()?;
        let answer = api.get(&format!("/v1/audit/proof?seq={}", self.seq))?;
        let keys = api.get("/v1/audit/keys")?;
        let keys: Vec<LogKey> = list(&keys, "vkeys").iter().filter_map(|key| key.as_str()?.parse().ok()).collect();
        let (entry, proof) = (text(&answer, "entry"), text(&answer, "proof"));
        let proof = EntryProof::parse(proof.as_bytes()).map_err(|error| not_proved(&error))?;
        let proved = proof.verify(entry.as_bytes(), &keys, &witnesses).map_err(|error| not_proved(&error))?;
        let key = keys.iter().find(|key| *key.name() == proved.checkpoint.origin);
        let key = key.ok_or_else(|| Failure::unable("the gateway named no key for its log"))?;
        let page = proof_page::page(entry.as_bytes(), &proof, &proved, key);
        let page = page.map_err(|error| Failure::unable(format!("entry {}: {error}", self.seq)))?;
        let (leaf, html) = (self.out.with_extension(ENTRY), self.out.with_extension("html"));
        // The proof comes last: where it stands, the others do.
        for (path, content) in [(&leaf, format!("{entry}\n")), (&html, page), (&self.out, proof.to_text())] {
            durable::write_new(path, content.as_bytes(), 0o644).with_context(|| path.display().to_string())?;
        }
        if context.out.is_json() {
            context
                .out
                .object(&json!({ "proof": self.out, "entry": leaf, "page": html, "proved": facts(&proof, &proved) }))?;
        } else {
            context.out.line(format!(
                "entry {} of {} is in the signed log of {} entries: {}",
                self.seq,
                proved.checkpoint.origin,
                proved.checkpoint.size,
                self.out.display()
            ))?;
        }
        Ok(Status::Done)
    }
}

/// Whether a path names a proof and not an export.
pub(super) fn is_proof(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(EXTENSION))
}

/// Verifies a proof file with its entry, which stands beside it if no other is named.
pub(super) fn check(
    context: &Context,
    path: &Path,
    entry: Option<&Path>,
    keys: &[LogKey],
    witnesses: &[WitnessKey],
    policy: Option<&TrustPolicy>,
) -> Outcome {
    if keys.is_empty() {
        return Err(Failure::bad_input(Reason::BadInput, "a proof counts only by a key that you chose")
            .hint("name the log's key with --key: the institution's card and `medseal audit export` have it"));
    }
    let beside = path.with_extension(ENTRY);
    let line = read(entry.unwrap_or(&beside), LEAF_BYTES_MAX + 1)?;
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let proof = EntryProof::parse(&read(path, PROOF_FILE_BYTES_MAX)?).map_err(|error| not_proved(&error))?;
    let proved = proof.verify(line, keys, witnesses).map_err(|error| not_proved(&error))?;
    let standing = policy.map(|policy| policy.judge(proof.note.as_bytes())).transpose();
    let standing = standing.map_err(|error| not_proved(&error.into()))?;
    if let Some(finding) = standing.and_then(|standing| standing.finding(proof.index)) {
        return Err(Failure::refused(Reason::BadSignature, finding.message)
            .hint("ask for the proof again when more have signed under the log"));
    }
    let facts = facts(&proof, &proved);
    if context.out.is_json() {
        context.out.object(&facts)?;
    } else {
        context.out.line(format!(
            "this is entry {} of {}, in its signed log of {} entries",
            proof.index, proved.checkpoint.origin, proved.checkpoint.size
        ))?;
        for Cosignature { key, time } in &proved.countersigned {
            context.out.line(format!("countersigned by {} at {time} seconds since 1970", key.name()))?;
        }
    }
    Ok(Status::Done)
}

fn facts(proof: &EntryProof, proved: &Proved) -> Value {
    let countersigned =
        proved.countersigned.iter().map(|one| json!({ "witness": one.key.name().as_str(), "time": one.time }));
    json!({
        "ok": true, "seq": proof.index, "origin": proved.checkpoint.origin.as_str(), "entries": proved.checkpoint.size,
        "root": proved.checkpoint.root, "countersigned": countersigned.collect::<Vec<_>>(),
    })
}

/// The content of a file that is no longer than it may be.
fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let bytes = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    if usize::try_from(bytes).map_or(true, |bytes| bytes > bytes_max) {
        return Err(Failure::bad_input(
            Reason::BadInput,
            format!("{} is longer than any proof or entry", path.display()),
        )
        .hint("name the files that `medseal audit prove` wrote"));
    }
    Ok(std::fs::read(path).with_context(|| path.display().to_string())?)
}

/// The answer about a proof that shows nothing.
fn not_proved(error: &EntryProofError) -> Failure {
    Failure::refused(Reason::BadSignature, error.to_string())
        .hint("the proof, its entry and the log's key belong together: ask for all three again")
}

const EXTENSION: &str = "tlog-proof";
const ENTRY: &str = "entry";
