//! The whole program, in this process, with a manager made for it.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Barrier, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use task_messenger_core::record::Role;
use task_messenger_protocol::{
    credential::WorkerCredential,
    link,
    messages::{Enrol, Enrolled, Reason, Resume, Welcome, from_peer::Message, hello::Credential},
    secret::Secret,
    tls::{Identity, Trust},
    token::Token,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// What the manager heard.
enum Heard {
    Enrol(Enrol, Vec<u8>),
    Resume(Resume),
}

/// A manager that enrols every worker as number 5, and revokes it as soon as it has resumed.
fn manager(listener: TcpListener, identity: &Identity) -> Receiver<Heard> {
    let (heard, hears) = channel();
    let tls = identity.server_config().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let arrival = link::accept(stream, &tls, LIMIT).await.unwrap();
                let secret = match arrival.hello.credential.clone().unwrap() {
                    Credential::Token(proof) => proof.secret.to_vec(),
                    _ => Vec::new(),
                };
                let welcome = Welcome { store: vec![4; 16].into(), silence_milliseconds: 30_000, ..Welcome::default() };
                let (mut reader, mut writer) = arrival.welcome(welcome).await.unwrap();
                match reader.next().await.unwrap().unwrap() {
                    Message::Enrol(enrol) => {
                        let answer = Enrolled { request: enrol.request, worker: 5, store: vec![4; 16].into() };
                        writer.push(answer).unwrap();
                        heard.send(Heard::Enrol(enrol, secret)).unwrap();
                    }
                    Message::Resume(resume) => {
                        let text = "revoked".to_owned();
                        let reason = Reason::Unauthenticated.into();
                        writer.push(task_messenger_protocol::messages::Goodbye { reason, text }).unwrap();
                        heard.send(Heard::Resume(resume)).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
                writer.close().await.unwrap();
            }
        })
        .unwrap();
    });
    hears
}

