//! Skills: named functions linked into the worker.
//!
//! A program that links this crate adds its own with [`SkillRegistry::register`]; the built-in ones take and return JSON.

pub mod built_in;
mod pool;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

pub use pool::{FinishedTasks, LaneReport, RunningSkill, SkillPool, SkillTask, keep_panics_private};

use super::TaskName;

/// A named function that runs tasks. It is called from several threads at a time.
pub trait Skill: Send + Sync {
    /// The name that templates use. The same at every call.
    fn name(&self) -> &str;

    /// Runs one task. The output is refused when it is longer than `limits.output` of the configuration.
    ///
    /// # Errors
    /// An error fails the attempt; its text becomes the outcome's. A panic fails the attempt too.
    fn run(&self, input: &[u8], context: &SkillContext) -> Result<Vec<u8>, SkillError>;
}

/// What a skill may know of the attempt that it runs.
#[derive(Debug)]
pub struct SkillContext {
    task: TaskName,
    attempt: u32,
    deadline: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl SkillContext {
    /// A context of its own, for calling a skill outside of a worker.
    pub fn new(task: TaskName, attempt: u32, deadline: Option<Instant>) -> Self {
        Self { task, attempt, deadline, stop: Arc::default() }
    }

    fn stoppable(task: TaskName, attempt: u32, deadline: Option<Instant>, stop: Arc<AtomicBool>) -> Self {
        Self { task, attempt, deadline, stop }
    }

    /// The task's name.
    pub fn task(&self) -> TaskName {
        self.task
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the attempt's time is over, if it has a timeout.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the skill should return now: its time is over, or nobody wants the result any more. A skill that runs for
    /// long asks this often; the worker can't stop one that doesn't and has to be started again for it.
    pub fn expired(&self) -> bool {
        self.cancelled() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether nobody wants the result any more.
    pub fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Why a skill failed, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SkillError {
    message: String,
}

impl SkillError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// The skills of a worker by name.
#[derive(Clone, Default)]
pub struct SkillRegistry {
    skills: BTreeMap<String, Arc<dyn Skill>>,
}

impl SkillRegistry {
    /// No skills at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The built-in skills.
    pub fn with_built_in() -> Self {
        let mut registry = Self::empty();
        for skill in built_in::all() {
            registry.register(skill);
        }
        registry
    }

    /// Adds a skill; one of the same name is replaced.
    pub fn register(&mut self, skill: Arc<dyn Skill>) {
        self.skills.insert(skill.name().to_owned(), skill);
    }

    /// The skill of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Skill>> {
        self.skills.get(name)
    }

    /// All names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.skills.keys().map(String::as_str)
    }
}

impl fmt::Debug for SkillRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
