//! A recall, and the answer to it: the sender wants a delivered bundle destroyed, the receiver says what it did.
//!
//! Rule: a [`Recall`] leaves only as it was recorded; a [`Recalled`] in hand has verified, answers the recall that we
//! sent, and nothing else makes one.

use serde::{Deserialize, Serialize};

use super::receipt::About;
use super::{LogHead, Signed, StatementError};
use crate::clock;
use crate::id::{BundleId, CaseId, Digest, InstitutionId};
use crate::reason::Reason;
use crate::signature::{Namespace, Signer, VerifyingKey};

/// Why a bundle is recalled. What a person wrote about it stays in the sender's log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Cause {
    /// The patient has withdrawn the consent that it was released under.
    #[serde(rename = "CONSENT_WITHDRAWN")]
    ConsentWithdrawn,
    /// It was sent by mistake, or to the wrong recipient.
    #[serde(rename = "SENT_BY_MISTAKE")]
    SentByMistake,
}

impl Cause {
    /// The reason code that it is written as.
    pub const fn reason(self) -> Reason {
        match self {
            Self::ConsentWithdrawn => Reason::ConsentWithdrawn,
            Self::SentByMistake => Reason::SentByMistake,
        }
    }
}

/// What a recall says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecallText {
    /// `medseal-recall@v1`.
    pub format: String,
    /// The bundle.
    pub bundle: BundleId,
    /// The sender's case.
    pub case: CaseId,
    /// Who recalls: the sender of the bundle.
    pub from: InstitutionId,
    /// Who received it.
    pub to: InstitutionId,
    /// SHA-256 of the dispatch that it was received with.
    pub dispatch: Digest,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// Why.
    pub reason: Cause,
    /// When it was ordered.
    pub issued: String,
}

impl RecallText {
    /// `medseal-recall@v1`, the value of `format`.
    pub const FORMAT: &'static str = Namespace::Recall.as_str();

    /// The recall, signed. The same recall gives the same bytes every time.
    pub fn sign(&self, signer: &Signer) -> Signed {
        Signed::make(self, Namespace::Recall, signer)
    }

    /// Verifies a partner's recall: its signature, and that it is from that partner to us. That it names a dispatch
    /// which was accepted, the caller checks.
    pub fn verify(
        signed: &Signed,
        from: &InstitutionId,
        us: &InstitutionId,
        keys: &[VerifyingKey],
    ) -> Result<Self, StatementError> {
        let text: Self = signed.read(RECALL, Namespace::Recall, keys)?;
        let form = |why: &str| Err(StatementError::Form { kind: RECALL, why: why.to_owned() });
        let wrong = |field| Err(StatementError::Mismatch { kind: RECALL, field });
        if text.format != Self::FORMAT {
            return form("its format is not known");
        }
        if text.from != *from {
            return wrong("sender");
        }
        if text.to != *us {
            return wrong("receiver");
        }
        // Whenever it was issued, it counts: a clock that is wrong must not keep what the patient wants gone.
        if clock::read_stamp(&text.issued).is_none() {
            return form("a time is malformed");
        }
        Ok(text)
    }
}

/// A recall on its way: once for every try.
#[derive(Debug)]
#[must_use = "a recall that is not recorded never leaves"]
pub struct Recall {
    text: RecallText,
    signed: Signed,
    about: About,
    attempt: u32,
}

impl Recall {
    /// Signs a recall for its try with this number, counted from 1.
    pub fn new(text: RecallText, signer: &Signer, about: About, attempt: u32) -> Self {
        Self { signed: text.sign(signer), text, about, attempt }
    }

    /// What it says.
    pub const fn text(&self) -> &RecallText {
        &self.text
    }

    /// The statement as it leaves.
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }

    /// What it is about in our own log.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// Which try this is, counted from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// Why a recalled bundle was not destroyed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Kept {
    /// A legal hold at the receiver forbids it.
    #[serde(rename = "LEGAL_HOLD")]
    LegalHold,
}

/// What the receiver answers to a recall.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecalledText {
    /// `medseal-recalled@v1`.
    pub format: String,
    /// SHA-256 of the recall that it answers.
    pub recall: Digest,
    /// The bundle.
    pub bundle: BundleId,
    /// Who signs: the receiver of the bundle.
    pub from: InstitutionId,
    /// Who sent the bundle, and recalls it.
    pub to: InstitutionId,
    /// SHA-256 of the sealed file.
    pub sealed_sha256: Digest,
    /// When a recall of this bundle was first received.
    pub received: String,
    /// When the sealed file was destroyed; absent: it was not, and `kept` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<String>,
    /// Why it was not destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// When it was first opened before that; absent: the gateway knows of no opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<String>,
    /// The receiver's log with what it did in it.
    pub head: LogHead,
}

impl RecalledText {
    /// `medseal-recalled@v1`, the value of `format`.
    pub const FORMAT: &'static str = Namespace::Recalled.as_str();

    /// The answer, signed. The same answer gives the same bytes every time.
    pub fn sign(&self, signer: &Signer) -> Signed {
        Signed::make(self, Namespace::Recalled, signer)
    }
}

/// An answer to a recall that verified.
#[derive(Debug)]
#[must_use = "an answer that is not recorded recalls nothing"]
pub struct Recalled {
    text: RecalledText,
    signed: Signed,
    about: About,
}

