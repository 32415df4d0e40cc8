//! From a FHIR resource to a [`Consent`]: which release it is, and what both have in common.
//!
//! Rule: what decides must be said explicitly; a contradiction is refused, never resolved by a preference.

use std::collections::BTreeSet;

use crate::bundle::document::ConfidentialityCode;
use crate::id::{InstitutionId, PatientIdentifier};

use super::moment::{Moment, Period};
use super::obligations::named_by;
use super::terminology::{Table, confidentialities, purposes, sensitivities};
use super::tree::Tree;
use super::{
    Class, Code, Consent, ConsentError, Effect, INSTITUTION_SYSTEM, Label, Limits, Provision, Recipient, shape,
};

mod r4;
mod r5;

pub(super) fn read(resource: &Tree) -> Result<Consent, ConsentError> {
    let release = shape::check(resource)?;
    refuse_unverified(resource)?;
    let mut consent = match release {
        shape::Release::R4 => r4::read(resource)?,
        shape::Release::R5 => r5::read(resource)?,
    };
    let security = resource.get("meta").map(|meta| meta.list("security")).unwrap_or_default();
    consent.terms.obligations.extend(security.iter().filter_map(handling));
    let permits = matches!(consent.base.effect, Effect::Deny) && !consent.grants().is_empty();
    for exception in &mut consent.base.exceptions {
        let lifting = if permits { &mut exception.exceptions[..] } else { std::slice::from_mut(exception) };
        lifting.iter_mut().for_each(leave_aside_handling);
    }
    Ok(consent)
}

/// What lifts a denial on the condition of an obligation is not evaluated, so it lifts nothing.
fn leave_aside_handling(provision: &mut Provision) {
    if !provision.limits.handling.is_empty() {
        provision.limits.unsupported.insert("an obligation");
    }
    provision.exceptions.iter_mut().for_each(leave_aside_handling);
}

/// What a consent can be about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum About {
    Privacy,
    /// Research, an advance directive, a treatment: never about a second opinion.
    Other,
}

fn scope(concept: &Tree) -> Option<About> {
    match codings(concept, SCOPE_SYSTEM).collect::<Vec<_>>()[..] {
        ["patient-privacy"] => Some(About::Privacy),
        ["research" | "adr" | "treatment"] => Some(About::Other),
        _ => None,
    }
}

fn is_privacy_category(category: &Tree) -> bool {
    codings(category, LOINC).any(|code| code == "59284-0" || code == "57016-8")
        || codings(category, ACT_CODE).any(|code| code == "IDSCL")
}

/// A literal reference is no identity: the same `Patient/52` is another person on another server.
fn patient(reference: Option<&Tree>, at: &'static str) -> Result<PatientIdentifier, ConsentError> {
    let reference = reference.ok_or_else(|| unsupported(at, "is missing"))?;
    let other = |text: &str| text != "Patient";
    let named = reference.text("reference").and_then(|literal| literal.rsplit('/').nth(1));
    if reference.text("type").is_some_and(other) || named.is_some_and(other) {
        return Err(unsupported(at, "is not a single patient"));
    }
    let identifier = reference.get("identifier");
    let (system, value) = identifier
        .and_then(|identifier| identifier.text("system").zip(identifier.text("value")))
        .ok_or_else(|| unsupported(at, "names no identifier with system and value"))?;
    PatientIdentifier::new(system, value).map_err(|_| invalid(at, "a system and a value of printable characters"))
}

/// What the policies that a consent names say about its base; those of IHE that deny contradict a permission.
fn refuse_denying<'a>(effect: Effect, mut uris: impl Iterator<Item = &'a str>) -> Result<(), ConsentError> {
    if effect == Effect::Permit && uris.any(|uri| DENYING_POLICIES.contains(&uri)) {
        return Err(ConsentError::Ambiguous { what: "the policy that it names denies, and the consent permits" });
    }
    Ok(())
}

/// What a code of consent policy says about the base, if it is one.
fn base_of(concept: &Tree) -> Option<Effect> {
    match codings(concept, ACT_CODE).collect::<Vec<_>>()[..] {
        ["OPTIN" | "OPTINR"] => Some(Effect::Permit),
        ["OPTOUT" | "OPTOUTE"] => Some(Effect::Deny),
        _ => None,
    }
}

fn effect(text: Option<&str>, at: &'static str) -> Result<Effect, ConsentError> {
    match text {
        Some("permit") => Ok(Effect::Permit),
        Some("deny") => Ok(Effect::Deny),
        Some(_) => Err(invalid(at, "permit or deny")),
        None => Err(unsupported(at, "is missing: it must say permit or deny")),
    }
}

/// The elements that limit a provision under the same name in both releases.
fn common_limits(provision: &Tree, effect: Effect) -> Result<Limits, ConsentError> {
    let mut limits = Limits::default();
    for actor in provision.list("actor") {
        let roles: BTreeSet<&str> =
            actor.get("role").map(|role| codings(role, PARTICIPATION).collect()).unwrap_or_default();
        if roles.contains("IRCP") || roles.contains("PRCP") {
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
    for coding in provision.list("securityLabel") {
        match handling(coding).filter(|_| effect == Effect::Permit) {
            Some(obligation) => drop(limits.handling.insert(obligation)),
            None => limits.labels.push(label(coding)),
        }
    }
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
    let Some(identifier) = actor.get("reference").and_then(|reference| reference.get("identifier")) else {
        return Ok(Recipient::Unresolved);
    };
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

/// The obligation or refrain that a label names.
fn handling(coding: &Tree) -> Option<String> {
    let (system, code) = coding.text("system").zip(coding.text("code"))?;
    named_by(system, code).filter(|code| is_code(code))
}

fn label(coding: &Tree) -> Label {
    let (Some(system), Some(code)) = (coding.text("system"), coding.text("code")) else { return Label::Elsewhere };
    if confidentialities().contains(system) {
        return code.parse::<ConfidentialityCode>().map_or(Label::Elsewhere, Label::Confidentiality);
    }
    if sensitivities().is_system(system) && is_code(code) && handling(coding).is_none() {
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

pub(super) fn invalid(at: &str, expected: &'static str) -> ConsentError {
    ConsentError::Invalid { at: at.to_owned(), expected }
}

pub(super) fn unsupported(at: &str, what: &'static str) -> ConsentError {
    ConsentError::Unsupported { at: at.to_owned(), what }
}

const SCOPE_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
const CONSENT_ACTION: &str = "http://terminology.hl7.org/CodeSystem/consentaction";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const LOINC: &str = "http://loinc.org";
const MEDIA_TYPES: &str = "urn:ietf:bcp:13";
/// IHE PCF 1.1, volume 1, 53.2: defaults that deny.
const DENYING_POLICIES: [&str; 2] =
    ["https://profiles.ihe.net/ITI/PCF/Policy-deny", "https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only"];
