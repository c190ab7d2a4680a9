//! What strace has written about a process, as operations on the files of its state directory.
//!
//! All texts are asked for in hexadecimal (`-xx`), so that none contains a quote, a comma or a bracket, and descriptors with
//! the paths that they stand for (`-y`), by which foreign files are passed over.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// The calls that change files or make them durable, those that decide what a descriptor stands for, and those that would
/// get past this recording, which are refused.
pub(super) const CALLS: &str = "open,openat,openat2,creat,close,close_range,dup,dup2,dup3,fcntl,write,writev,pwrite64,\
    pwritev,pwritev2,truncate,ftruncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
    mkdir,mkdirat,rmdir,mknod,mknodat,bind,fsync,fdatasync,sync,syncfs,copy_file_range,sendfile,splice,mmap,\
    io_uring_setup,io_submit,execve";

/// The name of the state directory in the directory that is recorded.
pub(super) const STATE: &str = "manager";

/// A file descriptor's number.
pub(super) type Descriptor = i64;

/// What a call does. Paths are relative to the directory above the state directory.
#[derive(Debug)]
pub(super) enum Operation {
    Open {
        path: String,
        create: bool,
        truncate: bool,
        append: bool,
        synchronous: bool,
        descriptor: Descriptor,
    },
    Close {
        descriptor: Descriptor,
    },
    Duplicate {
        from: Descriptor,
        to: Descriptor,
    },
    /// Without an offset: where the descriptor stands.
    Write {
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Vec<u8>,
    },
    SetLength {
        descriptor: Descriptor,
        length: u64,
    },
    /// The file becomes at least this long.
    Extend {
        descriptor: Descriptor,
        length: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    MakeDirectory {
        path: String,
    },
    MakeSocket {
        path: String,
    },
    Sync {
        descriptor: Descriptor,
    },
}

/// A call's beginning or end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Microseconds since the Unix epoch.
    pub(super) time: u64,
    /// Its place in [`Trace::operations`].
    pub(super) operation: usize,
    pub(super) ends: bool,
}

/// A process from its start to its end.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// In the order of their beginnings; without those that failed.
    pub(super) operations: Vec<Operation>,
    /// In the order in which strace let the process go on. Calls in which it was killed have no end.
    pub(super) steps: Vec<Step>,
}

impl Trace {
    /// Reads what strace wrote about a manager whose state directory is in `root`.
    pub(super) fn read(file: &Path, root: &Path) -> Self {
        let root = root.to_str().unwrap().to_owned();
        let root_in_hexadecimal = root.bytes().flat_map(escape).collect();
        let mut parser = Parser { root, root_in_hexadecimal, ..Parser::default() };
        let mut reader = BufReader::new(File::open(file).unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 0 {
            parser.line(line.trim_end());
            line.clear();
        }
        parser.finish()
    }
}

/// How long before the end of a killed thread its last call may have returned and still be the one that it was killed in.
const LAST_RESULTS: u64 = 1_000_000;

/// A call that has returned.
struct Returned {
    /// Its place among the operations.
    operation: usize,
    call: String,
    result: i64,
    /// When.
    time: u64,
}

#[derive(Default)]
struct Parser {
    root: String,
    root_in_hexadecimal: String,
    /// By thread: the call's place among the operations, and its text so far.
    unfinished: HashMap<u32, (usize, String)>,
    /// By thread: the call that the thread has made last.
    returned: HashMap<u32, Returned>,
    /// What is nothing to the state directory, or failed, stays `None`.
    operations: Vec<Option<Operation>>,
    steps: Vec<Step>,
    programs: usize,
}

impl Parser {
    fn line(&mut self, line: &str) {
        let mut words = line.splitn(2, ' ');
        let thread: u32 = words.next().unwrap().parse().unwrap_or_else(|_| panic!("no line of strace: {line:.200}"));
        let (time, text) = words.next().and_then(|rest| rest.trim_start().split_once(' ')).unwrap();
        let time = microseconds(time);
        let text = text.trim_start();
        if let Some(returned) = self.returned.remove(&thread)
            && text.starts_with("+++ killed")
            && time < returned.time + LAST_RESULTS
        {
            self.doubt(&returned);
        }
        if let Some(resumed) = text.strip_prefix("<... ") {
            if let Some((operation, mut call)) = self.unfinished.remove(&thread) {
                call.push_str(resumed.split_once(" resumed>").unwrap().1);
                self.end(thread, operation, &call, time);
            }
            return;
        }
        // Ends of threads and signals, and what is about other files.
        if text.starts_with("+++") || text.starts_with("---") || !text.contains(&self.root_in_hexadecimal) {
            assert!(
                !text.starts_with("io_uring_setup") && !text.starts_with("sync("),
                "it can't be recorded: {text:.200}"
            );
            return;
        }
        let operation = self.operations.len();
        self.operations.push(None);
        self.steps.push(Step { time, operation, ends: false });
        match text.strip_suffix("<unfinished ...>") {
            Some(call) => drop(self.unfinished.insert(thread, (operation, call.to_owned()))),
            None => self.end(thread, operation, text, time + duration(text)),
        }
    }

