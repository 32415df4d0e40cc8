//! Does `policy explain` tell a clerk what stops a bundle, and does what it advises really turn the no into a yes?

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::asking::{self, ACT_CODE, CONFIDENTIALITY};
use crate::site::{Pair, Ran, medseal, ran};

/// A patient of whom no consent is on file.
const PATIENT: &str = "https://desk.example/mrn|77";

/// A hospital and an institute with documents of three kinds, and no consent on file.
struct Desk {
    pair: Pair,
    folder: PathBuf,
    list: PathBuf,
    consents: usize,
}

impl Desk {
    fn new() -> Self {
        let pair = Pair::ready();
        let folder = pair.folder.path().join("records");
        std::fs::create_dir(&folder).expect("a folder");
        for name in ["letter.txt", "histology.txt", "therapy.txt"] {
            write(&folder.join(name), name);
        }
        let list = pair.folder.path().join("list.json");
        let mut desk = Self { pair, folder, list, consents: 0 };
        desk.describe(&[
            ("letter.txt", "11488-4", "N"),
            ("histology.txt", "11526-1", "N"),
            ("therapy.txt", "18842-5", "R"),
        ]);
        let open =
            ["case", "open", "--patient", PATIENT, "--partner", "nordhafen", "--purpose", "TREAT", "--question", "?"];
        desk.pair.case = desk.run(&open).ok().text("case");
        desk
    }

    fn describe(&self, documents: &[(&str, &str, &str)]) {
        let listed = |(path, class, label): &(&str, &str, &str)| match *label {
            "" => json!({"path": path, "class": class}),
            label => json!({"path": path, "class": class, "confidentiality": label}),
        };
        let list: Vec<Value> = documents.iter().map(listed).collect();
        write(&self.list, &json!(list).to_string());
    }

    /// Records a consent, or a dissent, of the patient.
    fn consent(&mut self, change: impl FnOnce(&mut Value)) -> String {
        let consent = asking::with(asking::consent(), |consent| {
            let (system, value) = PATIENT.split_once('|').expect("two parts");
            consent["patient"] = json!({"identifier": {"system": system, "value": value}});
            consent["provision"]["actor"] = json!([asking::recipient("nordhafen")]);
            consent["provision"]["period"] = json!({"start": "2026-01-01", "end": "2036-01-01"});
            change(consent);
        });
        self.consents += 1;
        let path = self.pair.folder.path().join(format!("consent-{}.json", self.consents));
        write(&path, &consent.to_string());
        self.run(&["consent", "add", text(&path)]).ok().text("consent")
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.pair.hospital.run(args)
    }

    /// Sends the folder as it is now, and hands back the bundle's id.
    fn send(&self) -> String {
        self.send_in(&self.pair.case)
    }

    fn send_in(&self, case: &str) -> String {
        let sent = self.run(&["send", text(&self.folder), "--case", case, "--documents", text(&self.list)]);
        assert!(sent.status <= 1, "{}{}", sent.stdout, sent.stderr);
        sent.text("bundle")
    }

    #[track_caller]
    fn explain(&self, bundle: &str) -> Value {
        self.run(&["policy", "explain", bundle]).ok().json
    }

    /// Does what one way advises, step by step, and hands back the bundle that should leave then.
    #[track_caller]
    fn follow(&mut self, bundle: &str, way: &Value) -> String {
        let mut case = self.pair.case.clone();
        for step in way["steps"].as_array().expect("steps") {
            let command = step["command"].as_str().unwrap_or_default().to_owned();
            let documents = step["documents"].as_array().cloned().unwrap_or_default();
            if let Some(needs) = step.get("consent") {
                self.consent_of(needs);
            } else if command.starts_with("medseal case open") {
                case = self.run_advised(&command, &[("P", PATIENT), ("TEXT", "Operate?")]).ok().text("case");
            } else if command.contains("--documents LIST") {
                self.state(&step["says"], &documents);
            } else if !command.is_empty() {
                self.run_advised(&command, &[("TEXT", "as advised")]).ok();
            } else {
                for path in documents.iter().filter_map(Value::as_str) {
                    std::fs::remove_file(self.folder.join(path)).expect("left out");
                }
                self.forget_absent();
            }
        }
        if way["then"] == "the bundle leaves by itself at its next attempt" {
            bundle.to_owned()
        } else {
            self.send_in(&case)
        }
    }

