//! FHIR in JSON, R4 and R5 alike: whom the resources name, and what kind of document they make.
//!
//! Rule: only business identifiers, names and birth dates tell who a patient is; a literal reference does not, and
//! nothing is ever fetched.

use jiff::civil::Date;

use super::json_scan::{Fault, JsonScan, Sink};
use super::sniff::Kind;
use super::{
    Checked, Imaging, PatientSeen, SeenIdentifier, Sex, SurveyLimits, Surveyed, TEXT_BYTES_MAX, add_patient, dates,
    system_uri, tidy,
};

/// A FHIR document going by.
pub(super) struct Scan {
    json: JsonScan,
    bundle: Resources,
    bytes: u64,
    bytes_max: u64,
}

impl Scan {
    pub(super) fn new(limits: SurveyLimits) -> Self {
        Self {
            json: JsonScan::new(limits.depth_max, TEXT_BYTES_MAX),
            bundle: Resources::new(limits),
            bytes: 0,
            bytes_max: limits.parsed_bytes_max,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.bytes_max.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let seen = &bytes[..bytes.len().min(room)];
        // A byte order mark is not JSON, but some systems write one.
        let start = if self.bytes < 3 { bom_in(seen, self.bytes) } else { 0 };
        self.json.push(&seen[start..], &mut self.bundle);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    pub(super) fn finish(self, named_json: bool) -> Surveyed {
        let is_fhir = self.bundle.is_fhir;
        let whole = self.json.is_whole();
        if !is_fhir {
            // Text that only starts like JSON is text.
            let kind =
                if whole || named_json || self.json.fault() == Some(Fault::TooDeep) { Kind::Json } else { Kind::Text };
            return kind.surveyed();
        }
        let mut surveyed = self.bundle.surveyed();
        if self.bytes > self.bytes_max {
            surveyed.checked = Checked::No("the file is too long to be searched to its end");
        } else if !whole {
            surveyed.checked = Checked::No(match self.json.fault() {
                Some(Fault::TooDeep) => "the JSON nests too deep to be searched",
                Some(Fault::NotUtf8) => "the JSON is not valid UTF-8, so it was not searched to its end",
                Some(Fault::Trailing) => "something follows the end of the JSON document",
                Some(Fault::RepeatedKey) => {
                    "a name stands twice in one JSON object, so that two readers may see two patients"
                }
                Some(Fault::Syntax) | None => "the JSON is broken or cut off, so it was not searched to its end",
            });
        }
        surveyed
    }
}

/// How many of the first bytes belong to a byte order mark that starts at the document's start.
fn bom_in(bytes: &[u8], before: u64) -> usize {
    let expected = &b"\xef\xbb\xbf"[usize::try_from(before).unwrap_or(3).min(3)..];
    bytes.iter().zip(expected).take_while(|(a, b)| a == b).count()
}

/// The members that are read; each has its bit, so that a repeated one is seen.
const KEYS: &[&str] = &[
    "resourceType",
    "resource",
    "contained",
    "entry",
    "identifier",
    "system",
    "value",
    "name",
    "text",
    "family",
    "given",
    "birthDate",
    "gender",
    "subject",
    "patient",
    "display",
    "type",
    "code",
    "coding",
    "title",
    "date",
    "effectiveDateTime",
    "effectivePeriod",
    "effectiveInstant",
    "period",
    "start",
    "end",
    "started",
    "context",
    "modality",
    "description",
    "series",
    "bodySite",
];

/// Longer than any path that is read.
const PATH_MAX: usize = 5;

fn name_of(key: Option<u8>) -> &'static str {
    key.and_then(|key| KEYS.get(usize::from(key))).copied().unwrap_or_default()
}

/// Where a value stands below its resource: the last few names, without array positions.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Level {
    /// Position in [`KEYS`] of the name under which this container stands; `None` for any other name.
    key: Option<u8>,
    object: bool,
    /// Names seen in this object.
    seen: u64,
    /// Name of the member that comes.
    next: Option<u8>,
    /// This object is a resource.
    resource: bool,
}

/// What one resource said so far; its type may come last.
#[derive(Default)]
struct Resource {
    kind: Option<String>,
    patient: PatientSeen,
    subject: PatientSeen,
    class: Option<String>,
    class_title: Option<String>,
    title: Option<String>,
    coding: (Option<String>, Option<String>, Option<String>),
    identifier: (Option<String>, Option<String>),
    name: (Option<String>, Vec<String>, Option<String>),
    date: Option<(Date, Date)>,
    period: Option<(Date, Date)>,
    modality: Option<String>,
    body_part: Option<String>,
    /// Resources directly or indirectly within.
    parts: Parts,
}

