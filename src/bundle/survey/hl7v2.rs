//! HL7 v2 messages (ER7): whom the PID segments name, what OBR and TXA say of the report.
//!
//! Rule: every PID of every message counts, however the segments are divided.

use super::{Checked, PatientSeen, SeenIdentifier, Sex, SurveyLimits, Surveyed, add_patient, dates, system_uri, tidy};
use jiff::civil::Date;

/// Whether the text, without byte order mark and white space, starts like a message or a batch.
pub(super) fn looks_like(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\x0b").unwrap_or(text);
    [b"MSH", b"FHS", b"BHS"].iter().any(|name| text.starts_with(*name))
        && text.get(3).is_some_and(u8::is_ascii_punctuation)
        && text.get(4..8).is_some_and(|chars| chars.iter().all(u8::is_ascii_graphic))
}

/// Messages going by, one segment at a time.
pub(super) struct Scan {
    limits: SurveyLimits,
    line: Vec<u8>,
    bytes: u64,
    marks: Marks,
    patients: Vec<PatientSeen>,
    crowded: bool,
    framed: bool,
    long_pid: bool,
    date: Option<(Date, Date)>,
    message_date: Option<(Date, Date)>,
    classes: Vec<String>,
    title: Option<String>,
}

/// The separators that a message declares for itself.
#[derive(Clone, Copy)]
struct Marks {
    field: char,
    component: char,
    repetition: char,
    escape: char,
    part: char,
}