    /// Runs an advised command to the letter, with what only a person knows put in its place.
    fn run_advised(&self, command: &str, known: &[(&str, &str)]) -> Ran {
        let words = command.split(' ').skip(1);
        let args: Vec<&str> =
            words.map(|word| known.iter().find(|(name, _)| *name == word).map_or(word, |(_, value)| *value)).collect();
        self.run(&args)
    }

    /// States what the advice asks for of these documents: a class, or the label that was assumed.
    fn state(&self, says: &Value, documents: &[Value]) {
        let says = says.as_str().expect("words");
        let class = says.split(' ').find(|word| word.contains('-') && word.starts_with(|c: char| c.is_ascii_digit()));
        let mut list = self.listed();
        for entry in list.iter_mut().filter(|entry| documents.contains(&entry["path"])) {
            match class {
                Some(class) => entry["class"] = json!(class.trim_end_matches(',')),
                None => entry["confidentiality"] = json!("N"),
            }
        }
        write(&self.list, &json!(list).to_string());
    }

    fn forget_absent(&self) {
        let mut list = self.listed();
        list.retain(|entry| self.folder.join(entry["path"].as_str().expect("a path")).exists());
        write(&self.list, &json!(list).to_string());
    }

    fn listed(&self) -> Vec<Value> {
        serde_json::from_slice(&std::fs::read(&self.list).expect("the list")).expect("a list")
    }

    /// A consent that says exactly what is needed.
    fn consent_of(&mut self, needs: &Value) {
        let needs = needs.clone();
        self.consent(move |consent| {
            let provision = &mut consent["provision"];
            provision["actor"] = json!([asking::recipient(needs["recipient"].as_str().expect("a recipient"))]);
            provision["purpose"] = json!([{"system": asking::ACT_REASON, "code": needs["purpose"]}]);
            let coded = |system: &str, code: &Value| json!({"system": system, "code": code});
            let each = |name: &str| needs[name].as_array().cloned().unwrap_or_default();
            let classes: Vec<Value> = each("classes").iter().map(|code| coded("http://loinc.org", code)).collect();
            if !classes.is_empty() {
                provision["class"] = json!(classes);
            }
            let mut labels: Vec<Value> = each("sensitivity").iter().map(|code| coded(ACT_CODE, code)).collect();
            if needs["confidentiality"].is_string() {
                labels.push(coded(CONFIDENTIALITY, &needs["confidentiality"]));
            }
            if !labels.is_empty() {
                provision["securityLabel"] = json!(labels);
            }
        });
    }
}

/// What is put in a bundle's way, on an ordinary desk where everything else permits.
type Obstacle = fn(&mut Desk);

