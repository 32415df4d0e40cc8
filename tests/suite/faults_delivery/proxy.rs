//! A line that breaks: every byte between two gateways goes through here, and after so many of them all is cut.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Listens on a port of its own for as long as it lives.
pub(super) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// After how many more bytes all is cut, and then again.
    offsets: VecDeque<u64>,
    live: Vec<TcpStream>,
    cuts: u64,
    forwarded: u64,
    over: bool,
}

impl Proxy {
    /// Passes on to this port.
    pub(super) fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let proxy = Self { port: listener.local_addr().expect("bound").port(), state: Arc::default() };
        let state = Arc::clone(&proxy.state);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if lock(&state).over {
                    return;
                }
                // Where nobody listens the line ends here, as it does on the way.
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(("127.0.0.1", port))) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (clone(from), clone(to));
                    lock(&state).live.push(clone(&from));
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || pass_on(from, to, &state));
                }
            }
        });
        proxy
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection after so many bytes from now on, then after so many more, and so on.
    pub(super) fn cut_after(&self, offsets: VecDeque<u64>) {
        let mut state = lock(&self.state);
        state.offsets = offsets;
        state.forwarded = 0;
    }

    /// Cuts nothing more, and says how many bytes were passed on since [`Proxy::cut_after`].
    pub(super) fn let_go(&self) -> u64 {
        let mut state = lock(&self.state);
        state.offsets.clear();
        state.forwarded
    }

    /// How often everything was cut.
    pub(super) fn cuts(&self) -> u64 {
        lock(&self.state).cuts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.over = true;
        state.cut();
        drop(state);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl State {
    /// How many of these bytes go through, and whether all is cut after them.
    fn admit(&mut self, bytes: usize) -> (usize, bool) {
        let Some(left) = self.offsets.front_mut() else {
            self.forwarded += bytes as u64;
            return (bytes, false);
        };
        let through = (bytes as u64).min(*left);
        *left -= through;
        let cut = *left == 0;
        if cut {
            self.offsets.pop_front();
            self.cuts += 1;
        }
        self.forwarded += through;
        (usize::try_from(through).expect("no more than came"), cut)
    }

    fn cut(&mut self) {
        for line in self.live.drain(..) {
            // One that has ended by itself is as good as cut.
            drop(line.shutdown(Shutdown::Both));
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        let (through, cut) = lock(state).admit(bytes);
        let passed = to.write_all(&buffer[..through]);
        if cut {
            lock(state).cut();
        }
        if cut || passed.is_err() {
            break;
        }
    }
    // The other half of the talk ends with this one: neither gateway goes on with half a line.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

fn clone(line: &TcpStream) -> TcpStream {
    line.try_clone().expect("a descriptor")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
