//! Does a person learn what is wrong between two gateways, when something is?

use crate::site::Site;

#[test]
fn an_answer_an_outage_a_stranger_and_a_refusal_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
    let mut institute = Site::init(folder.path(), "nordhafen", "DE");
    hospital.start();
    institute.start();
    hospital.befriend(&institute);
    let ping = || hospital.run(&["partner", "ping", institute.id]);
    ping().refused("PARTNER_REFUSED");
    institute.befriend(&hospital);
    assert_eq!(ping().ok().text("institution"), institute.id);

    institute.stop();
    let away = hospital.run(&["partner", "ping", institute.id]);
    assert_eq!((away.status, away.json["error"]["code"].as_str()), (75, Some("PARTNER_UNREACHABLE")), "{away:?}");

    // Somebody else's gateway at the partner's address, with keys of its own and the same name.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    let mut stranger = Site::init_at(&elsewhere, institute.id, "DE", institute.port);
    stranger.start();
    stranger.befriend(&hospital);
    hospital.run(&["partner", "ping", institute.id]).refused("WRONG_PARTNER");
}

#[test]
fn a_home_is_checked_while_its_gateway_rests_and_not_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
    hospital.run(&["serve", "--check"]).ok();
    hospital.start();
    let beside = hospital.run(&["serve", "--check"]);
    assert_eq!(beside.status, 2, "{beside:?}");
    assert!(beside.stderr.contains("hint: its gateway is running"), "{}", beside.stderr);
}
