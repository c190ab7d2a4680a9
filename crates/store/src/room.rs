//! Room on the disk: how much is free, and a reserve that nobody else can use up.
//!
//! The reserve is a file of zeros whose space is really taken, so a disk that somebody else fills still has it. When the
//! journal, or a value that must be kept, finds the disk full, the reserve is cut by what is needed and the operation is
//! tried again ([`DiskRoom::within`]). It is filled up again as soon as there is room.
//!
//! New work is taken only while the reserve is whole and something is free besides ([`DiskRoom::take`]); what is needed for
//! work that was taken before goes on until the reserve is nearly used up ([`DiskRoom::take_for_outcomes`]). Neither asks the
//! disk: they go by what was last seen ([`DiskRoom::look`]) and count what was taken since.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::disk::{Access, Disk, DiskFile, Space, is_full};

/// The reserve's file.
pub const RESERVE_FILE: &str = "reserve";

/// The reserve's size in bytes when none is asked for: a tenth of the disk within these bounds.
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 32 << 20..=256 << 20;

/// So much stays free besides the reserve, for the small files of others and of this program.
const SLACK_BYTES: u64 = 4 << 20;

/// So much is left when outcomes are to wait: for records that can't wait, and the journal's next piece.
const FLOOR_BYTES: u64 = 8 << 20;

/// The reserve is cut by multiples of this: by what is needed, and one more for what the file system needs.
const CUT_BYTES: u64 = 64 << 10;

/// The reserve is filled up by this much at least, unless less is missing.
const REFILL_BYTES: u64 = 1 << 20;

/// How much may still be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Ample,
    /// Nothing new: the reserve isn't whole, or nothing is free besides it.
    Short,
    /// Only what is needed for what runs: more than half of the reserve is used.
    Critical,
}

/// How the disk was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// How much may still be taken.
    pub level: Level,
    /// Bytes that are free besides the reserve.
    pub free: u64,
    /// Bytes that the reserve has.
    pub reserve: u64,
    /// Bytes that it should have.
    pub reserve_wanted: u64,
}

/// The room on a store's disk. Clones share it.
#[derive(Clone)]
pub struct DiskRoom {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    wanted: u64,
    held: AtomicU64,
    /// The reserve's file; held while its size changes.
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    free: AtomicU64,
    /// What was taken since the disk was looked at.
    taken: AtomicU64,
    /// What was taken between the last two looks: it may not have been written yet when the last one came.
    taken_before: AtomicU64,
    /// What the journal can take without asking the disk for room.
    journal_ahead: AtomicU64,
}

