//! A disk in memory that loses power, tears writes, fails and fills up when it is told to.
//!
//! Everything it does follows from its seed and from what is asked of it. What was not synced is lost by the sector (512
//! bytes) at a power cut, in any combination; changes of names are lost from the end, as in file systems that journal them.

mod contents;

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::contents::{Contents, PAGE};
use super::{Access, Disk, DiskFile, Space, directory_of};

const SECTOR: usize = 512;

/// What a disk without a limit says that it has.
const UNLIMITED: u64 = 1 << 50;

/// What happens to an operation that was chosen by [`SimulatedDisk::fault_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails; a write leaves some of its sectors behind.
    Error,
    /// The power is cut in the middle of it.
    PowerCut,
    /// The disk is full from here on, as if somebody else had filled it, until [`SimulatedDisk::set_capacity`] says
    /// otherwise.
    Full,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: BTreeMap::new(),
            files: BTreeMap::new(),
            next_file: 0,
            generation: 0,
            running: true,
            operations: 0,
            fault: None,
            capacity: None,
            random: Random(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many operations have changed something, or tried to: writes, syncs, creations, removals, renamings. The next
    /// one has this number.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets the operation of this number fail or be cut off, instead of any chosen before.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// Cuts the power. Nothing works until [`SimulatedDisk::restart`].
    pub fn cut(&self) {
        self.lock().cut();
    }

    /// Kills the process that uses the disk: what was written stays, what is open is closed. Nothing works until
    /// [`SimulatedDisk::restart`].
    pub fn kill(&self) {
        self.lock().stop();
    }

    /// Lets the disk be used again after a cut or a kill; what was open before stays closed.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.running = true;
        state.fault = None;
    }

    /// Whether it can be used: neither cut off nor killed.
    pub fn is_running(&self) -> bool {
        self.lock().running
    }

    /// Limits the sum of the files' lengths, in bytes; `None` for no limit.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock().capacity = capacity;
    }

    /// Changes one bit of a file, durably, as failing hardware does.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.find(name)?;
        let contents = state.contents(file)?;
        let mut byte = [0];
        contents.read(offset, &mut byte);
        byte[0] ^= 1 << (bit % 8);
        contents.write(offset, &byte);
        let sector = offset / SECTOR as u64;
        contents.unsynced.remove(&sector);
        Ok(())
    }

    /// Every file with its contents.
    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let read = |file: &u64| {
            let contents = state.files.get(file);
            contents.map_or_else(Vec::new, |contents| {
                let mut bytes = vec![0; contents.length as usize];
                contents.read(0, &mut bytes);
                bytes
            })
        };
        state.names.iter().map(|(name, file)| (name.clone(), read(file))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.begin()?.complete()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.make_room(length)?;
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Contents { length, ..Contents::default() });
        state.change_names(directory_of(name), vec![(name.to_owned(), Some(file))]);
        state.end()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        state.check_running()?;
        let file = state.find(name)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file, access, generation: state.generation }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.check_running()?;
        let within = |name: &&String| directory_of(name) == directory;
        let last_part = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(state.names.keys().filter(within).map(last_part).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_running()?;
        state.find(name)?;
        state.begin()?.complete()?;
        state.change_names(directory_of(name), vec![(name.to_owned(), None)]);
        state.end()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin()?.complete()?;
        let file = state.find(from)?;
        state.change_names(directory_of(from), vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        state.end()
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin()? == Step::Whole {
            for change in state.name_changes.remove(directory).unwrap_or_default() {
                apply(&mut state.durable_names, change);
            }
            return Ok(());
        }
        state.end()?;
        Err(failed())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.lock();
        state.check_running()?;
        let total = state.capacity.unwrap_or(UNLIMITED);
        Ok(Space { free: total.saturating_sub(state.used()), total })
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        let mut state = self.lock();
        let high = u128::from(state.random.next());
        let low = u128::from(state.random.next());
        Ok((high << 64 | low).to_le_bytes())
    }
}

/// An open file of a [`SimulatedDisk`].
struct SimulatedFile {
    disk: SimulatedDisk,
    file: u64,
    access: Access,
    /// Which run of the process opened it.
    generation: u64,
}

