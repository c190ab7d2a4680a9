use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tempfile::TempDir;

use super::*;
use crate::config::{ByteSize, ConfigDuration};

const DAY: Duration = Duration::from_hours(24);

/// A log file in a directory of its own, and its clock.
struct Place {
    directory: TempDir,
    clock: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(AtomicU64::new(1_800_000_000_000)) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("logs").join("a.log")
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    fn open(&self, mode: RotationMode, size: u64, keep: u32) -> LogFile {
        self.open_as(LogFormat::Text, mode, size, keep)
    }

    fn open_as(&self, format: LogFormat, mode: RotationMode, size: u64, keep: u32) -> LogFile {
        let rotation = Rotation { mode, size: ByteSize(size), age: ConfigDuration(DAY), keep };
        let clock = self.clock.clone();
        let now = move || SystemTime::UNIX_EPOCH + Duration::from_millis(clock.load(Ordering::Relaxed));
        LogFile::open(&self.path(), &rotation, format, Box::new(now)).unwrap()
    }

    /// What is in each file.
    fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.path().parent().unwrap()).unwrap().map(Result::unwrap);
        entries
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect()
    }

    /// All lines, in the order of writing.
    fn lines(&self) -> Vec<String> {
        let mut files = self.files();
        let last = files.remove("a.log").unwrap_or_default();
        files.into_values().chain([last]).flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// A line with its time, as the daemons write them.
    fn line(&self, text: &str) -> Vec<u8> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.load(Ordering::Relaxed));
        format!("{} {text}\n", humantime::format_rfc3339_micros(now)).into_bytes()
    }
}

/// Writes numbered lines from many threads at once until `meanwhile` says that it is enough; how many each has written.
fn write_from_threads(writer: &Writer, mut meanwhile: impl FnMut() -> bool) -> Vec<usize> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let write = |thread: usize| {
            let (mut writer, enough) = (writer.clone(), &enough);
            move || {
                let numbers = (0..).take_while(|_| !enough.load(Ordering::Relaxed));
                numbers
                    .map(|number| writer.write_all(format!("thread {thread} line {number}\n").as_bytes()).unwrap())
                    .count()
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(write(thread))).collect();
        while !meanwhile() {}
        enough.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Each of these lines is there once, and the lines of each thread are in order.
fn assert_complete(lines: &[String], counts: &[usize]) {
    assert_eq!(lines.len(), counts.iter().sum::<usize>());
    for (thread, count) in counts.iter().enumerate() {
        let start = format!("thread {thread} ");
        let own = lines.iter().filter(|line| line.starts_with(&start)).cloned();
        assert!(own.eq((0..*count).map(|number| format!("thread {thread} line {number}"))), "thread {thread}");
    }
}

#[test]
fn no_line_is_lost_or_torn_when_files_are_rotated_while_many_threads_write() {
    let place = Place::new();
    let writer = Writer(Arc::new(Mutex::new(place.open(RotationMode::Internal, 500, 10_000))));
    let counts = write_from_threads(&writer, || {
        place.pass(Duration::from_millis(1));
        fs::read_dir(place.path().parent().unwrap()).unwrap().count() > 100
    });
    assert_complete(&place.lines(), &counts);
    assert!(place.files().values().all(|text| text.len() <= 500 && text.ends_with('\n')));
}

#[test]
fn no_line_is_lost_when_others_rename_the_file_and_have_it_reopened_while_many_threads_write() {
    let place = Place::new();
    let writer = Writer(Arc::new(Mutex::new(place.open(RotationMode::External, 500, 1))));
    let mut renamed = 0;
    let counts = write_from_threads(&writer, || {
        fs::rename(place.path(), place.path().with_file_name(format!("a.log.{renamed:06}"))).unwrap();
        renamed += 1;
        // What is written here goes to the file with the new name.
        std::thread::yield_now();
        writer.reopen();
        renamed == 100
    });
    assert_complete(&place.lines(), &counts);
}

#[test]
fn as_many_old_files_are_kept_as_is_said_and_the_newest_of_them() {
    let place = Place::new();
    let mut file = place.open(RotationMode::Internal, 10, 3);
    for number in 0..9 {
        file.write(format!("line {number}\n").as_bytes());
    }
    assert_eq!(place.lines(), ["line 5", "line 6", "line 7", "line 8"]);
}

#[test]
fn a_file_is_rotated_when_its_first_line_is_old_enough_whatever_was_restarted_meanwhile() {
    let place = Place::new();
    let mut file = place.open(RotationMode::Internal, 1_000, 9);
    // A file without a line doesn't age.
    place.pass(2 * DAY);
    file.write(&place.line("one"));
    place.pass(DAY / 2);
    file.write(&place.line("two"));
    drop(file);
    let mut file = place.open(RotationMode::Internal, 1_000, 9);
    assert_eq!(place.files().len(), 1);
    place.pass(DAY / 2);
    file.write(&place.line("three"));
    file.write(&place.line("four"));
    let files: Vec<usize> = place.files().into_values().map(|text| text.lines().count()).collect();
    assert_eq!(files, [2, 2], "the file's name sorts before those of the others");

    // The clock is set back: the file is as old as it was found to be, and no older.
    place.clock.fetch_sub(10 * DAY.as_millis() as u64, Ordering::Relaxed);
    file.write(&place.line("five"));
    place.pass(DAY / 2);
    file.write(&place.line("six"));
    assert_eq!(place.files().len(), 2);
    place.pass(DAY / 2);
    file.write(&place.line("seven"));
    assert_eq!(place.files().len(), 3);
    let words: Vec<String> = place.lines().iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(words, ["one", "two", "three", "four", "five", "six", "seven"]);
}

#[test]
fn a_file_that_cannot_be_renamed_is_written_on_and_says_so_once() {
    let place = Place::new();
    let mut file = place.open(RotationMode::Internal, 10, 9);
    file.write(b"line 0\n");
    // It would have to go to a directory that isn't there.
    file.names = Names::new(&place.directory.path().join("elsewhere/a.log"));
    for number in 1..5 {
        file.write(format!("line {number}\n").as_bytes());
    }
    let lines = place.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("can't be rotated")).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("line ")).count(), 5);
    assert_eq!(place.files().len(), 1);

    // It can be, a while later.
    file.names = Names::new(&place.path());
    place.pass(RETRY);
    file.write(b"line 5\n");
    assert_eq!(place.files().len(), 2);
    assert_eq!(place.files()["a.log"], "line 5\n");
    assert_eq!(file.stuck, None);
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_the_count_is_told() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let place = Place::new();
        let mut file = place.open_as(format, RotationMode::External, 1_000, 9);
        file.write(b"line 0\n");
        // It can be read, and so written by nobody.
        file.file.as_mut().unwrap().break_off(&place.path());
        for number in 1..5 {
            file.write(format!("line {number}\n").as_bytes());
        }
        assert_eq!((file.lost, place.lines().len()), (4, 1));
        file.reopen();
        file.write(b"line 5\n");
        file.write(b"line 6\n");
        let lines = place.lines();
        let words = ["line 0", "4 lines could not be written", "line 5", "line 6"];
        assert_eq!(lines.len(), words.len());
        assert!(lines.iter().zip(words).all(|(line, words)| line.contains(words)), "{lines:?}");
        if format == LogFormat::Json {
            let told: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
            assert_eq!(told["level"], "WARN");
        }
    }
}

