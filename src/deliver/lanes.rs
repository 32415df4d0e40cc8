//! Several segments on their way at one time, each on a line of its own.
//!
//! Rule: the first line alone says whether sending went on or broke; the lines beside it only help. What a line beside
//! did not bring goes to the end of what is still to be sent, and that line is not used again.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{DeliverError, Line, outgoing};
use crate::id::Digest;

/// A line that is being dialled.
pub(super) type Dialled = Pin<Box<dyn Future<Output = Result<Line, DeliverError>> + Send>>;

/// Dials one more line to the same partner.
pub(super) struct Beside(pub(super) Box<dyn Fn() -> Dialled + Send + Sync>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

/// A segment and its digest.
pub(super) type Hashed = (Range<u64>, Digest);

/// What is still to be sent.
pub(super) struct Source<'a> {
    file: &'a Arc<File>,
    left: Mutex<Left>,
    settled: Notify,
}

struct Left {
    returned: Vec<Hashed>,
    ahead: VecDeque<(Range<u64>, JoinHandle<io::Result<Digest>>)>,
    segments: Box<dyn Iterator<Item = Range<u64>> + Send>,
    under_way: usize,
    ahead_max: usize,
}

impl<'a> Source<'a> {
    /// Segments, of which so many are hashed before they are asked for.
    pub(super) fn new(
        file: &'a Arc<File>,
        segments: impl Iterator<Item = Range<u64>> + Send + 'static,
        ahead_max: usize,
    ) -> Self {
        let left = Left {
            returned: Vec::new(),
            ahead: VecDeque::new(),
            segments: Box::new(segments),
            under_way: 0,
            ahead_max: ahead_max.max(1),
        };
        let source = Self { file, left: Mutex::new(left), settled: Notify::new() };
        source.hash_ahead(&mut source.left());
        source
    }

    /// The next segment; `None` when all others are under way or acknowledged.
    pub(super) async fn next(&self) -> Result<Option<Hashed>, DeliverError> {
        let (range, digest) = {
            let mut left = self.left();
            if let Some(hashed) = left.returned.pop() {
                left.under_way += 1;
                return Ok(Some(hashed));
            }
            let Some(next) = left.ahead.pop_front() else { return Ok(None) };
            left.under_way += 1;
            self.hash_ahead(&mut left);
            next
        };
        let digest = digest.await.map_err(io::Error::other).and_then(|digest| digest);
        Ok(Some((range, digest.map_err(|source| DeliverError::LocalFile { source })?)))
    }

    /// A segment is durable at the partner.
    pub(super) fn acknowledged(&self) {
        self.left().under_way -= 1;
        self.settled.notify_one();
    }

    /// A segment was not brought: another line brings it.
    pub(super) fn give_back(&self, segment: Hashed) {
        let mut left = self.left();
        left.under_way -= 1;
        left.returned.push(segment);
        drop(left);
        self.settled.notify_one();
    }

    /// Waits until something is to be sent again; false when all is acknowledged.
    pub(super) async fn more(&self) -> bool {
        loop {
            let settled = self.settled.notified();
            {
                let left = self.left();
                if !left.returned.is_empty() || !left.ahead.is_empty() {
                    return true;
                }
                if left.under_way == 0 {
                    return false;
                }
            }
            settled.await;
        }
    }

    fn hash_ahead(&self, left: &mut Left) {
        while left.ahead.len() < left.ahead_max {
            let Some(range) = left.segments.next() else { return };
            let digest = tokio::spawn(outgoing::digest(Arc::clone(self.file), range.clone()));
            left.ahead.push_back((range, digest));
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
