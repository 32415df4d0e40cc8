//! What the policy is told: the attributes of the schema, one for one.
//!
//! Rule: nothing here names a patient or a file. Built without JSON, because a decision stands before every attempt.

use std::collections::BTreeSet;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use serde::{Deserialize, Deserializer};

use super::LazyLock;
use crate::clock::Timestamp;
use crate::id::{BundleId, CaseId, Country, Digest, InstitutionId, Purpose};

/// Everything that one evaluation sees.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Which way, and what only that way has.
    pub way: Way,
    /// The time of the decision.
    #[serde(deserialize_with = "read_time")]
    pub now: Timestamp,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How long ago the facts were read, in seconds; negative: from the future.
    pub facts_age_s: i64,
    /// The receiver.
    pub partner: PartnerFacts,
    /// The case.
    pub case: CaseFacts,
    /// What is to be sent.
    pub bundle: BundleFacts,
    /// How many people other than the sender confirmed it; their approvals count now.
    #[serde(default)]
    pub approvals: u32,
    /// When the patient comes of age; `None`: the case states no birth date, which attests an adult.
    #[serde(default, deserialize_with = "read_some_time")]
    pub patient_of_age: Option<Timestamp>,
    /// The countries to which the law forbids transfers from ours.
    #[serde(default)]
    pub restricted_countries: BTreeSet<Country>,
    /// What must accompany the documents.
    pub obligations: BTreeSet<String>,
    /// What this way of delivery does.
    pub obligations_met: BTreeSet<String>,
}

/// Which way the bundle goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Way {
    /// Records to an expert institute.
    Release {
        /// Why.
        purpose: Purpose,
        /// The consent that permits every document; `None` if there is none.
        consent: Option<ConsentFacts>,
    },
    /// Records to an expert institute in an emergency, without a consent.
    BreakGlass {
        /// Why.
        purpose: Purpose,
        /// Whether the institution has switched it on.
        enabled: bool,
        /// Whether a clinician is named and a reason given.
        justified: bool,
        /// Whether a consent on file says no.
        patient_objects: bool,
        /// When it was asked for.
        #[serde(deserialize_with = "read_time")]
        requested: Timestamp,
        /// The end of its time box.
        #[serde(deserialize_with = "read_time")]
        until: Timestamp,
    },
    /// The opinion back to the hospital.
    ReturnOpinion {
        /// The dispatch that it answers.
        answers: Digest,
    },
}

/// The consent that permits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "they are attributes of the schema, one for one")]
pub struct ConsentFacts {
    /// The first instant at which it no longer permits.
    #[serde(deserialize_with = "read_time")]
    pub until: Timestamp,
    /// Whether it names every sensitivity of the documents.
    pub sensitivities_named: bool,
    /// When it was given; `None`: it does not say.
    #[serde(default, deserialize_with = "read_some_time")]
    pub given: Option<Timestamp>,
    /// Who gave it: `self`, `parent`, `guardian` or `not-stated`.
    #[serde(default = "not_stated")]
    pub grantor: String,
    /// Whether somebody checked that it is the parent or guardian.
    #[serde(default)]
    pub grantor_verified: bool,
    /// Whether it names the receiver's country itself.
    #[serde(default)]
    pub names_country: bool,
    /// Whether the patient was told of the risks of a transfer without adequate protection.
    #[serde(default)]
    pub risk_notice: bool,
    /// When the receiver must have erased what it got; `None`: it does not say.
    #[serde(default, deserialize_with = "read_some_time")]
    pub erase_at: Option<Timestamp>,
    /// In which form it was written: `fhir-r4`, `fhir-r5`, `abdm`.
    #[serde(default)]
    pub source: String,
}

/// The receiver.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerFacts {
    /// Who.
    pub id: InstitutionId,
    /// Where, as the card stands now.
    pub country: Country,
    /// `active`, `suspended` or `removed`.
    pub standing: String,
    /// When the agreement begins.
    #[serde(deserialize_with = "read_time")]
    pub agreement_from: Timestamp,
    /// When it ends; `None`: until further notice.
    #[serde(default, deserialize_with = "read_some_time")]
    pub agreement_until: Option<Timestamp>,
    /// `adequacy`, `scc`, `uk-idta`, `domestic` or `none`.
    pub transfer_basis: String,
    /// When the card ends.
    #[serde(deserialize_with = "read_time")]
    pub card_expires: Timestamp,
    /// Whether the key that the bundle is sealed to is valid on the card now.
    pub key_valid: bool,
    /// Whether it is not, but stands on the card from a later time on.
    #[serde(default)]
    pub key_begins_later: bool,
    /// Whether it has undertaken what 42 CFR Part 2 asks of whoever holds records of substance use.
    #[serde(default)]
    pub part2: bool,
}

