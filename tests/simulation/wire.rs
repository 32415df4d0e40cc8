//! The line between the two gateways: real sockets, and in the middle of them somebody who holds, cuts and divides.
//!
//! Rule: it sees ciphertext only; what it does it does at a byte that was chosen before.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::plan::{Then, Way};
use crate::world::Event;

/// The line, at one port for as long as it lives.
pub(crate) struct Wire {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    /// Counts how often everything that was connected was cut off.
    cuts: Arc<watch::Sender<u64>>,
    _runtime: Runtime,
}

#[derive(Default)]
struct State {
    /// Where the institute listens; `None` while it does not run.
    target: Option<u16>,
    divided: bool,
    plan: Option<Plan>,
}

struct Plan {
    way: Way,
    left: usize,
    then: Then,
    events: Sender<Event>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (state, cuts) = (Arc::new(Mutex::new(State::default())), Arc::new(watch::Sender::new(0)));
        let (shared, told) = (Arc::clone(&state), Arc::clone(&cuts));
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, Arc::clone(&shared), Arc::clone(&told)));
            }
        });
        Self { port, state, cuts, _runtime: runtime }
    }

    /// Leads to another port from now on, or nowhere.
    pub(crate) fn lead_to(&self, target: Option<u16>) {
        lock(&self.state).target = target;
        self.cut();
    }

    pub(crate) fn divide(&self, divided: bool) {
        lock(&self.state).divided = divided;
        if divided {
            self.cut();
        }
    }

    pub(crate) fn at_byte(&self, way: Way, byte: u32, then: Then, events: Sender<Event>) {
        lock(&self.state).plan = Some(Plan { way, left: byte as usize, then, events });
    }

    pub(crate) fn forget_plan(&self) {
        lock(&self.state).plan = None;
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn join(near: TcpStream, state: Arc<Mutex<State>>, cuts: Arc<watch::Sender<u64>>) {
    let mut cut = cuts.subscribe();
    let target = {
        let state = lock(&state);
        state.target.filter(|_| !state.divided)
    };
    let Some(target) = target else { return };
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let requests = carry(near_in, far_out, Way::Requests, &state);
    let responses = carry(far_in, near_out, Way::Responses, &state);
    // Whichever way ends first ends both.
    tokio::select! {
        () = requests => {}
        () = responses => {}
        _ = cut.changed() => {}
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, way: Way, state: &Mutex<State>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let (before, plan) = due(state, way, read);
        if to.write_all(&buffer[..before]).await.is_err() {
            return;
        }
        if let Some(plan) = plan {
            if matches!(plan.then, Then::Cut) {
                return;
            }
            let (go, gone_on) = oneshot::channel();
            if plan.events.send(Event::Held(plan.then, go)).is_ok() {
                // It is dropped when it was done.
                drop(gone_on.await);
            }
        }
        if to.write_all(&buffer[before..read]).await.is_err() {
            return;
        }
    }
}

/// How many of these bytes still go before something happens, and what.
fn due(state: &Mutex<State>, way: Way, bytes: usize) -> (usize, Option<Plan>) {
    let mut state = lock(state);
    let Some(plan) = state.plan.as_mut().filter(|plan| plan.way == way) else { return (bytes, None) };
    if plan.left >= bytes {
        plan.left -= bytes;
        return (bytes, None);
    }
    (plan.left, state.plan.take())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
