//! Do two gateways witness each other's logs, and is every way of showing two histories noticed?

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use medseal::audit::note::{Checkpoint, LogKey, WitnessKey};
use medseal::audit::proof::{self, consistency};
use medseal::audit::witness::Submission;
use medseal::clock::Clock;
use medseal::config::{Config, PostQuantum};
use medseal::deliver::Line;
use medseal::durable;
use medseal::id::Digest;
use medseal::keys::{Keys, WITNESS_KEY};
use medseal::leaf;
use medseal::partner::SignedCard;
use medseal::signature::NoteSigner;
use medseal::tls::{PeerTrust, Tls};
use medseal::wire::{Limits, WitnessAnswer};

use crate::site::Site;
use crate::tree_proofs::InMemory;

/// Two institutions that know each other; neither gateway runs.
pub(crate) struct Two {
    pub(crate) hospital: Site,
    pub(crate) institute: Site,
    pub(crate) folder: tempfile::TempDir,
}

impl Two {
    pub(crate) fn acquainted() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
        let mut institute = Site::init(folder.path(), "nordhafen", "DE");
        for site in [&mut hospital, &mut institute] {
            hasten(site);
            site.start();
        }
        hospital.befriend(&institute);
        institute.befriend(&hospital);
        Self { hospital, institute, folder }
    }

    /// Both have signed under all of the other's log.
    pub(crate) fn at_rest() -> Self {
        let two = Self::acquainted();
        until_signed(&two.hospital);
        until_signed(&two.institute);
        two
    }
}

/// Asks every second, so that no test waits for a minute.
pub(crate) fn hasten(site: &Site) {
    let path = site.home.join("medseal.toml");
    let mut config = Config::read(&path).expect("a configuration");
    (config.witness.every_s, config.witness.alarm_s) = (1, 2);
    durable::replace(&path, config.to_toml().as_bytes(), 0o644).expect("written");
}

