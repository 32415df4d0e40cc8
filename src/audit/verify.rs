//! Verifies a log from its lines, a checkpoint and a key, and names the first bad entry.
//!
//! Rule: it believes nothing that it has not hashed, and it needs nothing of the gateway that wrote the lines.

mod cores;
mod lines;
mod sealed;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::audit::note::{Checkpoint, LogKey, NoteError};
use crate::audit::reader::{Detail, DetailError, OPENING_BYTES_MAX, Opening, Reader};
use crate::audit::tree::Frontier;
use crate::id::{Digest, SubjectId};
use crate::json::{self, JsonError};
use crate::leaf::{self, LEAF_BYTES_MAX, Leaf, Link, NO_LEAF};

use self::cores::Sound;
pub(super) use self::lines::Lines;
pub(super) use self::sealed::count as count_commitments;

/// What a verification found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Whether there is no finding.
    pub ok: bool,
    /// How many entries were verified, up to the finding if there is one.
    pub entries: u64,
    /// How many of them a verified checkpoint covers.
    pub signed: u64,
    /// How many sealed details were opened and fit their entries.
    pub details: u64,
    /// How many can be opened no more because their subject was erased, as an entry says.
    #[serde(default)]
    pub erased: u64,
    /// How many an export leaves sealed: it has what commits to them, and not the details. None in a home.
    #[serde(default)]
    pub sealed: u64,
    /// The root over the verified entries.
    pub root: Digest,
    /// The first thing that is wrong.
    pub finding: Option<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The first entry concerned.
    pub seq: u64,
    /// What kind of wrong.
    pub kind: Kind,
    /// One sentence for a person, without a full stop.
    pub message: String,
}

/// What kind of wrong was found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The entry is not what was recorded.
    Edited,
    /// The entry is not there, and a later one is.
    Missing,
    /// The entry stands in another place.
    Reordered,
    /// The log ends before the entry, but a checkpoint covers it.
    Truncated,
    /// The log holds together, but is not the one of a checkpoint that the reader trusts.
    Forked,
    /// The checkpoint is not signed by a key that the reader trusts; `seq` is the number of entries.
    BadSignature,
    /// An opened detail is not what the entry commits to.
    DetailMismatch,
    /// A sealed detail has no key any more, and no entry says that its subject was erased.
    KeyGone,
    /// The entry was recorded and signed in a form that the log does not have.
    Malformed,
    /// The entry stands behind all that the checkpoint covers.
    Unsigned,
    /// Fewer witnesses than the reader wants signed under the checkpoint; `seq` is the number of entries.
    NotCountersigned,
    /// The store does not say of a bundle what the entry says; `seq` is the number of entries if none says anything.
    Unaccounted,
    /// A file of an export, or a kept time stamp, is missing, surplus or changed; `seq` is the number of entries.
    BadFile,
}

impl Kind {
    /// The word for it, as it stands in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::Forked => "forked",
            Self::BadSignature => "bad-signature",
            Self::DetailMismatch => "detail-mismatch",
            Self::KeyGone => "key-gone",
            Self::Malformed => "malformed",
            Self::Unsigned => "unsigned",
            Self::NotCountersigned => "not-countersigned",
            Self::Unaccounted => "unaccounted",
            Self::BadFile => "bad-file",
        }
    }
}

/// What the lines are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The signed checkpoint of these lines.
    pub checkpoint: Option<&'a [u8]>,
    /// Whose signature counts.
    pub keys: &'a [LogKey],
    /// A checkpoint that the reader kept from earlier: it shows what a stolen key could hide.
    pub trusted: Option<&'a Checkpoint>,
    /// What entries behind the checkpoint mean.
    pub behind: Behind,
}

/// What entries behind the checkpoint mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behind {
    /// The log is growing, and its next checkpoint comes within a second.
    Growth,
    /// Somebody added them.
    Finding,
}

