//! Outputs that wait for an earlier one: in memory up to a bound, in a temporary file beyond it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use bytes::Bytes;
use task_messenger_client::Outcome;

/// What a task wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Its standard output.
    pub output: Bytes,
    /// Its standard error.
    pub errors: Bytes,
}

impl Outputs {
    /// Of an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        Self { output: outcome.output.clone(), errors: outcome.errors.clone() }
    }

    fn len(&self) -> usize {
        self.output.len() + self.errors.len()
    }
}

#[derive(Debug)]
enum Waiting {
    InMemory(Outputs),
    InFile { offset: u64, output: u64, errors: u64 },
}

/// Gives outputs out in the order of their indexes, from 0 on.
#[derive(Debug)]
pub struct InOrder {
    next: u32,
    waiting: BTreeMap<u32, Waiting>,
    memory: usize,
    memory_limit: usize,
    file: Option<File>,
    file_length: u64,
}

impl InOrder {
    /// At most `memory_limit` bytes of outputs wait in memory.
    pub fn new(memory_limit: usize) -> Self {
        Self { next: 0, waiting: BTreeMap::new(), memory: 0, memory_limit, file: None, file_length: 0 }
    }

    /// Takes an output in.
    pub fn insert(&mut self, index: u32, outputs: &Outputs) -> io::Result<()> {
        let waiting = if index != self.next && self.memory + outputs.len() > self.memory_limit {
            self.write(outputs)?
        } else {
            self.memory += outputs.len();
            // A copy, so that it doesn't keep the whole message that it came in.
            Waiting::InMemory(Outputs {
                output: Bytes::copy_from_slice(&outputs.output),
                errors: Bytes::copy_from_slice(&outputs.errors),
            })
        };
        self.waiting.insert(index, waiting);
        Ok(())
    }

    /// The next output, if it is there.
    pub fn take_next(&mut self) -> io::Result<Option<Outputs>> {
        let Some(waiting) = self.waiting.remove(&self.next) else { return Ok(None) };
        self.next += 1;
        let outputs = match waiting {
            Waiting::InMemory(outputs) => {
                self.memory -= outputs.len();
                outputs
            }
            Waiting::InFile { offset, output, errors } => self.read(offset, output, errors)?,
        };
        if self.waiting.is_empty()
            && self.file_length > 0
            && let Some(file) = &self.file
        {
            file.set_len(0)?;
            self.file_length = 0;
        }
        Ok(Some(outputs))
    }

    fn write(&mut self, outputs: &Outputs) -> io::Result<Waiting> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let offset = self.file_length;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&outputs.output)?;
        file.write_all(&outputs.errors)?;
        self.file_length += outputs.len() as u64;
        Ok(Waiting::InFile { offset, output: outputs.output.len() as u64, errors: outputs.errors.len() as u64 })
    }

    fn read(&mut self, offset: u64, output: u64, errors: u64) -> io::Result<Outputs> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut part = |length: u64| {
            let mut bytes = vec![0; length as usize];
            file.read_exact(&mut bytes).map(|()| Bytes::from(bytes))
        };
        Ok(Outputs { output: part(output)?, errors: part(errors)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_in_order_through_memory_and_file() {
        let outputs = |index: u32| Outputs {
            output: format!("output {index}").repeat(index as usize % 5).into(),
            errors: format!("e{index}").into(),
        };
        let mut order = InOrder::new(100);
        let mut given = 0;
        // Two rounds, so that the file is used anew after it was emptied; within each, from the last to the first.
        for round in [0..50, 50..100] {
            for index in round.rev() {
                order.insert(index, &outputs(index)).unwrap();
                assert!(order.memory <= 100 + 64, "memory is bounded");
                while let Some(found) = order.take_next().unwrap() {
                    assert_eq!(found, outputs(given));
                    given += 1;
                }
            }
            assert_eq!((order.memory, order.file_length), (0, 0));
            assert_eq!(order.file.as_ref().unwrap().metadata().unwrap().len(), 0);
        }
        assert_eq!(given, 100);
    }
}
