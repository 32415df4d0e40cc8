//! Does an erasure leave nothing of a person in any file of the home, while log and exports verify as before, and is a
//! key that is gone without one a finding?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use medseal::audit::reader::{Detail, Opening, Reader};
use medseal::keys::Keys;
use medseal::sample_case;
use medseal::store::Store;
use medseal::store::sled::SledStore;
use medseal::subject::Subjects;

use crate::needs;
use crate::people::configure;
use crate::site::{Pair, Ran, Site};

/// No retention time, so that an erasure is a question of everything else.
pub(crate) const AT_ONCE: [(&str, &str); 3] = [
    ("consents_days = 2192", "consents_days = 0"),
    ("opinions_days = 2192", "opinions_days = 0"),
    ("log_days = 2192", "log_days = 0"),
];

pub(crate) fn erase(site: &Site, patient: &str) -> Ran {
    let basis = ["--basis", "GDPR 17(1)(b), request of 22 November", "--without-recall", "asked by letter"];
    site.run(&[&["audit", "erase", "--patient", patient][..], &basis].concat())
}

/// The log of a home whose gateway does not run.
fn reader(site: &Site) -> Reader {
    let keys = Keys::open(&site.home.join("keys")).expect("the keys");
    let subjects = Subjects::open(&site.home.join("subjects"), keys.subjects_key()).expect("subjects");
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&site.home.join("store")).expect("the store"));
    Reader::new(store, Arc::new(subjects), format!("{}/medseal/log", site.id).parse().expect("an origin"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// What of these stands in a file of the home, or in a name.
pub(crate) fn told(home: &Path, telling: &[Vec<u8>]) -> Vec<String> {
    let mut paths = Vec::new();
    files(home, &mut paths);
    assert!(paths.len() > 20, "this is a home");
    let mut told = Vec::new();
    for path in paths {
        let (bytes, name) = (fs::read(&path).expect("a file"), path.to_string_lossy().into_owned());
        for word in telling {
            if bytes.windows(word.len()).any(|window| window == word) || contains(name.as_bytes(), word) {
                told.push(format!("{name}: {}", String::from_utf8_lossy(word)));
            }
        }
    }
    told
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Every opened detail of the log.
fn openings(reader: &Reader) -> Vec<Opening> {
    let details = (0..reader.size().expect("a size")).map(|seq| reader.detail(seq).expect("a detail"));
    details.filter_map(|detail| if let Detail::Open(opening) = detail { Some(opening) } else { None }).collect()
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// Both verifiers count so many sealed and erased details in an export, and none that is opened; how many entries it has.
fn counts(pair: &Pair, export: &str, options: [&str; 2], (sealed, erased): (u64, u64)) -> serde_json::Value {
    let report = pair.hospital.run(&[&["audit", "verify", export][..], &options].concat()).ok().json;
    let count = |report: &serde_json::Value| ["details", "sealed", "erased"].map(|name| report[name].as_u64());
    assert_eq!(count(&report), [Some(0), Some(sealed), Some(erased)], "{report}");
    if let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) {
        let ended =
            Command::new(python).args(["verify.py", "--json"]).current_dir(export).output().expect("python runs");
        let python = serde_json::from_slice(&ended.stdout).expect("a report");
        assert_eq!(count(&python), count(&report), "{python}");
    }
    report["entries"].clone()
}

#[test]
fn after_an_erasure_no_file_of_the_home_tells_of_the_person_and_everything_still_verifies() {
    let mut pair = Pair::ready();
    let patient = sample_case::patient();
    pair.send(&["--wait"]).ok();
    let export = pair.folder.path().join("before").to_string_lossy().into_owned();
    pair.hospital.run(&["audit", "export", &export]).ok();
    pair.hospital.stop();
    configure(&pair.hospital, &AT_ONCE);
    let before = openings(&reader(&pair.hospital));
    assert!(before.len() >= 3, "consent, intake and release have details");
    let texts: String = before.iter().map(|opening| serde_json::to_string(&opening.detail).expect("text")).collect();
    let document = fs::read_dir(&pair.sample.documents_dir).expect("documents").next().expect("one").expect("one");
    let document = document.file_name().to_string_lossy().into_owned();
    assert!(texts.contains(&document), "the details name the files");
    let subjects = names(&pair.hospital.home.join("subjects"));
    let sealed = names(&pair.hospital.home.join("vault/sealed"));
    assert_eq!(sealed.len(), 1);
    pair.hospital.start();

    let erased = erase(&pair.hospital, &patient.to_string()).ok();
    assert_eq!(erased.json["counts"], serde_json::json!({ "cases": 1, "consents": 1, "bundles": 1, "inbox": 0 }));
    let again = erase(&pair.hospital, &patient.to_string());
    assert!(again.status == 2 && format!("{}{}", again.stdout, again.stderr).contains("NOT_FOUND"), "{}", again.stdout);

    let verified = pair.hospital.run(&["audit", "verify"]).ok().json;
    assert_eq!((&verified["ok"], &verified["details"]), (&true.into(), &0.into()), "{verified}");
    assert_eq!(verified["erased"].as_u64(), Some(before.len() as u64));
    pair.hospital.run(&["audit", "verify", &export, "--key", &format!("{export}/log.vkey")]).ok();
    let after = pair.folder.path().join("after").to_string_lossy().into_owned();
    pair.hospital.run(&["audit", "export", &after]).ok();
    let old = format!("{export}/checkpoint");
    let all = before.len() as u64;
    counts(&pair, &after, ["--trusted-checkpoint", &old], (0, all));
    // Before the erasure nobody knew of it; in a stretch of the log that ends before it, nobody knows either.
    let key = format!("{export}/log.vkey");
    let entries = counts(&pair, &export, ["--key", &key], (all, 0));
    let stretch = pair.folder.path().join("stretch").to_string_lossy().into_owned();
    let last = (entries.as_u64().expect("a number") - 1).to_string();
    pair.hospital.run(&["audit", "export", &stretch, "--to", &last]).ok();
    counts(&pair, &stretch, ["--key", &key], (all, 0));
    let shown = pair.hospital.run(&["audit", "show"]).ok();
    assert!(shown.stdout.contains("asked by letter"), "{}", shown.stdout);
    // What its partner has can be called back by nobody any more, and that is said.
    let bundle = queued(&pair);
    pair.hospital.run(&["recall", &bundle, "--reason", "too late"]).refused("ERASED");
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "too late"]).refused("ERASED");
    // The erased patient comes back as somebody new, and nothing of the old case can be used.
    pair.send(&[]);
    let shown = pair.hospital.run(&["case", "show", &pair.case]).ok();
    assert!(shown.json.get("patient").is_none() && shown.json.get("question").is_none(), "{}", shown.stdout);
    pair.hospital.stop();

    let gone: BTreeSet<_> = names(&pair.hospital.home.join("subjects"));
    assert_eq!(gone.len(), subjects.len() - 2, "the key and the one identifier");
    assert!(names(&pair.hospital.home.join("vault/sealed")).is_empty(), "the sealed file is gone");
    assert!(openings(&reader(&pair.hospital)).is_empty(), "no key of the home opens a detail");
    let mut telling: Vec<Vec<u8>> =
        [patient.value(), "Operate?", "Õunapuu", &document].map(|word| word.as_bytes().to_vec()).to_vec();
    for opening in &before {
        telling.push(opening.salt.to_vec());
        telling.push(medseal::id::Digest::from_bytes(opening.salt).to_string().into_bytes());
    }
    assert_eq!(told(&pair.hospital.home, &telling), Vec::<String>::new());
    assert!(!told(&pair.hospital.home, &[b"tallinn-east".to_vec()]).is_empty(), "the search finds what is there");
}

#[test]
fn an_erasure_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    configure(&pair.hospital, &AT_ONCE);
    let kept = pair.folder.path().join("subjects-before");
    let subjects = pair.hospital.home.join("subjects");
    let copied = Command::new("cp").arg("-r").arg(&subjects).arg(&kept).status().expect("cp runs");
    assert!(copied.success());
    let there = names(&subjects).len();
    pair.hospital.start();
    let patient = sample_case::patient().to_string();
    erase(&pair.hospital, &patient).ok();
    pair.hospital.kill();
    // As if the power had gone between the entry and the destruction.
    fs::remove_dir_all(&subjects).expect("removed");
    medseal::durable::move_new(&kept, &subjects).expect("moved");
    pair.hospital.start();
    assert_eq!(names(&subjects).len(), there - 2);
    let shown = pair.hospital.run(&["audit", "show"]).ok();
    let entries = shown.json["items"].as_array().expect("a list").iter().filter(|entry| entry["kind"] == "erasure");
    assert_eq!(entries.count(), 1, "it is recorded once");
    assert_eq!(pair.hospital.run(&["audit", "verify"]).ok().json["ok"], true);
}

