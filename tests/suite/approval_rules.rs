//! Are the rules that policies/README.md offers rules of a site, and do they ask for a second person where they say so?

use std::path::Path;
use std::sync::Arc;

use medseal::bundle::document::ConfidentialityCode;
use medseal::decision::{Gates, Request, decide};
use medseal::id::InstitutionId;
use medseal::policy::Policy;

use serde_json::json;

use crate::asking::{CONFIDENTIALITY, NOW, at, consent, document, gates, label, on_file, recipient, request, with};

/// The rules of the page that start with this id, as the only ones of a site.
fn site_with(id: &str) -> Gates {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md")).expect("text");
    let shown = |block: &&str| block.trim_start().starts_with(&format!("@id(\"{id}\")"));
    let rule =
        page.split("```cedar").skip(1).filter_map(|rest| rest.split("```").next()).find(shown).expect(id).to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("site")).expect("a folder");
    medseal::durable::write_new(&folder.path().join("site/ours.cedar"), rule.as_bytes(), 0o644).expect("written");
    Gates::new(Arc::new(Policy::load(folder.path()).unwrap_or_else(|error| panic!("{id}: {error}"))))
}

fn code(gates: &Gates, asked: &Request) -> &'static str {
    decide(gates, asked, at(NOW)).map_or_else(|denied| denied.reason.code(), |_| "ALLOW")
}

#[test]
fn the_rules_for_a_second_person_ask_where_they_say_so_and_nowhere_else() {
    let ordinary = request(vec![on_file(&consent())]);
    let covers = json!([{"system": CONFIDENTIALITY, "code": "R"}]);
    let mut restricted = request(vec![on_file(&with(consent(), |c| c["provision"]["securityLabel"] = covers))]);
    restricted.documents = vec![label(document("report.pdf"), ConfidentialityCode::R)];
    assert_eq!(code(&gates(), &restricted), "ALLOW", "the consent covers it");
    assert_eq!(code(&site_with("second-person-always"), &ordinary), "APPROVAL_NEEDED");
    let for_restricted = site_with("second-person-restricted");
    assert_eq!(code(&for_restricted, &ordinary), "ALLOW");
    assert_eq!(code(&for_restricted, &restricted), "APPROVAL_NEEDED");
    let for_one = site_with("second-person-nordhafen");
    assert_eq!(code(&for_one, &ordinary), "ALLOW", "another partner");
    let nordhafen: InstitutionId = "nordhafen".parse().expect("an id");
    let mut to_nordhafen = request(vec![on_file(&with(consent(), |c| {
        c["provision"]["actor"] = json!([recipient("nordhafen")]);
    }))]);
    to_nordhafen.partner.id = nordhafen.clone();
    to_nordhafen.case.partners.insert(nordhafen.clone());
    to_nordhafen.consents[0].countries.insert(nordhafen, "DE".parse().expect("a country"));
    assert_eq!(code(&for_one, &to_nordhafen), "APPROVAL_NEEDED");
}
