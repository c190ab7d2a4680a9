//! Who may do what with what is installed, as access lists ([MS-DTYP] 2.5.1).

use sha1::{Digest, Sha1};

/// Reading and running: what a service may do with what is not its own.
const READ: &str = "0x1200a9";
/// All but giving it away.
const MODIFY: &str = "0x1301bf";

/// The SID of the account that a service has of its own (`NT SERVICE\NAME`): the SHA-1 of its name in capitals, as UTF-16 (as
/// `sc.exe showsid` prints it, whether there is such a service or not).
pub(super) fn service_sid(name: &str) -> String {
    let wide: Vec<u8> = name.to_uppercase().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hash = Sha1::digest(&wide);
    hash.chunks_exact(4).fold("S-1-5-80".to_owned(), |sid, part| {
        let number = part.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        format!("{sid}-{number}")
    })
}

/// An account that a service can run as without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// All of the machine. To be typed out.
    System,
    /// By its name, and its SID where that is fixed; others are asked of the system.
    Named(String, Option<String>),
}

impl Account {
    /// # Errors
    /// It needs a password, which would have to be typed where others see it.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let (domain, own) = name.split_once('\\').unwrap_or(("", name));
        let is = |other: &str| own.eq_ignore_ascii_case(other);
        let (domain, nt) = (domain.to_lowercase(), ["", "nt authority", "."]);
        let known = nt.contains(&domain.as_str());
        if known && (is("LocalSystem") || is("SYSTEM")) {
            return Ok(Self::System);
        }
        if known && (is("LocalService") || is("LOCAL SERVICE")) {
            return Ok(Self::Named("NT AUTHORITY\\LocalService".to_owned(), Some("S-1-5-19".to_owned())));
        }
        if known && (is("NetworkService") || is("NETWORK SERVICE")) {
            return Ok(Self::Named("NT AUTHORITY\\NetworkService".to_owned(), Some("S-1-5-20".to_owned())));
        }
        if domain == "nt service" && !own.is_empty() {
            return Ok(Self::Named(format!("NT SERVICE\\{own}"), Some(service_sid(own))));
        }
        if !domain.is_empty() && own.ends_with('$') {
            return Ok(Self::Named(name.to_owned(), None));
        }
        Err(format!(
            "{name:?} is no account that works without a password: the service's own (NT SERVICE\\NAME, which is the default), \
             LocalSystem, LocalService, NetworkService, and group managed ones (DOMAIN\\NAME$) do"
        ))
    }

    /// What Windows calls it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::System => "LocalSystem",
            Self::Named(name, _) => name,
        }
    }
}

/// Programs: everybody may run them, nobody but administrators may change them.
pub(super) fn programs() -> String {
    format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;{READ};;;BU)")
}

/// The directory of all data: everybody may pass through it.
pub(super) fn data() -> String {
    format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;{READ};;;BU)")
}

/// What a service writes: its state, its logs. `sid` is the service's account, unless it is the system.
pub(super) fn written_by(sid: Option<&str>) -> String {
    let own = sid.map(|sid| format!("(A;OICI;{MODIFY};;;{sid})")).unwrap_or_default();
    format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA){own}")
}

/// What only a service may read, and write again: its keys.
pub(super) fn secret_of(sid: Option<&str>) -> String {
    let own = sid.map(|sid| format!("(A;;FA;;;{sid})")).unwrap_or_default();
    format!("D:P(A;;FA;;;SY)(A;;FA;;;BA){own}")
}

/// What a service reads: its configuration.
pub(super) fn read_by(sid: Option<&str>) -> String {
    let own = sid.map(|sid| format!("(A;;{READ};;;{sid})")).unwrap_or_default();
    format!("D:P(A;;FA;;;SY)(A;;FA;;;BA){own}")
}
