//! A writer that works in a thread of its own, so that one stream is digested, sealed and written on several cores.
//!
//! Rule: the bytes arrive in their order, or the end says why not; little that was written never needs a thread.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// Gathers what is written to it into large pieces, and hands them to a thread.
pub(super) struct Beside<W> {
    piece: Vec<u8>,
    at: Place<W>,
}

/// Where the other writer is.
enum Place<W> {
    /// Here, until the first piece is full.
    Here(W),
    There(Thread<W>),
    /// It has failed, and a caller has heard why.
    Nowhere,
}

struct Thread<W> {
    pieces: SyncSender<Vec<u8>>,
    /// Pieces to fill again: as many are on their way as there are in all.
    emptied: Receiver<Vec<u8>>,
    handle: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> Beside<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { piece: Vec::new(), at: Place::Here(out) }
    }

    /// The other writer, after everything was written to it.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if let Place::Here(mut out) = self.at {
            out.write_all(&self.piece)?;
            return Ok(out);
        }
        self.hand_over()?;
        match self.at {
            Place::There(thread) => thread.end(),
            Place::Here(_) | Place::Nowhere => Err(has_failed()),
        }
    }

    /// Hands over what has gathered, and takes an empty piece.
    fn hand_over(&mut self) -> io::Result<()> {
        let thread = match std::mem::replace(&mut self.at, Place::Nowhere) {
            Place::Here(out) => Thread::start(out)?,
            Place::There(thread) => thread,
            Place::Nowhere => return Err(has_failed()),
        };
        let empty = thread.emptied.recv();
        let Ok(empty) = empty else { return thread.end().and(Err(has_failed())) };
        if thread.pieces.send(std::mem::replace(&mut self.piece, empty)).is_err() {
            return thread.end().and(Err(has_failed()));
        }
        self.at = Place::There(thread);
        Ok(())
    }
}

impl<W: Write + Send + 'static> Thread<W> {
    fn start(mut out: W) -> io::Result<Self> {
        let (pieces, inbox) = sync_channel::<Vec<u8>>(PIECES);
        let (empty, emptied): (Sender<Vec<u8>>, _) = channel();
        for _ in 0..PIECES {
            empty.send(Vec::new()).expect("the other end is here");
        }
        let work = move || {
            for mut piece in inbox {
                out.write_all(&piece)?;
                piece.clear();
                // Whoever wrote has given up: what is still in the channel is written for nobody, and then it ends.
                empty.send(piece).unwrap_or_default();
            }
            Ok(out)
        };
        let handle = thread::Builder::new().name("seal".into()).spawn(work)?;
        Ok(Self { pieces, emptied, handle })
    }

    /// Waits until all is written.
    fn end(self) -> io::Result<W> {
        drop(self.pieces);
        self.handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl<W: Write + Send + 'static> Write for Beside<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE_BYTES {
            self.hand_over()?;
        }
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// What is still gathered stays: only the end is the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn has_failed() -> io::Error {
    io::Error::other("writing has failed before")
}

/// A piece is handed over when it is so full.
const PIECE_BYTES: usize = 1 << 20;

/// How many pieces are on their way, beside the one that is being filled.
const PIECES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at % 251).expect("small")).collect()
    }

    #[test]
    fn everything_arrives_in_order_whatever_its_length() {
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 9 * PIECE_BYTES, 9 * PIECE_BYTES + 17] {
            let content = content(bytes);
            let mut beside = Beside::new(Vec::new());
            for piece in content.chunks(65_552) {
                beside.write_all(piece).expect("written");
            }
            assert!(beside.finish().expect("the end") == content, "{bytes} bytes");
        }
    }

    #[test]
    fn less_than_a_piece_is_written_without_a_thread() {
        struct Here(thread::ThreadId);
        impl Write for Here {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                assert_eq!(thread::current().id(), self.0);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut beside = Beside::new(Here(thread::current().id()));
        beside.write_all(&content(PIECE_BYTES)).expect("written");
        beside.finish().expect("the end");
    }

    #[test]
    fn a_failure_there_is_told_here_and_nothing_succeeds_after_it() {
        struct FullAfter(usize);
        impl Write for FullAfter {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        // While it is being written, and only at the end.
        for (room, bytes) in [(2 * PIECE_BYTES, 40 * PIECE_BYTES), (2 * PIECE_BYTES, 2 * PIECE_BYTES + 1), (0, 1)] {
            let mut beside = Beside::new(FullAfter(room));
            let written = beside.write_all(&content(bytes));
            let failed = match written {
                Err(why) => {
                    assert!(beside.write_all(&content(2 * PIECE_BYTES)).is_err());
                    assert!(beside.finish().is_err());
                    why
                }
                Ok(()) => beside.finish().err().expect("the end fails"),
            };
            assert_eq!(failed.kind(), io::ErrorKind::StorageFull, "{bytes} bytes");
        }
    }
}
