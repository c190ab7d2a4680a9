//! The threads that run skills.
//!
//! A lane is a thread with a queue of its own. The worker's loop hands a lane many short tasks at once and gets their
//! outcomes back many at once, encoded already, so that a task costs no wake-up of its own in either direction. What a lane
//! has not begun can be taken back from it at any time.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use prost::Message;
use task_messenger_protocol::{
    messages::{Outcome, outcome::Ending},
    values::{Values, ValuesBuilder},
};
use tokio::sync::Notify;

use super::{Skill, SkillContext, SkillError};
use crate::runners::{TaskName, milliseconds};

/// What the names of the threads begin with.
const THREAD: &str = "skill ";
/// How long finished tasks of a lane that goes on may wait to be collected.
const COLLECT_AFTER: Duration = Duration::from_millis(1);

/// A skill task as it was handed out.
pub struct SkillTask {
    /// The hand-out.
    pub lease: u64,
    /// The task's name.
    pub name: TaskName,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What runs it.
    pub skill: Arc<dyn Skill>,
    /// The skill's input.
    pub payload: Bytes,
    /// After which time it has overrun.
    pub timeout: Option<Duration>,
}

/// Tasks that ended, by columns.
#[derive(Debug, Default)]
pub struct FinishedTasks {
    /// Their hand-outs.
    pub leases: Vec<u64>,
    /// As in `Outcomes`: 1 succeeded, 2 failed.
    pub statuses: Vec<u8>,
    /// Encoded outcomes.
    pub outcomes: Values,
    /// How long they ran, all together.
    pub busy: Duration,
}

/// What a lane has to tell.
#[derive(Debug)]
pub struct LaneReport {
    /// Which lane.
    pub lane: usize,
    /// What ended since it was last asked.
    pub finished: FinishedTasks,
    /// Whether it has nothing more to do.
    pub idle: bool,
}

/// What a lane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningSkill {
    /// The hand-out.
    pub lease: u64,
    /// When its time is over, if it has a timeout.
    pub deadline: Option<Instant>,
    /// When the lane began with the first of the tasks that it was given together.
    pub lane_since: Instant,
    /// How many tasks are behind it in the lane.
    pub queued: usize,
}

/// A pool of lanes. Their threads are started when they are first needed.
pub struct SkillPool {
    lanes: Vec<Arc<Lane>>,
    most: usize,
    output_limit: Arc<AtomicUsize>,
    ready: Arc<Notify>,
}

struct Lane {
    state: Mutex<State>,
    wake: Condvar,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<SkillTask>,
    running: Option<Running>,
    /// When it began with what it was given together.
    since: Option<Instant>,
    leases: Vec<u64>,
    statuses: Vec<u8>,
    outcomes: ValuesBuilder,
    busy: Duration,
    /// Whether the loop has given work and not yet heard that it is done.
    assigned: bool,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Running {
    lease: u64,
    deadline: Option<Instant>,
}

impl SkillPool {
    /// At most `most` lanes. An output over `output_limit` bytes fails its task.
    pub fn new(most: usize, output_limit: usize) -> Self {
        Self { lanes: Vec::new(), most, output_limit: Arc::new(output_limit.into()), ready: Arc::default() }
    }

    /// Has at most `most` lanes from now on, unless there are more already, and another limit of outputs.
    pub fn set_limits(&mut self, most: usize, output_limit: usize) {
        self.most = most;
        self.output_limit.store(output_limit, Ordering::Relaxed);
    }

    /// Gives tasks to a lane that has nothing to do, in order, and says which. `Err` gives them back when there is no such
    /// lane, or no thread could be started for one.
    ///
    /// # Errors
    /// The tasks.
    pub fn submit(&mut self, tasks: VecDeque<SkillTask>) -> Result<usize, VecDeque<SkillTask>> {
        let idle = self.lanes.iter().position(|lane| !lane.lock().assigned);
        let Some(at) = idle.or_else(|| self.start_lane()) else { return Err(tasks) };
        let lane = &self.lanes[at];
        let mut state = lane.lock();
        state.queue = tasks;
        state.since = None;
        state.assigned = true;
        drop(state);
        lane.wake.notify_one();
        Ok(at)
    }

    /// Waits until [`SkillPool::collect`] has something to tell.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// What has ended since the last call, lane by lane.
    pub fn collect(&mut self) -> Vec<LaneReport> {
        let mut reports = Vec::new();
        for (at, lane) in self.lanes.iter().enumerate() {
            let mut state = lane.lock();
            if !state.assigned {
                continue;
            }
            let idle = state.queue.is_empty() && state.running.is_none();
            state.assigned = !idle;
            if idle || !state.leases.is_empty() {
                reports.push(LaneReport { lane: at, finished: state.take_finished(), idle });
            }
        }
        reports
    }

    /// Takes back what a lane has not begun, in order.
    pub fn take_back(&mut self, lane: usize) -> VecDeque<SkillTask> {
        let taken = std::mem::take(&mut self.lanes[lane].lock().queue);
        // The lane may have been done before: then this is what it has to tell.
        self.ready.notify_one();
        taken
    }

