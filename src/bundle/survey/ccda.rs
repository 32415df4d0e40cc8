//! C-CDA: the header of a clinical document in XML, up to its body.
//!
//! Rule: no document type, no entity but the five of XML, no reference followed. XML that is anything else is only
//! named by its media type.

use jiff::civil::Date;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::sniff::Kind;
use super::{Checked, PatientSeen, SeenIdentifier, Sex, SurveyLimits, Surveyed, add_patient, dates, system_uri, tidy};

/// Reads the header; `cut` says that `head` is not the whole document.
pub(super) fn read(head: &[u8], cut: bool, limits: SurveyLimits) -> Surveyed {
    let text = match decode(head) {
        Ok(text) => text,
        Err(why) => return Surveyed { checked: Checked::No(why), ..Kind::Xml.surveyed() },
    };
    let mut header = Header::new(limits);
    let end = header.read(&text);
    match header.root {
        Root::Cda => header.surveyed(end, cut),
        Root::Fhir => Surveyed::of("application/fhir+xml", Checked::No("FHIR in XML is not searched for names")),
        Root::Svg => Surveyed::of("image/svg+xml", Checked::No("a drawing is not searched for names")),
        Root::Html => Kind::Html.surveyed(),
        Root::Other | Root::None => {
            let mut surveyed = Kind::Xml.surveyed();
            if let End::No(why) = end {
                surveyed.checked = Checked::No(why);
            }
            surveyed
        }
    }
}

