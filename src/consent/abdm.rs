//! Consent artefacts of India's health network (ABDM): read strictly, believed only under their manager's signature.
//!
//! Rule: the signature is verified over the bytes as they came, at every reading. An artefact only ever permits; what
//! it is limited by and medseal cannot evaluate makes it permit nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::tree::Tree;
use super::{Consent, ConsentError};
use crate::id::{Digest, InstitutionId};
use crate::keys::{ConsentManagers, ManagerError};

mod detail;
mod tables;

pub(crate) use tables::{HI_TYPES, PURPOSES};

/// Under this system stands a patient's ABHA number, such as `91-1234-5678-9012`.
pub const ABHA_NUMBER_SYSTEM: &str = "https://healthid.ndhm.gov.in";

/// Under this system stands a patient's ABHA address, such as `asha@abdm`. It has a system of its own, because another
/// value under the same one would be another patient.
pub const ABHA_ADDRESS_SYSTEM: &str = "https://healthid.ndhm.gov.in/abha-address";

/// Whom an artefact may come from, and whom its ids mean.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// Whose signatures count.
    pub managers: &'a ConsentManagers,
    /// Our own id as the provider of the records.
    pub hip: Option<&'a str>,
    /// Which institution an id of a recipient means; one that is not listed means nobody.
    pub recipients: &'a BTreeMap<String, InstitutionId>,
}

impl Network<'_> {
    /// Digest of whom the ids mean: with another table the same artefact may name another recipient.
    pub fn meaning(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&(self.hip, self.recipients)).expect("names serialise"))
    }
}

/// What a notification of a consent manager is about, before anything in it is believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The manager's id of the artefact.
    pub artefact: String,
    /// Whether it stands, and if not, what became of it.
    pub status: NoticeStatus,
    /// Whether it carries the artefact's text and a signature.
    pub signed: bool,
}

/// What a notification says of an artefact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoticeStatus {
    /// The patient has granted it.
    Granted,
    /// It does not stand, or no longer: the word for it.
    Ended(&'static str),
}

impl Notice {
    /// Reads what a notification is about; `None` when the bytes are something else.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, ConsentError> {
        let tree = Tree::read(bytes)?;
        if is_notification(&tree) { open(bytes, &tree).map(|open| Some(open.notice)) } else { Ok(None) }
    }

    /// Refuses a signed notification whose signature does not verify; one that claims none is passed.
    pub fn verify(bytes: &[u8], network: &Network<'_>) -> Result<(), ConsentError> {
        let tree = Tree::read(bytes)?;
        match open(bytes, &tree)?.signed {
            Some(signed) => signed.verify(network),
            None => Ok(()),
        }
    }
}

/// Whether this is a notification of a consent manager rather than a FHIR resource.
pub(super) fn is_notification(tree: &Tree) -> bool {
    tree.get("notification").is_some()
}

/// Reads an artefact as a consent, after its signature was verified.
pub(super) fn read(bytes: &[u8], tree: &Tree, network: &Network<'_>) -> Result<Consent, ConsentError> {
    let open = open(bytes, tree)?;
    if let NoticeStatus::Ended(_) = open.notice.status {
        return Err(unsupported("notification.status", "is not GRANTED, so it permits nothing"));
    }
    let signed = open.signed.ok_or(ConsentError::BadSignature { what: "it has no signature" })?;
    signed.verify(network)?;
    detail::read(signed.tree, network)
}

struct Open<'a> {
    notice: Notice,
    signed: Option<Signed<'a>>,
}

/// What the manager signed, byte for byte, and its signature.
struct Signed<'a> {
    bytes: &'a [u8],
    tree: &'a Tree,
    manager: &'a str,
    signature: &'a str,
}

impl Signed<'_> {
    fn verify(&self, network: &Network<'_>) -> Result<(), ConsentError> {
        let signature = BASE64
            .decode(self.signature)
            .map_err(|_| ConsentError::BadSignature { what: "its signature is not base64" })?;
        network.managers.verify(self.manager, self.bytes, &signature).map_err(|error| match error {
            ManagerError::Forged => ConsentError::BadSignature { what: "the signature does not fit these bytes" },
            cause => {
                let manager = self.manager.chars().filter(|c| !c.is_control()).take(64).collect();
                ConsentError::Unverified { manager, cause }
            }
        })
    }
}

/// The part of a notification whose bytes are signed, where it begins and ends.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    notification: RawNotification<'a>,
}

#[derive(Deserialize)]
struct RawNotification<'a> {
    #[serde(borrow, rename = "consentDetail")]
    detail: Option<&'a RawValue>,
}

fn open<'a>(bytes: &'a [u8], tree: &'a Tree) -> Result<Open<'a>, ConsentError> {
    detail::check(tree)?;
    let notification = tree.get("notification").ok_or_else(|| invalid("notification", "present"))?;
    let artefact = notification.text("consentId").ok_or_else(|| invalid("notification.consentId", "present"))?;
    if artefact.len() > ID_BYTES_MAX || !artefact.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid("notification.consentId", "at most 128 visible ASCII characters"));
    }
    let status = match notification.text("status") {
        Some("GRANTED") => NoticeStatus::Granted,
        Some("REQUESTED") => NoticeStatus::Ended("requested"),
        Some("DENIED") => NoticeStatus::Ended("denied"),
        Some("REVOKED") => NoticeStatus::Ended("revoked"),
        Some("EXPIRED") => NoticeStatus::Ended("expired"),
        Some("PAUSED") => NoticeStatus::Ended("paused"),
        _ => return Err(invalid("notification.status", "REQUESTED, GRANTED, DENIED, REVOKED, EXPIRED or PAUSED")),
    };
    let signed = match (notification.get("consentDetail"), notification.text("signature")) {
        (None, None) => None,
        (None, Some(_)) => return Err(ConsentError::BadSignature { what: "it lacks the text that was signed" }),
        (Some(_), None) => return Err(ConsentError::BadSignature { what: "it has no signature" }),
        (Some(tree), Some(signature)) => {
            let raw: Raw<'_> = serde_json::from_slice(bytes).map_err(ConsentError::Json)?;
            let raw = raw.notification.detail.ok_or_else(|| invalid("notification.consentDetail", "an object"))?;
            let manager = tree.get("consentManager").and_then(|manager| manager.text("id"));
            let manager = manager.ok_or_else(|| invalid("notification.consentDetail.consentManager.id", "present"))?;
            if tree.text("consentId") != Some(artefact) {
                return Err(ConsentError::Ambiguous { what: "the notification and the artefact have different ids" });
            }
            Some(Signed { bytes: raw.get().as_bytes(), tree, manager, signature })
        }
    };
    let notice = Notice { artefact: artefact.to_owned(), status, signed: signed.is_some() };
    Ok(Open { notice, signed })
}

fn invalid(at: &str, expected: &'static str) -> ConsentError {
    ConsentError::Invalid { at: at.to_owned(), expected }
}

fn unsupported(at: &str, what: &'static str) -> ConsentError {
    ConsentError::Unsupported { at: at.to_owned(), what }
}

const ID_BYTES_MAX: usize = 128;
