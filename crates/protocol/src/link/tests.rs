//! Links over loopback, with honest peers and others.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    messages::{
        Assign, GivenBack, Hello, Outcomes, Ping, Pong, Reason, Run, Submit, Welcome, WorkerProof, from_manager,
        from_peer, hello::Credential,
    },
    tls::{Fingerprint, Identity, Trust},
};

const LIMIT: Duration = Duration::from_secs(10);
const STORE: [u8; 16] = [5; 16];
const MESSAGE_BYTES: u64 = 4 * 1024 * 1024;

fn proof() -> Credential {
    Credential::Worker(WorkerProof { worker: 1, secret: vec![6; 32].into() })
}

fn welcome() -> Welcome {
    let limits = Limits { message_bytes: MESSAGE_BYTES, ..Limits::default() };
    Welcome { store: STORE.to_vec().into(), limits: Some(limits), ..Welcome::default() }
}

/// A manager that takes one connection, does something with it, and says how that ended.
struct Manager<T> {
    address: String,
    pin: Trust,
    end: tokio::task::JoinHandle<T>,
}

async fn manager<T, F, R>(identity: Identity, limit: Duration, then: F) -> Manager<T>
where
    T: Send + 'static,
    F: FnOnce(Result<Arrival, LinkError>) -> R + Send + 'static,
    R: Future<Output = T> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = identity.server_config().unwrap();
    let pin = Trust::Pin(identity.fingerprint().unwrap());
    let end = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        then(accept(stream, &config, limit).await).await
    });
    Manager { address, pin, end }
}

async fn welcoming(identity: Identity) -> Manager<Result<(), LinkError>> {
    manager(identity, LIMIT, |arrival| async {
        let (mut reader, mut writer) = arrival?.welcome(welcome()).await?;
        while let Some(message) = reader.next().await? {
            match message {
                from_peer::Message::Ping(ping) => writer.push_urgent(Pong { number: ping.number })?,
                from_peer::Message::Submit(submit) => {
                    writer.push(Assign { payloads: submit.payloads, ..Assign::default() })?;
                }
                _ => {}
            }
            writer.flush().await?;
        }
        Ok(())
    })
    .await
}

/// A manager whose outcome is what its handshake ended with.
async fn strict(limit: Duration) -> Manager<Result<Arrival, LinkError>> {
    manager(Identity::create().unwrap(), limit, |arrival| async { arrival }).await
}

