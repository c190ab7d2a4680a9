//! A relay between a peer and its manager that can be cut and held up.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// How long a relay waits for bytes before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// A relay; it ends when this is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mode: Mode,
    /// Counts cuts: a connection of an earlier period is over.
    period: u64,
    connections: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Passing,
    /// Connections are taken and nothing passes: neither side learns of it.
    Stalled,
    /// The same, but only from the peer to the manager.
    StalledOneWay,
    /// Connections end, and new ones are closed at once.
    Cut,
    Over,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { target, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let mode = accepting.lock().mode;
                match (mode, near) {
                    (Mode::Over, _) => return,
                    (Mode::Passing | Mode::Stalled | Mode::StalledOneWay, Ok(near)) => accepting.relay(&near),
                    (Mode::Cut, _) | (_, Err(_)) => {}
                }
            }
        });
        Self { address, shared }
    }

    /// Where peers connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.lock().connections
    }

    /// Ends all connections and lets none through.
    pub(crate) fn cut(&self) {
        self.set(Mode::Cut);
    }

    /// Lets nothing pass, without telling anybody.
    pub(crate) fn stall(&self) {
        self.set(Mode::Stalled);
    }

    /// Lets nothing pass to the manager, and everything from it.
    pub(crate) fn stall_one_way(&self) {
        self.set(Mode::StalledOneWay);
    }

    /// Lets everything pass again.
    pub(crate) fn mend(&self) {
        self.set(Mode::Passing);
    }

    fn set(&self, mode: Mode) {
        let mut state = self.shared.lock();
        state.mode = mode;
        if mode == Mode::Cut {
            state.period += 1;
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Over);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn relay(self: &Arc<Self>, near: &TcpStream) {
        // The manager may be down: then the peer's connection just ends.
        let Ok(far) = TcpStream::connect(self.target) else { return };
        let period = {
            let mut state = self.lock();
            state.connections += 1;
            state.period
        };
        for (from, to, outward) in [(near, &far, true), (&far, near, false)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                shared.pump(&from, &to, Way { period, outward });
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, way: Way) {
        from.set_read_timeout(Some(LOOK)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while self.may_pass(way) {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if !self.may_pass(way) || to.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    /// Waits while nothing may pass; whether the connection goes on.
    fn may_pass(&self, way: Way) -> bool {
        let stalled = |mode: Mode| mode == Mode::Stalled || (mode == Mode::StalledOneWay && way.outward);
        let waits = |state: &mut State| stalled(state.mode) && state.period == way.period;
        let state = self.changed.wait_while(self.lock(), waits).unwrap();
        matches!(state.mode, Mode::Passing | Mode::StalledOneWay) && state.period == way.period
    }
}

/// One direction of a connection.
#[derive(Clone, Copy)]
struct Way {
    /// When the connection was made.
    period: u64,
    /// From the peer to the manager.
    outward: bool,
}