/// The case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFacts {
    /// Which.
    pub id: CaseId,
    /// Whether it is open.
    pub open: bool,
    /// Who is part of it.
    pub partners: BTreeSet<InstitutionId>,
}

/// What is to be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFacts {
    /// Which.
    pub id: BundleId,
    /// How many documents.
    pub documents: u32,
    /// The highest confidentiality: U=0, L=1, M=2, N=3, R=4, V=5.
    pub confidentiality: u8,
    /// All sensitivities.
    pub sensitivity: BTreeSet<String>,
    /// All classes (LOINC).
    pub classes: BTreeSet<String>,
    /// All media types.
    pub media_types: BTreeSet<String>,
    /// Our own country.
    pub origin_country: Country,
}

type Attributes = Vec<(String, RestrictedExpression)>;

impl Facts {
    /// The ordinary release that an emergency stands in for: the same facts, and no consent.
    pub(super) fn as_ordinary_release(&self) -> Option<Self> {
        let Way::BreakGlass { purpose, .. } = &self.way else { return None };
        Some(Self { way: Way::Release { purpose: purpose.clone(), consent: None }, ..self.clone() })
    }

    /// The request and its entities, checked against the schema.
    pub(super) fn to_cedar(&self, schema: &Schema) -> Result<(Request, Entities), String> {
        let (partner, case, bundle) = self.uids();
        let partners = self.case.partners.iter().map(|id| entity_of(uid(&NAMES.partner, id.as_str())));
        let case_attributes = vec![
            ("open".to_owned(), RestrictedExpression::new_bool(self.case.open)),
            ("partners".to_owned(), RestrictedExpression::new_set(partners)),
        ];
        let entities = [
            entity(partner.clone(), self.partner_attributes(), None)?,
            entity(case.clone(), case_attributes, None)?,
            entity(bundle.clone(), self.bundle_attributes(&case), Some(case))?,
        ];
        let entities = Entities::from_entities(entities, Some(schema)).map_err(|error| error.to_string())?;
        let (action, context) = self.context()?;
        let context = Context::from_pairs(context).map_err(|error| error.to_string())?;
        let request =
            Request::new(partner, action, bundle, context, Some(schema)).map_err(|error| error.to_string())?;
        Ok((request, entities))
    }

    fn uids(&self) -> (EntityUid, EntityUid, EntityUid) {
        (
            uid(&NAMES.partner, self.partner.id.as_str()),
            uid(&NAMES.case, self.case.id.as_str()),
            uid(&NAMES.bundle, self.bundle.id.as_str()),
        )
    }

    fn partner_attributes(&self) -> Attributes {
        let partner = &self.partner;
        let mut attributes = vec![
            ("country".to_owned(), text(partner.country.as_str())),
            ("standing".to_owned(), text(&partner.standing)),
            ("agreement_from".to_owned(), time(partner.agreement_from)),
            ("transfer_basis".to_owned(), text(&partner.transfer_basis)),
            ("card_expires".to_owned(), time(partner.card_expires)),
            ("key_valid".to_owned(), RestrictedExpression::new_bool(partner.key_valid)),
            ("key_begins_later".to_owned(), RestrictedExpression::new_bool(partner.key_begins_later)),
            ("part2".to_owned(), RestrictedExpression::new_bool(partner.part2)),
        ];
        attributes.extend(partner.agreement_until.map(|until| ("agreement_until".to_owned(), time(until))));
        attributes
    }

    fn bundle_attributes(&self, case: &EntityUid) -> Attributes {
        let bundle = &self.bundle;
        vec![
            ("case".to_owned(), entity_of(case.clone())),
            ("documents".to_owned(), RestrictedExpression::new_long(bundle.documents.into())),
            ("confidentiality".to_owned(), RestrictedExpression::new_long(bundle.confidentiality.into())),
            ("sensitivity".to_owned(), texts(&bundle.sensitivity)),
            ("classes".to_owned(), texts(&bundle.classes)),
            ("media_types".to_owned(), texts(&bundle.media_types)),
            ("origin_country".to_owned(), text(bundle.origin_country.as_str())),
        ]
    }

