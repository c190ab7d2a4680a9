//! The templates that the manager knows by number in this session.

use std::collections::HashMap;

use bytes::Bytes;
use task_messenger_protocol::{
    link::{FromPeerWriter, LinkError},
    messages::DefineTemplate,
};

use crate::EncodedTemplate;

/// Numbers in use at a time; a manager keeps as many for a session.
const MOST: usize = 1_024;
/// How large the templates in use may be together, in bytes, but for the newest. A manager keeps twice that.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SessionTemplates {
    numbers: HashMap<Bytes, u32>,
    by_number: Vec<Bytes>,
    bytes: usize,
    next_replaced: usize,
}

impl SessionTemplates {
    /// The template's number, for which the manager is told the template first if it doesn't know it.
    pub(super) fn number(&mut self, template: &EncodedTemplate, out: &mut FromPeerWriter) -> Result<u32, LinkError> {
        let template = template.bytes();
        if let Some(number) = self.numbers.get(template) {
            return Ok(*number);
        }
        let place = self.place(template.len());
        out.push(DefineTemplate { number: place as u32, template: template.clone() })?;
        self.bytes += template.len();
        if let Some(old) = self.by_number.get_mut(place) {
            self.bytes -= old.len();
            self.numbers.remove(old);
            *old = template.clone();
        } else {
            self.by_number.push(template.clone());
        }
        self.numbers.insert(template.clone(), place as u32);
        Ok(place as u32)
    }

    /// A free place, or whose template gives way: the largest if room is short, so that the others never grow.
    fn place(&mut self, length: usize) -> usize {
        if self.bytes + length > MOST_BYTES {
            let largest = self.by_number.iter().enumerate().max_by_key(|(_, template)| template.len());
            return largest.map_or(0, |(place, _)| place);
        }
        if self.by_number.len() < MOST {
            return self.by_number.len();
        }
        self.next_replaced = (self.next_replaced + 1) % MOST;
        self.next_replaced
    }
}
