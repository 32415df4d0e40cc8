//! The details that an export does not open, counted from its entries alone.
//!
//! Rule: erased is what an entry says to be of an erased person; whatever else is not opened here counts as sealed.

use std::collections::BTreeSet;
use std::io;

use memchr::{memchr, memmem};

use super::Report;
use crate::audit::happened::ERASURE;
use crate::id::SubjectId;
use crate::leaf::Leaf;

/// How many entries commit to a detail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::audit) struct Commitments {
    /// All of them.
    pub(in crate::audit) all: u64,
    /// Those about somebody who was erased, as far as these entries say.
    pub(in crate::audit) erased: u64,
}

impl Report {
    /// Takes over how many commitments the verified entries have.
    pub(in crate::audit) const fn count(&mut self, found: Commitments) {
        self.erased = found.erased;
        self.sealed = found.all.saturating_sub(found.erased).saturating_sub(self.details);
    }
}

/// Counts the commitments in the entries of a log, which `lines` reads from the beginning each time.
pub(in crate::audit) fn count<L: Iterator<Item = io::Result<Vec<u8>>>>(
    lines: impl Fn() -> L,
) -> io::Result<Commitments> {
    let (mut found, mut erased, erasures) = (Commitments::default(), BTreeSet::new(), Erasures::new());
    for line in lines() {
        let line = line?;
        found.all += u64::from(commits(&line));
        erased.extend(erasures.of(&line));
    }
    if !erased.is_empty() {
        // Entries about a person stand before the erasure.
        for line in lines() {
            let line = line?;
            found.erased += u64::from(commits(&line) && is_about(&line, &erased));
        }
    }
    Ok(found)
}

/// The subjects of whom an entry says that they were erased.
pub(super) fn erased_subjects(lines: impl Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<BTreeSet<SubjectId>> {
    let erasures = Erasures::new();
    let mut erased = BTreeSet::new();
    for line in lines {
        erased.extend(erasures.of(&line?));
    }
    Ok(erased)
}

/// Finds the entries of erasures without reading the others.
struct Erasures(memmem::Finder<'static>);

impl Erasures {
    fn new() -> Self {
        Self(memmem::Finder::new(&format!("\"kind\":\"{ERASURE}\"")).into_owned())
    }

    /// Who was erased, if this entry says so.
    fn of(&self, line: &[u8]) -> Option<SubjectId> {
        self.0.find(line)?;
        Leaf::read(line).ok().filter(|leaf| leaf.kind == ERASURE)?.subject
    }
}

/// Whether an entry is about one of these subjects.
pub(super) fn is_about(line: &[u8], subjects: &BTreeSet<SubjectId>) -> bool {
    let subject = Leaf::read(line).ok().and_then(|leaf| leaf.subject);
    subject.is_some_and(|subject| subjects.contains(&subject))
}

/// Whether an entry commits to a detail. Reading every entry of a large log as JSON would take longer than verifying it.
fn commits(line: &[u8]) -> bool {
    let has_field = memmem::find(line, br#""det":""#).is_some();
    // In an entry without an object inside, the field can only be its own.
    let is_flat = || line.get(1..).is_some_and(|inside| memchr(b'{', inside).is_none());
    has_field && (is_flat() || Leaf::read(line).is_ok_and(|leaf| leaf.detail.is_some()))
}
