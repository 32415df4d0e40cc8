//! From a FHIR R4 resource to a [`Consent`]: the base decision, the limits, the exceptions.
//!
//! Rule: what decides must be said explicitly; a contradiction is refused, never resolved by a preference.

use crate::bundle::document::ConfidentialityCode;
use crate::id::{InstitutionId, PatientIdentifier};

use super::moment::{Moment, Period};
use super::terminology::{Table, purposes, sensitivities};
use super::tree::Tree;
use super::{
    Class, Code, Consent, ConsentError, Effect, INSTITUTION_SYSTEM, Label, Limits, Recipient, Source, Status, Terms,
    shape,
};

pub(super) fn read(resource: &Tree) -> Result<Consent, ConsentError> {
    shape::check(resource)?;
    refuse_our_extensions(resource)?;
    refuse_unverified(resource)?;
    let status = status(resource)?;
    let about_privacy = about_privacy(resource)?;
    let patient = patient(resource)?;
    let given = moment(resource, "dateTime", "dateTime")?;
    let root = resource.get("provision").ok_or_else(|| unsupported("provision", "is missing: nothing is stated"))?;
    let effect = effect(root, "provision.type")?;
    agree_on_the_base(resource, effect)?;
    let exceptions = root.list("provision").iter().map(|nested| exception(nested, effect)).collect::<Result<_, _>>()?;
    let period = period(root, "period", "provision.period")?;
    Ok(Consent {
        status,
        about_privacy,
        patient,
        given,
        effect,
        period,
        limits: limits(root)?,
        exceptions,
        source: Source::FhirR4,
        terms: Terms::default(),
    })
}

fn status(resource: &Tree) -> Result<Status, ConsentError> {
    match resource.text("status") {
        Some("active") => Ok(Status::Active),
        Some("draft" | "proposed" | "rejected" | "inactive" | "entered-in-error") => Ok(Status::NotActive),
        _ => Err(invalid("status", "draft, proposed, active, rejected, inactive or entered-in-error")),
    }
}

/// A consent to research or an advance directive never speaks about a second opinion.
fn about_privacy(resource: &Tree) -> Result<bool, ConsentError> {
    let scope = resource.get("scope").ok_or_else(|| invalid("scope", "present"))?;
    let codes: Vec<_> = codings(scope, SCOPE_SYSTEM).collect();
    match codes[..] {
        ["patient-privacy"] => {}
        ["research" | "adr" | "treatment"] => return Ok(false),
        _ => return Err(unsupported("scope", "is none of patient-privacy, research, adr, treatment")),
    }
    let categories = resource.list("category");
    let known = |category: &Tree| {
        codings(category, LOINC).any(|code| code == "59284-0" || code == "57016-8")
            || codings(category, ACT_CODE).any(|code| code == "IDSCL")
    };
    if categories.is_empty() || !categories.iter().all(known) {
        return Err(unsupported("category", "is neither LOINC 59284-0 or 57016-8 nor IDSCL"));
    }
    Ok(true)
}

/// A literal reference is no identity: the same `Patient/52` is another person on another server.
fn patient(resource: &Tree) -> Result<PatientIdentifier, ConsentError> {
    let identifier = resource.get("patient").and_then(|patient| patient.get("identifier"));
    let (system, value) = identifier
        .and_then(|identifier| identifier.text("system").zip(identifier.text("value")))
        .ok_or_else(|| unsupported("patient", "names no identifier with system and value"))?;
    PatientIdentifier::new(system, value)
        .map_err(|_| invalid("patient.identifier", "a system and a value of printable characters"))
}

