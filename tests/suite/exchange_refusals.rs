//! Is everything refused that must be, with a code and nothing else, and does nothing of it stay?

use medseal::id::Digest;
use medseal::tls::TlsFailure;
use medseal::wire::{self, Code, Limits, Offer, Pong, Target};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange_rig::{Institution, Rig, Sealed};

#[tokio::test]
async fn a_wrong_digest_counts_for_nothing() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(100));
    line.offer(&sealed).await;
    let mut wrong = sealed.bytes[200..300].to_vec();
    wrong[50] ^= 1;
    let head = sealed.segment_head(200..300);
    assert_eq!(line.segment_as(&sealed, &head, &wrong).await.code(), Code::Digest);
    assert_eq!(line.offer(&sealed).await.have, []);
    assert_eq!(line.segment(&sealed, 200..300).await.status, 204);
    assert_eq!(line.hand_over(&sealed, "d").await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_held_are_never_written_again() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(100));
    line.offer(&sealed).await;
    assert_eq!(line.segment(&sealed, 200..260).await.status, 204);
    let other = vec![0; 100];
    let mut head = sealed.segment_head(200..300);
    head[2].1 = wire::write_content_digest(&Digest::of(&other[1..]));
    assert_eq!(line.segment_as(&sealed, &head, &other).await.code(), Code::Digest);
    assert_eq!(line.segment(&sealed, 260..300).await.status, 204);
    assert_eq!(line.hand_over(&sealed, "d").await.status, 200);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_counts_for_nothing() {
    let rig = Rig::new(Limits::default()).await;
    let sealed = Sealed::of(100);
    let mut line = rig.dial(&rig.hospital).await;
    line.offer(&sealed).await;
    line.head("PATCH", &sealed.target().to_string(), &sealed.segment_head(200..300)).await;
    line.write(&sealed.bytes[200..250]).await;
    tokio::io::AsyncWriteExt::shutdown(&mut line.0).await.expect("shut down");
    line.closed().await;
    let mut line = rig.dial(&rig.hospital).await;
    assert_eq!(line.offer(&sealed).await.have, []);
    // What comes after the announced length is the next request, and not a good one.
    line.head("PATCH", &sealed.target().to_string(), &sealed.segment_head(200..250)).await;
    line.write(&sealed.bytes[200..300]).await;
    assert_eq!(line.answer(true).await.expect("an answer").status, 204);
    assert_eq!(line.answer(true).await.expect("an answer").status, 400);
    line.closed().await;
    assert_eq!(rig.dial(&rig.hospital).await.offer(&sealed).await.have, [(200, 250)]);
}

#[tokio::test]
async fn two_framings_or_none_are_refused() {
    let rig = Rig::new(Limits::default()).await;
    let sealed = Sealed::of(100);
    rig.dial(&rig.hospital).await.offer(&sealed).await;
    let mut head = sealed.segment_head(200..300);
    head[3] = ("transfer-encoding", "chunked".to_owned());
    let response = rig.dial(&rig.hospital).await.segment_as(&sealed, &head, b"0\r\n\r\n").await;
    assert_eq!(response.code(), Code::BadRequest);
    head.push(("content-length", "100".to_owned()));
    let mut line = rig.dial(&rig.hospital).await;
    line.head("PATCH", &sealed.target().to_string(), &head).await;
    line.write(b"0\r\n\r\n").await;
    assert_eq!(line.answer(true).await.map(|response| response.status), Some(400));
    assert_eq!(rig.dial(&rig.hospital).await.offer(&sealed).await.have, []);
}

#[tokio::test]
async fn the_place_of_the_header_is_filled_by_the_handover_alone() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(100));
    line.offer(&sealed).await;
    for range in [0..100, 0..200, 199..300, 0..300] {
        assert_eq!(line.segment(&sealed, range).await.code(), Code::Offset);
    }
    assert_eq!(line.segment(&sealed, 200..300).await.status, 204);
    let name = rig.vault_names("partial").remove(0);
    let partial = std::fs::read(rig.vault_folder("partial").join(name)).expect("a partial");
    assert_eq!(partial[..200], [0; 200], "the header was there before the handover");
}

