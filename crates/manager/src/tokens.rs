//! Making the text of a token: what a peer needs to find the manager, to know it, and to prove itself.

use task_messenger_core::{ids::TokenNumber, record::Role};
use task_messenger_protocol::{
    secret::Secret,
    tls::Trust,
    token::{Token, TokenError},
};

/// What all tokens of a manager carry.
#[derive(Clone, Debug)]
pub(crate) struct TokenMaker {
    pub(crate) trust: Trust,
    pub(crate) addresses: Vec<String>,
}

impl TokenMaker {
    pub(crate) fn text(&self, role: Role, number: TokenNumber, secret: Secret) -> Result<String, TokenError> {
        Token { role, number: number.0, secret, trust: self.trust.clone(), addresses: self.addresses.clone() }.to_text()
    }
}
