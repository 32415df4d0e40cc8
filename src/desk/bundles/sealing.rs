//! Sealing: the documents stream in, are surveyed, hashed, bagged and sealed in one pass. Plaintext never touches the
//! gateway's disk.

use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::bundle::bag::{BagError, BagWriter};
use crate::bundle::claim::Claim;
use crate::bundle::cover;
use crate::bundle::descriptor::{DescribedAnswers, DescribedOpinion, Descriptor};
use crate::bundle::document::{Confidentiality, DateRange, Document, PatientCheck};
use crate::bundle::identity::{self, Likeness, PatientOfCase};
use crate::bundle::path::{BundlePath, PathSet};
use crate::bundle::survey::{Survey, SurveyLimits, Surveyed};
use crate::bundle::tar_read::{Entries, TarError, TarLimits};
use crate::clock;
use crate::gateway::{Draft, Gateway};
use crate::id::Digest;
use crate::partner::Partner;
use crate::problem::{Item, Problem};
use crate::reason::Reason;
use crate::seal::{self, SealError, SealedFile};
use crate::statement::Kind;
use crate::statement::dispatch::SealedBundle;
use crate::vault::{BlobName, Partial, VaultError};

/// Why nothing was sealed.
pub(super) enum SealingError {
    /// The documents are not what may be sent.
    Documents { reason: Reason, items: Vec<Item> },
    /// Something else.
    Problem(Problem),
}

impl From<Problem> for SealingError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// A bundle that is sealed and lies in the vault, not yet under its name.
pub(super) struct Done {
    pub(super) documents: Vec<Document>,
    pub(super) sealed: SealedBundle,
    partial: Arc<Partial>,
}

impl Done {
    /// Gives the sealed file its name: durable from here on.
    pub(super) fn publish(&self, gateway: &Gateway) -> Result<(), Problem> {
        self.partial.publish(self.sealed.sealed_bytes).map_err(|error| vault_problem(&error)).inspect_err(|_| {
            self.discard(gateway);
        })
    }

    /// Drops the sealed file.
    pub(super) fn discard(&self, gateway: &Gateway) {
        discard(gateway, self.partial.name());
    }
}

/// Checks what can be checked before a byte comes: names, sizes, limits, the partner's keys, the room on the disk.
pub(super) fn check_claims(gateway: &Gateway, draft: &Draft) -> Result<(), Problem> {
    let limits = &gateway.config.limits;
    if draft.claims.is_empty() {
        return Err(Problem::bad_input(Reason::NothingToSend, "there is no document to send"));
    }
    if draft.claims.len() > limits.documents_max as usize {
        let (found, max) = (draft.claims.len(), limits.documents_max);
        return Err(Problem::bad_input(Reason::LimitExceeded, format!("{found} documents; {max} are allowed")));
    }
    let mut paths = PathSet::default();
    let mut bytes = 0_u64;
    for claim in &draft.claims {
        paths
            .add(&claim.path)
            .map_err(|error| Problem::bad_input(Reason::BadName, format!("{}: {error}", claim.path)))?;
        bytes = bytes.saturating_add(claim.bytes);
    }
    if bytes > limits.bundle_bytes_max {
        let max = limits.bundle_bytes_max;
        return Err(Problem::bad_input(
            Reason::LimitExceeded,
            format!("{bytes} bytes of documents; {max} are allowed"),
        ));
    }
    let queue_max = limits.queue_max as usize;
    let waiting = gateway.store().jobs(queue_max).map_err(|error| Problem::internal("the queue", &error))?.len();
    if waiting >= queue_max {
        return Err(Problem::try_again(Reason::LimitExceeded, format!("{waiting} bundles wait already")));
    }
    gateway.vault.room(bytes + bytes / 1000).map_err(|error| vault_problem(&error))?;
    recipients(gateway, draft).map(|_| ())
}

/// The documents whose heads name another patient than the case.
pub(super) fn claimed_mismatches(claims: &[Claim], patient: Option<&PatientOfCase>) -> Vec<Item> {
    let Some(patient) = patient else { return Vec::new() };
    claims
        .iter()
        .map(|claim| (claim, claim.seen.patients()))
        .filter(|(_, seen)| !seen.is_empty())
        .filter_map(|(claim, seen)| mismatch(&claim.path, &identity::compare(&seen, patient)))
        .collect()
}