impl DiskRoom {
    /// Looks at the disk and changes nothing. `reserve` is the size in bytes that the reserve is to have; `None` for what
    /// suits the disk.
    pub(crate) fn open(disk: Arc<dyn Disk>, reserve: Option<u64>) -> io::Result<Self> {
        let Space { free, total } = disk.space()?;
        let held = match disk.open(RESERVE_FILE, Access::Read) {
            Ok(file) => file.length()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let suitable = || (total / 10).clamp(*RESERVE_BYTES.start(), *RESERVE_BYTES.end());
        let shared = Shared {
            disk,
            wanted: reserve.unwrap_or_else(suitable),
            held: held.into(),
            file: Mutex::new(None),
            free: free.into(),
            taken: 0.into(),
            taken_before: 0.into(),
            journal_ahead: 0.into(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes sure that what the reserve's file claims to have is really there (a copy of it may be sparse), and fills it up
    /// as far as that is possible now.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let held = self.shared.held.load(Ordering::Relaxed);
        if held > 0 {
            match self.resize(|_| held) {
                Err(error) if is_full(&error) => self.resize(|_| 0)?,
                other => other?,
            }
        }
        self.refill()
    }

    /// Looks at the disk anew.
    pub fn look(&self) -> io::Result<()> {
        let taken = self.shared.taken.swap(0, Ordering::Relaxed);
        self.shared.taken_before.store(taken, Ordering::Relaxed);
        self.shared.free.store(self.shared.disk.space()?.free, Ordering::Relaxed);
        Ok(())
    }

    /// Brings the reserve to its size, or as near to it as there is room.
    pub fn refill(&self) -> io::Result<()> {
        let Shared { wanted, held, .. } = &*self.shared;
        if held.load(Ordering::Relaxed) == *wanted {
            return Ok(());
        }
        let spare = self.shared.disk.space()?.free.saturating_sub(SLACK_BYTES);
        let grown = self.resize(|held| {
            let missing = wanted.saturating_sub(held);
            let step = missing.min(spare);
            // Crumbs are left to whoever needs them.
            if step == missing || step >= REFILL_BYTES { (held + step).min(*wanted) } else { held }
        });
        match grown {
            // Somebody else was quicker.
            Err(error) if is_full(&error) => Ok(()),
            other => other,
        }
    }

    /// How the disk was last seen.
    pub fn state(&self) -> RoomState {
        let Shared { wanted, held, .. } = &*self.shared;
        let (held, free) = (held.load(Ordering::Relaxed), self.free());
        let level = if held < wanted / 2 {
            Level::Critical
        } else if held < *wanted || free < SLACK_BYTES {
            Level::Short
        } else {
            Level::Ample
        };
        RoomState { level, free, reserve: held, reserve_wanted: *wanted }
    }

    /// How much may still be taken.
    pub fn level(&self) -> Level {
        self.state().level
    }

    /// Counts bytes that are about to be written for something new, if there is room for them.
    pub fn take(&self, bytes: u64) -> bool {
        let state = self.state();
        let fits = state.level == Level::Ample && bytes.saturating_add(SLACK_BYTES) <= state.free;
        if fits {
            self.shared.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// The same for outcomes of work that was taken before: `journal` bytes go into the journal, `files` bytes into files of
    /// their own. They may use the reserve.
    pub fn take_for_outcomes(&self, journal: u64, files: u64) -> bool {
        let Shared { free, held, journal_ahead, .. } = &*self.shared;
        let beside = free.load(Ordering::Relaxed) + held.load(Ordering::Relaxed);
        let all = (beside + journal_ahead.load(Ordering::Relaxed)).saturating_sub(self.taken());
        let beside = beside.saturating_sub(self.taken());
        let bytes = journal.saturating_add(files);
        let files_fit = files == 0 || files.saturating_add(FLOOR_BYTES) <= beside;
        let fits = files_fit && bytes.saturating_add(FLOOR_BYTES) <= all;
        if fits {
            self.shared.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Does something that needs about so many bytes. When the disk is full, the reserve makes room for it.
    pub fn within<T, E>(
        &self,
        bytes: u64,
        full: impl Fn(&E) -> bool,
        mut operation: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            match operation() {
                Err(error) if full(&error) && self.cut(bytes) => {}
                other => return other,
            }
        }
    }

    /// Notes what the journal can take without asking the disk for room.
    pub(crate) fn set_journal_ahead(&self, bytes: u64) {
        self.shared.journal_ahead.store(bytes, Ordering::Relaxed);
    }

    fn free(&self) -> u64 {
        self.shared.free.load(Ordering::Relaxed).saturating_sub(self.taken())
    }

    fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed) + self.shared.taken_before.load(Ordering::Relaxed)
    }

    /// Gives up so much of the reserve, and says whether there was any.
    fn cut(&self, bytes: u64) -> bool {
        let wanted = bytes.next_multiple_of(CUT_BYTES).saturating_add(CUT_BYTES);
        let mut cut = 0;
        let resized = self.resize(|held| {
            cut = wanted.min(held);
            held - cut
        });
        if resized.is_err() || cut == 0 {
            return false;
        }
        // What it is for was counted when it was taken.
        for taken in [&self.shared.taken, &self.shared.taken_before] {
            let before =
                taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| Some(taken.saturating_sub(cut)));
            cut = cut.saturating_sub(before.unwrap_or_default());
        }
        true
    }

    fn resize(&self, size: impl FnOnce(u64) -> u64) -> io::Result<()> {
        let mut file = self.shared.file.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.shared.held.load(Ordering::Relaxed);
        let size = size(held);
        if size == 0 && held == 0 {
            return Ok(());
        }
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(self.open_file()?),
        };
        file.set_length(size)?;
        self.shared.held.store(size, Ordering::Relaxed);
        Ok(())
    }

    fn open_file(&self) -> io::Result<Arc<dyn DiskFile>> {
        let disk = &self.shared.disk;
        match disk.open(RESERVE_FILE, Access::Buffered) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create(RESERVE_FILE, 0)?;
                disk.open(RESERVE_FILE, Access::Buffered)
            }
            opened => opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimulatedDisk};

    const MIB: u64 = 1 << 20;

    fn room(disk: &SimulatedDisk, reserve: Option<u64>) -> DiskRoom {
        let room = DiskRoom::open(Arc::new(disk.clone()), reserve).unwrap();
        room.prepare().unwrap();
        room.look().unwrap();
        room
    }

    fn ballast(disk: &SimulatedDisk, bytes: u64) {
        disk.create("ballast", bytes).unwrap();
    }

    #[test]
    fn a_full_disk_takes_nothing_new_and_the_reserve_carries_what_runs() {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(Some(100 * MIB));
        let room = room(&disk, Some(40 * MIB));
        assert_eq!(room.state().free, 60 * MIB);
        assert!(room.take(10 * MIB));
        // What was taken counts until the disk was looked at twice: when it is written, nobody says.
        assert!(!room.take(47 * MIB));
        room.look().unwrap();
        assert!(!room.take(47 * MIB));
        room.look().unwrap();
        assert!(room.take(47 * MIB));
        room.look().unwrap();
        room.look().unwrap();

        ballast(&disk, 60 * MIB);
        room.look().unwrap();
        assert_eq!((room.level(), room.take(1)), (Level::Short, false));
        assert!(room.take_for_outcomes(5 * MIB, 5 * MIB));
        let write = |bytes| disk.create(&format!("values/{}", disk.operations()), bytes);
        // What the reserve gives is not counted twice.
        room.within(10 * MIB, is_full, || write(10 * MIB)).unwrap();
        assert_eq!((room.state().reserve / MIB, room.level()), (29, Level::Short));
        assert!(room.take_for_outcomes(0, 15 * MIB) && !room.take_for_outcomes(0, 15 * MIB));
        room.within(15 * MIB, is_full, || write(15 * MIB)).unwrap();
        assert_eq!((room.state().reserve / MIB, room.level()), (14, Level::Critical));
        // Eight are left for what can't wait.
        assert!(!room.take_for_outcomes(7 * MIB, 0) && room.take_for_outcomes(6 * MIB, 0));
        room.set_journal_ahead(20 * MIB);
        assert!(!room.take_for_outcomes(0, MIB), "files don't go into the journal");
        assert!(room.take_for_outcomes(20 * MIB, 0) && !room.take_for_outcomes(MIB, 0));
        room.within(10 * MIB, is_full, || write(10 * MIB)).unwrap();
        assert!(room.within(10 * MIB, is_full, || write(10 * MIB)).is_err());
        assert_eq!(room.state().reserve, 0);

        // Somebody makes room: first for the reserve, then for new work.
        disk.remove("ballast").unwrap();
        room.refill().unwrap();
        room.look().unwrap();
        room.look().unwrap();
        assert_eq!((room.state().reserve, room.level()), (40 * MIB, Level::Ample));
        assert!(room.take(1));
    }

    #[test]
    fn a_reserve_suits_its_disk_and_follows_the_configuration() {
        let disk = SimulatedDisk::new(1);
        for (capacity, expected) in [(100, 32), (1_000, 100), (10_000, 256)] {
            disk.set_capacity(Some(capacity * MIB));
            assert_eq!(room(&disk, None).state().reserve, expected * MIB);
        }
        assert_eq!(room(&disk, Some(20 * MIB)).state().reserve, 20 * MIB);
        disk.set_capacity(Some(30 * MIB));
        let room = room(&disk, Some(50 * MIB));
        assert_eq!((room.state().reserve, room.level()), (26 * MIB, Level::Short));
    }

    #[test]
    fn a_reserve_that_finds_no_room_stays_as_it_is_until_there_is_some() {
        let disk = SimulatedDisk::new(1);
        let room = room(&disk, Some(40 * MIB));
        // So much is left: exactly half of the reserve, exactly what stays free besides.
        room.within(1, |()| true, || if room.state().reserve > 20 * MIB { Err(()) } else { Ok(()) }).unwrap();
        assert_eq!((room.state().reserve, room.level()), (20 * MIB, Level::Short));
        room.cut(1);
        assert_eq!(room.level(), Level::Critical);
        // The disk seems to have room, and somebody else is quicker; then it fails altogether.
        let held = room.state().reserve;
        disk.fault_at(disk.operations(), Fault::Full);
        room.refill().unwrap();
        assert_eq!(room.state().reserve, held);
        disk.set_capacity(None);
        disk.fault_at(disk.operations(), Fault::Error);
        assert!(room.refill().is_err());
        room.refill().unwrap();
        let used = disk.image().values().map(|contents| contents.len() as u64).sum::<u64>();
        for (free, level) in [(SLACK_BYTES, Level::Ample), (SLACK_BYTES - 1, Level::Short)] {
            disk.set_capacity(Some(used + free));
            room.look().unwrap();
            assert_eq!((room.state().reserve, room.level()), (40 * MIB, level));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reserve_that_was_copied_without_its_zeros_is_filled_again() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(RESERVE_FILE);
        std::fs::File::create(&path).unwrap().set_len(2 * MIB).unwrap();
        let disk = crate::disk::FileDisk::new(directory.path()).unwrap();
        let room = DiskRoom::open(Arc::new(disk), Some(2 * MIB)).unwrap();
        room.prepare().unwrap();
        assert_eq!(room.state().reserve, 2 * MIB);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 2 * MIB);
    }
}