/// `policyRule` and `provision.type` both state a base decision, and readers differ on which one counts.
fn agree_on_the_base(resource: &Tree, effect: Effect) -> Result<(), ConsentError> {
    if let Some(rule) = resource.get("policyRule") {
        let codes: Vec<_> = codings(rule, ACT_CODE).collect();
        let base = match codes[..] {
            ["OPTIN" | "OPTINR"] => Effect::Permit,
            ["OPTOUT" | "OPTOUTE"] => Effect::Deny,
            _ => return Err(unsupported("policyRule", "is none of OPTIN, OPTINR, OPTOUT, OPTOUTE")),
        };
        if base != effect {
            return Err(ConsentError::Ambiguous { what: "policyRule and provision.type state opposite decisions" });
        }
    }
    let denying = |policy: &Tree| policy.text("uri").is_some_and(|uri| DENYING_POLICIES.contains(&uri));
    if effect == Effect::Permit && resource.list("policy").iter().any(denying) {
        return Err(ConsentError::Ambiguous { what: "policy.uri denies and provision.type permits" });
    }
    Ok(())
}

fn effect(provision: &Tree, at: &'static str) -> Result<Effect, ConsentError> {
    match provision.text("type") {
        Some("permit") => Ok(Effect::Permit),
        Some("deny") => Ok(Effect::Deny),
        Some(_) => Err(invalid(at, "permit or deny")),
        None => Err(unsupported(at, "is missing: it must say permit or deny")),
    }
}

/// One nested provision. Readers differ on every combination but a denial under a permission.
fn exception(nested: &Tree, root: Effect) -> Result<Limits, ConsentError> {
    const AT: &str = "provision.provision";
    let own = effect(nested, "provision.provision.type")?;
    if root == Effect::Deny || own == Effect::Permit {
        return Err(unsupported(AT, "is evaluated only where it denies a part of what the root permits"));
    }
    if !nested.list("provision").is_empty() {
        return Err(unsupported("provision.provision.provision", "is a third level, which is not evaluated"));
    }
    // An exception's own end is not counted on: while its consent stands, it denies.
    period(nested, "period", "provision.provision.period")?;
    limits(nested)
}

fn limits(provision: &Tree) -> Result<Limits, ConsentError> {
    let mut limits = Limits::default();
    for actor in provision.list("actor") {
        let role = actor.get("role").ok_or_else(|| invalid("provision.actor.role", "present"))?;
        if codings(role, PARTICIPATION).any(|code| code == "IRCP" || code == "PRCP") {
            limits.recipients.push(recipient(actor)?);
        } else {
            limits.unsupported.insert("an actor who is not a recipient");
        }
    }
    for action in provision.list("action") {
        let mut codes = codings(action, CONSENT_ACTION);
        limits.actions.push(codes.next().map_or(Code::Elsewhere, |code| Code::Known(code.to_owned())));
    }
    limits.purposes = provision.list("purpose").iter().map(|coding| code(coding, purposes())).collect();
    limits.labels = provision.list("securityLabel").iter().map(label).collect();
    limits.classes = provision.list("class").iter().map(class).collect();
    limits.data_period = period(provision, "dataPeriod", "provision.dataPeriod")?;
    for (element, name) in [("code", "codes inside documents"), ("data", "single records named by reference")] {
        if !provision.list(element).is_empty() {
            limits.unsupported.insert(name);
        }
    }
    Ok(limits)
}

fn recipient(actor: &Tree) -> Result<Recipient, ConsentError> {
    const AT: &str = "provision.actor.reference";
    let reference = actor.get("reference").ok_or_else(|| invalid(AT, "present"))?;
    let Some(identifier) = reference.get("identifier") else { return Ok(Recipient::Unresolved) };
    if identifier.text("system") != Some(INSTITUTION_SYSTEM) {
        return Ok(Recipient::Unresolved);
    }
    let id: Option<InstitutionId> = identifier.text("value").and_then(|value| value.parse().ok());
    id.map(Recipient::Institution).ok_or_else(|| invalid(AT, "an institution id: a-z, 0-9 and -"))
}

fn code(coding: &Tree, table: &Table) -> Code {
    match (coding.text("system"), coding.text("code")) {
        (Some(system), Some(code)) if table.is_system(system) && is_code(code) => Code::Known(code.to_owned()),
        _ => Code::Elsewhere,
    }
}

