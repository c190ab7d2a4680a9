//! A way to the manager that can be cut, as a cable is pulled: whoever connects through it is passed on while it is open.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The gate; what goes through it ends when this is dropped.
pub(super) struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    _passing: JoinSet<()>,
}

impl Gate {
    /// Opens one before `target`.
    pub(super) async fn before(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port on loopback can be used")?;
        let address = listener.local_addr()?;
        let (open, is_open) = watch::channel(true);
        let mut passing = JoinSet::new();
        passing.spawn(pass_on(listener, target, is_open));
        Ok(Self { address, open, _passing: passing })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection off and lets none through, until it is mended.
    pub(super) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub(super) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn pass_on(listener: TcpListener, target: SocketAddr, is_open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that broke before it was accepted is nobody's.
                let Ok((near, _)) = accepted else { continue };
                let mut is_open = is_open.clone();
                if *is_open.borrow_and_update() {
                    connections.spawn(async move {
                        tokio::select! {
                            () = carry(near, target) => {}
                            // Closed, or the gate is gone: both ends are dropped.
                            _ = is_open.changed() => {}
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        // Either end may break off at any time: the other one sees it.
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}
