//! Turns: a transfer is handed over or given up, one at a time.
//!
//! Rule: whoever gives a transfer up waits for a handover under way, and finds it done or undone, never half done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::journal::Key;

/// The transfers that somebody is handing over or giving up at this moment.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// Nobody else hands this transfer over, or gives it up, while this lives.
#[derive(Debug)]
#[must_use = "a turn that is dropped is over"]
pub struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(super) async fn take(&self, key: Key) -> Turn<'_> {
        let one = Arc::clone(self.lock().entry(key.clone()).or_default());
        // Made before the wait: should the caller be gone by then, its place is cleared up all the same.
        let mut turn = Turn { turns: self, key, held: None };
        turn.held = Some(one.lock_owned().await);
        turn
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        drop(self.held.take());
        // Whoever waits holds a share of it; the last one takes it out of the list.
        if turns.get(&self.key).is_some_and(|one| Arc::strong_count(one) == 1) {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::id::{BundleId, Digest};
    use crate::wire::TransferId;

    fn key() -> Key {
        let transfer = TransferId { bundle: BundleId::random(), sealed_sha256: Digest::of(b"sealed") };
        Key { from: "hospital".parse().expect("an id"), transfer }
    }

    fn waits<F: Future>(turn: Pin<&mut F>) -> bool {
        turn.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_nobody_waits_for_another_transfer() {
        let (turns, one) = (Turns::default(), key());
        let first = turns.take(one.clone()).await;
        let mut second = std::pin::pin!(turns.take(one));
        assert!(waits(second.as_mut()), "the first has its turn");
        drop(turns.take(key()).await);
        drop(first);
        assert!(!waits(second.as_mut()), "the first is over");
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_turn_that_is_over_or_was_not_waited_for() {
        let (turns, one) = (Turns::default(), key());
        let first = turns.take(one.clone()).await;
        {
            let mut given_up = std::pin::pin!(turns.take(one));
            assert!(waits(given_up.as_mut()));
        }
        drop(first);
        assert!(turns.lock().is_empty());
    }
}
