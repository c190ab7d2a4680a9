//! Names of jobs and tasks as they are typed.

use std::{fmt, str::FromStr};

use task_messenger_client::{JobNumber, Named, Target, TaskId};

/// A job (`12`) or a task (`12.345`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// A job.
    Job(JobNumber),
    /// A task.
    Task(TaskId),
}

impl Id {
    /// The job, or the task's job.
    pub fn job(self) -> JobNumber {
        match self {
            Self::Job(job) => job,
            Self::Task(task) => task.job,
        }
    }

    /// As what is to be changed.
    pub fn named(self) -> Named {
        match self {
            Self::Job(job) => Named::Job(job),
            Self::Task(task) => Named::Task(task),
        }
    }

    /// As what is followed.
    pub fn target(self) -> Target {
        match self {
            Self::Job(job) => Target::Job(job),
            Self::Task(task) => Target::Task(task),
        }
    }

    /// With the word for what it is.
    pub fn in_words(self) -> String {
        match self {
            Self::Job(job) => format!("job {job}"),
            Self::Task(task) => format!("task {task}"),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => job.fmt(f),
            Self::Task(task) => task.fmt(f),
        }
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} names no job or task: a job is a number such as 12, a task such as 12.345");
        if text.contains('.') {
            return text.parse().map(Self::Task).map_err(|_| wrong());
        }
        text.parse().map(|job| Self::Job(JobNumber(job))).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_tasks_are_told_apart() {
        assert_eq!("12".parse(), Ok(Id::Job(JobNumber(12))));
        assert_eq!("12.345".parse(), Ok(Id::Task(TaskId { job: JobNumber(12), index: 345 })));
        for wrong in ["", "x", "12.", ".5", "12.x", "-1", "1.2.3"] {
            assert!(wrong.parse::<Id>().unwrap_err().contains("12.345"));
        }
    }
}
