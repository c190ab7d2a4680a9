//! The text that people paste to let a worker, a client or an administrator in.
//!
//! `tm1w_`, `tm1c_` or `tm1a_` (by role), then in base64url: role, number, secret, how the manager is known, and its
//! addresses, closed by a CRC-32C of all that precedes it, so that half a token is said to be half a token.

mod search;
mod text;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use task_messenger_core::record::Role;

use crate::{
    credential::token_proof,
    messages::{Hello, hello::Credential},
    secret::Secret,
    tls::{Fingerprint, Trust},
};

pub use self::{
    search::{contains_token, redact_tokens},
    text::read_text,
};

/// How many addresses of its manager a token may carry.
pub const MOST_ADDRESSES: usize = 16;

/// The longest address or name in a token, in bytes.
pub const LONGEST_TEXT: usize = 255;

/// The longest token that is looked at, in characters.
const LONGEST_TOKEN: usize = 8 * 1024;

const TRUST_PIN: u8 = 0;
const TRUST_AUTHORITY: u8 = 1;

/// Decodes half a token too.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A token. `Debug` hides its secret; only [`Token::to_text`] tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it allows.
    pub role: Role,
    /// Its number.
    pub number: u32,
    /// What proves it.
    pub secret: Secret,
    /// How the manager is known.
    pub trust: Trust,
    /// Where the manager is, `HOST:PORT`, in the order in which they are tried.
    pub addresses: Vec<String>,
}

/// Why a text is not a token, or not the wanted one.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Something else was pasted.
    #[error("this is not a token: one begins with `tm1w_`, `tm1c_` or `tm1a_`")]
    NotAToken,
    /// A newer program made it.
    #[error("the token was made by a newer version of TaskMessenger: upgrade this machine's")]
    Newer,
    /// A part is missing.
    #[error("the token is cut off: copy all of it, in one piece")]
    CutOff,
    /// A character is wrong, or something follows it.
    #[error("the token has a wrong character or something that isn't part of it: copy it again")]
    Damaged,
    /// It is too long to be one.
    #[error("the text is too long for a token: at most {LONGEST_TOKEN} characters")]
    TooLong,
    /// It is for something else.
    #[error("this is {found} token; {wanted} is needed here")]
    WrongRole {
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A part of it can't be encoded.
    #[error("a token can't carry {what}")]
    Unfit {
        /// What doesn't fit.
        what: String,
    },
}

impl Token {
    /// The token as text, secret and all.
    pub fn to_text(&self) -> Result<String, TokenError> {
        let mut bytes = vec![role_number(self.role)];
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.secret.expose());
        match &self.trust {
            Trust::Pin(fingerprint) => {
                bytes.push(TRUST_PIN);
                bytes.extend(fingerprint.0);
            }
            Trust::Authority { roots: Some(path), .. } => {
                return Err(TokenError::Unfit { what: format!("the file {}", path.display()) });
            }
            Trust::Authority { name, roots: None } => {
                bytes.push(TRUST_AUTHORITY);
                put_text(&mut bytes, name)?;
            }
        }
        if self.addresses.len() > MOST_ADDRESSES {
            return Err(TokenError::Unfit { what: format!("more than {MOST_ADDRESSES} addresses") });
        }
        bytes.push(self.addresses.len() as u8);
        for address in &self.addresses {
            check_address(address).map_err(|what| TokenError::Unfit { what })?;
            put_text(&mut bytes, address)?;
        }
        let check = crc32c::crc32c(&bytes);
        bytes.extend(check.to_be_bytes());
        Ok(format!("tm1{}_{}", role_letter(self.role), URL_SAFE_NO_PAD.encode(&bytes)))
    }

    /// Reads a token. White space, as terminals add it to long lines, is ignored.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > LONGEST_TOKEN {
            return Err(TokenError::TooLong);
        }
        let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        let (letter, encoded) = split_prefix(&text)?;
        // A cut inside a group of characters leaves bits over: what stands before them says what is wrong.
        let whole = if encoded.len() % 4 == 1 { encoded.get(..encoded.len() - 1).unwrap_or_default() } else { encoded };
        let bytes = LENIENT.decode(whole).map_err(|_| TokenError::Damaged)?;
        let mut rest = Rest(&bytes);
        let role = read_role(rest.byte()?).ok_or(TokenError::Damaged)?;
        let number = u32::from_be_bytes(rest.array()?);
        let secret = rest.array::<32>()?;
        let trust = match rest.byte()? {
            TRUST_PIN => Trust::Pin(Fingerprint(rest.array()?)),
            TRUST_AUTHORITY => Trust::Authority { name: rest.text()?, roots: None },
            _ => return Err(TokenError::Damaged),
        };
        let count = rest.byte()?;
        if usize::from(count) > MOST_ADDRESSES {
            return Err(TokenError::Damaged);
        }
        let addresses = (0..count).map(|_| rest.text()).collect::<Result<Vec<_>, _>>()?;
        let checked = bytes.len() - rest.0.len();
        let check = u32::from_be_bytes(rest.array()?);
        let sound = rest.0.is_empty()
            && URL_SAFE_NO_PAD.encode(&bytes) == encoded
            && bytes.get(..checked).is_some_and(|content| crc32c::crc32c(content) == check)
            && role_letter(role) == letter
            && addresses.iter().all(|address| check_address(address).is_ok());
        let secret = Secret::from_slice(&secret).filter(|_| sound).ok_or(TokenError::Damaged)?;
        Ok(Self { role, number, secret, trust, addresses })
    }

    /// The first message of a link; `software` is the program with its version.
    pub fn hello(&self, software: &str) -> Hello {
        crate::link::hello(software, &[], Credential::Token(token_proof(self.number, &self.secret)))
    }

    /// Refuses a token that is not for one of these roles.
    pub fn require(&self, roles: &[Role]) -> Result<(), TokenError> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        let found = match self.role {
            Role::Worker => "a worker's",
            Role::Client => "a client's",
            Role::Admin => "an administrator's",
        };
        let wanted = if roles.contains(&Role::Worker) {
            "a worker's (from `task-messenger-manager token create --role worker`)"
        } else if roles.contains(&Role::Client) {
            "a client's or an administrator's (from `task-messenger-manager token create --role client`)"
        } else {
            "an administrator's (from `task-messenger-manager token create --role admin`)"
        };
        Err(TokenError::WrongRole { found, wanted })
    }
}

