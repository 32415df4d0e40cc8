//! DICOM headers (PS3.5, PS3.10): patient, study, series; pixels are never touched.
//!
//! Rule: our own reader over a slice, because lengths in a header come from anyone: nothing is allocated by a length
//! that a file claims, every step consumes bytes, nesting is bounded.

use dicom_encoding::text::{SpecificCharacterSet, TextCodec};
use jiff::civil::Date;

use super::dicom_bytes::{
    Cursor, ENCAPSULATED_DOCUMENT, Element, Encoding, End, ITEM, ITEM_END, PIXELS, SEQUENCE_END, Tag, UNDEFINED,
};
use super::{
    Checked, Imaging, PatientSeen, SeenIdentifier, Sex, SurveyLimits, Surveyed, add_patient, dates, system_uri, tidy,
};

/// Whether the bytes start like DICOM, with preamble or without.
pub(super) fn looks_like(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM".as_slice()) || Encoding::guess(head).is_some()
}

/// Reads the header; `cut` says that `head` is not the whole file.
pub(super) fn read(head: &[u8], cut: bool, limits: SurveyLimits) -> Surveyed {
    let mut header = Header::new(limits);
    let end = header.file(head);
    let mut surveyed = Surveyed::of("application/dicom", Checked::Yes);
    surveyed.checked = match end {
        // Elements stand in the order of their tags: beyond group 0010, the patient is known.
        _ if header.crowded => Checked::No("the file names more patients than are compared"),
        End::Whole => Checked::Yes,
        _ if header.last >= AFTER_PATIENT => Checked::Yes,
        End::Early if cut => Checked::No("the DICOM header is too long to be searched"),
        End::Early => Checked::No("the DICOM header is cut off"),
        End::Deflated => Checked::No("the DICOM header is compressed"),
        End::Broken => Checked::No("the DICOM header is broken"),
        End::Deep => Checked::No("the DICOM header nests too deep"),
    };
    if head.get(128..132) == Some(b"DICM".as_slice()) && head[..128].iter().any(|b| *b != 0) {
        surveyed.remarks.push("the preamble of the DICOM file holds other content");
    }
    header.into(surveyed)
}

/// First tag after the patient's group.
const AFTER_PATIENT: Tag = 0x0011_0000;

/// Sequences that are entered; the others are skipped by their length, or walked through when they have none.
const DIRECTORY: Tag = 0x0004_1220;
const ISSUER_QUALIFIERS: Tag = 0x0010_0024;
const OTHER_IDS: Tag = 0x0010_1002;
const CONCEPT: Tag = 0x0040_a043;

struct Header {
    limits: SurveyLimits,
    /// Highest tag reached at the top.
    last: Tag,
    charset: Vec<SpecificCharacterSet>,
    syntax: Option<String>,
    sop_class: Option<String>,
    patient: Draft,
    /// The patient of the directory record that is open.
    record: Draft,
    other: Draft,
    patients: Vec<PatientSeen>,
    crowded: bool,
    study_date: Option<(Date, Date)>,
    content_date: Option<(Date, Date)>,
    study: Option<String>,
    imaging: Imaging,
    document_title: Option<String>,
    concept: (Option<String>, Option<String>, Option<String>),
    concepts: usize,
}

/// A patient as far as read: the issuer stands beside the identifier, not in it.
#[derive(Default)]
struct Draft {
    seen: PatientSeen,
    id: Option<String>,
    issuer: Option<String>,
    universal: Option<String>,
}

impl Draft {
    fn finish(&mut self) -> PatientSeen {
        let Self { mut seen, id, issuer, universal } = std::mem::take(self);
        if let Some(value) = id {
            let system = universal.or(issuer).and_then(|system| system_uri(&system));
            seen.identifiers.insert(0, SeenIdentifier { system, value });
        }
        seen
    }
}

