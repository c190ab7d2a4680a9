//! Alive and ready, over HTTP and as the service manager is told.

use std::{net::SocketAddr, process::Command, time::Duration};

use task_messenger_client::{EncodedTemplate, LoneOptions};

use crate::harness::{Held, NotifySocket, Proxy, Signal, Site, get, json, skip, wait_until};

/// The configuration of a daemon that answers HTTP.
fn http() -> serde_json::Value {
    json!({"http": {"listen": "127.0.0.1:0"}})
}

fn status(address: SocketAddr, path: &str) -> u16 {
    get(address, path).0
}

/// How a check of `/readyz` is.
fn check(address: SocketAddr, name: &str) -> serde_json::Value {
    let report: serde_json::Value = serde_json::from_str(&get(address, "/readyz").1).unwrap();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}: {report}")).clone()
}

#[test]
fn every_route_of_both_daemons_is_answered_to_curl() {
    let site = Site::start_with(http());
    let worker = site.worker_with("worker", http());
    wait_until("the worker is ready", || status(worker.http(), "/readyz") == 200);
    if Command::new("curl").arg("--version").output().is_err() {
        skip("the routes with curl", "there is no curl here");
        return;
    }
    for (address, component) in [(site.http(), "manager"), (worker.http(), "worker")] {
        let curl = |arguments: &[&str], path: &str| {
            let url = format!("http://{address}{path}");
            let output =
                Command::new("curl").args(["-sS", "-i", "-m", "30"]).args(arguments).arg(url).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(curl(&[], "/").contains("/metrics"));
        let alive = curl(&[], "/healthz");
        assert!(alive.starts_with("HTTP/1.1 200 ") && alive.contains("event loop"), "{alive}");
        let ready = curl(&[], "/readyz");
        for word in ["HTTP/1.1 200 ", "application/json", r#""ok":true"#, r#""since":"20"#, r#""detail":"it works""#] {
            assert!(ready.contains(word), "{word}: {ready}");
        }
        let metrics = curl(&[], "/metrics");
        assert!(metrics.contains(&format!("component=\"{component}\"")), "{metrics}");
        assert!(metrics.contains("task_messenger_ready 1"), "{metrics}");
        assert!(curl(&[], "/nothing").starts_with("HTTP/1.1 404 "));
        assert!(curl(&["-X", "POST", "-d", "x"], "/readyz").starts_with("HTTP/1.1 405 "));
        assert!(curl(&["-H", "Host: evil.example"], "/metrics").starts_with("HTTP/1.1 421 "));
        assert!(curl(&["-I"], "/healthz").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn the_managers_own_certificate_and_an_insecure_address_have_to_be_asked_for() {
    let mut site = Site::start_with(json!({"http": {"listen": "127.0.0.1:0", "tls": "own"}}));
    assert_eq!(status(site.http(), "/readyz"), 0, "it is not answered without encryption");
    // A worker has none of its own, but may be given one.
    let (chain, key) = (site.state_file("certificate.pem"), site.state_file("key.pem"));
    let worker =
        site.worker_with("worker", json!({"http": {"listen": "127.0.0.1:0", "tls": {"chain": chain, "key": key}}}));
    let own = site.unjoined_worker("other", json!({"http": {"tls": "own"}}));
    let refused = site.run(&["worker", "--check-config", "--config", own.file().to_str().unwrap()]).ended_with(78);
    assert!(refused.errors.contains("http.tls"), "{refused}");
    if Command::new("curl").arg("--version").output().is_ok() {
        for address in [site.http(), worker.http()] {
            let url = format!("https://{address}/healthz");
            let output = Command::new("curl").args(["-sS", "-k", "-m", "30", &url]).output().unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains(r#""ok":true"#), "{output:?}");
        }
    } else {
        skip("HTTP with TLS", "there is no curl here");
    }
    drop(worker);
    site.stop_manager();
    site.configure(json!({"http": {"listen": "0.0.0.0:0", "insecure": true}}));
    site.start_manager();
    let port = site.http().port();
    wait_until("it is ready", || status(([127, 0, 0, 1], port).into(), "/readyz") == 200);
    site.wait_for_log(&["WARN", "without encryption", "http.insecure"]);
    site.stop_manager();
    site.configure(json!({"http": {"listen": "0.0.0.0:0"}}));
    site.launch_manager();
    assert_eq!(site.manager().wait().code(), Some(78));
    site.wait_for_log(&["http.listen", "http.tls", "http.insecure"]);
}

#[test]
fn a_worker_without_its_manager_is_alive_and_not_ready() {
    let mut site = Site::start();
    let worker = site.worker_with("worker", http());
    let address = worker.http();
    wait_until("the worker is ready", || status(address, "/readyz") == 200);
    site.kill_manager();
    wait_until("the worker is not ready", || status(address, "/readyz") == 503);
    assert_eq!(status(address, "/healthz"), 200);
    let connected = check(address, "connected");
    assert_eq!(connected["ok"], false);
    assert!(connected["advice"].as_str().unwrap().contains("manager runs"), "{connected}");
    assert!(get(address, "/metrics").1.contains("task_messenger_worker_connected 0"));
    site.start_manager();
    wait_until("the worker is ready again", || status(address, "/readyz") == 200);
    assert!(get(address, "/metrics").1.contains("task_messenger_worker_reconnects_total 1"));
}

#[test]
fn a_manager_below_its_disk_reserve_is_alive_and_not_ready() {
    let Some(mut site) = Site::prepare_small(
        json!({"http": {"listen": "127.0.0.1:0"}, "disk": {"reserve": "16MiB"},
        "journal": {"segment": "2MiB"}}),
        64,
    ) else {
        return;
    };
    site.start_manager();
    let address = site.http();
    wait_until("the manager is ready", || status(address, "/readyz") == 200);
    site.disk().fill();
    wait_until("the manager is not ready", || status(address, "/readyz") == 503);
    assert_eq!(
        (check(address, "disk")["ok"].clone(), check(address, "working")["ok"].clone()),
        (json!(false), json!(true))
    );
    assert_eq!(status(address, "/healthz"), 200);
    let metrics = get(address, "/metrics").1;
    assert!(
        metrics.contains("task_messenger_disk_full 1") || metrics.contains("task_messenger_disk_full 2"),
        "{metrics}"
    );
    site.disk().empty();
    wait_until("the manager is ready again", || status(address, "/readyz") == 200);
}

#[tokio::test]
async fn who_stops_is_alive_and_not_ready_and_asks_for_the_time_that_it_needs() {
    let mut site = Site::start_with(http());
    let socket_path = site.path("notify");
    let mut service = NotifySocket::bind(&socket_path);
    let mut worker =
        site.joined_worker("worker", json!({"http": {"listen": "127.0.0.1:0"}, "shutdown": {"grace": "10min"}}));
    worker.set_variable("NOTIFY_SOCKET", service.name());
    worker.start();
    service.wait_for("READY=1");
    service.wait_for("STATUS=connected to 127.0.0.1:");
    let held = Held::new(&site.path("held"));
    let client = site.client().await;
    let template = EncodedTemplate::new(&held.template()).unwrap();
    client.submit_one(&template, b"one", LoneOptions::default()).await.unwrap();
    held.wait_for_starts(1);
    worker.process().signal(Signal::TERM);
    service.wait_for("STOPPING=1");
    let extension = service.wait_for("EXTEND_TIMEOUT_USEC=");
    assert!(extension.ends_with("000000"), "{extension}");
    service.wait_for("STATUS=stopping; tasks that run: 1, outcomes to report: 0");
    let address = worker.http();
    assert_eq!((status(address, "/readyz"), status(address, "/healthz")), (503, 200));
    assert_eq!(check(address, "working")["detail"], "it stops");
    held.let_go();
    assert!(worker.wait().success());

    // The manager waits a moment for a peer that does not read its goodbye.
    let proxy = Proxy::start(site.address());
    let stalled = site.client_with(&site.token("client"), proxy.address()).await;
    stalled.status().await.unwrap();
    proxy.stall();
    let address = site.http();
    site.manager().signal(Signal::TERM);
    wait_until("the manager is not ready", || status(address, "/readyz") == 503);
    assert!(site.manager().wait().success());
}

#[test]
fn a_frozen_event_loop_is_not_alive_and_stops_the_watchdog() {
    let mut site = Site::prepare(http());
    let (freeze, mut service) = (site.path("freeze"), NotifySocket::bind(&site.path("notify")));
    for (name, value) in [
        ("FREEZE_EVENT_LOOP", freeze.to_str().unwrap()),
        ("NOTIFY_SOCKET", service.name()),
        ("WATCHDOG_USEC", "900000"),
    ] {
        site.set_variable(name, value);
    }
    site.start_manager();
    let address = site.http();
    service.wait_for("READY=1");
    service.wait_for("WATCHDOG=1");
    service.wait_for("STATUS=0 workers, 0 queued, 0 running");
    assert_eq!(status(address, "/healthz"), 200);

    let mut other = NotifySocket::bind(&site.path("notify-worker"));
    let mut worker = site.joined_worker("worker", http());
    worker.set_variable("FREEZE_EVENT_LOOP", freeze.to_str().unwrap());
    worker.set_variable("NOTIFY_SOCKET", other.name());
    worker.set_variable("WATCHDOG_USEC", "900000");
    worker.start();
    other.wait_for("READY=1");
    service.wait_for("STATUS=1 worker, 0 queued, 0 running");

    std::fs::write(&freeze, "").unwrap();
    for (address, service) in [(address, &mut service), (worker.http(), &mut other)] {
        wait_until("it is not alive", || status(address, "/healthz") == 503);
        assert!(get(address, "/healthz").1.contains("it has not turned for"), "{}", get(address, "/healthz").1);
        // What was sent before is in the socket.
        while !service.is_silent("WATCHDOG=1", Duration::from_secs(2)) {}
        service.forget();
    }
    std::fs::remove_file(&freeze).unwrap();
    for (address, service) in [(address, &mut service), (worker.http(), &mut other)] {
        wait_until("it is alive again", || status(address, "/healthz") == 200);
        service.wait_for("WATCHDOG=1");
    }
    site.stop_manager();
    service.wait_for("STOPPING=1");
}

#[test]
fn a_worker_without_its_manager_is_a_good_start_and_says_what_it_waits_for() {
    let mut site = Site::start();
    let mut service = NotifySocket::bind(&site.path("notify"));
    let mut worker = site.joined_worker("worker", json!({}));
    let address = site.address();
    site.stop_manager();
    worker.set_variable("NOTIFY_SOCKET", service.name());
    worker.set_variable("WATCHDOG_USEC", "900000");
    worker.start();
    service.wait_for("READY=1");
    let text = service.wait_for("STATUS=waiting for manager");
    assert!(text.contains(&format!("{address}, next try in ")) && text.ends_with(" s"), "{text}");
    service.wait_for("WATCHDOG=1");
}