impl Recalled {
    /// Verifies the partner's answer to this recall of ours.
    pub fn verify(
        signed: Signed,
        recall: &RecallText,
        digest: &Digest,
        keys: &[VerifyingKey],
        about: About,
    ) -> Result<Self, StatementError> {
        let text: RecalledText = signed.read(RECALLED, Namespace::Recalled, keys)?;
        let form = |why: &str| Err(StatementError::Form { kind: RECALLED, why: why.to_owned() });
        let wrong = |field| Err(StatementError::Mismatch { kind: RECALLED, field });
        if text.format != RecalledText::FORMAT {
            return form("its format is not known");
        }
        if text.recall != *digest {
            return wrong("recall");
        }
        if text.bundle != recall.bundle {
            return wrong("bundle");
        }
        if text.sealed_sha256 != recall.sealed_sha256 {
            return wrong("content");
        }
        if text.from != recall.to {
            return wrong("receiver");
        }
        if text.to != recall.from {
            return wrong("sender");
        }
        if text.destroyed.is_some() == text.kept.is_some() {
            return form("it says neither that the bundle was destroyed nor why not, or both");
        }
        let times = [Some(&text.received), text.destroyed.as_ref(), text.opened.as_ref()];
        if times.into_iter().flatten().any(|time| clock::read_stamp(time).is_none()) {
            return form("a time is malformed");
        }
        Ok(Self { text, signed, about })
    }

    /// What it says.
    pub const fn text(&self) -> &RecalledText {
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

const RECALL: &str = "recall";
const RECALLED: &str = "answer to a recall";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SubjectId;

    const AT: &str = "2026-11-22T10:15:30.000000Z";

    fn recall() -> RecallText {
        RecallText {
            format: RecallText::FORMAT.to_owned(),
            bundle: BundleId::random(),
            case: CaseId::random(),
            from: "st-mary".parse().expect("an id"),
            to: "nordhafen".parse().expect("an id"),
            dispatch: Digest::of(b"dispatch"),
            sealed_sha256: Digest::of(b"sealed"),
            reason: Cause::ConsentWithdrawn,
            issued: AT.to_owned(),
        }
    }

    fn answer(recall: &RecallText, digest: Digest) -> RecalledText {
        RecalledText {
            format: RecalledText::FORMAT.to_owned(),
            recall: digest,
            bundle: recall.bundle.clone(),
            from: recall.to.clone(),
            to: recall.from.clone(),
            sealed_sha256: recall.sealed_sha256,
            received: AT.to_owned(),
            destroyed: Some(AT.to_owned()),
            kept: None,
            opened: None,
            head: LogHead { origin: "log".to_owned(), size: 1, root: Digest::of(b"root") },
        }
    }

    fn verify(
        signed: Signed,
        recall: &RecallText,
        digest: &Digest,
        signer: &Signer,
    ) -> Result<Recalled, StatementError> {
        let about = About { case: recall.case.clone(), subject: SubjectId::random() };
        Recalled::verify(signed, recall, digest, &[signer.public()], about)
    }

    #[test]
    fn a_recall_is_its_senders_to_its_receiver_and_nobody_elses() {
        let (ours, theirs) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
        let text = recall();
        let signed = text.sign(&ours);
        let ask = |from: &str, us: &str, key: &Signer| {
            let parse = |id: &str| id.parse::<InstitutionId>().expect("an id");
            RecallText::verify(&signed, &parse(from), &parse(us), &[key.public()])
        };
        assert_eq!(ask("st-mary", "nordhafen", &ours).expect("it is theirs"), text);
        assert!(matches!(ask("st-mary", "nordhafen", &theirs), Err(StatementError::Signature { .. })));
        assert!(matches!(ask("clinic", "nordhafen", &ours), Err(StatementError::Mismatch { field: "sender", .. })));
        assert!(matches!(ask("st-mary", "clinic", &ours), Err(StatementError::Mismatch { field: "receiver", .. })));
        assert_eq!(text.sign(&ours), signed, "the same recall is the same bytes");
    }

    #[test]
    fn an_answer_counts_for_the_recall_that_it_names_alone() {
        let theirs = Signer::from_seed(&[2; 32]);
        let text = recall();
        let digest = text.sign(&Signer::from_seed(&[1; 32])).digest();
        let good = answer(&text, digest);
        let kept = RecalledText { destroyed: None, kept: Some(Kept::LegalHold), ..good.clone() };
        for right in [&good, &kept] {
            assert_eq!(verify(right.sign(&theirs), &text, &digest, &theirs).expect("verifies").text(), right);
        }
        let wrong = [
            RecalledText { recall: Digest::of(b"another"), ..good.clone() },
            RecalledText { bundle: BundleId::random(), ..good.clone() },
            RecalledText { sealed_sha256: Digest::of(b"another"), ..good.clone() },
            RecalledText { from: text.from.clone(), ..good.clone() },
            RecalledText { to: text.to.clone(), ..good.clone() },
            RecalledText { format: RecallText::FORMAT.to_owned(), ..good.clone() },
            RecalledText { destroyed: None, ..good.clone() },
            RecalledText { kept: Some(Kept::LegalHold), ..good.clone() },
            RecalledText { destroyed: Some("yesterday".to_owned()), ..good.clone() },
        ];
        for lie in wrong {
            assert!(verify(lie.sign(&theirs), &text, &digest, &theirs).is_err(), "{lie:?} was accepted");
        }
        let forged = good.sign(&Signer::from_seed(&[3; 32]));
        assert!(verify(forged, &text, &digest, &theirs).is_err());
        let mut as_recall = good.sign(&theirs);
        as_recall.signature = theirs.sign(Namespace::Recall, as_recall.text.as_bytes());
        assert!(verify(as_recall, &text, &digest, &theirs).is_err(), "a signature for another kind of statement");
    }
}
