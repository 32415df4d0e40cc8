//! Our own extensions of a Consent, for what FHIR has no element: countries, retention, who gave it, the notice shown.
//!
//! Rule: each is read to the last character or the consent is refused. docs/CONSENT.md defines them.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Country;

use super::moment::Moment;
use super::reader::{invalid, unsupported};
use super::tree::Tree;
use super::{ConsentError, Grantor, Terms};

/// Reads the extensions that stand at the root of a consent. Others' are passed over: FHIR marks those that change a
/// meaning as modifiers, and a modifier is refused before.
pub(super) fn read(resource: &Tree) -> Result<Terms, ConsentError> {
    let mut terms = Terms::default();
    let mut seen = BTreeSet::new();
    for extension in resource.list("extension") {
        let url = extension.text("url").ok_or_else(|| invalid("extension.url", "present"))?;
        if !url.starts_with(OURS) {
            continue;
        }
        if !seen.insert(url) && url != COUNTRY {
            return Err(ConsentError::Ambiguous { what: "one of medseal's extensions stands in it twice" });
        }
        match url {
            COUNTRY => {
                let code = only(extension, "valueCode").and_then(|code| code.parse::<Country>().ok());
                let code = code.ok_or_else(|| invalid(COUNTRY, "a valueCode of two letters, such as DE"))?;
                terms.countries.insert(code);
            }
            RETENTION => {
                let day = only(extension, "valueDate").or_else(|| only(extension, "valueDateTime"));
                let day = day.and_then(Moment::read);
                terms.erase_at = Some(day.ok_or_else(|| invalid(RETENTION, "a valueDate or a valueDateTime"))?);
            }
            GRANTOR => terms.grantor = grantor(extension)?,
            RISK_NOTICE => terms.risk_notice = Some(risk_notice(extension)?),
            _ => return Err(unsupported("extension", "is an extension of medseal that this version does not know")),
        }
    }
    Ok(terms)
}

/// Who gave it, and by whom and when a representative's authority was checked.
fn grantor(extension: &Tree) -> Result<Grantor, ConsentError> {
    const EXPECTED: &str =
        "capacity (self, parent or guardian), and for a parent or guardian verified-by with verified-on";
    let parts =
        parts(extension, &[("capacity", "valueCode"), ("verified-by", "valueString"), ("verified-on", "valueDate")]);
    let parts = parts.ok_or_else(|| invalid(GRANTOR, EXPECTED))?;
    let verified = match (parts.get("verified-by"), parts.get("verified-on")) {
        (None, None) => false,
        (Some(_), Some(day)) if Moment::read(day).is_some() => true,
        _ => return Err(invalid(GRANTOR, EXPECTED)),
    };
    match parts.get("capacity").copied() {
        Some("self") if !verified => Ok(Grantor::SelfGiven),
        Some("parent") => Ok(Grantor::Parent { verified }),
        Some("guardian") => Ok(Grantor::Guardian { verified }),
        _ => Err(invalid(GRANTOR, EXPECTED)),
    }
}

/// Which notice was given, in which language and when; without one of the three it proves nothing.
fn risk_notice(extension: &Tree) -> Result<String, ConsentError> {
    let parts = parts(extension, &[("version", "valueString"), ("language", "valueCode"), ("given", "valueDateTime")]);
    let whole = parts.filter(|parts| parts.len() == 3 && Moment::read(parts["given"]).is_some());
    let version = whole.map(|parts| parts["version"]).filter(|version| is_shown(version));
    version.map(str::to_owned).ok_or_else(|| invalid(RISK_NOTICE, "version, language and the time given"))
}

/// It is said to a clerk and written into decisions.
fn is_shown(version: &str) -> bool {
    version.len() <= VERSION_BYTES_MAX && version.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// The one value of a simple extension.
fn only<'a>(extension: &'a Tree, key: &str) -> Option<&'a str> {
    let Tree::Object(fields) = extension else { return None };
    let value = fields.keys().all(|found| found == "url" || found == "id" || found == key);
    if value { extension.text(key) } else { None }
}

/// The parts of a complex extension, each at most once and of its own type.
fn parts<'a>(extension: &'a Tree, known: &[(&'a str, &str)]) -> Option<BTreeMap<&'a str, &'a str>> {
    let Tree::Object(fields) = extension else { return None };
    if fields.keys().any(|key| key != "url" && key != "id" && key != "extension") {
        return None;
    }
    let mut parts = BTreeMap::new();
    for part in extension.list("extension") {
        let (name, kind) = known.iter().find(|(name, _)| part.text("url") == Some(name))?;
        if parts.insert(*name, only(part, kind)?).is_some() {
            return None;
        }
    }
    Some(parts)
}

const OURS: &str = "urn:medseal:";
const COUNTRY: &str = "urn:medseal:extension:country";
const RETENTION: &str = "urn:medseal:extension:retention";
const GRANTOR: &str = "urn:medseal:extension:grantor";
const RISK_NOTICE: &str = "urn:medseal:extension:risk-notice";
const VERSION_BYTES_MAX: usize = 128;
