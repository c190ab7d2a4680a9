//! Lines, read on a thread of their own, each made into a task's payload.
//!
//! Only a few chunks are in memory at a time. A line ends at a newline, and nothing else of it is taken away; an empty line is
//! a line; the last one needs no newline.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use tokio::sync::mpsc;

/// What is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// A chunk with this much in it is handed over, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Chunks that are read ahead.
const CHUNKS_AHEAD: usize = 4;

/// Why the input can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It can't be read.
    #[error("{name} can't be read")]
    Read {
        /// What is read.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A line can't be an argument.
    #[error("line {number} of the input {problem}")]
    Line {
        /// Which line, from 1.
        number: u64,
        /// What is wrong.
        problem: String,
    },
    /// A line names a file that can't be read.
    #[error("line {number} of the input: {name} can't be read")]
    File {
        /// Which line, from 1.
        number: u64,
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Payloads that were read together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Chunk {
    /// Each payload.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |end| {
            let payload = self.bytes.get(start..*end);
            start = *end;
            payload
        })
    }

    fn end_payload(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// What is made of lines.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A line names a file whose bytes follow it in the payload, behind a NUL.
    pub send: bool,
    /// The longest payload, in bytes.
    pub limit: u64,
}

/// Chunks of payloads, until the end or the first error.
pub type Chunks = mpsc::Receiver<Result<Chunk, InputError>>;

/// Starts reading a file, or standard input.
pub fn start(path: Option<&Path>, rules: Rules) -> Result<Chunks, InputError> {
    let (name, source): (String, Box<dyn Read + Send>) = match path {
        None => ("standard input".to_owned(), Box::new(io::stdin())),
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|source| InputError::Read { name: name.clone(), source })?;
            (name, Box::new(file))
        }
    };
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    // It ends with the input, with the first error, or when nobody takes chunks any more. One that waits for standard input
    // for ever ends with the process.
    let reading = std::thread::Builder::new().name("input".to_owned()).spawn({
        let name = name.clone();
        move || {
            let mut lines = Lines { rules, name, number: 0, partial: Vec::new(), chunk: Chunk::default() };
            if let Err(error) = lines.read(BufReader::with_capacity(READ_BYTES, source), &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        }
    });
    reading.map_err(|source| InputError::Read { name, source })?;
    Ok(chunks)
}

/// What is known between two reads.
struct Lines {
    rules: Rules,
    name: String,
    number: u64,
    /// The beginning of a line whose end has not been read.
    partial: Vec<u8>,
    chunk: Chunk,
}