impl Header {
    fn new(limits: SurveyLimits) -> Self {
        Self {
            limits,
            last: 0,
            charset: Vec::new(),
            syntax: None,
            sop_class: None,
            patient: Draft::default(),
            record: Draft::default(),
            other: Draft::default(),
            patients: Vec::new(),
            crowded: false,
            study_date: None,
            content_date: None,
            study: None,
            imaging: Imaging::default(),
            document_title: None,
            concept: (None, None, None),
            concepts: 0,
        }
    }

    /// Reads a file from its preamble, or a data set that stands alone.
    fn file(&mut self, head: &[u8]) -> End {
        let (bytes, meta) = match head.get(128..132) {
            Some(b"DICM") => (&head[132..], true),
            _ => (head, head.first() == Some(&2)),
        };
        if bytes.is_empty() {
            return End::Early;
        }
        let mut cursor = Cursor { bytes, at: 0, encoding: Encoding::EXPLICIT };
        if meta && let Err(end) = self.meta(&mut cursor) {
            return end;
        }
        let guess = Encoding::guess(&bytes[cursor.at..]);
        cursor.encoding = match (&self.syntax, guess) {
            (Some(uid), guess) => match Encoding::of_syntax(uid) {
                None => return End::Deflated,
                // A data set that is plainly written otherwise than declared is read as it is.
                Some(declared) => guess.filter(|guess| guess.explicit != declared.explicit).unwrap_or(declared),
            },
            (None, guess) => guess.unwrap_or(Encoding::IMPLICIT),
        };
        match self.items(&mut cursor, &mut Vec::new(), None) {
            Ok(()) => End::Whole,
            Err(end) => end,
        }
    }

    /// The file meta group, always explicit VR little endian.
    fn meta(&mut self, cursor: &mut Cursor<'_>) -> Result<(), End> {
        while cursor.bytes.get(cursor.at..cursor.at + 2) == Some(&[2, 0]) {
            let element = cursor.element()?;
            let value = cursor.take(usize::try_from(element.length).map_err(|_| End::Broken)?)?;
            if element.tag == 0x0002_0010 {
                self.syntax = plain(value);
            }
        }
        Ok(())
    }

    /// Elements until `length` bytes are read, or until the end of the bytes or of the item when it is not given.
    fn items(&mut self, cursor: &mut Cursor<'_>, parents: &mut Vec<Tag>, end: Option<usize>) -> Result<(), End> {
        loop {
            if end.is_some_and(|end| cursor.at >= end) || (parents.is_empty() && cursor.at == cursor.bytes.len()) {
                return Ok(());
            }
            let element = cursor.element()?;
            match element.tag {
                ITEM_END if end.is_none() && !parents.is_empty() => return Ok(()),
                ITEM | ITEM_END | SEQUENCE_END => return Err(End::Broken),
                tag if parents.is_empty() => {
                    self.last = self.last.max(tag);
                    if PIXELS.contains(&tag) || tag == ENCAPSULATED_DOCUMENT {
                        return Ok(());
                    }
                }
                _ => {}
            }
            let enters = matches!(element.tag, DIRECTORY | ISSUER_QUALIFIERS | OTHER_IDS | CONCEPT);
            if element.length == UNDEFINED || (enters && matches!(&element.vr, b"SQ" | b"UN" | b"  ")) {
                self.sequence(cursor, parents, &element)?;
                continue;
            }
            let value = cursor.take(usize::try_from(element.length).map_err(|_| End::Broken)?)?;
            self.visit(parents, element.tag, value);
        }
    }

