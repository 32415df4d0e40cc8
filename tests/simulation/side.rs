//! One gateway of a run: a home, a store that outlives it, a clock of its own, and a runtime that can be killed.
//!
//! Rule: what a start finds is the folder and what was committed, and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use medseal::audit::log::OnFailure;
use medseal::clock::{Clock, Timestamp};
use medseal::config::Home;
use medseal::gateway::{self, Gateway};
use medseal::reception;
use medseal::store::memory::MemoryStore;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::world::Event;

pub(crate) struct Side {
    pub(crate) clock: Clock,
    home: Home,
    store: Arc<MemoryStore>,
    running: Option<Running>,
    events: Sender<Event>,
}

pub(crate) struct Running {
    // In this order: the gateway goes with its last task.
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) runtime: Runtime,
    pub(crate) disk: Arc<Disk>,
    pub(crate) port: u16,
    _serving: watch::Sender<bool>,
}

impl Side {
    pub(crate) fn new(home: &Path, store: MemoryStore, now: Timestamp, events: Sender<Event>) -> Self {
        let clock = Clock::set_to(now);
        Self { clock, home: Home::at(home), store: Arc::new(store), running: None, events }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// What the daemon does every minute that a delivery depends on.
    pub(crate) fn keep_house(&self) {
        if let Some(running) = &self.running {
            running.gateway.trust_partners();
        }
    }

    /// Starts as the daemon does, and says at which port partners are met.
    pub(crate) fn start(&mut self) -> u16 {
        if let Some(running) = &self.running {
            return running.port;
        }
        self.store = Arc::new(self.store.reopened());
        let disk = Arc::new(Disk::over(Arc::clone(&self.store), self.events.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let store = Arc::clone(&disk);
        let opened = Gateway::open_over(&self.home, self.clock.clone(), OnFailure::Stop, |_| Ok(store));
        let gateway = opened.expect("it opens");
        let (serving, stop) = watch::channel(false);
        let port = runtime.block_on(async {
            gateway.drop_leftovers().expect("leftovers go");
            gateway::record_start(&gateway, 0, 0).await.expect("the start is recorded");
            reception::finish_recalls(&gateway).await.expect("recalls are carried out");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            tokio::spawn(reception::serve(listener, Arc::clone(&gateway), stop));
            port
        });
        self.running = Some(Running { gateway, runtime, disk, port, _serving: serving });
        port
    }

    /// The end without a word: nothing is committed any more, every task stops where it waits.
    pub(crate) fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            running.disk.cut();
            end(running);
        }
    }

    /// The end that the operating system asked for.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.disk.spare();
            let closed = running.gateway.log.close();
            // What arrives late may have been the write at which it was to die.
            assert!(closed.is_ok() || running.disk.is_dead(), "the log does not end well: {closed:?}");
            end(running);
        }
    }

    /// What was committed, for another run to begin with.
    pub(crate) fn kept(&self) -> MemoryStore {
        self.store.reopened()
    }

    /// Whether its disk died under it.
    pub(crate) fn is_dead(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.disk.is_dead())
    }

    /// Lets the disk have no room, or room again: known from the next start on.
    pub(crate) fn fill_disk(&self, full: bool) {
        let text = std::fs::read_to_string(self.home.config()).expect("a configuration");
        let floor = if full { FULL } else { FREE };
        let lines: Vec<&str> =
            text.lines().map(|line| if line.starts_with("disk_free_bytes_min") { floor } else { line }).collect();
        assert!(lines.contains(&floor), "the configuration names no floor");
        medseal::durable::replace(&self.home.config(), lines.join("\n").as_bytes(), 0o600).expect("written");
    }
}

/// Waits until nothing of it is left: no task, no thread that works for one, no writer of the log.
fn end(running: Running) {
    let Running { gateway, runtime, .. } = running;
    drop(runtime);
    let left = Arc::strong_count(&gateway);
    assert_eq!(left, 1, "somebody still holds the gateway");
}

const FULL: &str = "disk_free_bytes_min = 9000000000000000000";
const FREE: &str = "disk_free_bytes_min = 0";
