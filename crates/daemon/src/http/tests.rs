use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    config::{ConfigDuration, Validate},
    metrics::Sample,
};

/// A server with these settings, whose only metric counts how often it was asked.
fn serve(config: &HttpConfig) -> (SocketAddr, Health) {
    let health = Health::default();
    let asked = AtomicU64::new(0);
    let metrics: Metrics = Arc::new(move || {
        let asked = asked.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move {
            let mut sample = Sample::new();
            sample.counter("asked", "How often it was asked.", asked);
            sample.gauges_by("things", "Things.", "state", [("new", 1.0), ("old", 0.5)]);
            sample.histogram("wait_seconds", "Waits.", [(0.1, 2), (1.0, 0), (f64::INFINITY, 1)], 7.5);
            Ok(sample)
        })
    });
    let bound = Bound::bind(config).unwrap();
    let address = bound.address().unwrap();
    bound.serve(None, health.clone(), metrics).unwrap();
    (address, health)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends this and reads until the server closes.
fn talk(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    // It may have closed already.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    talk(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
}

#[test]
fn health_and_metrics_are_answered() {
    let (address, health) = serve(&HttpConfig::default());
    assert!(get(address, "/", "").contains("/readyz"));
    let disk = health.condition("disk", "make room");
    let answer = get(address, "/readyz", "");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""advice":"make room""#), "{answer}");
    disk.set(true, "there is room");
    assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 200 "));
    health.watch("journal", || crate::health::Beat { ended: true, ..Default::default() });
    assert!(get(address, "/healthz", "").starts_with("HTTP/1.1 503 "));
    assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 200 "), "alive and ready are two things");

    let answer = get(address, "/metrics", "");
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    for line in [
        "# TYPE task_messenger_asked_total counter\ntask_messenger_asked_total 1",
        "task_messenger_things{state=\"old\"} 0.5",
        "task_messenger_wait_seconds_bucket{le=\"0.1\"} 2",
        "task_messenger_wait_seconds_bucket{le=\"1\"} 2",
        "task_messenger_wait_seconds_bucket{le=\"+Inf\"} 3",
        "task_messenger_wait_seconds_sum 7.5",
        "task_messenger_wait_seconds_count 3",
    ] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    let answer = get(address, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert!(answer.contains("openmetrics-text") && answer.trim_end().ends_with("# EOF"), "{answer}");
}

#[test]
fn what_is_no_proper_request_is_refused() {
    let (address, _) = serve(&HttpConfig { hosts: vec!["rack7".to_owned()], ..HttpConfig::default() });
    let request = |host: &str| format!("GET /metrics HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    let long = format!("Host: rack7\r\nX: {}\r\n", "x".repeat(20_000));
    let many = format!("Host: rack7\r\n{}", "X: x\r\n".repeat(100));
    for (host, status) in [
        ("Host: evil.example\r\n", " 421 "),
        ("", " 400 "),
        (long.as_str(), " 431 "),
        (many.as_str(), " 431 "),
        ("Host: rack7:7480\r\n", " 200 "),
    ] {
        let answer = talk(address, &request(host));
        assert!(answer.split("\r\n").next().is_some_and(|line| line.contains(status)), "{status}: {answer}");
    }
    assert!(get(address, "/nothing", "").starts_with("HTTP/1.1 404 "));
    assert!(talk(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let post = "POST /metrics HTTP/1.1\r\nHost: rack7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(talk(address, post).starts_with("HTTP/1.1 405 "));
}

#[test]
fn connections_are_bounded_in_number_and_time() {
    let timeout = ConfigDuration(Duration::from_millis(300));
    let (address, _) = serve(&HttpConfig { connections: 2, timeout, ..HttpConfig::default() });
    let mut slow = connect(address);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    let mut idle = connect(address);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut first = [0; 8];
    idle.read_exact(&mut first).unwrap();
    // Both places are taken.
    assert_eq!(get(address, "/", ""), "");
    // They end by themselves, the idle one too.
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    let _ = idle.read_to_end(&mut rest);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !get(address, "/", "").starts_with("HTTP/1.1 200 ") {
        assert!(std::time::Instant::now() < deadline, "the places are not free again");
    }
}

#[test]
fn others_read_it_only_encrypted_or_when_that_is_asked_for() {
    let paths = |config: &HttpConfig| config.problems().into_iter().map(|problem| problem.path).collect::<Vec<_>>();
    let open = HttpConfig { listen: "0.0.0.0:7480".parse().unwrap(), ..HttpConfig::default() };
    assert_eq!(paths(&open), ["listen"]);
    assert_eq!(paths(&HttpConfig { insecure: true, ..open.clone() }), [""; 0]);
    assert_eq!(paths(&HttpConfig { tls: Some(HttpTls::Own), ..open }), [""; 0]);
    for own in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(paths(&HttpConfig { listen: own.parse().unwrap(), ..HttpConfig::default() }), [""; 0]);
    }
    let wrong = HttpConfig { hosts: vec!["a".to_owned(), "http://b".to_owned()], ..HttpConfig::default() };
    assert_eq!(paths(&wrong), ["hosts[1]"]);
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let (address, _) = serve(&HttpConfig::default());
    let error = Bound::bind(&HttpConfig { listen: address, ..HttpConfig::default() }).err().unwrap();
    assert!(error.to_string().contains("http.listen"), "{error}");
}
