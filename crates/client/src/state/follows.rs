//! Jobs that are followed.
//!
//! The manager sends results against credit, and credit is given back as the caller takes them: so what waits here is
//! bounded by a number that shrinks when results are large. Should results turn large all at once, the follow is broken off
//! and taken up again, without what was received, when the caller has caught up.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use task_messenger_protocol::{
    link::FromPeerWriter,
    messages::{self, FollowCredit, FollowEnded, JobSummary, Range, Refused, Results, follow},
};
use tokio::sync::Notify;

use super::{Item, State};
use crate::{Error, FollowOptions, ResultBatch, Target, ranges::Ranges};

/// The window begins with this many results, and is never below [`SMALLEST_WINDOW`] or above [`LARGEST_WINDOW`].
const FIRST_WINDOW: u32 = 256;
const SMALLEST_WINDOW: u32 = 16;
const LARGEST_WINDOW: u32 = 8_192;

/// What a window of results of the usual size may take, in bytes.
const WINDOW_BYTES: usize = 32 * 1024 * 1024;

/// A follow for which this much waits is broken off, in bytes.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The most ranges of received results that are told to the manager: what it sends again beyond them is dropped here.
const MOST_RANGES: usize = 8_192;

/// See the module.
#[derive(Debug)]
pub(crate) struct Follow {
    target: Target,
    options: FollowOptions,
    received: Ranges,
    queue: VecDeque<ResultBatch>,
    queued: u32,
    queued_bytes: usize,
    /// What the manager may still send.
    granted: u32,
    window: u32,
    /// The size of a result of late.
    usual_bytes: usize,
    request: Option<u64>,
    phase: Phase,
    pub(super) listed: bool,
    pub(super) wake: Arc<Notify>,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// Too much waits.
    BrokenOff,
    /// The manager wants to hear of it again later.
    Paused,
    /// Whether the manager keeps the job until it hears that its results are here.
    Over(Box<JobSummary>, bool),
    Failed(Error),
}

/// What there is for the caller of a follow.
pub(crate) enum Taken {
    Batch(ResultBatch),
    /// Whether the manager keeps the job until it hears so.
    Over(Box<JobSummary>, bool),
    NothingYet,
}

impl Follow {
    pub(crate) fn new(target: Target, options: FollowOptions) -> Self {
        let mut received = Ranges::default();
        for skip in &options.skip {
            received.insert(skip.start, skip.end.saturating_sub(skip.start));
        }
        Self {
            target,
            options,
            received,
            queue: VecDeque::new(),
            queued: 0,
            queued_bytes: 0,
            granted: 0,
            window: FIRST_WINDOW,
            usual_bytes: 0,
            request: None,
            phase: Phase::Open,
            listed: false,
            wake: Arc::default(),
        }
    }

    pub(super) fn unsend(&mut self) {
        self.request = None;
        self.granted = 0;
        if matches!(self.phase, Phase::Paused) {
            self.phase = Phase::Open;
        }
    }

    /// How much more may be granted; `None` while it isn't worth a message.
    fn more_credit(&self) -> Option<u32> {
        let more = self.window.saturating_sub(self.granted + self.queued);
        (more >= (self.window / 4).max(1)).then_some(more)
    }

    fn has_something_to_send(&self) -> bool {
        let credit_matters = self.request.is_some() && !self.options.only_end;
        matches!(self.phase, Phase::Open)
            && (self.request.is_none() || (credit_matters && self.more_credit().is_some()))
    }

    fn adapt_window(&mut self, results: u32, bytes: usize) {
        let of_these = bytes / results.max(1) as usize;
        self.usual_bytes = if of_these > self.usual_bytes { of_these } else { (self.usual_bytes * 7 + of_these) / 8 };
        let fitting = (WINDOW_BYTES / self.usual_bytes.max(1)).min(LARGEST_WINDOW as usize) as u32;
        self.window = self.window.saturating_mul(2).min(fitting).max(SMALLEST_WINDOW);
    }

    /// Takes in results, without those that came before.
    fn take_in(&mut self, results: Results) {
        let count = results.indexes.len() as u32;
        let bytes = results.outcomes.len() + count as usize * 16;
        self.granted = self.granted.saturating_sub(count);
        let Some(mut batch) = ResultBatch::check(results) else {
            self.phase = Phase::Failed(Error::Nonsense { what: "results whose columns don't fit together" });
            return;
        };
        self.adapt_window(count, bytes);
        let indexes = batch.indexes();
        let mut repeated = Vec::new();
        let mut position = 0;
        while let Some(first) = indexes.get(position).copied() {
            if self.received.contains(first) {
                repeated.push(position as u32);
                position += 1;
                continue;
            }
            let run = (0..)
                .zip(indexes.iter().skip(position))
                .take_while(|(offset, index)| first.checked_add(*offset) == Some(**index))
                .take_while(|(offset, index)| *offset == 0 || !self.received.contains(**index))
                .count();
            self.received.insert(first, run as u32);
            position += run;
        }
        batch.leave_out(repeated);
        if batch.len() > 0 {
            self.queued += batch.len() as u32;
            self.queued_bytes += batch.bytes();
            self.queue.push_back(batch);
        }
    }
}

