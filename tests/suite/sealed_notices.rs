//! Do records whose notice may be read by nobody but the receiver reach it with that notice, and does nothing else tell
//! what they are about? Two real gateways.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use medseal::durable;
use medseal::keys::Keys;
use medseal::statement::dispatch::Dispatch;
use medseal::wire::{Code, Target};
use serde_json::{Value, json};

use crate::duplicates::{delivered, dial, holdings};
use crate::site::{Pair, Site, open_case};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// Sends one record of substance use under a consent that names it. The consent has an id of its own each time.
fn send_sensitive(pair: &Pair) -> crate::site::Ran {
    let folder = pair.folder.path();
    let file = |name: &str, content: &str| {
        durable::replace(&folder.join(name), content.as_bytes(), 0o600).expect("written");
        folder.join(name).to_str().expect("a path").to_owned()
    };
    let consent = medseal::sample_case::consent_json(
        &medseal::sample_case::patient(),
        &"nordhafen".parse().expect("an id"),
        &"DE".parse().expect("a country"),
        "2026-01-01".parse().expect("a day"),
        "2036-01-01".parse().expect("a day"),
    );
    let mut consent: Value = serde_json::from_str(&crate::site::another(&consent)).expect("JSON");
    consent["provision"]["securityLabel"] =
        json!([{ "system": CONFIDENTIALITY, "code": "R" }, { "system": ACT_CODE, "code": "ETH" }]);
    pair.hospital.run(&["consent", "add", &file("consent.json", &consent.to_string())]).ok();
    let record = file("a.txt", "A letter.\n");
    let list = json!([{
        "path": "a.txt", "class": "18842-5", "confidentiality": "R", "sensitivity": ["ETHUD"], "date": "2026-03-01"
    }]);
    let case = open_case(&pair.hospital, &pair.institute);
    let list = file("list.json", &list.to_string());
    pair.hospital.run(&["send", &record, "--case", &case, "--documents", &list, "--wait"])
}

/// The partner undertakes, or takes back, what the notice asks.
fn register(hospital: &Site, institute: &Site, more: &[&str]) {
    let card = hospital.home.join(format!("card-of-{}", institute.id));
    let shown = institute.run(&["card", "--out", card.with_extension("new").to_str().expect("a path")]).ok();
    let card = card.with_extension("new");
    let args = ["partner", "add", card.to_str().expect("a path"), "--fingerprint", &shown.text("fingerprint")];
    hospital.run(&[&args[..], more].concat()).ok();
    fs::remove_file(card).expect("removed");
}

/// Fails when a file below, its name included, holds a word that tells of substance use. The policies of a home name
/// the rule for every patient alike.
fn tells_nothing(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name == "policies") {
            continue;
        }
        if path.is_dir() {
            tells_nothing(&path);
        } else if path.is_file() {
            says_nothing(&path.display().to_string(), path.as_os_str().as_encoded_bytes());
            says_nothing(&path.display().to_string(), &fs::read(&path).expect("a file"));
        }
    }
}

fn says_nothing(what: &str, bytes: &[u8]) {
    for word in ["PART2-NOTICE", "42 CFR", "substance", "ETHUD"] {
        let found = bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()));
        assert!(!found, "{what} says {word}");
    }
}

