//! Is the same dispatch one delivery, and does nobody else's word count for a receipt? Two real gateways, and a line
//! or a door on which the test says what a gateway never would.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use medseal::config::PostQuantum;
use medseal::id::{BundleId, CaseId, Digest, InstitutionId};
use medseal::keys::Keys;
use medseal::receive;
use medseal::statement::dispatch::Dispatch;
use medseal::tls::{PeerTrust, Tls};
use medseal::vault::Vault;
use medseal::wire::{Code, Handover, Limits, Offer, ReceiptAnswer, Target};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use crate::exchange_rig::{Raw, Sealed, front};
use crate::site::{Pair, Site};
use crate::withdrawal_recall::sealed_files;

const BUSY: u16 = 503;

fn id(site: &Site) -> InstitutionId {
    site.id.parse().expect("an id")
}

/// The TLS of a site, which trusts one other.
fn tls(of: &Site, trusting: &Site) -> Tls {
    let keys = |site: &Site| Keys::open(&site.home.join("keys")).expect("the keys of a home");
    let tls = Tls::new(&keys(of), PostQuantum::Require).expect("a TLS");
    tls.set_peers(vec![PeerTrust { id: id(trusting), certificates: vec![keys(trusting).ca_certificate().clone()] }]);
    tls
}

/// A line to a running gateway, on which the test speaks as `from`.
pub(crate) async fn dial(from: &Site, to: &Site) -> Raw {
    let stream = TcpStream::connect(("127.0.0.1", to.port)).await.expect("the port is open");
    let config = tls(from, to).client_config(&id(to)).expect("a partner");
    let name = ServerName::try_from("localhost").expect("a name");
    Raw(TlsConnector::from(config).connect(name, stream).await.expect("a handshake"))
}

/// A bundle that was delivered, and what its sender would hand over once more.
pub(crate) struct Delivered {
    pub(crate) offer: Offer,
    pub(crate) handover: Handover,
    pub(crate) receipt: ReceiptAnswer,
}

pub(crate) fn delivered(pair: &Pair) -> Delivered {
    let sent = pair.send(&["--wait"]).ok();
    let bundle = sent.text("bundle");
    let folder = tempfile::tempdir().expect("a folder");
    pair.institute.run(&["inbox", &bundle, "--save", folder.path().to_str().expect("a path")]).ok();
    let sealed = std::fs::read(folder.path().join(format!("{bundle}.age"))).expect("the sealed file");
    let mac = sealed.windows(5).position(|bytes| bytes == b"\n--- ").expect("an age header") + 1;
    let header_bytes = mac + sealed[mac..].iter().position(|byte| *byte == b'\n').expect("its last line") + 1;
    let item = pair.institute.run(&["inbox", &bundle]).ok();
    let status = pair.hospital.run(&["status", &bundle]).ok();
    let receipt = |field: &str| status.json["receipt"][field].as_str().expect("a receipt").to_owned();
    Delivered {
        offer: Offer {
            bundle: bundle.parse().expect("a bundle"),
            sealed_sha256: Digest::of(&sealed),
            sealed_bytes: sealed.len() as u64,
            header_bytes: header_bytes as u64,
        },
        handover: Handover {
            dispatch: item.text("dispatch"),
            signature: item.text("signature"),
            notices: BASE64.decode(item.text("notices")).expect("base64"),
            header: sealed[..header_bytes].to_vec(),
        },
        receipt: ReceiptAnswer { receipt: receipt("text"), signature: receipt("signature") },
    }
}

