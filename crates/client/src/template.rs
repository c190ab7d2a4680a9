//! Templates, encoded once for many tasks.

use bytes::Bytes;
use task_messenger_protocol::messages::Template;

use crate::Error;

/// A template, checked and encoded. Cloning is cheap, and so is comparing clones.
#[derive(Clone, Debug)]
pub struct EncodedTemplate(Bytes);

impl EncodedTemplate {
    /// Checks and encodes a template: at most 1 MiB, and the manager may accept less.
    pub fn new(template: &Template) -> Result<Self, Error> {
        Ok(Self(template.to_bytes()?))
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl PartialEq for EncodedTemplate {
    fn eq(&self, other: &Self) -> bool {
        let same_memory = self.0.as_ptr() == other.0.as_ptr() && self.0.len() == other.0.len();
        same_memory || self.0 == other.0
    }
}

impl Eq for EncodedTemplate {}
