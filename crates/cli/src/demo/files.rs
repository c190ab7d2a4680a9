//! The files whose checksums the demo has computed, and its own computation of them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// With fewer tasks than this the files are gone through again.
pub(super) const FEWEST_TASKS: usize = 1_000;

/// Every regular file below a directory that can be read and whose path a task can be given, in order.
pub(super) fn find(root: &Path, leave_out: &Path) -> Result<Vec<PathBuf>> {
    let root = root.canonicalize().with_context(|| format!("{} can't be read", root.display()))?;
    let leave_out = leave_out.canonicalize().unwrap_or_else(|_| leave_out.to_owned());
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if directory == root => {
                return Err(error).with_context(|| format!("{} can't be read", root.display()));
            }
            // It may have gone meanwhile, or be somebody else's.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && path != leave_out => directories.push(path),
                Ok(kind) if kind.is_file() && path.to_str().is_some() && File::open(&path).is_ok() => files.push(path),
                _ => {}
            }
        }
    }
    if files.is_empty() {
        bail!("there is no regular file below {}; name another directory with --dir", root.display());
    }
    files.sort();
    Ok(files)
}

/// A file's own state, to see whether it changed while it was worked on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(Option<(u64, SystemTime)>);

impl Version {
    pub(super) fn of(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?))))
    }
}

/// The SHA-256 of a file in hexadecimal.
pub(super) fn checksum(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The system's own tool for the checksum of the file that `{}` stands for.
pub(super) fn tool() -> (&'static str, &'static [&'static str]) {
    if cfg!(windows) { ("certutil", &["-hashfile", "{}", "SHA256"]) } else { ("sha256sum", &["--", "{}"]) }
}

/// The checksum in the tool's output: the first word of 64 hexadecimal digits. (sha256sum puts a backslash before the
/// line of a name with unusual characters.)
pub(super) fn parse(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let word = text
        .split_whitespace()
        .map(|word| word.trim_start_matches('\\'))
        .find(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some(word.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_computation_is_sha256() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("abc");
        std::fs::write(&file, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(checksum(&file).unwrap(), expected);
        assert_eq!(parse(format!("\\{expected}  a\\nb\n").as_bytes()).unwrap(), expected);
        let certutil = format!("SHA256 hash of abc:\r\n{}\r\nCertUtil: done.\r\n", expected.to_uppercase());
        assert_eq!(parse(certutil.as_bytes()).unwrap(), expected);
        assert_eq!(parse(b"sha256sum: no such file"), None);
    }

    #[test]
    fn files_are_found_at_any_depth_and_the_own_state_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["a/b/c", "a/d", "state/x"] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let root = root.canonicalize().unwrap();
        assert_eq!(find(&root, &root.join("state")).unwrap(), [root.join("a/b/c"), root.join("a/d")]);
        assert!(find(&root.join("state"), &root.join("nothing")).unwrap().len() == 1);
        std::fs::create_dir(root.join("empty")).unwrap();
        assert!(find(&root.join("empty"), &root).unwrap_err().to_string().contains("--dir"));
    }
}