impl State {
    /// Adds a follow: its number here, and what tells its owner that something changed.
    pub(crate) fn add_follow(&mut self, follow: Follow) -> Result<(u64, Arc<Notify>), Error> {
        self.check()?;
        let number = self.number();
        let wake = Arc::clone(&follow.wake);
        self.follows.insert(number, follow);
        self.list(Item::Follow(number));
        Ok((number, wake))
    }

    /// Forgets a follow and tells the manager.
    pub(crate) fn remove_follow(&mut self, number: u64) {
        if let Some(request) = self.follows.remove(&number).and_then(|follow| follow.request) {
            self.requests.remove(&request);
            self.unfollowed.push(request);
            self.wake_link = true;
        }
    }

    /// What there is to tell the owner of a follow.
    pub(crate) fn take(&mut self, number: u64) -> Result<Taken, Error> {
        let failed = self.failed.clone();
        let nonsense = Error::Nonsense { what: "the follow is not known here" };
        let follow = self.follows.get_mut(&number).ok_or(nonsense)?;
        let Some(batch) = follow.queue.pop_front() else {
            return match (&follow.phase, &failed) {
                (Phase::Over(job, kept), _) => Ok(Taken::Over(job.clone(), *kept)),
                (Phase::Failed(error), _) | (_, Some(error)) => Err(error.clone()),
                _ => Ok(Taken::NothingYet),
            };
        };
        follow.queued -= batch.len() as u32;
        follow.queued_bytes -= batch.bytes();
        if matches!(follow.phase, Phase::BrokenOff) && follow.queued_bytes < MOST_BYTES / 2 {
            follow.phase = Phase::Open;
        }
        if follow.has_something_to_send() {
            self.list(Item::Follow(number));
        }
        Ok(Taken::Batch(batch))
    }

    pub(super) fn send_follow(&mut self, number: u64, out: &mut FromPeerWriter) {
        let Some(follow) = self.follows.get_mut(&number) else { return };
        follow.listed = false;
        if !follow.has_something_to_send() {
            return;
        }
        let sent = if let Some(request) = follow.request {
            let more = follow.more_credit().unwrap_or(0);
            follow.granted += more;
            out.push(FollowCredit { request, more })
        } else {
            self.next_request += 1;
            let request = self.next_request;
            self.requests.insert(request, Item::Follow(number));
            follow.request = Some(request);
            follow.granted = follow.window.saturating_sub(follow.queued).max(1);
            let skip = follow.received.iter(MOST_RANGES).map(|(first, count)| Range { first, count }).collect();
            out.push(messages::Follow {
                request,
                target: Some(match follow.target {
                    Target::Job(job) => follow::Target::Job(job.0),
                    Target::Key(key) => follow::Target::JobKey(Bytes::copy_from_slice(&key.0)),
                    Target::Task(task) => follow::Target::Job(task.job.0),
                }),
                skip,
                credit: follow.granted,
                only_end: follow.options.only_end,
                only_present: follow.options.only_present,
                only_index_plus_one: match follow.target {
                    Target::Task(task) => task.index.saturating_add(1),
                    _ => 0,
                },
            })
        };
        if let Err(error) = sent {
            follow.phase = Phase::Failed(error.into());
            follow.wake.notify_one();
        }
    }

    pub(super) fn results(&mut self, results: Results) {
        let request = results.request;
        let Some(Item::Follow(number)) = self.requests.get(&request).copied() else { return };
        let Some(follow) = self.follows.get_mut(&number) else { return };
        follow.take_in(results);
        follow.wake.notify_one();
        if follow.queued_bytes > MOST_BYTES {
            follow.phase = Phase::BrokenOff;
            follow.unsend();
            self.requests.remove(&request);
            self.unfollowed.push(request);
            self.wake_link = true;
        } else if follow.has_something_to_send() {
            self.list(Item::Follow(number));
        }
    }

    pub(super) fn follow_ended(&mut self, ended: FollowEnded) {
        let Some(Item::Follow(number)) = self.requests.remove(&ended.request) else { return };
        if let Some(follow) = self.follows.get_mut(&number) {
            follow.request = None;
            follow.phase = Phase::Over(Box::new(ended.job.unwrap_or_default()), ended.acknowledge);
            follow.wake.notify_one();
        }
    }

    /// Whether the follow is to be sent again later.
    pub(super) fn follow_refused(&mut self, number: u64, refused: Refused, later: bool) -> bool {
        let Some(follow) = self.follows.get_mut(&number) else { return false };
        follow.unsend();
        if later {
            follow.phase = Phase::Paused;
            return true;
        }
        follow.phase = Phase::Failed(Error::from_refused(refused));
        follow.wake.notify_one();
        false
    }

    pub(super) fn resume_follow(&mut self, number: u64) {
        if let Some(follow) = self.follows.get_mut(&number)
            && matches!(follow.phase, Phase::Paused)
        {
            follow.phase = Phase::Open;
        }
    }
}