/// Verifies the entries in these files, in order, together with the details that were opened, on every core. Calls
/// `progress` with the number of entries now and then.
pub fn verify_files(
    files: &[PathBuf],
    details: Option<&PathBuf>,
    against: &Against<'_>,
    mut progress: impl FnMut(u64),
) -> io::Result<Report> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let checkpoint = against.checkpoint.map(|note| Checkpoint::open(note, against.keys));
    let signed = checkpoint.as_ref().and_then(|checkpoint| checkpoint.as_ref().ok());
    let mut walk = Walk::new(signed, against.trusted);
    let lines = |files: &[PathBuf], bytes_max| Lines::of(files.to_vec(), bytes_max);
    let openings = lines(details.cloned().as_slice(), OPENING_BYTES_MAX);
    let Some(sound) = cores::sound(files, &walk.sizes(), cores, &mut progress)? else {
        return verify_with_details(lines(files, LEAF_BYTES_MAX), openings, against, progress);
    };
    walk.arrive(sound);
    let mut openings = Details::new(openings);
    if details.is_some() {
        for (seq, line) in (0..).zip(lines(files, LEAF_BYTES_MAX)) {
            openings.compare(seq, &line?)?;
        }
    }
    let compared = walk.compare(checkpoint.as_ref().map(Result::as_ref), against);
    let finding = compared.or(openings.end()?);
    Ok(walk.report(signed, openings.opened, finding))
}

/// Verifies lines, without their final newlines. Calls `progress` with the number of entries now and then.
pub fn verify_lines(
    lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    against: &Against<'_>,
    progress: impl FnMut(u64),
) -> io::Result<Report> {
    verify_with_details(lines, std::iter::empty(), against, progress)
}

/// Verifies the lines of a part of a log: from the end of `tree`, whose last leaf is `before`, to that of `end`, whose
/// root others have verified.
pub(super) fn verify_part(
    mut lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    (tree, before): (Frontier, Digest),
    end: &Checkpoint,
    trusted: Option<&Checkpoint>,
    mut progress: impl FnMut(u64),
) -> io::Result<Report> {
    let against = Against { checkpoint: None, keys: &[], trusted, behind: Behind::Finding };
    let first = tree.size();
    let mut walk = Walk::new(Some(end), trusted);
    (walk.seq, walk.frontier, walk.before) = (first, tree, before);
    let mut finding = None;
    while let Some(line) = lines.next() {
        let line = line?;
        if let Err(suspect) = walk.step(&line) {
            finding = Some(walk.judge(suspect, &line, &mut lines)?);
            break;
        }
        if walk.seq.is_multiple_of(PROGRESS_EVERY) {
            progress(walk.seq - first);
        }
    }
    if finding.is_none() {
        walk.finish();
        finding = walk.compare(Some(Ok(end)), &against);
    }
    let mut report = walk.report(Some(end), 0, finding);
    report.entries -= first;
    report.signed -= first;
    Ok(report)
}

/// [`verify_lines`], together with the lines of `details.jsonl`, in the order of their entries.
pub fn verify_with_details(
    mut lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    details: impl Iterator<Item = io::Result<Vec<u8>>>,
    against: &Against<'_>,
    mut progress: impl FnMut(u64),
) -> io::Result<Report> {
    let checkpoint = against.checkpoint.map(|note| Checkpoint::open(note, against.keys));
    let signed = checkpoint.as_ref().and_then(|checkpoint| checkpoint.as_ref().ok());
    let mut walk = Walk::new(signed, against.trusted);
    let mut details = Details::new(details);
    let mut finding = None;
    while let Some(line) = lines.next() {
        let line = line?;
        if let Err(suspect) = walk.step(&line) {
            finding = Some(walk.judge(suspect, &line, &mut lines)?);
            break;
        }
        details.compare(walk.seq - 1, &line)?;
        if walk.seq.is_multiple_of(PROGRESS_EVERY) {
            progress(walk.seq);
        }
    }
    if finding.is_none() {
        walk.finish();
        let checkpoint = checkpoint.as_ref().map(Result::as_ref);
        finding = walk.compare(checkpoint, against).or(details.end()?);
    }
    progress(walk.seq);
    Ok(walk.report(signed, details.opened, finding))
}

