//! By which name a request came: a web page that someone on this machine looks at could have its own name resolve to
//! 127.0.0.1, and read what is only for this machine (DNS rebinding). So only names that can't be such a page's are taken.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// Lets requests through that name this machine by an IP address, as `localhost`, or by one of these names.
pub(super) async fn check(State(hosts): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.or_else(|| request.uri().host()) else {
        return (StatusCode::BAD_REQUEST, "the request has no Host\n").into_response();
    };
    if is_allowed(host, &hosts) {
        return next.run(request).await;
    }
    let text = format!("{host:?} is not a name of this server: ask by its IP address, or add the name to http.hosts\n");
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

fn is_allowed(host: &str, hosts: &[String]) -> bool {
    let name = if let Some(literal) = host.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(address, port)| {
            address.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port.strip_prefix(':')))
        });
    } else {
        match host.rsplit_once(':') {
            Some((name, port)) if is_port(Some(port)) => name,
            Some(_) => return false,
            None => host,
        }
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

fn is_port(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.parse::<u16>().is_ok())
}

/// Whether a text can be a host's name (RFC 1123, section 2.1).
pub(super) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_let_through() {
        let hosts = ["rack7.example".to_owned()];
        for host in
            ["127.0.0.1", "127.0.0.1:7480", "[::1]", "[::1]:7480", "localhost:80", "LocalHost", "Rack7.Example:1"]
        {
            assert!(is_allowed(host, &hosts), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x",
            "a:b",
            "localhost:",
        ] {
            assert!(!is_allowed(host, &hosts), "{host}");
        }
    }

    #[test]
    fn a_name_has_no_port_and_no_scheme() {
        assert!(is_name("a") && is_name("rack-7.example"));
        for text in ["", "a:1", "http://a", "a..b", "a b", &"a".repeat(64)] {
            assert!(!is_name(text), "{text}");
        }
    }
}
