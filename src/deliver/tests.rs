//! The sending end against partners that answer what a test tells them to.

mod beside;

use std::io::Write as _;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use std::fs::File;
use std::sync::Arc;

use super::*;
use crate::id::{BundleId, Digest};
use crate::wire::{self, Handover, Limits, Offer, Stage, TransferState};

/// What a request was: its head and its body.
type Asked = (String, Vec<u8>);

/// A partner that answers one request after the other with these texts, then closes; what it was asked is kept.
fn partner(mut line: DuplexStream, answers: Vec<String>) -> Arc<Mutex<Vec<Asked>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let Some(request) = read_request(&mut line).await else { return };
            kept.lock().unwrap().push(request);
            line.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    asked
}

async fn read_request(line: &mut DuplexStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(line.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    line.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn line(answers: Vec<String>) -> (Line, Arc<Mutex<Vec<Asked>>>) {
    let (ours, theirs) = duplex(1 << 16);
    let asked = partner(theirs, answers);
    (Line::over(ours, &"expert".parse().unwrap(), "https://expert.example:8443", limits()).await.unwrap(), asked)
}

fn limits() -> Limits {
    Limits { segment_bytes: 100, ..Limits::default() }
}

/// 20 bytes of header and 230 of body.
fn sealed() -> (Arc<File>, Vec<u8>, Offer) {
    let bytes: Vec<u8> = (0..250).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let offer = Offer {
        bundle: BundleId::random(),
        sealed_sha256: Digest::of(&bytes),
        sealed_bytes: bytes.len() as u64,
        header_bytes: 20,
    };
    (Arc::new(file), bytes, offer)
}

fn state(offer: &Offer, have: Vec<(u64, u64)>) -> TransferState {
    TransferState { bundle: offer.bundle.clone(), sealed_sha256: offer.sealed_sha256, have, state: Stage::Open }
}

fn handover() -> Handover {
    Handover { dispatch: "{}".to_owned(), signature: "s".to_owned(), notices: Vec::new(), header: vec![0; 20] }
}

fn error(code: Code) -> String {
    answer(&code.status().to_string(), &format!("{{\"code\":\"{code}\",\"request\":\"r\"}}"))
}

#[tokio::test]
async fn only_what_the_partner_misses_is_sent_and_never_the_header() {
    let (file, bytes, offer) = sealed();
    let acknowledged = answer("204", "");
    let (mut line, asked) = line(vec![acknowledged.clone(), acknowledged.clone(), acknowledged]).await;
    let mut counted = Vec::new();
    // What a partner claims of the header's place, or past the end, changes nothing.
    let state = state(&offer, vec![(0, 20), (120, 170), (400, 300), (250, 999)]);
    line.send_missing(&offer, &state, &file, |bytes| counted.push(bytes)).await.unwrap();
    assert_eq!(counted, [100, 80]);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    for ((head, body), (range, complete)) in asked.iter().zip([(20..120, "?0"), (170..250, "?1")]) {
        assert_eq!(*body, bytes[range.clone()]);
        let digest = wire::write_content_digest(&Digest::of(body));
        for field in [
            format!("PATCH /exchange/v1/transfers/{} HTTP/1.1", offer.id()),
            format!("upload-offset: {}", range.start),
            format!("upload-complete: {complete}"),
            format!("content-digest: {digest}"),
            "host: expert.example:8443".to_owned(),
        ] {
            assert!(head.lines().any(|line| line == field), "{field} is not in {head}");
        }
    }
}

#[tokio::test]
async fn a_partner_that_has_nothing_still_gets_no_header() {
    let (file, bytes, offer) = sealed();
    let (mut line, asked) = line(vec![answer("204", ""); 3]).await;
    line.send_missing(&offer, &state(&offer, vec![]), &file, |_| ()).await.unwrap();
    let sent: Vec<u8> = asked.lock().unwrap().iter().flat_map(|(_, body)| body.clone()).collect();
    assert_eq!(sent, bytes[20..]);
}

#[tokio::test]
async fn a_file_that_is_shorter_than_its_release_is_an_error_and_not_an_end() {
    let (file, _, offer) = sealed();
    file.set_len(200).unwrap();
    let (mut line, _) = line(vec![answer("204", ""), answer("204", "")]).await;
    let error = line.send_missing(&offer, &state(&offer, vec![]), &file, |_| ()).await.unwrap_err();
    assert!(matches!(error, DeliverError::LocalFile { .. }), "{error}");
}

/// It acknowledges a segment before it has read it, so that the header would wait behind it for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_partner_that_acknowledges_what_it_has_not_read_gets_nothing_behind_it() {
    let (file, _, offer) = sealed();
    let (ours, mut theirs) = duplex(64);
    tokio::spawn(async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(theirs.read_u8().await.unwrap());
        }
        theirs.write_all(answer("204", "").as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let whole = Limits { segment_bytes: 1000, ..Limits::default() };
    let mut line = Line::over(ours, &"expert".parse().unwrap(), "https://expert.example:8443", whole).await.unwrap();
    line.send_missing(&offer, &state(&offer, vec![]), &file, |_| ()).await.unwrap();
    let error = line.be_ready().await.unwrap_err();
    assert!(matches!(error, DeliverError::BrokenLine { step: Step::Body, .. }), "{error}");
    assert!(!error.outcome_is_unknown(), "the header never left");
}

#[tokio::test]
async fn every_refusal_is_a_code_and_only_some_pass() {
    for code in Code::ALL {
        let (mut line, _) = line(vec![error(*code)]).await;
        let refused = line.hand_over_header(&sealed().2, &handover()).await.unwrap_err();
        assert!(matches!(refused, DeliverError::Refused { code: found, .. } if found == *code), "{refused}");
        assert_eq!(refused.passes(), matches!(code, Code::Internal | Code::Slow | Code::Busy | Code::NoRoom));
        // It has the header, whatever it says.
        assert!(refused.outcome_is_unknown(), "{code}");
    }
}

#[tokio::test]
async fn a_line_that_breaks_in_the_handover_leaves_the_outcome_unknown() {
    let (file, _, offer) = sealed();
    for text in ["", "HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{"] {
        let (mut line, _) = line(vec![text.to_owned()]).await;
        let broken = line.hand_over_header(&offer, &handover()).await.unwrap_err();
        assert!(matches!(broken, DeliverError::BrokenLine { step: Step::Handover, .. }), "{broken}");
        assert!(broken.outcome_is_unknown());
        assert_eq!(broken.reason(), Reason::OutcomeUnknown);
        // Nor is the line used again.
        assert!(matches!(line.ping().await, Err(DeliverError::BrokenLine { source: None, .. })));
    }
    let (mut line, _) = line(vec![answer("204", "")]).await;
    let broken = line.send_missing(&offer, &state(&offer, vec![]), &file, |_| ()).await.unwrap_err();
    assert!(matches!(broken, DeliverError::BrokenLine { step: Step::Body, .. }), "{broken}");
    assert!(!broken.outcome_is_unknown(), "without its header the partner holds noise");
    assert_eq!(broken.reason(), Reason::PartnerUnreachable);
}

#[tokio::test]
async fn answers_that_are_not_of_this_protocol_are_told_apart() {
    let offer = sealed().2;
    let other = serde_json::to_string(&state(&sealed().2, vec![])).unwrap();
    let large = " ".repeat(limits().json_bytes_max + 1);
    for text in [
        answer("200", &other),
        answer("200", "<html>"),
        answer("200", &large),
        answer("502", "<html>bad gateway</html>"),
        answer("302", ""),
        // A code under another status than its own.
        answer("500", "{\"code\":\"NO_ROOM\",\"request\":\"r\"}"),
    ] {
        let too_large = text.len() > limits().json_bytes_max;
        let (mut line, _) = line(vec![text.clone()]).await;
        let bad = line.offer_transfer(&offer).await.unwrap_err();
        assert!(matches!(bad, DeliverError::BadAnswer { step: Step::Offer, .. }), "{bad} at {text:.60}");
        assert_eq!(bad.to_string().contains("larger"), too_large, "{bad}");
        assert!(!bad.outcome_is_unknown());
    }
    let (mut line, _) = line(vec![answer("200", "{\"receipt\":1}")]).await;
    assert!(line.hand_over_header(&offer, &handover()).await.unwrap_err().outcome_is_unknown());
}

#[tokio::test]
async fn a_receipt_that_is_not_there_is_no_error() {
    let given = "{\"receipt\":\"r\",\"signature\":\"s\"}";
    let (mut line, asked) = line(vec![error(Code::NotFound), answer("200", given), error(Code::Busy)]).await;
    let dispatch = Digest::of(b"d");
    assert_eq!(line.ask_receipt(&dispatch).await.unwrap(), None);
    assert_eq!(line.ask_receipt(&dispatch).await.unwrap().unwrap().receipt, "r");
    assert!(line.ask_receipt(&dispatch).await.is_err());
    let path = format!("GET /exchange/v1/receipts/{dispatch} HTTP/1.1");
    assert!(asked.lock().unwrap().iter().all(|(head, _)| head.starts_with(&path)));
}

#[tokio::test(start_paused = true)]
async fn a_partner_that_says_nothing_is_not_waited_for_for_ever() {
    let (ours, theirs) = duplex(1 << 10);
    let mut line = Line::over(ours, &"expert".parse().unwrap(), "https://expert.example", limits()).await.unwrap();
    let start = tokio::time::Instant::now();
    let broken = line.ping().await.unwrap_err();
    assert!(matches!(broken, DeliverError::BrokenLine { source: None, .. }), "{broken}");
    assert_eq!(start.elapsed(), limits().idle());
    drop(theirs);
}