#[tokio::test]
async fn both_sides_talk_once_they_know_each_other() {
    let manager = welcoming(Identity::create().unwrap()).await;
    let hello = hello("test 1", &STORE, proof());
    let mut link = connect(std::slice::from_ref(&manager.address), &manager.pin, &hello).await.unwrap();
    assert_eq!((link.welcome.version, link.address.as_str()), (crate::NEWEST_VERSION, manager.address.as_str()));

    // Large both ways, with a ping that doesn't wait for it.
    let payloads = bytes::Bytes::from(vec![3; MESSAGE_BYTES as usize - 100]);
    link.writer.push(Submit { payloads: payloads.clone(), ..Submit::default() }).unwrap();
    link.writer.push_urgent(Ping { number: 8 }).unwrap();
    link.writer.flush().await.unwrap();
    assert_eq!(link.reader.next().await.unwrap(), Some(from_manager::Message::Pong(Pong { number: 8 })));
    let Some(from_manager::Message::Assign(assign)) = link.reader.next().await.unwrap() else { panic!("no echo") };
    assert!(assign.payloads == payloads);

    let too_long = Submit { payloads: vec![0; MESSAGE_BYTES as usize].into(), ..Submit::default() };
    assert!(matches!(link.writer.push(too_long), Err(LinkError::TooLong { .. })), "and the link goes on");
    part(&mut link.reader, &mut link.writer, LIMIT).await;
    manager.end.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_manager_with_another_key_is_not_trusted() {
    let manager = strict(LIMIT).await;
    let other = Trust::Pin(Fingerprint([1; 32]));
    let error =
        connect(std::slice::from_ref(&manager.address), &other, &hello("test", &[], proof())).await.unwrap_err();
    assert!(matches!(error, LinkError::WrongFingerprint { .. }) && !error.retry_can_help(), "{error}");
    assert!(error.to_string().contains("not the one in the token: expected sha256:0101"), "{error}");
    let seen = manager.end.await.unwrap().unwrap_err();
    assert!(matches!(seen, LinkError::CertificateRefused { .. }), "{seen}");
}

#[tokio::test]
async fn an_authoritys_certificate_is_trusted_for_its_name_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["manager.example".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(path("roots.pem"), root_certificate.pem()).unwrap();
    std::fs::write(path("own.crt"), certificate.pem()).unwrap();
    crate::private_file::write(&path("own.key"), key.serialize_pem().as_bytes()).unwrap();

    for (name, trusted) in [("manager.example", true), ("other.example", false)] {
        let manager = welcoming(Identity::load(&path("own.crt"), &path("own.key")).unwrap()).await;
        let trust = Trust::Authority { name: name.to_owned(), roots: Some(path("roots.pem")) };
        match connect(&[manager.address], &trust, &hello("test", &STORE, proof())).await {
            Ok(_) => assert!(trusted),
            Err(error) => assert!(!trusted && matches!(error, LinkError::UntrustedCertificate { .. }), "{error}"),
        }
    }
}

#[tokio::test]
async fn strangers_that_speak_no_tls_are_told_apart() {
    for noise in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 100]] {
        let manager = strict(LIMIT).await;
        let mut stream = TcpStream::connect(&manager.address).await.unwrap();
        stream.write_all(noise).await.unwrap();
        let error = manager.end.await.unwrap().unwrap_err();
        assert!(matches!(error, LinkError::NotTls), "{error}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let pin = Trust::Pin(Fingerprint([1; 32]));
    let error = connect(&[address], &pin, &hello("test", &[], proof())).await.unwrap_err();
    assert!(matches!(error, LinkError::NotTls), "{error}");
}

#[tokio::test]
async fn a_silent_stranger_is_given_up_on() {
    let manager = strict(Duration::from_millis(50)).await;
    let _silent = TcpStream::connect(&manager.address).await.unwrap();
    let error = manager.end.await.unwrap().unwrap_err();
    assert!(matches!(error, LinkError::TimedOut { what: "the TLS handshake", .. }), "{error}");
    let (_silent, stream) = tokio::io::duplex(64);
    let error = accept_local(Box::new(stream), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, LinkError::TimedOut { what: "the peer's `Hello`", .. }), "{error}");
}

/// What a manager makes of a stranger's first bytes.
async fn first_bytes(bytes: Vec<u8>) -> LinkError {
    let (mut peer, stream) = tokio::io::duplex(64 * 1024);
    peer.write_all(&bytes).await.unwrap();
    drop(peer);
    accept_local(Box::new(stream), LIMIT).await.unwrap_err()
}

#[tokio::test]
async fn what_comes_instead_of_a_hello_is_refused() {
    assert!(matches!(first_bytes(vec![0, 1, 0, 0, 0]).await, LinkError::Frame(_)), "an overlong frame");
    assert!(matches!(first_bytes(vec![0, 0, 0, 3, 0, 0xff, 0xff]).await, LinkError::Malformed { .. }), "no message");
    let ping = vec![0, 0, 0, 5, 0, 0x12, 2, 8, 7];
    assert!(matches!(first_bytes(ping).await, LinkError::Unexpected { .. }), "another message");
    assert!(matches!(first_bytes(Vec::new()).await, LinkError::Closed));
}

/// Both sides of a greeting in memory.
async fn greeting(
    hello: Hello,
    answer: impl AsyncFnOnce(Arrival) -> Result<(), LinkError>,
) -> (Result<Connected, LinkError>, Result<(), LinkError>) {
    let (peer, stream) = tokio::io::duplex(64 * 1024);
    tokio::join!(async { greet(Box::new(peer), &hello).await }, async {
        answer(accept_local(Box::new(stream), LIMIT).await?).await
    })
}

#[tokio::test]
async fn a_refusal_says_why_and_whether_to_come_back() {
    for (reason, again) in [(Reason::Unauthenticated, false), (Reason::Restarting, true)] {
        let (refused, told) =
            greeting(hello("test", &[], proof()), async |arrival| arrival.refuse(reason, "because").await).await;
        told.unwrap();
        let error = refused.unwrap_err();
        assert_eq!(error.retry_can_help(), again);
        assert!(error.to_string().contains("because") && matches!(error, LinkError::Goodbye { .. }), "{error}");
    }
}

