//! The numbers that the sender of templates gives them for a session, so that each is sent once and neither side keeps more
//! than a bounded amount.

use std::collections::HashMap;

use bytes::Bytes;

use crate::messages::DefineTemplate;

/// Numbers in use at a time, from 0.
pub const MOST: usize = 1_024;
/// How large the templates in use may be together, in bytes, but for the newest. A receiver keeps twice that.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The templates that the other side knows by number.
#[derive(Debug, Default)]
pub struct TemplateNumbers {
    numbers: HashMap<Bytes, u32>,
    by_number: Vec<Bytes>,
    bytes: usize,
    next_replaced: usize,
}

/// A template that the other side is to be told first.
#[derive(Debug)]
pub struct Definition {
    /// What it is told.
    pub message: DefineTemplate,
    /// Whether the number stood for another template, so that what was meant by it must have been sent.
    pub replaces: bool,
}

impl TemplateNumbers {
    /// The number of the template with these encoded bytes, and what must be sent before it is used.
    pub fn number(&mut self, template: &Bytes) -> (u32, Option<Definition>) {
        if let Some(number) = self.numbers.get(template) {
            return (*number, None);
        }
        let place = self.place(template.len());
        let number = place as u32;
        self.bytes += template.len();
        let replaces = if let Some(old) = self.by_number.get_mut(place) {
            self.bytes -= old.len();
            self.numbers.remove(old);
            *old = template.clone();
            true
        } else {
            self.by_number.push(template.clone());
            false
        };
        self.numbers.insert(template.clone(), number);
        (number, Some(Definition { message: DefineTemplate { number, template: template.clone() }, replaces }))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the other side has, with the largest sum of bytes that it ever had.
    #[derive(Default)]
    struct Receiver(HashMap<u32, Bytes>, usize);

    impl Receiver {
        fn take(&mut self, definition: Option<Definition>) {
            let Some(Definition { message, replaces }) = definition else { return };
            assert_eq!(self.0.insert(message.number, message.template).is_some(), replaces);
            self.1 = self.1.max(self.0.values().map(Bytes::len).sum());
        }
    }

    #[test]
    fn both_sides_mean_the_same_and_keep_a_bounded_amount_however_many_there_are() {
        let (mut sender, mut receiver) = (TemplateNumbers::default(), Receiver::default());
        let mut sent = 0;
        for round in 0..20_000_usize {
            // Some come again and again, some are new; now and then a large one.
            let which = if round % 3 == 0 { round % 50 } else { round };
            let length = if which % 97 == 1 { 300_000 } else { 20 };
            let template = Bytes::from(format!("{which} {}", "x".repeat(length)));
            let (number, definition) = sender.number(&template);
            sent += usize::from(definition.is_some());
            receiver.take(definition);
            assert_eq!(receiver.0.get(&number), Some(&template), "round {round}");
        }
        assert!(sent < 14_000, "{sent} were sent, though a third are the same fifty");
        assert!(receiver.0.len() <= MOST && receiver.1 <= 2 * MOST_BYTES, "{} in {}", receiver.1, receiver.0.len());
        assert_eq!(sender.bytes, receiver.0.values().map(Bytes::len).sum::<usize>());
    }
}
