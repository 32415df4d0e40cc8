//! Is what was delivered called back, destroyed and answered for, and does nobody but its sender recall it?

use std::path::Path;

use medseal::id::{Digest, InstitutionId};
use medseal::keys::Keys;
use medseal::statement::recall::{Cause, RecallText};
use medseal::wire::{Code, RecallRequest, RecalledAnswer, Target};
use serde_json::Value;

use crate::duplicates::{delivered, dial};
use crate::site::{Pair, Site, add_consent};

/// The entries of this kind about a bundle.
pub(crate) fn entries(site: &Site, kind: &str, bundle: &str) -> Vec<Value> {
    let shown = site.run(&["audit", "show"]).ok();
    let items = shown.json["items"].as_array().expect("a list").clone();
    items.into_iter().filter(|entry| entry["kind"] == kind && entry["bundle"] == bundle).collect()
}

/// The sealed files that lie in a site's vault.
pub(crate) fn sealed_files(site: &Site) -> usize {
    std::fs::read_dir(site.home.join("vault/sealed")).expect("the vault").count()
}

fn withdraw(pair: &Pair) -> Value {
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok().json
}

fn open(pair: &Pair, bundle: &str, out: &str) -> crate::site::Ran {
    let out = pair.folder.path().join(out);
    pair.institute.run(&["open", bundle, "--out", out.to_str().expect("a path")])
}

#[test]
fn a_withdrawal_recalls_what_was_delivered_and_the_partner_destroys_it_and_says_so() {
    let pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    open(&pair, &bundle, "before").ok();
    assert_eq!(sealed_files(&pair.institute), 1);
    let withdrawn = withdraw(&pair);
    assert_eq!(withdrawn["recalled"][0], bundle.as_str(), "{withdrawn}");
    assert!(withdrawn["delivered"].as_array().expect("a list").is_empty());

    let status = pair.hospital.wait_for(&bundle, &["recalled"]);
    assert_eq!(status.text("reason"), "CONSENT_WITHDRAWN");
    let answer = &status.json["recall"]["answer"];
    assert!(answer["destroyed"].is_string() && answer["opened"].is_string(), "{answer}");
    assert_eq!(answer["sealed_sha256"], status.json["sealed_sha256"]);
    let plain = crate::site::medseal().arg("--home").arg(&pair.hospital.home).args(["status", &bundle]).output();
    let plain = String::from_utf8(plain.expect("medseal runs").stdout).expect("text");
    assert!(plain.contains("destroyed its sealed file") && plain.contains("had been opened"), "{plain}");

    assert_eq!(sealed_files(&pair.institute), 0, "the sealed file is gone");
    open(&pair, &bundle, "after").refused("RECALLED");
    assert!(!pair.folder.path().join("after").exists());
    let shown = pair.institute.run(&["inbox", &bundle]).ok();
    assert_eq!(shown.text("state"), "recalled");

    let [sent] = &entries(&pair.hospital, "recall", &bundle)[..] else { panic!("one recall was sent") };
    let [answered] = &entries(&pair.hospital, "recalled", &bundle)[..] else { panic!("one answer was recorded") };
    assert!(sent["action"] == "sent" && answered["recall"] == sent["recall"]);
    let [taken] = &entries(&pair.institute, "recall", &bundle)[..] else { panic!("one recall was taken") };
    assert!(taken["action"] == "taken" && taken["recall"] == sent["recall"]);
    assert_eq!(entries(&pair.institute, "destroyed", &bundle).len(), 1);
    for site in [&pair.hospital, &pair.institute] {
        assert_eq!(site.run(&["audit", "verify"]).ok().json["ok"], true);
    }
    stock_tools_agree(&pair, &status.json["recall"], "recall", "statement", &pair.hospital);
    stock_tools_agree(&pair, &status.json["recall"], "recalled", "answered", &pair.institute);
}

