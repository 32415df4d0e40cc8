//! Does `medseal open` show nothing of a file unless the sender's dispatch and every byte agree? A delivery is made with
//! the library, changed in one place, and opened with the command, without a gateway.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use medseal::bundle::bag::BagWriter;
use medseal::bundle::descriptor::Descriptor;
use medseal::bundle::document::{Confidentiality, ConfidentialityCode, Document, PatientCheck};
use medseal::clock::{Clock, stamp};
use medseal::config::Config;
use medseal::id::{BundleId, CaseId, Digest};
use medseal::keys::Keys;
use medseal::partner::SignedCard;
use medseal::seal;
use medseal::statement::dispatch::{Answers, Dispatch};
use medseal::statement::{Kind, LogHead};
use serde_json::Value;

const LETTER: &[u8] = b"Dear colleague, the margins are free.";

/// A sealed bundle with its dispatch beside it, and all that a reader needs.
struct Delivery {
    folder: tempfile::TempDir,
    keys: Keys,
    dispatch: Dispatch,
}

impl Delivery {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Clock::system().now();
        let keys = make_keys(&folder.path().join("keys"), "tallinn-east");
        let bundle = BundleId::random();
        let mut bag =
            BagWriter::new(seal::seal(keys.age_recipients(), Vec::new()).expect("recipients"), &bundle).expect("a bag");
        let path = "befund/letter.txt".parse().expect("a path");
        let sha256 = bag.document(&path, LETTER.len() as u64, LETTER, |_| ()).expect("a document");
        let document = Document {
            path,
            media_type: "text/plain".to_owned(),
            class: None,
            title: None,
            confidentiality: Confidentiality { code: ConfidentialityCode::N, assumed: true },
            sensitivity: Vec::new(),
            date: None,
            patient_check: PatientCheck::NotChecked,
            bytes: LETTER.len() as u64,
            sha256,
        };
        let descriptor = Descriptor {
            format: Descriptor::FORMAT.to_owned(),
            kind: "records".to_owned(),
            bundle: bundle.clone(),
            case: CaseId::random(),
            from: "tallinn-east".parse().expect("an id"),
            to: "nordhafen".parse().expect("an id"),
            purpose: "TREAT".parse().expect("a purpose"),
            created: stamp(now),
            question: Some("Is surgery right?".to_owned()),
            patient: None,
            documents: vec![document],
            notices: Vec::new(),
            answers: None,
            opinion: None,
        };
        let (sealing, manifest_sha256) = bag.finish(&descriptor, "<!doctype html>").expect("a whole bag");
        let (sealed, file) = sealing.finish().expect("sealed");
        let dispatch = Dispatch {
            format: "medseal-dispatch@v1".to_owned(),
            bundle,
            case: descriptor.case,
            from: descriptor.from,
            to: descriptor.to,
            kind: Kind::Records,
            purpose: descriptor.purpose,
            sealed_sha256: file.sha256,
            sealed_bytes: file.bytes,
            manifest_sha256,
            recipients: keys.age_recipients().to_vec(),
            answers: None,
            decision: Digest::of(b"a leaf"),
            obligations: Vec::new(),
            notices_sha256: None,
            erase_at: None,
            attempt: 1,
            issued: stamp(now),
            expires: stamp(now),
            head: LogHead { origin: "tallinn-east/medseal/log".to_owned(), size: 1, root: Digest::of(b"a root") },
        };
        let delivery = Self { folder, keys, dispatch };
        write(&delivery.at("x.age"), &sealed);
        write(&delivery.at("sender.card"), make_card(&delivery.keys, "tallinn-east").file_text().as_bytes());
        delivery.sign();
        delivery
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs the dispatch as it stands and lays it beside the sealed file.
    fn sign(&self) {
        let signed = self.dispatch.sign(self.keys.signer());
        write(&self.at("x.dispatch.json"), signed.text.as_bytes());
        write(&self.at("x.dispatch.json.sig"), signed.signature.as_bytes());
    }

