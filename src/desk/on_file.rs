//! Everything on file of one patient: how much, how long it must be kept, whether anything of it is on its way, and the
//! sealed files that belong to it.
//!
//! Rule: what cannot be read keeps what it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::{self, Timestamp};
use crate::gateway::{Gateway, Row};
use crate::id::SubjectId;
use crate::problem::Problem;
use crate::records::{BundleRecord, CaseRecord, ConsentRecord, ErasedCounts, InboxRecord, State};
use crate::statement::Kind;
use crate::store::Space;
use crate::vault::BlobName;

/// Everything on file of a patient.
#[derive(Debug, Default)]
pub(super) struct OnFile {
    pub(super) cases: Vec<Row<CaseRecord>>,
    pub(super) consents: Vec<Row<ConsentRecord>>,
    pub(super) bundles: Vec<Row<BundleRecord>>,
    pub(super) inbox: Vec<Row<InboxRecord>>,
}

impl OnFile {
    /// What is on file of this patient.
    pub(super) fn read(gateway: &Gateway, subject: &SubjectId) -> Result<Self, Problem> {
        let mut cases = gateway.rows::<CaseRecord>(Space::Case, b"")?;
        cases.retain(|row| row.value.subject == *subject);
        let mut inbox = Vec::new();
        for row in gateway.rows::<InboxRecord>(Space::Inbox, b"")? {
            if gateway.subject_of(&row.value)?.as_ref() == Some(subject) {
                inbox.push(row);
            }
        }
        Ok(Self { cases, consents: gateway.consents_of(subject)?, bundles: gateway.bundles_of(subject)?, inbox })
    }

    /// What is on file of everybody whose key is here.
    pub(super) fn of_everybody(gateway: &Gateway) -> Result<BTreeMap<SubjectId, Self>, Problem> {
        let mut found: BTreeMap<SubjectId, Self> = BTreeMap::new();
        for row in gateway.rows::<CaseRecord>(Space::Case, b"")? {
            found.entry(row.value.subject.clone()).or_default().cases.push(row);
        }
        for row in gateway.rows::<ConsentRecord>(Space::Consent, b"")? {
            found.entry(row.value.subject.clone()).or_default().consents.push(row);
        }
        for row in gateway.rows::<BundleRecord>(Space::Bundle, b"")? {
            found.entry(row.value.subject.clone()).or_default().bundles.push(row);
        }
        for row in gateway.rows::<InboxRecord>(Space::Inbox, b"")? {
            if let Some(subject) = gateway.subject_of(&row.value)? {
                found.entry(subject).or_default().inbox.push(row);
            }
        }
        let mut here = BTreeMap::new();
        for (subject, on_file) in found {
            if gateway.person(&subject)?.is_some() {
                here.insert(subject, on_file);
            }
        }
        Ok(here)
    }

    /// How much there is.
    pub(super) const fn counts(&self) -> ErasedCounts {
        ErasedCounts {
            cases: self.cases.len(),
            consents: self.consents.len(),
            bundles: self.bundles.len(),
            inbox: self.inbox.len(),
        }
    }

    /// What must be kept longest, and until when.
    pub(super) fn kept_until(&self, gateway: &Gateway) -> Option<(&'static str, Timestamp)> {
        let schedule = &gateway.config.retention;
        let now = gateway.now();
        let until = |what, at: &str, days: u32| (what, after(at, days, now));
        let consents = self.consents.iter().map(|row| row.value.withdrawn.as_ref().unwrap_or(&row.value.added));
        let sent = self.bundles.iter().map(|row| (row.value.kind, &row.value.created));
        let came = self.inbox.iter().map(|row| (row.value.kind, &row.value.received));
        let bundles: Vec<_> = sent.chain(came).collect();
        let opinions = bundles.iter().filter(|(kind, _)| *kind == Kind::Opinion).map(|(_, at)| *at);
        let cases = self.cases.iter().flat_map(|row| [Some(&row.value.opened), row.value.closed.as_ref()]).flatten();
        let log = bundles.iter().map(|(_, at)| *at).chain(cases).chain(consents.clone());
        let consents = consents.map(|at| until("the proof of consent", at, schedule.consents_days));
        let opinions = opinions.map(|at| until("an opinion", at, schedule.opinions_days));
        let log = log.map(|at| until("the log's account of disclosures", at, schedule.log_days));
        consents.chain(opinions).chain(log).max_by_key(|(_, until)| *until)
    }

    /// Refuses while anything is on its way: it would go on without what it rests on.
    pub(super) fn rests(&self) -> Result<(), Problem> {
        let moving = |row: &&Row<BundleRecord>| !row.value.state().is_final() || row.value.recall_is_on_its_way();
        match self.bundles.iter().find(moving) {
            None => Ok(()),
            Some(row) => Err(Problem::conflict(format!(
                "{} is still on its way; nothing was erased",
                row.value.bundle
            ))
            .hint("withdraw the consent or close the case, wait until `medseal queue` is empty of it, and ask again")
            .about(&row.value.bundle)),
        }
    }

    /// Refuses while a partner has records that could still be recalled: after an erasure nobody can any more.
    pub(super) fn is_recalled(&self) -> Result<(), Problem> {
        let lies = |row: &&Row<BundleRecord>| row.value.kind == Kind::Records && row.value.state() == State::Delivered;
        match self.bundles.iter().find(lies) {
            None => Ok(()),
            Some(Row { value: BundleRecord { bundle, partner, .. }, .. }) => Err(Problem::conflict(format!(
                "{partner} has {bundle}, which is not recalled, and after an erasure cannot be; nothing was erased"
            ))
            .hint(format!(
                "`medseal recall {bundle} --reason TEXT`, wait for the answer, and ask again; or say why not: \
                 `--without-recall WHY`"
            ))
            .about(bundle)),
        }
    }

    /// The sealed files that belong to it and are here.
    pub(super) fn sealed_files(&self, gateway: &Gateway) -> Result<Vec<BlobName>, Problem> {
        let ours = self.bundles.iter().filter(|row| row.value.sealed.is_some());
        let ours = ours.map(|row| BlobName::ours(&row.value.bundle));
        let theirs = self.inbox.iter().map(|row| &row.value);
        let theirs = theirs.map(|row| BlobName::theirs(&row.from, &row.bundle, &row.sealed_sha256));
        let consents: BTreeSet<_> = self.consents.iter().map(|row| &row.value.consent).collect();
        let kept = gateway.vault.list().map_err(|error| Problem::internal("the vault", &error))?;
        let named: BTreeSet<String> = ours.chain(theirs).map(|name| name.as_str().to_owned()).collect();
        let wanted = |name: &BlobName| {
            named.contains(name.as_str()) || name.evidence_of().is_some_and(|consent| consents.contains(&consent))
        };
        Ok(kept.into_iter().filter(wanted).collect())
    }
}

/// So many days after a time. One that cannot be read counts as now: it keeps what it belongs to.
pub(super) fn after(at: &str, days: u32, now: Timestamp) -> Timestamp {
    let at = clock::read_stamp(at).unwrap_or(now);
    at.checked_add(jiff::SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX)
}
