//! Which worker of a machine this is, and what people type for it.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use task_messenger_daemon::directories;

/// The longest name of an instance.
const LONGEST: usize = 32;

/// A worker by its configuration file.
#[derive(Debug)]
pub(super) struct Place {
    /// Its name, if the file is called `config-worker-NAME.json`.
    instance: Option<String>,
    /// Whether it is a service of this machine.
    service: bool,
}

impl Place {
    pub(super) fn of(file: Option<&Path>) -> Self {
        let name = file.and_then(Path::file_stem).and_then(|name| name.to_str()).unwrap_or_default();
        let instance = name.strip_prefix("config-worker-").and_then(|name| instance(name).ok());
        let directory = file.and_then(Path::parent);
        Self { instance, service: directory.is_some() && directories::system_config().as_deref() == directory }
    }

    /// How it is made to join.
    pub(super) fn joining(&self) -> String {
        let sudo = if self.service && cfg!(unix) { "sudo " } else { "" };
        let instance = self.instance.as_ref().map(|name| format!(" --instance {name}")).unwrap_or_default();
        format!("{sudo}task-messenger-worker join{instance}")
    }

    /// How it is started, also when it runs: it reads its credential only then.
    pub(super) fn starting(&self) -> String {
        let instance = self.instance.as_deref();
        if !self.service {
            let service = if cfg!(target_os = "linux") && instance.is_none() {
                " (or, installed with --user: systemctl --user restart task-messenger-worker)"
            } else {
                ""
            };
            let instance = instance.map(|name| format!(" --instance {name}")).unwrap_or_default();
            return format!("task-messenger-worker run{instance}{service}");
        }
        if cfg!(windows) {
            let instance = instance.map(|name| format!("-{name}")).unwrap_or_default();
            return format!("Restart-Service TaskMessengerWorker{instance}");
        }
        let instance = instance.map(|name| format!("@{name}")).unwrap_or_default();
        format!("sudo systemctl restart task-messenger-worker{instance}")
    }
}

/// The credential that the service manager hands over, if it does: systemd puts a copy into a directory of this start's own
/// (systemd.exec(5), `LoadCredential=`). The word `none` stands there for one that there isn't.
pub(super) fn handed_credential() -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join("worker.credential");
    match std::fs::read(&path) {
        Ok(content) if content.is_empty() || content.trim_ascii() == b"none" => None,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        // What can't be read is somebody's mistake, and whoever loads it says so.
        _ => Some(path),
    }
}

/// A name of an instance: it becomes part of file names and of a unit's name.
///
/// # Errors
/// It isn't one.
pub(super) fn instance(name: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > LONGEST || name.starts_with('-') || !name.bytes().all(fine) {
        return Err(format!("an instance's name has 1 to {LONGEST} of a-z, 0-9 and -, and doesn't begin with -"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_names_the_worker_that_the_file_is_of() {
        let of = |file: &str| Place::of(Some(Path::new(file)));
        let typed = |place: Place| (place.joining(), place.starting());
        let run =
            "task-messenger-worker run (or, installed with --user: systemctl --user restart task-messenger-worker)";
        let run = if cfg!(target_os = "linux") { run } else { "task-messenger-worker run" };
        let own = ("task-messenger-worker join".to_owned(), run.to_owned());
        assert_eq!(typed(Place::of(None)), own);
        assert_eq!(typed(of("/home/one/config-worker.json")), own);
        assert_eq!(typed(of("/home/one/config-worker-a b.json")), own, "that is no instance's");
        let gpu = of("/home/one/config-worker-gpu.json").joining();
        assert_eq!(gpu, "task-messenger-worker join --instance gpu");
        if cfg!(unix) {
            let service = typed(of("/etc/task-messenger/config-worker-gpu.json"));
            assert_eq!(service.0, "sudo task-messenger-worker join --instance gpu");
            assert_eq!(service.1, "sudo systemctl restart task-messenger-worker@gpu");
        }
    }

    #[test]
    fn a_name_that_could_lead_elsewhere_is_no_instance() {
        for name in ["gpu", "0", "a-b", &"x".repeat(LONGEST)] {
            assert_eq!(instance(name).as_deref(), Ok(name));
        }
        for name in ["", "-a", "A", "a/b", "..", "a b", "ä", &"x".repeat(LONGEST + 1)] {
            assert!(instance(name).is_err(), "{name}");
        }
    }
}
