//! With real programs.

mod escapes;
mod failures;

use std::{collections::BTreeMap, fs, time::Duration};

use task_messenger_protocol::messages::command::Use;

use super::*;

const NAME: TaskName = TaskName { job: 12, index: 345 };
const MEBIBYTE: usize = 1 << 20;

struct Bench {
    state: tempfile::TempDir,
    runner: CommandRunner,
}

impl Bench {
    fn new() -> Self {
        Self::limited(MEBIBYTE)
    }

    fn limited(output_limit: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let runner = CommandRunner::new(state.path(), output_limit, Duration::from_millis(300)).unwrap();
        Self { state, runner }
    }

    async fn run(&self, command: &Command, payload: &[u8], timeout: Option<Duration>) -> Outcome {
        let (_stop, stopped) = oneshot::channel();
        let outcome = self.run_until(stopped, 7, command, payload, timeout).await.unwrap();
        self.is_clean();
        outcome
    }

    async fn run_until(
        &self,
        stopped: oneshot::Receiver<()>,
        lease: u64,
        command: &Command,
        payload: &[u8],
        timeout: Option<Duration>,
    ) -> Option<Outcome> {
        let payload = Bytes::copy_from_slice(payload);
        self.runner.run(CommandTask { lease, name: NAME, command, timeout, payload }, stopped).await
    }

    /// Fails if there is a process, one that waits to be reaped, or a file of a task.
    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.runner.family.members(), [0; 0], "these processes are left");
        let scratch: Vec<_> = fs::read_dir(self.state.path().join("scratch")).unwrap().map(Result::unwrap).collect();
        assert!(scratch.is_empty(), "scratch directories are left: {scratch:?}");
    }

    async fn shell(&self, script: &str, payload: &[u8]) -> Outcome {
        self.run(&shell(script, Use::Stdin), payload, None).await
    }
}

fn shell(script: &str, payload: Use) -> Command {
    command("sh", &["-c", script], payload)
}

