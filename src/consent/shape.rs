//! Every element of a FHIR Consent that medseal reads or may pass over: a table for R4 and one for R5, each checked
//! against the whole resource.
//!
//! Rule: what the table does not name is refused. A consent whose unknown part is passed over could deny what we permit.

use std::fmt;

use super::ConsentError;
use super::tree::Tree;

/// The elements that an object may have.
pub(super) type Shape = &'static [(&'static str, Kind)];

/// What stands under one element.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    Number,
    Texts,
    One(&'static Table),
    Many(&'static Table),
    /// Content that cannot change what the consent says, such as the narrative.
    Passed,
}

/// A shape under a name that a `static` can refer to, itself included.
pub(super) struct Table(pub(super) Shape);

/// The release of FHIR in which a resource is written; the same provisions mean the opposite in the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Release {
    /// R4 and R4B.
    R4,
    R5,
}

/// Tells which release it is, by elements that only one of them has, and refuses any element beside that release's.
pub(super) fn check(resource: &Tree) -> Result<Release, ConsentError> {
    match resource.text("resourceType") {
        Some("Consent") => {}
        Some(_) => return Err(ConsentError::Invalid { at: "resourceType".into(), expected: "Consent" }),
        None => return Err(ConsentError::Invalid { at: "resourceType".into(), expected: "a FHIR resource" }),
    }
    let has = |keys: &[&'static str]| keys.iter().copied().find(|key| resource.get(key).is_some());
    let (release, table) = match (has(&R4_ONLY), has(&R5_ONLY)) {
        (Some(r4), Some(r5)) => return Err(ConsentError::MixedReleases { r4, r5 }),
        (Some(_), None) => (Release::R4, &CONSENT),
        (None, Some(_)) => (Release::R5, &CONSENT_R5),
        (None, None) => {
            let what = "(R4) and subject (R5) are missing: nothing tells which release of FHIR it is";
            return Err(ConsentError::Unsupported { at: "patient".to_owned(), what });
        }
    };
    refuse_modifiers(resource, "Consent")?;
    object(resource, table, At::Root)?;
    Ok(release)
}

/// A modifier may turn the meaning of everything around it, wherever it stands, so no part is exempt.
fn refuse_modifiers(tree: &Tree, at: &str) -> Result<(), ConsentError> {
    match tree {
        Tree::Object(fields) => {
            for (key, value) in fields {
                if key == "modifierExtension" || key == "implicitRules" || key == "_implicitRules" {
                    return Err(unsupported(at, key));
                }
                refuse_modifiers(value, key)?;
            }
            Ok(())
        }
        Tree::List(list) => list.iter().try_for_each(|element| refuse_modifiers(element, at)),
        _ => Ok(()),
    }
}

/// Where an element stands; written out only when there is something to say about it.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    In(&'a Self, &'a str),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::In(Self::Root, key) => f.write_str(key),
            Self::In(parent, key) => write!(f, "{parent}.{key}"),
        }
    }
}

/// Refuses an object that has any element beside the table's, at any depth.
pub(super) fn object(tree: &Tree, table: &Table, at: At<'_>) -> Result<(), ConsentError> {
    let Tree::Object(fields) = tree else {
        return Err(ConsentError::Invalid { at: at.to_string(), expected: "an object" });
    };
    for (key, value) in fields {
        let Some((_, kind)) = table.0.iter().find(|(known, _)| known == key) else {
            return Err(unsupported(&at.to_string(), key));
        };
        let at = At::In(&at, key);
        let invalid = |expected| Err(ConsentError::Invalid { at: at.to_string(), expected });
        match (kind, value) {
            (Kind::Passed, _)
            | (Kind::Text, Tree::Text(_))
            | (Kind::Flag, Tree::Flag(_))
            | (Kind::Number, Tree::Number) => {}
            (Kind::One(table), Tree::Object(_)) => object(value, table, at)?,
            (Kind::Many(table), Tree::List(list)) => {
                list.iter().try_for_each(|element| object(element, table, at))?;
            }
            (Kind::Texts, Tree::List(list)) if list.iter().all(|element| matches!(element, Tree::Text(_))) => {}
            (Kind::Text, _) => return invalid("a text"),
            (Kind::Flag, _) => return invalid("true or false"),
            (Kind::Number, _) => return invalid("a number"),
            (Kind::One(_), _) => return invalid("an object"),
            (Kind::Texts | Kind::Many(_), _) => return invalid("a list"),
        }
    }
    Ok(())
}

