//! The institution's policy: Cedar.
//!
//! Rule: only a set that validates strictly and without a warning is ever used, and only a decision of Allow without
//! any error is a yes. Cedar skips a rule that errs, so an error in a `forbid` would otherwise let the release pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use cedar_policy::{Authorizer, Decision, Effect, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::durable;
use crate::id::{Country, Digest};
use crate::reason::Reason;

pub(crate) use cases::changed;
pub use cases::{CaseOutcome, CasesError};
pub use error::PolicyError;
pub use facts::{BundleFacts, CaseFacts, ConsentFacts, Facts, PartnerFacts, Way};
pub use texts::{FILE_BYTES_MAX, terminology_digest};

mod cases;
mod countries;
mod error;
mod facts;
mod links;
#[cfg(feature = "prove")]
pub mod prove;
mod texts;

use countries::Countries;
use texts::{COUNTRIES_FILE, LINKS_FILE, SCHEMA_FILE, Texts};

/// A policy set that may decide.
#[derive(Debug)]
pub struct Policy {
    schema: Schema,
    set: PolicySet,
    rules: BTreeMap<String, Rule>,
    countries: Countries,
    texts: Texts,
    digest: Digest,
}

/// One rule of the set, as a person knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Its `@id`.
    pub id: String,
    /// Its `@says`: one plain sentence.
    pub says: String,
    /// Its `@reason`: the code of a denial by this rule. `None`: the rule permits.
    pub reason: Option<Reason>,
    /// The file that it stands in.
    pub file: String,
}

/// What the policy answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// Whether the release may go.
    pub allowed: bool,
    /// The rules that decided: those that permit, if allowed; those that forbid, if not.
    pub rules: Vec<Rule>,
    /// What went wrong in the evaluation; any makes it a no.
    pub errors: Vec<String>,
}

impl Verdict {
    /// Whether nothing but a second person's yes is missing.
    pub fn lacks_only_approval(&self) -> bool {
        let mut reasons = self.rules.iter().filter_map(|rule| rule.reason).peekable();
        self.errors.is_empty() && reasons.peek().is_some() && reasons.all(|reason| reason == Reason::ApprovalNeeded)
    }
}

impl Policy {
    /// The set that this version ships, without a site's own rules.
    pub fn shipped() -> Self {
        Self::build(Texts::shipped()).expect("the shipped set is loaded by a test")
    }

    /// The shipped set and the site's own part in `dir/site`.
    ///
    /// If `dir` also has `base/`, the schema or the table of countries, as this repository's policies/ has, they must be
    /// the shipped ones: an edit there would otherwise be believed and have no effect.
    pub fn load(dir: &Path) -> Result<Self, PolicyError> {
        Self::build(Texts::load(dir)?)
    }

    /// The shipped set with these files of a site, by name: `ours.cedar`, `links.json`, `countries.json`.
    pub fn with_site(site: &BTreeMap<String, String>) -> Result<Self, PolicyError> {
        Self::shipped().with_also(site)
    }

    /// The whole text of the set, to be kept under its [`digest`](Self::digest): what was decided by it can then be
    /// decided again when it is no longer in force. The digest is the SHA-256 of these bytes.
    pub fn to_keep(&self) -> Vec<u8> {
        self.texts.to_bytes()
    }

    /// The set whose text was kept under `digest`.
    pub fn from_kept(bytes: &[u8], digest: Digest) -> Result<Self, PolicyError> {
        let texts = Texts::from_bytes(bytes).filter(|texts| texts.digest() == digest);
        Self::build(texts.ok_or(PolicyError::NotAsKept { digest })?)
    }

    /// Makes the folder in which an institution's own rules go, below `site/`. The shipped set is part of the program: a
    /// copy of it here would have to be changed by hand at every upgrade.
    pub fn make_folder(dir: &Path) -> std::io::Result<()> {
        durable::create_dir(dir, 0o755)?;
        durable::create_dir(&dir.join("site"), 0o755)
    }

