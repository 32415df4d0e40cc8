//! Does a recorded release arrive whole at its partner, and at nobody else, and only while its permit is fresh?

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use medseal::audit::log::{Change, Log, Recorded};
use medseal::clock::Clock;
use medseal::decision::Kind;
use medseal::deliver::{DeliverError, Line};
use medseal::id::Digest;
use medseal::statement::Signed;
use medseal::statement::dispatch::{Release, SealedBundle, Why};
use medseal::wire::{Limits, Stage};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use crate::asking::{self, NOW};
use crate::exchange_rig::{Rig, Sealed};
use crate::log_home::Home;

const SEGMENT: usize = 64 << 10;

/// A release to `to` that the log of a hospital holds.
async fn release(log: &Log, sealed: &Sealed, to: &str) -> Recorded<Release> {
    let consent = asking::with(asking::consent(), |consent| {
        consent["provision"]["actor"] = serde_json::json!([asking::recipient(to)]);
    });
    let mut request = asking::request(vec![asking::on_file(&consent)]);
    request.bundle = sealed.offer.bundle.clone();
    // What was decided on is sealed under the patient's key, so the patient must be known.
    request.case.subject = log.reader().subjects().find_or_create(&request.patient[0]).expect("a subject");
    request.partner.id = to.parse().expect("an id");
    request.partner.country = if to == "mayo" { "US" } else { "DE" }.parse().expect("a country");
    let permit = asking::ask_at(&mut request, NOW).expect("a permit");
    let bundle = SealedBundle {
        bundle: sealed.offer.bundle.clone(),
        case: request.case.id.clone(),
        to: request.partner.id.clone(),
        kind: Kind::Records,
        sealed_sha256: sealed.offer.sealed_sha256,
        sealed_bytes: sealed.offer.sealed_bytes,
        header_bytes: sealed.offer.header_bytes,
        manifest_sha256: Digest::of(b"manifest"),
        recipients: vec![age::x25519::Identity::generate().to_public().to_string()],
    };
    let why = Why { purpose: request.case.purpose.clone(), answers: None, subject: request.case.subject.clone() };
    let release = Release::new(bundle, permit, why, 1).expect("the permit names this bundle");
    log.append(release, Change::default()).await.expect("recorded")
}

fn dispatch() -> Signed {
    Signed { text: "a dispatch".to_owned(), signature: "signed".to_owned() }
}

fn file_of(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    Arc::new(file)
}

fn now() -> Clock {
    Clock::set_to(asking::at(NOW))
}

async fn dial(rig: &Rig) -> Line {
    let limits = Limits { segment_bytes: SEGMENT as u64, ..Limits::default() };
    let endpoint = format!("https://{}", rig.address);
    Line::connect(&rig.hospital.tls, &rig.expert.id, &endpoint, limits).await.expect("a line")
}

fn only_blob(rig: &Rig) -> Vec<u8> {
    let mut names = rig.vault_names("sealed");
    assert_eq!(names.len(), 1);
    std::fs::read(rig.vault_folder("sealed").join(names.remove(0))).expect("a blob")
}

#[tokio::test]
async fn a_release_that_is_cut_off_goes_on_and_arrives_whole() {
    let (rig, (_home, log)) = (Rig::new(Limits::default()).await, Home::in_memory());
    let sealed = Sealed::of(5 * SEGMENT + 3);
    let file = file_of(&sealed.bytes);
    let release = release(&log, &sealed, "heidelberg").await;
    let mut line = dial(&rig).await;
    let state = line.offer(&release).await.expect("taken");
    let acknowledged = Arc::new(Notify::new());
    let heard = Arc::clone(&acknowledged);
    tokio::select! {
        _ = line.send_body(&release, &state, &file, move |_| heard.notify_one()) => panic!("it was not cut off"),
        () = acknowledged.notified() => {}
    }
    drop(line);

    let mut line = dial(&rig).await;
    let state = line.offer(&release).await.expect("taken");
    assert_eq!((state.state, state.have[0].0), (Stage::Open, 200));
    assert!(state.have[0].1 >= 200 + SEGMENT as u64, "what was acknowledged is held: {state:?}");
    let mut sent = 0;
    line.send_body(&release, &state, &file, |bytes| sent += bytes).await.expect("sent");
    assert!(sent <= 4 * SEGMENT as u64 + 3, "{sent} bytes were sent again");
    let receipt = line.hand_over(release, &dispatch(), &file, &now(), || true).await.expect("a receipt");
    assert_eq!(line.ask_receipt(&dispatch().digest()).await.expect("an answer"), Some(receipt));
    assert_eq!(only_blob(&rig), sealed.bytes);
}

