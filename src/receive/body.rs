//! The bytes of one request as they arrive.
//!
//! Rule: a body that stops, crawls or is longer than announced ends with an error; nobody waits for it for ever.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, timeout_at};

use crate::wire::{Code, Limits};

/// The bytes of one request, piece by piece, within its limits of time and size.
pub struct Body {
    inner: UnsyncBoxBody<Bytes, BodyError>,
    remaining: u64,
    idle: Duration,
    deadline: Instant,
}

/// Why a body did not arrive whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The line broke, or the framing was not HTTP.
    #[error("the line broke inside the body")]
    Line(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More bytes came than were announced.
    #[error("more bytes came than were announced")]
    TooLong,
    /// Fewer bytes came than were announced.
    #[error("{missing} announced bytes did not come")]
    TooShort {
        /// How many.
        missing: u64,
    },
    /// Nothing came for too long, or all of it took too long.
    #[error("the body did not arrive in time")]
    Slow,
}

impl BodyError {
    /// What the partner learns, if the line still stands.
    pub const fn code(&self) -> Code {
        match self {
            Self::Slow => Code::Slow,
            Self::Line(_) | Self::TooLong | Self::TooShort { .. } => Code::BadRequest,
        }
    }
}

impl Body {
    /// A body of exactly `bytes` bytes; the time that it may take begins now.
    pub fn new<B>(inner: B, bytes: u64, limits: &Limits) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        Self {
            inner: inner.map_err(|error| BodyError::Line(Box::new(error))).boxed_unsync(),
            remaining: bytes,
            idle: limits.idle(),
            deadline: Instant::now() + limits.arrival(bytes),
        }
    }

    /// The next piece; `None` when all announced bytes have come.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let until = self.deadline.min(Instant::now() + self.idle);
            let frame = timeout_at(until, self.inner.frame()).await.map_err(|_| BodyError::Slow)?;
            let Some(frame) = frame else {
                return if self.remaining == 0 {
                    Ok(None)
                } else {
                    Err(BodyError::TooShort { missing: self.remaining })
                };
            };
            let Ok(data) = frame?.into_data() else { continue };
            self.remaining = self.remaining.checked_sub(data.len() as u64).ok_or(BodyError::TooLong)?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// All of it, for bodies that are small by their announced size.
    pub async fn whole(&mut self) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::with_capacity(usize::try_from(self.remaining).unwrap_or(0).min(WHOLE_BYTES_AHEAD));
        while let Some(piece) = self.chunk().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Reads on without looking, so that a sender in the middle of its body hears the answer; gives up after `patience`.
    pub async fn drain(&mut self, patience: Duration) {
        self.deadline = self.deadline.min(Instant::now() + patience);
        while let Ok(Some(_)) = self.chunk().await {}
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

/// No more than this is set aside for a body on the strength of its announced size alone, in bytes.
const WHOLE_BYTES_AHEAD: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn limits() -> Limits {
        Limits::default()
    }

    #[tokio::test]
    async fn a_body_of_another_size_than_announced_is_refused() {
        let body = |announced| Body::new(Full::new(Bytes::from_static(b"12345")), announced, &limits());
        assert_eq!(body(5).whole().await.expect("whole"), b"12345");
        assert!(matches!(body(6).whole().await, Err(BodyError::TooShort { missing: 1 })));
        assert!(matches!(body(4).whole().await, Err(BodyError::TooLong)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_or_crawls_ends() {
        let silent = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
        let mut body = Body::new(StreamBody::new(silent), 5, &limits());
        let start = Instant::now();
        assert!(matches!(body.chunk().await, Err(BodyError::Slow)));
        assert_eq!(start.elapsed().as_secs(), 30);

        let crawling = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"."))), ()))
        });
        let mut body = Body::new(StreamBody::new(Box::pin(crawling)), 1 << 20, &limits());
        let start = Instant::now();
        assert!(matches!(body.whole().await, Err(BodyError::Slow)));
        assert_eq!(start.elapsed().as_secs(), 30 + 64);
    }
}
