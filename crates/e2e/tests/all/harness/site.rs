//! A manager, and everything that a test puts around it, in a directory of their own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Map, Value};
use task_messenger_client::{Client, ClientCredential, ClientOptions, Connector};
use task_messenger_protocol::token::Token;
use tempfile::TempDir;

use super::{Ended, Invocation, Process, SmallDisk, process::program_behind, program, wait_until};

/// How much of a log is shown when a test fails.
const SHOWN: usize = 100;

/// Short for a value in a test.
macro_rules! json {
    ($($content:tt)+) => { serde_json::json!($($content)+) };
}
pub(crate) use json;

/// A manager's place.
pub(crate) struct Site {
    directory: TempDir,
    configuration: Map<String, Value>,
    address: Option<SocketAddr>,
    manager: Option<Process>,
    invocations: AtomicU32,
    /// Where the manager's state is, if it has a disk of its own.
    disk: Option<SmallDisk>,
    /// What starts its programs.
    prefix: Vec<String>,
    /// Variables of the manager's environment.
    variables: Vec<(String, String)>,
}

impl Site {
    /// A running manager with the default configuration.
    pub(crate) fn start() -> Self {
        Self::start_with(json!({}))
    }

    /// A running manager with these keys of its configuration set.
    pub(crate) fn start_with(configuration: Value) -> Self {
        let mut site = Self::prepare(configuration);
        site.start_manager();
        site
    }

