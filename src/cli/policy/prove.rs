//! `medseal policy prove`: what is true of everything that a policy set allows.

use std::path::PathBuf;

use clap::Args;

use super::super::Context;
use super::super::failure::Outcome;

/// Proves with cvc5 what a policy set promises, or prints a request that breaks it.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal policy prove /var/lib/medseal/policies\n\
    The promises stand in policies/proofs. Exit status 1 when one does not hold, 2 when that could not be found out.\n\
    Needs cvc5 (Debian's package cvc5; CVC5 names another) and a medseal built with `--features prove`.")]
pub(in crate::cli) struct Prove {
    /// The folder of the set.
    dir: PathBuf,
    /// Promises of your own, in Cedar, beside those that ship.
    #[arg(long, value_name = "FILE")]
    properties: Vec<PathBuf>,
}

#[cfg(not(feature = "prove"))]
impl Prove {
    pub(super) fn run(self, _: &Context) -> Outcome {
        let Self { dir, .. } = self;
        Err(super::super::failure::Failure::unable(format!(
            "this medseal was built without the prover: {} was not proved",
            dir.display()
        ))
        .hint("build one that can: `cargo build --release --features prove`; the gateway does without it"))
    }
}

#[cfg(feature = "prove")]
mod with_solver {
    use anyhow::Context as _;
    use serde_json::{Value, json};

    use super::super::super::failure::{Failure, Status};
    use super::super::load;
    use super::{Context, Outcome, Prove};
    use crate::policy::prove::{Answer, Property, ProveError, prove};
    use crate::reason::Reason;

    impl Prove {
        pub(in crate::cli::policy) fn run(self, context: &Context) -> Outcome {
            let set = load(&self.dir)?;
            let mut properties = Property::shipped();
            for path in &self.properties {
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                properties.extend(Property::read(&path.display().to_string(), &text).map_err(failed)?);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context("starting the runtime")?;
            let answers = runtime.block_on(prove(&set, &properties)).map_err(failed)?;
            let refuted = answers.iter().filter(|answer| answer.counterexample.is_some()).count();
            if context.out.is_json() {
                let answers: Vec<Value> = answers.iter().map(as_json).collect();
                context.out.object(&json!({ "ok": refuted == 0, "digest": set.digest(), "answers": answers }))?;
            } else {
                for answer in &answers {
                    context.out.line(lines_of(answer))?;
                }
                context.out.say(format!(
                    "{} proved, {refuted} refuted; digest {}",
                    answers.len() - refuted,
                    set.digest()
                ));
            }
            Ok(if refuted == 0 { Status::Done } else { Status::Refused })
        }
    }

    fn as_json(answer: &Answer) -> Value {
        json!({ "id": answer.id, "says": answer.says, "proved": answer.counterexample.is_none(), "counterexample": answer.counterexample })
    }

    fn lines_of(answer: &Answer) -> String {
        match &answer.counterexample {
            None => format!("proved   {}", answer.says),
            Some(lines) => {
                let mut text = format!("REFUTED  {} ({}). This would be allowed:", answer.says, answer.id);
                for line in lines {
                    text.push_str("\n         ");
                    text.push_str(line);
                }
                text
            }
        }
    }

    fn failed(error: ProveError) -> Failure {
        let hint = match &error {
            ProveError::NoSolver(_) => Some("`apt-get install cvc5`, or name the program in the variable CVC5"),
            ProveError::Property { .. } => Some("policies/proofs/README.md says what a property is"),
            _ => None,
        };
        let bad_file = matches!(error, ProveError::Property { .. });
        let text = format!("{:#}", anyhow::Error::new(error));
        let failure = if bad_file { Failure::bad_input(Reason::PolicyError, text) } else { Failure::unable(text) };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
