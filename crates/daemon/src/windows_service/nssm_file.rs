//! NSSM's own program: which is taken, and its copy beside the programs.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use task_messenger_protocol::windows_access::set_access;

use super::{
    command::Wanted,
    error::{ServiceError, at},
    events,
    layout::{Layout, shared},
    rights, tree,
    undo::Steps,
};

/// Which NSSM is taken: `share\windows-service\nssm.json`.
#[derive(serde::Deserialize)]
struct Pinned {
    version: String,
    exe_sha256: String,
}

/// A program that was checked. The very bytes that were checked are those that are written.
pub(super) struct Nssm {
    bytes: Vec<u8>,
    from: String,
}

impl Nssm {
    /// The one that is named, or else the first that is known to work of those that are installed or lie beside this program.
    pub(super) fn take(layout: &Layout, wanted: &Wanted, source: &Path) -> Result<Self, ServiceError> {
        let file = shared(source, "nssm.json");
        let text = fs::read_to_string(&file).map_err(at(&file, "read"))?;
        let pinned: Pinned = serde_json::from_str(&text)
            .map_err(|error| ServiceError::Refused(format!("{} can't be used: {error}", file.display())))?;
        let allowed = wanted.nssm_sha256.as_deref().unwrap_or(&pinned.exe_sha256);
        let places = match &wanted.nssm {
            Some(path) => vec![path.clone()],
            None => vec![
                layout.nssm(),
                source.join("..").join("nssm").join("nssm.exe"),
                source.join("scripts").join("nssm.exe"),
            ],
        };
        let mut other = None;
        for place in places.iter().filter(|place| place.is_file()) {
            let bytes = fs::read(place).map_err(at(place, "read"))?;
            let found = sha256(&bytes);
            if found.eq_ignore_ascii_case(allowed) {
                return Ok(Self { bytes, from: place.display().to_string() });
            }
            other.get_or_insert((place, found));
        }
        let version = &pinned.version;
        if let Some((place, found)) = other {
            let place = place.display();
            return Err(ServiceError::Refused(format!(
                "{place} is not the NSSM that is known to work: its SHA-256 is {found}, and that of NSSM {version} is {allowed}"
            )));
        }
        let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(ServiceError::Refused(format!(
            "there is no NSSM ({looked}): name the nssm.exe of NSSM {version} (https://nssm.cc) with --nssm, or install with --native"
        )))
    }

    /// Whether it is the one that is installed.
    pub(super) fn is_installed(&self, layout: &Layout) -> bool {
        fs::read(layout.nssm()).is_ok_and(|there| there == self.bytes)
    }

    /// Copies it to its place.
    pub(super) fn put(&self, layout: &Layout, steps: &mut Steps) -> Result<(), ServiceError> {
        let file = layout.nssm();
        let (place, before) = (layout.clone(), fs::read(&file).ok());
        steps.or(format!("{} is as it was", file.display()), move || {
            if let Some(before) = before {
                return put_file(&place.nssm(), &before);
            }
            events::forget_nssm(&place)?;
            tree::remove(&place.nssm_directory())?;
            tree::remove_if_empty(place.all_programs());
            Ok(())
        });
        steps.take(format!("copy NSSM from {} to {}", self.from, file.display()), || {
            make_programs(layout)?;
            let directory = layout.nssm_directory();
            fs::create_dir_all(&directory).map_err(at(&directory, "made"))?;
            put_file(&file, &self.bytes)
        })
    }
}

/// The SHA-256 of the one that is installed.
pub(super) fn installed(layout: &Layout) -> Option<String> {
    fs::read(layout.nssm()).ok().map(|bytes| sha256(&bytes))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Makes the directory of all programs, which nobody but administrators may change.
pub(super) fn make_programs(layout: &Layout) -> Result<(), ServiceError> {
    let all = layout.all_programs();
    fs::create_dir_all(all).map_err(at(all, "made"))?;
    set_access(all, &rights::programs()).map_err(at(all, "given its access"))
}

/// Never half of it under its name.
fn put_file(file: &Path, bytes: &[u8]) -> Result<(), ServiceError> {
    let new = tree::beside(file, "new");
    let written = fs::write(&new, bytes).map_err(at(&new, "written")).and_then(|()| tree::rename(&new, file));
    written.inspect_err(|_| {
        // What is left of it is in nobody's way.
        let _ = fs::remove_file(&new);
    })
}