/// The key comes from the resource, so only its beginning is repeated.
fn unsupported(at: &str, key: &str) -> ConsentError {
    let key: String = key.chars().filter(|c| !c.is_control()).take(40).collect();
    let at = if at.is_empty() { key } else { format!("{at}.{key}") };
    ConsentError::Unsupported { at, what: "is not an element that medseal evaluates" }
}

/// Elements that FHIR R4 has and R5 has not.
const R4_ONLY: [&str; 7] = ["patient", "scope", "policy", "policyRule", "dateTime", "performer", "organization"];
/// Elements that FHIR R5 has and R4 has not.
const R5_ONLY: [&str; 11] = [
    "subject",
    "decision",
    "date",
    "period",
    "controller",
    "grantor",
    "grantee",
    "manager",
    "regulatoryBasis",
    "policyBasis",
    "policyText",
];

static CONSENT: Table = Table(&[
    ("resourceType", Kind::Text),
    ("id", Kind::Text),
    ("meta", Kind::One(&META)),
    ("language", Kind::Text),
    ("text", Kind::Passed),
    ("extension", Kind::Many(&EXTENSION)),
    ("identifier", Kind::Many(&IDENTIFIER)),
    ("status", Kind::Text),
    ("scope", Kind::One(&CONCEPT)),
    ("category", Kind::Many(&CONCEPT)),
    ("patient", Kind::One(&REFERENCE)),
    ("dateTime", Kind::Text),
    ("performer", Kind::Many(&REFERENCE)),
    ("organization", Kind::Many(&REFERENCE)),
    ("sourceAttachment", Kind::One(&ATTACHMENT)),
    ("sourceReference", Kind::One(&REFERENCE)),
    ("policy", Kind::Many(&POLICY)),
    ("policyRule", Kind::One(&CONCEPT)),
    ("verification", Kind::Many(&VERIFICATION)),
    ("provision", Kind::One(&PROVISION)),
]);

static CONSENT_R5: Table = Table(&[
    ("resourceType", Kind::Text),
    ("id", Kind::Text),
    ("meta", Kind::One(&META)),
    ("language", Kind::Text),
    ("text", Kind::Passed),
    ("extension", Kind::Many(&EXTENSION)),
    ("identifier", Kind::Many(&IDENTIFIER)),
    ("status", Kind::Text),
    ("category", Kind::Many(&CONCEPT)),
    ("subject", Kind::One(&REFERENCE)),
    ("date", Kind::Text),
    ("period", Kind::One(&PERIOD)),
    ("grantor", Kind::Many(&REFERENCE)),
    ("grantee", Kind::Many(&REFERENCE)),
    ("manager", Kind::Many(&REFERENCE)),
    ("controller", Kind::Many(&REFERENCE)),
    ("sourceAttachment", Kind::Many(&ATTACHMENT)),
    ("sourceReference", Kind::Many(&REFERENCE)),
    ("regulatoryBasis", Kind::Many(&CONCEPT)),
    ("policyBasis", Kind::One(&POLICY_BASIS)),
    ("policyText", Kind::Many(&REFERENCE)),
    ("verification", Kind::Many(&VERIFICATION_R5)),
    ("decision", Kind::Text),
    ("provision", Kind::Many(&PROVISION_R5)),
]);

static PROVISION: Table = Table(&[
    ("id", Kind::Text),
    ("type", Kind::Text),
    ("period", Kind::One(&PERIOD)),
    ("actor", Kind::Many(&ACTOR)),
    ("action", Kind::Many(&CONCEPT)),
    ("securityLabel", Kind::Many(&CODING)),
    ("purpose", Kind::Many(&CODING)),
    ("class", Kind::Many(&CODING)),
    ("code", Kind::Many(&CONCEPT)),
    ("dataPeriod", Kind::One(&PERIOD)),
    ("data", Kind::Many(&DATA)),
    ("provision", Kind::Many(&PROVISION)),
]);

static PROVISION_R5: Table = Table(&[
    ("id", Kind::Text),
    ("period", Kind::One(&PERIOD)),
    ("actor", Kind::Many(&ACTOR)),
    ("action", Kind::Many(&CONCEPT)),
    ("securityLabel", Kind::Many(&CODING)),
    ("purpose", Kind::Many(&CODING)),
    ("documentType", Kind::Many(&CODING)),
    ("resourceType", Kind::Many(&CODING)),
    ("code", Kind::Many(&CONCEPT)),
    ("dataPeriod", Kind::One(&PERIOD)),
    ("data", Kind::Many(&DATA)),
    ("expression", Kind::Passed),
    ("provision", Kind::Many(&PROVISION_R5)),
]);

