//! `medseal policy`: check a policy set, run its cases, prove its promises, ask why.

mod explain;
mod prove;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::answer::text;
use super::failure::{Failure, Outcome, Status};
use crate::decision;
use crate::policy::{self, CasesError, PolicyError};
use crate::reason::Reason;

/// What the institution allows beyond the patient's consent.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    Check(Check),
    Test(Test),
    Reload(Reload),
    Explain(explain::Explain),
    Prove(prove::Prove),
}

/// Reads a policy set strictly and says what it holds.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal policy check /var/lib/medseal/policies")]
pub(super) struct Check {
    /// The folder of the set.
    dir: PathBuf,
}

/// Runs the cases of a policy set: what is given and the answer expected; for a home's set medseal's own, too.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal policy test /var/lib/medseal/policies\n\
    Exit status 1 when a case comes out otherwise than it expects.")]
pub(super) struct Test {
    /// The folder of the set; its own cases stand in `cases`.
    dir: PathBuf,
}

/// Has the running gateway read its policy folder anew; what is on its way is decided by the new set.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal policy reload\n\
    A set that is not valid is refused, and the old one stays in force; both are recorded. Run `medseal policy test`\n\
    before.")]
pub(super) struct Reload {}

impl Policy {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Check(verb) => verb.run(context),
            Self::Test(verb) => verb.run(context),
            Self::Reload(_) => reload(context),
            Self::Explain(verb) => verb.run(context),
            Self::Prove(verb) => verb.run(context),
        }
    }
}

impl Check {
    fn run(self, context: &Context) -> Outcome {
        let set = load(&self.dir)?;
        let rules: Vec<&policy::Rule> = set.rules().collect();
        if context.out.is_json() {
            let rules: Vec<Value> =
                rules.iter().map(|rule| json!({ "id": rule.id, "says": rule.says, "reason": rule.reason })).collect();
            context.out.object(&json!({ "ok": true, "digest": set.digest(), "rules": rules }))?;
            return Ok(Status::Done);
        }
        let rows: Vec<Vec<String>> = rules
            .iter()
            .map(|rule| {
                let verdict = rule.reason.map_or("permits".to_owned(), |reason| reason.code().to_owned());
                vec![rule.id.clone(), verdict, rule.says.clone()]
            })
            .collect();
        context.out.table(&["RULE", "VERDICT", "SAYS"], &rows)?;
        context.out.say(format!("the set is valid: {} rules, digest {}", rules.len(), set.digest()));
        Ok(Status::Done)
    }
}

impl Test {
    fn run(self, context: &Context) -> Outcome {
        let set = load(&self.dir)?;
        let outcomes = decision::cases::test(&Arc::new(set), &self.dir).map_err(|error| {
            let hint = match &error {
                CasesError::Empty { .. } => {
                    "put a file of cases there, as policies/README.md shows; beside HOME/policies medseal's own run, too"
                }
                _ => "the cases stand in the folder `cases` of the set; policies/README.md shows one",
            };
            Failure::bad_input(Reason::PolicyError, format!("{:#}", anyhow::Error::new(error))).hint(hint)
        })?;
        let narrowed = outcomes.iter().filter(|outcome| outcome.narrowed).count();
        let unmet: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_met()).collect();
        if context.out.is_json() {
            let unmet: Vec<Value> = unmet
                .iter()
                .map(|case| json!({ "title": case.title, "expected": case.expected, "found": case.found }))
                .collect();
            let answer = json!({
                "ok": unmet.is_empty(), "cases": outcomes.len(), "site_forbids": narrowed, "unmet": unmet,
            });
            context.out.object(&answer)?;
        } else {
            for case in &outcomes {
                let mark = match (case.is_met(), case.narrowed) {
                    (true, false) => "as expected",
                    (true, true) => "site forbids",
                    (false, _) => "OTHERWISE",
                };
                context.out.line(format!("{mark:12}  {}", case.title))?;
                if !case.is_met() || case.narrowed {
                    let found = format!("expected {}, found {}", case.expected.join(" "), case.found.join(" "));
                    context.out.line(format!("              {found}; rules: {}", case.rules.join(", ")))?;
                }
            }
            context.out.say(format!("{} cases, {} otherwise than expected", outcomes.len(), unmet.len()));
        }
        Ok(if unmet.is_empty() { Status::Done } else { Status::Refused })
    }
}

fn reload(context: &Context) -> Outcome {
    let answer = context.api()?.post("/v1/policy/reload", &json!({}))?;
    if context.out.is_json() {
        context.out.object(&answer)?;
        return Ok(Status::Done);
    }
    let same = answer.get("changed").and_then(Value::as_bool) == Some(false);
    let before = if same { "the same".to_owned() } else { text(&answer, "before") };
    context.out.facts(&[
        ("in force", text(&answer, "digest")),
        ("before", before),
        ("rules", text(&answer, "rules")),
    ])?;
    Ok(Status::Done)
}

fn load(dir: &std::path::Path) -> Result<policy::Policy, Failure> {
    if !dir.is_dir() {
        return Err(Failure::bad_input(Reason::BadInput, format!("{} is no folder", dir.display()))
            .hint("name the folder of the policy set, such as HOME/policies"));
    }
    policy::Policy::load(dir).map_err(|error: PolicyError| {
        // A set that is not valid was read and judged: the answer is no, not that it could not be read.
        let read = matches!(error, PolicyError::Read { .. });
        let text = format!("{:#}", anyhow::Error::new(error));
        let hint = "policies/README.md says what a rule may use";
        if read { Failure::bad_input(Reason::PolicyError, text) } else { Failure::refused(Reason::PolicyError, text) }
            .hint(hint)
    })
}
