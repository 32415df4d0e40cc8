//! The institution's policy: Cedar.
//!
//! Rule: only a set that validates strictly and without a warning is ever used, and only a decision of Allow without
//! any error is a yes. Cedar skips a rule that errs, so an error in a `forbid` would otherwise let the release pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cedar_policy::{Authorizer, Decision, Effect, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::consent::terminology::TABLES;
use crate::durable;
use crate::id::{Country, Digest};
use crate::reason::Reason;

pub use cases::{CaseOutcome, CasesError};
pub use facts::{BundleFacts, CaseFacts, ConsentFacts, Facts, PartnerFacts, Way};

mod cases;
mod countries;
mod facts;

use countries::Countries;

/// A policy set that may decide.
#[derive(Debug)]
pub struct Policy {
    schema: Schema,
    set: PolicySet,
    rules: BTreeMap<String, Rule>,
    countries: Countries,
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

/// Why a policy set is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file or folder cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in base/ or the schema differs from what this version ships.
    #[error(
        "{file} is not the one of this version of medseal\nbase/ and the schema belong to medseal; put your own rules into site/"
    )]
    NotShipped {
        /// The file.
        file: String,
    },
    /// A file is larger than any policy.
    #[error("{file} is {found} bytes long; {FILE_BYTES_MAX} are allowed")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size in bytes.
        found: usize,
    },
    /// Cedar does not read it.
    #[error("{file} is not Cedar: {what}")]
    Parse {
        /// The file.
        file: String,
        /// Cedar's message.
        what: String,
    },
    /// A rule lacks an annotation.
    #[error("{file}: the rule {rule} has no @{annotation}(\"...\")")]
    Annotation {
        /// The file.
        file: String,
        /// The rule's id, or its number in the file.
        rule: String,
        /// The annotation that is missing.
        annotation: &'static str,
    },
    /// `@reason` names no reason code.
    #[error("{file}: the rule {rule} has @reason({found:?}), which is no reason code of docs/REASONS.md")]
    UnknownReason {
        /// The file.
        file: String,
        /// The rule.
        rule: String,
        /// What stands there.
        found: String,
    },
    /// Two rules have one id.
    #[error("{file}: the id {rule} is taken by another rule")]
    DuplicateId {
        /// The file of the second one.
        file: String,
        /// The id.
        rule: String,
    },
    /// A file in site/ permits something.
    #[error("{file}: the rule {rule} permits; the site's own rules may only forbid")]
    SitePermits {
        /// The file.
        file: String,
        /// The rule.
        rule: String,
    },
    /// A template, which nothing would link.
    #[error("{file} holds a template, which medseal does not link")]
    Template {
        /// The file.
        file: String,
    },
    /// The table of countries is not in its form, or takes something away.
    #[error("{file} is not a table of countries: {what}")]
    Countries {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The set does not fit the schema, or Cedar warns of it.
    #[error("the policy set is refused by strict validation: {what}")]
    Validation {
        /// Cedar's messages.
        what: String,
    },
}

impl PolicyError {
    /// The code under which this is refused.
    pub const fn reason(&self) -> Reason {
        Reason::PolicyError
    }
}

impl Policy {
    /// The set that this version ships, without a site's own rules.
    pub fn shipped() -> Self {
        Self::build(&[]).expect("the shipped set is loaded by a test")
    }

    /// The shipped set and the rules in `dir/site/*.cedar`.
    ///
    /// If `dir` also has `base/` or the schema, as this repository's policies/ has, they must be the shipped ones: an
    /// edit there would otherwise be believed and have no effect.
    pub fn load(dir: &Path) -> Result<Self, PolicyError> {
        for (file, shipped) in BASE.iter().chain(&WHOLE).copied() {
            let path = dir.join(file);
            if path.exists() && read(&path)? != shipped {
                return Err(PolicyError::NotShipped { file: path.display().to_string() });
            }
        }
        if let Some(extra) = cedar_files(&dir.join("base"))?
            .into_iter()
            .find(|path| !BASE.iter().any(|(file, _)| dir.join(file) == *path))
        {
            return Err(PolicyError::NotShipped { file: extra.display().to_string() });
        }
        let mut site = cedar_files(&dir.join("site"))?;
        site.extend(Some(dir.join("site").join(COUNTRIES_FILE)).filter(|path| path.exists()));
        let site: Vec<(String, String)> = site
            .iter()
            .map(|path| Ok((path.display().to_string(), read(path)?)))
            .collect::<Result<_, PolicyError>>()?;
        Self::build(&site)
    }

