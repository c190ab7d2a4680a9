use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn one_exchange(directory: &Path, listener: &mut LocalListener) {
    let (accepted, connected) = tokio::join!(listener.accept(), connect_local(directory, "manager"));
    let (mut manager, mut peer) = (accepted.unwrap(), connected.unwrap());
    peer.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    manager.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
}

#[tokio::test]
async fn a_manager_listens_and_its_owner_connects() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    assert!(matches!(connect_local(directory, "manager").await, Err(LocalError::NotRunning { .. })));
    drop(LocalListener::bind(directory, "manager").await.unwrap());
    assert!(matches!(connect_local(directory, "manager").await, Err(LocalError::NotRunning { .. })));
    let mut listener = LocalListener::bind(directory, "manager").await.unwrap();
    one_exchange(directory, &mut listener).await;
}

#[tokio::test]
async fn a_second_manager_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = LocalListener::bind(directory.path(), "manager").await.unwrap();
    assert!(matches!(LocalListener::bind(directory.path(), "manager").await, Err(LocalError::Taken { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_dead_manager_left_is_replaced_by_a_private_socket() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manager.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(connect_local(directory.path(), "manager").await, Err(LocalError::NotRunning { .. })));
    let mut listener = LocalListener::bind(directory.path(), "manager").await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    one_exchange(directory.path(), &mut listener).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_path_too_long_for_a_socket_works_all_the_same() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("d".repeat(120));
    crate::directories::create_private(&directory).unwrap();
    let mut listener = LocalListener::bind(&directory, "manager").await.unwrap();
    one_exchange(&directory, &mut listener).await;
    drop(listener);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}
