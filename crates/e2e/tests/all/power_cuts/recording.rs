//! A run of a manager, all of whose changes to its state directory are recorded.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    disk::{Tree, read_tree},
    history::{Fact, History, Owner},
    load,
    trace::{CALLS, STATE, Trace},
    witness::{Heard, Witness},
};
use crate::harness::{Signal, Site, json, skip, until, wait_until};

/// How much is done while it is recorded.
const LONE_TASKS: usize = 60;
const JOBS: usize = 14;
const CANCELS: usize = 18;
const PURGES: usize = 8;

/// How long until a worker without a link tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// What was recorded.
pub(super) struct Recording {
    /// The manager's processes, one after the other.
    pub(super) lives: Vec<Life>,
    pub(super) facts: Vec<(u64, Fact)>,
}

/// One process of the manager.
pub(super) struct Life {
    pub(super) trace: Trace,
    /// The state directory when it had ended.
    pub(super) left: Tree,
}

/// Whether processes can be recorded here; if not, says so loudly.
pub(super) fn is_possible() -> bool {
    let tried = Command::new("strace").args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]).output();
    let reason = match tried {
        Ok(tried) if tried.status.success() => return true,
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    skip("power cuts of a real manager", &format!("strace can't be used here: {reason}"));
    false
}

/// Lets a manager work, be killed, and be stopped.
pub(super) async fn record() -> Recording {
    let mut site = Site::prepare(json!({"journal": {"segment": "2MiB"}}));
    let history = History::new();
    let mut lives = Vec::new();
    start_recorded(&mut site, lives.len());
    let mut clients = Vec::new();
    for (owner, name) in [(Owner::Keeper, "keeper"), (Owner::Purger, "purger")] {
        let created = site.administer(&["token", "create", "--role", "client", "--owner", name]).ended_with(0);
        let token = created.text().trim().to_owned();
        history.note(Fact::Token(owner, token.clone()));
        clients.push(site.client_with(&token, site.address()).await);
    }
    let worker = site.worker("one");
    history.note(Fact::Enrolled("one"));
    let witness = Witness::enrol(&site).await;
    history.note(Fact::Enrolled("witness"));

    let over = AtomicBool::new(false);
    let told = || history.count(|fact| matches!(fact, Fact::Result(..)));
    let work = async {
        let [keeper, purger] = &clients[..] else { unreachable!("two clients were made") };
        tokio::join!(
            load::lone_tasks(keeper, &history, LONE_TASKS),
            load::jobs(keeper, &history, JOBS),
            load::cancels(keeper, &history, CANCELS),
            load::purges(purger, &history, PURGES)
        );
        over.store(true, Ordering::Relaxed);
    };
    let watch = async {
        while !over.load(Ordering::Relaxed) {
            let working = witness.work(|heard| {
                match heard {
                    Heard::Leased(lease) => history.note(Fact::Leased(lease)),
                    Heard::Taken(tasks) => tasks.into_iter().for_each(|task| history.note(Fact::Taken(task))),
                }
                over.load(Ordering::Relaxed)
            });
            tokio::select! {
                // A link that was lost is made again.
                _ = working => tokio::time::sleep(PAUSE).await,
                () = until("all work is done", async || over.load(Ordering::Relaxed)) => {}
            }
        }
    };
    let interrupt = async {
        let all = JOBS * 40;
        until("a quarter of the work is done", async || told() > all / 4).await;
        site.manager().signal(Signal::KILL);
        lives.push(end_of_life(&mut site, lives.len()));
        start_recorded(&mut site, lives.len());
        until("most of the work is done", async || told() > all * 3 / 4).await;
        site.manager().signal(Signal::TERM);
        lives.push(end_of_life(&mut site, lives.len()));
        start_recorded(&mut site, lives.len());
    };
    tokio::join!(work, watch, interrupt);
    site.manager().signal(Signal::KILL);
    lives.push(end_of_life(&mut site, lives.len()));
    drop(worker);
    Recording { lives, facts: history.into_facts() }
}

fn trace_file(site: &Site, life: usize) -> PathBuf {
    site.path(&format!("trace-{life}"))
}

fn start_recorded(site: &mut Site, life: usize) {
    let file = trace_file(site, life);
    let traced = format!("trace={CALLS}");
    let recorder = ["strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-T", "-xx", "-y", "-s", "33554432"];
    let what = ["-e", &traced, "-o", file.to_str().unwrap()];
    site.start_programs_by(&[&recorder[..], &what].concat());
    site.start_manager();
    site.start_programs_by(&[]);
}

/// Waits for the manager's end and that of its recording.
fn end_of_life(site: &mut Site, life: usize) -> Life {
    let process = site.manager().id();
    site.manager().wait();
    // It has ended: this only forgets it.
    site.kill_manager();
    let file = trace_file(site, life);
    wait_until("the recording is complete", || ends_with_process(&file, process));
    let trace = Trace::read(&file, site.root());
    std::fs::remove_file(&file).unwrap();
    Life { trace, left: read_tree(&site.path(STATE), STATE) }
}

fn ends_with_process(file: &Path, process: u32) -> bool {
    use std::os::unix::fs::FileExt;
    let Ok(file) = std::fs::File::open(file) else { return false };
    let length = file.metadata().unwrap().len();
    let mut end = [0; 200];
    let begin = length.saturating_sub(end.len() as u64);
    let read = file.read_at(&mut end, begin).unwrap();
    let text = String::from_utf8_lossy(&end[..read]);
    let last = text.trim_end().rsplit('\n').next().unwrap_or_default();
    text.ends_with('\n') && last.starts_with(&process.to_string()) && last.contains("+++")
}
