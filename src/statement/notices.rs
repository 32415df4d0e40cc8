//! What a receiver must be told and nobody else may read: every obligation in words, and the scope of the consent.
//!
//! Rule: an obligation can tell what a record is about, so all of them travel sealed, with every release and in one
//! size: neither that there are notices nor how long they are tells what they say. The dispatch names their digest.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::decision::{Basis, Kind, PART2_NOTICE, Permit};
use crate::id::{BundleId, Digest};
use crate::json;
use crate::reason::Reason;
use crate::seal::{self, Identities, OpenError, SealError};

/// What the receiver reads.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notices {
    /// `medseal-notices@v1`.
    format: String,
    /// The bundle that they belong to.
    pub bundle: BundleId,
    /// Everything that the receiver must observe, as codes.
    pub obligations: Vec<String>,
    /// The same in words.
    pub notices: Vec<String>,
    /// What was consented to, as far as this release goes.
    pub scope: String,
    /// When the receiver must have erased everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase_at: Option<String>,
}

/// Notices as they travel: an age file to the recipients of the bundle.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedNotices {
    bytes: Vec<u8>,
    sha256: Digest,
}

/// Why notices were not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoticesError {
    /// They cannot be sealed to these recipients.
    #[error("the notices cannot be sealed")]
    Seal(#[from] SealError),
    /// They are longer than the one size in which all travel.
    #[error("the notices are {found} bytes long; {PLAINTEXT_BYTES} are allowed")]
    TooLong {
        /// Their length, in bytes.
        found: usize,
    },
}

/// Why notices that came in cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadError {
    /// They are not those that the sender signed for.
    #[error("the notices are not the ones that the sender signed for")]
    Other,
    /// They do not open.
    #[error("the notices do not open: {0}")]
    Open(#[from] OpenError),
    /// They opened, and are damaged or none.
    #[error("the notices are not in the form of docs/FORMAT.md")]
    Form,
}

impl UnreadError {
    /// The stable code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Open(error) => error.reason(),
            Self::Other | Self::Form => Reason::Tampered,
        }
    }
}

impl SealedNotices {
    /// The age file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its SHA-256, as the dispatch names it.
    pub const fn sha256(&self) -> Digest {
        self.sha256
    }
}

impl Notices {
    /// What this permit obliges to.
    pub fn of(permit: &Permit) -> Self {
        let erase_at = permit.erase_at().map(clock::stamp);
        Self {
            format: FORMAT.to_owned(),
            bundle: permit.bundle().clone(),
            obligations: permit.obligations().iter().cloned().collect(),
            notices: permit.obligations().iter().map(|code| in_words(code, erase_at.as_deref())).collect(),
            scope: scope(permit),
            erase_at,
        }
    }

    /// Seals them, in the one size that all notices have.
    pub fn seal(&self, recipients: &[String]) -> Result<SealedNotices, NoticesError> {
        let mut text = json::to_line(self).expect("notices are of the strict subset").into_bytes();
        text.push(b'\n');
        if text.len() > PLAINTEXT_BYTES {
            return Err(NoticesError::TooLong { found: text.len() });
        }
        text.resize(PLAINTEXT_BYTES, b' ');
        let mut writer = seal::seal(recipients, Vec::new())?;
        writer.write_all(&text).map_err(SealError::Write)?;
        let (bytes, sealed) = writer.finish()?;
        Ok(SealedNotices { bytes, sha256: sealed.sha256 })
    }

    /// Opens what came in; `signed` is the digest that the sender's dispatch names, where that was verified.
    pub fn open(bytes: &[u8], signed: Option<&Digest>, identities: &Identities) -> Result<Self, UnreadError> {
        if signed.is_some_and(|signed| *signed != Digest::of(bytes)) {
            return Err(UnreadError::Other);
        }
        let mut text = Vec::new();
        seal::open(bytes, identities)?
            .take(PLAINTEXT_BYTES as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|_| UnreadError::Form)?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let notices: Self = json::from_line(line, PLAINTEXT_BYTES).map_err(|_| UnreadError::Form)?;
        if notices.format == FORMAT { Ok(notices) } else { Err(UnreadError::Form) }
    }

    /// A page for whoever reads the records.
    pub fn page(&self) -> String {
        let mut page = format!("What goes with {}\n\n{}\n", self.bundle, self.scope);
        for (code, words) in self.obligations.iter().zip(&self.notices) {
            writeln!(page, "\n- {words} ({code})").expect("a string takes everything");
        }
        page
    }
}

/// An obligation as a sentence to whoever holds the records.
fn in_words(code: &str, erase_at: Option<&str>) -> String {
    match (code, erase_at) {
        ("ENCRYPT", _) => "Keep these records encrypted wherever they lie.".to_owned(),
        ("ENCRYPTT", _) => "Encrypt these records whenever they travel.".to_owned(),
        ("NORDSCLCD", _) => {
            "Do not pass these records on to anybody whom the patient's consent does not name.".to_owned()
        }
        ("NORDSCLCDS", _) => "Do not pass these records on unless the patient has consented in person.".to_owned(),
        ("NOREUSE", _) => "Use these records for the purpose for which they were sent, and for no other.".to_owned(),
        ("PERSISTLABEL", _) => "Keep the labels on these records and on every copy of them.".to_owned(),
        ("DELAU", Some(erase_at)) => format!("Erase these records and every copy of them by {erase_at}."),
        ("DELAU", None) => "Erase these records and every copy of them once they have served.".to_owned(),
        (PART2_NOTICE, _) => PART2_TEXT.to_owned(),
        (code, _) => format!("Observe the handling instruction {code}."),
    }
}