#[track_caller]
pub(crate) fn wait(what: &str, site: &Site, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !reached() {
        assert!(Instant::now() < deadline, "never {what}: {}", site.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a partner has signed under the whole log, and gives the note.
#[track_caller]
pub(crate) fn until_signed(site: &Site) -> String {
    let mut note = String::new();
    wait("countersigned", site, || {
        note = site.run(&["audit", "checkpoint"]).ok().text("checkpoint");
        note.lines().filter(|line| line.starts_with('\u{2014}')).count() > 1
    });
    note
}

pub(crate) fn card(site: &Site) -> SignedCard {
    SignedCard::parse(&std::fs::read(site.home.join("card")).expect("a card")).expect("a card")
}

pub(crate) fn log_key(site: &Site) -> LogKey {
    card(site).card().log[0].value.to_string().parse().expect("a log key")
}

pub(crate) fn witness_key(site: &Site) -> WitnessKey {
    card(site).card().witness[0].value.to_string().parse().expect("a witness key")
}

/// The entries of this kind and action, as they are stored.
pub(crate) fn entries(site: &Site, action: &str) -> Vec<serde_json::Value> {
    let shown = site.run(&["audit", "show"]).ok();
    let items = shown.json["items"].as_array().expect("a list").clone();
    items.into_iter().filter(|entry| entry["kind"] == "witness" && entry["action"] == action).collect()
}

/// The alarm that has evidence: its name, and how it stands.
#[track_caller]
fn contradiction(site: &Site) -> (String, String) {
    let shown = site.run(&["audit", "alarms"]);
    let items = shown.json["items"].as_array().expect("a list");
    let found: Vec<_> = items.iter().filter(|alarm| alarm["evidence"].is_string()).collect();
    assert_eq!(found.len(), 1, "{}", shown.stdout);
    let field = |name: &str| found[0][name].as_str().expect("a text").to_owned();
    (field("id"), field("state"))
}

fn evidence(site: &Site) -> Vec<PathBuf> {
    let kept = std::fs::read_dir(site.home.join("witness").join("evidence"));
    kept.map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}

/// Puts a copy in the place of a home.
pub(crate) fn set_back(site: &Site, backup: &Path) {
    std::fs::remove_dir_all(&site.home).expect("removed");
    copy(backup, &site.home);
}

/// Makes the log longer by something that happens anyway.
pub(crate) fn grow(site: &Site, partner: &Site, times: usize) {
    for _ in 0..times {
        site.run(&["partner", "suspend", partner.id]).ok();
        site.run(&["partner", "resume", partner.id]).ok();
    }
}

/// Speaks to a gateway with the keys of its partner, whose own gateway does not run.
struct Impersonator {
    line: Line,
    keys: Keys,
    key: LogKey,
}

impl Impersonator {
    async fn dial(from: &Site, to: &Site) -> Self {
        let keys = Keys::open(&from.home.join("keys")).expect("keys");
        let tls = Tls::with_clock(&keys, PostQuantum::Require, Clock::system()).expect("tls");
        let theirs = card(to);
        let certificates = theirs.card().tls.iter().map(|entry| entry.value.der().clone()).collect();
        tls.set_peers(vec![PeerTrust { id: theirs.card().id.clone(), certificates }]);
        let endpoint = &theirs.card().endpoint;
        let line = Line::connect(&tls, &theirs.card().id, endpoint, Limits::default()).await.expect("a line");
        Self { line, key: log_key(from), keys }
    }

    async fn bring(&mut self, submission: &Submission) -> WitnessAnswer {
        self.line.add_checkpoint(submission.to_body()).await.expect("an answer")
    }

    async fn status(&mut self, submission: &Submission) -> u16 {
        self.bring(submission).await.status
    }

    fn of(&self, leaves: &[Digest]) -> Checkpoint {
        let size = leaves.len() as u64;
        let root = proof::root(size, &InMemory::over(leaves.to_vec())).expect("a root");
        Checkpoint { origin: self.key.name().clone(), size, root }
    }

    fn grown(&self, old: usize, leaves: &[Digest]) -> Submission {
        let note = self.of(leaves).sign(self.keys.log_signer());
        let (old, new) = (old as u64, leaves.len() as u64);
        let proof = consistency(old, new, &InMemory::over(leaves.to_vec())).expect("a proof");
        Submission { old, proof, note }
    }
}

fn leaves(count: u8) -> Vec<Digest> {
    (0..count).map(|at| leaf::hash(&[at])).collect()
}

#[test]
fn two_gateways_sign_under_each_others_checkpoints_and_then_rest() {
    let two = Two::at_rest();
    for (site, partner) in [(&two.hospital, &two.institute), (&two.institute, &two.hospital)] {
        let note = until_signed(site);
        let newest = Checkpoint::open(note.as_bytes(), &[log_key(site)]).expect("our own signature");
        let found = Checkpoint::cosignatures(note.as_bytes(), &[witness_key(partner)]).expect("good signatures");
        assert_eq!(found.len(), 1, "{note}");
        assert_eq!(site.run(&["audit", "checkpoint", "--countersigned"]).ok().text("checkpoint"), note);
        // The partner's log names ours, once: the two do not feed each other.
        let named = entries(partner, "countersigned");
        assert_eq!(named.len(), 1, "{named:?}");
        assert_eq!(named[0]["partner"], site.id);
        assert!(named[0]["size"].as_u64().is_some_and(|size| size <= newest.size));
        let doctor = site.run(&["doctor"]).stdout;
        assert!(doctor.contains("enough have signed under"), "{doctor}");
        assert!(evidence(site).is_empty());
    }
}

#[test]
fn a_home_that_was_set_back_as_a_whole_is_told_so_by_its_witness_before_it_signs() {
    let mut two = Two::at_rest();
    two.hospital.stop();
    let backup = two.folder.path().join("backup");
    copy(&two.hospital.home, &backup);
    two.hospital.start();
    grow(&two.hospital, &two.institute, 2);
    let later = until_signed(&two.hospital);
    two.hospital.stop();

    set_back(&two.hospital, &backup);
    let before = std::fs::read(two.hospital.home.join("head").join("checkpoint")).expect("a note");
    two.hospital.start_read_only();
    let head = std::fs::read(two.hospital.home.join("head").join("checkpoint")).expect("a note");
    assert_ne!(head, before);
    let brought = Checkpoint::open(&head, &[log_key(&two.hospital)]).expect("signed by our own key");
    assert!(brought.size > Checkpoint::claimed(&before).expect("a note").size);
    assert!(brought.size >= Checkpoint::claimed(later.as_bytes()).expect("a note").size);
    assert_eq!(evidence(&two.hospital).len(), 1);
    two.hospital.stop();
    // It stays so without the witness.
    two.institute.stop();
    two.hospital.start_read_only();
}

#[test]
fn a_home_that_was_set_back_while_its_witness_was_away_stops_when_it_hears() {
    let mut two = Two::at_rest();
    two.hospital.stop();
    let backup = two.folder.path().join("backup");
    copy(&two.hospital.home, &backup);
    two.hospital.start();
    grow(&two.hospital, &two.institute, 10);
    until_signed(&two.hospital);
    two.hospital.stop();
    two.institute.stop();

    set_back(&two.hospital, &backup);
    two.hospital.start();
    assert!(two.hospital.log().contains("going on without"), "{}", two.hospital.log());
    let shown = two.hospital.run(&["audit", "show"]).ok();
    let started = shown.json["items"].as_array().expect("a list").iter().rfind(|entry| entry["kind"] == "config");
    let started = started.expect("an entry");
    assert_eq!((&started["witnesses_asked"], &started["witnesses_agreed"]), (&1.into(), &0.into()), "{started}");
    two.institute.start();
    let mut hospital = two.hospital;
    let deadline = Instant::now() + Duration::from_mins(1);
    while !hospital.has_ended() {
        assert!(Instant::now() < deadline, "it goes on: {}", hospital.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(hospital.log().contains("this gateway was set back"), "{}", hospital.log());
    hospital.start_read_only();
}

#[test]
fn a_second_history_gets_no_signature_and_both_keep_the_evidence() {
    let mut two = Two::at_rest();
    two.hospital.stop();
    let backup = two.folder.path().join("backup");
    copy(&two.hospital.home, &backup);
    two.hospital.start();
    grow(&two.hospital, &two.institute, 1);
    until_signed(&two.hospital);
    two.hospital.stop();
    two.institute.stop();

    set_back(&two.hospital, &backup);
    two.hospital.start();
    grow(&two.hospital, &two.institute, 10);
    two.institute.start();
    wait("told of", &two.hospital, || !entries(&two.hospital, "forked").is_empty());
    wait("refused", &two.institute, || !entries(&two.institute, "refused").is_empty());
    for (site, other) in [(&two.hospital, &two.institute), (&two.institute, &two.hospital)] {
        let kept = evidence(site);
        let text = std::fs::read_to_string(&kept[0]).expect("evidence");
        let name = kept[0].file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let signed = text.matches(&format!("\u{2014} {}", log_key(&two.hospital).name())).count();
        assert!(name.starts_with(other.id) && signed >= 2, "{name}: {text}");
        assert_eq!(site.run(&["doctor"]).status, 1, "the officer is told");
        let shown = site.run(&["audit", "alarms", "--show", &contradiction(site).0]).ok();
        assert!(shown.stdout.contains("\u{2014} ") && shown.stdout == text, "the refused note is the evidence");
        assert!(site.run(&["status"]).ok().stderr.contains("ALARM since"), "nobody overlooks it");
    }
    // A restart ends no alarm; a person does, and it does not come back.
    two.institute.stop();
    two.institute.start();
    let (id, state) = contradiction(&two.institute);
    assert!(state == "standing" && two.institute.run(&["status"]).ok().stderr.contains("contradicts"));
    assert_eq!(two.institute.run(&["audit", "alarms"]).status, 1);
    let seen = two.institute.run(&["audit", "alarms", "--acknowledge", &id]).ok();
    assert_eq!(seen.json["state"], "acknowledged");
    assert_eq!(contradiction(&two.institute), (id.clone(), "acknowledged".to_owned()));
    assert_eq!(two.institute.run(&["audit", "alarms", "--acknowledge", &id]).status, 2);
    assert!(!two.institute.run(&["status"]).ok().stderr.contains("contradicts"));
    assert_eq!(entries(&two.institute, "acknowledged").len(), 1);
    let refused = &entries(&two.institute, "refused")[0];
    assert!(refused["seen_size"].is_u64() && refused["evidence"].is_string(), "{refused}");
}

#[test]
fn a_partner_that_is_away_changes_nothing_but_the_alarm() {
    let mut two = Two::at_rest();
    two.institute.stop();
    grow(&two.hospital, &two.institute, 1);
    wait("overdue", &two.hospital, || !entries(&two.hospital, "overdue").is_empty());
    let doctor = two.hospital.run(&["doctor"]);
    assert_eq!(doctor.status, 1, "{}", doctor.stdout);
    assert!(two.hospital.run(&["status"]).ok().stderr.contains("ALARM since"));
    grow(&two.hospital, &two.institute, 1);
    two.hospital.stop();
    two.hospital.start();
    assert!(two.hospital.run(&["status"]).ok().stderr.contains("ALARM since"), "a restart ends no alarm");
    let seen = two.hospital.run(&["audit", "alarms", "--acknowledge", "overdue"]);
    assert!(seen.status == 2 && seen.stdout.contains("CONFLICT"), "{}", seen.stdout);
    two.institute.start();
    until_signed(&two.hospital);
    wait("recovered", &two.hospital, || entries(&two.hospital, "recovered").len() == 1);
    assert_eq!(entries(&two.hospital, "overdue").len(), 1, "one wait is told once");
    let alarms = two.hospital.run(&["audit", "alarms"]).ok();
    assert_eq!(alarms.json["items"][0]["state"], "recovered", "{}", alarms.stdout);
    assert!(!two.hospital.run(&["status"]).ok().stderr.contains("ALARM"));
}

#[tokio::test]
async fn a_witness_answers_as_the_specification_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
    let mut clean = Site::init(folder.path(), "harbour", "NL");
    hospital.start();
    clean.start();
    clean.befriend(&hospital);
    // It never spoke itself, so that the test may tell a history of its own.
    hospital.stop();
    let mut partner = Impersonator::dial(&hospital, &clean).await;
    let all = leaves(40);

    let foreign = Checkpoint { origin: "other/medseal/log".parse().expect("a name"), ..partner.of(&all) };
    let foreign = Submission { old: 0, proof: Vec::new(), note: foreign.sign(partner.keys.log_signer()) };
    assert_eq!(partner.status(&foreign).await, 404);
    let unsigned = partner.of(&all).sign(&NoteSigner::from_seed(&[1; 32]));
    assert_eq!(partner.status(&Submission { old: 0, proof: Vec::new(), note: unsigned }).await, 403);
    assert_eq!(partner.status(&partner.grown(0, &all[..0])).await, 200, "an empty log");
    let good = partner.grown(0, &all[..7]);
    let answer = partner.bring(&good).await;
    assert_eq!(answer.status, 200);
    let note = Checkpoint::merge(&good.note, &answer.body).expect("a note");
    assert_eq!(Checkpoint::cosignatures(note.as_bytes(), &[witness_key(&clean)]).expect("good").len(), 1);
    assert_eq!(partner.status(&partner.grown(7, &all[..7])).await, 200, "the same once more");

    let answer = partner.bring(&partner.grown(3, &all[..20])).await;
    assert_eq!((answer.status, answer.body.as_str()), (409, "7\n"));
    let shrunk = Submission { old: 8, ..partner.grown(7, &all[..7]) };
    assert_eq!(partner.status(&shrunk).await, 400);
    let lying = Submission { proof: partner.grown(6, &all[..20]).proof, ..partner.grown(7, &all[..20]) };
    assert_eq!(partner.status(&lying).await, 422);
    let mut rewritten = all.clone();
    rewritten[2] = leaf::hash(b"rewritten");
    assert_eq!(partner.status(&partner.grown(7, &rewritten[..20])).await, 422);
    let beside = Submission { old: 7, proof: Vec::new(), ..partner.grown(7, &rewritten[..7]) };
    assert_eq!(partner.status(&beside).await, 422);
    assert_eq!(partner.status(&partner.grown(7, &all)).await, 200, "after every refusal it goes on from what was seen");

    let malformed = partner.line.add_checkpoint("old 40\n".to_owned()).await.expect("an answer");
    assert_eq!(malformed.status, 400);
    let origin = |key: &LogKey| Digest::of(key.name().as_str().as_bytes());
    let seen = partner.line.seen_checkpoint(origin(&partner.key)).await.expect("an answer");
    assert_eq!(Checkpoint::open(seen.body.as_bytes(), &[partner.key.clone()]), Ok(partner.of(&all)));
    let other = partner.line.seen_checkpoint(Digest::of(b"other/medseal/log")).await.expect("an answer");
    assert_eq!(other.status, 404);
    assert_eq!(evidence(&clean).len(), 3);
    assert_eq!(entries(&clean, "countersigned").len(), 1, "at most one entry an hour");
}

#[tokio::test]
async fn a_witness_whose_memory_was_set_back_signs_nothing() {
    let mut two = Two::at_rest();
    two.hospital.stop();
    two.institute.stop();
    for entry in std::fs::read_dir(two.institute.home.join("witness")).expect("a folder").flatten() {
        std::fs::remove_file(entry.path()).expect("removed");
    }
    two.institute.start();
    let mut partner = Impersonator::dial(&two.hospital, &two.institute).await;
    assert_eq!(partner.status(&partner.grown(0, &leaves(3))).await, 500);
    assert!(two.institute.log().contains("old copy"), "{}", two.institute.log());
}

#[test]
fn a_home_from_before_there_were_witnesses_gets_a_key_and_a_card_that_partners_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hospital = Site::init(folder.path(), "tallinn-east", "EE");
    let mut institute = Site::init(folder.path(), "nordhafen", "DE");
    hasten(&hospital);
    hasten(&institute);
    let keys = Keys::open(&institute.home.join("keys")).expect("keys");
    let mut old = card(&institute).card().clone();
    old.witness.clear();
    let old = SignedCard::sign(&old, keys.signer()).expect("a card");
    assert!(!old.file_text().contains("witness"));
    durable::replace(&institute.home.join("card"), old.file_text().as_bytes(), 0o644).expect("written");
    std::fs::remove_file(institute.home.join("keys").join(WITNESS_KEY)).expect("removed");

    hospital.start();
    let path = hospital.home.join("old-card");
    durable::write_new(&path, old.file_text().as_bytes(), 0o644).expect("written");
    let path = path.to_str().expect("a path");
    hospital.run(&["partner", "add", path, "--fingerprint", &old.fingerprint().to_string()]).ok();
    institute.start();
    institute.befriend(&hospital);
    assert_eq!((card(&institute).card().serial, card(&institute).card().witness.len()), (2, 1));
    let renewed = institute.home.join("card");
    hospital.run(&["partner", "add", renewed.to_str().expect("a path")]).ok();
    let note = until_signed(&hospital);
    assert_eq!(Checkpoint::cosignatures(note.as_bytes(), &[witness_key(&institute)]).expect("good").len(), 1);
    institute.stop();
    institute.start();
    assert_eq!(card(&institute).card().serial, 2, "once is enough");
}
