//! Cases: facts and the answer expected of them, in files that a clerk can read.
//!
//! Rule: a case file gives one complete set of facts and then only what each case changes in it, so that what decides
//! stands out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Facts, Policy, Verdict};

/// A file of cases about the rules alone.
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
    /// What was answered, in the same form.
    pub found: Vec<String>,
    /// The rules that decided, by id.
    pub rules: Vec<String>,
    /// It is one of medseal's own cases, and a site's own rules forbid what would be allowed without them.
    pub narrowed: bool,
}

impl CaseOutcome {
    /// Whether the answer is as expected, or no because the site's own rules ask for it.
    pub fn is_met(&self) -> bool {
        self.expected == self.found || self.narrowed
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

impl Policy {
    /// Runs a file of cases about the rules alone: facts, what each case changes in them, and the codes of all rules
    /// that then forbid.
    pub fn run_cases(&self, path: &Path, text: &str) -> Result<Vec<CaseOutcome>, CasesError> {
        let form = |what: String| CasesError::Form { path: path.to_owned(), what };
        let file: CaseFile = serde_json::from_str(text).map_err(|error| form(error.to_string()))?;
        let mut outcomes = Vec::new();
        for case in file.cases {
            let verdict = changed(&file.facts, &case.change)
                .and_then(|facts| serde_json::from_value::<Facts>(facts).map_err(|error| error.to_string()))
                .map(|facts| self.evaluate(&facts))
                .map_err(|what| form(format!("{}: {what}", case.title)))?;
            outcomes.push(CaseOutcome {
                file: path.to_owned(),
                title: case.title,
                expected: case.expect,
                found: in_codes(&verdict),
                rules: verdict.rules.iter().map(|rule| rule.id.clone()).collect(),
                narrowed: false,
            });
        }
        Ok(outcomes)
    }
}

/// `value` with these changes: a dotted path, in which a number is a place in a list, to a new value; `null` takes away.
pub(crate) fn changed(value: &Value, change: &BTreeMap<String, Value>) -> Result<Value, String> {
    let mut changed = value.clone();
    for (path, new) in change {
        let (steps, last) = path.rsplit_once('.').map_or((None, path.as_str()), |(steps, last)| (Some(steps), last));
        let mut place = &mut changed;
        for step in steps.into_iter().flat_map(|steps| steps.split('.')) {
            place = inside(place, step).ok_or_else(|| format!("{path} leads nowhere"))?;
        }
        match place {
            Value::Object(fields) if new.is_null() => {
                fields.remove(last).ok_or_else(|| format!("{path} is not there to be taken away"))?;
            }
            Value::Object(fields) => {
                fields.insert(last.to_owned(), new.clone());
            }
            list => *inside(list, last).ok_or_else(|| format!("{path} leads nowhere"))? = new.clone(),
        }
    }
    Ok(changed)
}

fn inside<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
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
    let change = serde_json::from_value(change.clone()).expect("changes");
    serde_json::from_value(changed(&read.facts, &change).expect("changed")).expect("facts")
}
