//! What clients want done: fixed in advance, so that whatever comes back can be checked.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use task_messenger_core::{
    digest,
    record::{Idempotency, JobKey},
    template::{Kind, RetryPolicy, Template},
    values::{Values, ValuesBuilder},
};

use crate::random::Random;

/// The skills that there are; worker 0 has all of them.
pub(crate) const SKILLS: [&str; 3] = ["echo", "sum", "rare"];

/// The most slots that a task takes.
pub(crate) const MOST_SLOTS: u64 = 8;

/// How the payloads of tasks begin that kill their worker.
const ALWAYS: &[u8] = b"always kills ";
const SOMETIMES: &[u8] = b"sometimes kills ";

/// What scripts have in a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ingredients {
    /// Values that are too large for the journal.
    pub(crate) large: bool,
    /// Times of an hour.
    pub(crate) hours: bool,
    /// So many tasks in a hundred kill their worker, but a few of a job at most.
    pub(crate) killers: u64,
}

/// A job as its client wants it.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) key: JobKey,
    pub(crate) idempotency: Option<Idempotency>,
    /// Whether another client submits something else under the same idempotency key.
    pub(crate) has_rival: bool,
    pub(crate) tasks: Vec<Wanted>,
    /// For how long its tasks are to wait first.
    pub(crate) delay: Option<Duration>,
    /// In what time they are to start.
    pub(crate) deadline: Option<Duration>,
    /// Whether the job is closed by a submit of its own, some time after its last task.
    pub(crate) closes_late: bool,
    /// How many tasks go into one submit.
    pub(crate) batch: u32,
    /// The digest after so many tasks.
    digests: Vec<u32>,
}

/// A task as its client wants it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) template: Arc<Template>,
    pub(crate) payload: Bytes,
}

/// How a task behaves: what a worker reads from its template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    pub(crate) slots: u32,
    /// In a hundred attempts, so many fail.
    pub(crate) failing: u64,
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
}

/// A template whose body says everything about it, so that equal bodies are equal templates.
pub(crate) fn template(random: &mut Random, slowest: u64) -> Arc<Template> {
    let kind = if random.percent(40) { 0 } else { 1 + random.below(SKILLS.len() as u64) as u8 };
    let priority = if random.percent(60) { 0 } else { random.below(5) as u8 };
    let slots = if random.percent(75) { 1 } else { random.between(1, MOST_SLOTS) as u8 };
    let attempts = random.between(1, 4) as u8;
    let failing = if random.percent(40) { 0 } else { random.pick(&[10, 30, 60, 100]) };
    let pace = random.below(slowest) as u8;
    let backoff = random.below(3) as u8;
    let body = [kind, priority, slots, attempts, failing, pace, backoff];
    let backoff_first = Duration::from_millis([10, 200, 1_000][backoff as usize]);
    Arc::new(Template {
        kind: if kind == 0 { Kind::Command } else { Kind::Skill(SKILLS[kind as usize - 1].to_owned()) },
        priority: i32::from(priority) - 2,
        slots: u32::from(slots),
        retry: RetryPolicy { max_attempts: u32::from(attempts), backoff_first, backoff_longest: backoff_first * 4 },
        body: Bytes::copy_from_slice(&body),
    })
}

/// In a hundred attempts of the task with this payload, so many kill their worker.
pub(crate) fn killing(payload: &[u8]) -> u64 {
    if payload.starts_with(ALWAYS) {
        100
    } else if payload.starts_with(SOMETIMES) {
        30
    } else {
        0
    }
}

/// How tasks of the template with this body behave.
pub(crate) fn behaviour(body: &[u8]) -> Behaviour {
    let at = |index: usize| body.get(index).copied().unwrap_or_default();
    let (shortest, longest) = match at(5) {
        0 => (1, 20),
        1 => (5, 300),
        _ => (50, 4_000),
    };
    Behaviour {
        slots: u32::from(at(2)).max(1),
        failing: u64::from(at(4)),
        shortest: Duration::from_millis(shortest),
        longest: Duration::from_millis(longest),
    }
}