#[tokio::test]
async fn positions_that_do_not_fit_are_refused() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(100));
    line.offer(&sealed).await;
    let mut past = sealed.segment_head(250..300);
    past[0].1 = "251".to_owned();
    assert_eq!(line.segment_as(&sealed, &past, &sealed.bytes[250..300]).await.code(), Code::Offset);
    past[0].1 = u64::MAX.to_string();
    assert_eq!(line.segment_as(&sealed, &past, &sealed.bytes[250..300]).await.code(), Code::Offset);
    let mut early_end = sealed.segment_head(200..250);
    early_end[1].1 = "?1".to_owned();
    assert_eq!(line.segment_as(&sealed, &early_end, &sealed.bytes[200..250]).await.code(), Code::Offset);
    for (field, value) in [(0, "-1"), (0, "0x10"), (1, "true"), (2, "sha-256=:AA==:"), (2, "")] {
        let mut head = sealed.segment_head(200..300);
        head[field].1 = value.to_owned();
        assert_eq!(line.segment_as(&sealed, &head, &sealed.bytes[200..300]).await.code(), Code::BadRequest, "{value}");
    }
    assert_eq!(line.offer(&sealed).await.have, []);
}

#[tokio::test]
async fn what_exceeds_a_limit_is_refused() {
    let limits = Limits {
        sealed_bytes_max: 10_000,
        header_bytes_max: 300,
        segment_bytes_max: 1000,
        transfers_per_partner_max: 2,
        pieces_max: 3,
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut line = rig.dial(&rig.hospital).await;
    let sample = Sealed::of(5000);
    let offers = [
        (Offer { sealed_bytes: 10_001, ..sample.offer.clone() }, Code::Limit),
        (Offer { header_bytes: 301, ..sample.offer.clone() }, Code::Limit),
        (Offer { header_bytes: 0, ..sample.offer.clone() }, Code::BadRequest),
        (Offer { sealed_bytes: 199, ..sample.offer.clone() }, Code::BadRequest),
    ];
    for (offer, code) in offers {
        assert_eq!(line.post(&Target::Transfers, &offer).await.code(), code, "{offer:?}");
    }
    line.offer(&sample).await;
    let otherwise = Offer { sealed_bytes: 300, ..sample.offer.clone() };
    assert_eq!(line.post(&Target::Transfers, &otherwise).await.code(), Code::Conflict);
    assert_eq!(line.segment(&sample, 200..1201).await.code(), Code::Limit);
    for start in [200, 400, 600] {
        assert_eq!(line.segment(&sample, start..start + 100).await.status, 204);
    }
    assert_eq!(line.segment(&sample, 800..900).await.code(), Code::Limit, "a fourth piece");
    assert_eq!(line.segment(&sample, 300..400).await.status, 204, "a piece that joins two");
    line.offer(&Sealed::of(1)).await;
    assert_eq!(line.post(&Target::Transfers, &Sealed::of(1).offer).await.code(), Code::Limit, "a third transfer");
    rig.dial(&rig.clinic).await.offer(&Sealed::of(1)).await;
}

#[tokio::test]
async fn a_bundle_larger_than_the_disk_is_refused_before_it_is_sent() {
    let rig = Rig::new(Limits { sealed_bytes_max: u64::MAX, ..Limits::default() }).await;
    let offer = Offer { sealed_bytes: 1 << 60, ..Sealed::of(1).offer };
    assert_eq!(rig.dial(&rig.hospital).await.post(&Target::Transfers, &offer).await.code(), Code::NoRoom);
    assert_eq!(rig.vault_names("partial"), Vec::<String>::new());
}

#[tokio::test]
async fn huge_heads_and_bodies_are_refused() {
    let rig = Rig::new(Limits::default()).await;
    let mut line = rig.dial(&rig.hospital).await;
    line.head("GET", "/exchange/v1/ping", &[("x", "y".repeat(20_000))]).await;
    assert_eq!(line.answer(true).await.expect("an answer").status, 431);
    let mut line = rig.dial(&rig.hospital).await;
    let many: Vec<_> = (0..40).map(|_| ("x", "y".to_owned())).collect();
    line.head("GET", "/exchange/v1/ping", &many).await;
    assert_eq!(line.answer(true).await.expect("an answer").status, 431);
    let mut line = rig.dial(&rig.hospital).await;
    line.head("POST", "/exchange/v1/transfers", &[("content-length", (1_u64 << 40).to_string())]).await;
    assert_eq!(line.answer(true).await.expect("an answer").code(), Code::Limit);
}

#[tokio::test]
async fn a_sender_that_stalls_is_cut_off() {
    let limits = Limits { idle_s_max: 1, handshake_s_max: 1, ..Limits::default() };
    let rig = Rig::new(limits).await;
    let sealed = Sealed::of(1000);
    rig.dial(&rig.hospital).await.offer(&sealed).await;
    let in_handshake = async {
        let mut stream = TcpStream::connect(rig.address).await.expect("a port");
        drop(stream.read_to_end(&mut Vec::new()).await);
    };
    let at_rest = async { rig.dial(&rig.hospital).await.closed().await };
    let in_head = async {
        let mut line = rig.dial(&rig.hospital).await;
        line.write(b"GET /exchange/v1/ping HT").await;
        line.closed().await;
    };
    let in_body = async {
        let mut line = rig.dial(&rig.hospital).await;
        line.head("PATCH", &sealed.target().to_string(), &sealed.segment_head(200..1200)).await;
        line.write(&sealed.bytes[200..300]).await;
        let response = line.answer(true).await;
        assert_eq!(response.map(|response| response.code()), Some(Code::Slow));
        line.closed().await;
    };
    tokio::join!(in_handshake, at_rest, in_head, in_body);
    assert_eq!(rig.dial(&rig.hospital).await.offer(&sealed).await.have, []);
}

#[tokio::test]
async fn a_stranger_gets_nothing_and_a_suspension_bites_at_once() {
    let rig = Rig::new(Limits::default()).await;
    let stranger = Institution::new("stranger");
    stranger.trusts(&[&rig.expert]);
    let stream = TcpStream::connect(rig.address).await.expect("a port");
    let config = stranger.tls.client_config(&rig.expert.id).expect("a partner");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut line = TlsConnector::from(config).connect(name, stream).await.expect("the client's side is done");
    let error = line.read_to_end(&mut Vec::new()).await.expect_err("a stranger was served");
    assert_eq!(TlsFailure::of(&error), TlsFailure::RefusedByPeer);

    let (mut hospital, mut clinic) = (rig.dial(&rig.hospital).await, rig.dial(&rig.clinic).await);
    let pong: Pong = hospital.ask("GET", &Target::Ping).await.json();
    assert_eq!(pong.institution, rig.expert.id);
    rig.front.suspended.lock().expect("a lock").insert(rig.hospital.id.clone());
    assert_eq!(hospital.ask("GET", &Target::Ping).await.code(), Code::Refused);
    hospital.closed().await;
    assert_eq!(clinic.ask("GET", &Target::Ping).await.status, 200);
    // Off the list of peers altogether, on a line that stands.
    rig.expert.trusts(&[&rig.hospital]);
    assert_eq!(clinic.ask("GET", &Target::Ping).await.code(), Code::Refused);
}

#[tokio::test]
async fn a_partner_never_sees_another_partners_transfer() {
    let rig = Rig::new(Limits::default()).await;
    let sealed = Sealed::of(100);
    let (mut hospital, mut clinic) = (rig.dial(&rig.hospital).await, rig.dial(&rig.clinic).await);
    hospital.offer(&sealed).await;
    assert_eq!(clinic.ask("HEAD", &sealed.target()).await.status, 404);
    assert_eq!(clinic.segment(&sealed, 200..300).await.code(), Code::NotFound);
    assert_eq!(clinic.hand_over(&sealed, "d").await.code(), Code::NotFound);
    assert_eq!(hospital.segment(&sealed, 200..300).await.status, 204);
    assert_eq!(hospital.hand_over(&sealed, "d").await.status, 200);
    assert_eq!(clinic.ask("HEAD", &sealed.target()).await.status, 404);
    assert_eq!(clinic.hand_over(&sealed, "d").await.code(), Code::NotFound);
    assert_eq!(clinic.ask("GET", &Target::Receipt(Digest::of(b"d"))).await.code(), Code::NotFound);
    // The same ids, offered by another partner, are another transfer.
    assert_eq!(clinic.offer(&sealed).await.have, []);
}

#[tokio::test]
async fn a_whole_that_is_not_what_was_offered_is_never_stored() {
    let rig = Rig::new(Limits::default()).await;
    let (mut line, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(100));
    line.offer(&sealed).await;
    line.segment(&sealed, 200..300).await;
    let mut handover = sealed.handover("d");
    handover.header.push(b'h');
    let target = Target::Handover(sealed.offer.id());
    assert_eq!(line.post(&target, &handover).await.code(), Code::Digest);
    assert_eq!(line.ask("HEAD", &sealed.target()).await.status, 200, "a header of another length costs nothing");
    handover.header = vec![b'x'; 200];
    assert_eq!(line.post(&target, &handover).await.code(), Code::Digest);
    assert_eq!(rig.vault_names("sealed"), Vec::<String>::new());
    assert_eq!(line.ask("HEAD", &sealed.target()).await.status, 404, "it begins again");
    line.offer(&sealed).await;
    line.segment(&sealed, 200..300).await;
    assert_eq!(line.hand_over(&sealed, "d").await.status, 200);
    handover = wire::Handover { dispatch: "e".to_owned(), header: b"xh".to_vec(), ..handover };
    assert_eq!(line.post(&target, &handover).await.code(), Code::Digest);
}

#[tokio::test]
async fn paths_methods_and_queries_that_do_not_exist_are_refused() {
    let rig = Rig::new(Limits::default()).await;
    let mut line = rig.dial(&rig.hospital).await;
    for (method, path, code) in [
        ("GET", "/", Code::NotFound),
        ("GET", "/exchange/v1/transfers", Code::Method),
        ("PUT", "/exchange/v1/ping", Code::Method),
        ("GET", "/exchange/v1/ping?x=1", Code::BadRequest),
        ("GET", "/exchange/v1/../v1/ping", Code::NotFound),
    ] {
        line.head(method, path, &[("request-id", "mine-1".to_owned())]).await;
        let response = line.answer(true).await.expect("an answer");
        assert_eq!(response.code(), code, "{method} {path}");
        assert_eq!(response.field(wire::REQUEST_ID), Some("mine-1"));
    }
    let response = line.post(&Target::Transfers, &"not an offer").await;
    assert_eq!(response.code(), Code::BadRequest);
}

#[tokio::test]
async fn one_partner_cannot_take_all_connections() {
    let limits = Limits { connections_per_partner_max: 1, connections_max: 8, ..Limits::default() };
    let rig = Rig::new(limits).await;
    let mut first = rig.dial(&rig.hospital).await;
    assert_eq!(first.ask("GET", &Target::Ping).await.status, 200);
    rig.dial(&rig.hospital).await.closed().await;
    assert_eq!(rig.dial(&rig.clinic).await.ask("GET", &Target::Ping).await.status, 200);
    assert_eq!(first.ask("GET", &Target::Ping).await.status, 200);
}

#[tokio::test]
async fn a_connection_ends_after_its_share_of_requests() {
    let rig = Rig::new(Limits { requests_per_connection_max: 2, ..Limits::default() }).await;
    let mut line = rig.dial(&rig.hospital).await;
    assert_eq!(line.ask("GET", &Target::Ping).await.field("connection"), None);
    assert_eq!(line.ask("GET", &Target::Ping).await.field("connection"), Some("close"));
    line.closed().await;
}