#[test]
fn what_was_written_of_a_line_that_did_not_fit_stands_alone() {
    let place = Place::new();
    let mut file = place.open(RotationMode::External, 1_000, 9);
    file.write(b"line 0\nlin");
    file.file.as_mut().unwrap().tear();
    file.write(b"line 1\n");
    file.write(b"line 2\n");
    assert_eq!(place.lines(), ["line 0", "lin", "line 1", "line 2"]);
}

#[cfg(unix)]
#[test]
fn a_directory_that_vanished_is_made_anew() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (rotation, asked) in [(RotationMode::Internal, false), (RotationMode::External, true)] {
        let mut file = place.open(rotation, 1_000, 9);
        file.write(b"line 0\n");
        fs::remove_dir_all(place.path().parent().unwrap()).unwrap();
        file.write(b"line 1\n");
        place.pass(LOOK);
        if asked {
            file.write(b"line 2\n");
            assert!(!place.path().exists(), "whoever rotates says when");
            file.reopen();
        }
        file.write(b"line 3\n");
        assert_eq!(place.lines(), ["line 3"]);
        assert_eq!((mode(&place.path()) & !0o640, mode(place.path().parent().unwrap()) & !0o750), (0, 0));
    }
}

#[test]
fn a_place_where_no_file_can_be_is_an_error() {
    let place = Place::new();
    fs::write(place.directory.path().join("logs"), "a file where the directory should be").unwrap();
    let open = |path: &Path| Writer::open(path, &Rotation::default(), LogFormat::Text).map(drop).unwrap_err();
    let error = open(&place.path());
    let error = crate::logging::LoggingError::File { path: place.path(), source: error };
    assert!(error.is_final(), "{error:?}");
    // A directory where the file should be.
    assert_eq!(open(place.directory.path()).kind(), io::ErrorKind::InvalidInput);
}