    /// Takes in a whole call with its result.
    fn end(&mut self, thread: u32, operation: usize, text: &str, time: u64) {
        let (call, result) = text.rsplit_once(" = ").unwrap_or_else(|| panic!("a call without a result: {text:.200}"));
        let call = call.trim_end().strip_suffix(')').unwrap();
        let result = result.split([' ', '<']).next().unwrap();
        if result == "?" {
            self.operations[operation] = self.parse(call, None);
            return;
        }
        let result = if result.starts_with("0x") { 0 } else { result.parse().unwrap() };
        self.returned.insert(thread, Returned { operation, call: call.to_owned(), result, time });
        if result >= 0 {
            self.operations[operation] = self.parse(call, Some(result));
            self.steps.push(Step { time, operation, ends: true });
        }
    }

    /// The last call of a thread that was killed. If it was killed in that, strace may give it the result that another call had
    /// just before. A write of all its bytes and a sync can well have returned, and somebody may have been told on account of
    /// them; of others it is as well not known, as nobody was.
    fn doubt(&mut self, returned: &Returned) {
        let operation = self.parse(&returned.call, None);
        let is_believed = match &operation {
            Some(Operation::Write { data, .. }) => usize::try_from(returned.result) == Ok(data.len()),
            Some(Operation::Sync { .. }) => returned.result == 0,
            other => other.is_none(),
        };
        if !is_believed {
            self.operations[returned.operation] = operation;
            self.steps.retain(|step| step.operation != returned.operation || !step.ends);
        }
    }

    fn finish(mut self) -> Trace {
        for (operation, call) in std::mem::take(&mut self.unfinished).into_values() {
            self.operations[operation] = self.parse(call.trim_end(), None);
        }
        assert_eq!(self.programs, 1, "the manager starts no programs");
        let mut places = Vec::new();
        let mut trace = Trace::default();
        for operation in self.operations {
            places.push(trace.operations.len());
            trace.operations.extend(operation);
        }
        places.push(trace.operations.len());
        trace.steps = self.steps;
        trace.steps.retain(|step| places[step.operation] < places[step.operation + 1]);
        for step in &mut trace.steps {
            step.operation = places[step.operation];
        }
        trace
    }

