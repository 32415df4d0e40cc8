//! What a document says of itself, read in passing: its type, its class, its dates, and whom it names.
//!
//! Rule: memory and work are bounded by [`SurveyLimits`], whatever the bytes are; a survey never fails and never
//! panics. What could not be read is said in [`Checked::No`], and nothing here reaches a log: `Debug` hides the person.

use std::fmt;

use jiff::civil::Date;

mod ccda;
mod dates;
mod dicom;
mod dicom_bytes;
mod fhir;
mod hl7v2;
mod json_scan;
mod sniff;

use sniff::Kind;

/// How much of a document a survey may look at, and keep.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SurveyLimits {
    /// Bytes kept from the start of a document for the readers that need them together (DICOM, XML). In bytes.
    pub head_bytes_max: usize,
    /// How far a reader that works in passing (JSON, HL7 v2) goes on. In bytes.
    pub parsed_bytes_max: u64,
    /// How deep elements, objects or sequences may nest.
    pub depth_max: usize,
    /// How many patients are kept from one document.
    pub patients_max: usize,
}

impl Default for SurveyLimits {
    fn default() -> Self {
        Self { head_bytes_max: 1 << 20, parsed_bytes_max: 64 << 20, depth_max: 64, patients_max: 64 }
    }
}

/// An identifier as a document writes it; the issuer may be missing.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct SeenIdentifier {
    /// The issuer, such as `urn:oid:1.2.3`, if the document names one.
    pub system: Option<String>,
    /// The value.
    pub value: String,
}

/// A patient whom a document names.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct PatientSeen {
    /// Every identifier given, in the document's order.
    pub identifiers: Vec<SeenIdentifier>,
    /// Every name given, in the document's order, as plain text.
    pub names: Vec<String>,
    /// `YYYY-MM-DD`, or only its start where the document gives no more.
    pub birth_date: Option<String>,
    /// Administrative sex, if given.
    pub sex: Option<Sex>,
}

impl PatientSeen {
    /// The first name given.
    pub fn name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    fn is_empty(&self) -> bool {
        self.identifiers.is_empty() && self.names.is_empty() && self.birth_date.is_none()
    }
}

/// Administrative sex, as the four values of FHIR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sex {
    /// `F` or `female`.
    Female,
    /// `M` or `male`.
    Male,
    /// `O`, `UN` or `other`.
    Other,
}

impl Sex {
    fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "f" | "female" => Some(Self::Female),
            "m" | "male" => Some(Self::Male),
            "o" | "other" | "un" => Some(Self::Other),
            _ => None,
        }
    }
}

/// Whether the whole document was searched for the patients whom it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Checked {
    /// It was; `patients` is complete.
    Yes,
    /// It was not, or not to its end; why, for the clerk. Never holds a part of the document.
    No(&'static str),
}

/// What an image of a series says of it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Imaging {
    /// DICOM modality, such as `CT`.
    pub modality: Option<String>,
    /// Body part examined.
    pub body_part: Option<String>,
    /// Study instance UID.
    pub study: Option<String>,
    /// Series instance UID.
    pub series: Option<String>,
    /// Series number.
    pub series_number: Option<String>,
    /// Series description.
    pub description: Option<String>,
}

/// What a document says of itself.
#[derive(Clone, Eq, PartialEq)]
pub struct Surveyed {
    /// The media type, from the content, never from the name alone.
    pub media_type: &'static str,
    /// The LOINC code of the document's class, if the document carries or implies one.
    pub class: Option<String>,
    /// First and last day that the document is about, if it says so.
    pub date: Option<(Date, Date)>,
    /// Its title.
    pub title: Option<String>,
    /// What it says of an imaging series.
    pub imaging: Option<Imaging>,
    /// Whom it names.
    pub patients: Vec<PatientSeen>,
    /// Whether it was searched for names, wholly.
    pub checked: Checked,
    /// Oddities that a person should know of.
    pub remarks: Vec<&'static str>,
    /// How many bytes went by.
    pub bytes: u64,
}

impl Surveyed {
    fn of(media_type: &'static str, checked: Checked) -> Self {
        Self {
            media_type,
            class: None,
            date: None,
            title: None,
            imaging: None,
            patients: Vec::new(),
            checked,
            remarks: Vec::new(),
            bytes: 0,
        }
    }
}

/// A survey under way: the bytes of one document go by through [`Survey::push`].
pub struct Survey {
    extension: String,
    limits: SurveyLimits,
    head: Vec<u8>,
    bytes: u64,
    reader: Reader,
}

enum Reader {
    /// Not enough seen to know what it is.
    Undecided,
    /// Read from the head, at the end.
    Head(Kind),
    /// Its type says all.
    Nothing(Kind),
    Fhir(Box<fhir::Scan>),
    Hl7v2(Box<hl7v2::Scan>),
}

