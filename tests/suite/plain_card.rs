//! Is a card that was made with stock tools alone, as docs/PARTNERS.md says, a card like any other?

use std::fs;

use medseal::partner::{Exchange, SignedCard};

use crate::needs;
use crate::plain_page::Page;
use crate::site::Site;

#[test]
fn the_card_that_the_page_makes_is_added_by_its_fingerprint_and_shown_as_what_it_is() {
    let tools = ["sh", "openssl", "age-keygen", "ssh-keygen"].map(needs::tool);
    if tools.iter().any(Option::is_none) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let page = Page::of("institut-genf", "files.institut-genf.example", 8443, "st-mary");
    let made = page.run(&["Keys", "Card"], folder.path());
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8_lossy(&made.stdout);
    let fingerprint = said.lines().last().and_then(|line| line.split(' ').next()).expect("a fingerprint");

    let path = folder.path().join("medseal-keys/institut-genf.card");
    let card = SignedCard::parse(&fs::read(&path).expect("a card")).expect("read");
    assert_eq!(card.card().exchange, Exchange::HttpsPut);
    assert_eq!(card.fingerprint().to_string(), fingerprint);

    let mut hospital = Site::init(folder.path(), "st-mary", "KE");
    hospital.start();
    let path = path.to_str().expect("a path");
    let refused = hospital.run(&["partner", "add", path]);
    assert_eq!(refused.status, 1, "a first card needs a fingerprint: {refused:?}");
    let shown = hospital.run(&["partner", "add", path, "--fingerprint", fingerprint]).ok();
    assert_eq!(shown.text("exchange"), "https-put");
    assert_eq!(shown.text("endpoint"), "https://files.institut-genf.example:8443");
    let listed = hospital.run(&["partner", "list"]).ok();
    assert_eq!(listed.json["items"][0]["exchange"], "https-put");
}

#[test]
fn a_slip_in_a_card_is_told_with_what_mends_it() {
    let tools = ["sh", "openssl", "age-keygen", "ssh-keygen"].map(needs::tool);
    if tools.iter().any(Option::is_none) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let page = Page::of("institut-genf", "files.institut-genf.example", 8443, "st-mary");
    assert!(page.run(&["Keys", "Card"], folder.path()).status.success());
    let path = folder.path().join("medseal-keys/institut-genf.card");
    let text = fs::read_to_string(&path).expect("a card").replacen("\"country\":\"CH\"", "\"country\": \"CH\"", 1);
    medseal::durable::replace(&path, text.as_bytes(), 0o644).expect("written");
    let mut hospital = Site::init(folder.path(), "st-mary", "KE");
    hospital.start();
    let refused = hospital.run(&["partner", "add", path.to_str().expect("a path")]);
    assert_eq!((refused.status, refused.json["error"]["code"].as_str()), (1, Some("BAD_INPUT")), "{refused:?}");
    let said = refused.json.to_string();
    assert!(said.contains("spaces between the fields") && said.contains("sort_keys=True"), "{said}");
}
