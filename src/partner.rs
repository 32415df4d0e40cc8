//! Partners: institutions whose signed card was compared by two people, and how they stand with us.
//!
//! Rule: nothing of a partner is trusted that does not stand on its admitted card, and every key counts only between
//! its own dates. A new card is admitted by a fingerprint, or by the signature of a key on the card before it.

mod card;
mod error;
mod exchange;
mod fingerprint;
mod parts;
mod slip;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

pub use card::{CARD_BYTES_MAX, Card, SignedCard};
pub use error::CardError;
pub use exchange::{Exchange, split_inbox};
pub use fingerprint::{parse_fingerprint, show_fingerprint};
pub use parts::{Certificate, Dated, LogVkey, Recipient, WitnessVkey, log_name, witness_name};
pub use slip::Slip;

use crate::clock::Timestamp;
use crate::id::{Digest, InstitutionId};
use crate::reason::Reason;
use crate::signature::VerifyingKey;

/// A partner's clock may run ahead of ours by so much when it issues a card, in seconds.
const AHEAD_S_MAX: i64 = 3600;

/// How a partner stands with us.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It may exchange.
    Active,
    /// It may not, until somebody resumes it.
    Suspended,
    /// It is a partner no more; kept so that an older card never comes back.
    Removed,
}

/// What makes a transfer to the partner lawful.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferBasis {
    /// A decision that the country protects data adequately.
    Adequacy,
    /// Standard contractual clauses.
    Scc,
    /// The United Kingdom's international data transfer agreement.
    UkIdta,
    /// The same country.
    Domestic,
    /// Whoever added the partner attests that there is a lawful basis, without naming it here.
    Attested,
    /// None stated: the patient's own consent must carry the transfer.
    #[default]
    None,
}

/// What was agreed with a partner.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// When it begins.
    #[serde(with = "parts::time")]
    pub from: Timestamp,
    /// When it ends; `None`: until further notice.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "parts::optional_time")]
    pub until: Option<Timestamp>,
    /// What makes a transfer lawful.
    #[serde(default)]
    pub basis: TransferBasis,
    /// Whether the partner has undertaken what 42 CFR Part 2 asks of whoever holds records of substance use.
    #[serde(default)]
    pub part2: bool,
    /// SHA-256 of the signed agreement, which lies in the institution's own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Digest>,
}

impl Agreement {
    /// What whoever adds a partner attests when nothing else is said: agreed from now on, until further notice, on a
    /// lawful basis.
    pub const fn attested(now: Timestamp) -> Self {
        Self { from: now, until: None, basis: TransferBasis::Attested, part2: false, document: None }
    }

    /// Whether it holds at this time.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }
}

/// A registered institution: its card as it was admitted, and how it stands with us.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    card: SignedCard,
    /// How it stands with us.
    pub standing: Standing,
    /// What was agreed.
    pub agreement: Agreement,
    /// When this card was admitted.
    #[serde(with = "parts::time")]
    added: Timestamp,
}

impl Partner {
    /// Admits a card: of a new partner, or in place of the one that is on file.
    ///
    /// The fingerprint is what two people compared by another way. It may be left out only when a key that counts on
    /// the card on file signed the new one. A suspended partner stays suspended; a removed one needs a fingerprint.
    pub fn admit(
        existing: Option<&Self>,
        card: SignedCard,
        fingerprint: Option<&Digest>,
        agreement: Agreement,
        now: Timestamp,
    ) -> Result<Self, CardError> {
        let found = card.fingerprint();
        if let Some(given) = fingerprint.filter(|given| **given != found) {
            return Err(CardError::WrongFingerprint { found, given: *given });
        }
        let expires = card.card().expires;
        if now >= expires {
            return Err(CardError::Expired { expires });
        }
        let issued = card.card().issued;
        if issued.as_second() > now.as_second() + AHEAD_S_MAX {
            return Err(CardError::FromTheFuture { issued, now });
        }
        match existing {
            None if fingerprint.is_none() => return Err(CardError::FingerprintNeeded { found }),
            None => {}
            Some(before) => before.check_successor(&card, fingerprint, now)?,
        }
        let standing = match existing.map(|before| before.standing) {
            Some(Standing::Suspended) => Standing::Suspended,
            Some(Standing::Active | Standing::Removed) | None => Standing::Active,
        };
        Ok(Self { card, standing, agreement, added: now })
    }