/// Opens every detail of a home's own log and compares it with its entry; `Ok(Err(..))` is the first that does not fit.
///
/// A detail whose key was destroyed is counted as sealed, not as a finding.
pub fn verify_home_details(reader: &Reader, mut progress: impl FnMut(u64)) -> io::Result<Result<Counts, Finding>> {
    let mut counts = Counts::default();
    let erased = sealed::erased_subjects(reader.lines(0).map(|line| line.map_err(io::Error::other)))?;
    for seq in 0..reader.size().map_err(io::Error::other)? {
        let wrong = |message: &str| Finding { seq, kind: Kind::DetailMismatch, message: message.into() };
        match reader.detail(seq) {
            Ok(Detail::None) => {}
            Ok(Detail::Open(_)) => counts.opened += 1,
            Ok(Detail::NoKey) if is_of(reader, seq, &erased)? => counts.erased += 1,
            Ok(Detail::NoKey) => {
                let message = "the key of the sealed detail is gone, and no entry says that its subject was erased";
                return Ok(Err(Finding { seq, kind: Kind::KeyGone, message: message.into() }));
            }
            Ok(Detail::Missing) => return Ok(Err(wrong("the sealed detail that the entry commits to is not there"))),
            Err(DetailError::Mismatch(_) | DetailError::Leaf(_)) => {
                return Ok(Err(wrong("the sealed detail is not the one that the entry commits to")));
            }
            Err(other) => return Err(io::Error::other(other)),
        }
        if seq.is_multiple_of(PROGRESS_EVERY) {
            progress(seq);
        }
    }
    Ok(Ok(counts))
}

fn is_of(reader: &Reader, seq: u64, subjects: &BTreeSet<SubjectId>) -> io::Result<bool> {
    let entry = reader.entries(seq, 1).map_err(io::Error::other)?.pop();
    Ok(entry.is_some_and(|(_, line)| sealed::is_about(&line, subjects)))
}

/// How many details could be opened, and how many no longer can.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Opened, and they fit their entries.
    pub opened: u64,
    /// Their subject was erased, and an entry says so.
    pub erased: u64,
}

/// The chain so far. The newest leaf joins the tree one step later: the next line shows whether it was edited.
struct Walk {
    seq: u64,
    frontier: Frontier,
    newest: Option<(Digest, Link)>,
    /// What the first line names as the entry before it.
    before: Digest,
    signed: Mark,
    trusted: Mark,
}

/// A size at which the root is wanted.
struct Mark {
    size: Option<u64>,
    wanted: Digest,
    found: Option<Digest>,
}

/// Why a line is not the next entry, before looking at what follows it.
#[derive(Clone, Copy)]
enum Suspect {
    /// It does not begin as an entry does, or is too long.
    Shape,
    /// It has another number, and names another entry as the one before it.
    Seq(u64),
    /// It has another number, but names the right entry as the one before it.
    Number,
    /// It names another entry as the one before it.
    Prev(Digest),
    /// It is the next entry, but not in the log's form.
    Form(&'static str),
}

impl Walk {
    fn new(signed: Option<&Checkpoint>, trusted: Option<&Checkpoint>) -> Self {
        Self {
            seq: 0,
            frontier: Frontier::new(),
            newest: None,
            before: NO_LEAF,
            signed: Mark::at(signed),
            trusted: Mark::at(trusted),
        }
    }

    /// The sizes at which the root is wanted.
    fn sizes(&self) -> Vec<u64> {
        [&self.signed, &self.trusted].into_iter().filter_map(|mark| mark.size).collect()
    }

    /// Stands at the end of a log that was read another way.
    fn arrive(&mut self, Sound { tree, roots }: Sound) {
        self.seq = tree.size();
        self.frontier = tree;
        for mark in [&mut self.signed, &mut self.trusted] {
            mark.found = roots.iter().find(|(size, _)| mark.size == Some(*size)).map(|(_, root)| *root);
        }
    }

    fn report(&self, signed: Option<&Checkpoint>, details: u64, finding: Option<Finding>) -> Report {
        Report {
            ok: finding.is_none(),
            entries: self.seq,
            signed: signed.map_or(0, |signed| signed.size.min(self.seq)),
            details,
            erased: 0,
            sealed: 0,
            root: self.frontier.root(),
            finding,
        }
    }

