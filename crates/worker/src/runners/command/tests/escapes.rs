//! Processes that try to outlive their task.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process,
};

use super::*;

/// Ways to get away, for a shell. Each calls `./stay`, which tells of its process and goes on for ever.
const WAYS: [&str; 7] = [
    "./stay &",
    "nohup ./stay >/dev/null 2>&1 &",
    "setsid ./stay &",
    // As daemons do it: their parent is gone at once.
    "(setsid sh -c './stay & exit' &)",
    // Nothing of the task is left in it: no environment, directory, output or parent.
    "(env -i PATH=\"$PATH\" setsid sh -c 'exec <&- >&- 2>&-; s=$PWD/stay; cd /; $s & exit' &)",
    // A tree of sessions.
    "setsid sh -c './stay & setsid sh -c \"./stay & setsid ./stay & wait\" & wait' &",
    // With a mark of its own, as what another worker runs has that is a task itself.
    "setsid sh -c 'prlimit --locks=77: setsid ./stay & wait' &",
];
const STAYING: usize = 9;

struct Escape {
    bench: Bench,
    command: Command,
    told: PathBuf,
}

impl Escape {
    /// A program that starts all of these, waits for as many to be there, and goes on as `then` says.
    fn new(ways: &[&str], staying: usize, stay: &str, then: &str) -> Self {
        let bench = Bench::new();
        let told = bench.state.path().join("told");
        let told_path = told.display();
        let script = format!(
            "cat > stay <<'END'\n#!/bin/sh\n{stay}\necho $$ >> {told_path}\nwhile :; do sleep 0.05; done\nEND\n\
             chmod 755 stay\n{}\nwhile [ \"$(cat {told_path} 2>/dev/null | wc -l)\" -lt {staying} ]; do sleep 0.01; done\n{then}",
            ways.join("\n")
        );
        Self { bench, command: shell(&script, Use::None), told }
    }

    /// The processes that have told of themselves.
    fn told(&self) -> Vec<String> {
        told(&self.told)
    }

    async fn wait_for(&self, staying: usize) {
        becomes_so(|| self.told().len() >= staying).await;
    }

    #[track_caller]
    fn is_over(&self, staying: usize) {
        self.bench.is_clean();
        let told = self.told();
        assert_eq!(told.len(), staying);
        assert!(told.iter().all(|process| !is_alive(process)));
    }
}

