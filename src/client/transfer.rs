//! Bytes of any length between a blocking reader or writer and the line, a few pieces at a time.
//!
//! Rule: an upload that is dropped before [`Upload::finish`] breaks the connection, so that half a stream is never
//! taken for a whole one.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ApiError;

/// Bytes on their way to the gateway.
pub struct Upload<'a> {
    runtime: &'a Runtime,
    pieces: mpsc::Sender<Piece>,
    answer: JoinHandle<Result<Value, ApiError>>,
    buffer: BytesMut,
}

/// Bytes on their way from the gateway.
pub struct Download<'a> {
    runtime: &'a Runtime,
    body: Incoming,
    piece: Bytes,
}

enum Piece {
    Data(Bytes),
    End,
}

/// The two ends of an upload: pieces go in, the body of a request comes out.
pub(super) fn channel() -> (Pieces, StreamBody<impl Stream<Item = Result<Frame<Bytes>, io::Error>> + Send + 'static>) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let body = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(Frame::data(bytes)), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the upload was given up")), None)),
        }
    });
    (Pieces(sender), StreamBody::new(body))
}

/// Where the pieces of an upload go in.
pub(super) struct Pieces(mpsc::Sender<Piece>);

impl<'a> Upload<'a> {
    pub(super) fn new(runtime: &'a Runtime, pieces: Pieces, answer: JoinHandle<Result<Value, ApiError>>) -> Self {
        Self { runtime, pieces: pieces.0, answer, buffer: BytesMut::with_capacity(PIECE_BYTES) }
    }

    /// Ends the stream and waits for the answer.
    pub fn finish(mut self) -> Result<Value, ApiError> {
        // When this fails the gateway has answered before the end: its answer says why.
        let sent = self.send_buffer().and_then(|()| self.send(Piece::End));
        drop(sent);
        self.answer()
    }

    /// Waits for the answer of a gateway that stopped reading before the end.
    pub fn answer(self) -> Result<Value, ApiError> {
        let Self { runtime, pieces, answer, .. } = self;
        drop(pieces);
        runtime.block_on(answer).map_err(|error| ApiError::Broke(error.to_string()))?
    }

    fn send_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(PIECE_BYTES));
        self.send(Piece::Data(full.freeze()))
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        self.runtime
            .block_on(self.pieces.send(piece))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the gateway stopped reading"))
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE_BYTES {
            self.send_buffer()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_buffer()
    }
}

impl<'a> Download<'a> {
    pub(super) fn new(runtime: &'a Runtime, body: Incoming) -> Self {
        Self { runtime, body, piece: Bytes::new() }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.body.frame()) {
                None => return Ok(0),
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let taken = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..taken]);
        Ok(taken)
    }
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

impl fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Download")
    }
}

/// How much is sent at a time, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// How many pieces may wait for the line.
const PIECES_MAX: usize = 4;
