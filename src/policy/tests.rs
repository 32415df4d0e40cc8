//! What a policy set may be, and what is refused.

use serde_json::json;
use std::path::PathBuf;

use super::*;

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn with_site(text: &str) -> Result<Policy, PolicyError> {
    Policy::with_site(&BTreeMap::from([("ours.cedar".to_owned(), text.to_owned())]))
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
    let error = with_site(&format!("@id(\"a\") @says(\"b\") @reason(\"BECAUSE\") {BLOCK}")).expect_err("no such code");
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
    let facts = cases::facts_for_tests("release.json", &json!({}));
    assert!(Policy::shipped().evaluate(&facts).allowed);
    let verdict = policy.evaluate(&facts);
    assert!(!verdict.allowed && !verdict.errors.is_empty(), "{verdict:?}");
}

#[test]
fn an_edited_base_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = dir.path().join("base");
    std::fs::create_dir(&base).expect("made");
    let file = |name: &str, text: &str| {
        durable::write_new(&base.join(name), text.as_bytes(), 0o644).expect("written");
    };
    file("always.cedar", include_str!("../../policies/base/always.cedar"));
    assert!(Policy::load(dir.path()).is_ok());
    file("extra.cedar", BLOCK);
    assert!(matches!(Policy::load(dir.path()), Err(PolicyError::NotShipped { .. })));
}

fn linked(links: &str) -> Result<Policy, PolicyError> {
    Policy::with_site(&BTreeMap::from([("links.json".to_owned(), format!("{{\"links\": [{links}]}}"))]))
}

#[test]
fn a_site_links_each_shipped_template_to_a_partner_and_to_nobody_else() {
    for (template, code, change) in [
        ("partner-paused", "POLICY", json!({})),
        ("partner-nothing-restricted", "CONFIDENTIALITY", json!({"bundle.confidentiality": 4})),
        ("partner-nothing-sensitive", "SENSITIVITY", json!({"bundle.sensitivity": ["HIV"]})),
        ("partner-second-person", "APPROVAL_NEEDED", json!({})),
    ] {
        let link = |partner: &str| format!(r#"{{"template": "{template}", "id": "ours", "partner": "{partner}"}}"#);
        let ask = |policy: &Policy| policy.evaluate(&cases::facts_for_tests("release.json", &change));
        let policy = linked(&link("heidelberg")).expect("linked");
        let verdict = ask(&policy);
        let found: Vec<_> =
            verdict.rules.iter().map(|rule| (rule.id.as_str(), rule.reason.expect("one").code())).collect();
        assert_eq!(found, [("ours", code)], "{template}");
        assert_eq!(policy.rule("ours").expect("a rule").file, "site/links.json");
        assert!(ask(&linked(&link("mayo")).expect("linked")).allowed, "{template} for another partner");
        assert!(ask(&Policy::shipped()).allowed, "{template} for nobody");
    }
    let shipped = Policy::shipped();
    assert_eq!(shipped.set.templates().count(), 4, "each shipped template is shown here");
}

#[test]
fn a_link_that_cannot_be_made_is_refused_by_name() {
    let good = r#"{"template": "partner-paused", "id": "ours", "partner": "mayo"}"#;
    for (links, named) in [
        (good.replace("partner-paused", "partner-pausd"), "partner-pausd"),
        (good.replace("partner-paused", "case-open"), "case-open"),
        (good.replace("ours", "case-open"), "case-open"),
        (good.replace("ours", " "), "has no id"),
        (format!("{good}, {good}"), "ours"),
        (good.replace("\"id\"", "\"name\""), "name"),
    ] {
        let error = linked(&links).expect_err(named);
        assert!(matches!(error, PolicyError::Links { .. }) && error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_file_that_nothing_would_read_is_refused() {
    let with = |name: &str| Policy::with_site(&BTreeMap::from([(name.to_owned(), String::new())]));
    for name in ["country.json", "rules.cedr", "links.jsn"] {
        assert!(matches!(with(name), Err(PolicyError::Stray { .. })), "{name}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let site = dir.path().join("site");
    std::fs::create_dir(&site).expect("made");
    for name in ["README.md", ".rules.cedar.swp", "rules.cedar~"] {
        durable::write_new(&site.join(name), b"not Cedar", 0o644).expect("written");
    }
    assert_eq!(Policy::load(dir.path()).expect("loads").digest(), Policy::shipped().digest());
    durable::write_new(&site.join("country.json"), b"{}", 0o644).expect("written");
    assert!(matches!(Policy::load(dir.path()), Err(PolicyError::Stray { .. })));
}

#[test]
fn a_kept_set_decides_as_before_and_a_changed_one_is_not_believed() {
    let text = format!("@id(\"no-xx\") @says(\"never to XX\") @reason(\"POLICY\") {BLOCK}");
    let policy = with_site(&text).expect("a forbid is welcome");
    let kept = policy.to_keep();
    assert_eq!(Digest::of(&kept), policy.digest());
    let again = Policy::from_kept(&kept, policy.digest()).expect("it comes back");
    assert_eq!(again.digest(), policy.digest());
    assert_eq!(again.rules().collect::<Vec<_>>(), policy.rules().collect::<Vec<_>>());
    assert_eq!(again.to_keep(), kept);
    let changed = String::from_utf8(kept.clone()).expect("text").replace("never to XX", "never to YY");
    for bytes in [changed.as_bytes(), b"{}", b"", &kept[1..]] {
        let found = Policy::from_kept(bytes, policy.digest());
        assert!(matches!(found, Err(PolicyError::NotAsKept { .. })));
    }
}

#[test]
fn each_file_of_the_set_is_part_of_its_digest() {
    let texts: BTreeMap<String, String> = serde_json::from_slice(&Policy::shipped().to_keep()).expect("texts");
    let shipped = policies();
    for name in ["gateway.cedarschema", "countries.json", "base/templates.cedar", "terminology/purpose.json"] {
        assert_eq!(texts[name], std::fs::read_to_string(shipped.join(name)).expect("read"), "{name}");
    }
    let folder = |name: &str| std::fs::read_dir(shipped.join(name)).expect("a folder").count();
    assert_eq!(texts.keys().filter(|name| name.starts_with("base/")).count(), folder("base"));
}

#[test]
fn the_worked_example_of_a_site_is_a_valid_set() {
    let readme = std::fs::read_to_string(policies().join("site/README.md")).expect("read");
    let blocks = |kind: &str| -> Vec<String> {
        let open = format!("```{kind}\n");
        readme.split(&open).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
    };
    let (cedar, json) = (blocks("cedar"), blocks("json"));
    assert_eq!((cedar.len(), json.len()), (1, 2));
    let names = ["ours.cedar", "links.json", "countries.json"].map(str::to_owned);
    let site: BTreeMap<String, String> = names.into_iter().zip(cedar.into_iter().chain(json)).collect();
    let policy = Policy::with_site(&site).expect("it loads");
    assert_eq!(policy.rules().count(), Policy::shipped().rules().count() + 3);
    assert_eq!(policy.of_age(&"IN".parse().expect("a country")), 21);
    assert!(policy.restricted_from(&"IN".parse().expect("a country")).contains(&"XX".parse().expect("a country")));
}