    fn step(&mut self, line: &[u8]) -> Result<(), Suspect> {
        let link = Link::read(line).filter(|_| line.len() <= LEAF_BYTES_MAX).ok_or(Suspect::Shape)?;
        let (prev, earlier) = self.newest.as_ref().map_or((self.before, None), |(hash, link)| (*hash, Some(link.at)));
        match (link.seq == self.seq, link.prev == prev) {
            (true, true) => {}
            (true, false) => return Err(Suspect::Prev(link.prev)),
            (false, true) => return Err(Suspect::Number),
            (false, false) => return Err(Suspect::Seq(link.seq)),
        }
        if earlier.is_some_and(|earlier| link.at < earlier) {
            return Err(Suspect::Form("is older than the one before it"));
        }
        if json::check(line, LEAF_BYTES_MAX).is_err() {
            return Err(Suspect::Form("is not in the log's strict form"));
        }
        self.push_newest();
        self.newest = Some((leaf::hash(line), link));
        self.seq += 1;
        Ok(())
    }

    fn finish(&mut self) {
        self.push_newest();
        self.newest = None;
        for mark in [&mut self.signed, &mut self.trusted] {
            mark.see(&self.frontier);
        }
    }

    fn push_newest(&mut self) {
        if let Some((hash, _)) = self.newest {
            // A mark at 0 is seen before the first leaf.
            self.signed.see(&self.frontier);
            self.trusted.see(&self.frontier);
            self.frontier.push(hash);
            self.signed.see(&self.frontier);
            self.trusted.see(&self.frontier);
        }
    }

    /// Looks at what follows a suspect line, and says which entry was harmed and how.
    fn judge(
        &mut self,
        suspect: Suspect,
        line: &[u8],
        rest: &mut impl Iterator<Item = io::Result<Vec<u8>>>,
    ) -> io::Result<Finding> {
        let seq = self.seq;
        let hash = leaf::hash(line);
        let next = rest.next().transpose()?;
        let following = next.as_deref().and_then(Link::read);
        let finding = |seq, kind, message: String| Ok(Finding { seq, kind, message });
        match suspect {
            Suspect::Shape => finding(seq, Kind::Edited, format!("entry {seq} was edited: its line is not an entry")),
            Suspect::Form(what) => {
                let newest = self.newest.map(|(hash, _)| hash);
                let intact = following
                    .map_or_else(|| self.signs(newest.into_iter().chain([hash])), |following| following.prev == hash);
                if intact {
                    finding(seq, Kind::Malformed, format!("entry {seq} {what}, although it was recorded so"))
                } else {
                    finding(seq, Kind::Edited, format!("entry {seq} was edited: it {what}"))
                }
            }
            Suspect::Prev(named) => {
                // What comes after confirms this entry: then the one before is not what was recorded.
                let intact =
                    following.map_or_else(|| self.signs([named, hash].into_iter()), |following| following.prev == hash);
                let edited = if intact { seq.saturating_sub(1) } else { seq };
                finding(edited, Kind::Edited, format!("entry {edited} was edited: entry {seq} does not follow from it"))
            }
            Suspect::Number => finding(seq, Kind::Edited, format!("entry {seq} was edited: its number is another")),
            Suspect::Seq(found) if found < seq => {
                finding(found, Kind::Reordered, format!("entry {found} stands again in the place of entry {seq}"))
            }
            Suspect::Seq(found) => {
                let mut later = following.map(|following| following.seq) == Some(seq);
                while let (false, Some(line)) = (later, rest.next().transpose()?) {
                    later = Link::read(&line).is_some_and(|link| link.seq == seq);
                }
                if later {
                    finding(seq, Kind::Reordered, format!("entry {seq} stands behind entry {found}"))
                } else {
                    finding(seq, Kind::Missing, format!("entry {seq} is missing: entry {found} stands in its place"))
                }
            }
        }
    }

    /// Whether the checkpoint covers exactly the tree so far and then these leaves.
    fn signs(&self, leaves: impl Iterator<Item = Digest>) -> bool {
        let mut frontier = self.frontier.clone();
        leaves.for_each(|leaf| frontier.push(leaf));
        self.signed.size == Some(frontier.size()) && self.signed.wanted == frontier.root()
    }