/// The documents as they were claimed, for the early question.
pub(super) fn claimed_documents(gateway: &Gateway, draft: &Draft) -> Result<Vec<Document>, Problem> {
    draft
        .claims
        .iter()
        .map(|claim| {
            Ok(Document {
                path: claim.path.clone(),
                media_type: claim.seen.media_type.clone(),
                class: claim.given.class.clone().or_else(|| claim.seen.class.clone()),
                title: None,
                confidentiality: label(gateway, claim)?,
                sensitivity: claim.given.sensitivity.clone().unwrap_or_default(),
                date: claim.given.date.or(claim.seen.date),
                patient_check: PatientCheck::NotChecked,
                bytes: claim.bytes,
                sha256: Digest::from_bytes([0; 32]),
            })
        })
        .collect()
}

/// Seals the documents of a draft as they come. On any failure nothing is left in the vault.
pub(super) fn seal(gateway: &Gateway, draft: &Draft, documents: impl Read) -> Result<Done, SealingError> {
    let name = BlobName::ours(&draft.bundle);
    let partial = Arc::new(gateway.vault.begin(&name).map_err(|error| vault_problem(&error))?);
    match seal_into(gateway, draft, documents, &partial) {
        Ok((documents, sealed)) => Ok(Done { documents, sealed, partial }),
        Err(error) => {
            discard(gateway, &name);
            Err(error)
        }
    }
}

fn seal_into(
    gateway: &Gateway,
    draft: &Draft,
    from: impl Read,
    partial: &Arc<Partial>,
) -> Result<(Vec<Document>, SealedBundle), SealingError> {
    let (_, recipients) = recipients(gateway, draft)?;
    let out = AppendTo { partial: Arc::clone(partial), at: 0 };
    let sealing = seal::seal(&recipients, out).map_err(|error| Problem::internal("sealing", &error))?;
    let mut bag = BagWriter::new(sealing, &draft.bundle).map_err(bag_problem)?;
    let limits = TarLimits {
        entries_max: gateway.config.limits.documents_max,
        bytes_max: gateway.config.limits.bundle_bytes_max,
    };
    let mut entries = Entries::new(from, limits);
    let (mut documents, mut mismatches) = (Vec::new(), Vec::new());
    let mut claims = draft.claims.iter();
    while let Some(entry) = entries.next_file().map_err(|error| tar_problem(&error))? {
        let Some(claim) = claims.next().filter(|claim| claim.path == entry.path && claim.bytes == entry.bytes) else {
            return Err(documents_differ(&entry.path));
        };
        let survey_limits =
            SurveyLimits { parsed_bytes_max: gateway.config.limits.survey_bytes_max, ..SurveyLimits::default() };
        let mut survey = Survey::new(claim.path.as_str(), survey_limits);
        let sha256 = bag.document(&claim.path, claim.bytes, entry, |piece| survey.push(piece)).map_err(bag_problem)?;
        let surveyed = survey.finish();
        let (check, mismatch) = check_patient(&claim.path, &surveyed, draft);
        mismatches.extend(mismatch);
        documents.push(describe(gateway, claim, surveyed, check, sha256)?);
    }
    if let Some(missing) = claims.next() {
        return Err(documents_differ(&missing.path));
    }
    if !mismatches.is_empty() && draft.confirm_patient.is_none() {
        return Err(SealingError::Documents { reason: Reason::PatientMismatch, items: mismatches });
    }
    let descriptor = descriptor(gateway, draft, &documents);
    let (sealing, manifest_sha256) = bag.finish(&descriptor, &cover::page(&descriptor)).map_err(bag_problem)?;
    let (_, file) = sealing.finish().map_err(seal_problem)?;
    let SealedFile { sha256, bytes, header_bytes } = file;
    let sealed = SealedBundle {
        bundle: draft.bundle.clone(),
        case: draft.case.case.clone(),
        to: draft.partner.clone(),
        kind: draft.kind,
        sealed_sha256: sha256,
        sealed_bytes: bytes,
        header_bytes,
        manifest_sha256,
        recipients,
    };
    Ok((documents, sealed))
}

fn check_patient(path: &BundlePath, surveyed: &Surveyed, draft: &Draft) -> (PatientCheck, Option<Item>) {
    let Some(patient) = draft.private.patient_of_case() else { return (PatientCheck::NotChecked, None) };
    let likeness = identity::check(surveyed, &patient);
    let mismatch = mismatch(path, &likeness);
    let check = match likeness {
        Likeness::Match => PatientCheck::Match,
        Likeness::NotChecked(_) => PatientCheck::NotChecked,
        Likeness::Unknown(_) | Likeness::Conflict(_) => PatientCheck::Confirmed,
    };
    (check, mismatch)
}

fn mismatch(path: &BundlePath, likeness: &Likeness) -> Option<Item> {
    match likeness {
        Likeness::Unknown(why) | Likeness::Conflict(why) => {
            Some(Item { path: path.to_string(), code: Reason::PatientMismatch, text: why.clone() })
        }
        Likeness::Match | Likeness::NotChecked(_) => None,
    }
}

