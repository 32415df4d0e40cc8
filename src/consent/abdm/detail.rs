//! The text of a consent artefact: every element that it may have, and what it limits.
//!
//! Rule: what the tables below do not name is refused. A limit that a release cannot be held against permits nothing.

use super::super::moment::{Moment, Period};
use super::super::shape::{self, Kind, Table};
use super::super::tree::Tree;
use super::super::{Code, Consent, ConsentError, Effect, Limits, Provision, Recipient, Source, Status, Terms};
use super::{ABHA_ADDRESS_SYSTEM, ABHA_NUMBER_SYSTEM, Network, invalid, tables, unsupported};
use crate::id::PatientIdentifier;

/// Refuses a notification with any element beside the known ones.
pub(super) fn check(tree: &Tree) -> Result<(), ConsentError> {
    shape::object(tree, &MESSAGE, shape::At::Root)
}

/// Makes a consent of the signed text.
pub(super) fn read(detail: &Tree, network: &Network<'_>) -> Result<Consent, ConsentError> {
    if detail.text("schemaVersion") != Some(SCHEMA_VERSION) {
        return Err(unsupported("consentDetail.schemaVersion", "is another than v3"));
    }
    let own = detail.get("hip").and_then(|hip| hip.text("id"));
    match (own, network.hip) {
        (Some(own), Some(hip)) if own == hip => {}
        (_, None) => {
            return Err(unsupported("consentDetail.hip", "cannot be compared: medseal.toml names no abdm.hip"));
        }
        _ => return Err(unsupported("consentDetail.hip", "is another provider of records than this institution")),
    }
    let permission = detail.get("permission").ok_or_else(|| invalid("consentDetail.permission", "present"))?;
    let created = instant(detail, "createdAt", "consentDetail.createdAt")?;
    let erase_at = instant(permission, "dataEraseAt", "consentDetail.permission.dataEraseAt")?;
    let period = Period { start: Some(created), end: Some(erase_at) };
    if period.is_inverted() {
        return Err(invalid("consentDetail.permission.dataEraseAt", "after createdAt"));
    }
    let terms = Terms { erase_at: Some(erase_at), ..Terms::default() };
    Ok(Consent {
        source: Source::Abdm,
        status: Status::Active,
        about_privacy: true,
        patient: patient(detail)?,
        given: Some(created),
        period: Some(period),
        base: Provision {
            effect: Effect::Permit,
            period: None,
            limits: limits(detail, permission, network)?,
            exceptions: Vec::new(),
            path: "consentDetail.permission".to_owned(),
        },
        added: Vec::new(),
        terms,
    })
}

fn limits(detail: &Tree, permission: &Tree, network: &Network<'_>) -> Result<Limits, ConsentError> {
    let mut limits = Limits::default();
    let hiu = detail.get("hiu").and_then(|hiu| hiu.text("id"));
    let named = hiu.and_then(|id| network.recipients.get(id));
    limits.recipients.push(named.cloned().map_or(Recipient::Unresolved, Recipient::Institution));
    limits.purposes.push(purpose(detail)?);
    for kind in detail.list("hiTypes") {
        let Tree::Text(name) = kind else { return Err(invalid("consentDetail.hiTypes", "a list of texts")) };
        let known = "kinds of health information of ABDM, such as DiagnosticReport";
        limits.classes.extend(tables::hi_type(name).ok_or_else(|| invalid("consentDetail.hiTypes", known))?);
    }
    if limits.classes.is_empty() {
        return Err(invalid("consentDetail.hiTypes", "present"));
    }
    let range = permission.get("dateRange").ok_or_else(|| invalid("consentDetail.permission.dateRange", "present"))?;
    let at = "consentDetail.permission.dateRange";
    let range = Period { start: Some(instant(range, "from", at)?), end: Some(instant(range, "to", at)?) };
    if range.is_inverted() {
        return Err(invalid(at, "a range whose `to` is after its `from`"));
    }
    limits.data_period = Some(range);
    limits.unsupported.extend(keeps_no_copy(permission)?);
    // How often the recipient may ask at the network. It asks nothing here: a person sends.
    let frequency = permission.get("frequency").and_then(|frequency| frequency.text("unit"));
    if !matches!(frequency, None | Some("HOUR" | "DAY" | "WEEK" | "MONTH" | "YEAR")) {
        return Err(invalid("consentDetail.permission.frequency.unit", "HOUR, DAY, WEEK, MONTH or YEAR"));
    }
    if !detail.list("careContexts").is_empty() {
        limits.unsupported.insert("single care contexts, which no document in a bundle names");
    }
    Ok(limits)
}

/// Records that are sent stay with the recipient: only the mode STORE says that they may.
fn keeps_no_copy(permission: &Tree) -> Result<Option<&'static str>, ConsentError> {
    match permission.text("accessMode") {
        Some("STORE") => Ok(None),
        Some("VIEW") => Ok(Some("the access mode VIEW, under which the recipient keeps no copy")),
        Some("QUERY") => Ok(Some("the access mode QUERY, under which no records are sent")),
        Some("STREAM") => Ok(Some("the access mode STREAM, under which the recipient keeps no copy")),
        _ => Err(invalid("consentDetail.permission.accessMode", "VIEW, STORE, QUERY or STREAM")),
    }
}

