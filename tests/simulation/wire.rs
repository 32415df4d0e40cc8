//! The line between the two gateways: real sockets, and in the middle of them somebody who holds, cuts and divides.
//!
//! Rule: it sees ciphertext only; what it does it does at a byte that was chosen before.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::plan::{Then, Way};
use crate::world::Event;

/// The line, at one port for as long as it lives.
pub(crate) struct Wire {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    /// Counts how often everything that was connected was cut off.
    cuts: Arc<watch::Sender<u64>>,
    carried: Carried,
    _runtime: Runtime,
}

/// How many bytes went over the line, either way.
type Carried = Arc<watch::Sender<u64>>;

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
        let carried = Carried::new(watch::Sender::new(0));
        let (shared, told, counted) = (Arc::clone(&state), Arc::clone(&cuts), Arc::clone(&carried));
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, Arc::clone(&shared), Arc::clone(&told), Arc::clone(&counted)));
            }
        });
        Self { port, state, cuts, carried, _runtime: runtime }
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

    /// Nothing more happens at a byte, and what is late arrives now.
    pub(crate) fn forget_plan(&self) {
        lock(&self.state).plan = None;
        self.carried.send_modify(|carried| *carried += 1 << 32);
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn join(near: TcpStream, state: Arc<Mutex<State>>, cuts: Arc<watch::Sender<u64>>, carried: Carried) {
    let mut cut = cuts.subscribe();
    let target = {
        let state = lock(&state);
        state.target.filter(|_| !state.divided)
    };
    let Some(target) = target else { return };
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let ((near_in, near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    // Whichever way ends first ends both.
    let parked = tokio::select! {
        parked = carry(near_in, &mut far_out, Way::Requests, &state, &carried) => parked,
        parked = carry(&mut far_in, near_out, Way::Responses, &state, &carried) => parked,
        _ = cut.changed() => None,
    };
    let Some(Parked { bytes, until }) = parked else { return };
    let deliver = async {
        // The line itself tells of what is carried, so that this ends with it.
        drop(carried.subscribe().wait_for(|carried| *carried >= until).await);
        if far_out.write_all(&bytes).await.is_ok() {
            // Read to its end, so that the institute does not see the line break while it works.
            drop(tokio::io::copy(&mut far_in, &mut tokio::io::sink()).await);
        }
    };
    tokio::select! {
        () = deliver => {}
        _ = cut.changed() => {}
    }
}

/// Bytes that the hospital sent on a line that is broken by now, and when they arrive.
struct Parked {
    bytes: Vec<u8>,
    until: u64,
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    state: &Mutex<State>,
    carried: &Carried,
) -> Option<Parked> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        let (before, plan) = due(state, way, read);
        to.write_all(&buffer[..before]).await.ok()?;
        carried.send_modify(|carried| *carried += read as u64);
        match plan.map(|plan| (plan.then, plan.events)) {
            None => {}
            Some((Then::Cut, _)) => return None,
            Some((Then::Late(more), _)) => {
                let mut bytes = buffer[before..read].to_vec();
                // The rest of the same request; who waits for an answer sends no more.
                while let Ok(Ok(more @ 1..)) = timeout(REST, from.read(&mut buffer)).await {
                    bytes.extend_from_slice(&buffer[..more]);
                }
                return Some(Parked { bytes, until: *carried.borrow() + u64::from(more) });
            }
            Some((then, events)) => {
                let (go, gone_on) = oneshot::channel();
                if events.send(Event::Held(then, go)).is_ok() {
                    // It is dropped when it was done.
                    drop(gone_on.await);
                }
            }
        }
        to.write_all(&buffer[before..read]).await.ok()?;
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

/// How long nothing must come until all of a request is here.
const REST: Duration = Duration::from_millis(5);
