//! A manager of a few lines, whose links are cut where the test says.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use task_messenger_client::{ClientOptions, Connector, Outcome, TaskState};
use task_messenger_protocol::{
    digest,
    link::{FromManagerWriter, FromPeerReader, Stream, accept_local},
    messages::{
        self, Accepted, Answer, Code, Counts, FollowEnded, JobSummary, Limits, Reason, Refused, Results, Submit,
        Welcome, answer, follow, from_peer::Message, hello::Credential,
    },
    values::{Value, Values, ValuesBuilder},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A sequence of numbers that is the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A job as it was received.
#[derive(Default)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) tasks: Vec<(u32, Vec<u8>)>,
    pub(crate) closed: bool,
    template: Option<bytes::Bytes>,
    digest: u32,
}

/// What the manager holds and how it behaves.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) jobs: BTreeMap<Vec<u8>, Job>,
    pub(crate) bodies: Vec<bytes::Bytes>,
    /// How many submits are still to be refused for want of room.
    pub(crate) full: u32,
    /// More tasks than this in one submit have no room.
    pub(crate) room: Option<u32>,
    pub(crate) refuse_everybody: bool,
    pub(crate) sessions: u32,
    pub(crate) tokens_made: u32,
    /// Bytes of every outcome beside the echoed payload.
    pub(crate) padding: usize,
    pub(crate) results_sent: usize,
    pub(crate) largest_batch: u32,
    /// Each next link is cut after so many bytes.
    pub(crate) cut_after: Option<Numbers>,
}

/// A running manager.
#[derive(Clone, Default)]
pub(crate) struct FakeManager(Arc<Mutex<World>>);

impl FakeManager {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(crate) fn options() -> ClientOptions {
        ClientOptions {
            backoff_first: Duration::from_millis(1),
            backoff_longest: Duration::from_millis(2),
            ..ClientOptions::default()
        }
    }

    /// A way to it: every attempt is a new link.
    pub(crate) fn connector(&self) -> Connector {
        let manager = self.clone();
        Connector::of_streams(Credential::Local(messages::LocalProof {}), &Self::options(), move || {
            let manager = manager.clone();
            async move {
                let (near, far) = tokio::io::duplex(64 * 1024);
                let budget = manager.world().cut_after.as_mut().map_or(u64::MAX, |numbers| {
                    let scale = [200, 2_000, 10_000, 60_000][numbers.below(4) as usize];
                    1 + numbers.below(scale)
                });
                tokio::spawn(async move {
                    let stream: Stream = Box::new(CutStream { stream: far, budget });
                    // How a link ends is not this side's concern.
                    let _ = manager.serve(stream).await;
                });
                Ok(Box::new(near) as Stream)
            }
        })
    }

    async fn serve(self, stream: Stream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let arrival = accept_local(stream, Duration::from_secs(5)).await?;
        self.world().sessions += 1;
        if self.world().refuse_everybody {
            return Ok(arrival.refuse(Reason::Unauthenticated, "the token was revoked").await?);
        }
        let limits =
            Limits { payload_bytes: 1 << 20, outcome_bytes: 4 << 20, message_bytes: 16 << 20, template_bytes: 1 << 20 };
        let welcome = Welcome {
            store: vec![7; 16].into(),
            limits: Some(limits),
            silence_milliseconds: 30_000,
            ..Welcome::default()
        };
        let (reader, writer) = arrival.welcome(welcome).await?;
        Session { manager: self, reader, writer, templates: HashMap::new(), follows: HashMap::new() }.run().await
    }
}

struct Follow {
    key: Vec<u8>,
    told: HashSet<u32>,
    credit: u32,
    only_end: bool,
    only_index: Option<u32>,
}

struct Session {
    manager: FakeManager,
    reader: FromPeerReader,
    writer: FromManagerWriter,
    templates: HashMap<u32, bytes::Bytes>,
    follows: HashMap<u64, Follow>,
}

impl Session {
    async fn run(mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        while let Some(message) = self.reader.next().await? {
            match message {
                Message::DefineTemplate(define) => drop(self.templates.insert(define.number, define.template)),
                Message::Submit(submit) => self.submit(submit)?,
                Message::Follow(follow) => self.follow(&follow)?,
                Message::FollowCredit(credit) => {
                    if let Some(follow) = self.follows.get_mut(&credit.request) {
                        follow.credit += credit.more;
                    }
                }
                Message::Unfollow(unfollow) => drop(self.follows.remove(&unfollow.request)),
                Message::Query(query) => {
                    let status = messages::Status { software: "fake".to_owned(), ..Default::default() };
                    let answer = Some(answer::Answer::Status(Box::new(status)));
                    self.writer.push(Answer { request: query.request, answer })?;
                }
                Message::CreateToken(_) => {
                    self.manager.world().tokens_made += 1;
                    // The link breaks before the answer.
                    return Ok(());
                }
                _ => {}
            }
            self.tell_followers()?;
            self.writer.flush().await?;
        }
        Ok(())
    }