/// Whether a text is an address as peers use it: `HOST:PORT`, an IPv6 address in brackets. The error says what isn't one.
pub fn check_address(address: &str) -> Result<(), String> {
    let wrong = || {
        Err(format!("{address:?} as an address: HOST:PORT is wanted, as in `manager.example:7400` or `[fd00::1]:7400`"))
    };
    if address.len() > LONGEST_TEXT {
        return Err(format!("an address of more than {LONGEST_TEXT} bytes"));
    }
    let Some((host, port)) = address.rsplit_once(':') else { return wrong() };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(inner) => inner.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty() && host.chars().all(|character| character.is_alphanumeric() || "-._".contains(character))
        }
    };
    match port.parse::<u16>() {
        Ok(port) if port != 0 && host_is_good => Ok(()),
        _ => wrong(),
    }
}

/// The letter of the role, and what follows the prefix.
fn split_prefix(text: &str) -> Result<(char, &str), TokenError> {
    let rest = text.strip_prefix("tm").ok_or(TokenError::NotAToken)?;
    let (prefix, encoded) = rest.split_once('_').ok_or(TokenError::NotAToken)?;
    let mut characters = prefix.chars().rev();
    let letter = characters.next().filter(|letter| "wca".contains(*letter)).ok_or(TokenError::NotAToken)?;
    let version: String = characters.rev().collect();
    match version.parse::<u32>() {
        Ok(1) => Ok((letter, encoded)),
        Ok(2..) => Err(TokenError::Newer),
        _ => Err(TokenError::NotAToken),
    }
}

/// What is left of a token's bytes.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TokenError::CutOff)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, TokenError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn text(&mut self) -> Result<String, TokenError> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.0.split_at_checked(length).ok_or(TokenError::CutOff)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| TokenError::Damaged)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Result<(), TokenError> {
    let length = u8::try_from(text.len())
        .map_err(|_| TokenError::Unfit { what: format!("a name of more than {LONGEST_TEXT} bytes") })?;
    bytes.push(length);
    bytes.extend(text.as_bytes());
    Ok(())
}

fn role_letter(role: Role) -> char {
    match role {
        Role::Worker => 'w',
        Role::Client => 'c',
        Role::Admin => 'a',
    }
}

fn role_number(role: Role) -> u8 {
    match role {
        Role::Worker => 1,
        Role::Client => 2,
        Role::Admin => 3,
    }
}

fn read_role(number: u8) -> Option<Role> {
    match number {
        1 => Some(Role::Worker),
        2 => Some(Role::Client),
        3 => Some(Role::Admin),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