#[test]
fn records_of_substance_use_arrive_with_their_notice_and_nothing_else_tells_of_it() {
    let mut pair = Pair::silent();
    send_sensitive(&pair).refused("OBLIGATION");
    register(&pair.hospital, &pair.institute, &["--part2"]);
    let sent = send_sensitive(&pair).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", pair.hospital.log());
    let bundle = sent.text("bundle");

    let item = pair.institute.run(&["inbox", &bundle]).ok();
    says_nothing("the dispatch", item.text("dispatch").as_bytes());
    says_nothing("the inbox", item.stdout.as_bytes());
    let sealed = BASE64.decode(item.text("notices")).expect("base64");
    says_nothing("the sealed notices", &sealed);

    let out = pair.folder.path().join("read");
    let opened = pair.institute.run(&["open", &bundle, "--out", out.to_str().expect("a path")]).ok();
    let obligations = &opened.json["notices"]["obligations"];
    for code in ["PART2-NOTICE", "NORDSCLCD", "PERSISTLABEL"] {
        assert!(obligations.as_array().expect("a list").contains(&json!(code)), "{obligations}");
    }
    let page = fs::read_to_string(pair.folder.path().join("read.notices.txt")).expect("a page");
    assert!(page.contains("42 CFR part 2 prohibits unauthorized use or disclosure of these records."), "{page}");
    assert!(page.contains("nordhafen") && page.contains("TREAT") && page.contains("2036"), "the scope: {page}");

    // On another machine, with the notices that were saved; and not without them.
    let saved = pair.folder.path().join("saved");
    pair.institute.run(&["inbox", &bundle, "--save", saved.to_str().expect("a path")]).ok();
    let file = |ending: &str| saved.join(format!("{bundle}{ending}")).to_str().expect("a path").to_owned();
    let key = pair.institute.home.join("keys/age.key");
    let card = saved.join("tallinn-east.card");
    let open = |out: &str| {
        let out = pair.folder.path().join(out);
        let names = [key.as_path(), &card, &out].map(|path| path.to_str().expect("a path").to_owned());
        let [key, card, out] = names;
        pair.institute.run(&["open", &file(".age"), "--identity", &key, "--card", &card, "--out", &out])
    };
    assert_eq!(open("elsewhere").ok().json["notices"], opened.json["notices"]);
    durable::replace(Path::new(&file(".notices.age")), &sealed[..sealed.len() - 1], 0o600).expect("written");
    open("changed").refused("TAMPERED");
    fs::remove_file(file(".notices.age")).expect("removed");
    assert_eq!(open("without").status, 2, "the records are not read without what must be observed");
    for out in ["changed", "without"] {
        assert!(
            !pair.folder.path().join(out).exists() && !pair.folder.path().join(format!("{out}.notices.txt")).exists()
        );
    }

    for site in [&mut pair.hospital, &mut pair.institute] {
        assert_eq!(site.run(&["audit", "verify"]).ok().json["ok"], true);
        site.run(&["audit", "replay"]).ok();
        site.stop();
        tells_nothing(&site.home);
    }
}

#[test]
fn every_bundle_has_notices_and_all_have_one_size() {
    let pair = Pair::ready();
    register(&pair.hospital, &pair.institute, &["--part2"]);
    let sizes = [pair.send(&["--wait"]).ok(), send_sensitive(&pair).ok()].map(|sent| {
        let item = pair.institute.run(&["inbox", &sent.text("bundle")]).ok();
        let dispatch: Value = serde_json::from_str(&item.text("dispatch")).expect("JSON");
        let obligations = dispatch["obligations"].as_array().expect("a list").len();
        let notices = BASE64.decode(item.text("notices")).expect("base64");
        // The header before it grows by chance: age adds a stanza that means nothing.
        (notices.len() - medseal::seal::header_length(&notices).expect("a header"), obligations)
    });
    assert_eq!(sizes[0], sizes[1], "neither the size nor the dispatch tells them apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_without_the_notices_that_its_dispatch_names_is_refused() {
    let pair = Pair::ready();
    let sent = delivered(&pair);
    let before = holdings(&pair.institute);
    // The hospital itself, in a further attempt at the same bundle.
    let keys = Keys::open(&pair.hospital.home.join("keys")).expect("the keys of a home");
    let dispatch: Dispatch = serde_json::from_str(&sent.handover.dispatch).expect("a dispatch");
    let signed = Dispatch { attempt: 2, ..dispatch.clone() }.sign(keys.signer());
    let unnamed = Dispatch { attempt: 3, notices_sha256: None, ..dispatch }.sign(keys.signer());
    let mut right = sent.handover.clone();
    (right.dispatch, right.signature) = (signed.text, signed.signature);
    let mut without = right.clone();
    without.notices.clear();
    let mut others = right.clone();
    others.notices[0] ^= 1;
    let mut not_named = right.clone();
    (not_named.dispatch, not_named.signature) = (unnamed.text, unnamed.signature);
    let target = Target::Handover(sent.offer.id());
    for wrong in [without, others, not_named] {
        let mut line = dial(&pair.hospital, &pair.institute).await;
        assert_eq!(line.post(&target, &wrong).await.code(), Code::BadRequest);
    }
    assert_eq!(holdings(&pair.institute), before, "nothing was stored or recorded");
    let mut line = dial(&pair.hospital, &pair.institute).await;
    assert_eq!(line.post(&target, &right).await.status, 200);
}