/// A statement verifies with `ssh-keygen` and its signer's `allowed_signers` alone.
fn stock_tools_agree(pair: &Pair, recall: &Value, kind: &str, field: &str, signer: &Site) {
    let Ok(found) = std::process::Command::new("ssh-keygen").arg("-?").output() else { return };
    drop(found);
    let write = |name: &str, text: &Value| {
        let path = pair.folder.path().join(format!("{kind}.{name}"));
        medseal::durable::write_new(&path, text.as_str().expect("a text").as_bytes(), 0o600).expect("written");
        path
    };
    let (text, signature) = (write("json", &recall[field]["text"]), write("sig", &recall[field]["signature"]));
    let verified = std::process::Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", signer.id, "-n", &format!("medseal-{kind}@v1"), "-f"])
        .arg(signer.home.join("keys/allowed_signers"))
        .arg("-s")
        .arg(signature)
        .stdin(std::fs::File::open(text).expect("written"))
        .output()
        .expect("ssh-keygen runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn a_bundle_that_another_consent_permits_stays_and_goes_with_the_last_of_them() {
    let pair = Pair::ready();
    let second = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let first = withdraw(&pair);
    assert!(first["recalled"].as_array().expect("a list").is_empty(), "{first}");
    assert_eq!(first["delivered"][0], bundle.as_str());
    assert_eq!(sealed_files(&pair.institute), 1);
    open(&pair, &bundle, "still").ok();
    let last = pair.hospital.run(&["consent", "withdraw", &second, "--reason", "no more"]).ok().json;
    assert_eq!(last["recalled"][0], bundle.as_str(), "{last}");
    pair.hospital.wait_for(&bundle, &["recalled"]);
    assert_eq!(sealed_files(&pair.institute), 0);
}

#[test]
fn a_recall_waits_for_a_partner_who_is_away_and_outlives_a_restart() {
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    pair.institute.stop();
    withdraw(&pair);
    let again = pair.hospital.run(&["recall", &bundle, "--reason", "twice"]);
    assert_eq!(again.status, 2, "it is on its way already: {}", again.stdout);
    pair.hospital.stop();
    crate::steps::impatient(&pair.hospital);
    pair.hospital.start();
    let status = pair.hospital.run(&["status", &bundle]).ok();
    assert_eq!(status.text("state"), "delivered", "nothing is recalled before the partner says so");
    pair.institute.start();
    pair.hospital.wait_for(&bundle, &["recalled"]);
    assert_eq!(sealed_files(&pair.institute), 0);
}

#[test]
fn a_mistake_is_recalled_by_hand_and_an_opinion_still_comes_back_and_is_never_recalled() {
    let pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    open(&pair, &bundle, "read").ok();
    let why = "meant for Prof. Example";
    pair.hospital.run(&["recall", &bundle, "--reason", why]).ok();
    let status = pair.hospital.wait_for(&bundle, &["recalled"]);
    assert_eq!(status.text("reason"), "SENT_BY_MISTAKE");
    for site in [&pair.hospital, &pair.institute] {
        assert!(!site.run(&["audit", "show"]).ok().stdout.contains(why), "what a person wrote stands sealed");
    }
    assert!(!status.stdout.contains(why));

    let file = pair.sample.opinion_file.to_str().expect("a path");
    let opinion = pair.institute.run(&["opinion", &pair.case, file, "--outcome", "confirmed", "--wait"]).ok();
    assert_eq!(opinion.text("state"), "delivered");
    let opinion = opinion.text("bundle");
    let recall = pair.institute.run(&["recall", &opinion, "--reason", "a slip"]);
    assert_eq!(recall.status, 2, "{}{}", recall.stdout, recall.stderr);
    let out = pair.folder.path().join("opinion");
    pair.hospital.run(&["open", &opinion, "--out", out.to_str().expect("a path")]).ok();
}

fn recall_of(pair: &Pair, offer: &medseal::wire::Offer, dispatch: &str) -> RecallText {
    RecallText {
        format: RecallText::FORMAT.to_owned(),
        bundle: offer.bundle.clone(),
        case: pair.case.parse().expect("a case"),
        from: pair.hospital.id.parse().expect("an id"),
        to: pair.institute.id.parse().expect("an id"),
        dispatch: Digest::of(dispatch.as_bytes()),
        sealed_sha256: offer.sealed_sha256,
        reason: Cause::SentByMistake,
        issued: "2026-11-22T10:15:30.000000Z".to_owned(),
    }
}

fn signed_by(home: &Path, text: &RecallText) -> RecallRequest {
    let signed = text.sign(Keys::open(&home.join("keys")).expect("the keys of a home").signer());
    RecallRequest { recall: signed.text, signature: signed.signature }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_or_forged_recall_is_refused_and_recorded_and_the_true_one_has_one_answer() {
    let pair = Pair::ready();
    let sent = delivered(&pair);
    let mut clinic = Site::init(pair.folder.path(), "clinic", "IN");
    clinic.start();
    pair.institute.befriend(&clinic);
    let bundle = sent.offer.bundle.to_string();
    let text = recall_of(&pair, &sent.offer, &sent.handover.dispatch);
    let theirs: InstitutionId = "clinic".parse().expect("an id");
    let refusals = || {
        let shown = pair.institute.run(&["audit", "show"]).ok();
        let items = shown.json["items"].as_array().expect("a list").clone();
        items.iter().filter(|entry| entry["kind"] == "recall" && entry["action"] == "refused").count()
    };

    let mut hers = dial(&clinic, &pair.institute).await;
    // The hospital's own words on another line; its name under another key; the clinic's name on its bundle.
    let stolen = signed_by(&pair.hospital.home, &text);
    assert_eq!(hers.post(&Target::Recalls, &stolen).await.code(), Code::Signature);
    let mut hers = dial(&clinic, &pair.institute).await;
    let own = RecallText { from: theirs, ..text.clone() };
    assert_eq!(hers.post(&Target::Recalls, &signed_by(&clinic.home, &own)).await.code(), Code::NotFound);
    let mut ours = dial(&pair.hospital, &pair.institute).await;
    assert_eq!(ours.post(&Target::Recalls, &signed_by(&clinic.home, &text)).await.code(), Code::Signature);
    let mut ours = dial(&pair.hospital, &pair.institute).await;
    let other = RecallText { dispatch: Digest::of(b"none"), ..text.clone() };
    assert_eq!(ours.post(&Target::Recalls, &signed_by(&pair.hospital.home, &other)).await.code(), Code::NotFound);
    let swapped = RecallText { sealed_sha256: Digest::of(b"none"), ..text.clone() };
    assert_eq!(ours.post(&Target::Recalls, &signed_by(&pair.hospital.home, &swapped)).await.code(), Code::NotFound);
    assert_eq!(refusals(), 5);
    assert_eq!(sealed_files(&pair.institute), 1, "nothing was destroyed");
    open(&pair, &bundle, "before").ok();

    let genuine = signed_by(&pair.hospital.home, &text);
    let ask = async || {
        let mut line = dial(&pair.hospital, &pair.institute).await;
        let answer = line.post(&Target::Recalls, &genuine).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json::<RecalledAnswer>()
    };
    let (one, other) = tokio::join!(ask(), ask());
    assert_eq!(one, other);
    assert_eq!(ask().await, one, "the same recall, the same bytes");
    assert_eq!(sealed_files(&pair.institute), 0);
    assert_eq!(entries(&pair.institute, "destroyed", &bundle).len(), 1);

    // What was recalled does not come back.
    let mut line = dial(&pair.hospital, &pair.institute).await;
    assert_eq!(line.post(&Target::Transfers, &sent.offer).await.code(), Code::Refused);
}