/// What was consented to, as far as this release goes: what the patient kept back is not told.
fn scope(permit: &Permit) -> String {
    let asked = permit.asked();
    let (to, purpose) = (permit.partner(), &asked.case.purpose);
    match (permit.basis(), permit.consent(), permit.consent_until()) {
        (Basis::Consent, Some((consent, version)), Some(until)) => format!(
            "The patient consented that these records go to {to} for the purpose {purpose}, until {}. It is on file \
             with the sender as {consent}, version {version}.",
            clock::stamp(until)
        ),
        (Basis::BreakGlass(_), ..) => {
            format!("An emergency: the patient could not be asked. The records go to {to} to treat it.")
        }
        _ if permit.kind() == Kind::Opinion => {
            format!("An opinion for {to}, in answer to the records that it sent for the purpose {purpose}.")
        }
        _ => format!("Sent to {to} for the purpose {purpose}."),
    }
}

/// 42 CFR 2.32(a)(2) prescribes the words of the first sentence.
const PART2_TEXT: &str = "42 CFR part 2 prohibits unauthorized use or disclosure of these records. They tell of \
    treatment for a substance use disorder: neither they nor anything taken from them may be used against the patient \
    in civil, criminal, administrative or legislative proceedings unless the patient consents or a court orders it.";

const FORMAT: &str = "medseal-notices@v1";

/// The one size of all notices before sealing, in bytes.
const PLAINTEXT_BYTES: usize = 8 << 10;

/// The longest sealed notices that are taken, in bytes: those of a header with many recipients.
pub const SEALED_NOTICES_BYTES_MAX: usize = 24 << 10;

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;
    use crate::decision::{DELIVERY_MEETS, NOTICES_MEET};

    fn notices(obligations: &[&str]) -> Notices {
        Notices {
            format: FORMAT.to_owned(),
            bundle: "bundle-0123456789abcdef".parse().expect("an id"),
            obligations: obligations.iter().map(|code| (*code).to_owned()).collect(),
            notices: obligations.iter().map(|code| in_words(code, None)).collect(),
            scope: "A scope.".to_owned(),
            erase_at: None,
        }
    }

    fn reader() -> (Identities, Vec<String>) {
        let identity = age::x25519::Identity::generate();
        let identities = Identities::parse(identity.to_string().expose_secret()).expect("an identity");
        (identities, vec![identity.to_public().to_string()])
    }

    fn stranger() -> Identities {
        reader().0
    }

    #[test]
    fn notices_open_for_their_reader_and_for_nobody_else() {
        let (said, (reader, recipients)) = (notices(&["NORDSCLCD", PART2_NOTICE]), reader());
        let sealed = said.seal(&recipients).expect("sealed");
        assert_eq!(Notices::open(sealed.bytes(), Some(&sealed.sha256()), &reader).expect("opens"), said);
        let stranger = stranger();
        let refused = |bytes: &[u8], signed: Option<&Digest>, identities| {
            Notices::open(bytes, signed, identities).expect_err("refused").reason()
        };
        assert_eq!(refused(sealed.bytes(), None, &stranger), Reason::WrongKey);
        let again = said.seal(&recipients).expect("sealed");
        assert_eq!(refused(again.bytes(), Some(&sealed.sha256()), &reader), Reason::Tampered);
        let mut changed = sealed.bytes().to_vec();
        *changed.last_mut().expect("bytes") ^= 1;
        assert_eq!(refused(&changed, None, &reader), Reason::Tampered);
    }

    #[test]
    fn all_notices_have_one_size() {
        let (_, recipients) = reader();
        // The header before it grows by chance, whatever is sealed: age adds a stanza that means nothing.
        let size = |codes: &[&str]| {
            let sealed = notices(codes).seal(&recipients).expect("sealed");
            assert!(sealed.bytes().len() <= SEALED_NOTICES_BYTES_MAX);
            sealed.bytes().len() - seal::header_length(sealed.bytes()).expect("a header")
        };
        let everything: Vec<&str> = DELIVERY_MEETS.into_iter().chain(NOTICES_MEET).collect();
        assert_eq!(size(&[]), size(&everything));
        let endless = Notices { scope: "s".repeat(PLAINTEXT_BYTES), ..notices(&[]) };
        assert!(matches!(endless.seal(&recipients), Err(NoticesError::TooLong { .. })));
    }

    #[test]
    fn every_obligation_that_can_be_met_has_words_of_its_own() {
        for code in DELIVERY_MEETS.into_iter().chain(NOTICES_MEET) {
            assert!(!in_words(code, None).contains(code), "{code}");
        }
    }
}
