//! A receipt: the receiver's signed word that it stored a bundle and recorded it.
//!
//! Rule: a [`Receipt`] in hand has verified, names the dispatch that we sent, and nothing else makes one.

use serde::{Deserialize, Serialize};

use super::{LogHead, Signed, StatementError};
use crate::id::{BundleId, CaseId, Digest, InstitutionId, SubjectId};
use crate::signature::{Namespace, Signer, VerifyingKey};

/// What a receipt says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptText {
    /// `medseal-receipt@v1`.
    pub format: String,
    /// SHA-256 of the dispatch that it answers.
    pub dispatch: Digest,
    /// The bundle.
    pub bundle: BundleId,
    /// Who signs: the receiver of the bundle.
    pub from: InstitutionId,
    /// Who sent the bundle.
    pub to: InstitutionId,
    /// When this dispatch was received.
    pub received: String,
    /// When the bundle itself was first received: earlier where a dispatch came twice.
    pub first_received: String,
    /// `stored`: durable at the receiver, not yet read.
    pub state: String,
    /// The receiver's log with the reception in it.
    pub head: LogHead,
}

impl ReceiptText {
    /// A receipt for a bundle that is stored and recorded.
    pub fn stored(
        dispatch: Digest,
        bundle: BundleId,
        from: InstitutionId,
        to: InstitutionId,
        received: String,
        first_received: String,
        head: LogHead,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            dispatch,
            bundle,
            from,
            to,
            received,
            first_received,
            state: "stored".to_owned(),
            head,
        }
    }

    /// The receipt, signed. The same receipt gives the same bytes every time.
    pub fn sign(&self, signer: &Signer) -> Signed {
        Signed::make(self, Namespace::Receipt, signer)
    }
}

/// What a receipt is about in our own log; it does not travel.
#[derive(Clone, Debug)]
pub struct About {
    /// The case.
    pub case: CaseId,
    /// The patient's pseudonym.
    pub subject: SubjectId,
}

/// A receipt that verified.
#[derive(Debug)]
#[must_use = "a receipt that is not recorded delivers nothing"]
pub struct Receipt {
    text: ReceiptText,
    signed: Signed,
    about: About,
}

impl Receipt {
    /// Verifies the partner's answer to the dispatch with this digest.
    pub fn verify(
        signed: Signed,
        dispatch: &Digest,
        bundle: &BundleId,
        partner: &InstitutionId,
        us: &InstitutionId,
        keys: &[VerifyingKey],
        about: About,
    ) -> Result<Self, StatementError> {
        let text: ReceiptText = signed.read(KIND, Namespace::Receipt, keys)?;
        if text.format != FORMAT || text.state != "stored" {
            return Err(StatementError::Form { kind: KIND, why: "its format or state is not known".to_owned() });
        }
        let wrong = |field| Err(StatementError::Mismatch { kind: KIND, field });
        if text.dispatch != *dispatch {
            return wrong("dispatch");
        }
        if text.bundle != *bundle {
            return wrong("bundle");
        }
        if text.from != *partner {
            return wrong("receiver");
        }
        if text.to != *us {
            return wrong("sender");
        }
        Ok(Self { text, signed, about })
    }

    /// What it says.
    pub const fn text(&self) -> &ReceiptText {
        &self.text
    }

    /// What it is about in our own log.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The statement as it came, to be kept.
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }
}

const FORMAT: &str = "medseal-receipt@v1";
const KIND: &str = "receipt";
