//! One HTTP/1.1 connection to one partner, kept alive from request to request.
//!
//! Rule: every wait has an end, every answer a largest size; after an error the line is closed, never reused.

use std::error::Error as _;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::lanes::{Beside, Source};
use super::outgoing::{self, Outgoing};
use super::{DeliverError, Step};
use crate::config;
use crate::id::{Digest, InstitutionId};
use crate::tls::{Tls, TlsFailure};
use crate::wire::{
    self, Code, ErrorAnswer, Handover, Limits, Offer, Pieces, Pong, RecallRequest, RecalledAnswer, ReceiptAnswer,
    RequestId, Target, TransferState, WitnessAnswer, socket,
};

/// A secure line to one partner.
#[derive(Debug)]
pub struct Line {
    sender: Option<SendRequest<Outgoing>>,
    connection: AbortHandle,
    partner: InstitutionId,
    endpoint: String,
    limits: Limits,
    pub(super) beside: Option<Beside>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Line {
    /// Dials the partner at the endpoint of its card, such as `https://HOST:PORT`. Whoever answers there and is not the
    /// partner gets nothing.
    pub async fn connect(
        tls: &Tls,
        partner: &InstitutionId,
        endpoint: &str,
        limits: Limits,
    ) -> Result<Self, DeliverError> {
        let mut line = Self::dial(tls, partner, endpoint, limits.clone()).await?;
        let (tls, partner, endpoint) = (tls.clone(), partner.clone(), endpoint.to_owned());
        line.beside = Some(Beside(Box::new(move || {
            let (tls, partner, endpoint, limits) = (tls.clone(), partner.clone(), endpoint.clone(), limits.clone());
            Box::pin(async move { Self::dial(&tls, &partner, &endpoint, limits).await })
        })));
        Ok(line)
    }

    async fn dial(tls: &Tls, partner: &InstitutionId, endpoint: &str, limits: Limits) -> Result<Self, DeliverError> {
        let no_endpoint = || DeliverError::Endpoint { endpoint: endpoint.to_owned() };
        let unreachable = |source| DeliverError::Unreachable { endpoint: endpoint.to_owned(), source };
        let (host, port) = config::split_endpoint(endpoint).ok_or_else(no_endpoint)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| no_endpoint())?;
        let connector = TlsConnector::from(tls.client_config(partner)?);
        let dialling = timeout(Duration::from_secs(limits.connect_s_max), TcpStream::connect((host, port)));
        let stream = dialling.await.map_err(|_| unreachable(ErrorKind::TimedOut.into()))?.map_err(unreachable)?;
        socket::prepare(&stream, &limits).map_err(unreachable)?;
        let handshake = timeout(Duration::from_secs(limits.handshake_s_max), connector.connect(name, stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(match TlsFailure::of(&error) {
                    TlsFailure::Unreachable => unreachable(error),
                    why => DeliverError::Tls { endpoint: endpoint.to_owned(), why },
                });
            }
            Err(_) => return Err(unreachable(ErrorKind::TimedOut.into())),
        };
        Self::over(stream, partner, endpoint, limits).await.map_err(|error| unreachable(std::io::Error::other(error)))
    }