    fn sequence(&mut self, cursor: &mut Cursor<'_>, parents: &mut Vec<Tag>, sequence: &Element) -> Result<(), End> {
        if parents.len() >= self.limits.depth_max.min(DEPTH_MAX) {
            return Err(End::Deep);
        }
        let outer = cursor.encoding;
        // PS3.5, 6.2.2: a sequence in an unknown representation is implicit VR little endian within.
        if &sequence.vr == b"UN" {
            cursor.encoding = Encoding::IMPLICIT;
        }
        // Only pixel data in fragments has no length and is no sequence.
        let fragments = matches!(&sequence.vr, b"OB" | b"OW");
        let end = if sequence.length == UNDEFINED { None } else { Some(self.end_of(cursor, sequence.length)?) };
        parents.push(sequence.tag);
        loop {
            if end.is_some_and(|end| cursor.at >= end) {
                break;
            }
            let item = cursor.element()?;
            match item.tag {
                ITEM => {}
                SEQUENCE_END if end.is_none() => break,
                _ => return Err(End::Broken),
            }
            if fragments {
                cursor.take(usize::try_from(item.length).map_err(|_| End::Broken)?)?;
                continue;
            }
            let item_end = if item.length == UNDEFINED { None } else { Some(self.end_of(cursor, item.length)?) };
            self.items(cursor, parents, item_end)?;
            self.item_over(parents);
        }
        parents.pop();
        cursor.encoding = outer;
        Ok(())
    }

    /// Where a part of `length` bytes ends. It may be beyond the head: what is there is read.
    #[allow(clippy::unused_self, reason = "reads like the other steps")]
    fn end_of(&self, cursor: &Cursor<'_>, length: u32) -> Result<usize, End> {
        usize::try_from(length).ok().and_then(|length| cursor.at.checked_add(length)).ok_or(End::Broken)
    }

    fn item_over(&mut self, parents: &[Tag]) {
        match parents {
            [DIRECTORY] => {
                let patient = self.record.finish();
                self.crowded |= !add_patient(&mut self.patients, patient, self.limits);
            }
            [OTHER_IDS] => {
                let other = self.other.finish();
                if self.patient.seen.identifiers.len() < 64 {
                    self.patient.seen.identifiers.extend(other.identifiers);
                }
            }
            [CONCEPT] => self.concepts += 1,
            _ => {}
        }
    }

    fn visit(&mut self, parents: &[Tag], tag: Tag, value: &[u8]) {
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            return;
        }
        let draft = match parents {
            [] | [ISSUER_QUALIFIERS] => &mut self.patient,
            [DIRECTORY] | [DIRECTORY, ISSUER_QUALIFIERS] => &mut self.record,
            [OTHER_IDS] | [OTHER_IDS, ISSUER_QUALIFIERS] => &mut self.other,
            [CONCEPT] if self.concepts == 0 => {
                match tag {
                    0x0008_0100 => self.concept.0 = plain(value),
                    0x0008_0102 => self.concept.1 = plain(value),
                    0x0008_0104 => self.concept.2 = decode(&self.charset, value),
                    _ => {}
                }
                return;
            }
            _ => return,
        };
        match tag {
            0x0008_0005 => {
                let text = String::from_utf8_lossy(value);
                self.charset = text
                    .split('\\')
                    .map(|code| SpecificCharacterSet::from_code(code.trim()).unwrap_or_default())
                    .take(8)
                    .collect();
            }
            // The name, and others that the patient has.
            0x0010_0010 | 0x0010_1001 => draft.seen.names.extend(names(&self.charset, value)),
            0x0010_0020 => draft.id = decode(&self.charset, value),
            0x0010_0021 => draft.issuer = decode(&self.charset, value),
            0x0040_0032 => draft.universal = decode(&self.charset, value),
            0x0010_0030 => draft.seen.birth_date = plain(value).as_deref().and_then(dates::partial),
            0x0010_0040 => draft.seen.sex = plain(value).as_deref().and_then(Sex::read),
            0x0010_1000 => {
                // Retired, still written: other identifiers without their issuers.
                for value in
                    decode(&self.charset, value).iter().flat_map(|ids| ids.split('\\')).filter_map(tidy).take(16)
                {
                    draft.seen.identifiers.push(SeenIdentifier { system: None, value });
                }
            }
            _ if parents.is_empty() => self.visit_top(tag, value),
            _ => {}
        }
    }

    fn visit_top(&mut self, tag: Tag, value: &[u8]) {
        let day = || plain(value).as_deref().and_then(dates::days);
        match tag {
            0x0008_0016 => self.sop_class = plain(value),
            0x0008_0020 => self.study_date = day(),
            0x0008_0021..=0x0008_0023 => dates::widen(&mut self.content_date, day()),
            0x0008_0060 => self.imaging.modality = plain(value),
            0x0008_1030 => self.study = decode(&self.charset, value),
            0x0008_103e => self.imaging.description = decode(&self.charset, value),
            0x0018_0015 => self.imaging.body_part = plain(value),
            0x0020_000d => self.imaging.study = plain(value),
            0x0020_000e => self.imaging.series = plain(value),
            0x0020_0011 => self.imaging.series_number = plain(value),
            0x0042_0010 => self.document_title = decode(&self.charset, value),
            _ => {}
        }
    }

    fn into(mut self, mut surveyed: Surveyed) -> Surveyed {
        let patient = self.patient.finish();
        let record = self.record.finish();
        for patient in [patient, record] {
            if !add_patient(&mut self.patients, patient, self.limits) {
                surveyed.checked = Checked::No("the file names more patients than are compared");
            }
        }
        surveyed.patients = self.patients;
        surveyed.date = self.content_date;
        dates::widen(&mut surveyed.date, self.study_date);
        let (code, scheme, meaning) = self.concept;
        surveyed.class = match (scheme.as_deref(), code) {
            (Some("LN"), Some(code)) => Some(code),
            _ => self.imaging.modality.as_deref().and_then(class_of_modality).map(str::to_owned),
        };
        surveyed.title =
            [self.document_title, meaning, self.imaging.description.clone(), self.study].into_iter().flatten().next();
        if self.imaging != Imaging::default() {
            surveyed.imaging = Some(self.imaging);
        }
        surveyed
    }
}

