//! Our own log's checkpoints, brought to the partners that sign under them.
//!
//! Rule: a partner that is away changes nothing. A partner that remembers more of our log than we do, with our own
//! signature under it, stops us: this gateway was set back, and must not sign a second history.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::kept::{covered, keep_signed};
use super::{alarm, keep_evidence};
use crate::audit::happened::Happened;
use crate::audit::note::{Checkpoint, NoteError, WitnessKey};
use crate::audit::proof::{self, ProveError, consistency};
use crate::audit::tiles::Stored;
use crate::audit::witness::Submission;
use crate::clock::{Timestamp, read_stamp, stamp};
use crate::deliver::{DeliverError, Line};
use crate::durable;
use crate::gateway::Gateway;
use crate::id::Digest;
use crate::leaf::Link;
use crate::partner::Partner;
use crate::problem::Problem;
use crate::records::{Alarm, AlarmEnd, OVERDUE};
use crate::store::StoreError;
use crate::wire::WitnessAnswer;

/// What the witnesses said before the gateway signed anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtStart {
    /// None that answered knows more of our log than we do.
    Agreed {
        /// How many were asked.
        asked: usize,
        /// How many answered.
        answered: usize,
    },
    /// One of them holds a later checkpoint of ours. It is the newest one on our disk now, so that the log does not open.
    Ahead,
}

/// Why a partner did not sign.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    #[error(transparent)]
    Line(#[from] DeliverError),
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error("it answered {0}")]
    Status(u16),
    #[error("its answer has no signature of its own")]
    NoSignature,
    #[error("it says that our log contradicts what it saw, and shows nothing that our key signed")]
    NoProof,
    #[error("our log is not what our key signed before")]
    Forked,
}

/// Asks the witnesses, all at once and for a bounded time, what they saw last of our log.
pub async fn ask_before_signing(gateway: &Arc<Gateway>) -> AtStart {
    let mut asking = JoinSet::new();
    for (partner, _) in witnesses(gateway) {
        let gateway = Arc::clone(gateway);
        asking.spawn(async move {
            let seen = match connect(&gateway, &partner).await {
                Ok(mut line) => theirs(&gateway, &mut line).await.map_err(NotAsked::from),
                Err(error) => Err(error.into()),
            };
            (partner, seen)
        });
    }
    let wanted = asking.len();
    let patience = Duration::from_secs(u64::from(gateway.config.witness.wait_s_max));
    let deadline = tokio::time::Instant::now() + patience;
    let mut answered = 0;
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, asking.join_next()).await {
        match answer {
            Ok((partner, Ok(Some((note, seen))))) if seen.size > gateway.log.size() => {
                stop_signing(gateway, &partner, &note, &seen).await;
                // Nobody else holds the gateway when this returns: its store is to be opened anew.
                asking.shutdown().await;
                return AtStart::Ahead;
            }
            Ok((_, Ok(_))) => answered += 1,
            Ok((partner, Err(error))) => tracing::info!(witness = %partner.id(), %error, "a witness was not asked"),
            Err(error) => tracing::error!(%error, "a witness could not be asked"),
        }
    }
    if wanted > 0 && answered == 0 {
        tracing::warn!(
            witnesses = wanted,
            "no witness could be asked whether this gateway was set back: going on without"
        );
    }
    AtStart::Agreed { asked: wanted, answered }
}

