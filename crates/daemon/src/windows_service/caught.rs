//! What a service says outside of its log (errors at its start, panics). NSSM writes that to a file; without NSSM there is no
//! console either, and it goes to the same file.

use std::{fs, io, os::windows::io::IntoRawHandle, path::Path};

use windows::Win32::{
    Foundation::HANDLE,
    System::Console::{STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle},
};

use super::{events::SERVICE_VARIABLE, layout::Layout, tree::beside};

/// So many of the files that NSSM has put aside are kept.
const KEPT: usize = 10;

/// At a start, a file that is as large is put aside; one is kept.
const LARGE: u64 = 1 << 20;

/// Has all that this process writes to its standard output and errors go to the end of a file from now on.
#[expect(unsafe_code, reason = "the system's own functions")]
pub(super) fn catch(file: &Path) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|found| found.len() >= LARGE) {
        // Somebody may look at it: then it grows on.
        let _ = fs::rename(file, beside(file, "old"));
    }
    let file = fs::File::options().create(true).append(true).open(file)?;
    let handle = HANDLE(file.into_raw_handle());
    // SAFETY: the handle stays open as long as this process lives.
    unsafe {
        SetStdHandle(STD_OUTPUT_HANDLE, handle)?;
        SetStdHandle(STD_ERROR_HANDLE, handle)?;
    }
    Ok(())
}

/// Removes what NSSM has put aside, but for the newest: it never does so itself.
pub(crate) fn forget_old() {
    let layout = || Layout::of_machine("manager", None)?.of_service(&std::env::var(SERVICE_VARIABLE).ok()?);
    let Some(layout) = layout() else { return };
    let Ok(entries) = fs::read_dir(layout.logs()) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in outdated(names.collect(), KEPT) {
        // What can't be removed now can be at the next start.
        let _ = fs::remove_file(layout.logs().join(name));
    }
}

/// The older ones of files that NSSM has put aside (`service-20261129T101500.000.log`); by their names they are in order.
fn outdated(mut names: Vec<String>, kept: usize) -> Vec<String> {
    let is_put_aside =
        |name: &str| name.strip_prefix("service-").is_some_and(|rest| rest.strip_suffix(".log").is_some());
    names.retain(|name| is_put_aside(name));
    names.sort_unstable();
    names.truncate(names.len().saturating_sub(kept));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_nssm_has_put_aside_the_newest_stay() {
        let name = |day: u32| format!("service-202611{day:02}T101500.000.log");
        let all =
            [name(3), "service.log".to_owned(), name(1), "task-messenger-worker.log".to_owned(), name(2)].to_vec();
        assert_eq!(outdated(all.clone(), 2), [name(1)]);
        assert_eq!(outdated(all, 3), [""; 0]);
    }
}
