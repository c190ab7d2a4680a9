//! The worker of the measurements: one skill that does next to nothing.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use task_messenger_worker::runners::skill::{Skill, SkillContext, SkillError, SkillRegistry};

use crate::exit_code;

/// The skill's name.
pub(crate) const NAME: &str = "noop";

/// What it returns: this much of the front of its input.
pub(crate) const OUTPUT_BYTES: usize = 8;

/// Returns the first bytes of its input, and counts how often it did.
#[derive(Default)]
struct Noop {
    runs: AtomicU64,
}

impl Skill for Noop {
    fn name(&self) -> &str {
        NAME
    }

    fn run(&self, input: &[u8], _context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let output = input.first_chunk::<OUTPUT_BYTES>().ok_or_else(|| SkillError::new("the payload is too short"))?;
        Ok(output.to_vec())
    }
}

/// The worker's process. The first argument names a file that gets the number of runs at the end; the others are a worker's.
pub(crate) fn work(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let count = PathBuf::from(arguments.next().unwrap_or_default());
    let noop = Arc::new(Noop::default());
    let mut skills = SkillRegistry::empty();
    skills.register(noop.clone());
    let program = OsString::from("task-messenger-worker");
    let code = task_messenger_worker::cli::main_with_skills(std::iter::once(program).chain(arguments), skills);
    let runs = noop.runs.load(Ordering::Relaxed);
    let written =
        std::fs::write(&count, runs.to_string()).with_context(|| format!("{} can't be written", count.display()));
    if written.is_err() { exit_code(written) } else { code }
}
