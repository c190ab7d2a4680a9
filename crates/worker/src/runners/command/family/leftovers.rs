//! What a worker that was killed has left running, and the note by which its next start finds it.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use super::{
    COUNT_BITS, LONGEST_PAUSE,
    hunt::Hunt,
    table::{self, Entry},
};

/// How long their end is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many starts are remembered whose processes don't end.
const MOST_STARTS: usize = 16;

/// Ends what carries the marks of earlier starts. What can't be ended stays noted.
pub(super) fn end(state_directory: &Path) {
    let path = file(state_directory);
    let starts = read(state_directory);
    if starts.is_empty() || !table::is_visible() {
        return;
    }
    let spared = own_line();
    let is_left = |entry: &Entry| {
        !spared.contains(&entry.id) && table::mark(entry.id).is_some_and(|mark| starts.contains(&(mark >> COUNT_BITS)))
    };
    let mut hunt = Hunt::default();
    let deadline = Instant::now() + PATIENCE;
    let first = hunt.round(is_left);
    let mut living = first;
    let mut pause = Duration::from_millis(1);
    while living > 0 && Instant::now() < deadline {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        living = hunt.round(is_left);
    }
    if first > 0 {
        tracing::info!(processes = first, "ended what an earlier start of this worker had left running");
    }
    if living > 0 {
        tracing::warn!(processes = living, "what an earlier start has left does not end although it was killed");
    } else if let Err(error) = fs::remove_file(&path) {
        // Then they are looked for again.
        tracing::debug!(path = %path.display(), %error, "the note of the earlier start stays");
    }
}

/// Notes a start.
pub(super) fn note(state_directory: &Path, start: u64) -> io::Result<()> {
    let path = file(state_directory);
    let mut starts = read(state_directory);
    starts.push(start);
    let latest = starts.iter().rev().take(MOST_STARTS).rev().map(u64::to_string);
    let latest: Vec<_> = std::iter::once(place(state_directory)?).chain(latest).collect();
    let new = path.with_extension("new");
    // A power cut ends all processes, so nothing needs to be synced.
    fs::write(&new, latest.join("\n"))?;
    fs::rename(&new, &path)
}

fn file(state_directory: &Path) -> PathBuf {
    state_directory.join("marks")
}

fn read(state_directory: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file(state_directory)).unwrap_or_default();
    let mut lines = text.lines();
    // What a copied directory notes are the processes of the one that it was copied from, which may well be wanted.
    if place(state_directory).ok().as_deref() != lines.next() {
        return Vec::new();
    }
    lines.filter_map(|line| line.parse().ok()).collect()
}

/// Which directory it is, wherever it has been moved to.
fn place(state_directory: &Path) -> io::Result<String> {
    let metadata = fs::metadata(state_directory)?;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// This process and its ancestors: the new worker may have been started by a task of the old one.
fn own_line() -> HashSet<u32> {
    let mut line = HashSet::new();
    let mut next = process::id();
    while line.insert(next)
        && let Some(entry) = Entry::of(next)
    {
        next = entry.parent;
    }
    line
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Child, Command},
    };

    use super::{super::Family, *};

    /// As a killed worker leaves it: nobody waits for it.
    fn start(family: &Family, script: &str) -> Child {
        family.spawn(Command::new("sh").args(["-c", script]).process_group(0)).unwrap().0
    }

    fn waits_for(what: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_start_ends_what_the_one_before_it_has_left_and_nothing_else() {
        let [own, other, copy] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let other_worker = Family::found(other.path()).unwrap();
        let mut neighbour = start(&other_worker, "exec sleep 1000");
        let mut unmarked = Command::new("sleep").arg("1000").spawn().unwrap();

        let killed = Family::found(own.path()).unwrap();
        let [inner, outer] = ["inner", "outer"].map(|name| own.path().join(name));
        let script = format!(
            "trap '' TERM HUP; (env -i PATH=\"$PATH\" setsid sh -c 'cd /; sleep 1000 & echo > {}; wait' &)\n\
             sleep 1000 & echo > {}; wait",
            inner.display(),
            outer.display()
        );
        let mut left = start(&killed, &script);
        // Two shells, and what each has started.
        waits_for(|| inner.exists() && outer.exists() && killed.members().len() == 4);
        let members = killed.members();

        // A copy of the directory is another worker's.
        fs::copy(file(own.path()), file(copy.path())).unwrap();
        Family::found(copy.path()).unwrap();
        assert!(members.iter().all(|id| Entry::of(*id).is_some_and(|entry| !entry.ended)));

        let next = Family::found(own.path()).unwrap();
        assert_ne!(next.start, killed.start);
        let living = |id: &u32| Entry::of(*id).is_some_and(|entry| !entry.ended);
        assert!(!killed.members().iter().any(living), "they have ended before the start goes on");
        assert!(!left.wait().unwrap().success());
        for process in [&mut neighbour, &mut unmarked] {
            assert!(process.try_wait().unwrap().is_none(), "it has nothing to do with that worker");
            process.kill().unwrap();
            process.wait().unwrap();
        }
        // What is adopted here has another parent in life.
        let ending =
            |family: &Family| family.adopted(&family.lock()).iter().for_each(|entry| _ = super::super::reap(entry.id));
        waits_for(|| {
            ending(&killed);
            killed.members().is_empty()
        });
    }

    #[test]
    fn every_start_is_noted_until_its_processes_have_ended() {
        let state = tempfile::tempdir().unwrap();
        let path = file(state.path());
        let family = Family::found(state.path()).unwrap();
        assert_eq!(read(state.path()), [family.start >> COUNT_BITS]);
        for start in 1..=40 {
            note(state.path(), start).unwrap();
        }
        assert_eq!(read(state.path()), (25..=40).collect::<Vec<_>>());
        // A damaged note is no reason not to start.
        fs::write(&path, b"x\n\xff\n").unwrap();
        let family = Family::found(state.path()).unwrap();
        assert_eq!(read(state.path()), [family.start >> COUNT_BITS]);
        end(state.path());
        assert_eq!(read(state.path()), [0; 0]);
    }
}
