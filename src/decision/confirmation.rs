//! Who sent a bundle, and who else at the institution confirmed it.
//!
//! Rule: an approval counts for exactly what its giver confirmed: these sealed bytes, this card of the partner, the
//! patient's consents as they stood, until its end. The sender's own never counts, and nobody counts twice.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Request;
use crate::clock::{self, Timestamp};
use crate::id::Digest;

/// One person's yes to one release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Approval {
    /// Who: the user's number at the operating system.
    pub by: u32,
    /// When.
    pub at: String,
    /// The first instant at which it counts no more.
    pub until: String,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// SHA-256 of the bag's `tagmanifest-sha256.txt`: what the documents are.
    pub manifest_sha256: Digest,
    /// The fingerprint of the partner's card.
    pub card: Digest,
    /// The patient's consents on file, as [`Request::consents_digest`] names them.
    pub consents: Digest,
}

/// Who stands behind a release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Who sent it.
    pub sent_by: u32,
    /// The sealed file and its bag, by digest; `None` before it is sealed, when nobody can have confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<(Digest, Digest)>,
    /// The approvals on file.
    pub approvals: Vec<Approval>,
}

/// What the approvals come to at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Confirmed {
    /// The people who count.
    pub by: BTreeSet<u32>,
    /// When the first of their approvals ends.
    pub until: Option<Timestamp>,
}

impl Confirmation {
    /// A release that nobody but its sender stands behind.
    pub const fn none(sent_by: u32) -> Self {
        Self { sent_by, sealed: None, approvals: Vec::new() }
    }

    fn counted(&self, card: Digest, consents: Digest, now: Timestamp) -> Confirmed {
        let mut confirmed = Confirmed::default();
        for approval in &self.approvals {
            let Some((from, until)) = clock::read_stamp(&approval.at).zip(clock::read_stamp(&approval.until)) else {
                continue;
            };
            let in_time = from <= now && now < until;
            let same = self.sealed == Some((approval.sealed_sha256, approval.manifest_sha256))
                && approval.card == card
                && approval.consents == consents;
            if in_time && same && approval.by != self.sent_by {
                confirmed.by.insert(approval.by);
                confirmed.until = Some(confirmed.until.map_or(until, |before| before.min(until)));
            }
        }
        confirmed
    }
}

impl Request {
    /// Who stands behind it beside the sender, by approvals that count at `now`.
    pub fn confirmed(&self, now: Timestamp) -> Confirmed {
        self.confirmation.counted(self.partner.card, self.consents_digest(), now)
    }

    /// Names the patient's consents on file with their versions: whatever the patient says anew makes it another one.
    pub fn consents_digest(&self) -> Digest {
        let versions: BTreeSet<String> =
            self.consents.iter().map(|kept| format!("{} {}\n", kept.id, kept.version)).collect();
        Digest::of(versions.into_iter().collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn approval(by: u32) -> Approval {
        Approval {
            by,
            at: clock::stamp(at("2026-11-22T10:00:00Z")),
            until: clock::stamp(at("2026-11-22T12:00:00Z")),
            sealed_sha256: Digest::of(b"sealed"),
            manifest_sha256: Digest::of(b"manifest"),
            card: Digest::of(b"card"),
            consents: Digest::of(b"consents"),
        }
    }

    fn count(approvals: Vec<Approval>, now: &str) -> Vec<u32> {
        let sealed = Some((Digest::of(b"sealed"), Digest::of(b"manifest")));
        let confirmation = Confirmation { sent_by: 1, sealed, approvals };
        confirmation.counted(Digest::of(b"card"), Digest::of(b"consents"), at(now)).by.into_iter().collect()
    }

    #[test]
    fn nobody_counts_twice_and_the_sender_not_at_all() {
        let eleven = "2026-11-22T11:00:00Z";
        assert_eq!(count(vec![approval(2)], eleven), [2]);
        assert_eq!(count(vec![approval(2), approval(2)], eleven), [2]);
        assert_eq!(count(vec![approval(2), approval(3)], eleven), [2, 3]);
        assert!(count(vec![approval(1)], eleven).is_empty());
    }

    #[test]
    fn an_approval_counts_for_what_was_confirmed_and_for_nothing_else() {
        type Change = (&'static str, fn(&mut Approval));
        let changes: [Change; 5] = [
            ("other sealed bytes", |approval| approval.sealed_sha256 = Digest::of(b"other")),
            ("another manifest", |approval| approval.manifest_sha256 = Digest::of(b"other")),
            ("another card", |approval| approval.card = Digest::of(b"other")),
            ("other consents", |approval| approval.consents = Digest::of(b"other")),
            ("an end that nobody can read", |approval| approval.until = "soon".to_owned()),
        ];
        for (what, change) in changes {
            let mut changed = approval(2);
            change(&mut changed);
            assert!(count(vec![changed], "2026-11-22T11:00:00Z").is_empty(), "{what}");
        }
        let nothing_sealed = Confirmation { approvals: vec![approval(2)], ..Confirmation::none(1) };
        let counted = nothing_sealed.counted(Digest::of(b"card"), Digest::of(b"consents"), at("2026-11-22T11:00:00Z"));
        assert_eq!(counted, Confirmed::default());
    }

    #[test]
    fn an_approval_has_an_end() {
        assert_eq!(count(vec![approval(2)], "2026-11-22T11:59:59Z"), [2]);
        for outside in ["2026-11-22T09:59:59Z", "2026-11-22T12:00:00Z"] {
            assert!(count(vec![approval(2)], outside).is_empty(), "{outside}");
        }
    }
}
