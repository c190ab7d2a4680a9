//! Between the core's words and the link's.

use task_messenger_core::{
    effect::{CloseReason, Refusal},
    ids::{JobNumber, TaskId},
    query::{
        Answer, Contact, JobFilter, JobSummary, Query, Status, TaskDetail, TaskSummary, TokenSummary, WorkerSummary,
    },
    record::{Role, WorkerMode},
    task::{Counts, TaskState},
    time::WallTime,
};
use task_messenger_protocol::messages::{self, Code, Reason, answer, query::Question};

/// A question, if it is one that this version knows.
pub(crate) fn query(query: messages::Query) -> Option<Query> {
    Some(match query.question? {
        Question::Status(_) => Query::Status,
        Question::Jobs(jobs) => {
            let since = (jobs.opened_since_milliseconds > 0).then_some(WallTime(jobs.opened_since_milliseconds));
            let filter = JobFilter { state: state_from(jobs.state()), since, labels: jobs.labels };
            Query::Jobs { before: (jobs.before > 0).then_some(JobNumber(jobs.before)), limit: jobs.limit, filter }
        }
        Question::Tasks(tasks) => Query::Tasks {
            job: JobNumber(tasks.job),
            state: state_from(tasks.state()),
            from_index: tasks.from_index,
            limit: tasks.limit,
        },
        Question::Task(task) => Query::Task(TaskId { job: JobNumber(task.job), index: task.index }),
        Question::Workers(_) => Query::Workers,
        Question::Tokens(_) => Query::Tokens,
    })
}

fn state_from(state: messages::TaskState) -> Option<TaskState> {
    TaskState::ALL.into_iter().find(|known| *known as i32 == state as i32)
}

/// An answer, of a status only what the core knows.
pub(crate) fn answer(request: u64, answer: Answer) -> messages::Answer {
    let answer = match answer {
        Answer::Status(known) => answer::Answer::Status(Box::new(status(&known))),
        Answer::Jobs { jobs, next_before } => answer::Answer::Jobs(messages::Jobs {
            jobs: jobs.into_iter().map(job).collect(),
            more: next_before.is_some(),
            next_before: next_before.map_or(0, |job| job.0),
        }),
        Answer::Tasks { tasks, next_index } => answer::Answer::Tasks(messages::Tasks {
            tasks: tasks.into_iter().map(task).collect(),
            more: next_index.is_some(),
            next_index: next_index.unwrap_or_default(),
        }),
        Answer::Task(detail) => {
            let TaskDetail { summary, template, payload_bytes, job_name, opened } = *detail;
            answer::Answer::Task(messages::TaskDetail {
                summary: Some(task(summary)),
                template: template.body.clone(),
                payload_bytes,
                job_name,
                submitted_milliseconds: opened.0,
            })
        }
        Answer::Workers(workers) => {
            answer::Answer::Workers(messages::Workers { workers: workers.into_iter().map(worker).collect() })
        }
        Answer::Tokens(tokens) => {
            answer::Answer::Tokens(messages::Tokens { tokens: tokens.into_iter().map(token).collect() })
        }
    };
    messages::Answer { request, answer: Some(answer) }
}

/// As far as the core knows it.
pub(crate) fn status(status: &Status) -> messages::Status {
    messages::Status {
        tasks: Some(counts(&status.tasks)),
        jobs: status.jobs,
        workers_connected: status.workers_connected,
        workers_enrolled: status.workers_enrolled,
        slots: status.slots,
        slots_used: status.slots_used,
        queued_bytes: status.open_bytes,
        ..messages::Status::default()
    }
}

fn counts(counts: &Counts) -> messages::Counts {
    messages::Counts {
        waiting: counts.get(TaskState::Waiting),
        scheduled: counts.get(TaskState::Scheduled),
        queued: counts.get(TaskState::Queued),
        running: counts.get(TaskState::Running),
        succeeded: counts.get(TaskState::Succeeded),
        failed: counts.get(TaskState::Failed),
        cancelled: counts.get(TaskState::Cancelled),
        expired: counts.get(TaskState::Expired),
    }
}

