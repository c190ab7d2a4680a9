//! Where an installation's things lie, and what they are called.

use std::path::{Path, PathBuf};

/// The places of one component, or of one instance of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    component: &'static str,
    instance: Option<String>,
    programs: PathBuf,
    data: PathBuf,
}

impl Layout {
    /// Of a component (`manager`, `worker`) with everything below `programs` (`%ProgramFiles%`) and `data` (`%ProgramData%`).
    pub fn new(component: &'static str, instance: Option<&str>, programs: &Path, data: &Path) -> Self {
        let (programs, data) = (programs.join("TaskMessenger"), data.join("TaskMessenger"));
        Self { component, instance: instance.map(str::to_owned), programs, data }
    }

    /// Of this machine. `None` if the system doesn't say where that is.
    #[cfg(windows)]
    pub fn of_machine(component: &'static str, instance: Option<&str>) -> Option<Self> {
        use crate::directories::windows::{program_data, program_files};
        Some(Self::new(component, instance, &program_files()?, &program_data()?))
    }

    /// `manager` or `worker`.
    pub fn component(&self) -> &'static str {
        self.component
    }

    /// The instance's name.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The service's name, which is that of its source of events too.
    pub fn service(&self) -> String {
        let mut letters = self.component.chars();
        let component: String =
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
        let instance = self.instance.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
        format!("TaskMessenger{component}{instance}")
    }

    /// Of another service on the same machine; `None` if it is none of TaskMessenger's.
    pub fn of_service(&self, service: &str) -> Option<Self> {
        ["manager", "worker"].into_iter().find_map(|component| {
            let plain = Self { component, instance: None, ..self.clone() };
            let rest = service.strip_prefix(&plain.service())?;
            match rest.strip_prefix('-') {
                Some(name) if !name.is_empty() => Some(Self { instance: Some(name.to_owned()), ..plain }),
                None if rest.is_empty() => Some(plain),
                _ => None,
            }
        })
    }

    /// The component's name with the instance's: `worker-gpu`.
    pub fn name(&self) -> String {
        let instance = self.instance.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
        format!("{}{instance}", self.component)
    }

    /// All programs of TaskMessenger.
    pub fn all_programs(&self) -> &Path {
        &self.programs
    }

    /// What was unpacked from the component's archive.
    pub fn tree(&self) -> PathBuf {
        self.programs.join(self.component)
    }

    /// The installed programs' directory.
    pub fn bin(&self) -> PathBuf {
        self.tree().join("bin")
    }

    /// The installed program.
    pub fn program(&self) -> PathBuf {
        self.program_in(&self.tree())
    }

    /// Whether a service's command line starts what an installation of this one has set: its program, or NSSM.
    pub fn is_its_command(&self, command: &str) -> bool {
        let command = command.trim_start_matches('"').to_lowercase();
        [self.program(), self.nssm()]
            .iter()
            .any(|program| command.starts_with(&program.display().to_string().to_lowercase()))
    }

    /// The settings, in a tree.
    pub fn settings(&self, tree: &Path) -> PathBuf {
        shared(tree, &format!("{}.toml", self.component))
    }

    /// The default configuration, in a tree.
    pub fn default_configuration(&self, tree: &Path) -> PathBuf {
        tree.join("etc").join(format!("config-{}.json", self.component))
    }

    /// The program, in a tree.
    pub fn program_in(&self, tree: &Path) -> PathBuf {
        tree.join("bin").join(format!("task-messenger-{}.exe", self.component))
    }

    /// The directory of NSSM, one for all services.
    pub fn nssm_directory(&self) -> PathBuf {
        self.programs.join("nssm")
    }

    /// NSSM.
    pub fn nssm(&self) -> PathBuf {
        self.nssm_directory().join("nssm.exe")
    }

    /// All that services keep.
    pub fn all_data(&self) -> &Path {
        &self.data
    }

    /// A directory of all services' data.
    pub fn data_below(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// The directory of all configurations.
    pub fn configurations(&self) -> PathBuf {
        self.data_below("config")
    }

    /// The configuration.
    pub fn configuration(&self) -> PathBuf {
        self.configurations().join(format!("config-{}.json", self.name()))
    }

    /// The state directory that a configuration of this installation names.
    pub fn state(&self) -> PathBuf {
        self.data.join(self.name())
    }

    /// A worker's credential, in that directory.
    pub fn credential(&self) -> PathBuf {
        self.state().join("worker.credential")
    }

    /// The directory of the log files.
    pub fn logs(&self) -> PathBuf {
        self.data_below("logs").join(self.name())
    }

    /// The log files: the program's, and what NSSM has caught.
    pub fn log_files(&self) -> [PathBuf; 2] {
        let logs = self.logs();
        [logs.join(format!("task-messenger-{}.log", self.component)), logs.join("service.log")]
    }
}

/// A file of `share\\windows-service`, in a tree.
pub fn shared(tree: &Path, name: &str) -> PathBuf {
    tree.join("share").join("windows-service").join(name)
}
