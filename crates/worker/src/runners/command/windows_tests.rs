//! With real programs of Windows: this one, in other roles.

use std::{collections::BTreeMap, env, fs, io::Read, process::Stdio, time::Duration};

use task_messenger_protocol::messages::command::Use;

use super::*;

const NAME: TaskName = TaskName { job: 12, index: 345 };
const ROLE: &str = "COMMAND_TEST_ROLE";
const PLACE: &str = "COMMAND_TEST_PLACE";
/// What those wait for who hold their pipes.
const GO: &str = "go";
/// How many do.
const MANY: usize = 4;
/// More than a pipe holds.
const INPUT: usize = 1 << 20;
const LIMIT: Duration = Duration::from_mins(1);

/// What tests run as tasks.
#[test]
fn program() {
    match env::var(ROLE).as_deref() {
        Ok("hold") => hold(),
        Ok("read") => read(),
        Ok("leave") => leave(),
        Ok("stay") => loop {
            std::thread::park();
        },
        _ => (),
    }
}

/// Says something, and reads only when it is told to.
fn hold() {
    println!("out");
    eprintln!("err");
    let place = env::var(PLACE).unwrap();
    fs::write(format!("{place}/{}", std::process::id()), "").unwrap();
    while !Path::new(&place).join(GO).exists() {
        std::thread::yield_now();
    }
    read();
}

fn read() {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    println!("read {}", input.len());
}

/// Leaves a process behind, which keeps the scratch directory as its current one.
fn leave() {
    let mut child = this("stay").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fs::write("file", "").unwrap();
    assert!(child.try_wait().unwrap().is_none());
}

fn this(role: &str) -> std::process::Command {
    let mut command = std::process::Command::new(env::current_exe().unwrap());
    command.args(ARGUMENTS).env(ROLE, role);
    command
}

const ARGUMENTS: [&str; 3] = ["--exact", "runners::command::windows_tests::program", "--nocapture"];

fn task(role: &str, place: &str) -> Command {
    let environment = [(ROLE, role), (PLACE, place)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Command {
        program: env::current_exe().unwrap().to_str().unwrap().to_owned(),
        arguments: ARGUMENTS.map(str::to_owned).to_vec(),
        environment: BTreeMap::from(environment),
        payload: Use::Stdin.into(),
    }
}

#[test]
fn a_command_does_not_wait_for_the_pipes_of_others() {
    let (state, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runner = Arc::new(CommandRunner::new(state.path(), 1 << 20, Duration::from_secs(5)).unwrap());
    let run = |lease, role| {
        let (runner, command) = (Arc::clone(&runner), task(role, place.path().to_str().unwrap()));
        tokio::spawn(async move {
            let (_stop, stopped) = oneshot::channel();
            let payload = vec![b'x'; INPUT].into();
            let task = CommandTask { lease, name: NAME, command: &command, timeout: Some(LIMIT), payload };
            let outcome = runner.run(task, stopped).await.unwrap();
            assert_eq!((outcome.ending(), outcome.code), (Ending::Exited, 0), "{outcome:?}");
            let read = format!("read {INPUT}");
            assert!(str::from_utf8(&outcome.output).unwrap().contains(&read), "{outcome:?}");
        })
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(THREADS * (MANY + 1)).build().unwrap();
    runtime.block_on(async {
        let holding: Vec<_> = (0..MANY as u64).map(|lease| run(lease, "hold")).collect();
        while fs::read_dir(place.path()).unwrap().count() < MANY {
            tokio::task::yield_now().await;
        }
        run(MANY as u64, "read").await.unwrap();
        fs::write(place.path().join(GO), "").unwrap();
        for holding in holding {
            holding.await.unwrap();
        }
    });
}

#[tokio::test]
async fn what_a_task_has_left_behind_is_gone_when_it_is_over() {
    let state = tempfile::tempdir().unwrap();
    let runner = CommandRunner::new(state.path(), 1 << 20, Duration::from_secs(5)).unwrap();
    let command = task("leave", "");
    let running =
        runner.start(&CommandTask { lease: 1, name: NAME, command: &command, timeout: None, payload: Bytes::new() });
    let Running { mut group, pipes, .. } = running.unwrap();
    group.exited().await.unwrap();
    assert!(group.members() > 0, "it is there");
    assert_eq!(group.end().await.unwrap().code(), Some(0));
    assert_eq!(group.members(), 0);
    drop(pipes);
    runner.scratch.remove(1).await;
    assert_eq!(fs::read_dir(state.path().join("scratch")).unwrap().count(), 0);
}
