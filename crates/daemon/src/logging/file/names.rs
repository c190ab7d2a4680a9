//! The names of log files that were put aside: the file's own, and the time when it was, so that they sort in the order in
//! which they were written (even when the clock was set back), and nobody who looks for `*.log` finds them.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// No two have the same time.
const STEP: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Names {
    directory: PathBuf,
    /// What they begin with.
    stem: OsString,
}

impl Names {
    /// The names that go with the file of this path.
    pub(super) fn new(path: &Path) -> Self {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut stem = path.file_name().unwrap_or_default().to_owned();
        stem.push(".");
        Self { directory: directory.to_owned(), stem }
    }

    /// The path of the next file that is put aside: behind all that were.
    pub(super) fn next(&self, now: SystemTime) -> io::Result<PathBuf> {
        let newest = self.taken()?.last().copied();
        let time = newest.map_or(now, |newest| now.max(newest + STEP));
        Ok(self.path(time))
    }

    /// Removes the oldest until so many are left.
    pub(super) fn remove_all_but(&self, keep: usize) -> io::Result<()> {
        let taken = self.taken()?;
        let removals =
            taken.iter().take(taken.len().saturating_sub(keep)).map(|time| fs::remove_file(self.path(*time)));
        // One that can't be removed keeps no other from going.
        let failures = removals.filter_map(Result::err).filter(|error| error.kind() != io::ErrorKind::NotFound);
        let failures: Vec<io::Error> = failures.collect();
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// The times of those that are there, in order.
    fn taken(&self) -> io::Result<Vec<SystemTime>> {
        let mut taken = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            taken.extend(self.time_of(&entry?.file_name()));
        }
        taken.sort_unstable();
        Ok(taken)
    }

    fn path(&self, time: SystemTime) -> PathBuf {
        let mut name = self.stem.clone();
        // Windows has no colons in names.
        name.push(humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string().replace(':', "-"));
        self.directory.join(name)
    }

    fn time_of(&self, name: &OsStr) -> Option<SystemTime> {
        let text = name.to_str()?.strip_prefix(self.stem.to_str()?)?;
        let (date, time) = text.split_once('T')?;
        let parsed = humantime::parse_rfc3339(&format!("{date}T{}", time.replace('-', ":"))).ok()?;
        // No other way to write the same time.
        (self.path(parsed).file_name() == Some(name)).then_some(parsed)
    }
}

#[cfg(test)]
#[test]
fn names_sort_in_the_order_of_writing_and_are_told_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let names = Names::new(&directory.path().join("a.log"));
    let time = humantime::parse_rfc3339("2026-11-28T10:00:00Z").unwrap();
    let mut made = Vec::new();
    for now in [time, time + STEP / 2, time, time - Duration::from_hours(1), time + 5 * STEP] {
        let path = names.next(now).unwrap();
        fs::write(&path, "").unwrap();
        made.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    let stamp = |millisecond: u32| format!("a.log.2026-11-28T10-00-00.00{millisecond}Z");
    assert_eq!(made, [stamp(0), stamp(1), stamp(2), stamp(3), stamp(5)]);

    let others =
        ["a.log", "a.log.1", "a.log.2026-11-28T10-00-00Z", "b.log.2020-01-01T00-00-00.000Z", "a.log.2026-11-28"];
    for other in others {
        fs::write(directory.path().join(other), "").unwrap();
    }
    names.remove_all_but(2).unwrap();
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    let mut expected: Vec<OsString> =
        others.into_iter().map(Into::into).chain([stamp(3).into(), stamp(5).into()]).collect();
    expected.sort();
    assert_eq!(left, expected);
}
