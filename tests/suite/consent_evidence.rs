//! Are scans of the paper kept beside a consent, sealed, recorded by their digest, and given back unchanged?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use medseal::durable;
use medseal::id::Digest;
use medseal::sample_case;

use crate::abdm_rig::ended;
use crate::site::{Ran, Site, medseal};

struct Desk {
    site: Site,
    folder: tempfile::TempDir,
}

impl Desk {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = Site::init(folder.path(), "tallinn-east", "EE");
        site.start();
        let desk = Self { site, folder };
        let day = |text: &str| text.parse().expect("a day");
        let (to, country) = ("nordhafen".parse().expect("an id"), "DE".parse().expect("a country"));
        let (from, until) = (day("2026-01-01"), day("2036-01-01"));
        let consent = sample_case::consent_json(&sample_case::patient(), &to, &country, from, until);
        desk.file("consent.json", consent.as_bytes());
        desk
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        durable::replace(&path, content, 0o600).expect("written");
        path
    }

    fn add(&self, scans: &[&Path]) -> Ran {
        let consent = self.folder.path().join("consent.json");
        let mut args = vec!["consent", "add", consent.to_str().expect("a path")];
        for scan in scans {
            args.extend(["--evidence", scan.to_str().expect("a path")]);
        }
        self.site.run(&args)
    }
}

/// Text that a scan holds, long enough to lie in the vault and easy to look for.
fn paper(magic: &[u8]) -> Vec<u8> {
    [magic, &b"SIGNED-BY-LIISU ".repeat(8000)].concat()
}

#[test]
fn scans_are_kept_sealed_shown_by_their_digest_and_given_back_unchanged() {
    let mut desk = Desk::open();
    let (pdf, photo) = (paper(b"%PDF-1.7\n"), paper(b"\xff\xd8\xff\xe0"));
    let added = desk.add(&[&desk.file("liisu-signed.pdf", &pdf), &desk.file("liisu-photo.jpg", &photo)]).ok();
    let id = added.text("consent");
    let shown = desk.site.run(&["consent", "show", &id]).ok();
    for answer in [&added, &shown] {
        let evidence = answer.json["evidence"].as_array().expect("a list");
        assert_eq!(evidence.len(), 2);
        assert_eq!(evidence[0]["sha256"], Digest::of(&pdf).to_string());
        assert_eq!(
            (evidence[0]["media_type"].as_str(), evidence[0]["bytes"].as_u64()),
            (Some("application/pdf"), Some(pdf.len() as u64))
        );
        assert_eq!(evidence[1]["media_type"], "image/jpeg");
    }

    // Across a restart, which removes what no record names.
    desk.site.stop();
    let stray = desk.site.home.join("vault/sealed/consent-0000000000000000.1");
    durable::write_new(&stray, b"noise", 0o600).expect("written");
    desk.site.start();
    assert!(!stray.exists(), "a scan without a consent was left by a crash");
    let out = desk.folder.path().join("scans");
    desk.site.run(&["consent", "evidence", &id, "--out", out.to_str().expect("a path")]).ok();
    assert_eq!(fs::read(out.join(format!("{id}.1.pdf"))).expect("the scan"), pdf);
    assert_eq!(fs::read(out.join(format!("{id}.2.jpeg"))).expect("the scan"), photo);
    fs::remove_dir_all(&out).expect("removed");

    desk.site.stop();
    for word in ["SIGNED-BY-LIISU", "liisu-signed", "liisu-photo"] {
        let found = Command::new("grep").args(["-rlaF", word]).arg(&desk.site.home).output().expect("grep runs");
        assert!(found.stdout.is_empty(), "{word} lies in clear in {}", String::from_utf8_lossy(&found.stdout));
    }
}

#[test]
fn a_scan_that_was_changed_on_the_disk_is_not_given_out() {
    let desk = Desk::open();
    let id = desk.add(&[&desk.file("scan.pdf", &paper(b"%PDF-1.7\n"))]).ok().text("consent");
    let blob = desk.site.home.join(format!("vault/sealed/{id}.1"));
    let mut bytes = fs::read(&blob).expect("the blob");
    bytes[1000] ^= 1;
    durable::replace(&blob, &bytes, 0o600).expect("written");
    let out = desk.folder.path().join("scans");
    let given = desk.site.run(&["consent", "evidence", &id, "--out", out.to_str().expect("a path")]);
    assert_ne!(given.status, 0, "{}", given.stdout);
    assert!(fs::read_dir(&out).expect("the folder").next().is_none());
}

#[test]
fn what_is_no_scan_is_too_large_or_comes_with_the_word_of_an_end_is_refused_and_nothing_is_recorded() {
    let desk = Desk::open();
    let refused = |scans: &[&Path], code: &str| {
        let ran = desk.add(scans);
        assert!(
            ran.status == 2 && format!("{}{}", ran.stdout, ran.stderr).contains(code),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
    };
    refused(&[&desk.file("letter.docx", b"PK\x03\x04 an office document")], "BAD_INPUT");
    refused(&[&desk.file("empty.pdf", b"")], "BAD_INPUT");
    let large = [b"%PDF-1.7\n".as_slice(), &vec![0; 16 << 20]].concat();
    refused(&[&desk.file("large.pdf", &large)], "LIMIT_EXCEEDED");
    let fifteen = desk.file("fifteen.pdf", &large[..15 << 20]);
    refused(&[&fifteen, &fifteen, &fifteen], "LIMIT_EXCEEDED");
    let small = desk.file("small.pdf", b"%PDF-1.7\n");
    refused(&[small.as_path(); 17], "LIMIT_EXCEEDED");
    desk.file("consent.json", ended("an-artefact", "REVOKED").as_bytes());
    refused(&[&small], "BAD_INPUT");
    let missing = desk.folder.path().join("missing.pdf");
    let ran = desk.add(&[&missing]);
    assert!(ran.status == 2 && ran.stderr.contains("missing.pdf"), "{}", ran.stderr);
    assert!(desk.site.run(&["consent", "list"]).ok().json["items"].as_array().expect("a list").is_empty());
    assert!(fs::read_dir(desk.site.home.join("vault/sealed")).expect("the vault").next().is_none());
}

#[test]
fn a_person_reads_what_is_permitted_and_which_scans_are_kept() {
    let desk = Desk::open();
    let scan = desk.file("scan.pdf", &paper(b"%PDF-1.7\n"));
    let consent = desk.folder.path().join("consent.json");
    let output = medseal()
        .arg("--home")
        .arg(&desk.site.home)
        .args(["consent", "add"])
        .arg(consent)
        .arg("--evidence")
        .arg(&scan)
        .output()
        .expect("medseal runs");
    let said = String::from_utf8_lossy(&output.stdout);
    for part in [
        "nordhafen",
        "TREAT",
        "2036-01-01",
        "fhir-r4",
        "application/pdf",
        &Digest::of(&paper(b"%PDF-1.7\n")).to_string(),
    ] {
        assert!(said.contains(part), "{part} is not said: {said}");
    }
}