    fn context(&self) -> Result<(EntityUid, Attributes), String> {
        let mut context = vec![
            ("now".to_owned(), time(self.now)),
            ("attempt".to_owned(), RestrictedExpression::new_long(self.attempt.into())),
            ("facts_age_s".to_owned(), RestrictedExpression::new_long(self.facts_age_s)),
            ("approvals".to_owned(), RestrictedExpression::new_long(self.approvals.into())),
            ("obligations".to_owned(), texts(&self.obligations)),
            ("obligations_met".to_owned(), texts(&self.obligations_met)),
        ];
        match &self.way {
            Way::Release { purpose, consent } => {
                context.push(("purpose".to_owned(), text(purpose.as_str())));
                context.extend(self.patient_of_age.map(|at| ("patient_of_age".to_owned(), time(at))));
                let restricted = self.restricted_countries.iter().map(|country| text(country.as_str()));
                context.push(("restricted_countries".to_owned(), RestrictedExpression::new_set(restricted)));
                if let Some(consent) = consent {
                    let record = RestrictedExpression::new_record(consent.attributes());
                    context.push(("consent".to_owned(), record.map_err(|error| error.to_string())?));
                }
                Ok((uid(&NAMES.action, "release"), context))
            }
            Way::BreakGlass { purpose, enabled, justified, patient_objects, requested, until } => {
                context.extend([
                    ("purpose".to_owned(), text(purpose.as_str())),
                    ("enabled".to_owned(), RestrictedExpression::new_bool(*enabled)),
                    ("justified".to_owned(), RestrictedExpression::new_bool(*justified)),
                    ("patient_objects".to_owned(), RestrictedExpression::new_bool(*patient_objects)),
                    ("requested".to_owned(), time(*requested)),
                    ("until".to_owned(), time(*until)),
                ]);
                Ok((uid(&NAMES.action, "break-glass-release"), context))
            }
            Way::ReturnOpinion { answers } => {
                context.push(("answers".to_owned(), text(&answers.to_string())));
                Ok((uid(&NAMES.action, "return-opinion"), context))
            }
        }
    }
}

impl ConsentFacts {
    fn attributes(&self) -> Attributes {
        let mut attributes = vec![
            ("until".to_owned(), time(self.until)),
            ("sensitivities_named".to_owned(), RestrictedExpression::new_bool(self.sensitivities_named)),
            ("grantor".to_owned(), text(&self.grantor)),
            ("grantor_verified".to_owned(), RestrictedExpression::new_bool(self.grantor_verified)),
            ("names_country".to_owned(), RestrictedExpression::new_bool(self.names_country)),
            ("risk_notice".to_owned(), RestrictedExpression::new_bool(self.risk_notice)),
            ("source".to_owned(), text(&self.source)),
        ];
        attributes.extend(self.given.map(|at| ("given".to_owned(), time(at))));
        attributes.extend(self.erase_at.map(|at| ("erase_at".to_owned(), time(at))));
        attributes
    }
}

fn not_stated() -> String {
    "not-stated".to_owned()
}

fn entity(uid: EntityUid, attributes: Attributes, parent: Option<EntityUid>) -> Result<Entity, String> {
    Entity::new(uid, attributes.into_iter().collect(), parent.into_iter().collect()).map_err(|error| error.to_string())
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// How the policy names a partner.
pub(super) fn partner_uid(partner: &InstitutionId) -> EntityUid {
    uid(&NAMES.partner, partner.as_str())
}

fn entity_of(uid: EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid)
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn texts(texts: &BTreeSet<String>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.iter().map(|each| text(each)))
}

/// Cedar's `datetime` counts milliseconds, and reads the years 0 to 9999.
fn time(at: Timestamp) -> RestrictedExpression {
    RestrictedExpression::new_datetime(at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn read_some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    read_time(deserializer).map(Some)
}

struct Names {
    partner: EntityTypeName,
    case: EntityTypeName,
    bundle: EntityTypeName,
    action: EntityTypeName,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let name = |text: &str| text.parse().expect("a constant name of the schema");
    Names {
        partner: name("Medseal::Partner"),
        case: name("Medseal::Case"),
        bundle: name("Medseal::Bundle"),
        action: name("Medseal::Action"),
    }
});
