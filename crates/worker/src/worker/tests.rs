//! Against a manager made for it, over memory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use prost::Message as _;
use task_messenger_daemon::{
    config::ConfigDuration,
    shutdown::{Cause, Trigger},
};
use task_messenger_protocol::{
    link::{self, FromManagerWriter, FromPeerReader, LinkError},
    messages::{
        Assign, Command, DefineTemplate, Goodbye, Limits, Outcome, Outcomes, OutcomesTaken, Reason, Resume, Resumed,
        Run, Template, Welcome, WorkerProof, command::Use, from_peer::Message, hello::Credential, outcome::Ending,
    },
    values::{Value, Values, ValuesBuilder},
};
use tokio::io::DuplexStream;

use super::*;
use crate::runners::skill::{Skill, SkillContext, SkillError};

const STORE: [u8; 16] = [3; 16];
const IDENTITY: Identity = Identity { store: STORE, worker: 9 };
const DEADLINE: Duration = Duration::from_secs(10);

/// A state directory, and what is needed to start workers in it.
struct Place {
    directory: tempfile::TempDir,
    config: WorkerConfig,
}

impl Place {
    fn new(slots: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = WorkerConfig {
            state_directory: directory.path().to_owned(),
            slots,
            name: "one".to_owned(),
            kill_after: ConfigDuration(Duration::from_millis(200)),
            ..WorkerConfig::default()
        };
        Self { directory, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a worker beside a test; its exit code.
    async fn work<F: Future<Output = ()>>(
        &self,
        skills: SkillRegistry,
        test: impl FnOnce(Manager, Trigger) -> F,
    ) -> u8 {
        let (shutdown, trigger) = Shutdown::manual();
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let connector: Connector = Box::new(move || {
            let (near, far) = tokio::io::duplex(1 << 20);
            let sent = arrivals.send(far);
            Box::pin(async move {
                sent.map_err(|_| LinkError::Closed)?;
                let proof = WorkerProof { worker: 9, secret: Bytes::from_static(&[1; 32]) };
                link::greet(Box::new(near), &link::hello("test", &STORE, Credential::Worker(proof))).await
            })
        });
        let worker = Worker::new(&self.config, IDENTITY, connector, skills, shutdown).unwrap();
        let manager = Manager { arriving, silence: Duration::from_secs(30) };
        let both = async { tokio::join!(worker.run(), test(manager, trigger)).0 };
        timeout(3 * DEADLINE, both).await.expect("the worker ends")
    }
}

/// The manager's listener.
struct Manager {
    arriving: mpsc::UnboundedReceiver<DuplexStream>,
    silence: Duration,
}

/// The manager's end of a link.
struct Peer {
    reader: FromPeerReader,
    writer: FromManagerWriter,
    resume: Resume,
    /// The last window that the worker told.
    window: u32,
}

impl Manager {
    /// Lets the worker in and hears what it holds.
    async fn accept(&mut self) -> Peer {
        let stream = timeout(DEADLINE, self.arriving.recv()).await.expect("the worker connects").unwrap();
        let arrival = link::accept_local(Box::new(stream), DEADLINE).await.unwrap();
        let limits =
            Limits { payload_bytes: 1 << 20, outcome_bytes: 1 << 20, message_bytes: 4 << 20, template_bytes: 1 << 20 };
        let welcome = Welcome {
            store: Bytes::from_static(&STORE),
            limits: Some(limits),
            silence_milliseconds: self.silence.as_millis() as u32,
            ..Welcome::default()
        };
        let (reader, writer) = arrival.welcome(welcome).await.unwrap();
        let mut peer = Peer { reader, writer, resume: Resume::default(), window: 0 };
        let Message::Resume(resume) = peer.next().await else { panic!("a worker resumes first") };
        peer.window = resume.window;
        peer.resume = resume;
        peer
    }

    /// The same, and what it holds is dropped as told.
    async fn resume(&mut self, dropped: &[u64]) -> Peer {
        let mut peer = self.accept().await;
        peer.say(Resumed { dropped: dropped.to_vec() }).await;
        peer
    }
}

impl Peer {
    async fn next(&mut self) -> Message {
        timeout(DEADLINE, self.reader.next()).await.expect("the worker says something").unwrap().expect("it is there")
    }

    async fn say(&mut self, message: impl Into<task_messenger_protocol::messages::from_manager::Message>) {
        self.writer.push(message).unwrap();
        self.writer.flush().await.unwrap();
    }

    async fn define(&mut self, number: u32, template: &Template) {
        self.say(DefineTemplate { number, template: template.to_bytes().unwrap() }).await;
    }

    /// Hands out tasks 7.0, 7.1 and so on.
    async fn assign(&mut self, template: u32, first_lease: u64, payloads: &[&str]) {
        let mut values = ValuesBuilder::default();
        for payload in payloads {
            values.push(payload.as_bytes());
        }
        let run = Run { template, job: 7, first_index: 0, count: payloads.len() as u32, attempt: 1 };
        self.say(Assign { first_lease, runs: vec![run], payloads: values.take().bytes().clone() }).await;
    }

    /// The next message that is no ping and no window.
    async fn next_word(&mut self) -> Message {
        loop {
            match self.next().await {
                Message::Window(window) => self.window = window.slots,
                Message::Ping(_) => (),
                other => return other,
            }
        }
    }

    async fn started(&mut self) -> Vec<u64> {
        match self.next_word().await {
            Message::Started(started) => started.leases,
            other => panic!("{other:?}"),
        }
    }

    async fn given_back(&mut self) -> Vec<u64> {
        match self.next_word().await {
            Message::GivenBack(given) => given.leases,
            other => panic!("{other:?}"),
        }
    }

    async fn outcomes(&mut self) -> (u64, Vec<(u64, u8, Outcome)>) {
        match self.next_word().await {
            Message::Outcomes(outcomes) => (outcomes.number, decode(outcomes)),
            other => panic!("{other:?}"),
        }
    }

    async fn take(&mut self, number: u64) {
        self.say(OutcomesTaken { number }).await;
    }

    async fn is_left(&mut self) {
        loop {
            match timeout(DEADLINE, self.reader.next()).await.expect("the worker leaves") {
                Ok(Some(_)) => (),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

fn decode(outcomes: Outcomes) -> Vec<(u64, u8, Outcome)> {
    let values = Values::check(outcomes.outcomes, outcomes.leases.len() as u32, 1 << 20).unwrap();
    let heads = outcomes.leases.into_iter().zip(outcomes.statuses);
    let outcomes = values.iter().map(|(_, value)| match value {
        Value::Inline(bytes) => Outcome::decode(bytes).unwrap(),
        Value::External { .. } => unreachable!("the values were checked"),
    });
    heads.zip(outcomes).map(|((lease, status), outcome)| (lease, status, outcome)).collect()
}

/// Says that it runs by making the file that its payload names, and runs until `-go` stands beside it.
fn held_up() -> Template {
    let script = "touch \"$0\"; while [ ! -e \"$0-go\" ]; do sleep 0.01; done; echo \"$TASK_MESSENGER_TASK\"";
    Template::of_command(Command {
        program: "sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned(), "{}".to_owned()],
        payload: Use::Argument.into(),
        ..Command::default()
    })
}

async fn exists(path: &Path) {
    let there = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, there).await.expect("the file is made");
}

fn go(path: &Path) {
    fs::write(format!("{}-go", path.display()), "").unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

struct Function(fn(&[u8], &SkillContext) -> Result<Vec<u8>, SkillError>);

impl Skill for Function {
    fn name(&self) -> &'static str {
        "function"
    }

    fn run(&self, input: &[u8], context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        self.0(input, context)
    }
}

fn skills(function: fn(&[u8], &SkillContext) -> Result<Vec<u8>, SkillError>) -> SkillRegistry {
    let mut registry = SkillRegistry::with_built_in();
    registry.register(Arc::new(Function(function)));
    registry
}

#[tokio::test]
async fn a_start_is_told_before_the_outcome_and_each_outcome_says_how_it_ended() {
    let place = Place::new(2);
    let exit = place
        .work(SkillRegistry::with_built_in(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            let resume = &peer.resume;
            assert_eq!(
                (resume.slots, resume.window, resume.accepts_commands, resume.name.as_str()),
                (2, 2, true, "one")
            );
            assert!(resume.skills.contains(&"dgemm".to_owned()) && resume.incarnation.len() == 16);
            peer.define(1, &Template::of_skill("string-reversal")).await;
            peer.define(2, &Template::of_skill("unheard-of")).await;
            peer.assign(1, 10, &[r#"{"text":"abc"}"#, "no JSON"]).await;
            let mut started = Vec::new();
            let mut ended = Vec::new();
            while ended.len() < 2 {
                match peer.next_word().await {
                    Message::Started(more) => started.extend(more.leases),
                    Message::Outcomes(outcomes) => ended.extend(decode(outcomes)),
                    other => panic!("{other:?}"),
                }
                assert!(ended.iter().all(|(lease, ..)| started.contains(lease)));
            }
            ended.sort_by_key(|(lease, ..)| *lease);
            let short: Vec<_> =
                ended.iter().map(|(lease, status, outcome)| (*lease, *status, outcome.ending())).collect();
            assert_eq!(short, [(10, 1, Ending::Exited), (11, 2, Ending::Error)]);
            assert_eq!(ended[0].2.output, r#"{"text":"cba"}"#);

            peer.assign(2, 20, &[""]).await;
            assert_eq!(peer.started().await, [20]);
            let (number, ended) = peer.outcomes().await;
            assert_eq!(ended[0].2.text, "this worker has no skill named \"unheard-of\"");
            peer.take(number).await;
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_lost_link_loses_nothing_and_what_the_manager_drops_is_stopped() {
    let place = Place::new(2);
    let files: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| place.path(name)).collect();
    let payloads: Vec<&str> = files.iter().map(|file| text(file)).collect();
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(5, &held_up()).await;
            peer.assign(5, 100, &payloads[..2]).await;
            assert_eq!(peer.started().await, [100, 101]);
            exists(&files[0]).await;
            exists(&files[1]).await;
            peer.assign(5, 102, &payloads[2..]).await;
            drop(peer);

            // While the manager is away, a task ends: its outcome goes into the file.
            let peer = manager.accept().await;
            assert_eq!(peer.resume.ended, [false; 3]);
            let mut held: Vec<_> = peer.resume.leases.iter().zip(&peer.resume.indexes).collect();
            held.sort();
            assert_eq!(held, [(&100, &0), (&101, &1), (&102, &0)]);
            assert_eq!(peer.resume.jobs, [7; 3]);
            go(&files[0]);
            exists(&place.path("outbox")).await;
            assert!(!files[2].exists(), "nothing starts until the manager has answered");
            drop(peer);

            let mut peer = manager.resume(&[101]).await;
            let ended = peer.resume.leases.iter().zip(&peer.resume.ended).find(|(lease, _)| **lease == 100);
            assert_eq!(ended, Some((&100, &true)));
            let (mut started, mut ended) = (Vec::new(), Vec::new());
            while started.is_empty() || ended.is_empty() {
                match peer.next_word().await {
                    Message::Started(more) => started.extend(more.leases),
                    Message::Outcomes(outcomes) => ended.push((outcomes.number, decode(outcomes))),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(started, [102], "the first one's slot is free, and the second is stopped");
            assert_eq!((ended[0].0, ended[0].1[0].0, &ended[0].1[0].2.output[..]), (1, 100, &b"7.0\n"[..]));
            exists(&files[2]).await;
            drop(peer);

            // It was not taken: it comes again, under the first number of this session.
            let mut peer = manager.resume(&[]).await;
            assert!(!peer.resume.leases.contains(&101), "what was dropped is forgotten");
            let mut words = (peer.next_word().await, peer.next_word().await);
            if matches!(words.0, Message::Outcomes(_)) {
                words = (words.1, words.0);
            }
            let (Message::Started(_), Message::Outcomes(outcomes)) = words else { panic!("{words:?}") };
            assert_eq!((outcomes.number, outcomes.leases), (1, vec![100]));
            peer.take(1).await;
            go(&files[2]);
            let (number, ended) = peer.outcomes().await;
            assert_eq!((number, ended[0].0, ended[0].1), (2, 102, 1));
            trigger.request(Cause::Terminate);
            // The worker leaves without the last word having been taken; it keeps it.
            drop(peer);
        })
        .await;
    assert_eq!(exit, 0);

    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            assert_eq!((&peer.resume.leases[..], &peer.resume.ended[..]), (&[102][..], &[true][..]));
            let (number, ended) = peer.outcomes().await;
            assert_eq!(ended[0].2.output, "7.0\n");
            peer.take(number).await;
            trigger.request(Cause::Terminate);
            peer.is_left().await;
        })
        .await;
    assert_eq!(exit, 0);
    assert_eq!(fs::metadata(place.path("outbox")).unwrap().len(), 0);
}

#[tokio::test]
async fn the_window_follows_how_long_tasks_take() {
    static SLOW: AtomicBool = AtomicBool::new(false);
    let place = Place::new(2);
    let work = skills(|_, context| {
        while SLOW.load(Ordering::Relaxed) && !context.expired() {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    });
    let exit = place
        .work(work, async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            let mut lease = 1;
            while peer.window < 1_000 {
                peer.assign(1, lease, &[""; 50]).await;
                lease += 50;
                let mut left = 50;
                while left > 0 {
                    if let Message::Outcomes(outcomes) = peer.next_word().await {
                        left -= outcomes.leases.len();
                        peer.take(outcomes.number).await;
                    }
                }
                assert!(lease < 100_000, "the window stays at {}", peer.window);
            }
            // Now they take for ever: the worker asks for no more than it runs, and gives back what waits.
            SLOW.store(true, Ordering::Relaxed);
            peer.assign(1, lease, &[""; 500]).await;
            let mut given_back = Vec::new();
            while peer.window > 2 || given_back.len() < 498 {
                match peer.next().await {
                    Message::Window(window) => peer.window = window.slots,
                    Message::GivenBack(given) => given_back.extend(given.leases),
                    Message::Started(_) => (),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((peer.window, given_back.len()), (2, 498));
            SLOW.store(false, Ordering::Relaxed);
            let mut ended = 0;
            while ended < 2 {
                if let Message::Outcomes(outcomes) = peer.next_word().await {
                    ended += outcomes.leases.len();
                    peer.take(outcomes.number).await;
                }
            }
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_stop_gives_back_what_waits_and_lets_finish_what_runs() {
    let place = Place::new(1);
    let files: Vec<PathBuf> = ["a", "b"].iter().map(|name| place.path(name)).collect();
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &held_up()).await;
            peer.assign(1, 1, &[text(&files[0]), text(&files[1])]).await;
            assert_eq!(peer.started().await, [1]);
            exists(&files[0]).await;
            trigger.request(Cause::Terminate);
            assert_eq!(peer.given_back().await, [2]);
            peer.assign(1, 3, &[""]).await;
            assert_eq!(peer.given_back().await, [3], "nothing new is taken");
            assert_eq!(peer.window, 0);
            go(&files[0]);
            let (number, ended) = peer.outcomes().await;
            assert_eq!((ended[0].0, ended[0].1), (1, 1));
            peer.take(number).await;
            peer.is_left().await;
        })
        .await;
    assert_eq!(exit, 0);
    assert!(!files[1].exists());
}

#[tokio::test]
async fn what_outlasts_the_grace_is_ended_and_given_back() {
    let mut place = Place::new(2);
    place.config.shutdown.grace = ConfigDuration(Duration::from_millis(100));
    let file = place.path("a");
    let work = skills(|_, context| {
        while !context.expired() {
            std::thread::yield_now();
        }
        Err(SkillError::new("stopped"))
    });
    let exit = place
        .work(work, async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &held_up()).await;
            peer.define(2, &Template::of_skill("function")).await;
            peer.assign(1, 1, &[text(&file)]).await;
            peer.assign(2, 2, &[""]).await;
            exists(&file).await;
            trigger.request(Cause::Terminate);
            let mut given_back = Vec::new();
            while given_back.len() < 2 {
                match peer.next_word().await {
                    Message::GivenBack(given) => given_back.extend(given.leases),
                    Message::Started(_) => (),
                    other => panic!("{other:?}"),
                }
            }
            given_back.sort_unstable();
            assert_eq!(given_back, [1, 2]);
            peer.is_left().await;
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_revoked_worker_ends_its_tasks_and_itself() {
    let place = Place::new(1);
    let process = place.path("process");
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, _trigger| {
            let mut peer = manager.resume(&[]).await;
            let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", process.display());
            let arguments = vec!["-c".to_owned(), script];
            let command = Command { program: "sh".to_owned(), arguments, ..Command::default() };
            peer.define(1, &Template::of_command(command)).await;
            peer.assign(1, 1, &[""]).await;
            exists(&process).await;
            peer.say(Goodbye { reason: Reason::Unauthenticated.into(), text: "revoked".to_owned() }).await;
        })
        .await;
    assert_eq!(exit, 78);
    let process = fs::read_to_string(process).unwrap();
    assert!(!Path::new(&format!("/proc/{}", process.trim())).exists());
}

#[tokio::test]
async fn a_skill_that_cannot_be_stopped_fails_and_has_the_worker_started_again() {
    static RELEASE: AtomicBool = AtomicBool::new(false);
    let place = Place::new(1);
    let work = skills(|_, _| {
        while !RELEASE.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    });
    let exit = place
        .work(work, async |mut manager, _trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template { timeout_milliseconds: 50, ..Template::of_skill("function") }).await;
            peer.assign(1, 1, &["", ""]).await;
            assert_eq!(peer.started().await, [1]);
            let (mut given_back, mut outcome) = (Vec::new(), None);
            while given_back.is_empty() || outcome.is_none() {
                match peer.next_word().await {
                    Message::GivenBack(given) => given_back.extend(given.leases),
                    Message::Outcomes(outcomes) => {
                        peer.take(outcomes.number).await;
                        outcome = decode(outcomes).pop();
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(given_back, [2]);
            let (lease, status, outcome) = outcome.unwrap();
            assert_eq!((lease, status, outcome.ending()), (1, 2, Ending::TimedOut));
        })
        .await;
    RELEASE.store(true, Ordering::Relaxed);
    assert_eq!(exit, 1);
}

#[tokio::test]
async fn a_silent_manager_is_left_and_one_that_answers_is_not() {
    let place = Place::new(1);
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            manager.silence = Duration::from_millis(300);
            let mut peer = manager.resume(&[]).await;
            let mut pings = 0;
            while pings < 6 {
                if let Message::Ping(ping) = peer.next().await {
                    pings += 1;
                    peer.say(task_messenger_protocol::messages::Pong { number: ping.number }).await;
                }
            }
            peer.is_left().await;
            let mut peer = manager.resume(&[]).await;
            peer.say(Goodbye { reason: Reason::Restarting.into(), text: String::new() }).await;
            manager.resume(&[]).await;
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}
