//! Ctrl-C while records are being written in the clear.
//!
//! Rule: being asked to end makes the reading fail, so that what is half made goes as it does at any other error.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Whether the process was asked to end.
static ASKED: AtomicBool = AtomicBool::new(false);

/// A reader that fails once the process was asked to end.
#[derive(Debug)]
pub(super) struct Interruptible<R>(R);

impl<R> Interruptible<R> {
    /// From now on the first request to end is heard here; the second ends the process on the spot.
    pub(super) fn new(from: R) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _within = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        // The thread ends with the process.
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                    if ASKED.swap(true, Ordering::SeqCst) {
                        std::process::exit(STOPPED);
                    }
                }
            });
        });
        Ok(Self(from))
    }
}

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        if ASKED.load(Ordering::SeqCst) {
            return Err(io::Error::other("stopped on request; nothing was written"));
        }
        Ok(read)
    }
}

/// As shells tell of Ctrl-C.
const STOPPED: i32 = 130;
