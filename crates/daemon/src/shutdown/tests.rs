use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::*;

const CHILD: &str = "SHUTDOWN_TEST_CHILD";

/// What tests run in a process of its own: says each time that it is asked to stop, and doesn't.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (mut shutdown, _trigger) = Shutdown::listen().unwrap();
    #[cfg(windows)]
    console::raise_what_is_read();
    println!("\nlistening");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut heard = None;
        loop {
            heard = Some(shutdown.requested_beyond(heard).await);
            println!("\nstopping: {heard:?}");
        }
    });
}

/// The child, and what it says.
fn start() -> (Child, impl FnMut(&str)) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "shutdown::tests::child", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut hear = move |wanted: &str| {
        let said = lines.find(|line| line == "listening" || line.starts_with("stopping"));
        assert_eq!(said.as_deref(), Some(wanted));
    };
    hear("listening");
    (child, hear)
}

#[cfg(unix)]
#[test]
fn the_first_signal_asks_and_the_second_ends_a_process_that_hangs() {
    use rustix::process::{Pid, Signal, kill_process};

    for (first, cause, second, code) in
        [(Signal::TERM, "Terminate", Signal::INT, 130), (Signal::INT, "Interrupt", Signal::TERM, 143)]
    {
        let (mut child, mut hear) = start();
        let pid = Pid::from_child(&child);
        kill_process(pid, first).unwrap();
        hear(&format!("stopping: Some({cause})"));
        kill_process(pid, second).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[cfg(windows)]
mod console {
    use std::io::Write;

    use ::windows::{
        Win32::System::{
            Console::{CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT},
            LibraryLoader::{GetModuleHandleW, GetProcAddress},
        },
        core::{s, w},
    };

    use super::*;

    type Routine = extern "system" fn(usize) -> u32;

    /// Has the events happen whose numbers come in, as Windows does it: each on a thread that begins in its own routine.
    #[expect(unsafe_code, reason = "the system's own functions")]
    pub(super) fn raise_what_is_read() {
        // SAFETY: it is there in all versions, and never unloaded.
        let routine = unsafe { GetProcAddress(GetModuleHandleW(w!("kernel32")).unwrap(), s!("CtrlRoutine")) }.unwrap();
        // SAFETY: it is a thread's routine, whose argument is the event.
        let routine = unsafe { std::mem::transmute::<unsafe extern "system" fn() -> isize, Routine>(routine) };
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let event = line.unwrap().parse().unwrap();
                std::thread::spawn(move || routine(event));
            }
        });
    }

    fn raise(child: &mut Child, event: u32) {
        writeln!(child.stdin.as_mut().unwrap(), "{event}").unwrap();
    }

    #[test]
    fn a_ctrl_break_asks_and_the_second_ends_a_process_that_hangs() {
        let (mut child, mut hear) = start();
        raise(&mut child, CTRL_BREAK_EVENT);
        hear("stopping: Some(Interrupt)");
        raise(&mut child, CTRL_BREAK_EVENT);
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }

    #[test]
    fn a_console_that_is_closed_leaves_little_time_but_ends_nothing_at_once() {
        let (mut child, mut hear) = start();
        raise(&mut child, CTRL_CLOSE_EVENT);
        hear("stopping: Some(Closing)");
        child.kill().unwrap();

        let (mut child, mut hear) = start();
        raise(&mut child, CTRL_BREAK_EVENT);
        hear("stopping: Some(Interrupt)");
        raise(&mut child, CTRL_CLOSE_EVENT);
        hear("stopping: Some(Closing)");
        child.kill().unwrap();
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

#[tokio::test]
async fn that_there_is_no_time_left_is_told_whatever_was_told_before() {
    let (mut shutdown, trigger) = Shutdown::manual();
    trigger.request(Cause::Interrupt);
    let heard = Some(shutdown.requested().await);
    trigger.request(Cause::Closing);
    trigger.request(Cause::Terminate);
    assert_eq!(shutdown.requested_beyond(heard).await, Cause::Closing);
    assert_eq!(shutdown.requested().await, Cause::Closing);
}