/// A job at a glance.
pub(crate) fn job(job: JobSummary) -> messages::JobSummary {
    messages::JobSummary {
        job: job.job.0,
        name: job.name,
        tasks: job.tasks,
        closed: job.closed,
        counts: Some(counts(&job.counts)),
        submitted_milliseconds: job.opened.0,
        owner: job.owner,
        labels: job.labels,
    }
}

fn task(task: TaskSummary) -> messages::TaskSummary {
    messages::TaskSummary {
        job: task.task.job.0,
        index: task.task.index,
        state: task.state as i32,
        attempts: task.attempts,
        failures: task.failures,
        worker: task.worker.unwrap_or_default(),
        started: task.started,
        cancelling: task.cancelling,
        crashes: task.crashes,
        has_outcome: task.has_outcome,
    }
}

fn worker(worker: WorkerSummary) -> messages::WorkerSummary {
    messages::WorkerSummary {
        worker: worker.worker.0,
        name: worker.name,
        connected: worker.connected,
        slots: worker.slots,
        slots_used: worker.slots_used,
        leases: worker.leases,
        software: worker.software,
        address: worker.address,
        enrolled_milliseconds: worker.enrolled.0,
        revoked: false,
        mode: match worker.mode {
            WorkerMode::Active => messages::WorkerMode::Active,
            WorkerMode::Paused => messages::WorkerMode::Paused,
            WorkerMode::Draining => messages::WorkerMode::Draining,
        }
        .into(),
        last_heard_milliseconds: worker.heard.map(|time| time.as_millis() as u64),
        connected_milliseconds: worker.connected_for.map(|time| time.as_millis() as u64),
        contact: match worker.contact {
            Contact::Connected => messages::WorkerContact::Connected,
            Contact::Silent => messages::WorkerContact::Silent,
            Contact::Gone => messages::WorkerContact::Gone,
        }
        .into(),
    }
}

/// What a worker is to get.
pub(crate) fn worker_mode(mode: messages::WorkerMode) -> WorkerMode {
    match mode {
        messages::WorkerMode::Active => WorkerMode::Active,
        messages::WorkerMode::Paused => WorkerMode::Paused,
        messages::WorkerMode::Draining => WorkerMode::Draining,
    }
}

/// A token at a glance.
pub(crate) fn token(token: TokenSummary) -> messages::TokenSummary {
    let role = match token.role {
        Role::Worker => messages::Role::Worker,
        Role::Client => messages::Role::Client,
        Role::Admin => messages::Role::Admin,
    };
    messages::TokenSummary {
        token: token.token.0,
        role: role.into(),
        label: token.label,
        owner: token.owner,
        created_milliseconds: token.created.0,
        expires_milliseconds: token.expires.map_or(0, |time| time.0),
        revoked: token.revoked,
        workers: token.workers,
    }
}

/// A refusal.
pub(crate) fn refused(request: u64, refusal: &Refusal) -> messages::Refused {
    let code = match refusal {
        Refusal::Invalid(_) => Code::InvalidArgument,
        Refusal::NotFound(_) => Code::NotFound,
        Refusal::OtherContent { .. } => Code::AlreadyExists,
        Refusal::Denied(_) => Code::PermissionDenied,
        Refusal::Exhausted { .. } => Code::ResourceExhaustedNow,
        Refusal::Precondition(_) => Code::FailedPrecondition,
    };
    let retry_milliseconds = match refusal {
        Refusal::Exhausted { retry_after, .. } => retry_after.as_millis() as u64,
        _ => 0,
    };
    messages::Refused { request, code: code.into(), text: refusal.to_string(), retry_milliseconds }
}

/// Why a session ends, for its peer and for the log.
pub(crate) fn close_reason(reason: CloseReason) -> (Reason, &'static str) {
    match reason {
        CloseReason::Replaced => (Reason::Replaced, "the same worker connected anew"),
        CloseReason::Silent => (Reason::Silent, "the worker was silent for longer than its leases' grace"),
        CloseReason::Clone => (
            Reason::Clone,
            "another process with this worker's identity is connected, and alive: if this machine is a copy of that one, \
             remove its credential and join anew, as a worker of its own",
        ),
        CloseReason::Removed => (Reason::Unauthenticated, "the worker was removed"),
        CloseReason::Protocol => {
            (Reason::Protocol, "a worker speaks of its work only after resuming, and resumes once")
        }
    }
}