fn describe(
    gateway: &Gateway,
    claim: &Claim,
    surveyed: Surveyed,
    patient_check: PatientCheck,
    sha256: Digest,
) -> Result<Document, Problem> {
    let read = surveyed.date.and_then(|(first, last)| DateRange::new(first, last).ok());
    Ok(Document {
        path: claim.path.clone(),
        media_type: surveyed.media_type.to_owned(),
        class: claim.given.class.clone().or(surveyed.class),
        title: surveyed.title,
        confidentiality: label(gateway, claim)?,
        sensitivity: claim.given.sensitivity.clone().unwrap_or_default(),
        date: claim.given.date.or(read),
        patient_check,
        bytes: claim.bytes,
        sha256,
    })
}

fn label(gateway: &Gateway, claim: &Claim) -> Result<Confidentiality, Problem> {
    if let Some(code) = claim.given.confidentiality {
        return Ok(Confidentiality { code, assumed: false });
    }
    let code = gateway.config.intake.assumed_confidentiality.parse();
    let code = code.map_err(|error| Problem::internal("the configuration", &error))?;
    Ok(Confidentiality { code, assumed: true })
}

fn descriptor(gateway: &Gateway, draft: &Draft, documents: &[Document]) -> Descriptor {
    let opinion = draft.opinion.as_ref().map(|facts| DescribedOpinion {
        outcome: facts.outcome.word().to_owned(),
        status: facts.status.word().to_owned(),
        author: facts.author.clone(),
        registration: facts.registration.clone(),
    });
    Descriptor {
        format: Descriptor::FORMAT.to_owned(),
        kind: draft.kind.word().to_owned(),
        bundle: draft.bundle.clone(),
        case: draft.case.case.clone(),
        from: gateway.id().clone(),
        to: draft.partner.clone(),
        purpose: draft.purpose(),
        created: clock::stamp(gateway.now()),
        question: (draft.kind == Kind::Records).then(|| draft.private.question.clone()),
        patient: draft.private.patient.clone(),
        documents: documents.to_vec(),
        notices: Vec::new(),
        answers: draft
            .answers
            .as_ref()
            .map(|answers| DescribedAnswers { bundle: answers.bundle.clone(), dispatch: answers.dispatch }),
        opinion,
    }
}

fn recipients(gateway: &Gateway, draft: &Draft) -> Result<(Partner, Vec<String>), Problem> {
    let partner = gateway.partner(&draft.partner)?;
    let now = gateway.now();
    let mut recipients = partner.recipients_at(now);
    if recipients.is_empty() {
        // Nothing leaves before one of them counts; until then the bundle waits, sealed.
        recipients = partner.recipients_after(now);
    }
    if recipients.is_empty() {
        return Err(Problem::refused(Reason::PartnerExpired, format!("{} has no valid key to seal to", draft.partner)));
    }
    Ok((partner, recipients))
}

/// Writes to a partial one piece after the other.
struct AppendTo {
    partial: Arc<Partial>,
    at: u64,
}

impl Write for AppendTo {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.write_at(self.at, bytes).map_err(io::Error::other)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn documents_differ(path: &BundlePath) -> SealingError {
    let text = "the files that came are not those that were announced".to_owned();
    let items = vec![Item { path: path.to_string(), code: Reason::FileChanged, text }];
    SealingError::Documents { reason: Reason::FileChanged, items }
}

fn bag_problem(error: BagError) -> SealingError {
    match error {
        BagError::Changed { ref path, .. } | BagError::Read { ref path, .. } => documents_differ(path),
        BagError::Write(source) => write_problem(&source).into(),
        BagError::Descriptor(source) => Problem::internal("the descriptor", &source).into(),
        other => Problem::bad_input(other.reason(), other.to_string()).into(),
    }
}

fn seal_problem(error: SealError) -> Problem {
    match error {
        SealError::Write(source) => write_problem(&source),
        other => Problem::internal("sealing", &other),
    }
}

fn tar_problem(error: &TarError) -> SealingError {
    Problem::bad_input(error.reason(), error.to_string()).into()
}

fn vault_problem(error: &VaultError) -> Problem {
    match error.reason() {
        Reason::DiskFull => Problem::try_again(Reason::DiskFull, error.to_string()),
        _ => Problem::internal("the vault", error),
    }
}

fn write_problem(error: &io::Error) -> Problem {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<VaultError>()) {
        Some(error) => vault_problem(error),
        None => Problem::internal("the sealed file", error),
    }
}

fn discard(gateway: &Gateway, name: &BlobName) {
    if let Err(error) = gateway.vault.abandon(name) {
        tracing::warn!(%error, "a partial sealed file could not be removed");
    }
}