#[test]
fn whatever_is_advised_turns_the_no_into_a_yes() {
    let obstacles: [(&str, Obstacle, &[&str]); 8] = [
        ("no consent", |_| {}, &["consent add"]),
        (
            "a consent for one class only",
            |desk| {
                desk.consent(|c| c["provision"]["class"] = json!([{"system": "http://loinc.org", "code": "11526-1"}]));
            },
            &["", "consent add"],
        ),
        (
            "a consent for normal records only",
            |desk| {
                desk.consent(|c| c["provision"]["securityLabel"] = json!([{"system": CONFIDENTIALITY, "code": "N"}]));
            },
            &["", "consent add"],
        ),
        (
            "a dissent about one class",
            |desk| {
                desk.consent(|_| ());
                desk.consent(|c| {
                    let class = json!([{"system": "http://loinc.org", "code": "18842-5"}]);
                    c["provision"] = json!({"type": "deny", "class": class});
                });
            },
            &["", "consent withdraw"],
        ),
        (
            "a suspended partner",
            |desk| {
                desk.consent(|_| ());
                desk.run(&["partner", "suspend", "nordhafen"]).ok();
            },
            &["partner resume"],
        ),
        (
            "a closed case",
            |desk| {
                desk.consent(|_| ());
            },
            &["case open"],
        ),
        (
            "a label that is only assumed",
            |desk| {
                desk.describe(&[
                    ("letter.txt", "11488-4", ""),
                    ("histology.txt", "11526-1", ""),
                    ("therapy.txt", "18842-5", "N"),
                ]);
                desk.consent(|c| c["provision"]["securityLabel"] = json!([{"system": CONFIDENTIALITY, "code": "N"}]));
            },
            &["send"],
        ),
        (
            "a very restricted document and a suspended partner",
            |desk| {
                desk.describe(&[
                    ("letter.txt", "11488-4", "N"),
                    ("histology.txt", "11526-1", "V"),
                    ("therapy.txt", "18842-5", "N"),
                ]);
                desk.consent(|_| ());
                desk.run(&["partner", "suspend", "nordhafen"]).ok();
            },
            &["partner resume"],
        ),
    ];
    std::thread::scope(|scope| {
        for (what, obstacle, commands) in obstacles {
            scope.spawn(move || follow_each_way(what, obstacle, commands));
        }
    });
}

fn follow_each_way(what: &str, obstacle: Obstacle, commands: &[&str]) {
    for (number, command) in commands.iter().enumerate() {
        let mut desk = Desk::new();
        obstacle(&mut desk);
        let bundle = if what == "a closed case" {
            // Its bundle must be there before the case is closed, and must not have left.
            desk.pair.institute.stop();
            let bundle = desk.send();
            desk.run(&["case", "close", &desk.pair.case, "--outcome", "confirmed"]).ok();
            desk.pair.institute.start();
            bundle
        } else {
            desk.send()
        };
        let explained = desk.explain(&bundle);
        assert_eq!(explained["decision"], "deny", "{what}: {explained}");
        let ways = explained["changes"].as_array().expect("a list");
        let first = |way: &&Value| way["steps"][0]["command"].as_str().unwrap_or_default().contains(command);
        let bare = |way: &&Value| way["steps"][0]["command"].is_null();
        let way = ways.iter().find(|way| if command.is_empty() { bare(way) } else { first(way) });
        let way = way.unwrap_or_else(|| panic!("{what}: nothing advises {command:?}: {explained}"));
        let left = desk.follow(&bundle, way);
        let shown = desk.pair.hospital.wait_for(&left, &["delivered", "refused", "failed", "cancelled"]);
        assert_eq!(shown.text("state"), "delivered", "{what}, way {number} {way}: {}", shown.stdout);
    }
}

#[test]
fn a_delivered_bundle_is_explained_by_the_decision_that_let_it_go() {
    let mut pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "afterwards"]).ok();
    pair.hospital.run(&["partner", "suspend", "nordhafen"]).ok();
    pair.hospital.stop();
    pair.hospital.start();
    let explained = pair.hospital.run(&["policy", "explain", &bundle]).ok().json;
    assert_eq!((&explained["decision"], &explained["of"]), (&json!("permit"), &json!("delivery")), "{explained}");
    assert_eq!(explained["consent"], format!("{} version 1", pair.consent), "the version of that day");
    assert_eq!(explained["policies"], json!(["release-second-opinion"]));
    assert!(explained["reason"].is_null() && explained["changes"] == json!([]), "{explained}");
    let stopped = |document: &Value| {
        document["consent"]["permits"] != json!(true) || document["policy"]["permits"] != json!(true)
    };
    let documents = explained["documents"].as_array().expect("a list");
    assert!(!documents.is_empty() && !documents.iter().any(stopped), "{explained}");

    let opinion = pair.sample.opinion_file.to_str().expect("a path");
    let args = ["opinion", &pair.case, opinion, "--outcome", "confirmed"];
    let back = pair.institute.run(&args).ok().text("bundle");
    let explained = pair.institute.run(&["policy", "explain", &back]).ok().json;
    assert_eq!((&explained["decision"], &explained["kind"]), (&json!("permit"), &json!("opinion")), "{explained}");
    assert!(explained["consent"].is_null(), "no consent is asked for an opinion: {explained}");
}

