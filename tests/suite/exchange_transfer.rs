//! Does what is sent arrive, whole and once, whatever happens on the way?

use medseal::id::Digest;
use medseal::wire::{self, Code, Limits, ReceiptAnswer, Stage, Target};

use tokio::io::AsyncWriteExt as _;

use crate::exchange_rig::{Raw, Rig, Sealed};

const SEGMENT: usize = 64 << 10;

async fn send_all(line: &mut Raw, sealed: &Sealed) {
    for start in (200..sealed.bytes.len()).step_by(SEGMENT) {
        let response = line.segment(sealed, start..sealed.bytes.len().min(start + SEGMENT)).await;
        assert_eq!(response.status, 204, "{response:?}");
    }
}

fn stored(rig: &Rig) -> Vec<Vec<u8>> {
    let names = rig.vault_names("sealed");
    names.iter().map(|name| std::fs::read(rig.vault_folder("sealed").join(name)).expect("a blob")).collect()
}

#[tokio::test]
async fn a_bundle_of_any_size_arrives_whole() {
    let rig = Rig::new(Limits::default()).await;
    let mut line = rig.dial(&rig.hospital).await;
    for (count, size) in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 7, 5 << 20].into_iter().enumerate() {
        let sealed = Sealed::of(size);
        assert_eq!(line.offer(&sealed).await.have, []);
        send_all(&mut line, &sealed).await;
        let response = line.hand_over(&sealed, "a dispatch").await;
        if count == 0 {
            assert_eq!(response.status, 200, "{response:?}");
        }
        let response = line.hand_over(&sealed, &format!("dispatch {size}")).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert!(stored(&rig).contains(&sealed.bytes), "{size} bytes are not there");
        assert_eq!(line.offer(&sealed).await.state, Stage::Stored);
    }
    assert_eq!(rig.vault_names("partial"), Vec::<String>::new());
}

#[tokio::test]
async fn segments_in_any_order_that_overlap_arrive_whole() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(1000));
    line.offer(&sealed).await;
    for range in [700..1200, 300..500, 400..800, 300..500] {
        let response = line.segment(&sealed, range).await;
        assert_eq!((response.status, response.field(wire::UPLOAD_OFFSET)), (204, Some("200")), "{response:?}");
    }
    assert_eq!(line.offer(&sealed).await.have, [(300, 1200)]);
    assert_eq!(line.hand_over(&sealed, "too early").await.code(), Code::Incomplete);
    let response = line.segment(&sealed, 200..310).await;
    assert_eq!((response.status, response.field(wire::UPLOAD_OFFSET)), (204, Some("1200")), "{response:?}");
    assert_eq!(line.hand_over(&sealed, "d").await.status, 200);
    assert_eq!(stored(&rig), [sealed.bytes]);
}

#[tokio::test]
async fn segments_on_several_lines_at_one_time_arrive_whole() {
    let rig = Rig::new(Limits::default()).await;
    let sealed = Sealed::of(4 * SEGMENT);
    rig.dial(&rig.hospital).await.offer(&sealed).await;
    let bring = async |number: usize| {
        let start = 200 + number * SEGMENT;
        let response = rig.dial(&rig.hospital).await.segment(&sealed, start..start + SEGMENT).await;
        assert_eq!(response.status, 204, "{response:?}");
    };
    tokio::join!(bring(3), bring(1), bring(0), bring(2));
    assert_eq!(rig.dial(&rig.hospital).await.hand_over(&sealed, "d").await.status, 200);
    assert_eq!(stored(&rig), [sealed.bytes]);
}

#[tokio::test]
async fn a_line_cut_within_a_segment_loses_that_segment_alone() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(3 * SEGMENT));
    line.offer(&sealed).await;
    assert_eq!(line.segment(&sealed, 200..200 + SEGMENT).await.status, 204);
    let second = 200 + SEGMENT..200 + 2 * SEGMENT;
    line.head("PATCH", &sealed.target().to_string(), &sealed.segment_head(second.clone())).await;
    line.write(&sealed.bytes[second.start..second.start + SEGMENT / 2]).await;
    drop(line);

    let mut line = rig.dial(&rig.hospital).await;
    assert_eq!(line.offer(&sealed).await.have, [(200, 200 + SEGMENT as u64)]);
    let head = line.ask("HEAD", &sealed.target()).await;
    assert_eq!(head.field(wire::UPLOAD_OFFSET), Some((200 + SEGMENT).to_string().as_str()));
    assert_eq!(head.field(wire::UPLOAD_LENGTH), Some(sealed.bytes.len().to_string().as_str()));
    assert_eq!(line.segment(&sealed, second).await.status, 204);
    assert_eq!(line.segment(&sealed, 200 + 2 * SEGMENT..200 + 3 * SEGMENT).await.status, 204);
    assert_eq!(line.hand_over(&sealed, "d").await.status, 200);
    assert_eq!(stored(&rig), [sealed.bytes]);
}

