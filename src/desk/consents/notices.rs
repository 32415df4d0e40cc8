//! What a consent manager tells of an artefact: granted, revoked, ended in another way.
//!
//! Rule: one artefact is on file once, and no id of one stands here: it leads to the patient elsewhere. Whatever word but "granted" comes of it withdraws it, for good: an artefact that
//! was revoked is not revived by the older word that granted it.

use super::{ConsentView, Staff, described, found, unusable, withdraw};
use crate::consent::{Notice, NoticeStatus};
use crate::gateway::{Gateway, put};
use crate::id::{ConsentId, Digest, PatientIdentifier, SubjectId};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::store::{Expect, Put, Space};
use crate::subject::SubjectError;

/// Does what the notice asks for; `None`: it grants an artefact that is new here, which is to be recorded.
pub(super) async fn take(
    gateway: &Gateway,
    staff: Staff,
    bytes: &[u8],
    notice: &Notice,
) -> Result<Option<ConsentView>, Problem> {
    match (notice.status, on_file(gateway, notice)?) {
        (NoticeStatus::Granted, None) => Ok(None),
        (NoticeStatus::Granted, Some(id)) => Err(match found(gateway, &id)?.value.withdrawn {
            Some(_) => {
                Problem::bad_input(Reason::ConsentWithdrawn, format!("this artefact is on file as {id}, withdrawn"))
                    .hint("a new decision of the patient has a new artefact: ask the consent manager for that one")
            }
            None => Problem::conflict(format!("this artefact is on file already, as {id}"))
                .hint(format!("`medseal consent show {id}` shows it")),
        }),
        (NoticeStatus::Ended(word), None) => {
            let said = format!("this artefact is {word} and was never on file here, so there is nothing to withdraw");
            Err(Problem::bad_input(Reason::ConsentInactive, said))
        }
        (NoticeStatus::Ended(word), Some(id)) => {
            Notice::verify(bytes, &gateway.network()).map_err(|error| {
                unusable(&error)
                    .hint(format!("if the patient has withdrawn: `medseal consent withdraw {id} --reason TEXT`"))
            })?;
            let mut cancelled = Vec::new();
            if found(gateway, &id)?.value.withdrawn.is_none() {
                let proof = if notice.signed { "signed" } else { "not signed" };
                let reason = format!("{word} at the consent manager (its notification, {proof})");
                cancelled = withdraw(gateway, staff, &id, &reason).await?.cancelled;
            }
            let view = described(gateway, &found(gateway, &id)?.value)?;
            Ok(Some(ConsentView { cancelled, ..view }))
        }
    }
}

/// The put that finds the consent again by the artefact's id, which becomes one more name of the patient. The key is made
/// under the patient's key: with an erasure it is noise, and the name is gone.
pub(super) fn index(
    gateway: &Gateway,
    subject: &SubjectId,
    notice: &Notice,
    consent: &ConsentId,
) -> Result<Put, Problem> {
    let unable = |error: SubjectError| match error {
        SubjectError::Taken => Problem::conflict("an artefact of this id is on file for another patient"),
        other => Problem::internal("the subjects' keys", &other),
    };
    // The name first: an artefact whose consent a crash kept away is not on file.
    gateway.subjects.add_alias(&name(notice)?, subject).map_err(unable)?;
    let key = key(gateway, subject, notice)?.ok_or_else(|| Problem::conflict("the patient was erased meanwhile"))?;
    Ok(put(Space::Index, &key, consent, Expect::Absent))
}

fn on_file(gateway: &Gateway, notice: &Notice) -> Result<Option<ConsentId>, Problem> {
    if let Some(subject) = gateway.find_subject(&name(notice)?)?
        && let Some(key) = key(gateway, &subject, notice)?
        && let Some(row) = gateway.row(Space::Index, &key)?
    {
        return Ok(Some(row.value));
    }
    // Where an earlier version put it.
    let plain = format!("abdm/{}", Digest::of(notice.artefact.as_bytes()));
    Ok(gateway.row(Space::Index, plain.as_bytes())?.map(|row| row.value))
}

fn name(notice: &Notice) -> Result<PatientIdentifier, Problem> {
    let digest = Digest::of(notice.artefact.as_bytes()).to_string();
    PatientIdentifier::new("urn:medseal:abdm-artefact", &digest)
        .map_err(|error| Problem::internal("the name of an artefact", &error))
}

/// `None`: the patient was erased.
fn key(gateway: &Gateway, subject: &SubjectId, notice: &Notice) -> Result<Option<Vec<u8>>, Problem> {
    let of = gateway.subjects.key(subject).map_err(|error| Problem::internal("a subject's key", &error))?;
    Ok(of.map(|of| format!("abdm/{}", of.mac("abdm-artefact", notice.artefact.as_bytes())).into_bytes()))
}
