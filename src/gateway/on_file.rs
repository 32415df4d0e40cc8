//! What is on file: cases, consents, documents, with their sealed parts opened.

use serde::{Deserialize, Serialize};

use super::{Gateway, Person, Row, put};
use crate::bundle::document::Document;
use crate::consent::{Consent, ConsentError, Network};
use crate::id::{BundleId, ConsentId, Digest, PatientIdentifier, SubjectId};
use crate::problem::Problem;
use crate::records::{
    BundleRecord, CasePrivate, CaseRecord, ConsentRecord, EmergencyPrivate, HoldRecord, InboxRecord, Side,
};
use crate::statement::Kind;
use crate::store::{Expect, Put, Space};

/// What a consent's sealed part holds: the resource, byte for byte. Written once: what happens to a consent later
/// stands in its record and in the log, so that every decision that read the resource can be taken again.
#[derive(Deserialize, Serialize)]
pub struct ConsentPrivate {
    /// The resource as it was given.
    pub resource: String,
    /// The scans that are kept beside it, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Scan>,
}

/// A scan of a paper that bears out a consent. Its content lies in the vault, sealed under the subject's key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scan {
    /// SHA-256 of the scan as it was handed in.
    pub sha256: Digest,
    /// What it is, by its first bytes.
    pub media_type: String,
    /// Its size, in bytes.
    pub bytes: u64,
}

impl std::fmt::Debug for ConsentPrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConsentPrivate(hidden)")
    }
}

impl Gateway {
    /// The pseudonym of a patient who is known here.
    pub fn find_subject(&self, patient: &PatientIdentifier) -> Result<Option<SubjectId>, Problem> {
        self.subjects.find(patient).map_err(|error| Problem::internal("the subjects' keys", &error))
    }

    /// The pseudonym of a patient, new or known.
    pub fn new_subject(&self, patient: &PatientIdentifier) -> Result<SubjectId, Problem> {
        self.subjects.find_or_create(patient).map_err(|error| Problem::internal("the subjects' keys", &error))
    }

    /// Every consent of a patient, withdrawn ones too.
    pub fn consents_of(&self, subject: &SubjectId) -> Result<Vec<Row<ConsentRecord>>, Problem> {
        self.rows(Space::Consent, &ConsentRecord::keys_of(subject))
    }

    /// A consent by its id alone.
    pub fn consent(&self, consent: &ConsentId) -> Result<Option<Row<ConsentRecord>>, Problem> {
        let Some(subject) = self.row::<SubjectId>(Space::Index, &whose_key(consent))? else { return Ok(None) };
        self.row(Space::Consent, &ConsentRecord::key(&subject.value, consent))
    }

    /// The puts of a consent that is new here.
    pub fn new_consent(&self, record: &ConsentRecord, private: &ConsentPrivate) -> Result<Vec<Put>, Problem> {
        let name = record.consent.as_str().as_bytes();
        let mut puts = self.seal_parts(Space::Consent, name, &record.subject, private)?;
        puts.extend(self.consent_version(record, Expect::Absent));
        puts.push(put(Space::Index, &whose_key(&record.consent), &record.subject, Expect::Absent));
        Ok(puts)
    }

    /// Reads a consent as everything stands now; one that a consent manager signed, under its key as it is now.
    pub fn read_consent(&self, resource: &[u8]) -> Result<Consent, ConsentError> {
        Consent::read(resource, &self.network())
    }