#[tokio::test]
async fn versions_and_stores_must_match() {
    let futuristic = Hello { oldest_version: 90, newest_version: 99, ..hello("test", &[], proof()) };
    let (refused, told) = greeting(futuristic, async |_| Ok(())).await;
    assert!(matches!(refused, Err(LinkError::Goodbye { reason: Reason::Version, .. })));
    assert!(matches!(told, Err(LinkError::Version { oldest: 90, newest: 99 })));

    let wide = Hello { newest_version: 99, ..hello("test", &[], proof()) };
    let (welcomed, _) = greeting(wide, async |arrival| arrival.welcome(welcome()).await.map(drop)).await;
    assert_eq!(welcomed.unwrap().welcome.version, crate::NEWEST_VERSION);

    let elsewhere = hello("test", &[9; 16], proof());
    let (refused, _) = greeting(elsewhere, async |arrival| arrival.welcome(welcome()).await.map(drop)).await;
    assert!(matches!(refused, Err(LinkError::OtherStore)));
}

#[tokio::test]
async fn addresses_are_tried_in_turn_and_all_failures_told() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let manager = welcoming(Identity::create().unwrap()).await;
    let hello = hello("test", &[], proof());
    let link = connect(&[closed.clone(), manager.address.clone()], &manager.pin, &hello).await.unwrap();
    assert_eq!(link.address, manager.address);

    let error = connect(&[closed.clone(), closed.clone()], &manager.pin, &hello).await.unwrap_err();
    let text = error.to_string();
    assert!(error.retry_can_help() && text.matches("nothing listens there").count() == 2, "{text}");
    assert!(matches!(connect(&[], &manager.pin, &hello).await, Err(LinkError::NoAddress)));
}

#[tokio::test]
async fn messages_of_a_newer_version_are_passed_over() {
    let (peer, stream) = tokio::io::duplex(64 * 1024);
    let (mut raw, _keep) = halves::<FromPeer, FromManager>(Box::new(stream));
    let (_read, mut peer) = tokio::io::split(peer);
    // Field 1000 of `FromPeer`, then a ping with an unknown field, then the end.
    peer.write_all(&[0, 0, 0, 4, 0, 0xc2, 0x3e, 0]).await.unwrap();
    peer.write_all(&[0, 0, 0, 7, 0, 0x12, 4, 8, 7, 0x50, 1]).await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(raw.next().await.unwrap(), Some(from_peer::Message::Ping(Ping { number: 7 })));
    assert!(raw.next().await.unwrap().is_none());
}

/// What neighbouring versions must understand: these bytes never change.
#[tokio::test]
async fn the_bytes_of_version_1_stay_the_same() {
    let (peer, stream) = tokio::io::duplex(64 * 1024);
    let (_, mut from_peer) = halves::<FromManager, FromPeer>(Box::new(peer));
    from_peer
        .push(Outcomes {
            number: 1,
            leases: vec![300, 301],
            statuses: vec![1, 2].into(),
            outcomes: vec![4, 8, 1, 0].into(),
        })
        .unwrap();
    from_peer.push(GivenBack { leases: vec![302] }).unwrap();
    from_peer.close().await.unwrap();
    let (mut stream, mut write) = tokio::io::split(stream);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(
        crate::hex::encode(&bytes),
        [
            "0000001600",
            "a20212",
            "0801",
            "1204ac02ad02",
            "1a020102",
            "220404080100",
            "0000000800",
            "aa0204",
            "0a02ae02"
        ]
        .concat()
    );
    write.shutdown().await.unwrap();

    let (manager, mut stream) = tokio::io::duplex(64 * 1024);
    let (_, mut from_manager) = halves::<FromPeer, FromManager>(Box::new(manager));
    let run = Run { template: 2, job: 12, first_index: 345, count: 1, attempt: 1 };
    from_manager.push(Assign { first_lease: 300, runs: vec![run], payloads: vec![2, 97].into() }).unwrap();
    from_manager.close().await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(
        crate::hex::encode(&bytes),
        ["0000001800", "9a0214", "08ac02", "120b", "0802", "100c", "18d902", "2001", "2801", "1a020261"].concat()
    );
}
