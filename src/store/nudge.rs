//! Somebody who looks after work that takes too long.
//!
//! Rule: the nudge only wakes; whether the work failed is for the work itself to say.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A thread that calls a function as long as one piece of work goes on for too long.
#[derive(Debug)]
pub(super) struct Nudge {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Counts beginnings and ends: odd while work is going on.
    turns: AtomicU64,
    ends: AtomicBool,
}

/// Work that is going on, until this is dropped.
pub(super) struct Busy<'a>(&'a Shared);

impl Nudge {
    /// Calls `nudge` each time that `after` has passed within one piece of work.
    pub(super) fn start(after: Duration, mut nudge: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("nudge".into()).spawn(move || {
            let mut last = 0;
            while !seen.ends.load(Ordering::Relaxed) {
                let turn = seen.turns.load(Ordering::Relaxed);
                if turn == last && turn % 2 == 1 {
                    nudge();
                }
                last = turn;
                thread::park_timeout(after);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that work begins. One piece of work at a time.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
        Busy(&self.shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Nudge {
    /// When it returns, the thread holds nothing any more.
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // What it called has panicked, if anything: the work itself says what is wrong.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn work_that_waits_for_a_nudge_gets_it() {
        let (nudged, nudges) = channel();
        let nudge = Nudge::start(Duration::from_millis(5), move || nudged.send(()).unwrap_or_default());
        let nudge = nudge.expect("a thread");
        for _ in 0..3 {
            let busy = nudge.busy();
            // It ends only when it was nudged.
            nudges.recv().expect("a nudge");
            drop(busy);
        }
    }

    #[test]
    fn nobody_is_nudged_who_does_nothing() {
        let (nudged, nudges) = channel();
        let nudge = Nudge::start(Duration::from_micros(10), move || nudged.send(()).unwrap_or_default());
        thread::sleep(Duration::from_millis(50));
        drop(nudge);
        assert_eq!(nudges.try_iter().count(), 0);
    }
}