static ACTOR: Table = Table(&[("id", Kind::Text), ("role", Kind::One(&CONCEPT)), ("reference", Kind::One(&REFERENCE))]);
static DATA: Table = Table(&[("id", Kind::Text), ("meaning", Kind::Text), ("reference", Kind::One(&REFERENCE))]);
static POLICY: Table = Table(&[("id", Kind::Text), ("authority", Kind::Text), ("uri", Kind::Text)]);
static POLICY_BASIS: Table = Table(&[("id", Kind::Text), ("reference", Kind::One(&REFERENCE)), ("url", Kind::Text)]);
static VERIFICATION: Table = Table(&[
    ("id", Kind::Text),
    ("verified", Kind::Flag),
    ("verifiedWith", Kind::One(&REFERENCE)),
    ("verificationDate", Kind::Text),
]);

static VERIFICATION_R5: Table = Table(&[
    ("id", Kind::Text),
    ("verified", Kind::Flag),
    ("verificationType", Kind::One(&CONCEPT)),
    ("verifiedBy", Kind::One(&REFERENCE)),
    ("verifiedWith", Kind::One(&REFERENCE)),
    ("verificationDate", Kind::Texts),
]);

static CONCEPT: Table = Table(&[("id", Kind::Text), ("coding", Kind::Many(&CODING)), ("text", Kind::Text)]);
static CODING: Table = Table(&[
    ("id", Kind::Text),
    ("system", Kind::Text),
    ("version", Kind::Text),
    ("code", Kind::Text),
    ("display", Kind::Text),
    ("userSelected", Kind::Flag),
]);
static PERIOD: Table = Table(&[("id", Kind::Text), ("start", Kind::Text), ("end", Kind::Text)]);
static REFERENCE: Table = Table(&[
    ("id", Kind::Text),
    ("reference", Kind::Text),
    ("type", Kind::Text),
    ("identifier", Kind::One(&IDENTIFIER)),
    ("display", Kind::Text),
]);
static IDENTIFIER: Table = Table(&[
    ("id", Kind::Text),
    ("use", Kind::Text),
    ("type", Kind::One(&CONCEPT)),
    ("system", Kind::Text),
    ("value", Kind::Text),
    ("period", Kind::One(&PERIOD)),
    ("assigner", Kind::Passed),
]);
static ATTACHMENT: Table = Table(&[
    ("id", Kind::Text),
    ("contentType", Kind::Text),
    ("language", Kind::Text),
    ("data", Kind::Text),
    ("url", Kind::Text),
    ("size", Kind::Passed),
    ("hash", Kind::Text),
    ("title", Kind::Text),
    ("creation", Kind::Text),
]);
static META: Table = Table(&[
    ("id", Kind::Text),
    ("versionId", Kind::Text),
    ("lastUpdated", Kind::Text),
    ("source", Kind::Text),
    ("profile", Kind::Texts),
    ("security", Kind::Many(&CODING)),
    ("tag", Kind::Many(&CODING)),
]);
/// An extension that is not a modifier may be passed over (FHIR R4, 2.4.0); ours may not, see the reader.
static EXTENSION: Table = Table(&[
    ("id", Kind::Text),
    ("url", Kind::Text),
    ("extension", Kind::Passed),
    ("valueString", Kind::Text),
    ("valueCode", Kind::Text),
    ("valueBoolean", Kind::Flag),
    ("valueInteger", Kind::Number),
    ("valueDate", Kind::Text),
    ("valueDateTime", Kind::Text),
    ("valueUri", Kind::Text),
    ("valueUrl", Kind::Text),
    ("valueCanonical", Kind::Text),
    ("valueCoding", Kind::One(&CODING)),
    ("valueCodeableConcept", Kind::One(&CONCEPT)),
    ("valueIdentifier", Kind::One(&IDENTIFIER)),
    ("valuePeriod", Kind::One(&PERIOD)),
    ("valueReference", Kind::One(&REFERENCE)),
    ("valueSignature", Kind::Passed),
    ("valueAttachment", Kind::One(&ATTACHMENT)),
]);
