//! Taking connections, and speaking HTTP/1.1 on them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use task_messenger_protocol::link::Stream;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tower_service::Service as _;
use tracing::{debug, warn};

use super::HttpConfig;
use crate::seldom::Seldom;

/// A request's head has at most so many bytes.
const HEAD_BYTES: usize = 16 << 10;
/// And so many headers.
const HEADERS: usize = 64;
/// After a failed `accept` (no descriptors are left, say) the next is tried this much later.
const RETRY: Duration = Duration::from_millis(200);
/// A connection ends after this, whatever is under way: a peer that does not read what it asked for holds none for ever.
const LONGEST: Duration = Duration::from_mins(10);

/// Takes connections for ever.
pub(super) async fn serve(listener: TcpListener, config: &HttpConfig, tls: Option<Arc<ServerConfig>>, router: Router) {
    let places = Arc::new(Semaphore::new(config.connections));
    let acceptor = tls.map(TlsAcceptor::from);
    let mut refusals = Seldom::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "an HTTP connection could not be accepted");
                sleep(RETRY).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            if let Some(refused) = refusals.count(Instant::now()) {
                let limit = config.connections;
                warn!(%peer, refused, limit, "HTTP connections are refused: too many (`http.connections`)");
            }
            continue;
        };
        let (acceptor, router, limit) = (acceptor.clone(), router.clone(), config.timeout.0);
        tokio::spawn(async move {
            let talk = async {
                let stream = shake_hands(stream, acceptor, limit).await?;
                speak(stream, router, limit).await
            };
            match timeout(LONGEST, talk).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%peer, error, "an HTTP connection ended"),
                Err(_) => debug!(%peer, "an HTTP connection was ended: it has lasted for long enough"),
            }
            drop(place);
        });
    }
}

async fn shake_hands(stream: TcpStream, acceptor: Option<TlsAcceptor>, limit: Duration) -> Result<Stream, String> {
    // Answers are written at once; a failure shows later.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return Ok(Box::new(stream)) };
    match timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the TLS handshake took too long".to_owned()),
    }
}

async fn speak(stream: Stream, router: Router, limit: Duration) -> Result<(), String> {
    let service = service_fn(move |request: Request<Incoming>| router.clone().call(request.map(Body::new)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(|error| error.to_string())
}
