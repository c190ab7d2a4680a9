//! What can go wrong with a link, in the words of whoever operates it. Each text is whole: causes are in it.

use std::{io, time::Duration};

use crate::{
    frame::FrameError,
    messages::Reason,
    tls::{Fingerprint, TlsError, WrongFingerprint},
};

/// Why there is no link, or no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No address is known.
    #[error("no address of the manager is known")]
    NoAddress,
    /// Several addresses were tried, and none led to a link.
    #[error("no address of the manager led to it: {}", list(.attempts))]
    Addresses {
        /// Each address with what went wrong.
        attempts: Vec<(String, LinkError)>,
    },
    /// There is no connection to the address.
    #[error("{address} can't be reached: {}", reach(.cause))]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// It took too long.
    #[error("{what} took longer than {} s", .limit.as_secs_f32())]
    TimedOut {
        /// What did.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The manager has another key.
    #[error(
        "the manager's certificate is not the one in the token: expected {expected}, found {found}. Either its certificate \
         was made anew (then new tokens are needed), or somebody stands between"
    )]
    WrongFingerprint {
        /// As in the token.
        expected: Fingerprint,
        /// As shown.
        found: Fingerprint,
    },
    /// The manager's certificate is not to be trusted.
    #[error("the manager's certificate is not trusted: {cause}")]
    UntrustedCertificate {
        /// Why.
        cause: rustls::Error,
    },
    /// The other side refused the certificate.
    #[error("the peer did not accept this manager's certificate ({cause})")]
    CertificateRefused {
        /// What it said.
        cause: rustls::Error,
    },
    /// The other side speaks something else.
    #[error("the other side does not speak TLS: a plain-text connection, or another service")]
    NotTls,
    /// TLS failed.
    #[error("the encrypted connection failed: {cause}")]
    Tls {
        /// Why.
        cause: rustls::Error,
    },
    /// Own certificates or trust can't be used.
    #[error(transparent)]
    Setup(#[from] TlsError),
    /// The connection ended.
    #[error("the other side closed the connection")]
    Closed,
    /// The connection failed.
    #[error("the connection failed: {cause}")]
    Io {
        /// Why.
        cause: io::Error,
    },
    /// Bytes that are no frames, or a message over the limit.
    #[error("the other side broke the protocol: {0}")]
    Frame(FrameError),
    /// A message over the limit was to be sent.
    #[error("a message of {length} bytes can't be sent: the link takes at most {limit}")]
    TooLong {
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// A frame that is no message.
    #[error("the other side broke the protocol: a message can't be decoded ({cause})")]
    Malformed {
        /// Why.
        cause: prost::DecodeError,
    },
    /// A message at the wrong time.
    #[error("the other side broke the protocol: {expected} was expected")]
    Unexpected {
        /// What should have come.
        expected: &'static str,
    },
    /// Nothing in common.
    #[error(
        "the versions have nothing in common: the other side speaks protocol {oldest} to {newest}, this program {} to {}",
        crate::OLDEST_VERSION,
        crate::NEWEST_VERSION
    )]
    Version {
        /// The oldest that the other side speaks.
        oldest: u32,
        /// The newest that the other side speaks.
        newest: u32,
    },
    /// The address leads to another manager.
    #[error("another manager answered: its store is not the one that this worker or client belongs to")]
    OtherStore,
    /// The manager ended it and said why.
    #[error("the manager refused: {text}")]
    Goodbye {
        /// The kind of reason.
        reason: Reason,
        /// In words.
        text: String,
    },
}

impl LinkError {
    /// Whether trying again later can help without anybody changing anything here.
    pub fn retry_can_help(&self) -> bool {
        match self {
            Self::NoAddress
            | Self::WrongFingerprint { .. }
            | Self::OtherStore
            | Self::Setup(_)
            | Self::Version { .. } => false,
            Self::Goodbye { reason, .. } => {
                !matches!(reason, Reason::Unauthenticated | Reason::Version | Reason::WrongStore)
            }
            Self::Addresses { attempts } => attempts.iter().any(|(_, error)| error.retry_can_help()),
            _ => true,
        }
    }

    /// Whether the manager itself has said that this credential lets nobody in.
    pub fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Goodbye { reason: Reason::Unauthenticated, .. })
    }

    /// What an error of adding a message means.
    pub(crate) fn from_push(error: FrameError) -> Self {
        match error {
            FrameError::TooLong { length, limit } => Self::TooLong { length, limit },
            other => other.into(),
        }
    }

    /// What an error of a stream means; TLS hides its own inside.
    pub(crate) fn from_io(source: io::Error) -> Self {
        let Some(tls) = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return match source.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Io { cause: source },
            };
        };
        Self::from_tls(tls.clone())
    }

    fn from_tls(cause: rustls::Error) -> Self {
        use rustls::{AlertDescription, CertificateError, Error};
        match &cause {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                match other.0.downcast_ref::<WrongFingerprint>() {
                    Some(wrong) => Self::WrongFingerprint { expected: wrong.expected, found: wrong.found },
                    None => Self::UntrustedCertificate { cause },
                }
            }
            Error::InvalidCertificate(_) => Self::UntrustedCertificate { cause },
            Error::InvalidMessage(_) => Self::NotTls,
            Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::UnrecognisedName,
            ) => Self::CertificateRefused { cause },
            _ => Self::Tls { cause },
        }
    }
}

impl From<prost::DecodeError> for LinkError {
    fn from(cause: prost::DecodeError) -> Self {
        Self::Malformed { cause }
    }
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(source) => Self::from_io(source),
            FrameError::Truncated => Self::Closed,
            other => Self::Frame(other),
        }
    }
}

fn list(attempts: &[(String, LinkError)]) -> String {
    attempts.iter().map(|(address, error)| format!("{address}: {error}")).collect::<Vec<_>>().join("; ")
}

fn reach(source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::ConnectionRefused {
        return "nothing listens there (connection refused)".to_owned();
    }
    source.to_string()
}