#[test]
fn a_key_that_is_gone_without_an_erasure_is_a_finding() {
    let mut pair = Pair::ready();
    pair.hospital.stop();
    for path in names(&pair.hospital.home.join("subjects")) {
        if path.file_name().expect("a name").to_string_lossy().starts_with("key-") {
            fs::remove_file(path).expect("removed");
        }
    }
    pair.hospital.start();
    let verified = pair.hospital.run(&["audit", "verify"]);
    assert_eq!(verified.status, 1, "{}", verified.stdout);
    assert_eq!(verified.json["finding"]["kind"], "key-gone");
}

#[test]
fn a_retention_time_a_bundle_on_its_way_and_a_basis_that_names_the_person_forbid_an_erasure() {
    let mut pair = Pair::ready();
    let patient = sample_case::patient().to_string();
    erase(&pair.hospital, &patient).refused("RETENTION_UNEXPIRED");
    pair.hospital.stop();
    configure(&pair.hospital, &AT_ONCE);
    pair.hospital.start();
    pair.institute.stop();
    pair.send(&[]).ok();
    let moving = erase(&pair.hospital, &patient);
    assert!(
        moving.status == 2 && format!("{}{}", moving.stdout, moving.stderr).contains("on its way"),
        "{}",
        moving.stderr
    );
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "no more"]).ok();
    let named = pair.hospital.run(&["audit", "erase", "--patient", &patient, "--basis", "asked by sk-204188"]);
    assert!(named.status == 2 && format!("{}{}", named.stdout, named.stderr).contains("BAD_INPUT"), "{}", named.stderr);
    let verified = pair.hospital.run(&["audit", "verify"]).ok().json;
    assert_eq!(verified["erased"], 0, "nothing was erased so far");
    pair.hospital.wait_for(&queued(&pair), &["cancelled"]);
    erase(&pair.hospital, &patient).ok();
}

