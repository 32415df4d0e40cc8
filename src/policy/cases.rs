//! Cases: facts and the answer expected of them, in files that a clerk can read.
//!
//! Rule: a case file gives one complete set of facts and then only what each case changes in it, so that what decides
//! stands out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Facts, Policy, Verdict};

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(rename = "about")]
    _about: String,
    facts: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    title: String,
    /// Dotted path to new value; `null` takes the attribute away.
    #[serde(default)]
    change: BTreeMap<String, Value>,
    /// `allow`, or the reason codes of all rules that forbid.
    expect: Vec<String>,
}

/// How one case came out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaseOutcome {
    /// The file.
    pub file: PathBuf,
    /// The case, as a sentence.
    pub title: String,
    /// What was expected.
    pub expected: Vec<String>,
    /// What the policy answered, in the same form.
    pub found: Vec<String>,
    /// The rules that decided, by id.
    pub rules: Vec<String>,
}

impl CaseOutcome {
    /// Whether the policy answered as expected.
    pub fn is_met(&self) -> bool {
        self.expected == self.found
    }
}

/// Why the cases could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CasesError {
    /// A file or folder cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not a case file.
    #[error("{path} is not a file of cases: {what}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which case.
        what: String,
    },
    /// There is no case at all: nothing was tested.
    #[error("{path} holds no case")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

pub(super) fn run(policy: &Policy, dir: &Path) -> Result<Vec<CaseOutcome>, CasesError> {
    let read_error = |source| CasesError::Read { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read_error)? {
        let path = entry.map_err(read_error)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let mut outcomes = Vec::new();
    for path in files {
        let text = std::fs::read(&path).map_err(|source| CasesError::Read { path: path.clone(), source })?;
        let form = |what: String| CasesError::Form { path: path.clone(), what };
        let file: CaseFile = serde_json::from_slice(&text).map_err(|error| form(error.to_string()))?;
        for case in file.cases {
            let verdict = changed(&file.facts, &case.change)
                .map(|facts| policy.evaluate(&facts))
                .map_err(|what| form(format!("{}: {what}", case.title)))?;
            outcomes.push(CaseOutcome {
                file: path.clone(),
                title: case.title,
                expected: case.expect,
                found: in_codes(&verdict),
                rules: verdict.rules.iter().map(|rule| rule.id.clone()).collect(),
            });
        }
    }
    if outcomes.is_empty() {
        return Err(CasesError::Empty { path: dir.to_owned() });
    }
    Ok(outcomes)
}

fn changed(facts: &Value, change: &BTreeMap<String, Value>) -> Result<Facts, String> {
    let mut facts = facts.clone();
    for (path, value) in change {
        let mut place = &mut facts;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let Value::Object(fields) = place else { return Err(format!("{path} leads nowhere")) };
            if steps.peek().is_some() {
                place = fields.get_mut(step).ok_or_else(|| format!("{path} leads nowhere"))?;
            } else if value.is_null() {
                fields.remove(step).ok_or_else(|| format!("{path} is not there to be taken away"))?;
                break;
            } else {
                fields.insert(step.to_owned(), value.clone());
                break;
            }
        }
    }
    serde_json::from_value(facts).map_err(|error| error.to_string())
}

fn in_codes(verdict: &Verdict) -> Vec<String> {
    if verdict.allowed {
        return vec!["allow".to_owned()];
    }
    if !verdict.errors.is_empty() {
        return vec!["POLICY_ERROR".to_owned()];
    }
    let mut codes: Vec<String> =
        verdict.rules.iter().filter_map(|rule| rule.reason).map(|reason| reason.code().to_owned()).collect();
    codes.sort();
    codes.dedup();
    codes
}

/// The facts of a shipped file of cases with these changes.
#[cfg(test)]
pub(super) fn facts_for_tests(file: &str, change: &Value) -> Facts {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cases").join(file);
    let read: CaseFile = serde_json::from_slice(&std::fs::read(path).expect("read")).expect("a case file");
    changed(&read.facts, &serde_json::from_value(change.clone()).expect("changes")).expect("facts")
}