fn purpose(detail: &Tree) -> Result<Code, ConsentError> {
    let purpose = detail.get("purpose").ok_or_else(|| invalid("consentDetail.purpose", "present"))?;
    if purpose.text("refUri").is_some_and(|uri| !tables::is_purpose_system(uri)) {
        return Err(unsupported("consentDetail.purpose.refUri", "names another set of codes than v3-PurposeOfUse"));
    }
    let code = purpose.text("code").and_then(tables::purpose);
    code.ok_or_else(|| invalid("consentDetail.purpose.code", "CAREMGT, BTG, PUBHLTH, HPAYMT, DSRCH or PATRQT"))
}

/// A manager speaks only for the addresses that it gives out.
fn patient(detail: &Tree) -> Result<PatientIdentifier, ConsentError> {
    const AT: &str = "consentDetail.patient.id";
    let id = detail.get("patient").and_then(|patient| patient.text("id")).ok_or_else(|| invalid(AT, "present"))?;
    let manager = detail.get("consentManager").and_then(|manager| manager.text("id"));
    let system = match id.split_once('@') {
        Some((name, issuer)) if !name.is_empty() && Some(issuer) == manager => ABHA_ADDRESS_SYSTEM,
        Some(_) => return Err(unsupported(AT, "is an address that this consent manager does not give out")),
        None if is_abha_number(id) => ABHA_NUMBER_SYSTEM,
        None => return Err(invalid(AT, "an ABHA address such as name@abdm, or a number such as 91-1234-5678-9012")),
    };
    PatientIdentifier::new(system, id).map_err(|_| invalid(AT, "of printable characters"))
}

fn is_abha_number(id: &str) -> bool {
    id.len() == 17
        && id.bytes().enumerate().all(|(at, b)| if [2, 7, 12].contains(&at) { b == b'-' } else { b.is_ascii_digit() })
}

/// A time with its offset; a mere day would mean another instant in each zone.
fn instant(parent: &Tree, key: &str, at: &'static str) -> Result<Moment, ConsentError> {
    match parent.text(key).and_then(Moment::read) {
        Some(moment @ Moment::At(_)) => Ok(moment),
        _ => Err(invalid(at, "a time with seconds and offset, such as 2026-11-22T06:30:00.000Z")),
    }
}

static MESSAGE: Table =
    Table(&[("requestId", Kind::Text), ("timestamp", Kind::Text), ("notification", Kind::One(&NOTIFICATION))]);
static NOTIFICATION: Table = Table(&[
    ("status", Kind::Text),
    ("consentId", Kind::Text),
    ("consentDetail", Kind::One(&DETAIL)),
    ("signature", Kind::Text),
    ("grantAcknowledgement", Kind::Flag),
]);
static DETAIL: Table = Table(&[
    ("schemaVersion", Kind::Text),
    ("consentId", Kind::Text),
    ("createdAt", Kind::Text),
    ("lastUpdated", Kind::Text),
    ("patient", Kind::One(&ID)),
    ("careContexts", Kind::Many(&CARE_CONTEXT)),
    ("purpose", Kind::One(&PURPOSE)),
    ("hip", Kind::One(&PARTY)),
    ("hiu", Kind::One(&PARTY)),
    ("consentManager", Kind::One(&ID)),
    ("requester", Kind::One(&REQUESTER)),
    ("hiTypes", Kind::Texts),
    ("permission", Kind::One(&PERMISSION)),
]);
static ID: Table = Table(&[("id", Kind::Text)]);
static PARTY: Table = Table(&[("id", Kind::Text), ("name", Kind::Text), ("type", Kind::Text)]);
static CARE_CONTEXT: Table = Table(&[("patientReference", Kind::Text), ("careContextReference", Kind::Text)]);
static PURPOSE: Table = Table(&[("text", Kind::Text), ("code", Kind::Text), ("refUri", Kind::Text)]);
static REQUESTER: Table = Table(&[("name", Kind::Text), ("identifier", Kind::One(&REQUESTER_IDENTIFIER))]);
static REQUESTER_IDENTIFIER: Table = Table(&[("type", Kind::Text), ("value", Kind::Text), ("system", Kind::Text)]);
static PERMISSION: Table = Table(&[
    ("accessMode", Kind::Text),
    ("dateRange", Kind::One(&RANGE)),
    ("dataEraseAt", Kind::Text),
    ("frequency", Kind::One(&FREQUENCY)),
]);
static RANGE: Table = Table(&[("from", Kind::Text), ("to", Kind::Text)]);
static FREQUENCY: Table = Table(&[("unit", Kind::Text), ("value", Kind::Number), ("repeats", Kind::Number)]);

/// The version of the artefact's schema that the tables describe.
const SCHEMA_VERSION: &str = "v3";