    /// The operation that a call is, if it is one on the state directory. Without a result: the process was killed in it.
    fn parse(&mut self, call: &str, result: Option<i64>) -> Option<Operation> {
        let (name, arguments) = call.split_once('(').unwrap();
        let arguments = split(arguments);
        let argument = |index: usize| arguments[index];
        let number = |index: usize| argument(index).parse::<u64>().unwrap();
        let descriptor = || argument(0).split('<').next().unwrap().parse::<Descriptor>().unwrap();
        let concerns = |index: usize| {
            let decoration = argument(index).split_once('<').and_then(|(_, path)| path.split_once('>'));
            decoration.is_some_and(|(path, _)| self.inside(&text(path)).is_some())
        };
        let own = || concerns(0);
        let path = |index: usize| self.inside(&text(argument(index)));
        let path_at = |index: usize| {
            let path = text(argument(index + 1));
            let base = argument(index).split_once('<').and_then(|(_, path)| path.split_once('>'));
            self.inside(&base.map_or(path.clone(), |(base, _)| join(&text(base), &path)))
        };
        match name {
            "execve" => {
                self.programs += 1;
                None
            }
            "openat" => {
                let flags = argument(2);
                assert!(!flags.contains("TMPFILE"), "a file without a name can't be recorded");
                let has = |names: &[&str]| flags.split('|').any(|flag| names.contains(&flag));
                Some(Operation::Open {
                    path: path_at(0)?,
                    create: has(&["O_CREAT"]),
                    truncate: has(&["O_TRUNC"]),
                    append: has(&["O_APPEND"]),
                    synchronous: has(&["O_DSYNC", "O_SYNC"]),
                    descriptor: result.unwrap_or(-1),
                })
            }
            "close" => own().then(|| Operation::Close { descriptor: descriptor() }),
            "dup" | "dup2" | "dup3" => {
                own().then(|| Operation::Duplicate { from: descriptor(), to: result.unwrap_or(-1) })
            }
            "fcntl" => (own() && argument(1).starts_with("F_DUPFD"))
                .then(|| Operation::Duplicate { from: descriptor(), to: result.unwrap_or(-1) }),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" if own() => {
                assert!(name != "pwritev2" || argument(4) == "0", "flags of a write can't be recorded");
                let mut data = bytes(argument(1));
                data.truncate(result.map_or(usize::MAX, |written| written as usize));
                let offset = name.starts_with('p').then(|| number(3));
                Some(Operation::Write { descriptor: descriptor(), offset, data })
            }
            "ftruncate" => own().then(|| Operation::SetLength { descriptor: descriptor(), length: number(1) }),
            "fallocate" if own() => {
                assert_eq!(argument(1), "0", "modes of fallocate can't be recorded");
                Some(Operation::Extend { descriptor: descriptor(), length: number(2) + number(3) })
            }
            "rename" => renamed(path(0), path(1)),
            "renameat" | "renameat2" => renamed(path_at(0), path_at(2)),
            "unlink" | "rmdir" => Some(Operation::Remove { path: path(0)? }),
            "unlinkat" => Some(Operation::Remove { path: path_at(0)? }),
            "mkdir" => Some(Operation::MakeDirectory { path: path(0)? }),
            "mkdirat" => Some(Operation::MakeDirectory { path: path_at(0)? }),
            "bind" => {
                let path = argument(1).split_once("sun_path=")?.1;
                Some(Operation::MakeSocket { path: self.inside(&text(path.split(['}', ',']).next().unwrap()))? })
            }
            "fsync" | "fdatasync" => own().then(|| Operation::Sync { descriptor: descriptor() }),
            "mmap" => {
                let shared = argument(3).contains("MAP_SHARED") && concerns(4);
                // SQLite makes its index of the log anew after a crash, so nothing rests on what a cut leaves of it.
                assert!(!shared || text(argument(4)).ends_with("-shm"), "a mapping can't be recorded: {call:.500}");
                None
            }
            // The others are not made on files of the state.
            _ => {
                let any = (0..arguments.len()).any(|index| concerns(index) || path(index).is_some());
                assert!(!any, "it can't be recorded: {call:.500}");
                None
            }
        }
    }

    /// A path relative to the root, if it is the root, the state directory or in that.
    fn inside(&self, path: &str) -> Option<String> {
        let below = path.trim_end_matches('/').strip_prefix(&self.root)?;
        let Some(below) = below.strip_prefix('/') else { return below.is_empty().then(String::new) };
        let rest = below.strip_prefix(STATE)?;
        ((rest.is_empty() || rest.starts_with('/')) && !rest.ends_with("-shm")).then(|| below.to_owned())
    }
}

fn renamed(from: Option<String>, to: Option<String>) -> Option<Operation> {
    match (from, to) {
        (None, None) => None,
        (Some(from), Some(to)) => Some(Operation::Rename { from, to }),
        out => panic!("a file comes into the state or leaves it: {out:?}"),
    }
}

fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") }
}

/// Seconds with six decimal places.
fn microseconds(seconds: &str) -> u64 {
    let (seconds, fraction) = seconds.split_once('.').unwrap();
    assert_eq!(fraction.len(), 6);
    seconds.parse::<u64>().unwrap() * 1_000_000 + fraction.parse::<u64>().unwrap()
}

/// How long a call took, as said at its line's end.
fn duration(text: &str) -> u64 {
    text.strip_suffix('>').and_then(|text| text.rsplit_once('<')).map_or(0, |(_, seconds)| microseconds(seconds))
}

/// Arguments, of which some are structures.
fn split(arguments: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (position, byte) in arguments.bytes().enumerate() {
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth -= 1,
            b',' if depth == 0 => {
                found.push(arguments[begin..position].trim());
                begin = position + 1;
            }
            _ => {}
        }
    }
    found.push(arguments[begin..].trim());
    found
}

/// The bytes of all strings of an argument.
fn bytes(argument: &str) -> Vec<u8> {
    assert!(!argument.contains("\"..."), "a write was recorded in part");
    argument.split('"').skip(1).step_by(2).flat_map(unescape).collect()
}

/// A string with or without quotes.
fn text(argument: &str) -> String {
    String::from_utf8(unescape(argument.trim_matches('"')).collect()).unwrap()
}

/// `\x68`, as strace writes it.
fn escape(byte: u8) -> [char; 4] {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    ['\\', 'x', digit(byte >> 4), digit(byte & 15)]
}

/// `\x68\x69`; anything else is no string, and has no bytes.
fn unescape(text: &str) -> impl Iterator<Item = u8> + '_ {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes()
        .chunks_exact(4)
        .filter(|escape| escape.starts_with(b"\\x"))
        .map(move |escape| digit(escape[2]) << 4 | digit(escape[3]))
}
