//! A proof beside each line of the accounting, for somebody who has only the log's key.
//!
//! Rule: nothing is handed out that was not verified here first.

use std::path::Path;

use anyhow::Context as _;

use crate::audit::note::LogKey;
use crate::audit::tlog_proof::EntryProof;
use crate::cli::answer::{list, text};
use crate::cli::failure::Failure;
use crate::client::Api;
use crate::desk::disclosures::Report;
use crate::durable;
use crate::reason::Reason;

/// Writes `proofs/statement-N.tlog-proof` and `.entry` for each line, names them in it, and writes the log's key.
pub(super) fn write(api: &Api, report: &mut Report, out: &Path) -> Result<(), Failure> {
    let keys = api.get("/v1/audit/keys")?;
    let keys: Vec<LogKey> = list(&keys, "vkeys").iter().filter_map(|key| key.as_str()?.parse().ok()).collect();
    let put = |name: &str, content: &str| {
        let path = out.join(name);
        durable::write_new(&path, content.as_bytes(), 0o600).with_context(|| path.display().to_string())
    };
    if let Some(key) = keys.first() {
        put("log.vkey", &format!("{key}\n"))?;
    }
    let folder = out.join(FOLDER);
    durable::create_dir(&folder, 0o700).with_context(|| folder.display().to_string())?;
    for line in &mut report.lines {
        line.proof = one(api, &keys, line.seq, &put)?;
        line.released_proof = line.released.map(|seq| one(api, &keys, seq, &put)).transpose()?.unwrap_or_default();
    }
    Ok(())
}

fn one(
    api: &Api,
    keys: &[LogKey],
    seq: u64,
    put: &impl Fn(&str, &str) -> anyhow::Result<()>,
) -> Result<String, Failure> {
    let answer = api.get(&format!("/v1/audit/proof?seq={seq}"))?;
    let entry = text(&answer, "entry");
    let refused = |error: &dyn std::fmt::Display| {
        Failure::refused(Reason::BadSignature, format!("statement {seq} is not proved: {error}"))
            .hint("`medseal audit verify` says what is wrong with the log")
    };
    let proof = EntryProof::parse(text(&answer, "proof").as_bytes()).map_err(|error| refused(&error))?;
    proof.verify(entry.as_bytes(), keys, &[]).map_err(|error| refused(&error))?;
    let name = format!("{FOLDER}/statement-{seq}");
    put(&format!("{name}.entry"), &format!("{entry}\n"))?;
    put(&format!("{name}.tlog-proof"), &proof.to_text())?;
    Ok(format!("{name}.tlog-proof"))
}

const FOLDER: &str = "proofs";
