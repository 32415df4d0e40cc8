//! The compliance officer's desk: entries as they are stored, the newest checkpoint, a check of the whole log.

use serde::{Deserialize, Serialize};
use serde_json::json;

mod accounts;
mod past;

use std::io;
use std::sync::Arc;

use super::alarms::{self, AlarmView};
use super::replay::{self, Replayed};
use super::stamps;
use crate::audit::log::Log;
use crate::audit::note::Checkpoint;
use crate::audit::proof;
use crate::audit::tlog_proof::EntryProof;
use crate::audit::verify::{self, Against, Behind, Finding, Report};
use crate::clock::stamp;
use crate::gateway::Gateway;
use crate::id::{CaseId, Digest, InstitutionId};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::OVERDUE;
use crate::witness;

/// Which entries are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first sequence number.
    #[serde(default)]
    pub from: u64,
    /// How many at most; as many as one answer holds unless it says less.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Only entries about emergencies.
    #[serde(default)]
    pub break_glass: bool,
    /// Only entries of this case.
    #[serde(default)]
    pub case: Option<CaseId>,
}

/// Which entry is to be proved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its number.
    pub seq: u64,
}

/// Which entry is to be proved against which size of the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// Its number.
    pub seq: u64,
    /// How many entries the log has then.
    pub size: u64,
}

/// Which decisions are to be taken again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The first entry that is looked at.
    #[serde(default)]
    pub from: u64,
    /// How many entries are looked at, at most.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Entries as they are stored, one a line.
pub fn entries(gateway: &Gateway, range: &Range) -> Result<Vec<u8>, Problem> {
    let limit = range.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let needle = range.case.as_ref().map(|case| format!("\"case\":\"{case}\""));
    let (mut lines, mut count, mut from) = (Vec::new(), 0, range.from);
    while count < limit {
        let page =
            gateway.log.reader().entries(from, PAGE_MAX).map_err(|error| Problem::internal("the log", &error))?;
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        for (_, leaf) in page {
            let wanted = needle.as_ref().is_none_or(|needle| contains(&leaf, needle.as_bytes()))
                && (!range.break_glass || EMERGENCY.iter().any(|mark| contains(&leaf, mark.as_bytes())));
            if wanted && count < limit {
                lines.extend_from_slice(&leaf);
                lines.push(b'\n');
                count += 1;
            }
        }
    }
    Ok(lines)
}

/// The newest signed checkpoint, made now if the log grew.
pub async fn checkpoint(gateway: &Gateway) -> Result<String, Problem> {
    let note = gateway.log.sign_now().await.map_err(|error| Problem::internal("the log", &error))?;
    // The same checkpoint with others' signatures says more.
    Ok(witness::with_signatures(gateway, &note))
}

/// The kept checkpoints of fewer than `below` entries.
pub fn past(gateway: &Gateway, below: &Below) -> Result<Vec<String>, Problem> {
    gateway.log.reader().checkpoints(below.below).map_err(|error| Problem::internal("the log", &error))
}

/// Up to which size of the log something is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Below {
    /// The size, itself left out.
    pub below: u64,
}

/// A checkpoint made now, which as many have signed under as are enough, if they can be reached.
pub async fn checkpoint_to_show(gateway: &Gateway) -> Result<String, Problem> {
    let note = checkpoint(gateway).await?;
    witness::countersigned_now(gateway, &note).await
}

/// The newest checkpoint that partners signed under, with their signatures.
pub fn countersigned(gateway: &Gateway) -> Result<String, Problem> {
    witness::countersigned(gateway)
        .ok_or_else(|| Problem::refused(Reason::BadInput, "no partner has signed under a checkpoint yet"))
}

/// A note of ours that somebody brings back with signatures under it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BroughtNote {
    /// The whole note.
    pub checkpoint: String,
}

/// Whose countersignatures are enough under our log, and whether the site said so itself.
pub fn policy(gateway: &Gateway) -> Result<serde_json::Value, Problem> {
    gateway.trust().map(|(policy, written)| json!({ "policy": policy.to_string(), "written": written }))
}

