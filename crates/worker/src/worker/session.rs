//! What the manager says, and what it is told.

use std::{cell::Cell, rc::Rc, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use rustc_hash::{FxHashMap, FxHashSet};
use task_messenger_daemon::exit;
use task_messenger_protocol::{
    link::{Connected, LinkError},
    messages::{
        Assign, CancelLeases, GivenBack, Goodbye, OutcomesTaken, Ping, Pong, Reason, Resume, Resumed, Started,
        TakeBack, Window, from_manager::Message, template::Kind,
    },
    template::{self, LONGEST_TEMPLATE, MOST_NUMBERS},
    values::{Value, Values},
};
use tokio::time::{Duration, Instant};

use super::{
    Worker,
    link::{Event, Link, Session},
    told,
};
use crate::{
    measure::is_noticeable,
    runners::TaskName,
    tasks::{Held, Stage, Template, Unit, Work},
};

/// A link that held this long was a good one: the next attempts begin with short waits again.
const STABLE: Duration = Duration::from_secs(1);
/// When this much waits to be written, no more outcomes are added.
const UNSENT_MOST: usize = 4 << 20;
/// About as long as messages with outcomes get.
const MESSAGE_BYTES: u64 = 1 << 20;
/// Silence is not taken for less than this, whatever the manager says.
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);

impl Worker {
    pub(super) fn on_link(&mut self, event: Event) {
        match event {
            Event::Due => self.link = Link::Connecting((self.connector)()),
            Event::Connected(connected) => self.begin_session(*connected),
            Event::Failed(error) => self.on_failed(&error),
            Event::Message(message) => self.on_messages(message),
            Event::Flushed => (),
            Event::Lost(error) => self.on_lost(&error),
        }
    }

    fn begin_session(&mut self, connected: Connected) {
        let Connected { reader, writer, welcome, address } = connected;
        let limits = welcome.limits.unwrap_or_default();
        let or_any = |limit| if limit == 0 { u64::MAX } else { limit };
        self.outbox.begin_session(or_any(limits.outcome_bytes));
        self.turnaround.begin_session();
        let now = Instant::now();
        let silence = Duration::from_millis(u64::from(welcome.silence_milliseconds)).max(SHORTEST_SILENCE);
        let resume = self.resume(or_any(limits.message_bytes));
        let mut session = Session {
            reader,
            writer,
            address,
            manager: welcome.software,
            message_bytes: (or_any(limits.message_bytes) / 2).min(MESSAGE_BYTES),
            resumed: None,
            templates: FxHashMap::default(),
            announced: Vec::new(),
            window: resume.window,
            silence,
            next_ping: now + silence / 3,
            pings: 0,
        };
        let pushed = session.writer.push(resume);
        self.link = Link::Up(Box::new(session));
        if let Err(error) = pushed {
            self.on_lost(&error);
        }
    }

    /// Who this is and what it holds, in a message of at most `limit` bytes.
    fn resume(&mut self, limit: u64) -> Resume {
        let mut resume = Resume {
            incarnation: Bytes::copy_from_slice(&self.incarnation),
            slots: self.slots,
            accepts_commands: self.accepts_commands,
            skills: self.skills.names().map(str::to_owned).collect(),
            window: u32::MAX,
            name: self.name.clone(),
            ..Resume::default()
        };
        self.claims.fit(limit, resume.encoded_len());
        resume.window = self.window();
        let held = self.tasks.iter().map(|(lease, held)| (lease, held.name, false));
        let ended = self.outbox.leases().map(|(lease, name)| (lease, name, true));
        let most = self.claims.most();
        for (lease, name, ended) in held.chain(ended).take(most) {
            resume.leases.push(lease);
            resume.jobs.push(name.job);
            resume.indexes.push(name.index);
            resume.ended.push(ended);
        }
        let unclaimed = (self.tasks.iter().count() + self.outbox.count()).saturating_sub(most);
        if unclaimed > 0 {
            tracing::error!(
                unclaimed,
                most,
                "this manager takes shorter messages than the one before: so many outcomes can't be claimed, and their tasks \
                 run again"
            );
        }
        resume
    }

