//! This machine's addresses as others may reach them, as far as it can know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses for peers of a manager that listens at `listening`: where it listens on a particular address, that one;
/// where it listens everywhere, the address on the way out and this machine's name.
pub(crate) fn own(listening: &[SocketAddr]) -> Vec<String> {
    let mut addresses = Vec::new();
    for address in listening {
        if address.ip().is_unspecified() {
            let outward = outward(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
                .or_else(|| outward(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))));
            addresses.extend(outward.map(|ip| SocketAddr::new(ip, address.port()).to_string()));
            addresses.extend(host_name().map(|name| format!("{name}:{}", address.port())));
        } else {
            addresses.push(address.to_string());
        }
    }
    if addresses.is_empty() {
        addresses.extend(listening.first().map(|address| format!("127.0.0.1:{}", address.port())));
    }
    let mut seen = Vec::new();
    addresses.retain(|address| {
        let new = !seen.contains(address);
        seen.push(address.clone());
        new
    });
    addresses
}

/// The address that this machine would use towards another one. Connecting a datagram socket sends nothing; the target is
/// reserved for documentation (RFC 5737, RFC 3849), so it belongs to nobody.
fn outward(target: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((target, 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

/// This machine's name, if it is one that fits into an address.
fn host_name() -> Option<String> {
    let name = if cfg!(windows) {
        std::env::var("COMPUTERNAME").ok()?
    } else {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .or_else(|_| std::fs::read_to_string("/etc/hostname"))
            .ok()?
    };
    let name = name.trim().to_owned();
    let fits = !name.is_empty()
        && name != "localhost"
        && name.chars().all(|char| char.is_ascii_alphanumeric() || "-._".contains(char));
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_particular_address_is_taken_as_it_is_and_none_is_doubled() {
        let address: SocketAddr = "127.0.0.1:7400".parse().unwrap();
        assert_eq!(own(&[address, address]), ["127.0.0.1:7400"]);
    }

    #[test]
    fn a_manager_that_listens_everywhere_has_an_address_with_its_port() {
        let addresses = own(&["[::]:7411".parse().unwrap()]);
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ends_with(":7411")), "{addresses:?}");
    }
}
