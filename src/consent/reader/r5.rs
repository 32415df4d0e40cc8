//! FHIR R5: `decision` states the base, and each level of provisions is an exception to the one above it.
//!
//! Rule: a provision has no type of its own; it says the opposite of what it stands under, to any depth that is read.

use super::super::{Class, Consent, ConsentError, Effect, Grantor, Limits, Provision, Source, Status, extensions};
use super::{
    About, Tree, base_of, class, common_limits, effect, invalid, is_privacy_category, moment, patient, period,
    refuse_denying, scope, unsupported,
};
use crate::id::PatientIdentifier;

pub(super) fn read(resource: &Tree) -> Result<Consent, ConsentError> {
    let status = status(resource)?;
    let about_privacy = about_privacy(resource)?;
    let patient = patient(resource.get("subject"), "subject")?;
    let given = moment(resource, "date", "date")?;
    let decision = effect(resource.text("decision"), "decision")?;
    for basis in resource.list("regulatoryBasis") {
        if base_of(basis).is_some_and(|other| other != decision) {
            return Err(ConsentError::Ambiguous { what: "regulatoryBasis and decision state opposites" });
        }
    }
    refuse_denying(decision, resource.get("policyBasis").and_then(|basis| basis.text("url")).into_iter())?;
    let exceptions = provisions(resource, decision, "Consent.provision", 1)?;
    let base = Provision {
        effect: decision,
        period: None,
        limits: Limits::default(),
        exceptions,
        path: "Consent.decision".to_owned(),
    };
    let period = period(resource, "period", "period")?;
    let mut terms = extensions::read(resource)?;
    terms.grantor = grantor(resource, &patient, terms.grantor)?;
    let added = Vec::new();
    Ok(Consent { source: Source::FhirR5, status, about_privacy, patient, given, period, base, added, terms })
}

fn status(resource: &Tree) -> Result<Status, ConsentError> {
    match resource.text("status") {
        Some("active") => Ok(Status::Active),
        Some("draft" | "inactive" | "not-done" | "entered-in-error") => Ok(Status::NotActive),
        Some("unknown") => Err(unsupported("status", "is not known, so that it may be active and may not")),
        _ => Err(invalid("status", "draft, active, inactive, not-done or entered-in-error")),
    }
}

/// R5 has no scope; a category says what the consent is about.
fn about_privacy(resource: &Tree) -> Result<bool, ConsentError> {
    let about = |category: &Tree| match scope(category) {
        None if is_privacy_category(category) => Some(About::Privacy),
        about => about,
    };
    let found: Vec<_> = resource.list("category").iter().map(about).collect();
    if !found.is_empty() && found.iter().all(|about| *about == Some(About::Privacy)) {
        return Ok(true);
    }
    if !found.is_empty() && found.iter().all(|about| *about == Some(About::Other)) {
        return Ok(false);
    }
    Err(unsupported("category", "is none of LOINC 59284-0 or 57016-8, IDSCL and patient-privacy"))
}

fn provisions(parent: &Tree, above: Effect, path: &str, level: usize) -> Result<Vec<Provision>, ConsentError> {
    let list = parent.list("provision");
    if level > LEVELS_MAX && !list.is_empty() {
        return Err(unsupported(
            "provision",
            "goes deeper than three levels, which nobody could check with the patient",
        ));
    }
    let effect = above.opposite();
    let provision = |(index, provision): (usize, &Tree)| {
        let path = format!("{path}[{index}]");
        Ok(Provision {
            effect,
            period: period(provision, "period", "provision.period")?,
            limits: limits(provision, effect)?,
            exceptions: provisions(provision, effect, &format!("{path}.provision"), level + 1)?,
            path,
        })
    };
    list.iter().enumerate().map(provision).collect()
}

fn limits(provision: &Tree, effect: Effect) -> Result<Limits, ConsentError> {
    let classes: Vec<Class> = provision.list("documentType").iter().map(class).collect();
    let mut limits = Limits { classes, ..common_limits(provision, effect)? };
    for (element, name) in [("resourceType", "kinds of FHIR resources"), ("expression", "a FHIRPath expression")] {
        if provision.get(element).is_some() {
            limits.unsupported.insert(name);
        }
    }
    Ok(limits)
}

/// Who gave it: the element says who, our extension in which capacity. A person who is not the patient and whose
/// capacity is not stated is taken for a representative whom nobody checked.
fn grantor(resource: &Tree, patient: &PatientIdentifier, stated: Grantor) -> Result<Grantor, ConsentError> {
    let grantors = resource.list("grantor");
    let is_patient = |grantor: &Tree| {
        let identifier = grantor.get("identifier");
        let named = identifier.and_then(|identifier| identifier.text("system").zip(identifier.text("value")));
        let literal = || {
            let same = grantor.text("reference").zip(resource.get("subject").and_then(|s| s.text("reference")));
            same.is_some_and(|(grantor, subject)| grantor == subject)
        };
        named.map_or_else(literal, |(system, value)| (system, value) == (patient.system(), patient.value()))
    };
    if grantors.is_empty() {
        return Ok(stated);
    }
    match (grantors.iter().all(is_patient), stated) {
        (true, Grantor::NotStated | Grantor::SelfGiven) => Ok(Grantor::SelfGiven),
        (false, Grantor::NotStated) => Ok(Grantor::Guardian { verified: false }),
        (false, Grantor::Parent { .. } | Grantor::Guardian { .. }) => Ok(stated),
        _ => Err(ConsentError::Ambiguous { what: "grantor and medseal's extension name different people" }),
    }
}

const LEVELS_MAX: usize = 3;
