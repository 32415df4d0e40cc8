//! Does a reader's policy say how many signatures under a log are enough, and is every lack of them noticed?

use std::path::{Path, PathBuf};

use medseal::audit::note::WitnessKey;
use medseal::signature::NoteSigner;

use crate::site::Site;
use crate::witness::{Two, grow, log_key, until_signed, wait, witness_key};

/// Writes a policy for the hospital's log: the institute, a witness that never signs, and this quorum.
fn policy(two: &Two, name: &str, quorum: &str) -> PathBuf {
    let never = WitnessKey::new("clinic/witness".parse().expect("a name"), NoteSigner::from_seed(&[9; 32]).public());
    let institute = witness_key(&two.institute);
    let text = format!(
        "# whose signatures are enough\nlog {}\nwitness institute {institute}\nwitness clinic {never}\n{quorum}",
        log_key(&two.hospital)
    );
    write(&two.folder.path().join(name), &text)
}

fn write(path: &Path, text: &str) -> PathBuf {
    medseal::durable::replace(path, text.as_bytes(), 0o644).expect("written");
    path.to_owned()
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn exported(two: &Two, site: &Site, name: &str) -> PathBuf {
    let out = two.folder.path().join(name);
    site.run(&["audit", "export", arg(&out)]).ok();
    out
}

#[test]
fn an_export_carries_the_partners_signature_and_a_policy_counts_it() {
    let two = Two::at_rest();
    // Nobody waits for the next round: whoever exports asks for the signature.
    grow(&two.hospital, &two.institute, 1);
    let export = exported(&two, &two.hospital, "export");
    let one = policy(&two, "one", "quorum institute\n");
    let verified = two.hospital.run(&["audit", "verify", arg(&export), "--policy", arg(&one)]).ok();
    assert_eq!(verified.json["countersigned"][0]["by"], "institute", "{}", verified.json);
    assert_eq!(verified.json["countersigned"][0]["key"], witness_key(&two.institute).to_string());
    assert_eq!(verified.json["quorum"]["enough"], true);
    assert_eq!(verified.json["quorum"]["entries"], verified.json["entries"]);
    assert_eq!(verified.json["self_asserted"], false);
    assert!(verified.json["countersigned"][0]["since"].as_str().is_some_and(|since| since.starts_with("20")));

    let either = policy(&two, "either", "group g any institute clinic\nquorum g\n");
    two.hospital.run(&["audit", "verify", arg(&export), "--policy", arg(&either)]).ok();
    let both = policy(&two, "both", "group g all institute clinic\nquorum g\n");
    let refused = two.hospital.run(&["audit", "verify", arg(&export), "--policy", arg(&both)]);
    assert_eq!((refused.status, &refused.json["finding"]["kind"]), (1, &"not-countersigned".into()));
    let said = refused.json["finding"]["message"].as_str().expect("words");
    assert!(said.contains("2 of (institute, clinic)"), "{said}");

    // Another log's key: nothing in this export counts.
    let other = write(&two.folder.path().join("other"), &format!("log {}\nquorum none\n", log_key(&two.institute)));
    let refused = two.hospital.run(&["audit", "verify", arg(&export), "--policy", arg(&other)]);
    assert_eq!((refused.status, &refused.json["finding"]["kind"]), (1, &"bad-signature".into()));
    for (text, says) in [("quorum none\n", "names no log"), ("log x\n", "line 1"), ("\nquorum x\n", "line 2")] {
        let bad = write(&two.folder.path().join("bad"), text);
        let unable = two.hospital.run(&["audit", "verify", arg(&export), "--policy", arg(&bad)]);
        assert!(unable.status == 2 && unable.stderr.contains(says), "{} {}", unable.status, unable.stderr);
    }
}

#[test]
fn a_proof_of_an_entry_counts_only_with_enough_signatures() {
    let two = Two::at_rest();
    until_signed(&two.hospital);
    let proof = two.folder.path().join("first.tlog-proof");
    two.hospital.run(&["audit", "prove", "0", "--out", arg(&proof)]).ok();
    let one = policy(&two, "one", "quorum institute\n");
    let proved = two.hospital.run(&["audit", "verify", arg(&proof), "--policy", arg(&one)]).ok();
    assert_eq!(proved.json["countersigned"].as_array().map(Vec::len), Some(1), "{}", proved.json);
    let both = policy(&two, "both", "group g all institute clinic\nquorum g\n");
    assert_eq!(two.hospital.run(&["audit", "verify", arg(&proof), "--policy", arg(&both)]).status, 1);
}

#[test]
fn where_two_are_wanted_the_newest_note_that_both_signed_still_counts() {
    let two = Two::at_rest();
    let mut harbour = Site::init(two.folder.path(), "harbour", "NL");
    harbour.start();
    harbour.befriend(&two.hospital);
    two.hospital.befriend(&harbour);
    let text = format!(
        "witness institute {}\nwitness harbour {}\ngroup both all institute harbour\nquorum both\n",
        witness_key(&two.institute),
        witness_key(&harbour)
    );
    write(&two.hospital.home.join("witness-policy"), &text);
    wait("signed by both", &two.hospital, || two.hospital.run(&["audit", "verify"]).status == 0);
    harbour.stop();
    grow(&two.hospital, &two.institute, 1);
    // One of them signs under what came since: too few, but what both have signed stays.
    until_signed(&two.hospital);
    let verified = two.hospital.run(&["audit", "verify"]).ok();
    let (covered, entries) = (verified.json["quorum"]["entries"].as_u64(), verified.json["entries"].as_u64());
    assert!(covered < entries && verified.json["quorum"]["enough"] == true, "{}", verified.stdout);
    assert_eq!(verified.json["countersigned"].as_array().map(Vec::len), Some(2));
    wait("overdue", &two.hospital, || two.hospital.run(&["audit", "alarms"]).stdout.contains("overdue"));
    harbour.start();
    wait("recovered", &two.hospital, || two.hospital.run(&["audit", "alarms"]).status == 0);
}

#[test]
fn what_the_site_wrote_about_witnesses_is_missed_and_what_it_did_not_write_is_only_told() {
    let mut two = Two::at_rest();
    let verified = two.hospital.run(&["audit", "verify"]).ok();
    let by = verified.json["countersigned"][0]["by"].as_str().expect("a witness");
    assert!(by.starts_with("nordhafen/"), "{by}");
    let never = policy(&two, "never", "quorum clinic\n");
    let given = two.hospital.run(&["audit", "verify", "--policy", arg(&never)]);
    assert_eq!((given.status, &given.json["finding"]["kind"]), (1, &"not-countersigned".into()));

    let own = two.hospital.home.join("witness-policy");
    std::fs::copy(never, &own).expect("copied");
    let missed = two.hospital.run(&["audit", "verify"]);
    assert_eq!((missed.status, &missed.json["finding"]["kind"]), (1, &"not-countersigned".into()));
    std::fs::copy(policy(&two, "one", "quorum institute\n"), &own).expect("copied");
    assert_eq!(two.hospital.run(&["audit", "verify"]).ok().json["countersigned"][0]["by"], "institute");
    two.hospital.stop();
    write(&own, "quorum nobody\n");
    let refused = two.hospital.run(&["serve", "--check"]);
    assert!(refused.status == 2 && refused.stderr.contains("line 1"), "{}", refused.stderr);
    std::fs::remove_file(&own).expect("removed");
    two.hospital.start();
}
