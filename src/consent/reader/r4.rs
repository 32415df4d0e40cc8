//! FHIR R4 and R4B: the root provision states the base decision, and every nested one says for itself what it does.
//!
//! Rule: readers differ on every nesting but a denial under a permission, so any other is refused; except that IHE PCF
//! says what a permission under a permission means, and a consent may declare that profile.

use super::super::{Class, Consent, ConsentError, Effect, Limits, Provision, Source, Status, extensions};
use super::{
    About, Tree, base_of, class, common_limits, effect, invalid, is_privacy_category, moment, patient, period,
    refuse_denying, scope, unsupported,
};

pub(super) fn read(resource: &Tree) -> Result<Consent, ConsentError> {
    let status = status(resource)?;
    let about_privacy = about_privacy(resource)?;
    let patient = patient(resource.get("patient"), "patient")?;
    let given = moment(resource, "dateTime", "dateTime")?;
    let root = resource.get("provision").ok_or_else(|| unsupported("provision", "is missing: nothing is stated"))?;
    let base = effect(root.text("type"), "provision.type")?;
    agree_on_the_base(resource, base)?;
    let (mut exceptions, mut added) = (Vec::new(), Vec::new());
    for (index, nested) in root.list("provision").iter().enumerate() {
        let nested = provision(nested, format!("Consent.provision.provision[{index}]"))?;
        match (base, nested.effect) {
            (Effect::Permit, Effect::Deny) => exceptions.push(nested),
            (Effect::Permit, Effect::Permit) if declares_pcf(resource) => added.push(nested),
            _ => return Err(unsupported(NESTED, "is evaluated only where it denies a part of what the root permits")),
        }
    }
    let limits = limits(root, base)?;
    for addition in &mut added {
        inherit(root, addition)?;
    }
    let period = period(root, "period", "provision.period")?;
    let base = Provision { effect: base, period: None, limits, exceptions, path: "Consent.provision".to_owned() };
    let terms = extensions::read(resource)?;
    Ok(Consent { source: Source::FhirR4, status, about_privacy, patient, given, period, base, added, terms })
}

fn status(resource: &Tree) -> Result<Status, ConsentError> {
    match resource.text("status") {
        Some("active") => Ok(Status::Active),
        Some("draft" | "proposed" | "rejected" | "inactive" | "entered-in-error") => Ok(Status::NotActive),
        _ => Err(invalid("status", "draft, proposed, active, rejected, inactive or entered-in-error")),
    }
}

fn about_privacy(resource: &Tree) -> Result<bool, ConsentError> {
    let concept = resource.get("scope").ok_or_else(|| invalid("scope", "present"))?;
    match scope(concept) {
        Some(About::Privacy) => {}
        Some(About::Other) => return Ok(false),
        None => return Err(unsupported("scope", "is none of patient-privacy, research, adr, treatment")),
    }
    let categories = resource.list("category");
    if categories.is_empty() || !categories.iter().all(is_privacy_category) {
        return Err(unsupported("category", "is neither LOINC 59284-0 or 57016-8 nor IDSCL"));
    }
    Ok(true)
}

/// `policyRule` and `provision.type` both state a base decision, and readers differ on which one counts.
fn agree_on_the_base(resource: &Tree, base: Effect) -> Result<(), ConsentError> {
    if let Some(rule) = resource.get("policyRule") {
        match base_of(rule) {
            Some(other) if other == base => {}
            Some(_) => {
                return Err(ConsentError::Ambiguous { what: "policyRule and provision.type state opposite decisions" });
            }
            None => return Err(unsupported("policyRule", "is none of OPTIN, OPTINR, OPTOUT, OPTOUTE")),
        }
    }
    refuse_denying(base, resource.list("policy").iter().filter_map(|policy| policy.text("uri")))
}

fn provision(nested: &Tree, path: String) -> Result<Provision, ConsentError> {
    let effect = effect(nested.text("type"), "provision.provision.type")?;
    if !nested.list("provision").is_empty() {
        return Err(unsupported("provision.provision.provision", "is a third level, which is not evaluated"));
    }
    let period = period(nested, "period", "provision.provision.period")?;
    Ok(Provision { effect, period, limits: limits(nested, effect)?, exceptions: Vec::new(), path })
}

fn limits(provision: &Tree, effect: Effect) -> Result<Limits, ConsentError> {
    for actor in provision.list("actor") {
        for (key, at) in [("role", "provision.actor.role"), ("reference", "provision.actor.reference")] {
            actor.get(key).ok_or_else(|| invalid(at, "present"))?;
        }
    }
    let classes: Vec<Class> = provision.list("class").iter().map(class).collect();
    Ok(Limits { classes, ..common_limits(provision, effect)? })
}

fn declares_pcf(resource: &Tree) -> bool {
    let profiles = resource.get("meta").map(|meta| meta.list("profile")).unwrap_or_default();
    let is_pcf = |profile: &Tree| match profile {
        Tree::Text(url) => url.split('|').next().is_some_and(|url| PCF_PROFILES.contains(&url)),
        _ => false,
    };
    profiles.iter().any(is_pcf)
}

/// An added permission goes beyond the root only where it says so: what it leaves open stays as the root limits it.
fn inherit(root: &Tree, addition: &mut Provision) -> Result<(), ConsentError> {
    let root = limits(root, Effect::Permit)?;
    let limits = &mut addition.limits;
    if limits.recipients.is_empty() {
        limits.recipients = root.recipients;
    }
    if limits.purposes.is_empty() {
        limits.purposes = root.purposes;
    }
    if limits.actions.is_empty() {
        limits.actions = root.actions;
    }
    if limits.labels.is_empty() {
        limits.labels = root.labels;
    }
    if limits.classes.is_empty() {
        limits.classes = root.classes;
    }
    limits.data_period = limits.data_period.or(root.data_period);
    limits.handling.extend(root.handling);
    limits.unsupported.extend(root.unsupported);
    Ok(())
}

const NESTED: &str = "provision.provision";
/// IHE PCF 1.1: a permission nested under a permission adds to it (volume 1, 53.4).
const PCF_PROFILES: [&str; 2] = [
    "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentIntermediate",
    "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced",
];
