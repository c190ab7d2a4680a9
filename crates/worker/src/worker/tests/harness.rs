//! A manager made for the tests, which speaks with workers over memory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use task_messenger_daemon::{
    config::ConfigDuration,
    shutdown::{Shutdown, Trigger},
};
use task_messenger_protocol::{
    link::{self, FromManagerWriter, FromPeerReader, LinkError},
    messages::{
        Assign, Command, DefineTemplate, Limits, Outcome, Outcomes, OutcomesTaken, Resume, Resumed, Run, Template,
        Welcome, WorkerProof, command::Use, from_peer::Message, hello::Credential,
    },
    values::{Value, Values, ValuesBuilder},
};
use tokio::{io::DuplexStream, sync::mpsc, time::timeout};

use crate::{
    config::WorkerConfig,
    runners::skill::{Skill, SkillContext, SkillError, SkillRegistry},
    worker::{Connector, Identity, Watch, Worker},
};

pub(super) const STORE: [u8; 16] = [3; 16];
pub(super) const IDENTITY: Identity = Identity { store: STORE, worker: 9 };
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A state directory, and what is needed to start workers in it.
pub(super) struct Place {
    directory: tempfile::TempDir,
    pub(super) config: WorkerConfig,
    /// How much a link takes that nobody reads.
    pub(super) link_bytes: usize,
    /// How long the worker may run.
    pub(super) patience: Duration,
    /// How long a task may wait. So long that none is given back for it, however slow the machine is, unless a test is about
    /// that.
    pub(super) waiting_patience: Duration,
}