#[test]
fn each_document_stands_before_each_gate_by_itself() {
    let mut desk = Desk::new();
    desk.describe(&[
        ("letter.txt", "11488-4", "N"),
        ("histology.txt", "11526-1", "V"),
        ("therapy.txt", "18842-5", "N"),
    ]);
    desk.consent(|c| {
        c["provision"]["class"] = json!([
            {"system": "http://loinc.org", "code": "11488-4"}, {"system": "http://loinc.org", "code": "11526-1"},
        ]);
    });
    desk.run(&["partner", "suspend", "nordhafen"]).ok();
    let explained = desk.explain(&desk.send());
    let document = |path: &str| {
        let documents = explained["documents"].as_array().expect("a list").iter();
        documents.clone().find(|document| document["path"] == path).expect("listed").clone()
    };
    let codes = |path: &str| {
        let document = document(path);
        let rules = document["policy"]["rules"].as_array().expect("a list").clone();
        (document["consent"]["reason"].clone(), rules.iter().map(|rule| rule["id"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(codes("letter.txt"), (Value::Null, vec![]));
    assert_eq!(codes("histology.txt"), (Value::Null, vec![json!("very-restricted-never-automatic")]));
    assert_eq!(codes("therapy.txt"), (json!("DOCUMENT_CLASS"), vec![]));
    assert_eq!(explained["rules"][0]["id"], "partner-suspended", "what stops all of them is said once: {explained}");
    assert_eq!(explained["reason"], "DOCUMENT_CLASS");
    assert!(explained["policies"].as_array().expect("a list").contains(&json!("partner-suspended")), "{explained}");
}

#[test]
fn the_page_is_plain_text_of_a_hundred_columns() {
    let mut desk = Desk::new();
    let long = "a".repeat(120);
    write(&desk.folder.join(format!("{long}.txt")), "long");
    desk.describe(&[("histology.txt", "11526-1", "R")]);
    desk.consent(|c| c["provision"]["class"] = json!([{"system": "http://loinc.org", "code": "11526-1"}]));
    let bundle = desk.send();
    let mut explain = medseal();
    explain.arg("--home").arg(&desk.pair.hospital.home).args(["policy", "explain", &bundle]);
    let page = ran(&explain.output().expect("medseal runs")).ok().stdout;
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    for part in
        ["NO   It may not leave for nordhafen", "Why not", "What would change it", "[DOCUMENT_CLASS]", "11526-1"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_bundle_that_was_refused_for_what_its_documents_are_is_explained_too() {
    let pair = Pair::ready();
    let stray = pair.sample.stray_file.to_str().expect("a path").to_owned();
    let bundle = pair.hospital.run(&["send", &stray, "--case", &pair.case]).refused("PATIENT_MISMATCH").text("bundle");
    let explained = pair.hospital.run(&["policy", "explain", &bundle]).ok().json;
    assert_eq!((&explained["decision"], &explained["reason"]), (&json!("deny"), &json!("PATIENT_MISMATCH")));
    assert!(explained["remedies"][0].as_str().expect("a remedy").contains("--confirm-patient"), "{explained}");
}

fn write(path: &Path, text: &str) {
    std::fs::File::create(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .expect("written");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}