fn label(coding: &Tree) -> Label {
    let (Some(system), Some(code)) = (coding.text("system"), coding.text("code")) else { return Label::Elsewhere };
    if CONFIDENTIALITY.contains(&system) {
        return code.parse::<ConfidentialityCode>().map_or(Label::Elsewhere, Label::Confidentiality);
    }
    if sensitivities().is_system(system) && is_code(code) {
        Label::Sensitivity(code.to_owned())
    } else {
        Label::Elsewhere
    }
}

fn class(coding: &Tree) -> Class {
    match (coding.text("system"), coding.text("code")) {
        (Some(LOINC), Some(code)) if is_code(code) => Class::Loinc(code.to_owned()),
        (Some(MEDIA_TYPES), Some(code)) if is_code(code) => Class::MediaType(code.to_ascii_lowercase()),
        _ => Class::Elsewhere,
    }
}

fn moment(parent: &Tree, key: &str, at: &'static str) -> Result<Option<Moment>, ConsentError> {
    parent
        .text(key)
        .map(|text| {
            Moment::read(text)
                .ok_or_else(|| invalid(at, "a FHIR date, such as 2026-11-22 or 2026-11-22T10:00:00+05:30"))
        })
        .transpose()
}

fn period(parent: &Tree, key: &str, at: &'static str) -> Result<Option<Period>, ConsentError> {
    let Some(period) = parent.get(key) else { return Ok(None) };
    let period = Period { start: moment(period, "start", at)?, end: moment(period, "end", at)? };
    if period.start.is_none() && period.end.is_none() {
        return Err(invalid(at, "a period with a start or an end"));
    }
    if period.is_inverted() {
        return Err(invalid(at, "a period that ends after it starts"));
    }
    Ok(Some(period))
}

fn refuse_our_extensions(resource: &Tree) -> Result<(), ConsentError> {
    let ours = |extension: &Tree| extension.text("url").is_none_or(|url| url.starts_with("urn:medseal:"));
    if resource.list("extension").iter().any(ours) {
        return Err(unsupported("extension", "is an extension of medseal that this version does not evaluate"));
    }
    Ok(())
}

fn refuse_unverified(resource: &Tree) -> Result<(), ConsentError> {
    let verified = |verification: &Tree| matches!(verification.get("verified"), Some(Tree::Flag(true)));
    if resource.list("verification").iter().all(verified) {
        return Ok(());
    }
    Err(unsupported("verification", "says that the consent was not verified with the patient"))
}

/// The codes of a `CodeableConcept` that belong to `system`.
fn codings<'a>(concept: &'a Tree, system: &'a str) -> impl Iterator<Item = &'a str> {
    concept
        .list("coding")
        .iter()
        .filter(move |coding| coding.text("system") == Some(system))
        .filter_map(|coding| coding.text("code"))
}

fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic())
}

fn invalid(at: &str, expected: &'static str) -> ConsentError {
    ConsentError::Invalid { at: at.to_owned(), expected }
}

fn unsupported(at: &str, what: &'static str) -> ConsentError {
    ConsentError::Unsupported { at: at.to_owned(), what }
}

const SCOPE_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
const CONSENT_ACTION: &str = "http://terminology.hl7.org/CodeSystem/consentaction";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const LOINC: &str = "http://loinc.org";
const MEDIA_TYPES: &str = "urn:ietf:bcp:13";
const CONFIDENTIALITY: [&str; 3] = [
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "http://hl7.org/fhir/v3/Confidentiality",
    "urn:oid:2.16.840.1.113883.5.25",
];
/// IHE PCF 1.1, volume 1, 53.2: defaults that deny.
const DENYING_POLICIES: [&str; 2] =
    ["https://profiles.ihe.net/ITI/PCF/Policy-deny", "https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only"];