    fn check_successor(
        &self,
        card: &SignedCard,
        fingerprint: Option<&Digest>,
        now: Timestamp,
    ) -> Result<(), CardError> {
        let (before, after) = (self.card(), card.card());
        if after.id != before.id {
            return Err(CardError::OtherInstitution { found: after.id.clone(), allowed: before.id.clone() });
        }
        // The same serial passes for the same card only: it changes nothing but the agreement.
        if after.serial < before.serial || (after.serial == before.serial && card.fingerprint() != self.fingerprint()) {
            return Err(CardError::Outdated { found: after.serial, on_file: before.serial });
        }
        if fingerprint.is_some() {
            return Ok(());
        }
        if self.standing == Standing::Removed {
            return Err(CardError::FingerprintNeeded { found: card.fingerprint() });
        }
        if self.signing_keys_at(now).iter().any(|key| card.is_signed_by(key)) {
            Ok(())
        } else {
            Err(CardError::OtherKey { found: card.fingerprint() })
        }
    }

    /// Who it is.
    pub const fn id(&self) -> &InstitutionId {
        &self.card().id
    }

    /// How it exchanges with us.
    pub const fn exchange(&self) -> Exchange {
        self.card().exchange
    }

    /// What its card says.
    pub const fn card(&self) -> &Card {
        self.card.card()
    }

    /// The card as it was admitted, signature and all.
    pub const fn signed_card(&self) -> &SignedCard {
        &self.card
    }

    /// The fingerprint of the card.
    pub const fn fingerprint(&self) -> Digest {
        self.card.fingerprint()
    }

    /// When this card was admitted.
    pub const fn added(&self) -> Timestamp {
        self.added
    }

    /// Whether it counts among our partners: active or suspended, but not removed.
    pub fn is_registered(&self) -> bool {
        self.standing != Standing::Removed
    }

    /// Why nothing may be exchanged with it now; `None` if it may.
    pub fn obstacle(&self, now: Timestamp) -> Option<Reason> {
        match self.standing {
            Standing::Removed => Some(Reason::PartnerUnknown),
            Standing::Suspended => Some(Reason::PartnerSuspended),
            Standing::Active if now < self.agreement.from => Some(Reason::PartnerNotYet),
            Standing::Active if now >= self.card().expires || !self.agreement.in_force(now) => {
                Some(Reason::PartnerExpired)
            }
            Standing::Active => None,
        }
    }

    /// Whether something may be exchanged with it now.
    pub fn may_exchange(&self, now: Timestamp) -> bool {
        self.obstacle(now).is_none()
    }

    /// The age recipients that count at this time, in the card's order.
    pub fn recipients_at(&self, now: Timestamp) -> Vec<String> {
        self.counting(&self.card().age, now).map(ToString::to_string).collect()
    }

    /// The age recipients that do not count yet at this time, in the card's order.
    pub fn recipients_after(&self, now: Timestamp) -> Vec<String> {
        let later = self.card().age.iter().filter(|entry| now < entry.not_before);
        later.map(|entry| entry.value.to_string()).collect()
    }

    /// The keys whose signatures count at this time.
    pub fn signing_keys_at(&self, now: Timestamp) -> Vec<VerifyingKey> {
        self.counting(&self.card().signing, now).copied().collect()
    }

    /// The authorities whose leaves count at this time.
    pub fn ca_certificates_at(&self, now: Timestamp) -> Vec<CertificateDer<'static>> {
        self.counting(&self.card().tls, now).map(|certificate| certificate.der().clone()).collect()
    }

    /// The keys by which its log's checkpoints count at this time, as C2SP verifier keys.
    pub fn log_vkeys_at(&self, now: Timestamp) -> Vec<String> {
        self.counting(&self.card().log, now).map(ToString::to_string).collect()
    }

    /// The keys by which it signs under our checkpoints at this time, as C2SP verifier keys.
    pub fn witness_vkeys_at(&self, now: Timestamp) -> Vec<String> {
        self.counting(&self.card().witness, now).map(ToString::to_string).collect()
    }

    /// Nothing on a card outlasts the card.
    fn counting<'a, T>(&self, entries: &'a [Dated<T>], now: Timestamp) -> impl Iterator<Item = &'a T> {
        let ended = now >= self.card().expires;
        entries.iter().filter(move |entry| !ended && entry.counts_at(now)).map(|entry| &entry.value)
    }
}

#[cfg(test)]
mod tests;