#[tokio::test]
async fn a_newer_segment_takes_over_from_one_that_hangs() {
    let rig = Rig::new(Limits::default()).await;
    let (mut hanging, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(SEGMENT));
    hanging.offer(&sealed).await;
    hanging.head("PATCH", &sealed.target().to_string(), &sealed.segment_head(200..200 + SEGMENT)).await;
    hanging.write(&sealed.bytes[200..300]).await;

    let mut line = rig.dial(&rig.hospital).await;
    assert_eq!(line.segment(&sealed, 200..200 + SEGMENT).await.status, 204);
    hanging.write(&sealed.bytes[300..200 + SEGMENT]).await;
    assert_eq!(line.hand_over(&sealed, "d").await.status, 200);
    assert_eq!(stored(&rig), [sealed.bytes]);
}

#[tokio::test]
async fn a_receiver_that_restarts_goes_on_where_it_was() {
    let mut rig = Rig::new(Limits::default()).await;
    let (whole, half, done) = (Sealed::of(SEGMENT), Sealed::of(2 * SEGMENT), Sealed::of(10));
    let mut line = rig.dial(&rig.hospital).await;
    for sealed in [&whole, &half, &done] {
        line.offer(sealed).await;
        assert_eq!(line.segment(sealed, 200..sealed.bytes.len().min(200 + SEGMENT)).await.status, 204);
    }
    assert_eq!(line.hand_over(&done, "d").await.status, 200);
    drop(line);
    rig.restart().await;

    let mut line = rig.dial(&rig.hospital).await;
    assert_eq!(line.offer(&done).await.state, Stage::Stored);
    assert_eq!(line.offer(&half).await.have, [(200, 200 + SEGMENT as u64)]);
    assert_eq!(line.hand_over(&whole, "e").await.status, 200);
    assert_eq!(line.segment(&half, 200 + SEGMENT..200 + 2 * SEGMENT).await.status, 204);
    assert_eq!(line.hand_over(&half, "f").await.status, 200);
    let stored = stored(&rig);
    assert!([whole.bytes, half.bytes, done.bytes].iter().all(|bytes| stored.contains(bytes)));
    assert_eq!(rig.vault_names("partial"), Vec::<String>::new());
}

#[tokio::test]
async fn the_same_dispatch_again_gives_the_same_receipt_and_another_one_another() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(100));
    let asked = Target::Receipt(Digest::of(b"first"));
    line.offer(&sealed).await;
    line.segment(&sealed, 200..300).await;
    assert_eq!(line.ask("GET", &asked).await.code(), Code::NotFound);
    let first = line.hand_over(&sealed, "first").await;
    assert_eq!(first.body, line.hand_over(&sealed, "first").await.body);
    assert_eq!(first.body, line.ask("GET", &asked).await.body);
    let second = line.hand_over(&sealed, "second").await;
    let name = |receipt: ReceiptAnswer| receipt.receipt.split(' ').next_back().expect("a name").to_owned();
    assert_ne!(first.body, second.body);
    assert_eq!(name(first.json()), name(second.json()));
    assert_eq!(stored(&rig), [sealed.bytes]);
}

#[tokio::test]
async fn a_sender_that_hangs_up_in_the_handover_finds_its_receipt_later() {
    let rig = Rig::new(Limits { connections_per_partner_max: 1, ..Limits::default() }).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(1000));
    line.offer(&sealed).await;
    line.segment(&sealed, 200..1200).await;
    let closed = rig.front.gate.write().await;
    let body = serde_json::to_vec(&sealed.handover("d")).expect("json");
    let path = Target::Handover(sealed.offer.id()).to_string();
    line.head("POST", &path, &[("content-length", body.len().to_string())]).await;
    line.write(&body).await;
    rig.front.begun.notified().await;
    drop(line);
    // Only one connection each: when the next one is served, the first one has ended at the other side too.
    let mut line = loop {
        let mut line = rig.dial(&rig.hospital).await;
        let asked = line.0.write_all(b"GET /exchange/v1/ping HTTP/1.1\r\nhost: expert\r\n\r\n").await;
        if asked.is_ok() && line.answer(true).await.is_some() {
            break line;
        }
    };
    drop(closed);
    while line.ask("GET", &Target::Receipt(Digest::of(b"d"))).await.status == 404 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stored(&rig), [sealed.bytes]);
}