impl Place {
    pub(super) fn new(slots: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = WorkerConfig {
            state_directory: directory.path().to_owned(),
            slots,
            name: "one".to_owned(),
            kill_after: ConfigDuration(Duration::from_millis(200)),
            ..WorkerConfig::default()
        };
        Self {
            directory,
            config,
            link_bytes: 1 << 20,
            patience: 3 * DEADLINE,
            waiting_patience: Duration::from_hours(1),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command that says that it runs by making the file that its payload names, and runs until `-go` stands beside it.
    pub(super) fn held_up(&self) -> Template {
        let (program, arguments) = if cfg!(windows) {
            let script = "@echo off\r\ntype nul >\"%~1\"\r\n:wait\r\nif not exist \"%~1-go\" goto wait\r\n\
                          echo %TASK_MESSENGER_TASK%\r\n";
            let path = self.path("held-up.cmd");
            fs::write(&path, script).unwrap();
            (text(&path).to_owned(), vec!["{}".to_owned()])
        } else {
            let script = "touch \"$0\"; while [ ! -e \"$0-go\" ]; do sleep 0.01; done; echo \"$TASK_MESSENGER_TASK\"";
            ("sh".to_owned(), vec!["-c".to_owned(), script.to_owned(), "{}".to_owned()])
        };
        Template::of_command(Command { program, arguments, payload: Use::Argument.into(), ..Command::default() })
    }

    /// Runs a worker beside a test; its exit code.
    pub(super) async fn work<F: Future<Output = ()>>(
        &self,
        skills: SkillRegistry,
        test: impl FnOnce(Manager, Trigger) -> F,
    ) -> u8 {
        let (shutdown, trigger) = Shutdown::manual();
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let link_bytes = self.link_bytes;
        let connector: Connector = Box::new(move || {
            let (near, far) = tokio::io::duplex(link_bytes);
            let sent = arrivals.send(far);
            Box::pin(async move {
                sent.map_err(|_| LinkError::Closed)?;
                let proof = WorkerProof { worker: 9, secret: Bytes::from_static(&[1; 32]) };
                link::greet(Box::new(near), &link::hello("test", &STORE, Credential::Worker(proof))).await
            })
        });
        let mut worker =
            Worker::new(&self.config, IDENTITY, connector, skills, shutdown, Watch::start().unwrap()).unwrap();
        worker.waiting_patience = self.waiting_patience;
        let manager = Manager { arriving, silence: Duration::from_secs(30), message_bytes: 4 << 20 };
        let both = async { tokio::join!(worker.run(), test(manager, trigger)).0 };
        timeout(self.patience, both).await.expect("the worker ends")
    }
}

/// The manager's listener.
pub(super) struct Manager {
    arriving: mpsc::UnboundedReceiver<DuplexStream>,
    pub(super) silence: Duration,
    pub(super) message_bytes: u64,
}

/// The manager's end of a link.
pub(super) struct Peer {
    pub(super) reader: FromPeerReader,
    pub(super) writer: FromManagerWriter,
    pub(super) resume: Resume,
    /// The last window that the worker told.
    pub(super) window: u32,
}

impl Manager {
    /// The worker's next attempt to connect, which comes to nothing.
    pub(super) async fn refuse(&mut self) {
        drop(self.arriving.recv().await.unwrap());
    }

    /// Lets the worker in and hears what it holds.
    pub(super) async fn accept(&mut self) -> Peer {
        // Longer than any wait between attempts.
        let stream = timeout(2 * DEADLINE, self.arriving.recv()).await.expect("the worker connects").unwrap();
        let arrival = link::accept_local(Box::new(stream), DEADLINE).await.unwrap();
        let message_bytes = self.message_bytes;
        let limits = Limits { payload_bytes: 1 << 20, outcome_bytes: 1 << 20, message_bytes, template_bytes: 1 << 20 };
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
    pub(super) async fn resume(&mut self, dropped: &[u64]) -> Peer {
        let mut peer = self.accept().await;
        peer.say(Resumed { dropped: dropped.to_vec() }).await;
        peer
    }
}

impl Peer {
    pub(super) async fn next(&mut self) -> Message {
        timeout(DEADLINE, self.reader.next()).await.expect("the worker says something").unwrap().expect("it is there")
    }

    pub(super) async fn say(&mut self, message: impl Into<task_messenger_protocol::messages::from_manager::Message>) {
        self.writer.push(message).unwrap();
        self.writer.flush().await.unwrap();
    }

    pub(super) async fn define(&mut self, number: u32, template: &Template) {
        self.say(DefineTemplate { number, template: template.to_bytes().unwrap() }).await;
    }

    /// Hands out tasks 7.0, 7.1 and so on.
    pub(super) async fn assign(&mut self, template: u32, first_lease: u64, payloads: &[&str]) {
        let mut values = ValuesBuilder::default();
        for payload in payloads {
            values.push(payload.as_bytes());
        }
        let run = Run { template, job: 7, first_index: 0, count: payloads.len() as u32, attempt: 1 };
        self.say(Assign { first_lease, runs: vec![run], payloads: values.take().bytes().clone() }).await;
    }

    /// The next message that is no ping and no window.
    pub(super) async fn next_word(&mut self) -> Message {
        loop {
            match self.next().await {
                Message::Window(window) => self.window = window.slots,
                Message::Ping(_) => (),
                other => return other,
            }
        }
    }

    pub(super) async fn started(&mut self) -> Vec<u64> {
        match self.next_word().await {
            Message::Started(started) => started.leases,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn given_back(&mut self) -> Vec<u64> {
        match self.next_word().await {
            Message::GivenBack(given) => given.leases,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn outcomes(&mut self) -> (u64, Vec<(u64, u8, Outcome)>) {
        match self.next_word().await {
            Message::Outcomes(outcomes) => (outcomes.number, decode(outcomes)),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn take(&mut self, number: u64) {
        self.say(OutcomesTaken { number }).await;
    }

    pub(super) async fn is_left(&mut self) {
        loop {
            match timeout(DEADLINE, self.reader.next()).await.expect("the worker leaves") {
                Ok(Some(_)) => (),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

pub(super) fn decode(outcomes: Outcomes) -> Vec<(u64, u8, Outcome)> {
    let values = Values::check(outcomes.outcomes, outcomes.leases.len() as u32, 1 << 20).unwrap();
    let heads = outcomes.leases.into_iter().zip(outcomes.statuses);
    let outcomes = values.iter().map(|(_, value)| match value {
        Value::Inline(bytes) => Outcome::decode(bytes).unwrap(),
        Value::External { .. } => unreachable!("the values were checked"),
    });
    heads.zip(outcomes).map(|((lease, status), outcome)| (lease, status, outcome)).collect()
}

pub(super) async fn exists(path: &Path) {
    let there = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, there).await.expect("the file is made");
}

pub(super) fn go(path: &Path) {
    fs::write(format!("{}-go", path.display()), "").unwrap();
}

pub(super) fn text(path: &Path) -> &str {
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

pub(super) fn skills(function: fn(&[u8], &SkillContext) -> Result<Vec<u8>, SkillError>) -> SkillRegistry {
    let mut registry = SkillRegistry::with_built_in();
    registry.register(Arc::new(Function(function)));
    registry
}
