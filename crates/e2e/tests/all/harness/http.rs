//! Asking over HTTP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::DEADLINE;

/// The status and the body of what is at `path`; status 0 if nobody answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = get_with(address, path, "");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(), body)
}

/// The head and the body of what is answered to a request with these headers too, each of which ends with `\r\n`.
pub(crate) fn get_with(address: SocketAddr, path: &str, headers: &str) -> (String, String) {
    let Ok(mut stream) = TcpStream::connect(address) else { return (String::new(), String::new()) };
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // Nobody cuts an answer into chunks in this version.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    let mut answer = String::new();
    // The daemon may end meanwhile.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
    (head.to_owned(), body.to_owned())
}
