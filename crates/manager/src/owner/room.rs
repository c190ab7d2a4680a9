//! What the owner does when the disk has no room: it turns away new work, and in the end hands nothing out.

use task_messenger_core::{
    ids::SessionNumber,
    input::{Input, Submit},
    record::Caller,
    time::Now,
};
use task_messenger_protocol::messages::{self, Code};

use super::Owner;
use crate::disk;

/// What a submit takes of the journal besides its payloads and its template, at most nearly always.
const SUBMIT_BYTES: u64 = 1 << 10;

impl Owner {
    /// What the scheduler is to hear of an input, if anything.
    pub(super) fn weigh(&mut self, now: Now, input: Input) -> Option<Input> {
        match input {
            Input::Submit { session, request, caller, submit } => {
                if self.past.archiving.is_full() && !self.adds_nothing(now, caller, &submit) {
                    self.shrinking.remove_files(submit.payloads.external_files().collect());
                    self.exhausted(session, request, self.past.archiving.full());
                    return None;
                }
                let payloads = submit.payloads.bytes().len() + submit.template.body.len();
                let taken = self.disk.take(payloads as u64 + SUBMIT_BYTES);
                if let Err(text) = taken
                    && !self.adds_nothing(now, caller, &submit)
                {
                    self.shrinking.remove_files(submit.payloads.external_files().collect());
                    self.exhausted(session, request, text);
                    return None;
                }
                Some(Input::Submit { session, request, caller, submit })
            }
            Input::Resume { session, worker, mut resume } => {
                resume.window = self.window(session, resume.window);
                Some(Input::Resume { session, worker, resume })
            }
            Input::Window { session, slots } => Some(Input::Window { session, slots: self.window(session, slots) }),
            other => Some(other),
        }
    }

    /// Tells somebody that there is no room for what they bring.
    pub(super) fn exhausted(&mut self, session: SessionNumber, request: u64, text: String) {
        self.watching.turned_away();
        let retry_milliseconds = disk::RETRY_AFTER.as_millis() as u64;
        let code = Code::ResourceExhaustedNow.into();
        self.answer(session, request, messages::Refused { request, code, text, retry_milliseconds });
    }

    /// Begins or ends handing out: without it workers seem to want nothing new.
    pub(super) fn pause(&mut self, pause: bool) {
        if std::mem::replace(&mut self.paused, pause) == pause {
            return;
        }
        let now = self.now();
        for (session, handle) in &self.sessions {
            if handle.window > 0 {
                let slots = if pause { 0 } else { handle.window };
                self.engine.handle(now, Input::Window { session: *session, slots }, &mut self.front);
            }
        }
    }

    /// Keeps what a worker wants, and says what it gets.
    fn window(&mut self, session: SessionNumber, wanted: u32) -> u32 {
        if let Some(handle) = self.sessions.get_mut(&session) {
            handle.window = wanted;
        }
        if self.paused { 0 } else { wanted }
    }

    /// Whether everything that a submit brings is there already: it is only asked for the answer.
    fn adds_nothing(&self, now: Now, caller: Caller, submit: &Submit) -> bool {
        let state = self.engine.state();
        let repeated = submit.idempotency.and_then(|idempotency| state.keys.get(idempotency.key, now.wall));
        let known = match repeated {
            Some(entry) => state.jobs.position(entry.job),
            None => state.jobs.position_of_key(caller.owner, submit.key),
        };
        let end = submit.first_index.checked_add(submit.payloads.count());
        let job = known.and_then(|position| state.jobs.at(position));
        job.zip(end).is_some_and(|(job, end)| end <= job.next_index)
    }
}