#[tokio::test]
async fn a_permit_that_grew_too_old_lets_no_header_go() {
    let (rig, (_home, log)) = (Rig::new(Limits::default()).await, Home::in_memory());
    let sealed = Sealed::of(100);
    let file = file_of(&sealed.bytes);
    let release = release(&log, &sealed, "heidelberg").await;
    let mut line = dial(&rig).await;
    let state = line.offer(&release).await.expect("taken");
    line.send_body(&release, &state, &file, |_| ()).await.expect("sent");
    let later = now();
    later.advance_s(3600);
    let stale = line.hand_over(release, &dispatch(), &file, &later, || true).await.expect_err("a receipt");
    assert!(matches!(stale, DeliverError::Stale), "{stale}");
    let partial = rig.vault_folder("partial").join(rig.vault_names("partial").remove(0));
    assert_eq!(std::fs::read(partial).expect("a partial")[..200], [0; 200], "the header left");
}

#[tokio::test]
async fn a_release_goes_to_its_partner_and_to_nobody_else() {
    let (rig, (_home, log)) = (Rig::new(Limits::default()).await, Home::in_memory());
    let sealed = Sealed::of(100);
    let file = file_of(&sealed.bytes);
    let to_heidelberg = release(&log, &sealed, "heidelberg").await;
    let to_mayo = release(&log, &sealed, "mayo").await;
    let mut line = dial(&rig).await;
    let state = line.offer(&to_heidelberg).await.expect("taken");
    for wrong in [
        line.offer(&to_mayo).await.expect_err("an answer"),
        line.send_body(&to_mayo, &state, &file, |_| ()).await.expect_err("sent"),
        line.hand_over(to_mayo, &dispatch(), &file, &now(), || true).await.expect_err("a receipt"),
    ] {
        assert!(matches!(wrong, DeliverError::WrongLine { .. }), "{wrong}");
    }
    let short = file_of(&sealed.bytes[..299]);
    let wrong = line.send_body(&to_heidelberg, &state, &short, |_| ()).await.expect_err("sent");
    assert!(matches!(wrong, DeliverError::LocalFile { .. }), "{wrong}");
    assert_eq!(line.offer(&to_heidelberg).await.expect("taken").have, []);
}

/// Set `MEDSEAL_EXCHANGE_MIB` for a larger one, and look at the peak of the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_larger_than_all_buffers_arrives_whole() {
    let megabytes = std::env::var("MEDSEAL_EXCHANGE_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    let (rig, (_home, log)) = (Rig::new(Limits::default()).await, Home::in_memory());
    let mut sealed = Sealed::of(1 << 20);
    let mut file = tempfile::tempfile().expect("a file");
    for _ in 0..megabytes {
        file.write_all(&sealed.bytes).expect("written");
    }
    file.rewind().expect("rewound");
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    sealed.offer.sealed_sha256 = Digest::from_bytes(hash.finalize().into());
    sealed.offer.sealed_bytes = file.metadata().expect("metadata").len();
    let (file, release) = (Arc::new(file), release(&log, &sealed, "heidelberg").await);
    let endpoint = format!("https://{}", rig.address);
    let line = Line::connect(&rig.hospital.tls, &rig.expert.id, &endpoint, Limits::default()).await;
    let mut line = line.expect("a line");
    let state = line.offer(&release).await.expect("taken");
    line.send_body(&release, &state, &file, |_| ()).await.expect("sent");
    line.hand_over(release, &dispatch(), &file, &now(), || true).await.expect("a receipt");
    let blob = rig.vault_folder("sealed").join(rig.vault_names("sealed").remove(0));
    assert_eq!(std::fs::metadata(blob).expect("a blob").len(), sealed.offer.sealed_bytes);
}
