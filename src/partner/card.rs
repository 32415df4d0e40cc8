//! Cards: what an institution says of itself, in one signed file.
//!
//! Rule: a [`SignedCard`] in hand is well formed, and signed by a key that it names itself. That proves that nobody
//! changed it, not whose it is: only a fingerprint that two people compared does.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::CardError;
use super::exchange::Exchange;
use super::parts::{Certificate, Dated, LogVkey, Recipient, WitnessVkey, log_name, stamped, witness_name};
use super::slip::{self, Slip};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::id::{Country, Digest, InstitutionId};
use crate::json;
use crate::keys::Keys;
use crate::signature::{Namespace, SignatureError, Signer, VerifyingKey};

/// The largest card file, in bytes; one with a single key of each kind takes about 2,000.
pub const CARD_BYTES_MAX: usize = 16 * 1024;

const FORMAT: &str = "medseal-card@v1";
/// The most entries of one kind, which leaves room for every roll-over.
const ENTRIES_MAX: usize = 8;
const NAME_BYTES_MAX: usize = 200;
/// How long a card that we make counts, in seconds: two years.
const CARD_S: i64 = 730 * 86_400;
/// How much a partner's clock may run behind ours without our keys seeming to come from the future, in seconds.
const BACKDATED_S: i64 = 3600;

/// What an institution says of itself. docs/FORMAT.md.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// `medseal-card@v1`.
    pub format: String,
    /// The institution.
    pub id: InstitutionId,
    /// Its name, as a person reads it.
    pub name: String,
    /// The country it is in.
    pub country: Country,
    /// Where its gateway is reached, `https://HOST:PORT`, or its web server, with a folder or without. Empty, and not on
    /// the card, for a partner that fetches.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// How it exchanges; cards of partners with medseal do not have the field.
    #[serde(default, skip_serializing_if = "Exchange::is_medseal")]
    pub exchange: Exchange,
    /// Larger on each later card.
    pub serial: u64,
    /// When it was made.
    #[serde(with = "stamped")]
    pub issued: Timestamp,
    /// The first moment at which nothing on it counts any more.
    #[serde(with = "stamped")]
    pub expires: Timestamp,
    /// The authorities of its TLS certificates; of a partner without medseal also the very certificate that it shows.
    pub tls: Vec<Dated<Certificate>>,
    /// The age recipients to seal to.
    pub age: Vec<Dated<Recipient>>,
    /// The keys that sign its statements.
    pub signing: Vec<Dated<VerifyingKey>>,
    /// The keys that sign its log's checkpoints; none if it keeps no log of this kind, and then the field may be missing.
    #[serde(default)]
    pub log: Vec<Dated<LogVkey>>,
    /// The keys that it signs with under others' checkpoints; none if it is no witness. Cards made before there were
    /// witnesses do not have the field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<Dated<WitnessVkey>>,
}

impl Card {
    /// Our own card: every key in the key folder, from now on, for two years.
    pub fn of(keys: &Keys, config: &Config, serial: u64, now: Timestamp) -> Result<Self, CardError> {
        let moved = |seconds: i64| {
            let moved = now.as_microsecond() + seconds * 1_000_000;
            Timestamp::from_microsecond(moved).expect("the clock stands far from the ends of time")
        };
        let (not_before, expires) = (moved(-BACKDATED_S), moved(CARD_S));
        let from_folder = |what| CardError::Field { field: what, allowed: "what the key folder holds" };
        let authority = Certificate::of(keys.ca_certificate().clone()).map_err(|_| from_folder("tls"))?;
        let recipients = keys.age_recipients().iter().map(|text| text.parse().map_err(|_| from_folder("age")));
        let recipients = recipients.collect::<Result<Vec<Recipient>, _>>()?;
        let vkey = LogVkey::of(&log_name(&config.id), &keys.log_signer().public());
        let witness = keys.witness_signer().map(|signer| WitnessVkey::of(&witness_name(&config.id), &signer.public()));
        let card = Self {
            format: FORMAT.to_owned(),
            id: config.id.clone(),
            name: config.name.clone(),
            country: config.country.clone(),
            endpoint: config.endpoint.clone(),
            exchange: Exchange::Medseal,
            serial,
            issued: moved(0),
            expires,
            tls: vec![Dated { not_before, not_after: expires, value: authority }],
            age: recipients.into_iter().map(|value| Dated { not_before, not_after: expires, value }).collect(),
            signing: vec![Dated { not_before, not_after: expires, value: keys.signer().public() }],
            log: vec![Dated { not_before, not_after: expires, value: vkey }],
            witness: witness.into_iter().map(|value| Dated { not_before, not_after: expires, value }).collect(),
        };
        card.check()?;
        Ok(card)
    }