/// What the institute has: its inbox, and how many entries its log holds.
pub(crate) fn holdings(site: &Site) -> (usize, u64) {
    let inbox = site.run(&["inbox"]).ok().json["items"].as_array().expect("a list").len();
    (inbox, site.run(&["audit", "verify"]).ok().json["entries"].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_dispatch_again_and_on_two_lines_at_once_is_one_delivery_with_the_same_receipt() {
    let pair = Pair::ready();
    let sent = delivered(&pair);
    let before = holdings(&pair.institute);
    assert_eq!(before.0, 1);
    let target = Target::Handover(sent.offer.id());
    let again = async || {
        loop {
            let mut line = dial(&pair.hospital, &pair.institute).await;
            let offered = line.post(&Target::Transfers, &sent.offer).await;
            // While the other line is at the same transfer, this one is told to try again.
            if offered.status == BUSY {
                continue;
            }
            assert_eq!(offered.status, 200, "the transfer is whole already");
            let answer = line.post(&target, &sent.handover).await;
            if answer.status == BUSY {
                continue;
            }
            assert_eq!(answer.status, 200, "{answer:?}");
            return answer.json::<ReceiptAnswer>();
        }
    };
    assert_eq!(again().await, sent.receipt);
    let (one, other) = tokio::join!(again(), again());
    assert_eq!((one, other), (sent.receipt.clone(), sent.receipt.clone()));
    let mut line = dial(&pair.hospital, &pair.institute).await;
    let asked = line.ask("GET", &Target::Receipt(Digest::of(sent.handover.dispatch.as_bytes()))).await;
    assert_eq!(asked.json::<ReceiptAnswer>(), sent.receipt);
    assert_eq!(holdings(&pair.institute), before, "nothing was stored or recorded a second time");
}

/// The same bundle, signed for once more by its true sender, with another meaning.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_there_gets_no_second_meaning() {
    let pair = Pair::ready();
    let sent = delivered(&pair);
    let before = holdings(&pair.institute);
    let keys = Keys::open(&pair.hospital.home.join("keys")).expect("the keys of a home");
    let dispatch: Dispatch = serde_json::from_str(&sent.handover.dispatch).expect("a dispatch");
    let changes: [fn(&mut Dispatch); 2] = [
        |dispatch| dispatch.case = CaseId::random(),
        |dispatch| dispatch.purpose = "HRESCH".parse().expect("a purpose"),
    ];
    for change in changes {
        let mut other = dispatch.clone();
        change(&mut other);
        let signed = other.sign(keys.signer());
        let handover = Handover { dispatch: signed.text, signature: signed.signature, ..sent.handover.clone() };
        let mut line = dial(&pair.hospital, &pair.institute).await;
        assert_eq!(line.post(&Target::Transfers, &sent.offer).await.status, 200, "the transfer is whole already");
        let answer = line.post(&Target::Handover(sent.offer.id()), &handover).await;
        assert_ne!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(holdings(&pair.institute), before, "no case, no entry, no receipt");
}

/// A partner that lies about the size could otherwise fill the disk with files that nothing names.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_after_it_was_put_together_leaves_no_file() {
    let pair = Pair::ready();
    let sent = delivered(&pair);
    let before = (holdings(&pair.institute), sealed_files(&pair.institute));
    let keys = Keys::open(&pair.hospital.home.join("keys")).expect("the keys of a home");
    let dispatch: Dispatch = serde_json::from_str(&sent.handover.dispatch).expect("a dispatch");
    let content = [sent.handover.header.clone(), b"noise".to_vec()].concat();
    let offer = Offer {
        bundle: BundleId::random(),
        sealed_sha256: Digest::of(&content),
        sealed_bytes: content.len() as u64,
        header_bytes: sent.handover.header.len() as u64,
    };
    let lie = Dispatch {
        bundle: offer.bundle.clone(),
        sealed_sha256: offer.sealed_sha256,
        sealed_bytes: offer.sealed_bytes + 1,
        ..dispatch
    };
    let signed = lie.sign(keys.signer());
    let handover = Handover { dispatch: signed.text, signature: signed.signature, ..sent.handover.clone() };
    let mut line = dial(&pair.hospital, &pair.institute).await;
    assert_eq!(line.post(&Target::Transfers, &offer).await.status, 201);
    let range = sent.handover.header.len()..content.len();
    let sealed = Sealed { bytes: content, offer: offer.clone() };
    assert_eq!(line.segment(&sealed, range).await.status, 204);
    let answer = line.post(&Target::Handover(offer.id()), &handover).await;
    assert_ne!(answer.status, 200, "{answer:?}");
    assert_eq!((holdings(&pair.institute), sealed_files(&pair.institute)), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatch_on_the_line_of_another_partner_is_refused_and_tells_it_nothing() {
    let pair = Pair::ready();
    let sent = delivered(&pair);
    let mut clinic = Site::init(pair.folder.path(), "clinic", "IN");
    clinic.start();
    pair.institute.befriend(&clinic);
    let before = holdings(&pair.institute).0;
    let mut line = dial(&clinic, &pair.institute).await;
    let asked = line.ask("GET", &Target::Receipt(Digest::of(sent.handover.dispatch.as_bytes()))).await;
    assert_eq!(asked.code(), Code::NotFound);
    // The same answer whether it has a transfer of that name or not: nothing to learn from it.
    assert_eq!(line.post(&Target::Handover(sent.offer.id()), &sent.handover).await.code(), Code::Signature);
    assert_eq!(line.post(&Target::Transfers, &sent.offer).await.status, 201);
    assert_eq!(line.post(&Target::Handover(sent.offer.id()), &sent.handover).await.code(), Code::Signature);
    assert_eq!(holdings(&pair.institute).0, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_another_bundle_delivers_nothing_and_the_true_one_still_does() {
    let mut pair = Pair::ready();
    // Genuine, signed by the institute itself: only that it speaks of the bundle before.
    let receipt = delivered(&pair).receipt;
    pair.institute.stop();

    let folder = tempfile::tempdir().expect("a folder");
    Vault::create(&folder.path().join("vault"), 0).expect("a vault");
    // It has the institute's own certificate, takes every byte, and answers with that receipt.
    let liar = front(folder.path(), &id(&pair.institute), &Limits::default(), Some(receipt));
    let listener = TcpListener::bind(("127.0.0.1", pair.institute.port)).await.expect("the institute's port");
    let (stop, stopped) = oneshot::channel::<()>();
    let door = receive::serve(listener, tls(&pair.institute, &pair.hospital), liar, Limits::default(), async move {
        drop(stopped.await);
    });
    let door = tokio::spawn(door);

    let bundle = pair.send(&[]).ok().text("bundle");
    let deadline = Instant::now() + Duration::from_mins(1);
    let refused = loop {
        assert!(Instant::now() < deadline, "no attempt was refused: {}", pair.hospital.log());
        let shown = pair.hospital.run(&["status", &bundle]).ok();
        assert_ne!(shown.text("state"), "delivered", "{}", shown.stdout);
        if shown.json["reason"] == "BAD_RECEIPT" {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(refused.json["receipt"].is_null(), "{}", refused.stdout);
    stop.send(()).expect("the door is open");
    door.await.expect("it ended well");

    pair.institute.start();
    let status = pair.hospital.wait_for(&bundle, &["delivered"]);
    assert!(status.stdout.contains("BAD_RECEIPT"), "the attempt stays on record: {}", status.stdout);
    assert_eq!(holdings(&pair.institute).0, 2, "both bundles, each once");
    for site in [&pair.hospital, &pair.institute] {
        site.run(&["audit", "verify"]).ok();
    }
}