    /// Asks a task that runs to stop, and takes one that is not begun out of its lane: then it is `true`, and nothing more is
    /// heard of it. Otherwise its outcome is collected as any.
    pub fn stop(&mut self, lane: usize, lease: u64) -> bool {
        let lane = &self.lanes[lane];
        let mut state = lane.lock();
        if state.running.is_some_and(|running| running.lease == lease) {
            lane.stop.store(true, Ordering::Relaxed);
            return false;
        }
        let before = state.queue.len();
        state.queue.retain(|task| task.lease != lease);
        self.ready.notify_one();
        state.queue.len() < before
    }

    /// How many lanes there are by now.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// What a lane runs, if it runs anything.
    pub fn running(&self, lane: usize) -> Option<RunningSkill> {
        let state = self.lanes[lane].lock();
        let queued = state.queue.len();
        let Running { lease, deadline } = state.running?;
        Some(RunningSkill { lease, deadline, lane_since: state.since?, queued })
    }

    fn start_lane(&mut self) -> Option<usize> {
        if self.lanes.len() >= self.most {
            return None;
        }
        let lane = Arc::new(Lane { state: Mutex::default(), wake: Condvar::new(), stop: Arc::default() });
        let (worker, ready, limit) = (Arc::clone(&lane), Arc::clone(&self.ready), Arc::clone(&self.output_limit));
        let name = format!("{THREAD}{}", self.lanes.len());
        match thread::Builder::new().name(name).spawn(move || worker.run(&ready, &limit)) {
            Ok(_) => self.lanes.push(lane),
            Err(error) => {
                tracing::error!(%error, "no thread could be started for skills");
                return None;
            }
        }
        Some(self.lanes.len() - 1)
    }
}

/// Threads end when they have run what they are running: nobody waits for them.
impl Drop for SkillPool {
    fn drop(&mut self) {
        for lane in &self.lanes {
            let mut state = lane.lock();
            state.queue.clear();
            state.closed = true;
            lane.stop.store(true, Ordering::Relaxed);
            lane.wake.notify_one();
        }
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked; and each field is right by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, ready: &Notify, output_limit: &AtomicUsize) {
        let mut collected = Instant::now();
        let mut encoded = Vec::new();
        let mut state = self.lock();
        loop {
            let Some(task) = state.queue.pop_front() else {
                if state.closed {
                    return;
                }
                if state.assigned {
                    ready.notify_one();
                }
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                collected = Instant::now();
                continue;
            };
            let started = Instant::now();
            let deadline = task.timeout.map(|timeout| started + timeout);
            state.since.get_or_insert(started);
            state.running = Some(Running { lease: task.lease, deadline });
            self.stop.store(false, Ordering::Relaxed);
            drop(state);

            let lease = task.lease;
            let started_milliseconds = milliseconds(SystemTime::now());
            let (mut outcome, succeeded) = self.run_task(&task, deadline, output_limit.load(Ordering::Relaxed));
            let ended = Instant::now();
            let busy = ended - started;
            outcome.started_milliseconds = started_milliseconds;
            outcome.run_microseconds = busy.as_micros() as u64;
            encoded.clear();
            outcome.encode_raw(&mut encoded);
            drop(task);

            state = self.lock();
            state.running = None;
            state.leases.push(lease);
            state.statuses.push(if succeeded { 1 } else { 2 });
            state.outcomes.push(&encoded);
            state.busy += busy;
            if ended - collected > COLLECT_AFTER && !state.queue.is_empty() {
                collected = ended;
                ready.notify_one();
            }
        }
    }

    fn run_task(&self, task: &SkillTask, deadline: Option<Instant>, output_limit: usize) -> (Outcome, bool) {
        let context = SkillContext::stoppable(task.name, task.attempt, deadline, Arc::clone(&self.stop));
        let result = catch_unwind(AssertUnwindSafe(|| task.skill.run(&task.payload, &context)));
        let failure = |ending: Ending, text| Outcome { ending: ending.into(), text, ..Outcome::default() };
        match result {
            Ok(Ok(output)) if output.len() > output_limit => {
                let text = format!("the output has {} bytes; at most {output_limit} are allowed", output.len());
                (failure(Ending::Error, text), false)
            }
            Ok(Ok(output)) => {
                (Outcome { ending: Ending::Exited.into(), output: output.into(), ..Outcome::default() }, true)
            }
            Ok(Err(SkillError { message })) => {
                let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                (failure(if late { Ending::TimedOut } else { Ending::Error }, message), false)
            }
            Err(panic) => (failure(Ending::Panicked, panic_text(panic.as_ref())), false),
        }
    }
}

impl State {
    fn take_finished(&mut self) -> FinishedTasks {
        FinishedTasks {
            leases: std::mem::take(&mut self.leases),
            statuses: std::mem::take(&mut self.statuses),
            outcomes: self.outcomes.take(),
            busy: std::mem::take(&mut self.busy),
        }
    }
}

/// Keeps what a skill says when it panics, which may be of its task's payload, from standard error: it is the outcome's. That a
/// skill panicked, and where, is logged.
pub fn keep_panics_private() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if thread::current().name().is_some_and(|name| name.starts_with(THREAD)) {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(place, "a skill panicked");
        } else {
            usual(panic);
        }
    }));
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the skill panicked: {}", text.unwrap_or("without a text"))
}

#[cfg(test)]
mod tests;
