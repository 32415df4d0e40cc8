//! Streams between HTTP bodies and the blocking code that seals and stores: bounded, one piece at a time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc;

/// A request body as a blocking reader: the future pumps, the reader reads on another thread. A body that breaks off
/// is an error to the reader, never an early end.
pub(super) fn body_as_reader(body: Body) -> (impl Future<Output = ()>, BodyReader) {
    let (pieces, reader) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    let pump = async move {
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(io::Error::other);
            let broken = piece.is_err();
            if pieces.send(piece).await.is_err() || broken {
                return;
            }
        }
    };
    (pump, BodyReader { pieces: reader, rest: Bytes::new() })
}

/// The reading end of [`body_as_reader`].
#[derive(Debug)]
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// A file as a response body, read on a blocking thread. A file that is removed meanwhile, because its sender recalled it,
/// is not read on: the reader's end never comes.
pub(super) fn file_as_body(mut file: File) -> Body {
    let (pieces, reader) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let piece = match there(&file).and_then(|()| file.read(&mut piece)) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(error),
            };
            let broken = piece.is_err();
            if pieces.blocking_send(piece).is_err() || broken {
                return;
            }
        }
    });
    Body::from_stream(futures_util::stream::unfold(reader, |mut reader| async move {
        reader.recv().await.map(|piece| (piece, reader))
    }))
}

fn there(file: &File) -> io::Result<()> {
    if file.metadata()?.nlink() == 0 { Err(io::Error::other("the file was removed")) } else { Ok(()) }
}

const PIECES_MAX: usize = 8;
const PIECE_BYTES: usize = 256 * 1024;