/// Has our checkpoints signed while the log grows, until `stop` turns true.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_secs(u64::from(gateway.config.witness.every_s));
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => {}
            () = round(&gateway) => {
                tokio::select! {
                    _ = stop.changed() => {}
                    () = gateway.witnessing.wanted.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// Asks every witness that has not signed under the newest checkpoint yet.
async fn round(gateway: &Arc<Gateway>) {
    let note = gateway.log.checkpoint();
    let Ok(newest) = Checkpoint::claimed(note.as_bytes()) else { return };
    let ours = gateway.witnessing.ours();
    let mut asking = JoinSet::new();
    let witnesses = witnesses(gateway);
    let has_witnesses = !witnesses.is_empty();
    for (partner, keys) in witnesses {
        let old = ours.signed.get(partner.id()).map(|(size, _)| *size);
        if old == Some(newest.size) {
            continue;
        }
        let (gateway, note, newest) = (Arc::clone(gateway), note.clone(), newest.clone());
        asking.spawn(async move {
            if let Err(error) = ask(&gateway, &partner, &keys, &note, &newest, old.unwrap_or(0)).await {
                tracing::info!(witness = %partner.id(), %error, "our checkpoint was not countersigned");
            }
        });
    }
    while asking.join_next().await.is_some() {}
    if has_witnesses {
        watch_over(gateway).await;
    }
}

/// The partners that sign under our checkpoints now, each with its keys.
fn witnesses(gateway: &Gateway) -> Vec<(Partner, Vec<WitnessKey>)> {
    let now = gateway.now();
    let partners = gateway.partners().unwrap_or_default().into_iter().filter(|partner| partner.may_exchange(now));
    let with_keys = partners.map(|partner| {
        let keys = partner.witness_vkeys_at(now).iter().filter_map(|vkey| vkey.parse().ok()).collect();
        (partner, keys)
    });
    with_keys.filter(|(_, keys): &(Partner, Vec<WitnessKey>)| !keys.is_empty()).collect()
}

async fn connect(gateway: &Gateway, partner: &Partner) -> Result<Line, DeliverError> {
    Line::connect(&gateway.tls, partner.id(), &partner.card().endpoint, gateway.line_limits()).await
}

/// Brings one checkpoint to one partner, and keeps its signature.
async fn ask(
    gateway: &Arc<Gateway>,
    partner: &Partner,
    keys: &[WitnessKey],
    note: &str,
    newest: &Checkpoint,
    known: u64,
) -> Result<(), NotAsked> {
    let mut line = connect(gateway, partner).await?;
    let mut old = known;
    for _ in 0..TRIES {
        let proof = proof(gateway, old, newest.size).await?;
        let submission = Submission { old, proof, note: note.to_owned() };
        let WitnessAnswer { status, body } = line.add_checkpoint(submission.to_body()).await?;
        match status {
            200 => return signed(gateway, partner, keys, note, newest, &body),
            409 => match body.trim_end().parse::<u64>() {
                // It remembers another size than we thought: from there, if our log is that large.
                Ok(size) if size != old && size <= newest.size => old = size,
                _ => return contradicted(gateway, partner, &mut line, &submission).await,
            },
            422 => return contradicted(gateway, partner, &mut line, &submission).await,
            status => return Err(NotAsked::Status(status)),
        }
    }
    Err(NotAsked::Status(409))
}

/// Verifies the signature, and keeps it beside the store with those of the others.
fn signed(
    gateway: &Gateway,
    partner: &Partner,
    keys: &[WitnessKey],
    note: &str,
    newest: &Checkpoint,
    lines: &str,
) -> Result<(), NotAsked> {
    let lines = &Checkpoint::lines_of(lines, keys);
    let alone = Checkpoint::merge(note, lines)?;
    if Checkpoint::cosignatures(alone.as_bytes(), keys)?.is_empty() {
        return Err(NotAsked::NoSignature);
    }
    Checkpoint::open(alone.as_bytes(), std::slice::from_ref(gateway.log.key()))?;
    let now = gateway.now();
    let mut kept = Ok(());
    gateway.witnessing.change(|ours| {
        let before = ours
            .note
            .as_deref()
            .filter(|before| Checkpoint::claimed(before.as_bytes()).is_ok_and(|before| before == *newest));
        let merged = Checkpoint::merge(before.unwrap_or(note), lines);
        kept = merged.map(|merged| {
            keep_signed(gateway, &merged);
            ours.note = Some(merged);
            ours.signed.insert(partner.id().clone(), (newest.size, now));
        });
    });
    gateway.witnessing.signed.notify_waiters();
    tracing::debug!(witness = %partner.id(), size = newest.size, "countersigned");
    Ok(kept?)
}

/// The partner says that our log is not what it saw. Only a checkpoint that our own key signed proves it.
async fn contradicted(
    gateway: &Arc<Gateway>,
    partner: &Partner,
    line: &mut Line,
    submission: &Submission,
) -> Result<(), NotAsked> {
    let Some((note, seen)) = theirs(gateway, line).await? else { return Err(NotAsked::NoProof) };
    if seen.size > gateway.log.size() {
        stop_signing(gateway, partner, &note, &seen).await;
        // Nobody knows what else is old: the next start is read-only, and says why.
        std::process::abort();
    }
    if root_at(gateway, seen.size).await? == seen.root {
        return Err(NotAsked::NoProof);
    }
    let told = format!("refused by {}\n\n{}\nseen there\n\n{note}", partner.id(), submission.to_body());
    let what = |evidence| Alarm::Forked { partner: partner.id().clone(), root: seen.root, evidence };
    // It is refused at every round: once is enough.
    if !alarm::is_known(gateway, &what(seen.root))?
        && let Some(evidence) = keep_evidence(gateway, partner.id(), told).await
    {
        tracing::error!(witness = %partner.id(), size = seen.size, %evidence, "our log is not what our key signed before");
        alarm::raise(gateway, what(evidence), Happened::log_forked(partner.id(), &seen, evidence)).await?;
    }
    Err(NotAsked::Forked)
}

/// What the partner saw last of our log; `None` when it shows nothing that our key signed.
async fn theirs(gateway: &Gateway, line: &mut Line) -> Result<Option<(String, Checkpoint)>, DeliverError> {
    let key = gateway.log.key();
    let answer = line.seen_checkpoint(Digest::of(key.name().as_str().as_bytes())).await?;
    let seen = Checkpoint::open(answer.body.as_bytes(), std::slice::from_ref(key));
    Ok(seen.ok().filter(|_| answer.status == 200).map(|seen| (answer.body, seen)))
}

/// Puts the later checkpoint in the place of our newest one: with it there, no log that is behind it signs or opens.
async fn stop_signing(gateway: &Arc<Gateway>, partner: &Partner, note: &str, seen: &Checkpoint) {
    let found = gateway.log.size();
    let told = format!("held by {}\n\n{note}\nour own\n\n{}", partner.id(), gateway.log.checkpoint());
    keep_evidence(gateway, partner.id(), told).await;
    tracing::error!(
        witness = %partner.id(), signed = seen.size, found,
        "this gateway was set back: a witness holds a later checkpoint that our key signed; nothing more is signed"
    );
    if let Err(error) = durable::replace(&gateway.home.head().join("checkpoint"), note.as_bytes(), 0o644) {
        tracing::error!(%error, "the later checkpoint could not be kept");
    }
}

/// Tells when the log grew and too few have signed under it for too long: once, and once more when they have.
async fn watch_over(gateway: &Arc<Gateway>) {
    if let Err(problem) = judge_wait(gateway).await {
        tracing::error!(%problem, "it could not be told how long the log waits for signatures");
    }
}

async fn judge_wait(gateway: &Arc<Gateway>) -> Result<(), Problem> {
    let now = gateway.now();
    let (size, countersigned) = (gateway.log.size(), covered(gateway)?);
    let since = if countersigned >= size { None } else { Some(waiting_since(gateway, countersigned)?) };
    let waits = since.map_or(0, |since| now.as_second().saturating_sub(since.as_second()));
    let is_late = waits >= i64::from(gateway.config.witness.alarm_s);
    match alarm::standing(gateway, OVERDUE)? {
        None if is_late => {
            tracing::error!(size, countersigned, waits, "too few have signed under our log for too long");
            let what = Alarm::Overdue { entries: size, countersigned };
            alarm::raise(gateway, what, Happened::not_countersigned(size, countersigned)).await
        }
        Some(row) if !is_late => {
            tracing::info!(size, countersigned, "enough have signed under our log again");
            alarm::end(gateway, row, AlarmEnd::Recovered { at: stamp(now) }).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// When the first entry was recorded that is not countersigned. Where nobody ever signed, the wait begins with the first
/// look: a gateway that has just got its first partner is not late.
fn waiting_since(gateway: &Gateway, countersigned: u64) -> Result<Timestamp, Problem> {
    if countersigned == 0 {
        let mut since = gateway.now();
        gateway.witnessing.change(|ours| since = *ours.waiting_since.get_or_insert(since));
        return Ok(since);
    }
    gateway.witnessing.change(|ours| ours.waiting_since = None);
    let entries = gateway.log.reader().entries(countersigned, 1);
    let entries = entries.map_err(|error| Problem::internal("the log", &error))?;
    let line = entries.into_iter().next().map(|(_, line)| line).unwrap_or_default();
    let at = Link::read(&line).and_then(|link| read_stamp(std::str::from_utf8(&link.at).ok()?));
    Ok(at.unwrap_or_else(|| gateway.now()))
}

async fn proof(gateway: &Arc<Gateway>, old: u64, size: u64) -> Result<Vec<Digest>, Problem> {
    if old == 0 || old >= size {
        return Ok(Vec::new());
    }
    with_tree(gateway, move |tree| consistency(old, size, tree)).await
}

pub(super) async fn root_at(gateway: &Arc<Gateway>, size: u64) -> Result<Digest, Problem> {
    with_tree(gateway, move |tree| Ok(proof::root(size, tree)?)).await
}

/// Reads a few tiles of the log's tree, and never the whole log.
async fn with_tree<T: Send + 'static>(
    gateway: &Arc<Gateway>,
    read: impl FnOnce(&Stored<'_>) -> Result<T, ProveError<StoreError>> + Send + 'static,
) -> Result<T, Problem> {
    let log = gateway.log.clone();
    let reading = tokio::task::spawn_blocking(move || read(&log.reader().tree()));
    let read = reading.await.map_err(|error| Problem::internal("the log", &error))?;
    read.map_err(|error| Problem::internal("the log", &error))
}

/// How often one checkpoint is brought in one round: once more after the partner said what it remembers.
const TRIES: usize = 3;
