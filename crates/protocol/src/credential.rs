//! What peers keep: files with the secret that lets them in, readable by their owner alone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use task_messenger_core::record::Role;

use crate::{
    messages::{Hello, TokenProof, WorkerProof, hello::Credential},
    private_file::{self, PrivateFileError},
    secret::Secret,
    tls::Trust,
};

/// Why a credential can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Its file can't be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Its file holds something else.
    #[error("{path} is not a credential of this kind", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
}

impl CredentialError {
    /// Whether there simply is no such file: nobody has joined or logged in yet.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(PrivateFileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// What an enrolled worker keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerCredential {
    /// Where the manager is, in the order in which they are tried.
    pub addresses: Vec<String>,
    /// How it is known.
    pub trust: Trust,
    /// The store that the worker belongs to.
    #[serde(with = "crate::hex::serde")]
    pub store: [u8; 16],
    /// The worker's number.
    pub worker: u32,
    /// What proves it.
    pub secret: Secret,
}

impl WorkerCredential {
    /// Reads it.
    pub fn load(path: &Path) -> Result<Self, CredentialError> {
        load(path)
    }

    /// Writes it, atomically and for its owner alone.
    pub fn save(&self, path: &Path) -> Result<(), CredentialError> {
        save(path, self)
    }

    /// The first message of a link; `software` is the program with its version.
    pub fn hello(&self, software: &str) -> Hello {
        let proof = WorkerProof { worker: self.worker, secret: self.secret.expose().to_vec().into() };
        crate::link::hello(software, &self.store, Credential::Worker(proof))
    }
}

/// What a client or an administrator keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredential {
    /// Where the manager is, in the order in which they are tried.
    pub addresses: Vec<String>,
    /// How it is known.
    pub trust: Trust,
    /// The token's number.
    pub token: u32,
    /// What proves it.
    pub secret: Secret,
    /// What it allows.
    #[serde(with = "role_name")]
    pub role: Role,
}

impl ClientCredential {
    /// What a token says.
    pub fn from_token(token: &crate::token::Token) -> Self {
        Self {
            addresses: token.addresses.clone(),
            trust: token.trust.clone(),
            token: token.number,
            secret: token.secret.clone(),
            role: token.role,
        }
    }

    /// Reads it.
    pub fn load(path: &Path) -> Result<Self, CredentialError> {
        load(path)
    }

    /// Writes it, atomically and for its owner alone.
    pub fn save(&self, path: &Path) -> Result<(), CredentialError> {
        save(path, self)
    }

    /// The first message of a link; `software` is the program with its version.
    pub fn hello(&self, software: &str) -> Hello {
        crate::link::hello(software, &[], Credential::Token(token_proof(self.token, &self.secret)))
    }
}

/// What proves a token.
pub fn token_proof(token: u32, secret: &Secret) -> TokenProof {
    TokenProof { token, secret: secret.expose().to_vec().into() }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T, CredentialError> {
    let content = private_file::read(path)?;
    serde_json::from_slice(&content).map_err(|source| CredentialError::Malformed { path: path.to_owned(), source })
}

fn save<T: Serialize>(path: &Path, credential: &T) -> Result<(), CredentialError> {
    let mut content = serde_json::to_vec_pretty(credential)
        .map_err(|source| CredentialError::Malformed { path: path.to_owned(), source })?;
    content.push(b'\n');
    Ok(private_file::write(path, &content)?)
}

/// Roles by name.
mod role_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use task_messenger_core::record::Role;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match role {
            Role::Worker => "worker",
            Role::Client => "client",
            Role::Admin => "admin",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "worker" => Ok(Role::Worker),
            "client" => Ok(Role::Client),
            "admin" => Ok(Role::Admin),
            other => Err(D::Error::unknown_variant(other, &["worker", "client", "admin"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Fingerprint;

    #[test]
    fn credentials_come_back_from_their_files_and_say_when_they_cannot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.credential");
        assert!(WorkerCredential::load(&path).unwrap_err().is_missing());
        let worker = WorkerCredential {
            addresses: vec!["manager.example:7400".to_owned()],
            trust: Trust::Pin(Fingerprint([1; 32])),
            store: [2; 16],
            worker: 7,
            secret: Secret::random().unwrap(),
        };
        worker.save(&path).unwrap();
        assert_eq!(WorkerCredential::load(&path).unwrap(), worker);
        let wrong_kind = ClientCredential::load(&path).unwrap_err();
        assert!(matches!(wrong_kind, CredentialError::Malformed { .. }));

        let client = ClientCredential {
            addresses: vec!["[::1]:7400".to_owned()],
            trust: Trust::Authority { name: "manager.example".to_owned(), roots: Some("/etc/roots.pem".into()) },
            token: 3,
            secret: Secret::random().unwrap(),
            role: Role::Admin,
        };
        client.save(&path).unwrap();
        assert_eq!(ClientCredential::load(&path).unwrap(), client);
        assert!(!format!("{client:?}{worker:?}").contains(&crate::hex::encode(client.secret.expose())));
    }
}