    /// An attempt to connect has failed.
    fn on_failed(&mut self, error: &LinkError) {
        if error.is_unauthenticated() {
            return self.on_revoked(&error.to_string());
        }
        let text = error.to_string();
        self.watching.connected(false, text.as_str());
        if self.trouble.as_ref() == Some(&text) {
            tracing::debug!(error = text, "still no connection to the manager");
        } else {
            tracing::warn!(error = text, "no connection to the manager; trying again until there is one");
            self.trouble = Some(text);
        }
        self.wait_for_next(error);
    }

    fn wait_for_next(&mut self, error: &LinkError) {
        let slow = match error {
            LinkError::Goodbye { reason, .. } if *reason == Reason::Clone => true,
            other => !other.retry_can_help(),
        };
        let wait = if slow { self.backoff.slow() } else { self.backoff.next() };
        self.link = Link::Waiting(Instant::now() + wait);
    }

    /// A link that was there is gone.
    fn on_lost(&mut self, error: &LinkError) {
        let Link::Up(session) = std::mem::replace(&mut self.link, Link::Off) else { return };
        self.watching.connected(false, error.to_string());
        if session.resumed.is_some_and(|resumed| resumed.elapsed() >= STABLE) {
            self.backoff.reset();
        }
        self.forget_told(session.announced);
        let held = self.tasks.iter().count();
        let reason = match error {
            LinkError::Goodbye { reason, .. } => *reason,
            _ => Reason::Unspecified,
        };
        match reason {
            Reason::Unauthenticated => return self.on_revoked(&error.to_string()),
            Reason::Restarting => {
                self.backoff.reset();
                tracing::info!(held, "the manager restarts; connecting again");
            }
            // The manager has not let it in.
            _ if session.resumed.is_none() => return self.on_failed(error),
            // Links break. If there is none again soon, that is worth a look, and told then.
            _ => tracing::info!(%error, held, "the connection to the manager is lost; connecting again"),
        }
        self.wait_for_next(error);
    }

    /// Begins another session at once. What is held goes over into it.
    pub(super) fn reconnect(&mut self) {
        match std::mem::replace(&mut self.link, Link::Off) {
            Link::Up(session) => {
                self.watching.connected(false, "connecting again: the configuration has changed");
                self.forget_told(session.announced);
                self.link = Link::Waiting(Instant::now());
            }
            // The next session begins with what holds now.
            Link::Waiting(_) | Link::Connecting(_) => self.link = Link::Waiting(Instant::now()),
            Link::Off => (),
        }
    }

    /// A session is over in which these units were announced.
    fn forget_told(&mut self, announced: Vec<Unit>) {
        for unit in announced.into_iter().rev() {
            self.tasks.put_back(unit.leases.into_iter());
            self.tasks.release(unit.slots);
        }
        // What is given back is not claimed in the next session: that says the same.
        self.given_back.clear();
    }

    fn on_revoked(&mut self, text: &str) {
        tracing::error!(
            text,
            "the manager lets this worker in no more: its tasks are ended. Join again with a new token"
        );
        self.link = Link::Off;
        self.begin_stop(exit::CONFIGURATION, Duration::ZERO);
    }