/// How our log stands with its witnesses.
#[derive(Debug, Serialize)]
pub struct Witnesses {
    /// How many entries the log has.
    pub entries: u64,
    /// How many of them enough have signed under.
    pub countersigned: u64,
    /// Who signed under what, since the start.
    pub witnesses: Vec<WitnessView>,
    /// Whether the log grew and nobody signed for longer than the limit.
    pub overdue: bool,
    /// What a person must look at.
    pub alarms: Vec<AlarmView>,
}

/// What one partner signed last.
#[derive(Debug, Serialize)]
pub struct WitnessView {
    /// The partner.
    pub partner: InstitutionId,
    /// How many entries it signed under.
    pub entries: u64,
    /// When.
    pub at: String,
}

/// How our log stands with its witnesses, since the start of the gateway.
pub fn witnesses(gateway: &Gateway) -> Result<Witnesses, Problem> {
    let ours = gateway.witnessing.ours();
    let alarms = alarms::standing(gateway)?;
    Ok(Witnesses {
        entries: gateway.log.size(),
        countersigned: witness::covered(gateway)?,
        overdue: alarms.iter().any(|alarm| alarm.id == OVERDUE),
        witnesses: ours
            .signed
            .iter()
            .map(|(partner, (entries, at))| WitnessView { partner: partner.clone(), entries: *entries, at: stamp(*at) })
            .collect(),
        alarms,
    })
}

/// The keys that verify the checkpoint, the log's origin, and the keys of the partners' logs.
pub fn keys(gateway: &Gateway) -> Result<serde_json::Value, Problem> {
    let now = gateway.now();
    let partners: Vec<_> = gateway.partners()?.iter().flat_map(|partner| partner.log_vkeys_at(now)).collect();
    Ok(json!({
        "origin": gateway.log.reader().origin().as_str(), "vkeys": [gateway.log.key().to_string()], "partners": partners,
    }))
}

/// Between which sizes of our log a proof is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grown {
    /// The smaller size.
    pub old: u64,
    /// The larger one.
    pub new: u64,
}

/// That our log of one size continues itself of an earlier one: both roots, and the proof between them.
pub async fn growth(gateway: &Gateway, asked: Grown) -> Result<serde_json::Value, Problem> {
    let Grown { old, new } = asked;
    let size = gateway.log.size();
    if old > new || new > size {
        return Err(Problem::not_found(format!("there is no proof from {old} to {new} entries; the log has {size}")));
    }
    let log = gateway.log.clone();
    let proving = tokio::task::spawn_blocking(move || {
        let (reader, failed) = (log.reader(), |error| Problem::internal("the log", &error));
        let root_at = |size| proof::root(size, &reader.tree()).map_err(|error| failed(error.into()));
        let path = proof::consistency(old, new, &reader.tree()).map_err(failed)?;
        Ok(json!({ "old": old, "new": new, "old_root": root_at(old)?, "new_root": root_at(new)?, "proof": path }))
    });
    proving.await.map_err(|error| Problem::internal("the proof", &error))?
}

/// One entry as it is stored, with the proof that the newest checkpoint covers it.
pub async fn prove(gateway: &Gateway, asked: &Asked) -> Result<serde_json::Value, Problem> {
    let note = checkpoint(gateway).await?;
    let (log, seq) = (gateway.log.clone(), asked.seq);
    let proved = tokio::task::spawn_blocking(move || prove_entry(&log, seq, note));
    proved.await.map_err(|error| Problem::internal("the proof", &error))?
}

fn prove_entry(log: &Log, seq: u64, note: String) -> Result<serde_json::Value, Problem> {
    let keys = std::slice::from_ref(log.key());
    let signed = Checkpoint::open(note.as_bytes(), keys).map_err(|error| Problem::internal("the log", &error))?;
    if seq >= signed.size {
        return Err(Problem::not_found(format!("there is no entry {seq}; the log has {} entries", signed.size)));
    }
    let (line, path) = entry_and_path(log, seq, signed.size)?;
    let proof = EntryProof { index: seq, path, note };
    // What does not verify here would be a false accusation of the log elsewhere.
    proof.verify(&line, keys, &[]).map_err(|error| Problem::internal("the proof", &error))?;
    let entry = String::from_utf8(line).map_err(|error| Problem::internal("the log", &error))?;
    Ok(json!({ "entry": entry, "proof": proof.to_text() }))
}

