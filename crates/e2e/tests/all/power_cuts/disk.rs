//! The disk below the recorded directory: what a process sees of it, and what a power cut leaves.
//!
//! Only what a sync has promised is durable: a file's bytes and length after a sync of the file (or a write through a
//! descriptor that syncs), a name after a sync of its directory. Everything since is there or not, each sector and each
//! change of names by itself, also that of calls which had not returned.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use super::{
    contents::Contents,
    random::Random,
    trace::{Descriptor, Operation},
};

/// A tree of files by their paths.
pub(super) type Tree = BTreeMap<String, Entry>;

/// What a path stands for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Entry {
    File(Vec<u8>),
    Directory,
    Socket,
}

/// A file or directory, with or without a name.
type Number = usize;

/// The number of the recorded directory itself.
const ROOT: Number = 0;

enum Node {
    File(Contents),
    Directory(Names),
    Socket,
}

#[derive(Default)]
struct Names {
    current: BTreeMap<String, Number>,
    durable: BTreeMap<String, Number>,
    changes: Vec<Change>,
}

/// A change of names that isn't durable, with all that it changes at once.
struct Change {
    call: usize,
    /// A name, and what it stood for before and stands for now.
    names: Vec<(String, Option<Number>, Option<Number>)>,
}

#[derive(Clone, Copy)]
struct Open {
    node: Number,
    position: u64,
    append: bool,
    synchronous: bool,
}

/// A disk that a recording is replayed to.
pub(super) struct Disk {
    nodes: Vec<Node>,
    descriptors: HashMap<Descriptor, Open>,
    /// Calls that have begun and not returned.
    under_way: BTreeSet<usize>,
    /// Which calls were under way when a sync that is under way began.
    before_syncs: HashMap<usize, BTreeSet<usize>>,
    /// Where each write that is under way goes.
    writes: HashMap<usize, (Open, u64)>,
}