impl Script {
    pub(crate) fn new(random: &mut Random, size: u64, ingredients: Ingredients) -> Self {
        let key = JobKey(random.bytes());
        let own = random.next();
        let templates: Vec<_> =
            (0..random.between(1, 3)).map(|_| template(random, if size > 400 { 2 } else { 3 })).collect();
        let at_once = random.percent(25);
        let batch = if at_once { size as u32 } else { random.pick(&[1, 7, 7, 1_000]) };
        let one_template = at_once || random.percent(70);
        let longest = if size > 400 { 16 } else { 60 };
        let mut tasks = Vec::new();
        let mut killers = 0;
        let mut template = templates[0].clone();
        for index in 0..size {
            // A submit has one template, so it changes between submits only.
            if !one_template && index % u64::from(batch) == 0 {
                template = templates[random.below(templates.len() as u64) as usize].clone();
            }
            let mut payload = Vec::new();
            if killers < 3 && random.percent(ingredients.killers) {
                killers += 1;
                payload.extend_from_slice(random.pick(&[ALWAYS, SOMETIMES]));
            }
            payload.extend_from_slice(format!("{own:x}.{index}").as_bytes());
            payload.resize(payload.len() + random.below(longest) as usize, b'.');
            if ingredients.large && random.percent(5) {
                payload.resize(digest::INLINE_LIMIT as usize + 1 + random.below(1_000) as usize, b'#');
            }
            tasks.push(Wanted { template: template.clone(), payload: payload.into() });
        }
        let idempotency =
            (at_once && random.percent(70)).then(|| Idempotency { key: random.bytes(), content: random.bytes() });
        let closes_late = !at_once && random.percent(30);
        let time = |random: &mut Random| {
            let milliseconds = random.pick(&[3_600_000, 20, 300, 2_000, 8_000]);
            (random.percent(15) && (ingredients.hours || milliseconds < 3_600_000))
                .then(|| Duration::from_millis(milliseconds))
        };
        let (delay, deadline) = (time(random), time(random));
        let mut script = Self {
            closes_late,
            delay,
            deadline,
            key,
            idempotency,
            has_rival: false,
            tasks,
            batch: batch.max(1),
            digests: vec![0],
        };
        script.digests = script.digests();
        script
    }

    /// The same work under another key of the client's own, as a client that lost its memory submits it.
    pub(crate) fn again(&self, random: &mut Random) -> Self {
        Self { key: JobKey(random.bytes()), ..self.clone() }
    }

    /// Other work under the same idempotency key, which must be refused, unless it comes first.
    pub(crate) fn rival(&mut self, random: &mut Random) -> Option<Self> {
        let Idempotency { key, content } = self.idempotency?;
        self.has_rival = true;
        let mut rival = Self::new(random, u64::from(self.size()), Ingredients::default());
        rival.batch = rival.size();
        rival.tasks.iter_mut().for_each(|task| task.template = self.tasks[0].template.clone());
        rival.digests = rival.digests();
        let other = content.map(|byte| !byte);
        Some(Self {
            idempotency: Some(Idempotency { key, content: other }),
            has_rival: true,
            closes_late: false,
            ..rival
        })
    }

    pub(crate) fn size(&self) -> u32 {
        self.tasks.len() as u32
    }

    /// What the manager says of the job's first tasks.
    pub(crate) fn digest(&self, tasks: u32) -> Option<u32> {
        self.digests.get(tasks as usize).copied()
    }

    /// The payloads from `first` on, up to the end of the submit that they belong to.
    pub(crate) fn batch_at(&self, first: u32) -> (Arc<Template>, Values) {
        let end = ((first / self.batch + 1) * self.batch).min(self.size());
        let mut builder = ValuesBuilder::default();
        for task in &self.tasks[first as usize..end as usize] {
            builder.push(&task.payload);
        }
        // Behind the last task there is nothing to send, but a submit has a template all the same.
        let at = first.min(self.size() - 1) as usize;
        (self.tasks[at].template.clone(), builder.take())
    }

    /// How long its tasks may take if they have half of worker 0 to themselves.
    pub(crate) fn longest_work(&self) -> Duration {
        let of = |task: &Wanted| {
            let Behaviour { slots, longest, .. } = behaviour(&task.template.body);
            let retry = task.template.retry;
            longest * slots * retry.max_attempts / (MOST_SLOTS as u32 / 2)
        };
        // All of it may run three times, and what kills has its worker start so often.
        let killers = self.tasks.iter().filter(|task| killing(&task.payload) > 0).count() as u32;
        (self.tasks.iter().map(of).sum::<Duration>() + killers * Duration::from_secs(30)) * 3 + Duration::from_secs(30)
    }

    fn digests(&self) -> Vec<u32> {
        let mut digests = vec![0];
        let mut last: Option<&Bytes> = None;
        let mut digest = 0;
        for task in &self.tasks {
            if last != Some(&task.template.body) {
                digest = crc32c::crc32c_append(digest, &task.template.body);
                last = Some(&task.template.body);
            }
            let mut builder = ValuesBuilder::default();
            builder.push(&task.payload);
            digest = digest::append(digest, &builder.take());
            digests.push(digest);
        }
        digests
    }
}
