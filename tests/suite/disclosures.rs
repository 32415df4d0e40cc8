//! Does the accounting of disclosures list everything that went out of one patient, and nothing of anybody else?

use serde_json::Value;

use medseal::sample_case;

use crate::site::{Pair, Ran};

fn report(pair: &Pair, patient: &str, name: &str, more: &[&str]) -> (Ran, Value, String, String) {
    let out = pair.folder.path().join(name);
    let mut args = vec!["audit", "report", "--patient", patient, "--out", out.to_str().expect("a path")];
    args.extend_from_slice(more);
    let ran = pair.hospital.run(&args).ok();
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("written");
    (ran, serde_json::from_str(&read("report.json")).expect("JSON"), read("report.csv"), read("report.html"))
}

fn what(report: &Value) -> Vec<String> {
    let lines = report["lines"].as_array().expect("lines");
    lines.iter().map(|line| line["what"].as_str().expect("words").to_owned()).collect()
}

#[test]
fn every_disclosure_and_recall_of_a_patient_is_listed_with_its_entry_and_nobody_else_is() {
    let pair = Pair::ready();
    let patient = sample_case::patient().to_string();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let other = "https://hospital.example/mrn|Other-4711";
    let args =
        ["case", "open", "--patient", other, "--partner", pair.institute.id, "--purpose", "TREAT", "--question", "Hm?"];
    let others = pair.hospital.run(&args).ok().text("case");
    pair.hospital.run(&["consent", "withdraw", &pair.consent, "--reason", "she called"]).ok();
    pair.hospital.wait_for(&bundle, &["recalled"]);

    let (ran, json, csv, html) = report(&pair, &patient, "hers", &[]);
    assert_eq!(ran.json["disclosures"], 1, "{json}");
    let disclosed: Vec<&Value> =
        json["lines"].as_array().expect("lines").iter().filter(|line| line["disclosure"] == true).collect();
    let [one] = &disclosed[..] else { panic!("one disclosure: {json}") };
    assert!(one["party"].as_str().expect("a party").contains("nordhafen"));
    assert!(one["address"].as_str().expect("an address").starts_with("DE, https://localhost:"));
    assert_eq!((&one["purpose"], &one["bundle"]), (&"TREAT".into(), &bundle.as_str().into()));
    assert!(one["basis"].as_str().expect("a basis").contains(&pair.consent));
    assert!(one["description"].as_str().expect("words").contains("documents"), "{one}");
    assert!(one["receipt"].as_str().expect("a digest").len() == 64);
    let said = what(&json);
    for wanted in ["call back sent", "consent withdrawn", "its sealed file is destroyed"] {
        assert!(said.iter().any(|line| line.contains(wanted)), "{wanted} is not in {said:?}");
    }

    // Each line is the entry that it says it is.
    let entries = pair.hospital.home.parent().expect("a folder").join("export");
    pair.hospital.run(&["audit", "export", entries.to_str().expect("a path")]).ok();
    let log = std::fs::read_dir(&entries).expect("an export").map(|entry| entry.expect("an entry").path());
    let text: String = log
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .collect();
    let vkey = pair.folder.path().join("hers/log.vkey").to_string_lossy().into_owned();
    for line in json["lines"].as_array().expect("lines") {
        // Whoever has the folder and the log's key needs no gateway.
        let named = line["proof"].as_str().expect("a name");
        assert!(html.contains(&format!("href=\"{named}\"")) && csv.contains(named), "{named}");
        let proof = pair.folder.path().join("hers").join(named).to_string_lossy().into_owned();
        let proved = pair.hospital.run(&["audit", "verify", &proof, "--key", &vkey]).ok().json;
        assert_eq!((&proved["ok"], &proved["seq"]), (&true.into(), &line["seq"]));
        let seq = usize::try_from(line["seq"].as_u64().expect("a number")).expect("small");
        let entry = text.lines().nth(seq).expect("an entry");
        assert_eq!(line["leaf"], medseal::leaf::hash(entry.as_bytes()).to_string().as_str());
        assert!(
            csv.contains(line["leaf"].as_str().expect("a hash"))
                && html.contains(line["leaf"].as_str().expect("a hash"))
        );
    }
    let released = pair.folder.path().join("hers").join(one["released_proof"].as_str().expect("a name"));
    let proved = pair.hospital.run(&["audit", "verify", released.to_str().expect("a path"), "--key", &vkey]).ok().json;
    assert_eq!(proved["seq"], one["released"], "why it was allowed is proved, too");
    let other = std::fs::read_dir(pair.folder.path().join("hers/proofs"))
        .expect("proofs")
        .map(|entry| entry.expect("an entry").path());
    for path in other {
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(!text.contains(&others) && !text.contains("4711"), "somebody else is in {}", path.display());
    }
    for page in [&csv, &html, &json.to_string()] {
        assert!(!page.contains("4711") && !page.contains(&others), "somebody else is in it");
    }
    assert!(html.contains("default-src 'none'") && !html.contains("<script"));
    assert_eq!(csv.lines().count(), said.len() + 1);

    let (_, early, _, _) = report(&pair, &patient, "early", &["--to", "2001-01-01"]);
    assert!(what(&early).is_empty(), "nothing happened by then");
}

#[test]
fn what_was_refused_stands_in_the_officers_copy_only() {
    let pair = Pair::silent();
    let patient = sample_case::patient().to_string();
    pair.send(&[]).refused("NO_CONSENT");
    let (ran, patients, _, _) = report(&pair, &patient, "patients", &[]);
    assert_eq!(ran.json["disclosures"], 0);
    assert!(what(&patients).iter().all(|line| !line.contains("refused")), "{patients}");
    let (_, officers, _, page) = report(&pair, &patient, "officers", &["--officer"]);
    assert!(what(&officers).iter().any(|line| line.contains("refused")), "{officers}");
    assert!(page.contains("not for the patient"));
    let nothing = pair.folder.path().join("nothing").to_string_lossy().into_owned();
    let turned = ["--from", "2026-12-31", "--to", "2026-01-01", "--out", &nothing];
    let ran = pair.hospital.run(&[&["audit", "report", "--patient", &patient][..], &turned].concat());
    assert!(ran.status == 2 && ran.stdout.contains("BAD_INPUT"), "{}", ran.stdout);
}