#[test]
fn what_a_partner_has_is_recalled_before_an_erasure_or_a_reason_why_not_stays_in_the_log() {
    let mut pair = Pair::ready();
    let patient = sample_case::patient().to_string();
    pair.hospital.stop();
    configure(&pair.hospital, &AT_ONCE);
    pair.hospital.start();
    pair.send(&["--wait"]).ok();
    let bundle = queued(&pair);
    let asked = ["audit", "erase", "--patient", &patient, "--basis", "GDPR 17(1)(b)"];
    let lies = pair.hospital.run(&asked);
    let said = format!("{}{}", lies.stdout, lies.stderr);
    assert!(lies.status == 2 && said.contains("not recalled") && said.contains(&bundle), "{said}");
    let named = pair.hospital.run(&[&asked[..], &["--without-recall", "sk-204188 asked"]].concat());
    assert!(format!("{}{}", named.stdout, named.stderr).contains("names the person"), "{}", named.stderr);
    pair.hospital.run(&["recall", &bundle, "--reason", "the patient asked"]).ok();
    pair.hospital.wait_for(&bundle, &["recalled"]);
    pair.hospital.run(&asked).ok();
}

fn queued(pair: &Pair) -> String {
    let case = pair.hospital.run(&["case", "show", &pair.case]).ok();
    case.json["sent"][0]["bundle"].as_str().expect("a bundle").to_owned()
}