/// The head as text: UTF-8, UTF-16 with its mark, or the 8-bit sets that the declaration may name.
fn decode(head: &[u8]) -> Result<String, &'static str> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = head[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    if head.starts_with(b"\xff\xfe") {
        return Ok(utf16(u16::from_le_bytes));
    }
    if head.starts_with(b"\xfe\xff") {
        return Ok(utf16(u16::from_be_bytes));
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let declaration = head[..head.len().min(256)].split(|b| *b == b'>').next().unwrap_or_default();
    let declaration = String::from_utf8_lossy(declaration).to_ascii_lowercase();
    let declared = declaration.starts_with("<?xml").then(|| declaration.split_once("encoding")).flatten().map_or(
        "utf-8",
        |(_, rest)| {
            rest.trim_start_matches([' ', '=', '"', '\'']).split(['"', '\'', ' ', '?']).next().unwrap_or_default()
        },
    );
    match declared {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => match std::str::from_utf8(head) {
            Ok(text) => Ok(text.to_owned()),
            // The head may end within a character.
            Err(error) if error.error_len().is_none() => {
                Ok(String::from_utf8_lossy(&head[..error.valid_up_to()]).into_owned())
            }
            Err(_) => Err("the XML is not in the encoding that it declares"),
        },
        "iso-8859-1" | "iso8859-1" | "latin1" | "windows-1252" => Ok(head.iter().map(|&b| char::from(b)).collect()),
        _ => Err("the XML declares an encoding that is not read"),
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Root {
    None,
    Cda,
    Fhir,
    Svg,
    Html,
    Other,
}

/// Why reading ended.
#[derive(Clone, Copy)]
enum End {
    /// The header went by whole.
    Whole,
    /// The text ended within the header.
    Early,
    No(&'static str),
}

struct Header {
    limits: SurveyLimits,
    root: Root,
    /// Local names of the open elements.
    path: Vec<String>,
    text: String,
    patient: PatientSeen,
    name: Vec<String>,
    patients: Vec<PatientSeen>,
    crowded: bool,
    class: Option<String>,
    class_title: Option<String>,
    title: Option<String>,
    date: Option<(Date, Date)>,
}

const LOINC: &str = "2.16.840.1.113883.6.1";

impl Header {
    fn new(limits: SurveyLimits) -> Self {
        Self {
            limits,
            root: Root::None,
            path: Vec::new(),
            text: String::new(),
            patient: PatientSeen::default(),
            name: Vec::new(),
            patients: Vec::new(),
            crowded: false,
            class: None,
            class_title: None,
            title: None,
            date: None,
        }
    }

    fn surveyed(mut self, end: End, cut: bool) -> Surveyed {
        let checked = match end {
            _ if self.crowded => Checked::No("the document names more patients than are compared"),
            End::Whole => Checked::Yes,
            End::Early if cut => Checked::No("the header of the document is too long to be searched"),
            End::Early => Checked::No("the document ends within its header"),
            End::No(why) => Checked::No(why),
        };
        let patient = std::mem::take(&mut self.patient);
        add_patient(&mut self.patients, patient, self.limits);
        let mut surveyed = Surveyed::of("application/hl7-cda+xml", checked);
        surveyed.patients = self.patients;
        surveyed.class = self.class;
        surveyed.title = self.title.or(self.class_title);
        surveyed.date = self.date;
        surveyed
    }

    fn read(&mut self, text: &str) -> End {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        loop {
            match reader.read_event() {
                Err(_) => return End::No("the XML is broken, so it was not searched"),
                Ok(Event::Eof) => return End::Early,
                Ok(Event::DocType(_)) => {
                    // `<!DOCTYPE html>` of a web page is no danger; a definition of entities is.
                    self.root = Root::Other;
                    return End::No("the XML declares a document type, so it was not searched");
                }
                Ok(Event::Start(element)) => {
                    if self.path.len() >= self.limits.depth_max {
                        return End::No("the XML nests too deep to be searched");
                    }
                    if self.start(&element) {
                        return End::Whole;
                    }
                }
                Ok(Event::Empty(element)) => {
                    if self.start(&element) || self.end() {
                        return End::Whole;
                    }
                }
                Ok(Event::End(_)) => {
                    if self.end() {
                        return End::Whole;
                    }
                }
                Ok(Event::Text(text)) => self.add_text(&text.decode().unwrap_or_default()),
                Ok(Event::CData(text)) => self.add_text(&text.decode().unwrap_or_default()),
                Ok(Event::GeneralRef(entity)) => {
                    if let Ok(Some(c)) = entity.resolve_char_ref() {
                        self.add_text(c.encode_utf8(&mut [0; 4]));
                        continue;
                    }
                    match &*entity {
                        b"amp" => self.add_text("&"),
                        b"lt" => self.add_text("<"),
                        b"gt" => self.add_text(">"),
                        b"apos" => self.add_text("'"),
                        b"quot" => self.add_text("\""),
                        _ => return End::No("the XML uses an entity that it cannot define"),
                    }
                }
                Ok(Event::Decl(_) | Event::PI(_) | Event::Comment(_)) => {}
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        let room = super::TEXT_BYTES_MAX.saturating_sub(self.text.len());
        self.text.extend(text.chars().take(room));
    }

    fn is_at(&self, path: &[&str]) -> bool {
        self.path.len() == path.len() + 1 && self.path[1..].iter().zip(path).all(|(a, b)| a == b)
    }

    /// Enters an element; `true` when the header is over, or when the document is none of ours.
    fn start(&mut self, element: &BytesStart<'_>) -> bool {
        let local = String::from_utf8_lossy(element.local_name().as_ref()).into_owned();
        let attribute = |name: &str| -> Option<String> {
            let value = element.try_get_attribute(name).ok().flatten()?;
            tidy(&value.unescape_value().ok()?)
        };
        if self.path.is_empty() {
            let namespace = match element.name().prefix() {
                Some(prefix) => attribute(&format!("xmlns:{}", String::from_utf8_lossy(prefix.as_ref()))),
                None => attribute("xmlns"),
            };
            self.root = match (local.as_str(), namespace.as_deref()) {
                ("ClinicalDocument", Some("urn:hl7-org:v3")) => Root::Cda,
                (_, Some("http://hl7.org/fhir")) => Root::Fhir,
                ("svg", Some("http://www.w3.org/2000/svg")) => Root::Svg,
                ("html", Some("http://www.w3.org/1999/xhtml")) => Root::Html,
                _ => Root::Other,
            };
        }
        self.path.push(local);
        self.text.clear();
        if self.root != Root::Cda {
            // Read on, so that broken or too deep XML is named as such.
            return false;
        }
        if self.is_at(&["component"]) {
            return true;
        }
        if self.is_at(&["code"]) {
            if attribute("codeSystem").as_deref() == Some(LOINC) {
                self.class = attribute("code");
            }
            self.class_title = attribute("displayName");
        } else if self.is_at(&["effectiveTime"])
            || self.is_at(&["documentationOf", "serviceEvent", "effectiveTime"])
            || self.is_at(&["documentationOf", "serviceEvent", "effectiveTime", "low"])
            || self.is_at(&["documentationOf", "serviceEvent", "effectiveTime", "high"])
        {
            dates::widen(&mut self.date, attribute("value").as_deref().and_then(dates::days));
        } else if self.is_at(&["recordTarget", "patientRole", "id"]) {
            // An id without an extension is its root alone: an OID or a UUID.
            let (root, extension) = (attribute("root"), attribute("extension"));
            let identifier = match (root, extension) {
                (root, Some(value)) => Some(SeenIdentifier { system: root.as_deref().and_then(system_uri), value }),
                (Some(value), None) => Some(SeenIdentifier { system: Some("urn:ietf:rfc:3986".to_owned()), value }),
                (None, None) => None,
            };
            if self.patient.identifiers.len() < 64 {
                self.patient.identifiers.extend(identifier);
            }
        } else if self.is_at(&["recordTarget", "patientRole", "patient", "birthTime"]) {
            self.patient.birth_date = attribute("value").as_deref().and_then(dates::partial);
        } else if self.is_at(&["recordTarget", "patientRole", "patient", "administrativeGenderCode"]) {
            self.patient.sex = attribute("code").as_deref().and_then(Sex::read);
        }
        false
    }

    /// Leaves an element; `true` when it was the root.
    fn end(&mut self) -> bool {
        const NAME: [&str; 4] = ["recordTarget", "patientRole", "patient", "name"];
        let text = tidy(&std::mem::take(&mut self.text));
        if self.root == Root::Cda {
            if self.is_at(&["title"]) {
                self.title = text;
            } else if self.is_at(&[NAME[0], NAME[1], NAME[2], NAME[3], "given"])
                || self.is_at(&[NAME[0], NAME[1], NAME[2], NAME[3], "family"])
            {
                if self.name.len() < 16 {
                    self.name.extend(text);
                }
            } else if self.is_at(&NAME) {
                let parts = std::mem::take(&mut self.name).join(" ");
                let name = if parts.is_empty() { text } else { Some(parts) };
                if self.patient.names.len() < 16 {
                    self.patient.names.extend(name);
                }
            } else if self.is_at(&["recordTarget"]) {
                let patient = std::mem::take(&mut self.patient);
                self.crowded |= !add_patient(&mut self.patients, patient, self.limits);
            }
        }
        self.path.pop();
        self.path.is_empty()
    }
}