impl Disk {
    /// A disk with an empty directory on it.
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::Directory(Names::default())],
            descriptors: HashMap::new(),
            under_way: BTreeSet::new(),
            before_syncs: HashMap::new(),
            writes: HashMap::new(),
        }
    }

    /// Begins a call. Calls are numbered in the order in which they begin. What it changes may be there from now on. One that
    /// its process was killed in may be one that would have failed, and changes nothing then; had it changed something after
    /// all, what the process has left would show it.
    pub(super) fn begin(&mut self, call: usize, operation: &Operation) {
        self.under_way.insert(call);
        match operation {
            Operation::Open { path, create, .. } => {
                if *create && self.find(path).is_none() {
                    self.make(call, path, Node::File(Contents::default()));
                }
            }
            // From here on another call may get its number.
            Operation::Close { descriptor } => drop(self.descriptors.remove(descriptor)),
            Operation::Duplicate { .. } => {}
            Operation::Write { descriptor, offset, data } => {
                let open = self.open(*descriptor);
                let contents = self.contents(open.node);
                let position = if open.append { contents.current().len() as u64 } else { open.position };
                let offset = offset.unwrap_or(position);
                contents.write(call, offset as usize, data);
                self.writes.insert(call, (open, offset));
            }
            Operation::SetLength { descriptor, length } => {
                let node = self.open(*descriptor).node;
                self.contents(node).set_length(call, *length as usize);
            }
            Operation::Extend { descriptor, length } => {
                let node = self.open(*descriptor).node;
                let contents = self.contents(node);
                if contents.current().len() < *length as usize {
                    contents.set_length(call, *length as usize);
                }
            }
            Operation::Rename { from, to } => {
                let (directory, from) = split(from);
                let (other, to) = split(to);
                assert_eq!(directory, other, "names change within their directory");
                if let Some(node) = self.find_below(directory, from) {
                    self.change(call, directory, vec![(from.to_owned(), None), (to.to_owned(), Some(node))]);
                }
            }
            Operation::Remove { path } => {
                let (directory, name) = split(path);
                self.change(call, directory, vec![(name.to_owned(), None)]);
            }
            Operation::MakeDirectory { path } => {
                if self.find(path).is_none() {
                    self.make(call, path, Node::Directory(Names::default()));
                }
            }
            Operation::MakeSocket { path } => self.make(call, path, Node::Socket),
            Operation::Sync { .. } => drop(self.before_syncs.insert(call, self.under_way.clone())),
        }
    }

    /// Ends a call that has succeeded.
    pub(super) fn end(&mut self, call: usize, operation: &Operation) {
        self.under_way.remove(&call);
        match operation {
            Operation::Open { path, truncate, append, synchronous, descriptor, .. } => {
                let node = self.find(path).unwrap_or_else(|| panic!("{path} was opened and is not there"));
                if *truncate && !self.contents(node).current().is_empty() {
                    self.contents(node).set_length(call, 0);
                }
                let open = Open { node, position: 0, append: *append, synchronous: *synchronous };
                self.descriptors.insert(*descriptor, open);
            }
            Operation::Duplicate { from, to } => drop(self.descriptors.insert(*to, self.open(*from))),
            Operation::Write { descriptor, offset, data } => {
                let (open, begin) = self.writes.remove(&call).unwrap();
                if offset.is_none()
                    && let Some(open) = self.descriptors.get_mut(descriptor)
                {
                    open.position = begin + data.len() as u64;
                }
                if open.synchronous {
                    self.contents(open.node).sync_written(call, begin as usize, data.len());
                }
            }
            Operation::Sync { descriptor } => {
                let before = self.before_syncs.remove(&call).unwrap();
                let settled = |other: usize| other < call && !before.contains(&other);
                let node = self.open(*descriptor).node;
                match &mut self.nodes[node] {
                    Node::File(contents) => contents.sync(settled),
                    Node::Directory(names) => names.sync(settled),
                    Node::Socket => {}
                }
            }
            Operation::Rename { from: path, .. }
            | Operation::Remove { path }
            | Operation::MakeDirectory { path }
            | Operation::MakeSocket { path } => {
                let names = self.find(split(path).0).map(|directory| &self.nodes[directory]);
                let changes = |node: &Node| match node {
                    Node::Directory(names) => names.changes.iter().any(|change| change.call == call),
                    _ => false,
                };
                assert!(names.is_some_and(changes), "{operation:?} has succeeded, and can't have here");
            }
            _ => {}
        }
    }

    /// The process that made all these calls has ended, and `left` is what others find now: so it is known what became of
    /// the calls in which it was killed. Nothing becomes durable by that.
    pub(super) fn process_ended<'a>(&mut self, call: impl Fn(usize) -> &'a Operation, left: &Tree) {
        for under_way in std::mem::take(&mut self.under_way).into_iter().rev() {
            match call(under_way) {
                Operation::Write { data, .. } => {
                    let (open, offset) = self.writes.remove(&under_way).unwrap();
                    if let Some(path) = self.path_of(open.node)
                        && let Some(Entry::File(bytes)) = left.get(&path)
                    {
                        // All of it, a part, or nothing was written; the length may not have changed either.
                        let contents = self.contents(open.node);
                        if bytes.len() < contents.current().len() {
                            contents.take_back_length(under_way);
                        }
                        let begin = (offset as usize).min(bytes.len());
                        let end = (begin + data.len()).min(bytes.len());
                        contents.write(under_way, begin, &bytes[begin..end]);
                    }
                }
                Operation::SetLength { descriptor, .. } | Operation::Extend { descriptor, .. } => {
                    let node = self.open(*descriptor).node;
                    if let Some(path) = self.path_of(node)
                        && let Some(Entry::File(bytes)) = left.get(&path)
                        && bytes.len() != self.contents(node).current().len()
                    {
                        self.contents(node).take_back_length(under_way);
                    }
                }
                Operation::Open { path, .. }
                | Operation::MakeDirectory { path }
                | Operation::MakeSocket { path }
                | Operation::Rename { to: path, .. } => {
                    let happened = match call(under_way) {
                        Operation::Rename { from, .. } => !left.contains_key(from),
                        _ => left.contains_key(path),
                    };
                    if !happened {
                        self.take_back_names(under_way, split(path).0);
                    }
                }
                Operation::Remove { path } if left.contains_key(path) => {
                    self.take_back_names(under_way, split(path).0);
                }
                _ => {}
            }
        }
        self.descriptors.clear();
        self.before_syncs.clear();
        self.writes.clear();
    }

    /// What a process sees.
    pub(super) fn current(&self) -> Tree {
        let mut tree = Tree::new();
        self.collect(
            ROOT,
            "",
            &mut |names| names.current.clone(),
            &mut |contents| contents.current().to_vec(),
            &mut tree,
        );
        tree
    }

    /// What may be there after a power cut now.
    pub(super) fn after_a_cut(&self, random: &mut Random) -> Tree {
        let mut tree = Tree::new();
        let mut of_names = random.of_a_cut();
        self.collect(
            ROOT,
            "",
            &mut |names| names.after_a_cut(&mut of_names),
            &mut |contents| contents.after_a_cut(random),
            &mut tree,
        );
        tree
    }

    fn collect(
        &self,
        directory: Number,
        path: &str,
        names: &mut impl FnMut(&Names) -> BTreeMap<String, Number>,
        contents: &mut impl FnMut(&Contents) -> Vec<u8>,
        tree: &mut Tree,
    ) {
        let Node::Directory(listed) = &self.nodes[directory] else { return };
        for (name, node) in names(listed) {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let entry = match &self.nodes[node] {
                Node::File(file) => Entry::File(contents(file)),
                Node::Directory(_) => Entry::Directory,
                Node::Socket => Entry::Socket,
            };
            let goes_on = entry == Entry::Directory;
            tree.insert(path.clone(), entry);
            if goes_on {
                self.collect(node, &path, names, contents, tree);
            }
        }
    }

    fn open(&self, descriptor: Descriptor) -> Open {
        *self.descriptors.get(&descriptor).unwrap_or_else(|| panic!("the opening of {descriptor} was not recorded"))
    }

    fn contents(&mut self, node: Number) -> &mut Contents {
        match &mut self.nodes[node] {
            Node::File(contents) => contents,
            _ => panic!("something is written to what is no file"),
        }
    }

    fn find(&self, path: &str) -> Option<Number> {
        if path.is_empty() {
            return Some(ROOT);
        }
        let (directory, name) = split(path);
        self.find_below(directory, name)
    }

    fn find_below(&self, directory: &str, name: &str) -> Option<Number> {
        match &self.nodes[self.find(directory)?] {
            Node::Directory(names) => names.current.get(name).copied(),
            _ => None,
        }
    }

    fn path_of(&self, wanted: Number) -> Option<String> {
        fn search(disk: &Disk, directory: Number, path: &str, wanted: Number) -> Option<String> {
            let Node::Directory(names) = &disk.nodes[directory] else { return None };
            names.current.iter().find_map(|(name, node)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                if *node == wanted { Some(path) } else { search(disk, *node, &path, wanted) }
            })
        }
        search(self, ROOT, "", wanted)
    }

    fn make(&mut self, call: usize, path: &str, node: Node) {
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        let (directory, name) = split(path);
        self.change(call, directory, vec![(name.to_owned(), Some(number))]);
    }

    fn change(&mut self, call: usize, directory: &str, names: Vec<(String, Option<Number>)>) {
        let Some(number) = self.find(directory) else { return };
        let Node::Directory(directory) = &mut self.nodes[number] else { panic!("{directory} is no directory") };
        let names: Vec<_> = names
            .into_iter()
            .map(|(name, now)| {
                let before = directory.current.get(&name).copied();
                (name, before, now)
            })
            .collect();
        for (name, _, now) in &names {
            set(&mut directory.current, name, *now);
        }
        directory.changes.push(Change { call, names });
    }

    /// Takes back a change of names that never happened.
    fn take_back_names(&mut self, call: usize, directory: &str) {
        let Some(number) = self.find(directory) else { return };
        let Node::Directory(directory) = &mut self.nodes[number] else { return };
        if let Some(place) = directory.changes.iter().position(|change| change.call == call) {
            for (name, before, _) in directory.changes.remove(place).names {
                set(&mut directory.current, &name, before);
            }
        }
    }
}