/// What the resources within a bundle make of it.
#[derive(Default)]
struct Parts {
    compositions: usize,
    reports: usize,
    first: Option<(Option<String>, Option<String>)>,
    first_report: Option<(Option<String>, Option<String>)>,
    date: Option<(Date, Date)>,
}

struct Resources {
    limits: SurveyLimits,
    levels: Vec<Level>,
    open: Vec<Resource>,
    patients: Vec<PatientSeen>,
    subjects: Vec<PatientSeen>,
    crowded: bool,
    is_fhir: bool,
    root: Option<Surveyed>,
}

impl Resources {
    fn new(limits: SurveyLimits) -> Self {
        Self {
            limits,
            levels: Vec::new(),
            open: Vec::new(),
            patients: Vec::new(),
            subjects: Vec::new(),
            crowded: false,
            is_fhir: false,
            root: None,
        }
    }

    fn surveyed(mut self) -> Surveyed {
        // A document that broke off: what its resources said so far counts.
        while let Some(resource) = self.open.pop() {
            self.close_resource(resource);
        }
        let mut surveyed = self.root.take().unwrap_or_else(|| Surveyed::of("application/fhir+json", Checked::Yes));
        let named = !self.patients.is_empty();
        let mut patients = std::mem::take(&mut self.patients);
        for subject in std::mem::take(&mut self.subjects) {
            // The words beside a reference are loose; they count only where nothing better names the patient. An
            // identifier beside a reference counts unless the patient carries it.
            let known =
                patients.iter().any(|patient| subject.identifiers.iter().all(|id| patient.identifiers.contains(id)));
            if !(named && known) {
                self.crowded |= !add_patient(&mut patients, subject, self.limits);
            }
        }
        surveyed.patients = patients;
        if self.crowded {
            surveyed.checked = Checked::No("the document names more patients than are compared");
        }
        surveyed
    }

    /// The names from the value that comes up to its resource; `""` for a name that is not read.
    fn path(&self) -> Vec<&'static str> {
        let outer = self.levels.iter().rev().take_while(|level| !level.resource).filter(|level| level.object);
        std::iter::once(name_of(self.next_key())).chain(outer.map(|level| name_of(level.key))).take(PATH_MAX).collect()
    }

    fn next_key(&self) -> Option<u8> {
        // Values of an array stand under the array's own name.
        self.levels.last().and_then(|level| if level.object { level.next } else { level.key })
    }

    fn close_resource(&mut self, resource: Resource) {
        let Resource {
            kind,
            mut patient,
            subject,
            class,
            class_title,
            title,
            date,
            period,
            modality,
            body_part,
            parts,
            ..
        } = resource;
        let kind = kind.unwrap_or_default();
        let mut range = parts.date;
        let mut about = (class, title.or(class_title));
        match kind.as_str() {
            "Patient" => {
                patient.birth_date = patient.birth_date.as_deref().and_then(dates::partial);
                self.crowded |= !add_patient(&mut self.patients, patient, self.limits);
                about = (None, None);
            }
            "Composition" | "DiagnosticReport" | "DocumentReference" | "ImagingStudy" | "Observation" => {
                dates::widen(&mut range, date);
                dates::widen(&mut range, period);
                if kind == "ImagingStudy" {
                    about.0 = Some("18748-4".to_owned());
                }
            }
            _ => about = (None, None),
        }
        if kind != "Patient" && !subject.is_empty() {
            self.crowded |= !add_patient(&mut self.subjects, subject, self.limits);
        }
        if let Some(outer) = self.open.last_mut() {
            let outer = &mut outer.parts;
            dates::widen(&mut outer.date, range);
            outer.compositions += parts.compositions;
            outer.reports += parts.reports;
            match kind.as_str() {
                "Composition" => {
                    outer.compositions += 1;
                    outer.first.get_or_insert(about);
                }
                "DiagnosticReport" | "DocumentReference" => {
                    outer.reports += 1;
                    outer.first_report.get_or_insert(about);
                }
                _ => {}
            }
            return;
        }
        // A bundle has the class of the one document that it is, and none when it is a collection of several.
        if kind == "Bundle" {
            about = match (parts.compositions, parts.reports) {
                (1, _) => parts.first.unwrap_or_default(),
                (0, 1) => parts.first_report.unwrap_or_default(),
                _ => (None, None),
            };
        }
        let mut surveyed = Surveyed::of("application/fhir+json", Checked::Yes);
        (surveyed.class, surveyed.title) = about;
        surveyed.date = range;
        if kind == "ImagingStudy" {
            surveyed.imaging = Some(Imaging { modality, body_part, ..Imaging::default() });
        }
        self.root = Some(surveyed);
    }

    fn read(&mut self, text: &str) {
        const LOINC: &str = "http://loinc.org";
        let path = self.path();
        let Some(resource) = self.open.last_mut() else { return };
        match path.as_slice() {
            ["resourceType"] => {
                resource.kind = tidy(text);
                self.is_fhir = true;
            }
            ["system", "identifier"] | ["system", "identifier", "subject" | "patient"] => {
                resource.identifier.0 = system_uri(text);
            }
            ["value", "identifier"] | ["value", "identifier", "subject" | "patient"] => {
                resource.identifier.1 = tidy(text);
            }
            ["text", "name"] => resource.name.0 = tidy(text),
            ["given", "name"] if resource.name.1.len() < 16 => resource.name.1.extend(tidy(text)),
            ["family", "name"] => resource.name.2 = tidy(text),
            ["birthDate"] => resource.patient.birth_date = tidy(text),
            ["gender"] => resource.patient.sex = Sex::read(text),
            ["display", "subject" | "patient"] if resource.subject.names.len() < 16 => {
                resource.subject.names.extend(tidy(text));
            }
            ["title" | "description"] => resource.title = resource.title.take().or_else(|| tidy(text)),
            ["date" | "effectiveDateTime" | "effectiveInstant" | "started"] => {
                dates::widen(&mut resource.date, dates::days(text));
            }
            ["start" | "end", "effectivePeriod"] | ["start" | "end", "period", "context"] => {
                dates::widen(&mut resource.period, dates::days(text));
            }
            ["system", "coding", "type" | "code"] => resource.coding.0 = tidy(text),
            ["code", "coding", "type" | "code"] => resource.coding.1 = tidy(text),
            ["display", "coding", "type" | "code"] => resource.coding.2 = tidy(text),
            ["text", "type" | "code"] => resource.class_title = tidy(text),
            ["code", "modality"] | ["code", "modality", "series"] => resource.modality = tidy(text),
            ["display", "bodySite", "series"] => resource.body_part = tidy(text),
            _ => {}
        }
        // A coding is complete when both parts are there, in either order.
        if let (Some(system), Some(code)) = (&resource.coding.0, &resource.coding.1)
            && system == LOINC
            && resource.class.is_none()
        {
            resource.class = Some(code.clone());
        }
    }
}

