//! A command that tells of its starts and ends, and goes on until it is let go.

use std::path::{Path, PathBuf};

use task_messenger_client::{Command, Template, Use};

use super::wait_until;

/// Written by each start: what it was given, its home (which says whose worker's it is), its process.
const SCRIPT: &str = r#"echo "$1 $HOME $$" >> "$2/started"
while [ ! -e "$2/go" ] && [ ! -e "$2/go-$1" ] && [ -d "$2" ]; do sleep 0.05; done
echo "$1" >> "$2/ended"
echo "$HOME""#;

/// Where such commands tell, and what lets them go.
pub(crate) struct Held {
    directory: PathBuf,
}

/// One start of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) home: String,
    pub(crate) process: u32,
}

impl Held {
    /// Commands that tell in this directory, which is made.
    pub(crate) fn new(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        Self { directory: directory.to_owned() }
    }

    /// A command whose payload is its name.
    pub(crate) fn template(&self) -> Template {
        Template::of_command(Command {
            program: "sh".to_owned(),
            arguments: self.arguments("{}"),
            payload: Use::Argument.into(),
            ..Command::default()
        })
    }

    /// The program's arguments, after `sh`.
    pub(crate) fn arguments(&self, name: &str) -> Vec<String> {
        ["-c", SCRIPT, "sh", name, self.directory.to_str().unwrap()].map(str::to_owned).to_vec()
    }

    /// Lets all end.
    pub(crate) fn let_go(&self) {
        std::fs::write(self.directory.join("go"), "").unwrap();
    }

    /// Lets one end.
    pub(crate) fn let_one_go(&self, name: &str) {
        std::fs::write(self.directory.join(format!("go-{name}")), "").unwrap();
    }

    pub(crate) fn starts(&self) -> Vec<Start> {
        let parse = |line: String| {
            let mut words = line.split(' ').map(str::to_owned);
            let (name, home) = (words.next()?, words.next()?);
            Some(Start { name, home, process: words.next()?.parse().ok()? })
        };
        self.lines("started").into_iter().filter_map(parse).collect()
    }

    pub(crate) fn ends(&self) -> Vec<String> {
        self.lines("ended")
    }

    #[track_caller]
    pub(crate) fn wait_for_starts(&self, count: usize) {
        wait_until(&format!("{count} commands have started"), || self.starts().len() >= count);
    }

    #[track_caller]
    pub(crate) fn wait_for_ends(&self, count: usize) {
        wait_until(&format!("{count} commands have ended"), || self.ends().len() >= count);
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        // The last line may be half-written.
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }
}