fn command(program: &str, arguments: &[&str], payload: Use) -> Command {
    Command {
        program: program.to_owned(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        environment: BTreeMap::new(),
        payload: payload.into(),
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap().trim_end()
}

/// Whether a process runs; one that waits to be reaped doesn't.
fn is_alive(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !matches!(stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()), None | Some('Z' | 'X'))
}

async fn dies(process: &str) {
    assert!(process.parse::<u32>().is_ok(), "{process:?} is no process number");
    let gone = async {
        while is_alive(process) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("the process still runs");
}

#[tokio::test]
async fn exit_code_output_and_errors_come_back() {
    let bench = Bench::new();
    let outcome = bench.shell("printf 'a\\377\\000b'; echo oh >&2; exit 3", b"").await;
    assert_eq!((outcome.ending(), outcome.code), (Ending::Exited, 3));
    assert_eq!(outcome.output, &b"a\xff\0b"[..], "bytes that are no text come back as they are");
    assert_eq!(outcome.errors, &b"oh\n"[..]);
    assert!(outcome.started_milliseconds > 1_600_000_000_000 && outcome.run_microseconds > 0);

    let outcome = bench.shell("kill -9 $$", b"").await;
    assert_eq!((outcome.ending(), outcome.code), (Ending::Signalled, 9));
}

#[tokio::test]
async fn the_payload_is_input_or_argument_as_the_template_says() {
    let bench = Bench::new();
    let large = vec![b'x'; 3 * MEBIBYTE];
    assert_eq!(text(&bench.shell("wc -c", &large).await.output), large.len().to_string());
    let unread = bench.shell("exec <&-; echo done", &large).await;
    assert_eq!((unread.ending(), unread.code, text(&unread.output)), (Ending::Exited, 0, "done"));

    let echo = |payload| command("echo", &["{}", "<{}{}>", "-"], payload);
    let outcome = bench.run(&echo(Use::Argument), b"a b", None).await;
    assert_eq!(text(&outcome.output), "a b <a ba b> -");
    let outcome = bench.run(&echo(Use::None), b"a b", None).await;
    assert_eq!(text(&outcome.output), "{} <{}{}> -");
    let both = command("sh", &["-c", "echo \"$0\"; cat", "{}"], Use::ArgumentAndStdin);
    let outcome = bench.run(&both, b"name\0con\0tent", None).await;
    assert_eq!(outcome.output, &b"name\ncon\0tent"[..]);
    for payload in [&b"\xff"[..], b"a\0b"] {
        let outcome = bench.run(&echo(Use::Argument), payload, None).await;
        assert_eq!(outcome.ending(), Ending::Error);
        assert!(outcome.text.contains("can't be an argument"), "{}", outcome.text);
    }
}

#[tokio::test]
async fn a_task_starts_in_its_own_directory_with_a_clean_environment() {
    let bench = Bench::new();
    let mut listing = shell("pwd; env | sort", Use::None);
    listing.environment.insert("GREETING".to_owned(), "good day".to_owned());
    let outcome = bench.run(&listing, b"", None).await;
    let output = text(&outcome.output);
    let scratch = bench.state.path().join("scratch/7");
    let mut lines = output.lines();
    assert_eq!(
        lines.next().unwrap(),
        fs::canonicalize(bench.state.path()).unwrap().join("scratch/7").to_str().unwrap()
    );
    // The shell adds its own: where it is, and what it runs.
    let own = |line: &&str| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|prefix| line.starts_with(prefix));
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    let home = format!("HOME={}", scratch.display());
    let expected = ["GREETING=good day", &home, "LANG=C.UTF-8", &path, "TASK_MESSENGER_TASK=12.345"];
    assert_eq!(lines.filter(own).collect::<Vec<_>>(), expected);

    let messy = bench.shell("mkdir -p a/b; touch a/b/c; chmod 500 a/b a .; ls a/b", b"").await;
    assert_eq!(text(&messy.output), "c", "even what the task made unwritable is removed");
}

#[tokio::test]
async fn the_tail_of_a_long_output_is_kept() {
    let bench = Bench::limited(1_000);
    let outcome = bench.shell("yes 0123456789abcde | head -c 1600000; printf end; echo short >&2", b"").await;
    assert_eq!(outcome.output.len(), 1_000);
    assert!(outcome.output.ends_with(b"abcde\nend"));
    assert_eq!(outcome.output_dropped, 1_600_003 - 1_000);
    assert_eq!((text(&outcome.errors), outcome.errors_dropped), ("short", 0));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group_and_keeps_what_was_written() {
    let bench = Bench::new();
    // Neither the shell nor its child listens to the request to end.
    let stubborn = shell("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000", Use::None);
    let started = Instant::now();
    let outcome = bench.run(&stubborn, b"", Some(Duration::from_millis(200))).await;
    assert_eq!(outcome.ending(), Ending::TimedOut);
    assert_eq!(outcome.text, "it was ended after its timeout of 200ms");
    assert!(started.elapsed() >= Duration::from_millis(500), "it had time to end by itself");
    dies(text(&outcome.output)).await;

    let polite = shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done", Use::None);
    let outcome = bench.run(&polite, b"", Some(Duration::from_millis(200))).await;
    assert_eq!((outcome.ending(), text(&outcome.output)), (Ending::TimedOut, "bye"));
}

#[tokio::test]
async fn many_run_at_a_time_and_old_scratch_directories_are_swept() {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir_all(state.path().join("scratch/99/deep")).unwrap();
    let runner = CommandRunner::new(state.path(), MEBIBYTE, Duration::from_secs(5)).unwrap();
    assert_eq!(fs::read_dir(state.path().join("scratch")).unwrap().count(), 0);
    let runner = std::sync::Arc::new(runner);
    let tasks: Vec<_> = (0..64)
        .map(|lease| {
            let runner = std::sync::Arc::clone(&runner);
            tokio::spawn(async move {
                let command = shell("sleep 0.5; cat", Use::Stdin);
                let payload = lease.to_string().into();
                let (_stop, stopped) = oneshot::channel();
                let task = CommandTask { lease, name: NAME, command: &command, timeout: None, payload };
                runner.run(task, stopped).await.unwrap()
            })
        })
        .collect();
    let started = Instant::now();
    for (lease, task) in tasks.into_iter().enumerate() {
        assert_eq!(text(&task.await.unwrap().output), lease.to_string());
    }
    assert!(started.elapsed() < Duration::from_secs(16), "one after the other they would take 32 s");
}
