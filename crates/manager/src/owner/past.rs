//! What is over: its way into the archive, and what is answered from there.

use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};
use task_messenger_core::{
    effect::ArchiveQuestion,
    ids::{JobNumber, SessionNumber},
    input::Input,
    query::{JobFilter, PAGE},
    record::Caller,
    task::TaskState,
    time::{Now, WallTime},
};
use task_messenger_daemon::exit::chain;
use task_messenger_protocol::messages::{self, Code};
use task_messenger_store::archive::{ArchiveError, JobQuestion, Reader};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    Event, Owner,
    archiving::{Archiving, Done, Purger},
    history::History,
};

/// The archive, from both sides.
pub(crate) struct Past {
    pub(super) archiving: Archiving,
    pub(super) history: History,
    reader: Reader,
    file: PathBuf,
    /// Finds of purges come back this way.
    events: mpsc::Sender<Event>,
    /// Purges whose jobs here are being forgotten: on whose behalf, and what was over by when.
    purges: FxHashMap<(SessionNumber, u64), (Caller, WallTime)>,
}

/// The jobs of a purge that are in the archive.
#[derive(Debug)]
pub(crate) struct FoundPurge {
    session: SessionNumber,
    request: u64,
    /// How many tasks were forgotten before.
    tasks: u64,
    found: Result<(Vec<JobNumber>, u64), ArchiveError>,
}

impl Past {
    pub(crate) fn new(
        archiving: Archiving,
        history: History,
        reader: Reader,
        file: PathBuf,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self { archiving, history, reader, file, events, purges: FxHashMap::default() }
    }

    /// Where the archive is.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Takes note of an input that is about the archive too.
    pub(super) fn note(&mut self, now: Now, input: &Input) {
        match input {
            Input::FollowCredit { session, request, more } => self.history.credit(*session, *request, *more),
            Input::Unfollow { session, request } => self.history.unfollow(*session, *request),
            Input::Purge { session, request, caller, older_than } => {
                // The same time as for what is here: what is over later has not been asked about.
                self.purges.insert((*session, *request), (*caller, now.wall.minus(*older_than)));
            }
            _ => {}
        }
    }
}

impl Owner {
    /// Answers a question to the archive.
    pub(super) fn ask_archive(
        &mut self,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        question: ArchiveQuestion,
    ) {
        if let ArchiveQuestion::Status(mut status) = question {
            let (jobs, tasks) = self.past.archiving.kept((!caller.admin).then_some(caller.owner));
            status.jobs += jobs;
            for state in TaskState::ALL {
                status.tasks.add(state, tasks.get(state));
            }
            self.answer_status(session, request, &status);
        } else if let Some(handle) = self.sessions.get(&session) {
            self.past.history.ask(session, request, caller, handle.outgoing.clone(), question);
        }
    }

    /// The archive has come further.
    pub(super) fn archived(&mut self, Done { archived, files }: Done) {
        let now = self.now();
        if !archived.is_empty() {
            self.past.archiving.let_go(now, archived, &mut self.engine, &mut self.front);
        }
        self.shrinking.remove_files(files);
        self.answer_purgers();
    }

    fn answer_purgers(&mut self) {
        for Purger { session, request, tasks } in self.past.archiving.served() {
            self.answer(session, request, messages::Changed { request, tasks, running: 0 });
        }
    }

    /// A cancel, a retry or a purge is durable. A purge goes on in the archive.
    pub(super) fn changed(&mut self, session: SessionNumber, request: u64, tasks: u64, running: u64) {
        let Some((caller, before)) = self.past.purges.remove(&(session, request)) else {
            return self.answer(session, request, messages::Changed { request, tasks, running });
        };
        let (reader, events) = (self.past.reader.clone(), self.past.events.clone());
        let counted = self.past.archiving.leaving(&self.engine);
        tokio::task::spawn_local(async move {
            let found = tokio::task::spawn_blocking(move || jobs_over_by(&reader, caller, before, &counted)).await;
            let found = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            // Nobody listens when the manager stops.
            let _ = events.send(Event::PurgeFound(FoundPurge { session, request, tasks, found })).await;
        });
    }

    pub(super) fn purge_found(&mut self, FoundPurge { session, request, tasks, found }: FoundPurge) {
        match found {
            Ok((jobs, more)) => {
                self.past.archiving.purge(jobs, Purger { session, request, tasks: tasks + more }, &self.engine);
                self.answer_purgers();
            }
            Err(error) => {
                warn!(error = chain(&error), "what is to be purged in the archive can't be found");
                let text =
                    format!("the archive can't be read now, so only some may be forgotten; purge again: {error}");
                self.refuse(session, request, Code::FailedPrecondition, text);
            }
        }
    }
}

/// The jobs that were over by a time, of those that the caller sees, and how many tasks they have there, without those that
/// were counted when they were forgotten here.
fn jobs_over_by(
    reader: &Reader,
    caller: Caller,
    time: WallTime,
    counted: &FxHashSet<JobNumber>,
) -> Result<(Vec<JobNumber>, u64), ArchiveError> {
    let owner = (!caller.admin).then_some(caller.owner);
    let (mut jobs, mut tasks) = (Vec::new(), 0);
    let mut before = None;
    loop {
        let filter = JobFilter::default();
        let page = reader.jobs(&JobQuestion { owner, before, name_contains: None, filter, limit: PAGE })?;
        for kept in page.jobs.iter().filter(|kept| kept.job.ended.is_some_and(|ended| ended <= time)) {
            jobs.push(kept.job.number);
            if !counted.contains(&kept.job.number) {
                tasks += kept.kept;
            }
        }
        before = page.next;
        if before.is_none() {
            return Ok((jobs, tasks));
        }
    }
}
