//! Cases of whole decisions: a patient's consents, a case, a partner, documents, a clock, and the answer expected.
//!
//! Rule: each goes through [`decide`], as a release does. medseal's own cases run against a site's set too, which may
//! answer no where they expect a yes, and never the reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use super::{Basis, CaseState, Confirmation, DELIVERY_MEETS, Gates, Kind, PartnerState, Request, decide};
use crate::bundle::document::{Confidentiality, ConfidentialityCode, DateRange, Document, PatientCheck};
use crate::clock::Timestamp;
use crate::consent::{Consent, OnFile};
use crate::id::{BundleId, CaseId, ConsentId, Country, Digest, InstitutionId, PatientIdentifier, Purpose, SubjectId};
use crate::partner::{Standing, TransferBasis};
use crate::policy::{CaseOutcome, CasesError, Policy, changed};

/// A file of cases about whole decisions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(rename = "about")]
    _about: String,
    /// Consents in full, by a name of their own.
    consents: BTreeMap<String, Value>,
    given: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    title: String,
    #[serde(default)]
    change: BTreeMap<String, Value>,
    /// `allow`, or the code of the reason that comes first.
    expect: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    now: Time,
    /// When the facts were read; `now` unless it says otherwise.
    read_at: Option<Time>,
    zone: String,
    origin_country: Country,
    attempt: u32,
    /// The dispatch that an opinion answers; absent: records are sent.
    answers: Option<Digest>,
    case: GivenCase,
    partner: GivenPartner,
    patient: GivenPatient,
    documents: Vec<GivenDocument>,
    consents: Vec<GivenConsent>,
    /// What the delivery does beside the usual.
    #[serde(default)]
    also_met: BTreeSet<String>,
    /// What the delivery does not do of the usual.
    #[serde(default)]
    not_met: BTreeSet<String>,
    /// Files of the site, by name, beside those of the set that is tested.
    #[serde(default)]
    site: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenCase {
    open: bool,
    partners: BTreeSet<InstitutionId>,
    purpose: Purpose,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenPartner {
    id: InstitutionId,
    country: Country,
    standing: Standing,
    agreement_from: Time,
    agreement_until: Option<Time>,
    transfer_basis: TransferBasis,
    card_expires: Time,
    key_valid: bool,
    #[serde(default)]
    key_begins_later: bool,
    part2: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenPatient {
    identifiers: Vec<PatientIdentifier>,
    birth_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenDocument {
    path: String,
    media_type: String,
    class: Option<String>,
    /// Absent: nobody stated it, and normal (N) is assumed.
    confidentiality: Option<ConfidentialityCode>,
    #[serde(default)]
    sensitivity: Vec<String>,
    date: Option<DateRange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenConsent {
    /// Which of the file's consents.
    is: String,
    #[serde(default)]
    change: BTreeMap<String, Value>,
    withdrawn: Option<Time>,
    /// The countries on the cards when it was recorded.
    #[serde(default)]
    countries: BTreeMap<InstitutionId, Country>,
}

/// A time as a person writes it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Time(Timestamp);

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: jiff::Error| format!("{text}: {error}"))
    }
}

/// Runs the cases that stand beside a policy set in `dir`; a home's set is tried with medseal's own cases, too.
pub fn test(policy: &Arc<Policy>, dir: &Path) -> Result<Vec<CaseOutcome>, CasesError> {
    let folder = dir.join("cases");
    let mut outcomes = Vec::new();
    if !dir.join("base").is_dir() {
        let shipped = Arc::new(Policy::shipped());
        for (name, text) in SHIPPED {
            let without_site = run(&shipped, Path::new(name), text)?;
            let mut found = run(policy, Path::new(name), text)?;
            for (outcome, without) in found.iter_mut().zip(without_site) {
                outcome.narrowed = without.is_met() && !outcome.is_met() && outcome.found != ["allow"];
            }
            outcomes.append(&mut found);
        }
    }
    for path in files(&folder)? {
        let text = std::fs::read_to_string(&path).map_err(|source| CasesError::Read { path: path.clone(), source })?;
        outcomes.append(&mut run(policy, &path, &text)?);
    }
    if outcomes.is_empty() {
        return Err(CasesError::Empty { path: folder });
    }
    Ok(outcomes)
}

/// A file has `facts` for the rules alone, or `given` for whole decisions.
fn run(policy: &Arc<Policy>, path: &Path, text: &str) -> Result<Vec<CaseOutcome>, CasesError> {
    let form = |what: String| CasesError::Form { path: path.to_owned(), what };
    let value: Value = serde_json::from_str(text).map_err(|error| form(error.to_string()))?;
    if value.get("facts").is_some() {
        return policy.run_cases(path, text);
    }
    let file: CaseFile = serde_json::from_value(value).map_err(|error| form(error.to_string()))?;
    let mut outcomes = Vec::new();
    for case in &file.cases {
        let named = |what: String| form(format!("{}: {what}", case.title));
        let (found, rules) = answer(policy, &file, case).map_err(named)?;
        outcomes.push(CaseOutcome {
            file: path.to_owned(),
            title: case.title.clone(),
            expected: case.expect.clone(),
            found: vec![found],
            rules,
            narrowed: false,
        });
    }
    Ok(outcomes)
}

fn answer(policy: &Arc<Policy>, file: &CaseFile, case: &Case) -> Result<(String, Vec<String>), String> {
    let given: Given =
        serde_json::from_value(changed(&file.given, &case.change)?).map_err(|error| error.to_string())?;
    let policy = if given.site.is_empty() {
        Arc::clone(policy)
    } else {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let site = given.site.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        Arc::new(policy.with_also(&site).map_err(|error| error.to_string())?)
    };
    let now = given.now.0;
    let request = request(given, &file.consents)?;
    Ok(match decide(&Gates::new(policy), &request, now) {
        Ok(permit) => ("allow".to_owned(), permit.policies().to_vec()),
        Err(denied) => (denied.reason.code().to_owned(), denied.policies.to_vec()),
    })
}

fn request(given: Given, consents: &BTreeMap<String, Value>) -> Result<Request, String> {
    let partner = given.partner;
    let birth_date = given.patient.birth_date.as_deref().map(str::parse::<Date>).transpose();
    let met = DELIVERY_MEETS.iter().map(|code| (*code).to_owned()).chain(given.also_met);
    Ok(Request {
        bundle: BundleId::random(),
        attempt: given.attempt,
        kind: if given.answers.is_some() { Kind::Opinion } else { Kind::Records },
        basis: given.answers.map_or(Basis::Consent, Basis::Answers),
        case: CaseState {
            id: CaseId::random(),
            open: given.case.open,
            partners: given.case.partners,
            purpose: given.case.purpose,
            subject: SubjectId::random(),
        },
        partner: PartnerState {
            id: partner.id,
            country: partner.country,
            standing: partner.standing,
            agreement_from: partner.agreement_from.0,
            agreement_until: partner.agreement_until.map(|until| until.0),
            transfer_basis: partner.transfer_basis,
            card: Digest::of(b"card"),
            card_expires: partner.card_expires.0,
            part2: partner.part2,
            has_valid_recipient_key: partner.key_valid,
            recipient_key_begins_later: partner.key_begins_later,
        },
        confirmation: Confirmation::none(0),
        documents: given.documents.into_iter().map(document).collect::<Result<_, _>>()?,
        patient: given.patient.identifiers,
        birth_date: birth_date.map_err(|error| error.to_string())?,
        consents: given.consents.into_iter().map(|kept| on_file(kept, consents)).collect::<Result<_, _>>()?,
        obligations_met: met.filter(|code| !given.not_met.contains(code)).collect(),
        origin_country: given.origin_country,
        zone: TimeZone::get(&given.zone).map_err(|error| error.to_string())?,
        read_at: given.read_at.unwrap_or(given.now).0,
    })
}

fn document(given: GivenDocument) -> Result<Document, String> {
    let (assumed, code) = (given.confidentiality.is_none(), given.confidentiality.unwrap_or(ConfidentialityCode::N));
    Ok(Document {
        path: given.path.parse().map_err(|error| format!("{}: {error}", given.path))?,
        media_type: given.media_type,
        class: given.class,
        title: None,
        confidentiality: Confidentiality { code, assumed },
        sensitivity: given.sensitivity,
        date: given.date,
        patient_check: PatientCheck::Match,
        bytes: 1,
        sha256: Digest::of(given.path.as_bytes()),
    })
}

fn on_file(given: GivenConsent, consents: &BTreeMap<String, Value>) -> Result<OnFile, String> {
    let resource = consents.get(&given.is).ok_or_else(|| format!("no consent of this file is {}", given.is))?;
    let bytes = changed(resource, &given.change)?.to_string().into_bytes();
    Ok(OnFile {
        id: ConsentId::random(),
        version: 1,
        withdrawn: given.withdrawn.map(|at| at.0),
        countries: given.countries,
        sha256: Digest::of(&bytes),
        depends: None,
        consent: Consent::parse(&bytes),
    })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CasesError> {
    let failed = |source| CasesError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

const SHIPPED: [(&str, &str); 4] = [
    ("break-glass.json", include_str!("../../policies/cases/break-glass.json")),
    ("decisions.json", include_str!("../../policies/cases/decisions.json")),
    ("release.json", include_str!("../../policies/cases/release.json")),
    ("return-opinion.json", include_str!("../../policies/cases/return-opinion.json")),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn policies() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
    }

    fn site(text: &str) -> Arc<Policy> {
        let site = BTreeMap::from([("ours.cedar".to_owned(), text.to_owned())]);
        Arc::new(Policy::with_site(&site).expect("a set"))
    }

    #[test]
    fn every_shipped_case_is_met_and_every_rule_decides_in_one() {
        let policy = Arc::new(Policy::shipped());
        let outcomes = test(&policy, &policies()).expect("the cases run");
        let unmet: Vec<String> = outcomes
            .iter()
            .filter(|outcome| !outcome.is_met())
            .map(|outcome| format!("{}: expected {:?}, found {:?}", outcome.title, outcome.expected, outcome.found))
            .collect();
        assert!(unmet.is_empty(), "{}", unmet.join("\n"));
        for rule in policy.rules() {
            let decides = outcomes.iter().any(|outcome| outcome.rules.contains(&rule.id));
            assert!(decides, "no case shows what {} does", rule.id);
        }
        let named: BTreeSet<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        let there = files(&policies().join("cases")).expect("a folder");
        assert_eq!(named.len(), there.len(), "each file of cases is part of the program");
    }

    #[test]
    fn a_home_runs_our_cases_and_its_own_against_its_own_set() {
        let home = tempfile::tempdir().expect("a folder");
        let policy = site(
            "@id(\"not-to-de\") @says(\"not to Germany\") @reason(\"POLICY\") \
             forbid (principal, action == Medseal::Action::\"release\", resource) when { principal.country == \"DE\" };",
        );
        let outcomes = test(&policy, home.path()).expect("ours run");
        let ordinary = |outcome: &&CaseOutcome| outcome.title == "an ordinary release under a consent goes";
        let found = outcomes.iter().find(ordinary).expect("the case");
        assert!(found.narrowed && found.is_met() && found.found == ["POLICY"], "{found:?}");
        assert!(outcomes.iter().all(CaseOutcome::is_met), "a site that only forbids is no mistake");
        let shipped = test(&Arc::new(Policy::shipped()), home.path()).expect("ours run");
        assert!(shipped.iter().all(|outcome| outcome.is_met() && !outcome.narrowed));

        let cases = home.path().join("cases");
        std::fs::create_dir(&cases).expect("made");
        let own = SHIPPED[1].1.replace("an ordinary release", "our ordinary release");
        crate::durable::write_new(&cases.join("ours.json"), own.as_bytes(), 0o644).expect("written");
        let outcomes = test(&policy, home.path()).expect("all run");
        let own: Vec<_> = outcomes.iter().filter(|outcome| outcome.file.starts_with(&cases)).collect();
        assert!(own.iter().any(|outcome| !outcome.is_met()), "a site's own case expects what the site means");
    }

    #[test]
    fn a_folder_without_a_case_and_a_case_that_nobody_can_read_are_no_success() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("base")).expect("made");
        let policy = Arc::new(Policy::shipped());
        assert!(matches!(test(&policy, dir.path()), Err(CasesError::Empty { .. })));
        for (text, named) in [
            ("{".to_owned(), "EOF"),
            (SHIPPED[1].1.replacen("\"title\"", "\"titel\"", 1), "titel"),
            (SHIPPED[1].1.replacen("consents.0.change", "consents.7.change", 1), "consents.7.change"),
            (SHIPPED[1].1.replacen("\"is\": \"permission\"", "\"is\": \"permit\"", 1), "permit"),
        ] {
            let error = run(&policy, Path::new("ours.json"), &text).expect_err(named);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