impl Lines {
    fn read(
        &mut self,
        mut source: impl BufRead,
        sender: &mpsc::Sender<Result<Chunk, InputError>>,
    ) -> Result<(), InputError> {
        loop {
            let name = || self.name.clone();
            let buffer = match source.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(InputError::Read { name: name(), source }),
            };
            let length = buffer.len();
            if length == 0 {
                break;
            }
            let mut rest = buffer;
            while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, behind) = rest.split_at(at);
                rest = behind.get(1..).unwrap_or_default();
                if self.partial.is_empty() {
                    self.take(line)?;
                } else {
                    let mut whole = std::mem::take(&mut self.partial);
                    whole.extend_from_slice(line);
                    self.take(&whole)?;
                }
                if self.chunk.bytes.len() >= CHUNK_BYTES && !self.hand_over(sender) {
                    return Ok(());
                }
            }
            self.partial.extend_from_slice(rest);
            if self.partial.len() as u64 > self.rules.limit {
                return Err(self.too_long(self.number + 1));
            }
            source.consume(length);
            // What has been read is on its way before more is waited for.
            if !self.hand_over(sender) {
                return Ok(());
            }
        }
        if !self.partial.is_empty() {
            let last = std::mem::take(&mut self.partial);
            self.take(&last)?;
            self.hand_over(sender);
        }
        Ok(())
    }

    /// Whether anybody still wants more.
    fn hand_over(&mut self, sender: &mpsc::Sender<Result<Chunk, InputError>>) -> bool {
        self.chunk.ends.is_empty() || sender.blocking_send(Ok(std::mem::take(&mut self.chunk))).is_ok()
    }

    fn take(&mut self, line: &[u8]) -> Result<(), InputError> {
        self.number += 1;
        let number = self.number;
        let problem = |problem: &str| InputError::Line { number, problem: problem.to_owned() };
        let Ok(text) = std::str::from_utf8(line) else { return Err(problem("is not UTF-8")) };
        if line.contains(&0) {
            return Err(problem("contains a NUL byte, which no argument can"));
        }
        if line.len() as u64 > self.rules.limit {
            return Err(self.too_long(number));
        }
        self.chunk.bytes.extend_from_slice(line);
        if self.rules.send {
            self.chunk.bytes.push(0);
            let room = self.rules.limit.saturating_sub(line.len() as u64 + 1);
            let failed = |source| InputError::File { number, name: text.to_owned(), source };
            let file = File::open(PathBuf::from(text)).map_err(failed)?;
            let length = file.take(room.saturating_add(1)).read_to_end(&mut self.chunk.bytes).map_err(failed)?;
            if length as u64 > room {
                return Err(problem(&format!("names {text}, which has more than the {room} bytes that can be sent")));
            }
        }
        self.chunk.end_payload();
        Ok(())
    }

    fn too_long(&self, number: u64) -> InputError {
        let limit = self.rules.limit;
        InputError::Line { number, problem: format!("is longer than the {limit} bytes that the manager accepts") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { send: false, limit: 1_000 };

    /// Reads with a buffer of this size, so that lines are cut everywhere.
    fn read(bytes: &[u8], buffer: usize, rules: Rules) -> (Vec<Vec<u8>>, Option<String>) {
        let (sender, mut chunks) = mpsc::channel(1_000);
        let mut lines = Lines { rules, name: "it".to_owned(), number: 0, partial: Vec::new(), chunk: Chunk::default() };
        let error = lines.read(BufReader::with_capacity(buffer, bytes), &sender).err().map(|error| error.to_string());
        drop(sender);
        let mut payloads = Vec::new();
        while let Some(chunk) = chunks.blocking_recv() {
            payloads.extend(chunk.unwrap().payloads().map(<[u8]>::to_vec));
        }
        (payloads, error)
    }

    #[test]
    fn lines_are_the_same_wherever_reads_are_cut() {
        let input = "one\n\n  two \r\nthree\u{e9}\nlast".as_bytes();
        for buffer in 1..40 {
            let (payloads, error) = read(input, buffer, RULES);
            assert_eq!(error, None);
            let expected: Vec<&[u8]> = vec![b"one", b"", b"  two \r", "three\u{e9}".as_bytes(), b"last"];
            assert_eq!(payloads, expected, "with a buffer of {buffer}");
        }
        assert_eq!(read(b"", 8, RULES).0.len(), 0);
        assert_eq!(read(b"\n", 8, RULES).0, [b""]);
    }

    #[test]
    fn a_line_that_can_be_no_argument_is_named() {
        let (_, error) = read(b"good\nbad\0\n", 64, RULES);
        assert_eq!(error.unwrap(), "line 2 of the input contains a NUL byte, which no argument can");
        let (_, error) = read(b"good\ngood\n\xff\n", 64, RULES);
        assert_eq!(error.unwrap(), "line 3 of the input is not UTF-8");
        let endless = vec![b'x'; 5_000];
        assert!(read(&endless, 64, RULES).1.unwrap().starts_with("line 1 of the input is longer than the 1000 bytes"));
    }

    #[test]
    fn a_file_that_a_line_names_follows_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        std::fs::write(&path, b"a\0b\n").unwrap();
        let name = path.to_str().unwrap();
        let rules = Rules { send: true, limit: name.len() as u64 + 5 };
        let (payloads, error) = read(format!("{name}\n").as_bytes(), 64, rules);
        assert_eq!((payloads, error), (vec![[name.as_bytes(), b"\0a\0b\n"].concat()], None));
        let tight = Rules { send: true, limit: name.len() as u64 + 4 };
        assert!(read(format!("{name}\n").as_bytes(), 64, tight).1.unwrap().contains("more than the 3 bytes"));
        assert!(read(b"/no/such/file\n", 64, rules).1.unwrap().starts_with("line 1 of the input: /no/such/file"));
    }
}
