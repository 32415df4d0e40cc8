//! One connection of one partner: requests in, answers out.
//!
//! Rule: an answer that is not a success is a code and a request id. Every request asks anew whether the partner is
//! known, and every body is read within its limits.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use super::shares::Shares;
use super::{Body, Caller, Reception};
use crate::audit::witness::SUBMISSION_BYTES_MAX;
use crate::id::InstitutionId;
use crate::wire::{
    self, Code, ErrorAnswer, Limits, Progress, RequestId, SegmentHead, Target, TransferId, WitnessAnswer,
};

/// What all connections share.
pub(super) struct Desk {
    reception: Arc<dyn Reception>,
    limits: Limits,
    segments: Shares,
}

impl Desk {
    pub(super) fn new(reception: Arc<dyn Reception>, limits: Limits) -> Arc<Self> {
        let segments = Shares::new(limits.segments_max, limits.segments_per_partner_max);
        Arc::new(Self { reception, limits, segments })
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Who is at the other end of a connection, and whether it still may be.
#[derive(Clone)]
pub(super) struct Peer {
    institution: InstitutionId,
    may_stay: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Peer {
    pub(super) fn new(institution: InstitutionId, may_stay: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { institution, may_stay: Arc::new(may_stay) }
    }
}

/// Serves one connection until either side ends it, its time is over, or `shutdown` comes.
pub(super) async fn converse<S>(desk: Arc<Desk>, peer: Peer, stream: S, shutdown: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = desk.limits.clone();
    let served = AtomicU64::new(0);
    let service = service_fn(|request| {
        let last = served.fetch_add(1, Ordering::Relaxed) + 1 >= limits.requests_per_connection_max;
        let (desk, peer) = (Arc::clone(&desk), peer.clone());
        async move {
            let mut response = respond(&desk, peer, request).await;
            if last {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle())
        .max_buf_size(limits.head_bytes_max.max(READ_BYTES))
        .max_header_size(limits.head_bytes_max)
        .max_headers(limits.head_fields_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = leave(shutdown, Duration::from_secs(limits.connection_s_max)) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(partner = %peer.institution, %error, "a partner's connection broke");
    }
}

async fn leave(shutdown: impl Future<Output = ()>, age_max: Duration) {
    // A timer that runs out and a shutdown mean the same here: no new request on this connection.
    let _elapsed = tokio::time::timeout(age_max, shutdown).await;
}

async fn respond(desk: &Desk, peer: Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let id = one(request.headers(), wire::REQUEST_ID).and_then(|text| text.parse().ok());
    let known = (peer.may_stay)() && desk.reception.knows(&peer.institution);
    let caller = Caller { institution: peer.institution, request: id.unwrap_or_else(RequestId::random) };
    let (parts, incoming) = request.into_parts();
    let announced = announced_bytes(&parts.headers);
    let mut body = Body::new(incoming, announced.ok().flatten().unwrap_or(0), &desk.limits);
    let outcome = match announced {
        _ if !known => Err(Code::Refused),
        Err(code) => Err(code),
        Ok(announced) => answer(desk, &caller, &parts, announced, &mut body).await,
    };
    let method = &parts.method;
    let mut response = match outcome {
        Ok(response) => {
            tracing::debug!(partner = %caller.institution, request = %caller.request, %method, "request answered");
            response
        }
        Err(code) => {
            tracing::info!(partner = %caller.institution, request = %caller.request, %method, %code, "request refused");
            if code != Code::Slow && !parts.headers.contains_key(header::EXPECT) {
                // Closing while bytes still come in resets the line, and the sender would never hear why.
                body.drain(DRAIN).await;
            }
            refusal(&caller, code)
        }
    };
    let name = HeaderValue::from_str(caller.request.as_str()).expect("a request id is letters, digits, - and _");
    response.headers_mut().insert(wire::REQUEST_ID, name);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(
    desk: &Desk,
    caller: &Caller,
    parts: &Parts,
    announced: Option<u64>,
    body: &mut Body,
) -> Result<Response<Full<Bytes>>, Code> {
    if parts.uri.query().is_some() || parts.uri.authority().is_some() {
        return Err(Code::BadRequest);
    }
    let target = Target::parse(parts.uri.path()).ok_or(Code::NotFound)?;
    match (&parts.method, target) {
        (&Method::POST, Target::Transfers) => {
            let offer = read_json(desk, announced, body).await?;
            let state = desk.reception.offer(caller, offer).await?;
            let status = if state.have.is_empty() { StatusCode::CREATED } else { StatusCode::OK };
            Ok(json(status, &state))
        }
        (&Method::PATCH, Target::Transfer(transfer)) => {
            let head = segment_head(&parts.headers, announced)?;
            segment(desk, caller, &transfer, head, body).await
        }
        (&Method::POST, Target::Handover(transfer)) => {
            let handover = read_json(desk, announced, body).await?;
            let (reception, caller) = (Arc::clone(&desk.reception), caller.clone());
            // In a task of its own: a sender that hangs up must not leave a bundle stored but not recorded.
            let task = tokio::spawn(async move { reception.hand_over(&caller, &transfer, handover).await });
            Ok(json(StatusCode::OK, &task.await.map_err(|_| Code::Internal)??))
        }
        (&Method::POST, Target::Recalls) => {
            let recall = read_json(desk, announced, body).await?;
            let (reception, caller) = (Arc::clone(&desk.reception), caller.clone());
            // In a task of its own, as above: what is recorded as recalled is destroyed, whoever still listens.
            let task = tokio::spawn(async move { reception.recall(&caller, recall).await });
            Ok(json(StatusCode::OK, &task.await.map_err(|_| Code::Internal)??))
        }
        (&Method::DELETE, Target::Transfer(transfer)) => {
            none_announced(announced)?;
            desk.reception.abandon(caller, &transfer).await?;
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        (&Method::HEAD, Target::Transfer(transfer)) => {
            none_announced(announced)?;
            Ok(progress(StatusCode::OK, desk.reception.progress(caller, &transfer).await?))
        }
        (&Method::GET, Target::Receipt(dispatch)) => {
            none_announced(announced)?;
            let receipt = desk.reception.receipt(caller, &dispatch).await?.ok_or(Code::NotFound)?;
            Ok(json(StatusCode::OK, &receipt))
        }
        (&Method::POST, Target::AddCheckpoint) => {
            if announced.ok_or(Code::BadRequest)? > SUBMISSION_BYTES_MAX as u64 {
                return Err(Code::Limit);
            }
            let whole = body.whole().await.map_err(|error| error.code())?;
            let (reception, caller) = (Arc::clone(&desk.reception), caller.clone());
            // In a task of its own, as above: what is remembered is signed.
            let task = tokio::spawn(async move { reception.add_checkpoint(&caller, &whole).await });
            Ok(plain(task.await.map_err(|_| Code::Internal)??))
        }
        (&Method::GET, Target::SeenCheckpoint(origin)) => {
            none_announced(announced)?;
            let note = desk.reception.seen_checkpoint(caller, &origin).await?.ok_or(Code::NotFound)?;
            Ok(plain(WitnessAnswer { status: 200, body: note }))
        }
        (&Method::GET, Target::Ping) => {
            none_announced(announced)?;
            Ok(json(StatusCode::OK, &desk.reception.ping()))
        }
        _ => Err(Code::Method),
    }
}

async fn segment(
    desk: &Desk,
    caller: &Caller,
    transfer: &TransferId,
    head: SegmentHead,
    body: &mut Body,
) -> Result<Response<Full<Bytes>>, Code> {
    if head.bytes > desk.limits.segment_bytes_max {
        return Err(Code::Limit);
    }
    let _share = desk.segments.take(&caller.institution).ok_or(Code::Busy)?;
    Ok(progress(StatusCode::NO_CONTENT, desk.reception.segment(caller, transfer, head, body).await?))
}

fn segment_head(headers: &HeaderMap, announced: Option<u64>) -> Result<SegmentHead, Code> {
    let field = |name| one(headers, name).ok_or(Code::BadRequest);
    Ok(SegmentHead {
        offset: wire::read_count(field(wire::UPLOAD_OFFSET)?).ok_or(Code::BadRequest)?,
        bytes: announced.ok_or(Code::BadRequest)?,
        sha256: wire::read_content_digest(field(wire::CONTENT_DIGEST)?).ok_or(Code::BadRequest)?,
        complete: wire::read_boolean(field(wire::UPLOAD_COMPLETE)?).ok_or(Code::BadRequest)?,
    })
}

/// The size that a request announces. Chunked bodies are not taken: without a size nothing can be refused early, and two
/// framings in one request are how requests are smuggled.
fn announced_bytes(headers: &HeaderMap) -> Result<Option<u64>, Code> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Code::BadRequest);
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(None);
    }
    one(headers, header::CONTENT_LENGTH.as_str()).and_then(wire::read_count).map(Some).ok_or(Code::BadRequest)
}

fn none_announced(announced: Option<u64>) -> Result<(), Code> {
    if announced.unwrap_or(0) == 0 { Ok(()) } else { Err(Code::BadRequest) }
}

async fn read_json<T: DeserializeOwned>(desk: &Desk, announced: Option<u64>, body: &mut Body) -> Result<T, Code> {
    if announced.ok_or(Code::BadRequest)? > desk.limits.json_bytes_max as u64 {
        return Err(Code::Limit);
    }
    let whole = body.whole().await.map_err(|error| error.code())?;
    serde_json::from_slice(&whole).map_err(|_| Code::BadRequest)
}

/// The value of a field that stands exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(value).expect("an answer's fields all have a JSON form");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer of the witness; with a conflict goes the size alone.
fn plain(answer: WitnessAnswer) -> Response<Full<Bytes>> {
    let kind = if answer.status == 409 { wire::TLOG_SIZE } else { "text/plain; charset=utf-8" };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a witness answers with valid statuses");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn progress(status: StatusCode, progress: Progress) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(wire::UPLOAD_OFFSET, HeaderValue::from(progress.offset));
    response.headers_mut().insert(wire::UPLOAD_LENGTH, HeaderValue::from(progress.length));
    response
}

fn refusal(caller: &Caller, code: Code) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(code.status()).expect("every code has a valid status");
    let mut response = json(status, &ErrorAnswer { code, request: caller.request.clone() });
    if matches!(code, Code::Refused | Code::Slow) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// How much of a request is read ahead, in bytes: large enough that a body does not come in crumbs.
const READ_BYTES: usize = 128 << 10;

/// How long the rest of a refused body is read past.
const DRAIN: Duration = Duration::from_secs(5);
