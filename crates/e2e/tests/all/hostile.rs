//! Peers that should not be let in, or break the rules: each finds a closed connection, the log says why, and nobody else
//! notices.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use prost::Message as _;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use task_messenger_client::{
    Client, ClientCredential, EncodedTemplate, Error, ExitCode, JobOptions, LinkStatus, LoneOptions, TaskId, TaskState,
    Template,
};
use task_messenger_protocol::{
    messages::{Enrol, FromPeer, Query, StatusQuestion, TasksQuestion, from_peer::Message, query::Question},
    secret::Secret,
    tls::{Fingerprint, Trust},
    token::Token,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::harness::{DEADLINE, Held, Site, Worker, json, said, until};

/// A manager with a well-behaved client, and a worker that runs a command all the time.
struct Scene {
    site: Site,
    _worker: Worker,
    client: Client,
    held: Held,
    task: TaskId,
}

impl Scene {
    async fn set() -> Self {
        Self::set_with(json!({"handshake_timeout": "2s", "silence": "5s"})).await
    }

    async fn set_with(link: serde_json::Value) -> Self {
        let site = Site::start_with(json!({"link": link}));
        let worker = site.worker("one");
        let client = site.client().await;
        let held = Held::new(&site.path("held"));
        let template = EncodedTemplate::new(&held.template()).unwrap();
        let task = client.submit_one(&template, b"a", LoneOptions::default()).await.unwrap();
        held.wait_for_starts(1);
        Self { site, _worker: worker, client, held, task }
    }

    /// Everybody else is unharmed: work is done, no link was cut, the task that ran all the time ends in its first attempt.
    async fn end(self) {
        let template = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
        let task = self.client.submit_one(&template, br#"{"text":"abc"}"#, LoneOptions::default()).await.unwrap();
        assert_eq!(&self.client.result(task).await.unwrap().outcome.output[..], br#"{"text":"cba"}"#);
        self.held.let_go();
        let result = self.client.result(self.task).await.unwrap();
        assert_eq!((result.state, result.attempts, self.held.starts().len()), (TaskState::Succeeded, 1, 1));
        let status = self.client.status_of_link();
        assert!(matches!(*status.borrow(), LinkStatus::Up) && !status.has_changed().unwrap());
        assert!(!self.site.manager_log().contains("panicked"));
    }

    fn address(&self) -> SocketAddr {
        self.site.address()
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// A connection with TLS over which nothing was said yet.
    async fn tls(&self) -> TlsStream<TcpStream> {
        self.tls_over(self.tcp().await).await
    }

    async fn tls_over(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        let certificate = CertificateDer::from_pem_file(self.site.path("manager/certificate.pem")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("task-messenger").unwrap();
        TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// A client that was let in.
    async fn admitted(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        let mut stream = self.tls_over(stream).await;
        let hello = Token::parse(&self.site.token("client")).unwrap().hello("hostile 1.0");
        stream.write_all(&frame(Message::Hello(hello))).await.unwrap();
        stream
    }
}

/// A message as it goes over a link.
fn frame(message: Message) -> Vec<u8> {
    let body = FromPeer { message: Some(message) }.encode_to_vec();
    let mut frame = (body.len() as u32 + 1).to_be_bytes().to_vec();
    frame.push(0);
    frame.extend(body);
    frame
}

/// Waits until the manager has closed the connection.
async fn closed(mut stream: impl AsyncRead + Unpin) {
    let mut buffer = [0; 4096];
    let reading = async { while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
    timeout(DEADLINE, reading).await.expect("the manager has closed the connection");
}

async fn sent_and_closed(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    // The manager may close before it has taken all.
    let _ = stream.write_all(bytes).await;
    closed(stream).await;
}

/// What comes of connecting with a token, and asking something.
async fn refused(text: &str) -> Error {
    let credential = ClientCredential::from_token(&Token::parse(text).unwrap());
    match Client::connect(&credential).await {
        Ok(client) => client.status().await.expect_err("the token is good for nothing"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tokens_that_are_wrong_revoked_or_of_another_role_let_nobody_in() {
    let scene = Scene::set().await;
    let token = Token::parse(&scene.site.token("client")).unwrap();

    let wrong = Token { secret: Secret::random().unwrap(), ..token.clone() }.to_text().unwrap();
    let error = refused(&wrong).await;
    assert_eq!(error.exit_code(), ExitCode::Configuration, "{error}");
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "not let in", "the token is not one of this manager's"]);

    scene.site.administer(&["token", "revoke", &token.number.to_string()]).ended_with(0);
    let error = refused(&token.to_text().unwrap()).await;
    assert_eq!(error.exit_code(), ExitCode::Configuration, "{error}");
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "not let in", "the token was revoked"]);

    let error = refused(&scene.site.token("worker")).await;
    assert!(said(&error).contains("may only enrol"), "{}", said(&error));
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "join token, which may only enrol"]);

    let mut client = scene.admitted(scene.tcp().await).await;
    let enrol = Enrol { request: 1, name: "w".to_owned(), secret_hash: vec![0; 32].into() };
    client.write_all(&frame(Message::Enrol(enrol))).await.unwrap();
    closed(client).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "broke the protocol", "a client sent Enrol"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_expects_another_manager_turns_away_and_both_sides_say_so() {
    let scene = Scene::set().await;
    let token = Token::parse(&scene.site.token("client")).unwrap();
    let other = Token { trust: Trust::Pin(Fingerprint([7; 32])), ..token }.to_text().unwrap();
    let error = refused(&other).await;
    assert_eq!(error.exit_code(), ExitCode::Configuration);
    assert!(said(&error).contains("somebody stands between"), "{}", said(&error));
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "did not accept this manager's certificate"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_speaks_something_else_is_closed() {
    let scene = Scene::set().await;
    sent_and_closed(scene.tcp().await, b"GET / HTTP/1.1\r\nHost: manager\r\n\r\n").await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "does not speak TLS"]);
    let before = scene.site.manager_log().lines().count();
    sent_and_closed(scene.tcp().await, &vec![0xff; 100_000]).await;
    crate::harness::wait_until("the log tells of garbage", || {
        scene.site.manager_log().lines().skip(before).any(|line| line.contains("WARN"))
    });
    sent_and_closed(scene.tls().await, &[0; 64]).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "handshake", "not a frame"]);
    // A frame that is no message.
    sent_and_closed(scene.tls().await, &[0, 0, 0, 5, 0, 0xff, 0xff, 0xff, 0xff]).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "a message can't be decoded"]);
    // A message at the wrong time.
    let question = Some(Question::Status(StatusQuestion {}));
    sent_and_closed(scene.tls().await, &frame(Message::Query(Query { request: 1, question }))).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "`Hello` was expected"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn frames_over_the_limit_end_their_connection_before_and_after_the_handshake() {
    let scene = Scene::set().await;
    let overlong = [0xff, 0xff, 0xff, 0xff, 0, 1, 2, 3];
    sent_and_closed(scene.tls().await, &overlong).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "handshake", "4294967294 bytes", "at most 16384"]);
    sent_and_closed(scene.admitted(scene.tcp().await).await, &overlong).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "the session was closed", "4294967294 bytes", "at most 262144"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_does_not_finish_the_handshake_is_closed_in_time() {
    let scene = Scene::set().await;
    closed(scene.tls().await).await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "the peer's `Hello` took longer than 2 s"]);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(scene.tcp().await);
    }
    for stream in silent {
        closed(stream).await;
    }
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "the TLS handshake took longer than 2 s"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_asks_and_never_reads_is_closed() {
    let scene = Scene::set_with(json!({"silence": "3s"})).await;
    // They stay queued: no worker has the skill.
    let template = EncodedTemplate::new(&Template::of_skill("none")).unwrap();
    let mut job = scene.client.job(JobOptions::default()).unwrap();
    for _ in 0..2_000 {
        job.push(&template, b"{}").await.unwrap();
    }
    let job = job.finish().await.unwrap().job;

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut stream = scene.admitted(socket.connect(scene.address()).await.unwrap()).await;
    let asking = async {
        let mut request = 0;
        loop {
            request += 1;
            let tasks = TasksQuestion { job: job.0, state: 0, from_index: 0, limit: 1_000 };
            let query = Query { request, question: Some(Question::Tasks(tasks)) };
            let question = frame(Message::Query(query));
            match timeout(Duration::from_secs(30), stream.write_all(&question)).await {
                Ok(Ok(())) => {}
                // Closed, or held up until it is.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    timeout(DEADLINE, asking).await.expect("the manager stops taking questions");
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "the session was closed", "it took nothing of what it was sent"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_over_the_limit_are_closed_and_those_that_are_there_stay() {
    let scene = Scene::set_with(json!({"connections": 3})).await;
    // The worker and the client are there; somebody takes the last place.
    let last = scene.admitted(scene.tcp().await).await;
    for _ in 0..20 {
        closed(scene.tcp().await).await;
    }
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "too many", "link.connections", "limit=3"]);
    assert_eq!(scene.site.manager_log().matches("too many").count(), 1, "{}", scene.site.manager_log());
    drop(last);
    let template = EncodedTemplate::new(&Template::of_skill("none")).unwrap();
    until("there is room again", || async {
        let mut stream = scene.tcp().await;
        // Whoever has room is waited for.
        let mut byte = [0];
        timeout(Duration::from_millis(200), stream.read(&mut byte)).await.is_err()
    })
    .await;
    scene.client.submit_one(&template, b"{}", LoneOptions::default()).await.unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn local_connections_over_the_limit_are_closed_and_take_nobodys_place() {
    let scene = Scene::set_with(json!({"connections": 3})).await;
    let connect = || UnixStream::connect(scene.site.path("manager/manager.sock"));
    let mut streams = Vec::new();
    for _ in 0..256 {
        streams.push(connect().await.unwrap());
    }
    for _ in 0..20 {
        closed(connect().await.unwrap()).await;
    }
    scene.site.wait_for_log(&["WARN", "local socket", "too many", "limit=256"]);
    assert_eq!(scene.site.manager_log().matches("too many").count(), 1, "{}", scene.site.manager_log());
    drop(scene.tls().await);
    drop(streams);
    until("there is room again", || async { scene.site.administer(&["token", "list"]).code() == 0 }).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn failed_logins_are_answered_ever_later_and_told_once_and_others_behind_the_same_address_are_let_in() {
    let scene = Scene::set().await;
    let token = Token::parse(&scene.site.token("client")).unwrap();
    let wrong = Token { secret: Secret::random().unwrap(), ..token.clone() }.to_text().unwrap();
    for _ in 0..10 {
        refused(&wrong).await;
    }
    // The eleventh answer is kept back for a second, the next for two.
    let begin = Instant::now();
    for _ in 0..2 {
        refused(&wrong).await;
    }
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    let guesses = tokio::spawn(async move {
        for _ in 0..2 {
            refused(&wrong).await;
        }
    });
    let begin = Instant::now();
    let client = Client::connect(&ClientCredential::from_token(&token)).await.unwrap();
    client.status().await.unwrap();
    assert!(!guesses.is_finished(), "the right token waited for the wrong ones ({:?})", begin.elapsed());
    guesses.abort();
    assert_eq!(scene.site.manager_log().matches("not let in").count(), 10, "{}", scene.site.manager_log());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn handshakes_from_one_address_are_limited_and_those_that_are_there_stay() {
    let scene = Scene::set_with(json!({"handshakes_per_address": 2, "handshake_timeout": "5s"})).await;
    let silent = [scene.tcp().await, scene.tcp().await];
    // Both have to be at the door before a third knocks.
    until("a third is turned away", || async {
        let mut third = scene.tcp().await;
        let mut byte = [0];
        matches!(timeout(Duration::from_millis(200), third.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
    })
    .await;
    scene.site.wait_for_log(&["WARN", "127.0.0.1:", "too many handshakes at a time", "most=2"]);
    drop(silent);
    until("there is room again", || async { scene.site.client().await.status().await.is_ok() }).await;
    scene.end().await;
}