    fn submit(&mut self, submit: Submit) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let manager = self.manager.clone();
        let mut world = manager.world();
        let refuse = |code: Code, text: &str| Refused {
            request: submit.request,
            code: code.into(),
            text: text.to_owned(),
            retry_milliseconds: 5,
        };
        if world.full > 0 {
            world.full -= 1;
            return Ok(self.writer.push(refuse(Code::ResourceExhaustedNow, "full"))?);
        }
        if world.room.is_some_and(|room| submit.count > room) {
            return Ok(self.writer.push(refuse(Code::ResourceExhaustedNow, "too many at once"))?);
        }
        let body = self.templates.get(&submit.template).ok_or("a template that was not defined")?.clone();
        world.largest_batch = world.largest_batch.max(submit.count);
        let known = world.bodies.iter().position(|known| *known == body);
        let template = known.unwrap_or_else(|| {
            world.bodies.push(body.clone());
            world.bodies.len() - 1
        }) as u32;
        let number = world.jobs.len() as u64 + 1;
        let job = world.jobs.entry(submit.job_key.to_vec()).or_default();
        if job.number == 0 {
            job.number = number;
            job.name = submit.options.unwrap_or_default().name;
        }
        let next = job.tasks.len() as u32;
        let Some(skip) = next.checked_sub(submit.first_index) else {
            return Ok(self.writer.push(refuse(Code::FailedPrecondition, "tasks are missing"))?);
        };
        let payloads = Values::check(submit.payloads, submit.count, 1 << 20)?.skip(skip);
        if payloads.count() > 0 {
            if job.closed {
                return Ok(self.writer.push(refuse(Code::FailedPrecondition, "closed"))?);
            }
            if job.template.as_ref() != Some(&body) {
                job.digest = crc32c::crc32c_append(job.digest, &body);
                job.template = Some(body);
            }
            job.digest = digest::append(job.digest, &payloads);
            for (_, value) in payloads.iter() {
                let Value::Inline(bytes) = value else { return Err("an external value".into()) };
                job.tasks.push((template, bytes.to_vec()));
            }
        }
        job.closed |= submit.last;
        let accepted = Accepted {
            request: submit.request,
            job: job.number,
            next_index: job.tasks.len() as u32,
            digest: job.digest,
            closed: job.closed,
        };
        Ok(self.writer.push(accepted)?)
    }

    fn follow(&mut self, follow: &messages::Follow) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let manager = self.manager.clone();
        let world = manager.world();
        let found = world.jobs.iter().find(|(key, job)| match &follow.target {
            Some(follow::Target::Job(number)) => job.number == *number,
            Some(follow::Target::JobKey(wanted)) => wanted == *key,
            None => false,
        });
        let Some((key, _)) = found else {
            let text = "there is no such job".to_owned();
            let refused = Refused { request: follow.request, code: Code::NotFound.into(), text, retry_milliseconds: 0 };
            return Ok(self.writer.push(refused)?);
        };
        let told = follow.skip.iter().flat_map(|range| range.first..range.first + range.count).collect();
        let state = Follow {
            key: key.clone(),
            told,
            credit: follow.credit,
            only_end: follow.only_end,
            only_index: follow.only_index_plus_one.checked_sub(1),
        };
        self.follows.insert(follow.request, state);
        Ok(())
    }

    /// Every task has succeeded as soon as it is there; results come in batches of seven, from the newest to the oldest.
    fn tell_followers(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let manager = self.manager.clone();
        let mut world = manager.world();
        let mut over = Vec::new();
        for (request, follow) in &mut self.follows {
            let padding = world.padding;
            let Some(job) = world.jobs.get(&follow.key) else { continue };
            let wanted: Vec<u32> = (0..job.tasks.len() as u32)
                .rev()
                .filter(|index| !follow.only_end && !follow.told.contains(index))
                .filter(|index| follow.only_index.is_none_or(|only| only == *index))
                .take(follow.credit as usize)
                .collect();
            for indexes in wanted.chunks(7) {
                let mut outcomes = ValuesBuilder::default();
                for index in indexes {
                    let mut output = job.tasks[*index as usize].1.clone();
                    output.resize(output.len() + padding, b'.');
                    let outcome = Outcome { output: output.into(), ..Outcome::default() };
                    outcomes.push(&prost::Message::encode_to_vec(&outcome));
                }
                self.writer.push(Results {
                    request: *request,
                    job: job.number,
                    indexes: indexes.to_vec(),
                    states: vec![TaskState::Succeeded as u8; indexes.len()].into(),
                    attempts: vec![1; indexes.len()],
                    outcomes: outcomes.take().bytes().clone(),
                })?;
                follow.told.extend(indexes);
                follow.credit -= indexes.len() as u32;
            }
            let tasks = job.tasks.len() as u32;
            let all_told = follow.only_end || follow.told.len() as u32 == tasks;
            if job.closed && all_told || follow.only_index.is_some_and(|only| follow.told.contains(&only)) {
                let counts = Counts { succeeded: tasks.into(), ..Counts::default() };
                let (job, name) = (job.number, job.name.clone());
                let summary =
                    JobSummary { job, name, tasks, closed: true, counts: Some(counts), ..JobSummary::default() };
                self.writer.push(FollowEnded { request: *request, job: Some(summary), acknowledge: false })?;
                over.push(*request);
            }
            world.results_sent += wanted.len();
        }
        for request in over {
            self.follows.remove(&request);
        }
        Ok(())
    }
}

/// A stream that breaks after so many bytes in both directions together.
struct CutStream<S> {
    stream: S,
    budget: u64,
}

impl<S> CutStream<S> {
    fn spend(&mut self, bytes: usize) -> std::io::Result<()> {
        if self.budget == u64::MAX {
            return Ok(());
        }
        match self.budget.checked_sub(bytes as u64) {
            Some(rest) if rest > 0 => {
                self.budget = rest;
                Ok(())
            }
            _ => {
                self.budget = 0;
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.spend(buffer.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        // The last write gets through in part, so that frames break in the middle.
        let most = usize::try_from(self.budget).unwrap_or(usize::MAX).min(bytes.len());
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[..most]))?;
        match self.spend(written) {
            Ok(()) => Poll::Ready(Ok(written)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