    /// A place where no manager runs yet.
    pub(crate) fn prepare(configuration: Value) -> Self {
        let directory = tempfile::Builder::new().prefix("task-messenger-e2e-").tempdir().unwrap();
        for name in ["home", "runs"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let Value::Object(configuration) = configuration else { panic!("a configuration is an object") };
        Self {
            directory,
            configuration,
            address: None,
            manager: None,
            invocations: AtomicU32::new(0),
            disk: None,
            prefix: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// A place where no manager runs yet, and whose manager's state will be on a disk of so many MiB; `None` where there
    /// can't be one.
    pub(crate) fn prepare_small(configuration: Value, mebibytes: u64) -> Option<Self> {
        let mut site = Self::prepare(configuration);
        std::fs::create_dir(site.path("manager")).unwrap();
        let disk = SmallDisk::mount(&site.path("manager"), mebibytes)?;
        site.prefix = disk.prefix();
        site.disk = Some(disk);
        Some(site)
    }

    /// The disk of the manager's state.
    pub(crate) fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().unwrap()
    }

    /// Starts this site's programs from now on with a command that takes them as its last arguments.
    pub(crate) fn start_programs_by(&mut self, prefix: &[&str]) {
        self.prefix = prefix.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Sets a variable of the manager's environment, for its next start.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Where the manager answers HTTP: its configuration has to say `"http": {"listen": "127.0.0.1:0"}`.
    #[track_caller]
    pub(crate) fn http(&self) -> SocketAddr {
        http_address("the manager", &self.path("manager.log"))
    }

    /// Sets keys of the manager's configuration, for its next start.
    pub(crate) fn configure(&mut self, configuration: Value) {
        let Value::Object(configuration) = configuration else { panic!("a configuration is an object") };
        self.configuration.extend(configuration);
    }

    /// How a file of the manager's state looks from here.
    pub(crate) fn state_file(&self, name: &str) -> PathBuf {
        let path = self.path("manager").join(name);
        self.disk.as_ref().map_or(path.clone(), |disk| disk.view(&path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory as text.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// Starts the manager where it listened before, and waits until it is ready.
    pub(crate) fn start_manager(&mut self) {
        self.launch_manager();
        let listening = self.state_file("listening.json");
        let mut address = None;
        wait_until("the manager is ready", || {
            assert!(!self.manager.as_mut().unwrap().has_ended(), "the manager ended at its start");
            let text = std::fs::read_to_string(&listening).unwrap_or_default();
            address = serde_json::from_str::<Vec<SocketAddr>>(&text).ok().and_then(|all| all.first().copied());
            address.is_some()
        });
        self.address = address;
    }

    /// Starts the manager and waits for nothing.
    pub(crate) fn launch_manager(&mut self) {
        assert!(self.manager.is_none(), "a manager is there");
        self.write_configuration();
        // Readiness is read from it: it must be the new one.
        let _ = std::fs::remove_file(self.state_file("listening.json"));
        let log = self.path("manager.log");
        let file = self.path("config-manager.json");
        let mut command = self.program(&["manager", "run", "--config", file.to_str().unwrap()]);
        command.envs(self.variables.iter().cloned());
        self.manager = Some(Process::start("the manager", command, &log, &log));
    }

    /// Writes the manager's configuration, as [`Site::configure`] set it.
    pub(crate) fn write_configuration(&self) {
        let mut configuration = self.configuration.clone();
        let listen = self.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        configuration.insert("state_directory".to_owned(), json!(self.path("manager")));
        configuration.entry("listen").or_insert_with(|| json!([listen]));
        // Many run at once.
        configuration.entry("http").or_insert(Value::Null);
        if self.disk.is_none() {
            // Many managers run at once here, some of them on disks in memory.
            configuration.entry("disk").or_insert_with(|| json!({"reserve": "16MiB"}));
        }
        write_json(&self.path("config-manager.json"), configuration);
    }

    pub(crate) fn manager(&mut self) -> &mut Process {
        self.manager.as_mut().unwrap()
    }

    /// Kills the manager without warning.
    pub(crate) fn kill_manager(&mut self) {
        self.manager.take().unwrap().kill();
    }

    /// Asks the manager to stop, and sees that it ends well.
    pub(crate) fn stop_manager(&mut self) {
        let mut manager = self.manager.take().unwrap();
        manager.signal(super::Signal::TERM);
        let status = manager.wait();
        assert!(status.success(), "the manager stopped with {status}");
    }

    /// What the manager has logged.
    pub(crate) fn manager_log(&self) -> String {
        std::fs::read_to_string(self.path("manager.log")).unwrap_or_default()
    }

    /// Waits until a line of the manager's log contains all of these.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &[&str]) {
        wait_until(&format!("the manager's log says {words:?}"), || {
            self.manager_log().lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    /// The manager's own commands, such as `token list`.
    pub(crate) fn administer(&self, arguments: &[&str]) -> Ended {
        let state = self.path("manager");
        self.run(&[&["manager"], arguments, &["--state-dir", state.to_str().unwrap()]].concat())
    }

    /// A new token's text.
    pub(crate) fn token(&self, role: &str) -> String {
        let created = self.administer(&["token", "create", "--role", role, "--owner", "tester"]).ended_with(0);
        created.text().trim().to_owned()
    }

    /// Logs the command line in.
    pub(crate) fn log_in(&self) {
        let token = self.token("client");
        self.run_with(&["login", "-"], Some(token.as_bytes())).ended_with(0);
    }

    /// A program with these arguments, at home here.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        program_behind(&self.prefix, &self.path("home"), arguments)
    }

    /// Runs a command line to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.invoke(arguments, None).wait()
    }

    /// Runs a command line with this on its standard input to its end.
    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], input: Option<&[u8]>) -> Ended {
        self.invoke(arguments, input).wait()
    }

    /// Starts a command line.
    pub(crate) fn invoke(&self, arguments: &[&str], input: Option<&[u8]>) -> Invocation {
        self.invoke_command(self.program(arguments), input)
    }

    /// Starts a command line that was prepared with [`Site::program`].
    pub(crate) fn invoke_command(&self, command: Command, input: Option<&[u8]>) -> Invocation {
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        Invocation::start(command, input, &self.path("runs").join(number.to_string()))
    }

    /// A client with a token of its own; all have the same owner.
    pub(crate) async fn client(&self) -> Client {
        self.client_with(&self.token("client"), self.address()).await
    }

    /// A client with this token that finds the manager here.
    pub(crate) async fn client_with(&self, token: &str, address: SocketAddr) -> Client {
        let mut credential = ClientCredential::from_token(&Token::parse(token).unwrap());
        credential.addresses = vec![address.to_string()];
        let options = ClientOptions {
            backoff_first: Duration::from_millis(20),
            backoff_longest: Duration::from_millis(200),
            ..ClientOptions::default()
        };
        Client::connect_with(Connector::of_credential(&credential, &options), options).await.unwrap()
    }

    /// A running worker with two slots.
    pub(crate) fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, json!({}))
    }

    /// A running worker with these keys of its configuration set.
    pub(crate) fn worker_with(&self, name: &str, configuration: Value) -> Worker {
        let mut worker = self.joined_worker(name, configuration);
        worker.start();
        worker
    }

    /// A worker that has joined and does not run yet.
    pub(crate) fn joined_worker(&self, name: &str, configuration: Value) -> Worker {
        self.joined_worker_by(&self.token("worker"), name, configuration)
    }

    /// A worker that has joined with this token and does not run yet.
    pub(crate) fn joined_worker_by(&self, token: &str, name: &str, configuration: Value) -> Worker {
        let worker = self.unjoined_worker(name, configuration);
        let arguments = ["worker", "join", "-", "--config", worker.file.to_str().unwrap()];
        self.run_with(&arguments, Some(token.as_bytes())).ended_with(0);
        worker
    }

    /// A worker with a copy of another's state directory; it does not run yet.
    pub(crate) fn copied_worker(&self, original: &Worker, name: &str, configuration: Value) -> Worker {
        let copy = self.unjoined_worker(name, configuration);
        let copied = Command::new("cp").arg("-r").arg(&original.state).arg(&copy.state).status().unwrap();
        assert!(copied.success(), "the state of {} can't be copied", original.name);
        copy
    }

    /// A worker that has not joined.
    pub(crate) fn unjoined_worker(&self, name: &str, configuration: Value) -> Worker {
        let Value::Object(mut configuration) = configuration else { panic!("a configuration is an object") };
        let file = self.path(&format!("config-{name}.json"));
        let state = self.path(name);
        configuration.insert("state_directory".to_owned(), json!(state));
        configuration.insert("name".to_owned(), json!(name));
        configuration.entry("slots").or_insert_with(|| json!(2));
        configuration.entry("http").or_insert(Value::Null);
        write_json(&file, configuration);
        let log = self.path(&format!("{name}.log"));
        Worker {
            name: name.to_owned(),
            home: self.path("home"),
            state,
            file,
            log,
            variables: Vec::new(),
            process: None,
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut manager) = self.manager.take() {
            manager.kill();
        }
        if std::thread::panicking() {
            let mut logs: Vec<_> = std::fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().path()).collect();
            logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
            logs.sort();
            for log in logs {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let shown = &lines[lines.len().saturating_sub(SHOWN)..];
                println!("---- {}, the last {} lines ----\n{}", log.display(), shown.len(), shown.join("\n"));
            }
        }
    }
}

/// A worker that has joined.
pub(crate) struct Worker {
    name: String,
    home: PathBuf,
    state: PathBuf,
    file: PathBuf,
    log: PathBuf,
    /// Variables of its environment.
    variables: Vec<(String, String)>,
    process: Option<Process>,
}

impl Worker {
    /// Sets a variable of its environment, for its next start.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Where it answers HTTP, as [`Site::http`].
    #[track_caller]
    pub(crate) fn http(&self) -> SocketAddr {
        http_address(&self.name, &self.log)
    }

    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        let mut command = program(&self.home, &["worker", "run", "--config", self.file.to_str().unwrap()]);
        command.envs(self.variables.iter().cloned());
        self.process = Some(Process::start(&self.name, command, &self.log, &self.log));
    }

    /// Sets keys of its configuration, for its next start or reload.
    pub(crate) fn configure(&self, changes: Value) {
        let Value::Object(changes) = changes else { panic!("a configuration is an object") };
        let mut configuration: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(&self.file).unwrap()).unwrap();
        configuration.extend(changes);
        write_json(&self.file, configuration);
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// Kills it without warning; what it had started may live on.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Waits until it has ended by itself, and says how.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.process.take().unwrap().wait()
    }

    /// Its configuration.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether something happened in this worker, as its home tells.
    pub(crate) fn owns(&self, home: &str) -> bool {
        Path::new(home).starts_with(&self.state)
    }
}

/// As the last start's log says.
#[track_caller]
fn http_address(name: &str, log: &Path) -> SocketAddr {
    let mut address = None;
    wait_until(&format!("{name} answers HTTP"), || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let line = text.lines().rev().find(|line| line.contains("HTTP is answered"));
        let word = line.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("address=")));
        address = word.and_then(|word| word.parse().ok());
        address.is_some()
    });
    address.unwrap()
}

fn write_json(path: &Path, content: Map<String, Value>) {
    std::fs::write(path, Value::Object(content).to_string()).unwrap();
}