    /// Makes the folder in which an institution's own rules go, below `site/`. The shipped set is part of the program: a
    /// copy of it here would have to be changed by hand at every upgrade.
    pub fn make_folder(dir: &Path) -> std::io::Result<()> {
        durable::create_dir(dir, 0o755)?;
        durable::create_dir(&dir.join("site"), 0o755)
    }

    /// SHA-256 over the schema, the terminology tables and every policy file with its name.
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

    /// Runs every case file in `dir/cases`; an outcome per case, met or not.
    pub fn run_cases(&self, dir: &Path) -> Result<Vec<CaseOutcome>, CasesError> {
        cases::run(self, &dir.join("cases"))
    }

    fn build(site: &[(String, String)]) -> Result<Self, PolicyError> {
        let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA)
            .map_err(|error| PolicyError::Parse { file: SCHEMA_FILE.to_owned(), what: error.to_string() })?;
        if let Some(warning) = { warnings }.next() {
            return Err(PolicyError::Validation { what: warning.to_string() });
        }
        let countries = Countries::read(COUNTRIES)
            .map_err(|what| PolicyError::Countries { file: COUNTRIES_FILE.to_owned(), what })?;
        let (rules, digest) = (BTreeMap::new(), Digest::of(b""));
        let mut building = Self { schema, set: PolicySet::new(), rules, countries, digest };
        for (file, text) in BASE {
            building.add(file, text, Origin::Base)?;
        }
        for (file, text) in site {
            if file.ends_with(COUNTRIES_FILE) {
                let refused = |what| PolicyError::Countries { file: file.clone(), what };
                building.countries.add(text).map_err(refused)?;
                continue;
            }
            building.add(file, text, Origin::Site)?;
        }
        building.validate()?;
        building.digest = self::digest(site);
        Ok(building)
    }

    fn add(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), PolicyError> {
        let file = file.to_owned();
        let parsed: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| PolicyError::Parse {
            file: file.clone(),
            what: error.to_string(),
        })?;
        if parsed.templates().next().is_some() {
            return Err(PolicyError::Template { file });
        }
        for policy in parsed.policies() {
            let number = policy.id().to_string();
            let annotation =
                |annotation, rule: &str| {
                    policy.annotation(annotation).filter(|text| !text.trim().is_empty()).map(str::to_owned).ok_or_else(
                        || PolicyError::Annotation { file: file.clone(), rule: rule.to_owned(), annotation },
                    )
                };
            let id = annotation("id", &number)?;
            let says = annotation("says", &id)?;
            let reason = match (policy.effect(), origin) {
                (Effect::Permit, Origin::Site) => return Err(PolicyError::SitePermits { file, rule: id }),
                (Effect::Permit, Origin::Base) => None,
                (Effect::Forbid, _) => Some(reason_of(&file, &id, &annotation("reason", &id)?)?),
            };
            let rule = Rule { id: id.clone(), says, reason, file: file.clone() };
            if self.rules.insert(id.clone(), rule).is_some() {
                return Err(PolicyError::DuplicateId { file, rule: id });
            }
            self.set
                .add(policy.new_id(PolicyId::new(&id)))
                .map_err(|_| PolicyError::DuplicateId { file: file.clone(), rule: id })?;
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

fn reason_of(file: &str, rule: &str, code: &str) -> Result<Reason, PolicyError> {
    Reason::ALL.iter().copied().find(|reason| reason.code() == code).ok_or_else(|| PolicyError::UnknownReason {
        file: file.to_owned(),
        rule: rule.to_owned(),
        found: code.chars().take(64).collect(),
    })
}

fn cedar_files(dir: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let error = |source| PolicyError::Read { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, PolicyError> {
    let text = std::fs::read_to_string(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
    if text.len() > FILE_BYTES_MAX {
        return Err(PolicyError::TooLarge { file: path.display().to_string(), found: text.len() });
    }
    Ok(text)
}

/// SHA-256 over the tables of purposes and sensitivities by which this version decides.
pub fn terminology_digest() -> Digest {
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| digest_of(TABLES));
    *DIGEST
}

/// Each part with its length in front, so that text cannot move from one file to the next unseen.
fn digest(site: &[(String, String)]) -> Digest {
    let own = |(file, text): &(String, String)| {
        let name = Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (format!("site/{name}"), text.clone())
    };
    let shipped = BASE.iter().chain(&TABLES).chain(&WHOLE).map(|(f, t)| ((*f).to_owned(), (*t).to_owned()));
    digest_of(shipped.chain(site.iter().map(own)))
}

fn digest_of<T: AsRef<str>>(files: impl IntoIterator<Item = (T, T)>) -> Digest {
    let mut bytes = Vec::new();
    for (name, text) in files {
        for part in [name.as_ref(), text.as_ref()] {
            bytes.extend_from_slice(&u64::try_from(part.len()).expect("a length fits in 64 bits").to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    Digest::of(&bytes)
}

/// The largest policy file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The rules of an ordinary release that an emergency has rules of its own for.
const LEFT_ASIDE: [&str; 2] = ["consent-necessary", "purpose-of-care"];

const SCHEMA_FILE: &str = "gateway.cedarschema";
const SCHEMA: &str = include_str!("../policies/gateway.cedarschema");
const COUNTRIES_FILE: &str = "countries.json";
const COUNTRIES: &str = include_str!("../policies/countries.json");
const WHOLE: [(&str, &str); 2] = [(SCHEMA_FILE, SCHEMA), (COUNTRIES_FILE, COUNTRIES)];
const BASE: [(&str, &str); 6] = [
    ("base/always.cedar", include_str!("../policies/base/always.cedar")),
    ("base/break-glass.cedar", include_str!("../policies/base/break-glass.cedar")),
    ("base/minors.cedar", include_str!("../policies/base/minors.cedar")),
    ("base/release.cedar", include_str!("../policies/base/release.cedar")),
    ("base/return-opinion.cedar", include_str!("../policies/base/return-opinion.cedar")),
    ("base/transfer.cedar", include_str!("../policies/base/transfer.cedar")),
];
#[cfg(test)]
mod tests {
    use super::*;

    fn policies() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
    }

    fn with_site(text: &str) -> Result<Policy, PolicyError> {
        Policy::build(&[("site/ours.cedar".to_owned(), text.to_owned())])
    }

    const BLOCK: &str =
        "forbid (principal, action == Medseal::Action::\"release\", resource) when { principal.country == \"XX\" };";

    #[test]
    fn the_shipped_set_validates_strictly_and_is_the_one_in_the_repository() {
        let loaded = Policy::load(&policies()).expect("policies/ loads");
        assert_eq!(loaded.digest(), Policy::shipped().digest());
        assert!(loaded.rules().all(|rule| !rule.says.contains('.')), "@says is a sentence without a full stop");
    }

    #[test]
    fn every_shipped_case_is_met_and_every_rule_decides_in_one() {
        let policy = Policy::shipped();
        let outcomes = policy.run_cases(&policies()).expect("the cases run");
        for outcome in &outcomes {
            assert!(outcome.is_met(), "{}: expected {:?}, found {:?}", outcome.title, outcome.expected, outcome.found);
        }
        for rule in policy.rules() {
            let decides = outcomes.iter().any(|outcome| outcome.rules.contains(&rule.id));
            assert!(decides, "no case shows what {} does", rule.id);
        }
    }

    #[test]
    fn the_site_may_forbid() {
        let text = format!("@id(\"no-xx\") @says(\"never to XX\") @reason(\"POLICY\") {BLOCK}");
        let policy = with_site(&text).expect("a forbid is welcome");
        assert_eq!(policy.rule("no-xx").expect("it is there").reason, Some(Reason::Policy));
        assert_ne!(policy.digest(), Policy::shipped().digest());
    }

    #[test]
    fn the_site_may_not_permit() {
        let text = "@id(\"all\") @says(\"all\") permit (principal, action, resource);";
        assert!(matches!(with_site(text), Err(PolicyError::SitePermits { .. })));
    }

    #[test]
    fn a_rule_says_who_it_is_what_it_means_and_which_reason_it_gives() {
        for (text, missing) in [
            (BLOCK.to_owned(), "id"),
            (format!("@id(\"a\") {BLOCK}"), "says"),
            (format!("@id(\"a\") @says(\"b\") {BLOCK}"), "reason"),
        ] {
            let error = with_site(&text).expect_err(missing);
            assert!(matches!(&error, PolicyError::Annotation { annotation, .. } if *annotation == missing), "{error}");
        }
        let error =
            with_site(&format!("@id(\"a\") @says(\"b\") @reason(\"BECAUSE\") {BLOCK}")).expect_err("no such code");
        assert!(matches!(error, PolicyError::UnknownReason { .. }));
    }

    #[test]
    fn an_id_stands_for_one_rule() {
        let text = format!("@id(\"case-open\") @says(\"b\") @reason(\"POLICY\") {BLOCK}");
        assert!(matches!(with_site(&text), Err(PolicyError::DuplicateId { .. })));
    }

    #[test]
    fn a_misspelt_attribute_is_refused_at_load() {
        let text = format!("@id(\"a\") @says(\"b\") @reason(\"POLICY\") {}", BLOCK.replace("country", "contry"));
        assert!(matches!(with_site(&text), Err(PolicyError::Validation { .. })));
    }

    #[test]
    fn a_rule_that_never_applies_is_a_warning_and_so_refused() {
        let text = "@id(\"a\") @says(\"b\") @reason(\"POLICY\") forbid (principal, action, resource) when { 1 == 2 };";
        assert!(matches!(with_site(text), Err(PolicyError::Validation { .. })));
    }

    #[test]
    fn a_template_is_refused() {
        let text = "@id(\"a\") @says(\"b\") @reason(\"POLICY\") forbid (principal == ?principal, action, resource);";
        assert!(matches!(with_site(text), Err(PolicyError::Template { .. })));
    }

    #[test]
    fn a_rule_that_errs_makes_the_answer_no() {
        // Cedar skips a forbid that overflows, and allows; validation does not see it coming.
        let rule = BLOCK.replace("principal.country == \"XX\"", "context.attempt + 9223372036854775807 < 0");
        let policy = with_site(&format!("@id(\"a\") @says(\"b\") @reason(\"POLICY\") {rule}")).expect("it validates");
        let outcomes = policy.run_cases(&policies()).expect("the cases run");
        let allowed =
            outcomes.iter().find(|outcome| outcome.title.starts_with("an invited partner")).expect("the case");
        assert_eq!(allowed.found, ["POLICY_ERROR"]);
    }

    #[test]
    fn an_edited_base_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = dir.path().join("base");
        std::fs::create_dir(&base).expect("made");
        let file = |name: &str, text: &str| {
            durable::write_new(&base.join(name), text.as_bytes(), 0o644).expect("written");
        };
        file("always.cedar", BASE[0].1);
        assert!(Policy::load(dir.path()).is_ok());
        file("extra.cedar", BLOCK);
        assert!(matches!(Policy::load(dir.path()), Err(PolicyError::NotShipped { .. })));
    }
}
