//! Is what the shipped rules promise true of every request, and is a set that breaks a promise found out?

use super::*;

#[path = "../../../tests/suite/needs.rs"]
mod needs;

fn proven(policy: &Policy, properties: &[Property]) -> Vec<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(prove(policy, properties)).expect("every question has an answer")
}

/// One question, about releases.
fn asks(policy: &Policy, property: &Property) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let env = policy.schema.request_envs().find(|env| env.action().to_string() == property.action);
        let mut prover = Prover::start(&policy.schema, &policy.set).expect("cvc5 starts");
        prover.holds(property, &env.expect("an action of the schema")).await.expect("an answer")
    })
}

fn refuted(answers: &[Answer]) -> Vec<&str> {
    answers.iter().filter(|answer| answer.counterexample.is_some()).map(|answer| answer.id.as_str()).collect()
}

/// The shipped set with rules taken out or replaced, as nobody can load it.
fn mutant(without: &[&str], with: &[&str]) -> Policy {
    let mut policy = Policy::shipped();
    let kept = policy.set.policies().filter(|rule| !without.contains(&rule.annotation("id").unwrap_or_default()));
    let mut set = PolicySet::from_policies(kept.cloned()).expect("a set");
    assert_eq!(set.num_of_policies() + without.len(), policy.set.num_of_policies(), "every rule is there to take out");
    for text in with {
        let rule = cedar_policy::Policy::parse(None, text).expect("a rule");
        let id = rule.annotation("id").expect("an id").to_owned();
        set.add(rule.new_id(cedar_policy::PolicyId::new(id))).expect("a new id");
    }
    policy.set = set;
    policy
}

/// The rule that permits, without its clauses about consent and invitation.
const PERMITS_ANYTHING: &str = r#"@id("release-anything")
    permit (principal, action == Medseal::Action::"release", resource);"#;

#[test]
fn everything_that_the_shipped_rules_promise_is_proved() {
    let Some(_) = needs::tool("cvc5") else { return };
    let properties = Property::shipped();
    let answers = proven(&Policy::shipped(), &properties);
    assert_eq!(refuted(&answers), Vec::<&str>::new(), "{answers:#?}");
    for property in &properties {
        assert!(answers.iter().any(|answer| answer.id == property.id), "{} was not asked", property.id);
    }
    let rules = Policy::shipped().rules().filter(|rule| !answers.iter().any(|answer| answer.id == rule.id)).count();
    assert_eq!(rules, 0, "of every rule it is proved that it never errs");
}

#[test]
fn each_rule_that_is_taken_out_is_missed_by_the_property_that_needs_it() {
    let Some(_) = needs::tool("cvc5") else { return };
    let properties = Property::shipped();
    for (rule, property) in [
        ("consent-necessary", "only-under-a-consent"),
        ("consent-ended", "only-before-the-consent-ends"),
        ("sensitivities-named", "only-with-every-sensitivity-named"),
        ("partner-invited", "only-to-an-invited-partner"),
        ("partner-suspended", "only-to-an-active-partner"),
        ("partner-active", "only-to-an-active-partner"),
        ("card-in-force", "only-to-an-active-partner"),
        ("recipient-key", "only-to-an-active-partner"),
        ("agreement-in-force", "only-within-the-agreement"),
        ("obligations-met", "only-with-every-obligation-met"),
        ("purpose-of-care", "only-for-care"),
        ("case-open", "only-while-the-case-is-open"),
        ("very-restricted-never-automatic", "never-very-restricted"),
        ("country-restricted", "never-to-a-forbidden-country"),
        ("transfer-basis", "never-over-a-border-without-a-basis"),
        ("minor-needs-guardian", "a-child-only-with-a-verified-guardian"),
        ("handling-undertaken", "substance-use-only-to-who-undertook-it"),
        ("facts-fresh", "only-on-fresh-facts"),
    ] {
        let set = mutant(&["release-second-opinion", rule], &[PERMITS_ANYTHING]);
        let asked = properties.iter().find(|each| each.id == property).expect("a shipped property");
        assert!(asks(&set, asked).counterexample.is_some(), "{property} holds without {rule}");
    }
}

#[test]
fn a_counterexample_is_told_in_words() {
    let Some(_) = needs::tool("cvc5") else { return };
    let set = mutant(&["release-second-opinion", "consent-necessary"], &[PERMITS_ANYTHING]);
    let answers = proven(&set, &Property::shipped());
    let broken = answers.iter().find(|answer| answer.id == "only-under-a-consent").expect("it was asked");
    let lines = broken.counterexample.as_ref().expect("it is refuted");
    assert!(lines.contains(&"consent: none".to_owned()), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("partner: ") && line.contains("standing \"active\"")),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("case: open yes, this partner invited yes")), "{lines:#?}");
}

#[test]
fn a_property_that_is_false_is_refuted_and_so_is_a_set_that_allows_nothing() {
    let Some(_) = needs::tool("cvc5") else { return };
    let only_treatment = r#"@id("only-treatment") @says("records leave only for treatment")
        permit (principal, action == Medseal::Action::"release", resource) when { context.purpose == "TREAT" };"#;
    let properties = Property::read("false.cedar", only_treatment).expect("a property");
    assert_eq!(refuted(&proven(&Policy::shipped(), &properties)), ["only-treatment"]);
    assert!(refuted(&proven(&mutant(&["release-second-opinion"], &[]), &[])).contains(&"release"));
}

/// The trap: the sum overflows, the rule errs, Cedar skips it, and what it forbids is allowed.
#[test]
fn a_rule_that_can_overflow_is_found_out() {
    let Some(_) = needs::tool("cvc5") else { return };
    let overflows = r#"@id("attempts-computed") @says("computed") @reason("GAVE_UP")
        forbid (principal, action == Medseal::Action::"release", resource) when { context.attempt + 1 > 1000 };"#;
    assert_eq!(refuted(&proven(&mutant(&[], &[overflows]), &[])), ["attempts-computed"]);
}

#[test]
fn what_is_no_property_is_refused_with_its_file() {
    for (text, said) in [
        ("permit (principal, action, resource);", "@id"),
        (r#"@id("a") @says("b") permit (principal, action, resource);"#, "one action"),
        (r#"@id("a") @says("b") forbid (principal, action == Medseal::Action::"release", resource);"#, "forbids"),
        ("permit (", "unexpected"),
    ] {
        let error = Property::read("ours.cedar", text).expect_err("no property").to_string();
        assert!(error.starts_with("ours.cedar: ") && error.contains(said), "{error}");
    }
}
