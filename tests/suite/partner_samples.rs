//! keys/README.md says what is so: its sample cards, its fingerprints, its list of files, its commands.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use medseal::clock::Timestamp;
use medseal::keys::Keys;
use medseal::partner::{Agreement, Partner, SignedCard, parse_fingerprint, show_fingerprint};

use crate::needs;

const SAMPLES: [(&str, &str); 2] = [("st-mary", "KE"), ("alpine-clinic", "CH")];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("keys")
}

fn readme() -> String {
    fs::read_to_string(folder().join("README.md")).expect("keys/README.md")
}

fn sample(id: &str) -> Vec<u8> {
    fs::read(folder().join("samples").join(format!("{id}.card"))).expect("a sample card")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn the_sample_cards_are_admitted_by_the_fingerprints_on_the_page() {
    let now = at("2026-12-01T00:00:00Z");
    for (id, country) in SAMPLES {
        let card = SignedCard::parse(&sample(id)).expect("a card");
        assert_eq!((card.card().id.as_str(), card.card().country.as_str()), (id, country));
        assert_eq!(card.file_text().as_bytes(), sample(id), "one form only");
        let shown = show_fingerprint(&card.fingerprint());
        assert!(readme().contains(&format!("| `samples/{id}.card` | `{shown}` |")), "{id}: {shown}");
        let fingerprint = parse_fingerprint(&shown).expect("a fingerprint");
        let partner = Partner::admit(None, card.clone(), Some(&fingerprint), Agreement::attested(now), now);
        assert!(partner.expect("admitted").may_exchange(now));
        let late = at("2028-11-21T12:00:00Z");
        Partner::admit(None, card, Some(&fingerprint), Agreement::attested(late), late).expect_err("it has ended");
    }
}

#[test]
fn the_page_names_every_file_of_a_key_folder() {
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("keys");
    Keys::create(&dir, &"st-mary".parse().expect("an id"), "127.0.0.1", at("2026-12-01T00:00:00Z")).expect("keys");
    let page = readme();
    for entry in fs::read_dir(&dir).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(page.contains(&format!("`{name}`")), "keys/README.md does not name {name}");
    }
}

#[test]
fn the_repository_holds_no_private_key() {
    for (id, _) in SAMPLES {
        let text = String::from_utf8(sample(id)).expect("text");
        assert!(!text.contains("PRIVATE") && !text.contains("AGE-SECRET-KEY"));
    }
    let names = |path: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(path).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder()), ["README.md", "samples"]);
    assert_eq!(names(folder().join("samples")), ["alpine-clinic.card", "st-mary.card"]);
}

#[test]
fn the_commands_of_the_page_verify_a_card() {
    let (Some(shell), Some(_)) = (needs::tool("sh"), needs::tool("ssh-keygen")) else { return };
    let page = readme();
    let (_, cards) = page.split_once("## Cards").expect("a section on cards");
    let commands: Vec<&str> = cards.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let work = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(folder().join("samples"), work.path().join("samples")).expect("a link");
    let script = format!("set -e\n{}", commands.join("\n"));
    let ran = Command::new(shell).arg("-c").arg(script).current_dir(work.path()).stdin(Stdio::null()).output();
    let output = ran.expect("the shell runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Good \"medseal-card@v1\" signature for st-mary"), "{output:?}");
    let card = SignedCard::parse(&sample("st-mary")).expect("a card");
    assert!(said.starts_with(&card.fingerprint().to_string()), "{said}");
}

#[test]
fn what_a_partner_makes_with_the_commands_of_the_page_opens_here() {
    let tools = ["sh", "openssl", "age-keygen", "ssh-keygen"].map(needs::tool);
    let [Some(shell), Some(_), Some(_), Some(_)] = tools else { return };
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("keys");
    let id = "st-mary".parse().expect("an id");
    Keys::create(&dir, &id, "gateway.example", medseal::clock::Clock::system().now()).expect("keys");
    let page = readme();
    let wanted = |line: &&str| {
        let makes = ["openssl req", "openssl x509 -req", "printf", "age-keygen", "ssh-keygen -q", "openssl verify"];
        makes.iter().any(|start| line.starts_with(start)) || line.starts_with("    -addext")
    };
    let lines = page.lines().filter_map(|line| line.strip_prefix("    ")).filter(wanted);
    let script: Vec<String> =
        lines.map(|line| line.replace("ID", "st-mary").replace("HOST", "gateway.example")).collect();
    // The page checks the leaf before it says how to make one: here that comes last.
    let (checks, makes): (Vec<_>, Vec<_>) = script.iter().partition(|line| line.starts_with("openssl verify"));
    assert_eq!((checks.len(), makes.len()), (1, 8), "{script:?}");
    let clear = "set -e\numask 077\nrm ca.* tls.* age.* sign.*";
    let all =
        [vec![clear], makes.iter().map(|line| line.as_str()).collect(), vec![checks[0].as_str()]].concat().join("\n");
    let ran = Command::new(shell).arg("-c").arg(all).current_dir(&dir).stdin(Stdio::null()).output();
    let output = ran.expect("the shell runs");
    assert!(output.status.success(), "{output:?}");
    let keys = Keys::open(&dir).expect("the folder opens");
    assert_eq!(keys.id(), &id);
}