    /// Compares a chain that holds with the checkpoints.
    fn compare(&self, checkpoint: Option<Result<&Checkpoint, &NoteError>>, against: &Against<'_>) -> Option<Finding> {
        let size = self.frontier.size();
        let finding = |seq, kind, message| Some(Finding { seq, kind, message });
        match checkpoint {
            Some(Err(why)) => {
                return finding(size, Kind::BadSignature, format!("the checkpoint does not count: {why}"));
            }
            Some(Ok(signed)) if size < signed.size => {
                let last = signed.size - 1;
                return finding(size, Kind::Truncated, format!("entries {size} to {last} are missing at the end"));
            }
            Some(Ok(signed)) if !self.signed.holds() => {
                let last = signed.size.saturating_sub(1);
                let message = format!("entry {last} was edited, or it and entries before it were rewritten together");
                return finding(last, Kind::Edited, message);
            }
            Some(Ok(signed)) if size > signed.size && against.behind == Behind::Finding => {
                let message = format!("the checkpoint does not cover entry {}", signed.size);
                return finding(signed.size, Kind::Unsigned, message);
            }
            Some(Ok(_)) | None => {}
        }
        let trusted = against.trusted?;
        let last = trusted.size.saturating_sub(1);
        if let Some(Ok(signed)) = checkpoint.filter(|signed| signed.is_ok_and(|signed| signed.origin != trusted.origin))
        {
            let message = format!("this is the log {}, the trusted checkpoint is of {}", signed.origin, trusted.origin);
            return finding(last, Kind::Forked, message);
        }
        if size < trusted.size {
            let message =
                format!("entries {size} to {last} are missing at the end, the trusted checkpoint covers them");
            return finding(size, Kind::Truncated, message);
        }
        if self.trusted.holds() {
            return None;
        }
        let message = format!("the first {} entries are not those of the trusted checkpoint", trusted.size);
        finding(last, Kind::Forked, message)
    }
}

impl Mark {
    fn at(checkpoint: Option<&Checkpoint>) -> Self {
        let wanted = checkpoint.map_or(NO_LEAF, |checkpoint| checkpoint.root);
        Self { size: checkpoint.map(|checkpoint| checkpoint.size), wanted, found: None }
    }

    fn see(&mut self, frontier: &Frontier) {
        if self.size == Some(frontier.size()) && self.found.is_none() {
            self.found = Some(frontier.root());
        }
    }

    fn holds(&self) -> bool {
        self.found == Some(self.wanted)
    }
}

/// The openings of an export, compared with the entries as they pass.
struct Details<I> {
    lines: I,
    next: Option<Result<Opening, String>>,
    begun: bool,
    from: u64,
    opened: u64,
    finding: Option<Finding>,
}

impl<I: Iterator<Item = io::Result<Vec<u8>>>> Details<I> {
    const fn new(lines: I) -> Self {
        Self { lines, next: None, begun: false, from: 0, opened: 0, finding: None }
    }

    fn compare(&mut self, seq: u64, line: &[u8]) -> io::Result<()> {
        self.begin()?;
        while self.finding.is_none()
            && let Some(Ok(opening)) = &self.next
            && opening.seq <= seq
        {
            if opening.seq < seq.max(self.from) || !fits(opening, line) {
                self.finding =
                    Some(mismatch(opening.seq, "the opened detail is not the one that the entry commits to"));
            } else {
                self.opened += 1;
            }
            self.from = seq + 1;
            self.advance()?;
        }
        Ok(())
    }

    /// What is left when all entries have passed belongs to no entry.
    fn end(&mut self) -> io::Result<Option<Finding>> {
        self.begin()?;
        Ok(self.finding.take().or(match &self.next {
            None => None,
            Some(Ok(opening)) => Some(mismatch(opening.seq, "there is no entry for this opened detail")),
            Some(Err(why)) => Some(mismatch(self.opened, &format!("an opened detail cannot be read: {why}"))),
        }))
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        self.advance()
    }

    fn advance(&mut self) -> io::Result<()> {
        let line = self.lines.next().transpose()?;
        self.next = line.map(|line| Opening::read(&line).map_err(|why: JsonError| why.to_string()));
        Ok(())
    }
}

fn mismatch(seq: u64, message: &str) -> Finding {
    Finding { seq, kind: Kind::DetailMismatch, message: message.into() }
}

fn fits(opening: &Opening, line: &[u8]) -> bool {
    let committed = Leaf::read(line).ok().and_then(|leaf| leaf.detail);
    let Ok(detail) = json::object_to_line(&opening.detail) else { return false };
    committed == Some(leaf::commit(&opening.salt, opening.seq, detail.as_bytes()))
}

const PROGRESS_EVERY: u64 = 4096;

#[cfg(test)]
mod tests;