/// One entry as it is stored, with the hashes that lead from it to the root of the log when it had `size` entries.
pub async fn place(gateway: &Gateway, asked: Placed) -> Result<serde_json::Value, Problem> {
    let Placed { seq, size } = asked;
    let now = gateway.log.size();
    if seq >= size || size > now {
        return Err(Problem::not_found(format!("there is no entry {seq} of {size}; the log has {now} entries")));
    }
    let log = gateway.log.clone();
    let proving = tokio::task::spawn_blocking(move || {
        let (entry, path) = entry_and_path(&log, seq, size)?;
        let entry = String::from_utf8(entry).map_err(|error| Problem::internal("the log", &error))?;
        Ok(json!({ "entry": entry, "path": path }))
    });
    proving.await.map_err(|error| Problem::internal("the proof", &error))?
}

/// An entry as it is stored, and the hashes from it up to the root over `size` entries.
fn entry_and_path(log: &Log, seq: u64, size: u64) -> Result<(Vec<u8>, Vec<Digest>), Problem> {
    let stored = log.reader().entries(seq, 1).map_err(|error| Problem::internal("the log", &error))?;
    let path = proof::inclusion(seq, size, &log.reader().tree());
    let path = path.map_err(|error| Problem::internal("the proof", &error))?;
    Ok((stored.into_iter().next().map(|(_, line)| line).unwrap_or_default(), path))
}

/// Checks the whole log against its newest checkpoint, and then what else was signed, and what the store says, against
/// the log.
pub async fn verify(gateway: &Arc<Gateway>) -> Result<Report, Problem> {
    let note = checkpoint(gateway).await?;
    // What others signed under must still be there: a log key alone could sign a second history.
    let keys = std::slice::from_ref(gateway.log.key());
    let witnessed = witness::countersigned(gateway).and_then(|note| Checkpoint::open(note.as_bytes(), keys).ok());
    let work = Arc::clone(gateway);
    let check = move || {
        let checked = verify_log(&work.log, &note, witnessed.as_ref());
        let mut report = checked.map_err(|error| Problem::internal("the log", &error))?;
        if report.ok {
            report.finding = contradicted(&work)?;
            report.ok = report.finding.is_none();
        }
        Ok(report)
    };
    tokio::task::spawn_blocking(check).await.map_err(|error| Problem::internal("the check", &error))?
}

/// The first thing that was signed, stamped or stored and that the log contradicts.
fn contradicted(gateway: &Gateway) -> Result<Option<Finding>, Problem> {
    if let Some(found) = past::check(gateway)? {
        return Ok(Some(found));
    }
    stamps::check(gateway)?.map_or_else(|| accounts::check(gateway), |found| Ok(Some(found)))
}

/// Takes the decisions among a range of entries again, from what is kept of each.
pub async fn replay(gateway: &Arc<Gateway>, stretch: &Stretch) -> Result<Replayed, Problem> {
    let (work, from, limit) = (Arc::clone(gateway), stretch.from, stretch.limit.unwrap_or(PAGE_MAX));
    tokio::task::spawn_blocking(move || replay::replay(&work, from, limit))
        .await
        .map_err(|error| Problem::internal("the replay", &error))?
}

fn verify_log(log: &Log, note: &str, trusted: Option<&Checkpoint>) -> io::Result<Report> {
    let keys = [log.key().clone()];
    let against = Against { checkpoint: Some(note.as_bytes()), keys: &keys, trusted, behind: Behind::Growth };
    let lines = log.reader().lines(0).map(|line| line.map_err(io::Error::other));
    let mut report = verify::verify_lines(lines, &against, |_| ())?;
    if report.ok {
        match verify::verify_home_details(log.reader(), |_| ())? {
            Ok(counts) => (report.details, report.erased) = (counts.opened, counts.erased),
            Err(finding) => {
                report.ok = false;
                report.finding = Some(finding);
            }
        }
    }
    Ok(report)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// How an entry is known to be about an emergency.
const EMERGENCY: [&str; 2] = [r#""kind":"break-glass""#, r#""basis":"break-glass""#];

/// The most entries of one answer.
const PAGE_MAX: usize = 1000;