    /// Takes a message and all that came with it.
    fn on_messages(&mut self, message: Message) {
        let mut next = Some(message);
        while let Some(message) = next {
            let taken = self.on_message(message);
            let Link::Up(session) = &mut self.link else { return };
            next = match taken.and_then(|()| session.reader.try_next()) {
                Ok(next) => next,
                Err(error) => return self.on_lost(&error),
            };
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), LinkError> {
        let Link::Up(session) = &mut self.link else { return Ok(()) };
        match message {
            Message::Ping(Ping { number }) => session.writer.push_urgent(Pong { number })?,
            Message::Pong(_) => (),
            Message::Resumed(Resumed { dropped }) => self.on_resumed(&dropped)?,
            Message::DefineTemplate(define) => {
                if define.number as usize >= MOST_NUMBERS {
                    return Err(LinkError::Unexpected { expected: "a template's number below 1,024" });
                }
                let template = Rc::new(self.understand(&define.template));
                if let Link::Up(session) = &mut self.link {
                    session.templates.insert(define.number, template);
                }
            }
            Message::Assign(assign) => self.on_assign(assign)?,
            Message::OutcomesTaken(OutcomesTaken { number }) => {
                self.turnaround.acknowledged(number, Instant::now());
                let emptied = self.outbox.taken(number);
                self.on_outbox_file(emptied);
            }
            Message::CancelLeases(CancelLeases { leases }) => self.cancel_leases(&leases),
            Message::TakeBack(TakeBack { leases }) => self.take_back(&leases),
            Message::Goodbye(Goodbye { reason, text }) => {
                let reason = Reason::try_from(reason).unwrap_or_default();
                return Err(LinkError::Goodbye { reason, text });
            }
            Message::Refused(refused) => tracing::warn!(text = refused.text, "the manager refused something"),
            other => tracing::debug!(kind = kind_of(&other), "a message that is not for workers"),
        }
        Ok(())
    }

    fn on_resumed(&mut self, dropped: &[u64]) -> Result<(), LinkError> {
        if !dropped.is_empty() {
            tracing::info!(leases = dropped.len(), "the manager wants some tasks no more");
            let dropped: FxHashSet<u64> = dropped.iter().copied().collect();
            let emptied = self.outbox.forget(&dropped);
            self.on_outbox_file(emptied);
            self.drop_leases(&dropped);
        }
        // The manager may be another process by now, or not have heard it the first time.
        let started = self.tasks.iter().filter(|(_, held)| matches!(held.stage, Stage::Command(_) | Stage::Lane(_)));
        let leases: Vec<u64> = started.map(|(lease, _)| lease).collect();
        let Link::Up(session) = &mut self.link else { return Ok(()) };
        session.resumed = Some(Instant::now());
        self.watching.connected(true, format!("to {} ({})", session.address, session.manager));
        self.trouble = None;
        tracing::info!(address = session.address, manager = session.manager, "connected");
        if !leases.is_empty() {
            session.writer.push(Started { leases })?;
        }
        Ok(())
    }

    /// A template as it is run here.
    fn understand(&self, body: &Bytes) -> Template {
        let unfit = |text| Template { work: Work::Unfit(text), slots: 1, timeout: None, measure: Cell::default() };
        let template = match template::decode(body, LONGEST_TEMPLATE) {
            Ok(template) => template,
            Err(error) => return unfit(error.to_string()),
        };
        let (slots, timeout) = (template.slots.max(1), template.timeout());
        let work = match template.kind {
            Some(Kind::Command(_)) if !self.accepts_commands => {
                Work::Unfit("this worker runs no commands (kinds.command)".to_owned())
            }
            Some(Kind::Command(command)) => Work::Command(Arc::new(command)),
            Some(Kind::Skill(skill)) => match self.skills.get(&skill.name) {
                Some(skill) => Work::Skill(Arc::clone(skill)),
                None => Work::Unfit(format!("this worker has no skill named {:?}", skill.name)),
            },
            None => Work::Unfit("the task is of a kind that this worker doesn't know".to_owned()),
        };
        Template { work, slots, timeout, measure: Cell::default() }
    }

    fn on_assign(&mut self, assign: Assign) -> Result<(), LinkError> {
        let broken = LinkError::Unexpected { expected: "an `Assign` whose runs, templates and payloads fit together" };
        let Link::Up(session) = &mut self.link else { return Ok(()) };
        let count = assign.runs.iter().try_fold(0_u32, |sum, run| sum.checked_add(run.count));
        let Some(payloads) = count.and_then(|count| Values::check(assign.payloads, count, u64::MAX).ok()) else {
            return Err(broken);
        };
        self.watching.received(u64::from(count.unwrap_or_default()));
        let mut payloads = payloads.iter();
        let mut lease = assign.first_lease;
        let since = Instant::now();
        for run in assign.runs {
            let Some(template) = session.templates.get(&run.template) else { return Err(broken) };
            for offset in 0..run.count {
                let Some((_, Value::Inline(payload))) = payloads.next() else { return Err(broken) };
                let held = Held {
                    name: TaskName { job: run.job, index: run.first_index.wrapping_add(offset) },
                    attempt: run.attempt,
                    template: Rc::clone(template),
                    payload,
                    stage: Stage::Waiting,
                    since,
                    stopping: None,
                };
                told::received(lease, &held);
                self.tasks.add(lease, held);
                lease += 1;
            }
        }
        if self.stop.is_some() {
            self.given_back.extend(self.tasks.shed(0));
        }
        Ok(())
    }

    /// Tells the manager of the units that can start; they do once that has left.
    pub(super) fn announce(&mut self) {
        let (bytes, count) = (self.outbox_most, self.claims.outcomes());
        let (bytes, count) = if self.full { (bytes / 4 * 3, count / 4 * 3) } else { (bytes, count) };
        self.full = self.outbox.bytes() >= bytes || self.outbox.count() >= count;
        let Link::Up(session) = &mut self.link else { return };
        if session.resumed.is_none() || self.full || self.stop.is_some() || session.writer.buffered() > UNSENT_MOST {
            return;
        }
        let units: Vec<_> = std::iter::from_fn(|| self.tasks.next_unit()).collect();
        if units.is_empty() {
            return;
        }
        let leases = units.iter().flat_map(|unit| unit.leases.iter().copied()).collect();
        session.announced.extend(units);
        if let Err(error) = session.writer.push(Started { leases }) {
            self.on_lost(&error);
        }
    }

    /// Adds outcomes, what is given back, and the window to what is written.
    pub(super) fn report(&mut self) {
        let window = self.window();
        let Link::Up(session) = &mut self.link else { return };
        if session.resumed.is_none() {
            return;
        }
        let mut push = || {
            while session.writer.buffered() <= UNSENT_MOST
                && let Some(outcomes) = self.outbox.next_message(session.message_bytes)
            {
                self.turnaround.reported(outcomes.number, Instant::now());
                session.writer.push(outcomes)?;
            }
            // Before what is given back: else that could come again at once.
            if is_noticeable(session.window, window) || (session.window != window && !self.given_back.is_empty()) {
                session.window = window;
                session.writer.push(Window { slots: window })?;
            }
            if !self.given_back.is_empty() {
                self.watching.given_back(self.given_back.len());
                told::given_back(&self.given_back);
                session.writer.push(GivenBack { leases: std::mem::take(&mut self.given_back) })?;
            }
            Ok(())
        };
        if let Err(error) = push() {
            self.on_lost(&error);
        }
    }

    /// How many slots' worth of tasks to hold.
    pub(super) fn window(&self) -> u32 {
        if self.stop.is_some() || self.full {
            return 0;
        }
        let prefetch = self.measure.prefetch(self.slots, self.prefetch_most, self.turnaround.ahead());
        self.slots.saturating_add(prefetch).min(self.claims.window())
    }

    /// Pings the manager when it is time, and leaves one that is silent.
    pub(super) fn watch_link(&mut self, now: Instant) {
        let Link::Up(session) = &mut self.link else { return };
        if now >= session.reader.heard() + session.silence {
            let limit = session.silence;
            return self.on_lost(&LinkError::TimedOut { what: "a sign of life from the manager", limit });
        }
        if now >= session.next_ping {
            session.next_ping = now + session.silence / 3;
            session.pings += 1;
            if let Err(error) = session.writer.push_urgent(Ping { number: session.pings }) {
                self.on_lost(&error);
            }
        }
    }
}

/// A message's kind: what is in it is nobody's business.
fn kind_of(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split('(').next().unwrap_or_default().to_owned()
}
