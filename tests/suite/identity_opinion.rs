//! Does an opinion about somebody else stay off our case?

use crate::site::Pair;

#[test]
fn an_opinion_that_names_another_patient_goes_to_no_case_until_a_person_says_why() {
    let pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    let about_another = pair.sample.stray_file.to_str().expect("a path");
    pair.institute.run(&["opinion", &pair.case, about_another, "--outcome", "confirmed", "--wait"]).ok();
    let bundle = pair.hospital.run(&["inbox"]).ok().json["items"][0]["bundle"].as_str().expect("an id").to_owned();
    let opinions = || pair.hospital.run(&["case", "show", &pair.case]).ok().json["opinions"].clone();

    let out = pair.folder.path().join("answer");
    let refused = pair.hospital.run(&["open", &bundle, "--out", out.to_str().expect("a path")]);
    let refused = refused.refused("PATIENT_MISMATCH");
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains(pair.sample.stray_name), "the reader is told whom it names: {said}");
    assert!(out.is_dir(), "a person can look");
    assert!(opinions().is_null(), "{}", opinions());
    assert!(!pair.hospital.log().contains(pair.sample.stray_name));

    let again = pair.folder.path().join("again");
    let why = "the expert attached the referral by which she compared";
    pair.hospital.run(&["open", &bundle, "--out", again.to_str().expect("a path"), "--confirm-patient", why]).ok();
    assert_eq!(opinions()[0]["outcome"], "confirmed");
    assert_eq!(opinions()[0]["patient_confirmed"], why);
}
