//! What is answered to which request.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};

use super::host;
use crate::{
    health::{Health, Report},
    metrics::{OPEN_METRICS, Sample, TEXT, process},
};

/// A request's body has at most so many bytes.
const BODY_BYTES: u64 = 64 << 10;

/// All metrics as they are now, or why they can't be told.
pub type Gathering = Pin<Box<dyn Future<Output = Result<Sample, String>> + Send>>;

/// Gathers all metrics.
pub type Metrics = Arc<dyn Fn() -> Gathering + Send + Sync>;

#[derive(Clone)]
struct Shared {
    health: Health,
    metrics: Metrics,
}

const INDEX: &str = "\
TaskMessenger

/healthz  whether it is alive: 200 or 503
/readyz   whether it is ready: 200 or 503
/metrics  counts and times, for Prometheus
";

pub(super) fn router(health: Health, metrics: Metrics, hosts: &Arc<[String]>, timeout: Duration) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/healthz", get(|State(shared): State<Shared>| async move { answer(&shared.health.alive()) }))
        .route("/readyz", get(|State(shared): State<Shared>| async move { answer(&shared.health.ready()) }))
        .route("/metrics", get(gather))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here: / shows what there is\n") })
        .layer(middleware::from_fn(limit_body))
        .layer(middleware::from_fn_with_state(hosts.clone(), host::check))
        .layer(middleware::from_fn_with_state(timeout, in_time))
        .with_state(Shared { health, metrics })
}

/// Nothing here reads a body; one of a length that is not told ends its connection with the answer.
async fn limit_body(request: Request, next: Next) -> Response {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES) {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response();
    }
    next.run(request).await
}

fn answer(report: &Report) -> Response {
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

/// Prometheus asks for OpenMetrics; others get the older form, which everybody reads.
async fn gather(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let open = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text")));
    let text = match (shared.metrics)().await {
        Ok(mut sample) => {
            process::measure(&mut sample);
            sample.encode(open)
        }
        Err(text) => Err(text),
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, if open { OPEN_METRICS } else { TEXT })], text).into_response(),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n")).into_response(),
    }
}

async fn in_time(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon did not answer in time\n").into_response(),
    }
}