    /// SHA-256 over everything that decides: the schema, the tables, and every policy file with its name.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Every rule, by id.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// The rule `id`.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.get(id)
    }

    /// The countries to which the law forbids transfers from `origin`.
    pub fn restricted_from(&self, origin: &Country) -> BTreeSet<Country> {
        self.countries.restricted_from(origin)
    }

    /// At how many years somebody comes of age in `country`.
    pub fn of_age(&self, country: &Country) -> u8 {
        self.countries.of_age(country)
    }

    /// Asks the policy. Facts that do not fit the schema are an error, and so a no.
    ///
    /// What forbids an ordinary release forbids one in an emergency, too, a site's own rules included: only the rules
    /// that ask for the consent itself, and for a purpose of everyday care, are left aside.
    pub fn evaluate(&self, facts: &Facts) -> Verdict {
        let mut verdict = self.ask(facts);
        if let Some(ordinary) = facts.as_ordinary_release() {
            let Verdict { rules, errors, .. } = self.ask(&ordinary);
            let stands = |rule: &Rule| rule.reason.is_some() && !LEFT_ASIDE.contains(&rule.id.as_str());
            verdict.rules.extend(rules.into_iter().filter(stands));
            verdict.errors.extend(errors);
            if verdict.rules.iter().any(|rule| rule.reason.is_some()) || !verdict.errors.is_empty() {
                verdict.allowed = false;
                verdict.rules.retain(|rule| rule.reason.is_some());
            }
        }
        verdict
    }

    fn ask(&self, facts: &Facts) -> Verdict {
        let (request, entities) = match facts.to_cedar(&self.schema) {
            Ok(prepared) => prepared,
            Err(what) => return Verdict { allowed: false, rules: Vec::new(), errors: vec![what] },
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let decided: BTreeSet<&PolicyId> = response.diagnostics().reason().collect();
        let rules: Vec<Rule> =
            decided.iter().filter_map(|id| self.rules.get(AsRef::<str>::as_ref(*id)).cloned()).collect();
        Verdict { allowed: response.decision() == Decision::Allow && errors.is_empty(), rules, errors }
    }

    /// This set with these files of a site beside its own.
    pub fn with_also(&self, site: &BTreeMap<String, String>) -> Result<Self, PolicyError> {
        let mut texts = self.texts.clone();
        for (name, text) in site {
            texts.add_site(name, text.clone())?;
        }
        Self::build(texts)
    }

    fn build(texts: Texts) -> Result<Self, PolicyError> {
        let (schema, warnings) = Schema::from_cedarschema_str(texts.schema())
            .map_err(|error| PolicyError::Parse { file: SCHEMA_FILE.to_owned(), what: error.to_string() })?;
        if let Some(warning) = { warnings }.next() {
            return Err(PolicyError::Validation { what: warning.to_string() });
        }
        let countries = Countries::read(texts.countries())
            .map_err(|what| PolicyError::Countries { file: COUNTRIES_FILE.to_owned(), what })?;
        let (set, rules, digest) = (PolicySet::new(), BTreeMap::new(), texts.digest());
        let mut building = Self { schema, set, rules, countries, texts: Texts::default(), digest };
        for (file, text) in texts.below("base/") {
            building.add(file, text, Origin::Base)?;
        }
        for (file, text) in texts.below("site/") {
            match file.strip_prefix("site/") {
                Some(COUNTRIES_FILE) => {
                    let refused = |what| PolicyError::Countries { file: file.to_owned(), what };
                    building.countries.add(text).map_err(refused)?;
                }
                Some(LINKS_FILE) => building.link(file, text)?,
                _ => building.add(file, text, Origin::Site)?,
            }
        }
        building.validate()?;
        building.texts = texts;
        Ok(building)
    }

    fn add(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), PolicyError> {
        let parsed: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| PolicyError::Parse {
            file: file.to_owned(),
            what: error.to_string(),
        })?;
        for template in parsed.templates() {
            let rule = said(file, template.id().as_ref(), origin, template.effect(), |name| template.annotation(name))?;
            match (origin, template.effect()) {
                (Origin::Site, _) => return Err(PolicyError::Template { file: file.to_owned(), rule: rule.id }),
                (Origin::Base, Effect::Permit) => {
                    return Err(PolicyError::TemplatePermits { file: file.to_owned(), rule: rule.id });
                }
                (Origin::Base, Effect::Forbid) => {}
            }
            let taken = |_| PolicyError::DuplicateId { file: file.to_owned(), rule: rule.id.clone() };
            self.set.add_template(template.new_id(PolicyId::new(&rule.id))).map_err(taken)?;
        }
        for policy in parsed.policies() {
            let rule = said(file, policy.id().as_ref(), origin, policy.effect(), |name| policy.annotation(name))?;
            let taken = |_| PolicyError::DuplicateId { file: file.to_owned(), rule: rule.id.clone() };
            self.set.add(policy.new_id(PolicyId::new(&rule.id))).map_err(taken)?;
            self.rules.insert(rule.id.clone(), rule);
        }
        Ok(())
    }

    fn validate(&self) -> Result<(), PolicyError> {
        let result = Validator::new(self.schema.clone()).validate(&self.set, ValidationMode::Strict);
        let found: Vec<String> = result
            .validation_errors()
            .map(ToString::to_string)
            .chain(result.validation_warnings().map(ToString::to_string))
            .collect();
        if found.is_empty() { Ok(()) } else { Err(PolicyError::Validation { what: found.join("; ") }) }
    }
}

#[derive(Clone, Copy)]
enum Origin {
    Base,
    Site,
}

/// What a rule says of itself; one that only permits needs no reason, and only medseal's own may permit.
fn said<'a>(
    file: &str,
    number: &str,
    origin: Origin,
    effect: Effect,
    annotation: impl Fn(&'static str) -> Option<&'a str>,
) -> Result<Rule, PolicyError> {
    let text = |name: &'static str, rule: &str| {
        annotation(name)
            .filter(|text| !text.trim().is_empty())
            .map(str::to_owned)
            .ok_or_else(|| PolicyError::Annotation { file: file.to_owned(), rule: rule.to_owned(), annotation: name })
    };
    let id = text("id", number)?;
    let says = text("says", &id)?;
    let reason = match (effect, origin) {
        (Effect::Permit, Origin::Site) => return Err(PolicyError::SitePermits { file: file.to_owned(), rule: id }),
        (Effect::Permit, Origin::Base) => None,
        (Effect::Forbid, _) => Some(reason_of(file, &id, &text("reason", &id)?)?),
    };
    Ok(Rule { id, says, reason, file: file.to_owned() })
}

fn reason_of(file: &str, rule: &str, code: &str) -> Result<Reason, PolicyError> {
    Reason::ALL.iter().copied().find(|reason| reason.code() == code).ok_or_else(|| PolicyError::UnknownReason {
        file: file.to_owned(),
        rule: rule.to_owned(),
        found: code.chars().take(64).collect(),
    })
}

/// The rules of an ordinary release that an emergency has rules of its own for.
const LEFT_ASIDE: [&str; 2] = ["consent-necessary", "purpose-of-care"];

#[cfg(test)]
mod tests;