impl Names {
    fn sync(&mut self, settled: impl Fn(usize) -> bool) {
        let (now, later) = std::mem::take(&mut self.changes).into_iter().partition(|change| settled(change.call));
        self.changes = later;
        let now: Vec<Change> = now;
        for (name, _, node) in now.into_iter().flat_map(|change| change.names) {
            set(&mut self.durable, &name, node);
        }
    }

    fn after_a_cut(&self, random: &mut Random) -> BTreeMap<String, Number> {
        let mut left = self.durable.clone();
        for change in &self.changes {
            if random.survives() {
                for (name, _, node) in &change.names {
                    set(&mut left, name, *node);
                }
            }
        }
        left
    }
}

fn set(names: &mut BTreeMap<String, Number>, name: &str, node: Option<Number>) {
    match node {
        Some(node) => drop(names.insert(name.to_owned(), node)),
        None => drop(names.remove(name)),
    }
}

/// A path's directory and its name in that.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Reads what is at a path and below it, under this name.
pub(super) fn read_tree(path: &Path, name: &str) -> Tree {
    let mut tree = Tree::new();
    let kind = std::fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_dir() {
        tree.insert(name.to_owned(), Entry::Directory);
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let below = entry.file_name().into_string().unwrap();
            // As the recording leaves it out.
            if !below.ends_with("-shm") {
                tree.extend(read_tree(&entry.path(), &format!("{name}/{below}")));
            }
        }
    } else {
        let entry = if kind.is_file() { Entry::File(std::fs::read(path).unwrap()) } else { Entry::Socket };
        tree.insert(name.to_owned(), entry);
    }
    tree
}

/// Makes a tree's files below a directory, for their owner alone.
pub(super) fn write_tree(tree: &Tree, below: &Path) {
    use std::os::unix::{
        fs::{FileExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener,
    };
    const PIECE: usize = 4096;
    for (path, entry) in tree {
        let path = below.join(path);
        match entry {
            Entry::Directory => {
                std::fs::create_dir(&path).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            }
            // A socket's name stays when its process has gone.
            Entry::Socket => drop(UnixListener::bind(&path).unwrap()),
            Entry::File(bytes) => {
                let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
                file.set_len(bytes.len() as u64).unwrap();
                for (piece, contents) in bytes.chunks(PIECE).enumerate() {
                    if contents.iter().any(|byte| *byte != 0) {
                        file.write_all_at(contents, (piece * PIECE) as u64).unwrap();
                    }
                }
            }
        }
    }
}
