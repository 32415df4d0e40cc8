//! A daemon that stands still between two steps, for as long as a test likes.
//!
//! The daemon tells each step with one fixed phrase on standard error. Here that is a pipe in packet mode with every
//! slot taken: an event gets through only after the test took a packet out, so the daemon stands still exactly between
//! two steps, and can be killed there.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};

use crate::site::Site;

/// Lets the daemon's events through one by one.
pub(crate) struct Steps {
    reader: PipeReader,
    bytes: u64,
    fillers: usize,
}

impl Steps {
    pub(crate) fn new() -> (Self, PipeWriter) {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        fcntl_setfl(&writer, OFlags::DIRECT | OFlags::NONBLOCK).expect("a pipe has a packet mode");
        let mut fillers = 0;
        while writer.write(b".").is_ok() {
            fillers += 1;
        }
        fcntl_setfl(&writer, OFlags::DIRECT).expect("a pipe has a packet mode");
        (Self { reader, bytes: fillers as u64, fillers }, writer)
    }

    /// Lets one more event through and waits until it is told.
    pub(crate) fn next(&mut self) {
        let taken = self.take();
        assert!(taken > 0, "the daemon ended");
        let (rest, deadline) = (self.bytes, Instant::now() + Duration::from_mins(1));
        while self.bytes == rest {
            assert!(Instant::now() < deadline, "the daemon never came to this step");
            std::thread::sleep(Duration::from_millis(1));
            self.bytes = rustix::io::ioctl_fionread(&self.reader).expect("a pipe");
        }
    }

    fn take(&mut self) -> usize {
        let mut packet = [0; 4096];
        let taken = self.reader.read(&mut packet).expect("a pipe");
        self.bytes -= (taken as u64).min(self.bytes);
        taken
    }

    /// Lets everything through that is told by now, and counts the segments in it.
    pub(crate) fn let_go(&mut self, segments: &mut usize) {
        let mut packet = [0; 4096];
        while rustix::io::ioctl_fionread(&self.reader).expect("a pipe") > 0 {
            let bytes = self.reader.read(&mut packet).expect("a pipe");
            *segments += usize::from(String::from_utf8_lossy(&packet[..bytes]).contains("segment taken"));
        }
    }

    /// Lets the daemon tell whatever it likes from now on.
    pub(crate) fn let_everything_go(self) {
        std::thread::spawn(move || {
            let mut reader = self.reader;
            // Ends with the daemon.
            std::io::copy(&mut reader, &mut std::io::sink())
        });
    }

    /// The same, and keeps it: every event that it told, once it has ended.
    pub(crate) fn heard(self) -> JoinHandle<Vec<String>> {
        std::thread::spawn(move || {
            let (mut reader, mut events, mut packet) = (self.reader, Vec::new(), [0; 4096]);
            while let Ok(bytes @ 1..) = reader.read(&mut packet) {
                if bytes > 1 {
                    events.push(String::from_utf8_lossy(&packet[..bytes]).into_owned());
                }
            }
            events
        })
    }

    /// What the daemon told last. It must have ended.
    pub(crate) fn last(mut self) -> String {
        let mut told = String::new();
        // A packet is read whole or its rest is lost.
        let mut packet = [0; 4096];
        loop {
            match self.reader.read(&mut packet).expect("a pipe") {
                0 => return told,
                1 => {}
                bytes => told = String::from_utf8_lossy(&packet[..bytes]).into_owned(),
            }
        }
    }
}

/// Waits for events while the daemon runs, until one holds the phrase; then ends it.
pub(crate) fn kill_after(site: &mut Site, mut steps: Steps, number: usize, phrase: &str) {
    assert!(steps.fillers > number);
    for _ in 0..=number {
        steps.next();
    }
    site.kill();
    let last = steps.last();
    assert!(last.contains(phrase), "step {number} is {last:?}, not {phrase:?}");
}

pub(crate) fn impatient(site: &Site) {
    let path = site.home.join("medseal.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("delay_s_first = 5", "delay_s_first = 1");
    assert!(text.contains("delay_s_first = 1\n"), "{text}");
    medseal::durable::replace(&path, text.as_bytes(), 0o644).expect("written");
}