fn told(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn becomes_so(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("it does not become so");
}

#[tokio::test]
async fn nothing_that_a_program_started_outlives_its_success() {
    let escape = Escape::new(&WAYS, STAYING, "", "echo done");
    let outcome = escape.bench.run(&escape.command, b"", None).await;
    assert_eq!((outcome.ending(), outcome.code, text(&outcome.output)), (Ending::Exited, 0, "done"));
    escape.is_over(STAYING);
}

#[tokio::test]
async fn a_timeout_ends_what_left_the_group_and_ignores_the_request() {
    let escape = Escape::new(&WAYS, STAYING, "trap '' TERM HUP", "wait");
    let started = Instant::now();
    let outcome = escape.bench.run(&escape.command, b"", Some(Duration::from_secs(2))).await;
    assert_eq!(outcome.ending(), Ending::TimedOut);
    assert!(started.elapsed() >= Duration::from_millis(2_300), "they had time to end by themselves");
    escape.is_over(STAYING);
}

#[tokio::test]
async fn what_left_the_group_is_asked_to_end_and_has_the_time_for_it() {
    let bye = "trap 'sleep 1.5; echo bye > bye.$$; mv bye.$$ \"$OUT\"; exit' TERM";
    let mut escape = Escape::new(&["setsid ./stay &", "(setsid sh -c './stay & wait' &)"], 2, bye, "exec sleep 1000");
    let out = tempfile::tempdir().unwrap();
    escape.command.environment.insert("OUT".to_owned(), out.path().to_str().unwrap().to_owned());
    escape.bench.runner.kill_after = Duration::from_secs(30);
    let outcome = escape.bench.run(&escape.command, b"", Some(Duration::from_secs(1))).await;
    assert_eq!(outcome.ending(), Ending::TimedOut);
    assert!(Duration::from_micros(outcome.run_microseconds) < Duration::from_secs(20), "it waited for nothing");
    escape.is_over(2);
    let said = fs::read_dir(out.path()).unwrap().count();
    assert_eq!(said, 2);
}

#[tokio::test]
async fn a_stop_and_a_dropped_task_end_all_of_it() {
    for is_dropped in [false, true] {
        let escape = Escape::new(&WAYS, STAYING, "trap '' TERM HUP", "wait");
        let (stop, stopped) = oneshot::channel();
        let run = escape.bench.run_until(stopped, 8, &escape.command, b"", None);
        if is_dropped {
            tokio::select! {
                outcome = run => panic!("it has ended: {outcome:?}"),
                () = escape.wait_for(STAYING) => (),
            }
            // The directory stays until the next start: nothing runs that could remove it.
            escape.bench.runner.scratch.remove(8).await;
        } else {
            let stopping = async {
                escape.wait_for(STAYING).await;
                stop.send(()).unwrap();
            };
            assert_eq!(tokio::join!(run, stopping).0, None);
        }
        escape.is_over(STAYING);
    }
}

#[tokio::test]
async fn what_goes_on_starting_others_is_ended() {
    // A few hundred, should they not be ended.
    let forking = "setsid sh -c 'echo $$ >> \"$TOLD\"; for i in $(seq 400); do setsid sleep 1000 & done; wait' &";
    let mut escape = Escape::new(&[forking], 1, "", "sleep 0.1");
    escape.command.environment.insert("TOLD".to_owned(), escape.told.to_str().unwrap().to_owned());
    let outcome = escape.bench.run(&escape.command, b"", None).await;
    assert_eq!(outcome.code, 0);
    escape.is_over(1);
}

#[tokio::test]
async fn what_others_have_started_is_left_alone() {
    let escape = Escape::new(&["setsid ./stay &"], 1, "", "echo done");
    let neighbour = Escape::new(&["setsid ./stay &"], 1, "", "wait");
    // One runner for both.
    let (stop, stopped) = oneshot::channel();
    let lasting = escape.bench.run_until(stopped, 8, &neighbour.command, b"", None);
    // What a skill might start.
    let skill = |program: &str| process::Command::new(program).arg("1000").process_group(0).spawn().unwrap();
    let mut lives = skill("sleep");
    let mut ended = skill("true");
    let short = async {
        neighbour.wait_for(1).await;
        let (_stop, stopped) = oneshot::channel();
        let outcome = escape.bench.run_until(stopped, 9, &escape.command, b"", None).await.unwrap();
        assert_eq!(outcome.code, 0);
        assert!(!is_alive(&escape.told()[0]), "its own is ended");
        assert!(is_alive(&neighbour.told()[0]), "its neighbour's is not");
        assert!(is_alive(&lives.id().to_string()));
        stop.send(()).unwrap();
    };
    assert_eq!(tokio::join!(lasting, short).0, None);
    escape.is_over(1);
    assert!(!is_alive(&neighbour.told()[0]));
    assert!(ended.wait().unwrap().success(), "nobody else has waited for it");
    lives.kill().unwrap();
    lives.wait().unwrap();
}

#[tokio::test]
async fn a_worker_that_was_started_with_sigchld_ignored_learns_how_programs_end() {
    let test = "runners::command::tests::exit_code_output_and_errors_come_back";
    let program = std::env::current_exe().unwrap();
    let output = process::Command::new("env").arg("--ignore-signal=CHLD").arg(program).args(["--exact", test]).output();
    let output = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    assert!(output.contains("1 passed"), "{output}");
}

#[tokio::test]
async fn what_ends_without_a_parent_is_reaped_while_its_task_goes_on() {
    let bench = Bench::new();
    let go = bench.state.path().join("go");
    let script = format!(
        "for i in 1 2 3 4 5; do setsid --fork true; done; echo > {0}.told; while [ ! -e {0} ]; do sleep 0.05; done",
        go.display()
    );
    let command = shell(&script, Use::None);
    let (_stop, stopped) = oneshot::channel();
    let watching = async {
        becomes_so(|| go.with_extension("told").exists()).await;
        let is_over = |id: &u32| fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        becomes_so(|| !bench.runner.family.members().iter().any(is_over)).await;
        fs::write(&go, "").unwrap();
    };
    let (outcome, ()) = tokio::join!(bench.run_until(stopped, 8, &command, b"", None), watching);
    assert_eq!(outcome.unwrap().code, 0);
    bench.is_clean();
}

#[tokio::test]
async fn endless_output_and_a_stopped_program_end_at_their_timeout_beside_neighbours() {
    let bench = Bench::limited(1_000);
    let limit = Some(Duration::from_millis(700));
    let endless = shell("trap '' TERM; yes & yes >&2 & yes", Use::None);
    let frozen = shell("trap '' TERM; kill -STOP $$", Use::None);
    let run = async |lease, command: &Command, limit| {
        let (_stop, stopped) = oneshot::channel();
        bench.run_until(stopped, lease, command, b"", limit).await.unwrap()
    };
    let neighbours = async {
        for lease in 100..120 {
            let outcome = run(lease, &shell("echo fine", Use::None), Some(Duration::from_secs(20))).await;
            assert_eq!((outcome.code, text(&outcome.output)), (0, "fine"));
        }
    };
    let (endless, frozen, ()) = tokio::join!(run(1, &endless, limit), run(2, &frozen, limit), neighbours);
    for outcome in [&endless, &frozen] {
        assert_eq!(outcome.ending(), Ending::TimedOut);
    }
    assert!(endless.output.len() == 1_000 && endless.errors.len() == 1_000 && endless.output_dropped > 1 << 20);
    bench.is_clean();
}

#[tokio::test]
async fn an_output_that_stays_open_does_not_hold_its_task() {
    let bench = Bench::new();
    // Neither end of the pipes is closed by those that got away.
    let outcome = bench.shell("setsid sh -c 'trap \"\" TERM HUP; sleep 1000' & sleep 1000 & echo done", b"").await;
    assert_eq!((outcome.code, text(&outcome.output)), (0, "done"));
    assert!(Duration::from_micros(outcome.run_microseconds) < Duration::from_secs(10));
}
