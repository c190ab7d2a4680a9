//! Files that only their owner may read: keys and credentials.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::patience::{SCANNED, patiently};

/// Why such a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It can't be read.
    #[error("{path} can't be read", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be written.
    #[error("{path} can't be written", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could have read the secret in it.
    #[error(
        "{path} can be read by others ({whom}): make it private with `{cure}`, and replace its secret if others use this machine",
        path = .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions, or who can read it.
        whom: String,
        /// What makes it private.
        cure: String,
    },
}

/// Writes a whole file that only its owner may read (mode 0600; on Windows the user, administrators, the system, and the
/// service that the directory is for), replacing an older one at once: after a crash there is either the old file or the new one.
pub fn write(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let attempt = || {
        let directory = directory_of(path);
        // `tempfile` creates with mode 0600.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
        system::close(&file, directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        let mut file = Some(file);
        patiently(SCANNED, || match file.take() {
            Some(written) => written.persist(path).map(drop).map_err(|error| {
                file = Some(error.file);
                error.error
            }),
            None => Ok(()),
        })?;
        sync_directory(directory)
    };
    attempt().map_err(|source| PrivateFileError::Write { path: path.to_owned(), source })
}

/// Whether a file can be written beside `path`, found out by doing it: for secrets that must not be lost once they exist.
pub fn check_place(path: &Path) -> Result<(), PrivateFileError> {
    let attempt = || tempfile::Builder::new().prefix(".new-").tempfile_in(directory_of(path))?.write_all(&[0; 4_096]);
    attempt().map_err(|source| PrivateFileError::Write { path: path.to_owned(), source })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads such a file. Refuses one that others can read, but for systemd's credentials, where an access list that lets
/// the service in shows up as permissions of the group.
pub fn read(path: &Path) -> Result<Vec<u8>, PrivateFileError> {
    let attempt = || {
        let mut file = std::fs::File::open(path)?;
        let exposed = system::exposed(path, &file)?;
        let mut content = Vec::new();
        io::Read::read_to_end(&mut file, &mut content)?;
        Ok((content, exposed))
    };
    match attempt() {
        Ok((content, None)) => Ok(content),
        Ok((_, Some((whom, cure)))) => Err(PrivateFileError::Exposed { path: path.to_owned(), whom, cure }),
        Err(source) => Err(PrivateFileError::Read { path: path.to_owned(), source }),
    }
}

/// Makes a directory that only its owner gets into (mode 0700; on Windows the user, administrators and the system, for all that
/// is made in it too). The one above it must be there.
pub fn create_directory(path: &Path) -> io::Result<()> {
    system::create_directory(path)
}

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    system::sync_directory(directory)
}

#[cfg(unix)]
mod system {
    use std::{
        fs::{DirBuilder, File},
        io,
        os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown},
        path::Path,
    };

    use tempfile::NamedTempFile;

    pub(super) fn create_directory(path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    /// The file is private from its beginning. What root writes into somebody's private directory is for them.
    pub(super) fn close(file: &NamedTempFile, directory: &Path) -> io::Result<()> {
        let file = file.as_file();
        let (written, above) = (file.metadata()?, std::fs::metadata(directory)?);
        let private = above.permissions().mode() & 0o777 == 0o700;
        if written.uid() == 0 && above.uid() != 0 && private {
            fchown(file, Some(above.uid()), Some(above.gid()))?;
        }
        Ok(())
    }

    /// Who else may read it, and what changes that.
    pub(super) fn exposed(path: &Path, file: &File) -> io::Result<Option<(String, String)>> {
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        let is_exposed = mode & forbidden(path, credentials.as_deref()) != 0;
        Ok(is_exposed.then(|| (format!("mode {mode:04o}"), format!("chmod 600 {}", path.display()))))
    }

    /// Which permissions a file must not have, given the directory in which systemd hands over credentials.
    pub(super) fn forbidden(path: &Path, credentials: Option<&std::ffi::OsStr>) -> u32 {
        let handed_over = credentials.is_some_and(|directory| !directory.is_empty() && path.starts_with(directory));
        if handed_over { 0o007 } else { 0o077 }
    }

    pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

#[cfg(windows)]
mod system {
    use std::{
        fs::{File, OpenOptions},
        io,
        os::windows::fs::OpenOptionsExt,
        path::Path,
    };

    use tempfile::NamedTempFile;

    use crate::windows_access::{
        SYSTEM, access, create_directory as create, private_directory, private_file, set_access, strangers, user,
    };

    /// Without it a directory can't be opened (fileapi.h, `CreateFileW`).
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    /// `ERROR_INVALID_FUNCTION`, `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION` (somebody reads it), `ERROR_NOT_SUPPORTED`,
    /// `ERROR_INVALID_PARAMETER`.
    const CAN_NOT: [i32; 5] = [1, 5, 32, 50, 87];

    pub(super) fn create_directory(path: &Path) -> io::Result<()> {
        create(path, &private_directory(&user()?))
    }

    /// Lets in only whom the secret is for.
    pub(super) fn close(file: &NamedTempFile, directory: &Path) -> io::Result<()> {
        let file = file.path();
        set_access(file, &private_file(&access(file)?, &access(directory)?, &user()?))
    }

    /// Who else may read it, and what changes that.
    pub(super) fn exposed(path: &Path, _: &File) -> io::Result<Option<(String, String)>> {
        let user = user()?;
        let strangers = strangers(&access(path)?, &access(super::directory_of(path))?, &user);
        let cure = || {
            let removed = strangers.join(" /remove:g *");
            // Of a file without a list there is nothing to remove: with one, nobody else gets in.
            format!("icacls \"{}\" /inheritance:d /remove:g *{removed} /grant:r *{SYSTEM}:F *{user}:F", path.display())
        };
        Ok((!strangers.is_empty()).then(|| (strangers.join(", "), cure())))
    }

    /// NTFS can do it for whoever may change the directory's own attributes; FAT and some network shares can't.
    pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
        let opened = OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(directory);
        match opened.and_then(|directory| directory.sync_all()) {
            Err(error) if error.raw_os_error().is_some_and(|code| CAN_NOT.contains(&code)) => Ok(()),
            done => done,
        }
    }
}

#[cfg(all(test, windows))]
mod tests_of_windows {
    use super::*;
    use crate::windows_access::{set_access, user};

    /// Under Wine too: others' rights become permissions there.
    #[test]
    fn a_file_is_private_and_is_refused_when_it_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");

        let user = user().unwrap();
        set_access(&path, &format!("D:P(A;;FA;;;SY)(A;;FA;;;{user})(A;;FR;;;WD)")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("S-1-1-0") && error.contains("icacls"), "{error}");
        set_access(&path, &format!("D:P(A;;FA;;;SY)(A;;FA;;;{user})")).unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{system::forbidden, *};

    #[test]
    fn a_file_is_private_and_is_refused_when_it_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");

        let below =
            |credentials: Option<&str>| forbidden(Path::new("/run/credentials/x/y"), credentials.map(AsRef::as_ref));
        assert_eq!(
            below(Some("/run/credentials/x")),
            0o007,
            "systemd shows its access list as the group's permissions"
        );
        assert_eq!((below(None), below(Some("")), below(Some("/run/c"))), (0o077, 0o077, 0o077));
    }
}
