use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

const CHILD: &str = "SHUTDOWN_TEST_CHILD";

/// What the test below runs in a process of its own: stops when asked, and then hangs.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (mut shutdown, _trigger) = Shutdown::listen().unwrap();
    println!("\nlistening");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cause = runtime.block_on(shutdown.requested());
    println!("\nstopping: {cause:?}");
    loop {
        std::thread::park();
    }
}

#[test]
fn the_first_signal_asks_and_the_second_ends_a_process_that_hangs() {
    for (first, second, code) in [(Signal::TERM, Signal::INT, 130), (Signal::INT, Signal::TERM, 143)] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shutdown::tests::child", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "listening"));
        kill_process(pid, first).unwrap();
        let cause = lines.find(|line| line.starts_with("stopping")).unwrap();
        assert_eq!(cause, if first == Signal::TERM { "stopping: Terminate" } else { "stopping: Interrupt" });
        kill_process(pid, second).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[tokio::test]
async fn the_first_cause_is_the_one_that_everyone_is_told() {
    let (mut shutdown, trigger) = Shutdown::manual();
    assert!(!shutdown.is_requested());
    trigger.request(Cause::Program);
    trigger.request(Cause::Terminate);
    assert_eq!(shutdown.clone().requested().await, Cause::Program);
    drop(trigger);
    assert_eq!(shutdown.requested().await, Cause::Program);
}