    /// This card of ours with the witness's key of the key folder on it, as the next serial; everything else stays.
    /// `None` when nothing is to be added.
    pub fn with_witness(&self, keys: &Keys, now: Timestamp) -> Option<Self> {
        let value = WitnessVkey::of(&witness_name(&self.id), &keys.witness_signer()?.public());
        if self.witness.iter().any(|entry| entry.value == value) {
            return None;
        }
        let not_before = Timestamp::from_microsecond(now.as_microsecond() - BACKDATED_S * 1_000_000).ok()?;
        let mut next = self.clone();
        next.witness.push(Dated { not_before, not_after: self.expires, value });
        (next.serial, next.issued) = (self.serial + 1, now);
        Some(next)
    }

    fn check(&self) -> Result<(), CardError> {
        let refuse = |field, allowed| Err(CardError::Field { field, allowed });
        if self.format != FORMAT {
            return refuse("format", FORMAT);
        }
        let name = self.name.trim();
        if name.is_empty() || name.len() != self.name.len() || name.len() > NAME_BYTES_MAX || !printable(name) {
            return refuse("name", "1 to 200 printable bytes without space around them");
        }
        if !self.exchange.allows_endpoint(&self.endpoint) {
            return refuse("endpoint", self.exchange.endpoint_form());
        }
        if self.serial == 0 {
            return refuse("serial", "1 or more");
        }
        if self.issued >= self.expires {
            return refuse("expires", "a time after `issued`");
        }
        check_entries("tls", &self.tls, 1)?;
        check_entries("age", &self.age, 1)?;
        check_entries("signing", &self.signing, 1)?;
        check_entries("log", &self.log, 0)?;
        check_entries("witness", &self.witness, 0)?;
        let a_gateways = [("log", self.log.is_empty()), ("witness", self.witness.is_empty())];
        if let Some((field, _)) = a_gateways.iter().find(|(_, none)| !none && !self.exchange.is_medseal()) {
            return refuse(field, "none, and best no such field: only a gateway keeps a log and is a witness");
        }
        if self.exchange.is_medseal() && !self.tls.iter().all(|entry| entry.value.is_authority()) {
            return refuse("tls", "certificates of an authority (CA:TRUE)");
        }
        // A name of its own and of nobody else, so that no partner speaks for another's log, nor as another witness.
        if self.log.iter().any(|entry| !is_named(&entry.value, &log_name(&self.id))) {
            return refuse("log", "keys under the institution's own name, ID/medseal/log");
        }
        if self.witness.iter().any(|entry| !is_named(&entry.value, &witness_name(&self.id))) {
            return refuse("witness", "keys under the institution's own name, ID/medseal/witness");
        }
        Ok(())
    }
}

/// Whether a verifier key, `NAME+KEYID+BASE64`, has this name.
fn is_named(vkey: &impl fmt::Display, name: &str) -> bool {
    vkey.to_string().split_once('+').is_some_and(|(found, _)| found == name)
}

