//! Taking connections from the network and from the local socket.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use task_messenger_daemon::{exit::chain, local::LocalListener, seldom::Seldom, shutdown::Shutdown};
use task_messenger_protocol::link::{Arrival, LinkError, accept, accept_local};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::rustls::ServerConfig;
use tracing::{Instrument, debug, error_span, field, warn};

use crate::{
    doorkeeper::{Door, Doorkeeper},
    owner::Counters,
    places::Places,
    session::{self, SessionError, Shared},
};

/// Connections that may wait for being accepted.
const BACKLOG: i32 = 1_024;
/// After a failed `accept` (no descriptors are left, say) the next is tried this much later.
const RETRY: Duration = Duration::from_millis(200);

/// Binds to every address. An IPv6 one that stands for all takes IPv4 connections too; where there is no IPv6, all of IPv4
/// stands in for it.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let bind = |address: &SocketAddr| {
        let bound = bind_one(*address).or_else(|error| {
            let everywhere = address.is_ipv6() && address.ip().is_unspecified();
            let no_ipv6 = error.raw_os_error().is_some_and(|_| error.kind() != io::ErrorKind::AddrInUse);
            if everywhere && no_ipv6 {
                bind_one((std::net::Ipv4Addr::UNSPECIFIED, address.port()).into())
            } else {
                Err(error)
            }
        });
        bound.with_context(|| format!("the manager can't listen on {address} (`listen`)"))
    };
    addresses.iter().map(bind).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart doesn't wait for the connections of the run before. (On Windows this would mean sharing the port.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// How connections are taken.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) shared: Rc<Shared>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) places: Places,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Arc<Counters>,
}

/// Connections at a time to the local socket: a place of their own, so that the owner gets in however many others are there.
const LOCAL_CONNECTIONS: usize = 256;

/// Takes connections until the manager is told to stop; ends when the last session has ended.
pub(crate) async fn listen(listener: TcpListener, mut gate: Gate) {
    let mut sessions = JoinSet::new();
    let mut refusals = Seldom::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let Some(place) = gate.places.take() else {
                        gate.counters.refused();
                        if let Some(refused) = refusals.count(Instant::now()) {
                            let limit = gate.places.limit();
                            warn!(peer = %address, refused, limit, "connections are refused: too many (`link.connections`)");
                        }
                        continue;
                    };
                    let Some(handshake) = gate.doorkeeper.knock(address.ip(), Instant::now()) else {
                        gate.counters.refused();
                        if gate.doorkeeper.failed(address.ip(), Instant::now()).tell.is_some() {
                            let most = gate.doorkeeper.limit();
                            warn!(peer = %address, most, "connections are refused: too many handshakes at a time");
                        }
                        continue;
                    };
                    let gate = gate.clone();
                    // Whatever the level is, a line says whose session it is of.
                    let span = error_span!("session", peer = %address, session = field::Empty);
                    let session = async move {
                        let arrival = accept(stream, &gate.tls, gate.handshake_timeout).await;
                        let door = Door { doorkeeper: gate.doorkeeper, handshake, address: address.ip() };
                        serve(arrival, address.to_string(), Some(door), gate.shared, &gate.counters).await;
                        drop(place);
                    };
                    sessions.spawn_local(session.instrument(span));
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(_) = sessions.join_next() => {}
            _ = gate.shutdown.requested() => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// The same for the local socket.
pub(crate) async fn listen_locally(mut listener: LocalListener, mut gate: Gate) {
    let mut sessions = JoinSet::new();
    let mut refusals = Seldom::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if sessions.len() >= LOCAL_CONNECTIONS => {
                    gate.counters.refused();
                    if let Some(refused) = refusals.count(Instant::now()) {
                        warn!(refused, limit = LOCAL_CONNECTIONS, "connections to the local socket are refused: too many");
                    }
                }
                Ok(stream) => {
                    let gate = gate.clone();
                    let span = error_span!("session", peer = "local", session = field::Empty);
                    let session = async move {
                        let arrival = accept_local(stream, gate.handshake_timeout).await;
                        serve(arrival, "local".to_owned(), None, gate.shared, &gate.counters).await;
                    };
                    sessions.spawn_local(session.instrument(span));
                }
                Err(error) => {
                    warn!(%error, "a connection to the local socket could not be accepted");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(_) = sessions.join_next() => {}
            _ = gate.shutdown.requested() => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// `door` is where the peer came in; nobody stands before the local one.
async fn serve(
    arrival: Result<Arrival, LinkError>,
    address: String,
    door: Option<Door>,
    shared: Rc<Shared>,
    counters: &Counters,
) {
    let outside = door.as_ref().map(|door| (door.doorkeeper.clone(), door.address));
    let error = match arrival {
        Ok(arrival) => match session::serve(arrival, address, door, shared).await {
            Ok(()) => return debug!("the peer left"),
            Err(SessionError::Refused { text, told }) => {
                match told {
                    Some(1) => warn!(reason = text, "a peer was not let in"),
                    Some(failures) => warn!(reason = text, failures, "peers from this address were not let in"),
                    None => debug!(reason = text, "a peer was not let in"),
                }
                return;
            }
            Err(error) if error.is_usual() => return debug!(error = chain(&error), "the session ended"),
            Err(error) => return warn!(error = chain(&error), "the session was closed"),
        },
        Err(LinkError::Closed) => return debug!("the peer left before it said who it is"),
        Err(error) => error,
    };
    counters.refused();
    let tell = outside.map_or(Some(1), |(doorkeeper, address)| doorkeeper.failed(address, Instant::now()).tell);
    match tell {
        Some(1) => warn!(error = chain(&error), "a connection was closed during its handshake"),
        Some(failures) => {
            warn!(error = chain(&error), failures, "connections from this address were closed during their handshake");
        }
        None => debug!(error = chain(&error), "a connection was closed during its handshake"),
    }
}