fn program(state: &Path, arguments: &[&str]) -> u8 {
    // Other tests, and other workers, may have its port.
    let file = state.with_extension("json");
    std::fs::write(&file, r#"{"http": null}"#).unwrap();
    let (state, file) = (state.to_str().unwrap(), file.to_str().unwrap());
    let head = ["task-messenger-worker", "--state-dir", state, "--config", file];
    exit_code(head.iter().chain(arguments).map(Into::into), SkillRegistry::with_built_in())
}

fn token(role: Role, identity: &Identity, addresses: Vec<String>) -> Token {
    let trust = Trust::Pin(identity.fingerprint().unwrap());
    Token { role, number: 3, secret: Secret::random().unwrap(), trust, addresses }
}

#[test]
fn a_worker_joins_once_keeps_no_token_and_runs_until_it_is_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    assert_eq!(program(&state, &["run"]), 78, "it has not joined");

    let identity = Identity::create().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let token = token(Role::Worker, &identity, vec![address.clone()]);
    let text = token.to_text().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, format!("{text}\n")).unwrap();
    let source = format!("@{}", file.display());
    let heard = manager(listener, &identity);

    assert_eq!(program(&state, &["join", &text]), 64, "a token as an argument is refused");
    assert_eq!(program(&state, &["join", &source, "--name", "rack-7"]), 0);
    let Ok(Heard::Enrol(enrol, secret)) = heard.recv_timeout(LIMIT) else { panic!("it enrols") };
    assert_eq!((enrol.name.as_str(), &secret[..]), ("rack-7", &token.secret.expose()[..]));
    let path = state.join("worker.credential");
    let credential = WorkerCredential::load(&path).unwrap();
    assert_eq!((credential.worker, credential.store, credential.addresses), (5, [4; 16], vec![address]));
    assert_eq!(enrol.secret_hash, &credential.secret.hash().0[..]);
    assert_ne!(credential.secret, token.secret, "the join token is not kept");

    assert_eq!(program(&state, &["join", &source]), 1, "it has joined already");
    assert_eq!(program(&state, &["join", &source, "--force"]), 0);
    assert!(matches!(heard.recv_timeout(LIMIT), Ok(Heard::Enrol(..))));
    assert_ne!(WorkerCredential::load(&path).unwrap().secret, credential.secret);

    let lock = fs::File::open(state.join("worker.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(program(&state, &["run"]), 1, "another worker has the directory");
    drop(lock);
    assert_eq!(program(&state, &["run", "--slots", "3"]), 78, "it is revoked");
    let Ok(Heard::Resume(resume)) = heard.recv_timeout(LIMIT) else { panic!("it resumes") };
    assert_eq!(resume.slots, 3);

    // As in an image: the first start enrols.
    let state = directory.path().join("image");
    let config = directory.path().join("config.json");
    fs::write(&config, format!(r#"{{"join_token_file": {file:?}, "name": "image", "http": null}}"#)).unwrap();
    assert_eq!(program(&state, &["run", "--config", config.to_str().unwrap()]), 78);
    let Ok(Heard::Enrol(enrol, _)) = heard.recv_timeout(LIMIT) else { panic!("it enrols") };
    assert_eq!(enrol.name, "image");
    assert!(matches!(heard.recv_timeout(LIMIT), Ok(Heard::Resume(_))));
}

#[test]
fn exit_codes_say_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let identity = Identity::create().unwrap();
    // A port that nothing listens on any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let file = directory.path().join("token");
    let source = format!("@{}", file.display());
    let write = |role| fs::write(&file, token(role, &identity, vec![address.clone()]).to_text().unwrap()).unwrap();

    write(Role::Worker);
    assert_eq!(program(&state, &["join", &source]), 69, "the manager can't be reached");
    assert_eq!(program(&state, &["join", &source, "--manager", "nonsense"]), 78);
    write(Role::Client);
    assert_eq!(program(&state, &["join", &source]), 64, "a client's token is none for workers");
    fs::write(&file, "tm1w_half").unwrap();
    assert_eq!(program(&state, &["join", &source]), 64);
    assert_eq!(program(&state, &["join", "--nonsense"]), 64);
    assert_eq!(program(&state, &["run", "--nonsense"]), 78);
    assert_eq!(program(&state, &["run", "--slots", "0"]), 78);
    assert_eq!(program(&state, &[]), 78);
    assert_eq!(program(&state, &["--check-config"]), 0);
    assert_eq!(program(&state, &["--print-config"]), 0);
    assert_eq!(program(&state, &["--check-state"]), 0);
    fs::write(state.join("outbox"), b"TMOUTBX2 and what only a newer version reads").unwrap();
    assert_eq!(program(&state, &["--check-state"]), 78);
    assert_eq!(program(&state, &["--version"]), 0);
    assert!(!state.join("worker.credential").exists());
}

#[test]
fn threads_that_wait_are_as_many_as_there_are_pipes_and_the_end_waits_for_none() {
    // More than the runtime has when nothing is said.
    const PIPES: usize = 600;
    let (go, gone) = channel::<()>();
    let gone = Arc::new(Mutex::new(gone));
    let waiting = Arc::new(Barrier::new(PIPES + 1));
    let all = async move {
        for _ in 0..PIPES {
            let (waiting, gone) = (Arc::clone(&waiting), Arc::clone(&gone));
            tokio::task::spawn_blocking(move || {
                waiting.wait();
                // For ever.
                _ = gone.lock().unwrap().recv();
            });
        }
        tokio::task::spawn_blocking(move || waiting.wait()).await.unwrap();
    };
    let (tell, told) = channel();
    thread::spawn(move || tell.send(block_on(async { tokio::time::timeout(LIMIT, all).await })));
    told.recv_timeout(3 * LIMIT).expect("the end waits").unwrap().expect("all wait at once");
    drop(go);
}
