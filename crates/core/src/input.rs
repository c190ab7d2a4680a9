//! What the core is told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    ids::{JobNumber, LeaseNumber, SessionNumber, TaskId, TokenNumber, WorkerNumber},
    labels::Labels,
    query::Query,
    record::{Caller, Claim, Idempotency, JobKey, Role, SecretHash, WorkerMode},
    template::Template,
    values::Values,
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection ended. Its follows end; a worker's leases go on until its grace is over.
    SessionClosed {
        /// Which.
        session: SessionNumber,
    },
    /// A client adds tasks to a job.
    Submit {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// What.
        submit: Submit,
    },
    /// A client wants the results of a job.
    Follow {
        /// Who is answered.
        session: SessionNumber,
        /// What the results name; unique within the session.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// What.
        follow: Follow,
    },
    /// A client takes this many more results.
    FollowCredit {
        /// Whose follow.
        session: SessionNumber,
        /// Which follow.
        request: u64,
        /// How many more.
        more: u32,
    },
    /// A client wants no more of a job.
    Unfollow {
        /// Whose follow.
        session: SessionNumber,
        /// Which follow.
        request: u64,
    },
    /// A question.
    Query {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// Which.
        query: Query,
    },
    /// A machine wants to become a worker. Its join token was checked when the session began, and is again here.
    Enrol {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// The join token.
        token: TokenNumber,
        /// What people will call it.
        name: String,
        /// SHA-256 of the secret that the worker made.
        hash: SecretHash,
    },
    /// An enrolled worker connected, and says what it can do and what it holds.
    Resume {
        /// Its session.
        session: SessionNumber,
        /// Who it is; its secret was checked.
        worker: WorkerNumber,
        /// What it says.
        resume: Resume,
    },
    /// A worker was heard (any message of its).
    Heard {
        /// Its session.
        session: SessionNumber,
    },
    /// A worker wants to hold this many slots' worth of tasks.
    Window {
        /// Its session.
        session: SessionNumber,
        /// How many slots' worth.
        slots: u32,
    },
    /// A worker is about to start these.
    Started {
        /// Its session.
        session: SessionNumber,
        /// Which.
        leases: Vec<LeaseNumber>,
    },
    /// A worker reports attempts that ended.
    Outcomes {
        /// Its session.
        session: SessionNumber,
        /// What the acknowledgement names.
        number: u64,
        /// Which leases, each with whether the task succeeded.
        ends: Vec<(LeaseNumber, bool)>,
        /// What it says of each.
        details: Values,
    },
    /// A worker gives leases back.
    GivenBack {
        /// Its session.
        session: SessionNumber,
        /// Which.
        leases: Vec<LeaseNumber>,
    },
    /// An administrator creates a token.
    CreateToken {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// What it allows.
        role: Role,
        /// What people call it.
        label: String,
        /// Whom it stands for; empty: an owner of its own.
        owner: String,
        /// For how long.
        expires_in: Option<Duration>,
        /// SHA-256 of its secret.
        hash: SecretHash,
    },
    /// An administrator revokes a token.
    RevokeToken {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// Which.
        token: TokenNumber,
        /// Whether the workers that enrolled with it are removed too.
        with_workers: bool,
    },
    /// Somebody cancels a task or a job.
    Cancel {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// Which.
        named: Named,
    },
    /// Somebody wants what ended without success run again.
    Retry {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// Which.
        named: Named,
    },
    /// Somebody has all results of a job, which may be forgotten.
    Acknowledge {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// Which.
        job: JobNumber,
    },
    /// Somebody wants jobs forgotten that have been over for a while: their own, an administrator all.
    Purge {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// For how long.
        older_than: Duration,
    },
    /// An administrator says what a worker gets.
    SetWorker {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// Which.
        worker: WorkerNumber,
        /// What.
        mode: WorkerMode,
    },
    /// An administrator removes a worker.
    RemoveWorker {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// Which.
        worker: WorkerNumber,
    },
}

/// A task or a whole job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// One task.
    Task(TaskId),
    /// All tasks of a job.
    Job(JobNumber),
}