impl SimulatedFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        state.check_running()?;
        if state.generation == self.generation { Ok(state) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.state()?;
        if self.access == Access::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes = pieces.iter().map(|piece| &**piece).collect::<Vec<_>>().concat();
        let unaligned = !offset.is_multiple_of(PAGE as u64) || !bytes.len().is_multiple_of(PAGE);
        if self.access == Access::Through && unaligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let end = offset + bytes.len() as u64;
        let step = state.begin()?;
        let growth = end.saturating_sub(state.contents(self.file)?.length);
        state.make_room(growth)?;
        if step == Step::Fails {
            for (index, piece) in bytes.chunks(SECTOR).enumerate() {
                if state.random.next() & 1 == 0 {
                    let at = offset + (index * SECTOR) as u64;
                    state.contents(self.file)?.write(at, piece);
                }
            }
            return Err(failed());
        }
        let contents = state.contents(self.file)?;
        if step == Step::Whole && self.access == Access::Through {
            contents.write_durably(offset, &bytes);
        } else {
            contents.write(offset, &bytes);
        }
        state.end()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        match state.begin()? {
            Step::Whole => {
                let contents = state.contents(self.file)?;
                contents.unsynced.clear();
                contents.durable_length = contents.length;
                Ok(())
            }
            Step::Fails => Err(failed()),
            Step::CutOff => state.end(),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state()?;
        Ok(state.contents(self.file)?.read(offset, buffer))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.state()?.contents(self.file)?.length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.begin()?.complete()?;
        let growth = length.saturating_sub(state.contents(self.file)?.length);
        state.make_room(growth)?;
        let contents = state.contents(self.file)?;
        if length < contents.length {
            contents.truncate(length);
            contents.durable_length = contents.durable_length.min(length);
        }
        contents.length = length;
        state.end()
    }
}

struct State {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// What changed in each directory since it was synced.
    name_changes: BTreeMap<String, Vec<NameChange>>,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    generation: u64,
    running: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    capacity: Option<u64>,
    random: Random,
}

/// Names and what they stand for from now on, changed at once.
type NameChange = Vec<(String, Option<u64>)>;

/// How an operation goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Whole,
    Fails,
    CutOff,
}

impl Step {
    /// For operations that fail without a trace.
    fn complete(self) -> io::Result<()> {
        if self == Self::Fails { Err(failed()) } else { Ok(()) }
    }
}

impl State {
    /// Counts an operation and says how it goes.
    fn begin(&mut self) -> io::Result<Step> {
        self.check_running()?;
        let number = self.operations;
        self.operations += 1;
        Ok(match self.fault {
            Some((at, Fault::Error)) if at == number => Step::Fails,
            Some((at, Fault::PowerCut)) if at == number => Step::CutOff,
            Some((at, Fault::Full)) if at == number => {
                self.capacity = Some(self.used());
                Step::Whole
            }
            _ => Step::Whole,
        })
    }

    /// Ends an operation: with the cut, if it was to come now.
    fn end(&mut self) -> io::Result<()> {
        if self.fault == Some((self.operations - 1, Fault::PowerCut)) {
            self.cut();
        }
        self.check_running()
    }

    fn check_running(&self) -> io::Result<()> {
        if self.running { Ok(()) } else { Err(io::Error::other("the simulated machine is off")) }
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }

    fn contents(&mut self, file: u64) -> io::Result<&mut Contents> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|file| self.files.get(file)).map(|file| file.length).sum()
    }

    fn make_room(&self, length: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if length > 0 && self.used() + length > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn change_names(&mut self, directory: &str, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.name_changes.entry(directory.to_owned()).or_default().push(change);
    }

    fn stop(&mut self) {
        self.running = false;
        self.generation += 1;
    }

    fn cut(&mut self) {
        self.stop();
        for (_, changes) in std::mem::take(&mut self.name_changes) {
            let kept = self.random.below(changes.len() as u64 + 1) as usize;
            for change in changes.into_iter().take(kept) {
                apply(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        let (names, random) = (&self.names, &mut self.random);
        self.files.retain(|file, _| names.values().any(|named| named == file));
        // From one cut to the next, anything between nearly all and nearly nothing is lost.
        let kept_of_eight = random.below(9);
        for contents in self.files.values_mut() {
            for (sector, before) in std::mem::take(&mut contents.unsynced) {
                if random.below(8) >= kept_of_eight {
                    contents.put(sector * SECTOR as u64, &before);
                }
            }
            if contents.durable_length < contents.length && random.below(2) == 0 {
                contents.truncate(contents.durable_length);
            }
            contents.durable_length = contents.length;
        }
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: NameChange) {
    for (name, file) in change {
        match file {
            Some(file) => names.insert(name, file),
            None => names.remove(&name),
        };
    }
}

fn failed() -> io::Error {
    io::Error::other("the simulated disk was told to fail")
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