fn check_entries<T: PartialEq>(field: &'static str, entries: &[Dated<T>], least: usize) -> Result<(), CardError> {
    if entries.len() < least || entries.len() > ENTRIES_MAX {
        return Err(CardError::Field { field, allowed: "1 to 8 entries (for `log` and `witness` also none)" });
    }
    if entries.iter().any(|entry| entry.not_before >= entry.not_after) {
        return Err(CardError::Field { field, allowed: "entries with `not_before` before `not_after`" });
    }
    if entries.iter().enumerate().any(|(at, entry)| entries[..at].iter().any(|other| other.value == entry.value)) {
        return Err(CardError::Field { field, allowed: "each value once" });
    }
    Ok(())
}

/// No control characters, and none that reorder or hide what a person reads aloud.
fn printable(name: &str) -> bool {
    let hidden =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !name.chars().any(|c| c.is_control() || hidden(c))
}

/// A card with its signature, as one file: the JSON line, then the armoured SSHSIG over exactly that line.
#[derive(Clone, Eq, PartialEq)]
pub struct SignedCard {
    card: Card,
    line: String,
    signature: String,
    fingerprint: Digest,
}

impl SignedCard {
    /// Makes and signs our own card.
    pub fn make(keys: &Keys, config: &Config, serial: u64, now: Timestamp) -> Result<Self, CardError> {
        Self::sign(&Card::of(keys, config, serial, now)?, keys.signer())
    }

    /// Signs a card with a key that stands on it, such as the older one of two while keys change.
    pub fn sign(card: &Card, signer: &Signer) -> Result<Self, CardError> {
        let line = json::to_line(card)?;
        let signature = signer.sign(Namespace::Card, line.as_bytes());
        Self::parse(format!("{line}\n{signature}").as_bytes())
    }

    /// Reads a card file and checks its shape, its dates, and its signature by a key that it names itself.
    pub fn parse(file: &[u8]) -> Result<Self, CardError> {
        if file.len() > CARD_BYTES_MAX {
            return Err(CardError::TooLong { found: file.len(), allowed: CARD_BYTES_MAX });
        }
        let text = std::str::from_utf8(file).map_err(|_| CardError::NotACard)?;
        let (line, signature) = text.split_once('\n').ok_or(CardError::NotACard)?;
        // A mail program may have changed the line ends; the signed bytes end before them.
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.starts_with('{') {
            return Err(CardError::NotACard);
        }
        let card: Card = json::from_line(line.as_bytes(), CARD_BYTES_MAX).map_err(|error| {
            let before = text.split_once("\n-----BEGIN SSH").map_or(text, |(before, _)| before);
            slip::of_text(before).map_or(CardError::Json(error), CardError::Slip)
        })?;
        card.check()?;
        let signature = signature.replace("\r\n", "\n");
        let key = crate::signature::claimed_key(&signature)?;
        if !card.signing.iter().any(|entry| entry.value == key && entry.counts_at(card.issued)) {
            return Err(CardError::SignedByStranger { found: key.fingerprint() });
        }
        key.verify(Namespace::Card, line.as_bytes(), &signature).map_err(|error| {
            let with_newline = || key.verify(Namespace::Card, format!("{line}\n").as_bytes(), &signature).is_ok();
            let slipped = error == SignatureError::Content && with_newline();
            if slipped { CardError::Slip(Slip::NewlineSigned) } else { CardError::Signature(error) }
        })?;
        Ok(Self { fingerprint: Digest::of(line.as_bytes()), line: line.to_owned(), card, signature })
    }

    /// What the card says.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// SHA-256 over the bytes of the JSON line, which two people compare.
    pub const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// The file: the JSON line, LF, the armoured signature.
    pub fn file_text(&self) -> String {
        format!("{}\n{}", self.line, self.signature)
    }

    /// Whether this key made the signature.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify(Namespace::Card, self.line.as_bytes(), &self.signature).is_ok()
    }
}

impl fmt::Debug for SignedCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedCard({}, serial {}, {})", self.card.id, self.card.serial, self.fingerprint)
    }
}

impl Serialize for SignedCard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.file_text())
    }
}

impl<'de> Deserialize<'de> for SignedCard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}