/// Tasks for a job.
#[derive(Clone, Debug)]
pub struct Submit {
    /// The job's key; an unknown one opens it.
    pub key: JobKey,
    /// Its name, when it is opened.
    pub name: String,
    /// The idempotency key, when it is opened.
    pub idempotency: Option<Idempotency>,
    /// Its labels, when it is opened.
    pub labels: Labels,
    /// The index of the first task. Tasks that the job has already are skipped.
    pub first_index: u32,
    /// What the tasks share.
    pub template: Arc<Template>,
    /// A payload each.
    pub payloads: Values,
    /// Whether the job gets no more tasks.
    pub last: bool,
    /// For how long the tasks are `scheduled` first, from now on.
    pub delay: Option<Duration>,
    /// In what time they have to start, from now on: those that have not end `expired`.
    pub deadline: Option<Duration>,
}

/// What a client wants to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Which job.
    pub target: Target,
    /// Results that are not wanted: ascending ranges of first index and count.
    pub skip: Vec<(u32, u32)>,
    /// How many results may be sent until more credit is given.
    pub credit: u32,
    /// Only the end is wanted.
    pub only_end: bool,
    /// Only this task is wanted.
    pub only_index: Option<u32>,
    /// Only what there is now is wanted: it ends without waiting for the rest.
    pub only_present: bool,
}

impl Follow {
    /// Whether the result of this index is not wanted.
    pub fn skips(&self, index: u32) -> bool {
        let at = self.skip.partition_point(|(first, _)| *first <= index);
        at > 0 && self.skip.get(at - 1).is_some_and(|(first, count)| index - first < *count)
    }

    /// Whether it is for all results of a job of so many tasks: when it has ended, they are delivered.
    pub fn takes_all_of(&self, tasks: u32) -> bool {
        !self.only_end && (self.only_index.is_none() || tasks == 1)
    }
}

/// A job, by either of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// By number.
    Number(JobNumber),
    /// By the caller's own key.
    Key(JobKey),
}

/// What a worker says when it connects.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Random, of this process; not 0.
    pub incarnation: u64,
    /// Its slots, at least 1.
    pub slots: u32,
    /// How many slots' worth of tasks it wants to hold.
    pub window: u32,
    /// Whether it runs commands.
    pub commands: bool,
    /// The skills it has.
    pub skills: BTreeSet<String>,
    /// Every lease that it holds, running or with an outcome that was not yet acknowledged.
    pub claims: Vec<Claim>,
    /// Its name, for people.
    pub name: String,
    /// Its program and version.
    pub software: String,
    /// Where it connected from.
    pub address: String,
}

impl Resume {
    /// The task's name is part of a claim so that the claim can be refused even after the lease's record is gone.
    pub fn claim(&mut self, lease: LeaseNumber, task: TaskId) {
        self.claims.push(Claim { lease, task });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follow_skips_runs_and_nothing_beside_them() {
        let follow = |skip, only_end, only_index| Follow {
            target: Target::Number(JobNumber(1)),
            skip,
            credit: 0,
            only_end,
            only_index,
            only_present: false,
        };
        let skipped = |skip| {
            let follow = follow(skip, false, None);
            (0..12).filter(|index| follow.skips(*index)).collect::<Vec<_>>()
        };
        assert_eq!(skipped(vec![]), []);
        assert_eq!(skipped(vec![(0, 1), (3, 2), (5, 1), (9, 2)]), [0, 3, 4, 5, 9, 10]);
        assert_eq!(skipped(vec![(4, 0)]), []);
        assert!(follow(vec![], false, None).takes_all_of(9));
        assert!(!follow(vec![], true, None).takes_all_of(9), "it is told the end alone");
        assert!(!follow(vec![], false, Some(0)).takes_all_of(2));
        assert!(follow(vec![], false, Some(0)).takes_all_of(1), "the one task is all of the job");
    }

    #[test]
    fn each_claim_of_a_worker_is_passed_on() {
        let mut resume = Resume::default();
        let task = |index| TaskId { job: JobNumber(1), index };
        for index in 0..2 {
            resume.claim(LeaseNumber(5 + u64::from(index)), task(index));
        }
        let [first, second] = resume.claims[..] else { panic!("{:?}", resume.claims) };
        assert_eq!(first, Claim { lease: LeaseNumber(5), task: task(0) });
        assert_eq!(second, Claim { lease: LeaseNumber(6), task: task(1) });
    }
}
