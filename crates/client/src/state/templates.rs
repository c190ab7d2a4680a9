//! The templates that the manager knows by number in this session.

use std::collections::HashMap;

use task_messenger_protocol::{
    link::{FromPeerWriter, LinkError},
    messages::DefineTemplate,
};

use bytes::Bytes;

use crate::EncodedTemplate;

/// Numbers go up to this, then from 0 again.
const MOST: u32 = 65_536;
/// As do they when the templates together are larger than this, in bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SessionTemplates {
    numbers: HashMap<Bytes, u32>,
    bytes: usize,
}

impl SessionTemplates {
    /// The template's number, for which the manager is told the template first if it doesn't know it.
    pub(super) fn number(&mut self, template: &EncodedTemplate, out: &mut FromPeerWriter) -> Result<u32, LinkError> {
        let template = template.bytes();
        if let Some(number) = self.numbers.get(template) {
            return Ok(*number);
        }
        if self.numbers.len() as u32 == MOST || self.bytes + template.len() > MOST_BYTES {
            self.numbers.clear();
            self.bytes = 0;
        }
        let number = self.numbers.len() as u32;
        out.push(DefineTemplate { number, template: template.clone() })?;
        self.numbers.insert(template.clone(), number);
        self.bytes += template.len();
        Ok(number)
    }
}