impl Sink for Resources {
    fn open_object(&mut self) {
        let key = self.next_key();
        let resource = self.levels.is_empty() || matches!(name_of(key), "resource" | "contained");
        self.levels.push(Level { key, object: true, seen: 0, next: None, resource });
        if resource {
            self.open.push(Resource::default());
        }
    }

    fn close_object(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if level.resource {
            if let Some(resource) = self.open.pop() {
                self.close_resource(resource);
            }
            return;
        }
        let outer = self.levels.iter().rev().take_while(|level| !level.resource).filter(|level| level.object);
        let path: Vec<&str> =
            std::iter::once(name_of(level.key)).chain(outer.map(|level| name_of(level.key))).take(PATH_MAX).collect();
        let Some(resource) = self.open.last_mut() else { return };
        match path.as_slice() {
            ["identifier"] | ["identifier", "subject" | "patient"] => {
                let (system, value) = std::mem::take(&mut resource.identifier);
                let person = if path.len() == 1 { &mut resource.patient } else { &mut resource.subject };
                if let Some(value) = value
                    && person.identifiers.len() < 64
                {
                    person.identifiers.push(SeenIdentifier { system, value });
                }
            }
            ["name"] => {
                let (text, given, family) = std::mem::take(&mut resource.name);
                let parts = given.into_iter().chain(family).collect::<Vec<_>>().join(" ");
                let name = if parts.is_empty() { text } else { Some(parts) };
                if resource.patient.names.len() < 16 {
                    resource.patient.names.extend(name);
                }
            }
            ["coding", "type" | "code"] => {
                let display = std::mem::take(&mut resource.coding).2;
                resource.class_title = resource.class_title.take().or(display);
            }
            _ => {}
        }
    }

    fn open_array(&mut self) {
        let key = self.next_key();
        self.levels.push(Level { key, object: false, seen: 0, next: None, resource: false });
    }

    fn close_array(&mut self) {
        self.levels.pop();
    }

    fn key(&mut self, key: &str) -> bool {
        let known = KEYS.iter().position(|known| *known == key).and_then(|at| u8::try_from(at).ok());
        let Some(level) = self.levels.last_mut() else { return true };
        level.next = known;
        let Some(known) = known else { return true };
        let bit = 1 << known;
        let new = level.seen & bit == 0;
        level.seen |= bit;
        new
    }

    fn wants(&self) -> bool {
        self.next_key().is_some()
    }

    fn scalar(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.read(text);
        }
    }
}