    fn open(&self, more: &[&str]) -> (i32, Value, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medseal"));
        command.current_dir(self.folder.path()).env_remove("MEDSEAL_HOME").stdin(Stdio::null());
        command.args(["--json", "open", "x.age", "--out", "out"]).args(more);
        let output = command.output().expect("medseal runs");
        let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap_or(-1), json, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn open_verified(&self) -> (i32, Value, String) {
        self.open(&["--identity", "keys/age.key", "--card", "sender.card"])
    }

    /// Nothing but what was there before, under any name.
    #[track_caller]
    fn assert_nothing_shown(&self, before: &[String]) {
        assert_eq!(names(self.folder.path()), before, "something was left behind");
    }

    /// Opens, and expects a refusal with this code and nothing left behind.
    #[track_caller]
    fn assert_refused(&self, code: &str, what: &str) {
        let before = names(self.folder.path());
        let (status, json, words) = self.open_verified();
        assert_eq!((status, json["error"]["code"].as_str()), (1, Some(code)), "{what}: {words}");
        self.assert_nothing_shown(&before);
    }
}

fn make_keys(folder: &Path, id: &str) -> Keys {
    Keys::create(folder, &id.parse().expect("an id"), "localhost", Clock::system().now()).expect("keys")
}

fn make_card(keys: &Keys, id: &str) -> SignedCard {
    let (id, country) = (id.parse().expect("an id"), "EE".parse().expect("a country"));
    let config = Config::new(id, "A hospital", country, "https://localhost:8443", "127.0.0.1:8443").expect("a config");
    SignedCard::make(keys, &config, 1, Clock::system().now()).expect("a card")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::File::create(path).and_then(|mut file| file.write_all(bytes)).expect("written");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_delivery_opens_without_a_gateway() {
    let delivery = Delivery::new();
    let (status, json, words) = delivery.open_verified();
    assert_eq!(status, 0, "{words}");
    assert_eq!(json["sender_verified"], true);
    assert_eq!((json["from"].as_str(), json["documents"].as_u64()), (Some("tallinn-east"), Some(1)));
    assert_eq!(names(&delivery.at("out")), ["befund"]);
    assert_eq!(fs::read(delivery.at("out/befund/letter.txt")).expect("the letter"), LETTER);
    let cover = fs::read_to_string(delivery.at("out.cover.html")).expect("the cover sheet");
    assert!(
        cover.contains("tallinn-east"),
        "it is made of what was verified, not the page that the sender put in: {cover}"
    );
}

#[test]
fn the_whole_bag_is_kept_on_request() {
    let delivery = Delivery::new();
    let (status, _, words) = delivery.open(&["--identity", "keys/age.key", "--card", "sender.card", "--bag"]);
    assert_eq!(status, 0, "{words}");
    let tags = ["bag-info.txt", "bagit.txt", "data", "index.html", "manifest-sha256.txt", "medseal.json"];
    assert_eq!(names(&delivery.at("out"))[..6], tags);
}

#[test]
fn a_file_without_a_known_sender_opens_only_when_the_caller_says_so() {
    let delivery = Delivery::new();
    let before = names(delivery.folder.path());
    let (status, _, words) = delivery.open(&["--identity", "keys/age.key"]);
    assert!(status == 2 && words.contains("--unsigned"), "{words}");
    fs::remove_file(delivery.at("x.dispatch.json.sig")).expect("removed");
    let (status, _, words) = delivery.open_verified();
    assert!(status == 2 && words.contains("x.dispatch.json.sig"), "{words}");
    assert_eq!(names(delivery.folder.path()).len(), before.len() - 1);
    let (status, json, words) = delivery.open(&["--identity", "keys/age.key", "--unsigned"]);
    assert!(status == 0 && words.contains("not verified"), "{words}");
    assert_eq!(json["sender_verified"], false);
}

#[test]
fn every_field_of_the_dispatch_must_fit_what_is_inside() {
    type Change = (&'static str, fn(&mut Dispatch));
    let changes: [Change; 10] = [
        ("bundle", |dispatch| dispatch.bundle = BundleId::random()),
        ("case", |dispatch| dispatch.case = CaseId::random()),
        ("receiver", |dispatch| dispatch.to = "elsewhere".parse().expect("an id")),
        ("purpose", |dispatch| dispatch.purpose = "HRESCH".parse().expect("a purpose")),
        ("kind", |dispatch| dispatch.kind = Kind::Opinion),
        ("digest", |dispatch| dispatch.sealed_sha256 = Digest::of(b"another file")),
        ("size", |dispatch| dispatch.sealed_bytes += 1),
        ("manifest", |dispatch| dispatch.manifest_sha256 = Digest::of(b"another manifest")),
        ("answers", |dispatch| {
            dispatch.answers = Some(Answers { bundle: BundleId::random(), dispatch: Digest::of(b"another") });
        }),
        ("nothing", |_| ()),
    ];
    for (what, change) in changes {
        let mut delivery = Delivery::new();
        change(&mut delivery.dispatch);
        delivery.sign();
        if what == "nothing" {
            assert_eq!(delivery.open_verified().0, 0, "the unchanged dispatch");
        } else {
            delivery.assert_refused("TAMPERED", what);
        }
    }
}

#[test]
fn a_changed_dispatch_or_another_institutions_card_verifies_nothing() {
    let delivery = Delivery::new();
    let text = fs::read_to_string(delivery.at("x.dispatch.json")).expect("the dispatch");
    write(&delivery.at("x.dispatch.json"), text.replace("\"attempt\":1", "\"attempt\":2").as_bytes());
    delivery.assert_refused("BAD_SIGNATURE", "an edited dispatch");

    let delivery = Delivery::new();
    let others = make_keys(&delivery.at("other-keys"), "tallinn-east");
    write(&delivery.at("sender.card"), make_card(&others, "tallinn-east").file_text().as_bytes());
    delivery.assert_refused("BAD_SIGNATURE", "a card with other keys under the same name");

    // The same keys on a card of another institution: signed by the right key, but not by the one it claims to be.
    let delivery = Delivery::new();
    write(&delivery.at("sender.card"), make_card(&delivery.keys, "somebody-else").file_text().as_bytes());
    let (status, _, words) = delivery.open_verified();
    assert!(status == 1 && words.contains("sender"), "{words}");
}

#[test]
fn a_key_that_did_not_count_yet_when_the_dispatch_was_issued_verifies_nothing() {
    let mut delivery = Delivery::new();
    delivery.dispatch.issued = "2020-01-01T00:00:00.000000Z".to_owned();
    delivery.sign();
    delivery.assert_refused("BAD_SIGNATURE", "issued before the key counted");
}

#[test]
fn a_sealed_file_that_was_changed_cut_or_lengthened_shows_nothing() {
    let delivery = Delivery::new();
    let sealed = fs::read(delivery.at("x.age")).expect("the sealed file");
    let header = seal::header_length(&sealed).expect("a header");
    for position in [0, header - 2, header + 3, header + 40, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        write(&delivery.at("x.age"), &changed);
        let before = names(delivery.folder.path());
        let (status, json, words) = delivery.open_verified();
        let code = json["error"]["code"].as_str().unwrap_or_default();
        assert!(status == 1 && matches!(code, "TAMPERED" | "WRONG_KEY"), "byte {position}: {words}");
        delivery.assert_nothing_shown(&before);
    }
    for cut in [0, header, sealed.len() - 1] {
        write(&delivery.at("x.age"), &sealed[..cut]);
        delivery.assert_refused("TAMPERED", &format!("cut at {cut}"));
    }
    write(&delivery.at("x.age"), &[sealed.as_slice(), b"x"].concat());
    delivery.assert_refused("TAMPERED", "one byte more");
}

#[test]
fn another_readers_key_opens_nothing() {
    let delivery = Delivery::new();
    make_keys(&delivery.at("other-keys"), "nordhafen");
    let before = names(delivery.folder.path());
    let (status, json, _) = delivery.open(&["--identity", "other-keys/age.key", "--card", "sender.card"]);
    assert_eq!((status, json["error"]["code"].as_str()), (1, Some("WRONG_KEY")));
    delivery.assert_nothing_shown(&before);
    let (status, _, words) = delivery.open(&["--identity", "sender.card", "--card", "sender.card"]);
    assert!(status == 2 && words.contains("AGE-SECRET-KEY"), "{words}");
}

#[test]
fn what_exists_is_never_written_over() {
    for taken in ["out", "out.cover.html"] {
        let delivery = Delivery::new();
        write(&delivery.at(taken), b"mine");
        let before = names(delivery.folder.path());
        let (status, json, _) = delivery.open_verified();
        assert_eq!((status, json["error"]["code"].as_str()), (2, Some("OUTPUT_EXISTS")), "{taken}");
        delivery.assert_nothing_shown(&before);
        assert_eq!(fs::read(delivery.at(taken)).expect("still there"), b"mine");
    }
}
