//! Does a line reach the partner, only the partner, and say plainly when it does not?

use medseal::deliver::{DeliverError, Line};
use medseal::id::Digest;
use medseal::reason::Reason;
use medseal::tls::TlsFailure;
use medseal::wire::{Code, Limits};
use tokio::net::TcpListener;

use crate::exchange_rig::{Institution, Rig, Sealed};

async fn dial(rig: &Rig, from: &Institution) -> Result<Line, DeliverError> {
    Line::connect(&from.tls, &rig.expert.id, &format!("https://{}", rig.address), Limits::default()).await
}

#[tokio::test]
async fn a_partner_is_pinged_and_asked_for_receipts_on_one_line() {
    let rig = Rig::new(Limits::default()).await;
    let mut line = dial(&rig, &rig.hospital).await.expect("a line");
    assert_eq!(line.ping().await.expect("an answer").institution, rig.expert.id);
    let dispatch = Digest::of(b"d");
    assert_eq!(line.ask_receipt(&dispatch).await.expect("an answer"), None);
    let (mut raw, sealed) = (rig.dial(&rig.hospital).await, Sealed::of(10));
    raw.offer(&sealed).await;
    raw.segment(&sealed, 200..210).await;
    raw.hand_over(&sealed, "d").await;
    let receipt = line.ask_receipt(&dispatch).await.expect("an answer").expect("a receipt");
    assert!(receipt.receipt.contains(&dispatch.to_string()));
}

#[tokio::test]
async fn an_outage_a_stranger_and_a_refusal_are_told_apart() {
    let rig = Rig::new(Limits::default()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let tls = &rig.hospital.tls;
    let connect = async |partner: &Institution, endpoint: String| {
        Line::connect(tls, &partner.id, &endpoint, Limits::default()).await.expect_err("a line")
    };
    let away = connect(&rig.expert, format!("https://{closed}")).await;
    assert!(matches!(away, DeliverError::Unreachable { .. }), "{away}");
    let nonsense = connect(&rig.expert, "http://127.0.0.1".to_owned()).await;
    assert!(matches!(nonsense, DeliverError::Endpoint { .. }) && !nonsense.passes(), "{nonsense}");
    let unknown = connect(&rig.clinic, format!("https://{}", rig.address)).await;
    assert_eq!(unknown.reason(), Reason::PartnerUnknown);
    // Another institution answers at the partner's address.
    let impostor = Institution::new("heidelberg");
    rig.hospital.trusts(&[&impostor]);
    let stranger = connect(&impostor, format!("https://{}", rig.address)).await;
    assert!(matches!(stranger, DeliverError::Tls { why: TlsFailure::WrongIdentity, .. }), "{stranger}");
}

#[tokio::test]
async fn a_sender_that_is_not_known_learns_it_at_its_first_request() {
    let rig = Rig::new(Limits::default()).await;
    let mut suspended = dial(&rig, &rig.clinic).await.expect("a line");
    rig.front.suspended.lock().expect("a lock").insert(rig.clinic.id.clone());
    let refused = suspended.ping().await.expect_err("an answer");
    assert!(matches!(refused, DeliverError::Refused { code: Code::Refused, .. }), "{refused}");
    rig.expert.trusts(&[]);
    let mut removed = dial(&rig, &rig.hospital).await.expect("the client's side is done");
    let refused = removed.ping().await.expect_err("an answer");
    assert!(matches!(refused, DeliverError::Tls { why: TlsFailure::RefusedByPeer, .. }), "{refused}");
    assert_eq!(refused.reason(), Reason::PartnerRefused);
}