impl Scan {
    pub(super) fn new(limits: SurveyLimits) -> Self {
        Self {
            limits,
            line: Vec::new(),
            bytes: 0,
            marks: Marks { field: '|', component: '^', repetition: '~', escape: '\\', part: '&' },
            patients: Vec::new(),
            crowded: false,
            framed: false,
            long_pid: false,
            date: None,
            message_date: None,
            classes: Vec::new(),
            title: None,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.limits.parsed_bytes_max.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        for &byte in &bytes[..bytes.len().min(room)] {
            match byte {
                b'\r' | b'\n' => self.end_line(),
                // MLLP framing belongs to the line, not into a file: it can hide where one message ends.
                0x0b | 0x1c => {
                    self.framed = true;
                    self.end_line();
                }
                _ if self.line.len() < LINE_BYTES_MAX => self.line.push(byte),
                _ => self.long_pid |= self.line.starts_with(b"PID"),
            }
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    pub(super) fn finish(mut self) -> Surveyed {
        self.end_line();
        let checked = if self.bytes > self.limits.parsed_bytes_max {
            Checked::No("the file is too long to be searched to its end")
        } else if self.framed {
            Checked::No("the HL7 v2 message holds framing bytes, so that two readers may see two messages")
        } else if self.long_pid {
            Checked::No("a patient segment is too long to be read")
        } else if self.crowded {
            Checked::No("the document names more patients than are compared")
        } else {
            Checked::Yes
        };
        let mut surveyed = Surveyed::of("application/hl7-v2", checked);
        surveyed.patients = self.patients;
        surveyed.date = self.date.or(self.message_date);
        surveyed.title = self.title;
        self.classes.dedup();
        if let [class] = self.classes.as_slice() {
            surveyed.class = Some(class.clone());
        }
        surveyed
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        let text = match std::str::from_utf8(line) {
            Ok(text) => text.to_owned(),
            // Not UTF-8: an 8-bit set; Latin-1 keeps every byte a letter.
            Err(_) => line.iter().map(|&b| char::from(b)).collect(),
        };
        let text = text.trim_start();
        match text.get(..3) {
            Some("MSH" | "FHS" | "BHS") => {
                let mut marks = text.chars().skip(3);
                let mut next = |old: char| marks.next().filter(char::is_ascii_punctuation).unwrap_or(old);
                self.marks = Marks {
                    field: next('|'),
                    component: next('^'),
                    repetition: next('~'),
                    escape: next('\\'),
                    part: next('&'),
                };
                // The field separator is itself the first field, so MSH-7 stands at 6.
                let at = text.split(self.marks.field).nth(6).and_then(dates::days);
                dates::widen(&mut self.message_date, at);
            }
            Some("PID") => self.pid(text),
            Some("OBR") => {
                let observed = self.field(text, 7).and_then(dates::days);
                dates::widen(&mut self.date, observed);
                if let Some(service) = self.field(text, 4) {
                    let part = |at: usize| service.split(self.marks.component).nth(at).and_then(tidy);
                    if part(2).as_deref() == Some("LN") && self.classes.len() < 64 {
                        self.classes.extend(part(0).filter(|code| !self.classes.contains(code)));
                    }
                    self.title = self.title.take().or_else(|| part(1).map(|name| self.unescape(&name)));
                }
            }
            Some("TXA") => {
                let active = self.field(text, 4).and_then(dates::days);
                dates::widen(&mut self.date, active);
            }
            _ => {}
        }
    }

    fn field<'a>(&self, segment: &'a str, at: usize) -> Option<&'a str> {
        // A field of two quotation marks says that there is no value.
        segment.split(self.marks.field).nth(at).filter(|field| !field.is_empty() && *field != "\"\"")
    }

    fn pid(&mut self, segment: &str) {
        let mut patient = PatientSeen::default();
        for at in [3, 2, 4] {
            for repetition in self.field(segment, at).into_iter().flat_map(|field| field.split(self.marks.repetition)) {
                let component =
                    |at: usize| repetition.split(self.marks.component).nth(at).filter(|text| !text.is_empty());
                let Some(value) = component(0).and_then(tidy).map(|value| self.unescape(&value)) else { continue };
                let identifier = SeenIdentifier { system: component(3).and_then(|issuer| self.issuer(issuer)), value };
                let known = patient.identifiers.iter().any(|old| old.value == identifier.value);
                if (at == 3 || !known) && patient.identifiers.len() < 64 {
                    patient.identifiers.push(identifier);
                }
            }
        }
        if let Some(value) = self.field(segment, 19).and_then(tidy) {
            let system = Some("urn:oid:2.16.840.1.113883.4.1".to_owned());
            patient.identifiers.push(SeenIdentifier { system, value: self.unescape(&value) });
        }
        for name in self.field(segment, 5).into_iter().flat_map(|field| field.split(self.marks.repetition)).take(16) {
            let part = |at: usize| {
                let part = name.split(self.marks.component).nth(at)?;
                tidy(part.split(self.marks.part).next()?)
            };
            let text = [1, 2, 0].into_iter().filter_map(part).collect::<Vec<_>>().join(" ");
            patient.names.extend(tidy(&self.unescape(&text)));
        }
        patient.birth_date = self.field(segment, 7).and_then(dates::partial);
        patient.sex = self.field(segment, 8).and_then(Sex::read);
        self.crowded |= !add_patient(&mut self.patients, patient, self.limits);
    }

    /// HD: namespace, universal id, type of the universal id.
    fn issuer(&self, hd: &str) -> Option<String> {
        let part = |at: usize| hd.split(self.marks.part).nth(at).and_then(tidy);
        match (part(1), part(2).as_deref()) {
            (Some(id), Some("ISO")) => system_uri(&id),
            (Some(id), Some("URI" | "UUID" | "GUID" | "DNS")) => Some(id),
            _ => part(0).map(|name| self.unescape(&name)),
        }
    }

    fn unescape(&self, text: &str) -> String {
        let Marks { field, component, repetition, escape, part } = self.marks;
        if !text.contains(escape) {
            return text.to_owned();
        }
        [('F', field), ('S', component), ('R', repetition), ('T', part), ('E', escape)]
            .iter()
            .fold(text.to_owned(), |text, (name, mark)| {
                text.replace(&format!("{escape}{name}{escape}"), &mark.to_string())
            })
    }
}

/// Longest part of a segment that is kept: room for any PID; OBX may carry whole documents.
const LINE_BYTES_MAX: usize = 16 << 10;
