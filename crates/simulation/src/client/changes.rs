//! Cancels and retries, at any moment.

use task_messenger_core::{
    ids::{JobNumber, SessionNumber, TaskId},
    input::{Input, Named},
    task::TaskState,
};

use super::{Client, NOBODY};
use crate::stage::Stage;

/// How often a client has what failed run again, once its job is over.
const RETRIES: u32 = 2;

/// A retry of what ended without success, after which the client looks for the ends again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retrying {
    request: u64,
    /// All of the job, or one task.
    index: Option<u32>,
}

impl Client {
    /// Now and then something is cancelled or run again, whatever it is doing.
    pub(super) fn change_something(&mut self, stage: &mut Stage, session: SessionNumber) {
        let numbers: Vec<(JobNumber, u32)> =
            self.jobs.iter().filter_map(|job| Some((job.number?, job.script.size()))).collect();
        if numbers.is_empty() || stage.calm {
            return;
        }
        let (job, size) = stage.random.pick(&numbers);
        let index = stage.random.below(u64::from(size)) as u32;
        let whole = stage.random.percent(30);
        let named = if whole { Named::Job(job) } else { Named::Task(TaskId { job, index }) };
        let request = self.next_request();
        let caller = NOBODY;
        let input = match stage.random.below(100) {
            0..8 => Input::Cancel { session, request, caller, named },
            8..14 => Input::Retry { session, request, caller, named },
            _ => return,
        };
        stage.send_up(session, input);
    }

    /// The job at this position is over. Perhaps what failed is run again.
    pub(super) fn try_again(&mut self, stage: &mut Stage, at: usize) {
        let Some(session) = self.session else { return };
        let request = self.next_request();
        let job = &mut self.jobs[at];
        let failed: Vec<u32> = job
            .results
            .iter()
            .filter(|(_, result)| result.state != TaskState::Succeeded)
            .map(|(index, _)| *index)
            .collect();
        let Some(number) = job.number.filter(|_| !failed.is_empty() && job.retries < RETRIES) else { return };
        if !stage.random.percent(30) {
            return;
        }
        job.retries += 1;
        job.done = false;
        let index = stage.random.percent(50).then(|| stage.random.pick(&failed));
        let named = index.map_or(Named::Job(number), |index| Named::Task(TaskId { job: number, index }));
        job.retrying = Some(Retrying { request, index });
        stage.send_up(session, Input::Retry { session, request, caller: NOBODY, named });
    }

    /// A change was carried out, or not: whether it was such a retry.
    pub(super) fn changed(&mut self, stage: &mut Stage, request: u64, carried_out: bool) -> bool {
        let of = |retrying: Option<Retrying>| retrying.filter(|retrying| retrying.request == request);
        let Some((job, retrying)) = self.jobs.iter_mut().find_map(|job| of(job.retrying).map(|of| (job, of))) else {
            return false;
        };
        job.retrying = None;
        if carried_out {
            let again = |index: u32| retrying.index.is_none_or(|only| only == index);
            job.results.retain(|index, result| result.state == TaskState::Succeeded || !again(*index));
        }
        self.work_soon(stage);
        true
    }
}