    /// Speaks HTTP over a stream that is secured already.
    pub(super) async fn over<S>(
        stream: S,
        partner: &InstitutionId,
        endpoint: &str,
        limits: Limits,
    ) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(limits.head_bytes_max.max(WRITE_BYTES))
            .max_headers(limits.head_fields_max)
            .handshake(TokioIo::new(stream))
            .await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a line to a partner broke");
            }
        });
        let connection = task.abort_handle();
        Ok(Self {
            sender: Some(sender),
            connection,
            partner: partner.clone(),
            endpoint: endpoint.to_owned(),
            limits,
            beside: None,
        })
    }

    /// Whom this line leads to.
    pub(super) const fn partner(&self) -> &InstitutionId {
        &self.partner
    }

    /// Who answers, and what time it is there.
    pub async fn ping(&mut self) -> Result<Pong, DeliverError> {
        let call = Call::new(Step::Ping, Method::GET, &Target::Ping);
        self.ask(call, self.limits.idle()).await
    }

    /// The partner's receipt for the dispatch with this digest, not verified; `None` when it has none.
    pub async fn ask_receipt(&mut self, dispatch: &Digest) -> Result<Option<ReceiptAnswer>, DeliverError> {
        let call = Call::new(Step::Receipt, Method::GET, &Target::Receipt(*dispatch));
        match self.ask(call, self.limits.idle()).await {
            Ok(receipt) => Ok(Some(receipt)),
            Err(DeliverError::Refused { code: Code::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the transfer, or learns how far it is.
    pub(super) async fn offer_transfer(&mut self, offer: &Offer) -> Result<TransferState, DeliverError> {
        let call = Call::new(Step::Offer, Method::POST, &Target::Transfers).json(offer);
        let request = call.request.clone();
        let state: TransferState = self.ask(call, self.limits.idle()).await?;
        if state.bundle != offer.bundle || state.sealed_sha256 != offer.sealed_sha256 {
            self.sender = None;
            return Err(DeliverError::BadAnswer { step: Step::Offer, request, why: "it speaks of another transfer" });
        }
        Ok(state)
    }

    /// Sends what the partner does not have of the bytes after the header, several segments at one time: each line waits
    /// until what it brought is durable there, and while one waits the others send.
    pub(super) async fn send_missing(
        &mut self,
        offer: &Offer,
        state: &TransferState,
        file: &Arc<File>,
        acknowledged: impl FnMut(u64) + Send,
    ) -> Result<(), DeliverError> {
        let have: Pieces = state.have.iter().map(|(start, end)| *start..*end).collect();
        let missing = have.missing(&(offer.header_bytes..offer.sealed_bytes));
        let lines = cut(missing.clone(), self.limits.segment_bytes).take(self.limits.segments_in_flight).count();
        let source = Source::new(file, cut(missing, self.limits.segment_bytes), lines);
        let acknowledged = Mutex::new(acknowledged);
        let beside = self.beside.take();
        let helping = async {
            let Some(dial) = &beside else { return Ok(()) };
            let help = || async {
                let helped = async { dial.0().await?.send_from(&source, offer, file, &acknowledged).await };
                match helped.await {
                    Err(error) if error.passes() => {
                        tracing::debug!(%error, "a line beside the first one ended");
                        Ok(())
                    }
                    other => other,
                }
            };
            try_join_all((1..lines).map(|_| help())).await.map(drop)
        };
        let whole = async {
            while source.more().await {
                self.send_from(&source, offer, file, &acknowledged).await?;
            }
            Ok(())
        };
        let outcome = {
            // What ends first ends both: the lines beside are dropped with everything that is on its way on them.
            let (mut helping, mut whole) = (std::pin::pin!(helping), std::pin::pin!(whole));
            tokio::select! {
                biased;
                Err(error) = helping.as_mut() => Err(error),
                outcome = whole.as_mut() => outcome,
            }
        };
        self.beside = beside;
        outcome
    }

    /// Sends segments until none is left to begin.
    async fn send_from(
        &mut self,
        source: &Source<'_>,
        offer: &Offer,
        file: &Arc<File>,
        acknowledged: &Mutex<impl FnMut(u64) + Send>,
    ) -> Result<(), DeliverError> {
        while let Some((range, digest)) = source.next().await? {
            if let Err(error) = self.send_segment(offer, file, range.clone(), &digest).await {
                source.give_back((range, digest));
                return Err(error);
            }
            (acknowledged.lock().unwrap_or_else(PoisonError::into_inner))(range.end - range.start);
            source.acknowledged();
        }
        Ok(())
    }

    async fn send_segment(
        &mut self,
        offer: &Offer,
        file: &Arc<File>,
        range: Range<u64>,
        sha256: &Digest,
    ) -> Result<(), DeliverError> {
        let bytes = range.end - range.start;
        let complete = range.end == offer.sealed_bytes;
        let call = Call::new(Step::Body, Method::PATCH, &Target::Transfer(offer.id()))
            .field(wire::UPLOAD_OFFSET, HeaderValue::from(range.start))
            .field(wire::UPLOAD_COMPLETE, HeaderValue::from_static(wire::write_boolean(complete)))
            .field(wire::CONTENT_DIGEST, text_value(&wire::write_content_digest(sha256)))
            .body(bytes, outgoing::body(Arc::clone(file), range));
        let (step, request) = (call.step, call.request.clone());
        let response = self.send(call, self.limits.arrival(bytes) + self.limits.idle()).await?;
        self.none_expected(step, request, response).await
    }

    /// Gives the transfer up: the partner drops what it has of it.
    pub(super) async fn abandon_transfer(&mut self, offer: &Offer) -> Result<(), DeliverError> {
        let call = Call::new(Step::Abandon, Method::DELETE, &Target::Transfer(offer.id()));
        let (step, request) = (call.step, call.request.clone());
        let response = self.send(call, self.limits.idle()).await?;
        self.none_expected(step, request, response).await
    }

    /// Brings a recall. What comes back is not verified.
    pub(super) async fn post_recall(&mut self, recall: &RecallRequest) -> Result<RecalledAnswer, DeliverError> {
        self.ask(Call::new(Step::Recall, Method::POST, &Target::Recalls).json(recall), self.limits.idle()).await
    }

    /// Hands over the header with the dispatch. What comes back is not verified.
    pub(super) async fn hand_over_header(
        &mut self,
        offer: &Offer,
        handover: &Handover,
    ) -> Result<ReceiptAnswer, DeliverError> {
        let call = Call::new(Step::Handover, Method::POST, &Target::Handover(offer.id())).json(handover);
        self.ask(call, self.limits.handover(offer.sealed_bytes)).await
    }

    /// Asks for a signature under a checkpoint of our log. What comes back is not verified.
    pub async fn add_checkpoint(&mut self, body: String) -> Result<WitnessAnswer, DeliverError> {
        let length = body.len() as u64;
        let call = Call::new(Step::Witness, Method::POST, &Target::AddCheckpoint)
            .body(length, Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
        self.ask_text(call).await
    }

    /// What the partner saw last of the log whose name has this SHA-256. What comes back is not verified.
    pub async fn seen_checkpoint(&mut self, origin: Digest) -> Result<WitnessAnswer, DeliverError> {
        self.ask_text(Call::new(Step::Witness, Method::GET, &Target::SeenCheckpoint(origin))).await
    }

    async fn ask_text(&mut self, call: Call) -> Result<WitnessAnswer, DeliverError> {
        let (step, request) = (call.step, call.request.clone());
        let response = self.send(call, self.limits.idle()).await?;
        let (status, whole) = self.collect(step, &request, response).await?;
        match String::from_utf8(whole.into()) {
            Ok(body) => Ok(WitnessAnswer { status: status.as_u16(), body }),
            Err(_) => Err(DeliverError::BadAnswer { step, request, why: "its body is not text" }),
        }
    }

    async fn ask<T: DeserializeOwned>(&mut self, call: Call, patience: Duration) -> Result<T, DeliverError> {
        let (step, request) = (call.step, call.request.clone());
        let response = self.send(call, patience).await?;
        let (status, whole) = self.collect(step, &request, response).await?;
        if !status.is_success() {
            return Err(self.refused(step, request, status, &whole));
        }
        serde_json::from_slice(&whole).map_err(|_| {
            self.sender = None;
            DeliverError::BadAnswer { step, request, why: "its body is not the JSON expected" }
        })
    }

    async fn none_expected(
        &mut self,
        step: Step,
        request: RequestId,
        response: Response<Incoming>,
    ) -> Result<(), DeliverError> {
        let (status, whole) = self.collect(step, &request, response).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        if status.is_success() {
            self.sender = None;
            return Err(DeliverError::BadAnswer { step, request, why: "this is acknowledged with 204" });
        }
        Err(self.refused(step, request, status, &whole))
    }

    /// Waits until the partner has read all that was sent: then the next request leaves at once.
    pub(super) async fn be_ready(&mut self) -> Result<(), DeliverError> {
        let mut sender = self.sender.take().ok_or_else(|| behind(None))?;
        match timeout(self.limits.idle(), sender.ready()).await {
            Ok(Ok(())) => {
                self.sender = Some(sender);
                Ok(())
            }
            Ok(Err(error)) => Err(behind(Some(error))),
            Err(_) => Err(behind(None)),
        }
    }

    async fn send(&mut self, call: Call, patience: Duration) -> Result<Response<Incoming>, DeliverError> {
        let (step, request) = (call.step, call.request.clone());
        let message = call.message(&self.endpoint);
        // Taken out, and put back only after an answer came: whatever goes wrong, the line is not used again.
        let Some(mut sender) = self.sender.take() else {
            return Err(DeliverError::BrokenLine { step, request, source: None });
        };
        let exchange = async {
            sender.ready().await?;
            sender.send_request(message).await
        };
        let broken = |source| DeliverError::BrokenLine { step, request, source };
        let response = match timeout(patience, exchange).await {
            Ok(Ok(response)) => response,
            // Whoever has the header and then says that it does not know us has the header.
            Ok(Err(error)) if matches!(step, Step::Handover) => return Err(broken(Some(error))),
            Ok(Err(error)) => return Err(self.refused_certificate(&error).unwrap_or_else(|| broken(Some(error)))),
            Err(_) => return Err(broken(None)),
        };
        self.sender = Some(sender);
        Ok(response)
    }

    /// With TLS 1.3 a client learns only at its first request that its certificate was not accepted.
    fn refused_certificate(&self, error: &hyper::Error) -> Option<DeliverError> {
        let mut cause = error.source();
        while let Some(inner) = cause {
            match inner.downcast_ref().map(TlsFailure::of) {
                Some(
                    why @ (TlsFailure::RefusedByPeer
                    | TlsFailure::NotYet
                    | TlsFailure::OutOfDate
                    | TlsFailure::WrongIdentity),
                ) => {
                    return Some(DeliverError::Tls { endpoint: self.endpoint.clone(), why });
                }
                _ => cause = inner.source(),
            }
        }
        None
    }

    async fn collect(
        &mut self,
        step: Step,
        request: &RequestId,
        response: Response<Incoming>,
    ) -> Result<(StatusCode, Bytes), DeliverError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), self.limits.json_bytes_max);
        match timeout(self.limits.idle(), body.collect()).await {
            Ok(Ok(whole)) => Ok((status, whole.to_bytes())),
            Ok(Err(error)) => {
                self.sender = None;
                let request = request.clone();
                Err(match error.downcast::<hyper::Error>() {
                    Ok(source) => DeliverError::BrokenLine { step, request, source: Some(*source) },
                    Err(_) => DeliverError::BadAnswer { step, request, why: "it is larger than any answer may be" },
                })
            }
            Err(_) => {
                self.sender = None;
                Err(DeliverError::BrokenLine { step, request: request.clone(), source: None })
            }
        }
    }

    fn refused(&mut self, step: Step, request: RequestId, status: StatusCode, whole: &[u8]) -> DeliverError {
        if step == Step::Body {
            // The rest of the segment may still be on its way.
            self.sender = None;
        }
        match serde_json::from_slice::<ErrorAnswer>(whole) {
            Ok(answer) if answer.code.status() == status.as_u16() => {
                DeliverError::Refused { step, code: answer.code, request }
            }
            _ => {
                self.sender = None;
                DeliverError::BadAnswer { step, request, why: "its error is not one of this protocol" }
            }
        }
    }
}

/// One request before it is sent.
struct Call {
    step: Step,
    request: RequestId,
    message: Request<Outgoing>,
}

impl Call {
    fn new(step: Step, method: Method, target: &Target) -> Self {
        let request = RequestId::random();
        let mut message = Request::new(empty());
        *message.method_mut() = method;
        *message.uri_mut() = target.to_string().parse().expect("a target's path is plain ASCII");
        message.headers_mut().insert(wire::REQUEST_ID, text_value(request.as_str()));
        Self { step, request, message }
    }

    fn field(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.message.headers_mut().insert(name, value);
        self
    }

    fn json<T: Serialize>(mut self, value: &T) -> Self {
        let text = serde_json::to_vec(value).expect("a request's fields all have a JSON form");
        let length = text.len() as u64;
        self.message.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body(length, Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
    }

    fn body(mut self, bytes: u64, body: Outgoing) -> Self {
        self.message.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        *self.message.body_mut() = body;
        self
    }

    fn message(mut self, endpoint: &str) -> Request<Outgoing> {
        let authority = endpoint.trim_start_matches("https://").trim_end_matches('/');
        self.message.headers_mut().insert(header::HOST, text_value(authority));
        self.message
    }
}

/// Cuts ranges into segments of at most `segment_bytes`.
fn cut(ranges: Vec<Range<u64>>, segment_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let step = segment_bytes.max(1);
    ranges.into_iter().flat_map(move |range| {
        let pieces = (range.end - range.start).div_ceil(step);
        (0..pieces).map(move |piece| {
            let start = range.start + piece * step;
            start..start + step.min(range.end - start)
        })
    })
}

fn empty() -> Outgoing {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a field of ours is plain ASCII")
}

/// How much is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 512 << 10;

/// The line broke while what was sent before was still on its way.
fn behind(source: Option<hyper::Error>) -> DeliverError {
    DeliverError::BrokenLine { step: Step::Body, request: RequestId::random(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_into_segments_without_gap_or_overlap() {
        let cut = |ranges, bytes| cut(ranges, bytes).collect::<Vec<_>>();
        assert_eq!(cut(vec![10..35, 40..41], 10), [10..20, 20..30, 30..35, 40..41]);
        assert_eq!(cut(vec![], 10), []);
        assert_eq!(cut(vec![0..9, 10..u64::MAX], u64::MAX), [0..9, 10..u64::MAX]);
    }
}
