//! What a consent manager tells of an artefact: granted, revoked, ended in another way.
//!
//! Rule: one artefact is on file once. Whatever word but "granted" comes of it withdraws it, for good: an artefact that
//! was revoked is not revived by the older word that granted it.

use super::{ConsentView, Staff, described, found, unusable, withdraw};
use crate::consent::{Notice, NoticeStatus};
use crate::gateway::{Gateway, put};
use crate::id::{ConsentId, Digest};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::store::{Expect, Put, Space};

/// Does what the notice asks for; `None`: it grants an artefact that is new here, which is to be recorded.
pub(super) async fn take(
    gateway: &Gateway,
    staff: Staff,
    bytes: &[u8],
    notice: &Notice,
) -> Result<Option<ConsentView>, Problem> {
    let on_file = gateway.row::<ConsentId>(Space::Index, &key(notice))?.map(|row| row.value);
    match (notice.status, on_file) {
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

/// The put that finds the consent again by the artefact's id.
pub(super) fn index(notice: &Notice, consent: &ConsentId) -> Put {
    put(Space::Index, &key(notice), consent, Expect::Absent)
}

/// The manager's id is kept as a digest: the store never forgets, and the id alone leads to the patient elsewhere.
fn key(notice: &Notice) -> Vec<u8> {
    format!("abdm/{}", Digest::of(notice.artefact.as_bytes())).into_bytes()
}