    /// Whom a consent artefact of India's health network may come from, and whom its ids mean.
    pub fn network(&self) -> Network<'_> {
        let abdm = &self.config.abdm;
        Network { managers: &self.consent_managers, hip: abdm.hip.as_deref(), recipients: &abdm.recipients }
    }

    /// The puts of a consent's record: the newest version, and the same beside the versions before it, for good.
    pub fn consent_version(&self, record: &ConsentRecord, expect: Expect) -> [Put; 2] {
        let kept = version_key(&record.consent, record.version);
        [
            put(Space::Consent, &ConsentRecord::key(&record.subject, &record.consent), record, expect),
            put(Space::Index, &kept, record, Expect::Absent),
        ]
    }

    /// One version of a consent's record.
    pub fn consent_as_of(&self, consent: &ConsentId, version: u64) -> Result<Option<ConsentRecord>, Problem> {
        Ok(self.row(Space::Index, &version_key(consent, version))?.map(|row| row.value))
    }

    /// Every bundle of a patient.
    pub fn bundles_of(&self, subject: &SubjectId) -> Result<Vec<Row<BundleRecord>>, Problem> {
        self.indexed(Space::Bundle, &format!("bundles/{subject}/"))
    }

    /// Whom a bundle that came in is about; `None` when its case is not on file.
    pub fn subject_of(&self, record: &InboxRecord) -> Result<Option<SubjectId>, Problem> {
        let side = if record.kind == Kind::Opinion { Side::Ours } else { Side::Theirs(record.from.clone()) };
        let case = self.row::<CaseRecord>(Space::Case, &CaseRecord::key(&side, &record.case))?;
        Ok(case.map(|case| case.value.subject))
    }

    /// A patient's legal hold, in force or not.
    pub fn hold_of(&self, subject: &SubjectId) -> Result<Option<Row<HoldRecord>>, Problem> {
        self.row(Space::Index, &HoldRecord::key(subject))
    }

    /// The resource of a consent; `None` when the subject was erased.
    pub fn consent_private(&self, record: &ConsentRecord) -> Result<Option<ConsentPrivate>, Problem> {
        self.person(&record.subject)?.map_or(Ok(None), |person| person.consent(&record.consent))
    }

    /// What the case's sealed part holds; empty when the subject was erased.
    pub fn case_private(&self, record: &CaseRecord) -> Result<CasePrivate, Problem> {
        self.person(&record.subject)?.map_or_else(|| Ok(CasePrivate::default()), |person| person.case(record))
    }

    /// The documents of a bundle, as they were surveyed; `None` when the subject was erased.
    pub fn documents_of(&self, record: &BundleRecord) -> Result<Option<Vec<Document>>, Problem> {
        self.person(&record.subject)?.map_or(Ok(None), |person| person.documents(&record.bundle))
    }

    /// What a bundle's sealed part holds of the emergency under which it leaves; `None` when there is none, or the
    /// subject was erased.
    pub fn emergency_private(&self, record: &BundleRecord) -> Result<Option<EmergencyPrivate>, Problem> {
        self.person(&record.subject)?.map_or(Ok(None), |person| person.emergency(&record.bundle))
    }

    /// The puts of what a bundle's sealed part holds of its emergency.
    pub fn seal_emergency(&self, record: &BundleRecord, private: &EmergencyPrivate) -> Result<Vec<Put>, Problem> {
        self.seal_parts(Space::Bundle, &emergency_name(&record.bundle), &record.subject, private)
    }

    /// The puts of a case that is new here.
    pub fn new_case(&self, record: &CaseRecord, private: &CasePrivate) -> Result<Vec<Put>, Problem> {
        let key = CaseRecord::key(&record.side, &record.case);
        let mut puts = self.seal_parts(Space::Case, &key, &record.subject, private)?;
        puts.push(put(Space::Case, &key, record, Expect::Absent));
        Ok(puts)
    }

    fn indexed<T: serde::de::DeserializeOwned>(&self, space: Space, prefix: &str) -> Result<Vec<Row<T>>, Problem> {
        let mut rows = Vec::new();
        self.each_key(Space::Index, prefix.as_bytes(), |key, _, _| {
            rows.extend(self.row::<T>(space, &key[prefix.len()..])?);
            Ok(())
        })?;
        Ok(rows)
    }
}

impl Person<'_> {
    /// What is sealed of a consent; `None` when there is nothing.
    pub fn consent(&self, consent: &ConsentId) -> Result<Option<ConsentPrivate>, Problem> {
        self.parts(Space::Consent, consent.as_str().as_bytes())
    }

    /// What is sealed of a case; empty when there is nothing.
    pub fn case(&self, record: &CaseRecord) -> Result<CasePrivate, Problem> {
        Ok(self.parts(Space::Case, &CaseRecord::key(&record.side, &record.case))?.unwrap_or_default())
    }

    /// The documents of a bundle, as they were surveyed; `None` when there is nothing.
    pub fn documents(&self, bundle: &BundleId) -> Result<Option<Vec<Document>>, Problem> {
        self.parts(Space::Bundle, bundle.as_str().as_bytes())
    }

    /// What is sealed of the emergency under which a bundle leaves; `None` when there is none.
    pub fn emergency(&self, bundle: &BundleId) -> Result<Option<EmergencyPrivate>, Problem> {
        self.parts(Space::Bundle, &emergency_name(bundle))
    }
}

/// Where it stands whose consent one is.
fn whose_key(consent: &ConsentId) -> Vec<u8> {
    format!("consent/{consent}").into_bytes()
}

fn version_key(consent: &ConsentId, version: u64) -> Vec<u8> {
    format!("consent-version/{consent}/{version}").into_bytes()
}

fn emergency_name(bundle: &BundleId) -> Vec<u8> {
    format!("{bundle}/emergency").into_bytes()
}
