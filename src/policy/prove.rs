//! Proofs over a policy set: what is true of everything that it allows, for every request that can be.
//!
//! Rule: a property counts as proved only when the solver found that no request breaks it; an answer of "unknown", a
//! solver that is missing or fails, is an error and never a proof.

mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use cedar_policy::{ActionConstraint, Effect, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::err::Error as SymbolicError;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet};

use super::Policy;

/// What the shipped set promises: policies/proofs.
const SHIPPED: [(&str, &str); 3] = [
    ("proofs/release.cedar", include_str!("../../policies/proofs/release.cedar")),
    ("proofs/return-opinion.cedar", include_str!("../../policies/proofs/return-opinion.cedar")),
    ("proofs/break-glass.cedar", include_str!("../../policies/proofs/break-glass.cedar")),
];

/// A sentence about everything that a policy set allows, in Cedar.
#[derive(Debug)]
pub struct Property {
    id: String,
    says: String,
    /// The action that it is about, as Cedar writes it.
    action: String,
    permits: PolicySet,
}

/// What came of one question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The property's id, or the rule's, or the action's.
    pub id: String,
    /// What was asked, as a sentence that is true if it was proved.
    pub says: String,
    /// A request that breaks it, line by line; `None`: there is none, and the sentence is proved.
    pub counterexample: Option<Vec<String>>,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// cvc5 cannot be started.
    #[error("the solver cvc5 cannot be started")]
    NoSolver(#[source] Box<SymbolicError>),
    /// The solver or the symbolic compiler gave up.
    #[error("{what} could be neither proved nor refuted")]
    Undecided {
        /// The property or rule.
        what: String,
        /// Why.
        #[source]
        source: Box<SymbolicError>,
    },
    /// A file of properties is not one.
    #[error("{file}: {what}")]
    Property {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Property {
    /// What the shipped rules promise.
    pub fn shipped() -> Vec<Self> {
        let read = |(file, text)| Self::read(file, text).expect("the shipped properties are read by a test");
        SHIPPED.into_iter().flat_map(read).collect()
    }

    /// Reads a file of properties: each a `permit` for one action, with `@id` and `@says`.
    pub fn read(file: &str, text: &str) -> Result<Vec<Self>, ProveError> {
        let wrong = |what: String| ProveError::Property { file: file.to_owned(), what };
        let set: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| wrong(error.to_string()))?;
        if set.templates().next().is_some() {
            return Err(wrong("a property has no placeholder".to_owned()));
        }
        let mut properties = Vec::new();
        for policy in set.policies() {
            let annotation = |name| {
                let text = policy.annotation(name).filter(|text| !text.trim().is_empty());
                text.map(str::to_owned).ok_or_else(|| wrong(format!("the property {} has no @{name}", policy.id())))
            };
            let (id, says) = (annotation("id")?, annotation("says")?);
            let ActionConstraint::Eq(action) = policy.action_constraint() else {
                return Err(wrong(format!("the property {id} is not about one action")));
            };
            if policy.effect() != Effect::Permit {
                return Err(wrong(format!(
                    "the property {id} forbids; a property is what is true of all that is allowed"
                )));
            }
            let permits = PolicySet::from_policies([policy.clone()]).map_err(|error| wrong(error.to_string()))?;
            properties.push(Self { id, says, action: action.to_string(), permits });
        }
        properties.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(properties)
    }
}

/// Asks of a policy set: whether each property holds, whether any rule can err, and whether anything is allowed at all.
pub async fn prove(policy: &Policy, properties: &[Property]) -> Result<Vec<Answer>, ProveError> {
    let mut prover = Prover::start(&policy.schema, &policy.set)?;
    let mut answers = Vec::new();
    for env in policy.schema.request_envs() {
        let action = env.action().to_string();
        answers.push(prover.allows_something(&env).await?);
        for property in properties.iter().filter(|property| property.action == action) {
            answers.push(prover.holds(property, &env).await?);
        }
        answers.extend(prover.never_errs(&env).await?);
    }
    let actions: BTreeSet<String> = policy.schema.request_envs().map(|env| env.action().to_string()).collect();
    if let Some(stray) = properties.iter().find(|property| !actions.contains(&property.action)) {
        let what = format!("the property {} is about {}, which the schema does not know", stray.id, stray.action);
        return Err(ProveError::Property { file: "the properties".to_owned(), what });
    }
    Ok(answers)
}

struct Prover<'a> {
    schema: &'a Schema,
    set: &'a PolicySet,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl<'a> Prover<'a> {
    fn start(schema: &'a Schema, set: &'a PolicySet) -> Result<Self, ProveError> {
        let no_solver = |error: SymbolicError| ProveError::NoSolver(Box::new(error));
        let solver = LocalSolver::cvc5().map_err(|error| no_solver(error.into()))?;
        Ok(Self { schema, set, compiler: CedarSymCompiler::new(solver).map_err(no_solver)? })
    }

    /// Whether whatever the set allows satisfies the property.
    async fn holds(&mut self, property: &Property, env: &RequestEnv) -> Result<Answer, ProveError> {
        let failed = undecided(&property.id);
        let set = CompiledPolicySet::compile(self.set, env, self.schema).map_err(&failed)?;
        let claim = CompiledPolicySet::compile(&property.permits, env, self.schema).map_err(&failed)?;
        let broken = self.compiler.check_implies_with_counterexample_opt(&set, &claim).await.map_err(&failed)?;
        let counterexample = broken.map(|found| words::of(&found.request, &found.entities));
        Ok(Answer { id: property.id.clone(), says: property.says.clone(), counterexample })
    }

    /// Whether the set allows anything: of one that allows nothing, everything is true.
    async fn allows_something(&mut self, env: &RequestEnv) -> Result<Answer, ProveError> {
        let id = action_word(env);
        let failed = undecided(&id);
        let set = CompiledPolicySet::compile(self.set, env, self.schema).map_err(&failed)?;
        let nothing = self.compiler.check_always_denies_opt(&set).await.map_err(&failed)?;
        let counterexample = nothing.then(|| vec!["every request is denied".to_owned()]);
        Ok(Answer { says: format!("the rules allow some {id}"), id, counterexample })
    }

    /// Whether any rule can err: Cedar would skip it, and what it forbids would pass.
    async fn never_errs(&mut self, env: &RequestEnv) -> Result<Vec<Answer>, ProveError> {
        let mut policies: Vec<_> = self.set.policies().filter(|policy| concerns(policy, env)).collect();
        policies.sort_by(|a, b| a.id().cmp(b.id()));
        let mut answers = Vec::new();
        for policy in policies {
            let id = policy.id().to_string();
            let failed = undecided(&id);
            let compiled = CompiledPolicy::compile(policy, env, self.schema).map_err(&failed)?;
            let erring = self.compiler.check_never_errors_with_counterexample_opt(&compiled).await.map_err(&failed)?;
            let counterexample = erring.map(|found| words::of(&found.request, &found.entities));
            let says = format!("the rule {id} never errs on a {}", action_word(env));
            answers.push(Answer { id, says, counterexample });
        }
        Ok(answers)
    }
}

fn undecided(what: &str) -> impl Fn(SymbolicError) -> ProveError + use<> {
    let what = what.to_owned();
    move |error| ProveError::Undecided { what: what.clone(), source: Box::new(error) }
}

/// Whether the rule speaks of this action.
fn concerns(policy: &cedar_policy::Policy, env: &RequestEnv) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => action == *env.action(),
        ActionConstraint::In(actions) => actions.contains(env.action()),
    }
}

fn action_word(env: &RequestEnv) -> String {
    env.action().id().unescaped().to_owned()
}