impl Survey {
    /// Starts on a document. `path` is its path in the bundle: its extension settles what the content leaves open.
    pub fn new(path: &str, limits: SurveyLimits) -> Self {
        Self {
            extension: path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default(),
            limits,
            head: Vec::new(),
            bytes: 0,
            reader: Reader::Undecided,
        }
    }

    /// Surveys a document that is in memory.
    pub fn of(path: &str, document: &[u8], limits: SurveyLimits) -> Surveyed {
        let mut survey = Self::new(path, limits);
        survey.push(document);
        survey.finish()
    }

    /// Takes the next bytes of the document; work is linear in their number.
    pub fn push(&mut self, mut chunk: &[u8]) {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        if matches!(self.reader, Reader::Undecided) {
            let (more, rest) = chunk.split_at(chunk.len().min(SNIFF_BYTES - self.head.len()));
            self.head.extend_from_slice(more);
            chunk = rest;
            if self.head.len() < SNIFF_BYTES {
                return;
            }
            self.decide();
        }
        self.read(chunk);
    }

    /// Ends the document and says what was seen.
    pub fn finish(mut self) -> Surveyed {
        if matches!(self.reader, Reader::Undecided) {
            self.decide();
        }
        let cut = self.bytes > self.head.len() as u64;
        let mut surveyed = match self.reader {
            Reader::Head(Kind::Dicom) => dicom::read(&self.head, cut, self.limits),
            Reader::Head(Kind::Xml) => ccda::read(&self.head, cut, self.limits),
            Reader::Fhir(scan) => scan.finish(self.extension == "json"),
            Reader::Hl7v2(scan) => scan.finish(),
            Reader::Head(kind) | Reader::Nothing(kind) => kind.surveyed(),
            Reader::Undecided => Kind::Binary.surveyed(),
        };
        surveyed.bytes = self.bytes;
        surveyed
    }

    fn decide(&mut self) {
        let kind = sniff::kind(&self.head, &self.extension);
        self.reader = match kind {
            Kind::Dicom | Kind::Xml => Reader::Head(kind),
            Kind::Json => Reader::Fhir(Box::new(fhir::Scan::new(self.limits))),
            Kind::Hl7v2 => Reader::Hl7v2(Box::new(hl7v2::Scan::new(self.limits))),
            _ => Reader::Nothing(kind),
        };
        let head = std::mem::take(&mut self.head);
        self.read(&head);
    }

    fn read(&mut self, chunk: &[u8]) {
        match &mut self.reader {
            Reader::Undecided | Reader::Nothing(_) => {}
            Reader::Head(_) => {
                let room = self.limits.head_bytes_max.saturating_sub(self.head.len());
                self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Reader::Fhir(scan) => scan.push(chunk),
            Reader::Hl7v2(scan) => scan.push(chunk),
        }
    }
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl fmt::Debug for SeenIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeenIdentifier(hidden)")
    }
}

impl fmt::Debug for PatientSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientSeen(hidden)")
    }
}

impl fmt::Debug for Imaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imaging").field("modality", &self.modality).finish_non_exhaustive()
    }
}

impl fmt::Debug for Surveyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surveyed")
            .field("media_type", &self.media_type)
            .field("class", &self.class)
            .field("patients", &self.patients.len())
            .field("checked", &self.checked)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What decides the kind: a fixed number of bytes, so that the pieces in which a document arrives change nothing.
const SNIFF_BYTES: usize = 4096;

/// Longest text kept of one value, in bytes: room for any name or title, none for an attack on memory.
const TEXT_BYTES_MAX: usize = 1024;

/// Adds a patient unless the document named the very same before; `false` when there is no room left.
fn add_patient(patients: &mut Vec<PatientSeen>, patient: PatientSeen, limits: SurveyLimits) -> bool {
    if patient.is_empty() || patients.contains(&patient) {
        return true;
    }
    if patients.len() >= limits.patients_max {
        return false;
    }
    patients.push(patient);
    true
}

/// Tidies a text for keeping: one line, trimmed, bounded; `None` when nothing is left.
fn tidy(text: &str) -> Option<String> {
    let mut kept = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if kept.len() + word.len() + 1 > TEXT_BYTES_MAX {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    (!kept.is_empty()).then_some(kept)
}

/// Writes an issuer as a URI: a bare OID becomes `urn:oid:`.
fn system_uri(system: &str) -> Option<String> {
    let system = tidy(system)?;
    let is_oid = system.contains('.') && system.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    Some(if is_oid { format!("urn:oid:{system}") } else { system })
}
