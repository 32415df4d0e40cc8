//! The bytes of a sealed file on their way out: read and hashed on a thread that may wait for the disk.
//!
//! Rule: memory stays flat whatever the size; a file that is shorter than the release says is an error, not an end.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::id::Digest;

/// A body on its way out.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// The digest of a range of the file.
pub(super) async fn digest(file: Arc<File>, range: Range<u64>) -> io::Result<Digest> {
    blocking(move || {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut at = range.start;
        while at < range.end {
            let piece = &mut buffer[..piece_bytes(at, range.end)];
            file.read_exact_at(piece, at)?;
            hash.update(&*piece);
            at += piece.len() as u64;
        }
        Ok(Digest::from_bytes(hash.finalize().into()))
    })
    .await
}

/// A range of the file as a body. It reads ahead by two buffers and no further than the line takes them.
pub(super) fn body(file: Arc<File>, range: Range<u64>) -> Outgoing {
    let (sender, receiver) = mpsc::channel(BUFFERS_AHEAD);
    // Not awaited: the thread ends with its last buffer, or when the line drops the body.
    tokio::task::spawn_blocking(move || {
        let mut at = range.start;
        while at < range.end {
            let mut piece = vec![0; piece_bytes(at, range.end)];
            let read = file.read_exact_at(&mut piece, at).map(|()| Frame::data(Bytes::from(piece)));
            at += BUFFER_BYTES as u64;
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    let frames = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    UnsyncBoxBody::new(StreamBody::new(frames))
}

/// The bytes of a range, for one that is small.
pub(super) async fn bytes(file: Arc<File>, range: Range<u64>) -> io::Result<Vec<u8>> {
    blocking(move || {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn piece_bytes(at: u64, end: u64) -> usize {
    usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER_BYTES)
}

/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// How many buffers wait for the line.
const BUFFERS_AHEAD: usize = 2;