/// The LOINC class of a study of this modality: pictures and what is measured on them are the imaging study; reports,
/// plans and encapsulated documents say themselves what they are, or stay without a class.
fn class_of_modality(modality: &str) -> Option<&'static str> {
    match modality {
        "SR" | "DOC" | "KO" | "PR" | "AU" | "OT" | "PLAN" | "RTPLAN" | "RTSTRUCT" | "RTDOSE" | "RTRECORD" => None,
        // Pathology study, EKG study.
        "SM" | "GM" => Some("11526-1"),
        "ECG" => Some("11524-6"),
        modality if modality.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) => Some("18748-4"),
        _ => None,
    }
}

/// PN: up to three groups (alphabetic, ideographic, phonetic) of five components.
fn names(charset: &[SpecificCharacterSet], value: &[u8]) -> Vec<String> {
    let Some(text) = decode(charset, value) else { return Vec::new() };
    let name = |group: &str| {
        let part = |at: usize| group.split('^').nth(at).unwrap_or_default();
        tidy(&format!("{} {} {}", part(1), part(2), part(0)))
    };
    text.split(['=', '\\']).filter_map(name).take(16).collect()
}

/// A text in the file's character set; one with escape sequences is read in the second set that is declared.
fn decode(charset: &[SpecificCharacterSet], value: &[u8]) -> Option<String> {
    let set = if value.contains(&0x1b) { charset.get(1).or(charset.first()) } else { charset.first() };
    let text = set.and_then(|set| set.decode(value).ok()).unwrap_or_else(|| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        // No set declared, but not ASCII: Latin-1 keeps every byte a letter.
        Err(_) => value.iter().map(|&b| char::from(b)).collect(),
    });
    tidy(text.trim_matches('\0'))
}

fn plain(value: &[u8]) -> Option<String> {
    tidy(String::from_utf8_lossy(value).trim_matches('\0'))
}

/// No identifier, name or title is longer.
const VALUE_BYTES_MAX: usize = 1024;

/// Deeper than any real header, shallower than any stack.
const DEPTH_MAX: usize = 32;
