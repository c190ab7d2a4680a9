//! TLS 1.3: the manager's identity, and what a peer trusts.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine;
use rustls::{
    CertificateError, ClientConfig, OtherError, RootCertStore, ServerConfig,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::private_file::{self, PrivateFileError};

/// The name in the certificate that a manager makes for itself, and the one that is asked for when a pin decides.
const OWN_NAME: &str = "task-messenger";

/// SHA-256 of a certificate's public key (its `SubjectPublicKeyInfo`), which stays the same when the certificate is renewed
/// with the same key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(#[serde(with = "crate::hex::serde")] pub [u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Self(Sha256::digest(key.as_ref()).into()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", crate::hex::encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a peer knows the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// By its public key, whatever name and dates its certificate has: a wrong clock locks nobody out.
    Pin(Fingerprint),
    /// By a certificate that an authority has issued for this name.
    Authority {
        /// The name that the certificate must be for.
        name: String,
        /// A PEM file of authorities; without it, those that the system trusts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roots: Option<PathBuf>,
    },
}

/// What can be wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate couldn't be made.
    #[error("a certificate can't be made")]
    Create(#[from] rcgen::Error),
    /// A file couldn't be read or written.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// A file is not PEM, or has nothing of what is looked for.
    #[error("{path} holds no {what} in PEM form", path = .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file of certificates holds none.
    #[error("{path} holds no certificate", path = .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The system has no authorities.
    #[error("this system trusts no certificate authorities: name a file of them (`roots`)")]
    NoRoots,
    /// The name of the manager's certificate can't be one.
    #[error("{name:?} can't be the name of a certificate")]
    Name {
        /// The name.
        name: String,
    },
    /// Key and certificate don't fit, or are of no use.
    #[error("certificate and key can't be used")]
    Unusable(#[from] rustls::Error),
}

/// The certificate and key that a manager shows.
pub struct Identity {
    /// The manager's own certificate first, then those that lead to the authority.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Makes a certificate signed by itself, valid for some thousand years: peers know it by its key.
    pub fn create() -> Result<Self, TlsError> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new([OWN_NAME.to_owned()])?.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self { chain: vec![certificate.der().clone()], key })
    }

    /// Reads a certificate (with those that lead to its authority, if any) and its private key, both PEM. The key's file
    /// must be private.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = read_certificates(certificate)?;
        let pem = private_file::read(key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|source| TlsError::Pem {
            path: key.to_owned(),
            what: "private key",
            source,
        })?;
        Ok(Self { chain, key })
    }

    /// Writes both as PEM, each atomically, the key last: where it is, its certificate is too, whatever happened in between.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let chain: String = self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
        private_file::write(certificate, chain.as_bytes())?;
        Ok(private_file::write(key, pem(label, self.key.secret_der()).as_bytes())?)
    }

    /// What a token carries, so that peers know the manager.
    pub fn fingerprint(&self) -> Result<Fingerprint, TlsError> {
        let own = self.chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
        Ok(Fingerprint::of(own)?)
    }

    /// What [`crate::link::accept`] takes.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        // Links live long: a ticket would save one exchange in days.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint().ok()).finish_non_exhaustive()
    }
}

impl Trust {
    /// What a peer's TLS needs: the configuration, and the name to ask for.
    pub(crate) fn client_config(&self) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let (mut config, name) = match self {
            Self::Pin(expected) => {
                let verifier = PinVerifier { expected: *expected, provider: provider() };
                let config =
                    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
                (config, OWN_NAME)
            }
            Self::Authority { name, roots } => {
                let roots = read_roots(roots.as_deref())?;
                (builder.with_root_certificates(roots).with_no_client_auth(), name.as_str())
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name { name: name.to_owned() })?;
        Ok((Arc::new(config), name))
    }
}

/// The key of a certificate is not the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(crate) struct WrongFingerprint {
    pub(crate) expected: Fingerprint,
    pub(crate) found: Fingerprint,
}

/// Accepts one public key and nothing else. That the peer holds its private key is verified as always.
#[derive(Debug)]
struct PinVerifier {
    expected: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity)?;
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongFingerprint { expected: self.expected, found };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read_roots(path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = path {
        for certificate in read_certificates(path)? {
            roots.add(certificate)?;
        }
    } else {
        // Systems hold certificates that nobody can parse; the others still count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = std::fs::read(path).map_err(|source| PrivateFileError::Read { path: path.to_owned(), source })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), what: "certificate", source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_files_and_keeps_its_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("manager.crt"), directory.path().join("manager.key"));
        let made = Identity::create().unwrap();
        made.save(&certificate, &key).unwrap();
        let loaded = Identity::load(&certificate, &key).unwrap();
        assert_eq!(loaded.fingerprint().unwrap(), made.fingerprint().unwrap());
        loaded.server_config().unwrap();

        // A start that ends between the two leaves no key, and the next one makes both anew.
        let alone = directory.path().join("alone.key");
        made.save(&directory.path().join("missing/manager.crt"), &alone).unwrap_err();
        assert!(!alone.exists(), "a key without its certificate");

        let other = Identity::create().unwrap();
        assert_ne!(other.fingerprint().unwrap(), made.fingerprint().unwrap());
        other.save(&directory.path().join("other.crt"), &key).unwrap();
        let mixed = Identity::load(&certificate, &key).unwrap().server_config();
        assert!(matches!(mixed, Err(TlsError::Unusable(_))), "a key that isn't the certificate's is noticed");
        assert!(matches!(Identity::load(&key, &key), Err(TlsError::NoCertificate { .. })));
    }

    /// Shakes hands with a server that shows one identity's certificate and signs with another's key.
    async fn shake_hands(shown: &Identity, signing: &Identity) -> std::io::Result<()> {
        let key = rustls::crypto::ring::sign::any_supported_type(&signing.key).unwrap();
        let certified = rustls::sign::CertifiedKey::new(shown.chain.clone(), key);
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        let (client, name) = Trust::Pin(shown.fingerprint().unwrap()).client_config().unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (connected, _) = tokio::join!(
            tokio_rustls::TlsConnector::from(client).connect(name, near),
            tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far),
        );
        connected.map(drop)
    }

    #[tokio::test]
    async fn the_right_certificate_without_its_key_is_not_enough() {
        let (manager, impostor) = (Identity::create().unwrap(), Identity::create().unwrap());
        shake_hands(&manager, &manager).await.unwrap();
        let error = shake_hands(&manager, &impostor).await.unwrap_err().to_string();
        assert!(error.contains("BadSignature"), "{error}");
    }
}
