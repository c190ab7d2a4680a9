//! Commands that don't end, don't listen, hide or can't even start: they hurt only themselves, and leave nothing.

use std::{collections::BTreeMap, path::Path};

use task_messenger_client::{
    Client, Command, EncodedTemplate, Ending, JobOptions, Target, TaskResult, TaskState, Template, Use,
};

use crate::harness::{Site, json, wait_until};

/// What runs on, however it is asked, after having told of its process in the file `$TOLD`.
const STAY: &str = r#"cat > stay <<'END'
#!/bin/sh
trap '' TERM HUP
echo $$ >> "$1"
while :; do sleep 0.1; done
END
chmod 755 stay
"#;

/// Two who left the group, one of them with nothing of the task's left but its first argument, and waiting for them.
const LEAVE: &str = r#"
(setsid ./stay "$TOLD" &)
(env -i PATH="$PATH" setsid sh -c 'exec <&- >&- 2>&-; s=$PWD/stay; cd /; $s "$0" & exit' "$TOLD" &)
while [ "$(cat "$TOLD" 2>/dev/null | wc -l)" -lt 2 ]; do sleep 0.02; done
"#;

fn shell(script: &str, told: &Path) -> Command {
    Command {
        program: "sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: BTreeMap::from([("TOLD".to_owned(), told.to_str().unwrap().to_owned())]),
        payload: Use::None.into(),
    }
}

fn told(file: &Path) -> Vec<u32> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect()
}

/// A process's parent; `None` when there is no such process, or it only waits to be reaped by somebody.
fn parent_of_living(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.next()?.parse().ok()
}

/// The children of a process, also those that wait to be reaped.
fn children(process: u32) -> Vec<String> {
    let stats = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("stat"));
    let of_process = |stat: &String| {
        stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1) == Some(&process.to_string()[..])
    };
    stats.filter_map(|path| std::fs::read_to_string(path).ok()).filter(of_process).collect()
}

async fn run(client: &Client, templates: &[Template]) -> Vec<TaskResult> {
    let mut writer = client.job(JobOptions::default()).unwrap();
    for template in templates {
        writer.push(&EncodedTemplate::new(template).unwrap(), b"").await.unwrap();
    }
    let job = writer.finish().await.unwrap().job;
    let mut follow = client.follow(Target::Job(job)).unwrap();
    let mut results = Vec::new();
    while let Some(result) = follow.next().await.unwrap() {
        results.push(result);
    }
    results.sort_unstable_by_key(|result| result.index);
    results
}

#[test]
fn what_a_killed_worker_left_running_is_ended_before_its_next_start_takes_work() {
    let site = Site::start();
    let mut worker = site.worker("one");
    let mut other = site.worker_with("other", json!({"slots": 1}));
    site.log_in();
    let (ours, theirs) = (site.path("ours"), site.path("theirs"));
    let script = |first: &str| format!("{first}{STAY}{LEAVE}exec ./stay \"$TOLD\"");
    let submit = |told: &Path, script: &str, slots: &str| {
        let variable = format!("TOLD={}", told.display());
        site.invoke(&["submit", "--wait", "--slots", slots, "--env", &variable, "--", "sh", "-c", script], None)
    };
    // The second attempt says who of the first still runs.
    let first = r#"if [ -e "$TOLD" ]; then
    for process in $(cat "$TOLD"); do grep -H '^State' "/proc/$process/status" | grep -v '[ZX] ('; done
    echo over
    exit
fi
"#;
    let submitted = submit(&ours, &script(first), "2");
    wait_until("it runs with all that it left", || told(&ours).len() == 3);
    let neighbour = submit(&theirs, &script(""), "1");
    wait_until("the neighbour runs too", || told(&theirs).len() == 3);
    worker.kill();
    assert!(told(&ours).iter().all(|process| parent_of_living(*process).is_some()), "nobody else ends them");
    worker.start();
    assert_eq!(submitted.wait().ended_with(0).text(), "over\n");
    assert!(told(&ours).iter().all(|process| parent_of_living(*process).is_none()));
    assert!(told(&theirs).iter().all(|process| parent_of_living(*process).is_some()), "another worker's are its own");
    assert!(worker.log().contains("had left running"), "it says so");
    drop(neighbour);
    other.kill();
    other.start();
    wait_until("the other's have ended", || told(&theirs).iter().all(|process| parent_of_living(*process).is_none()));
}

#[test]
fn a_timeout_and_a_success_end_what_left_the_process_group() {
    let site = Site::start();
    let mut worker = site.worker_with("one", json!({"kill_after": "200ms"}));
    site.log_in();
    for (end, options, code) in [("wait; exec sleep 1000", &["--timeout", "2s"][..], 124), ("exit 5", &[], 5)] {
        let file = site.path(&format!("told-{code}"));
        let (script, variable) = (format!("{STAY}{LEAVE}{end}"), format!("TOLD={}", file.display()));
        let words = ["submit", "--wait", "--max-attempts", "1", "--env", &variable];
        site.run(&[&words[..], options, &["--", "sh", "-c", &script]].concat()).ended_with(code);
        let processes = told(&file);
        assert_eq!(processes.len(), 2);
        // Whoever was told of the task's end can rely on it.
        assert!(processes.iter().all(|process| parent_of_living(*process).is_none()));
        assert_eq!(children(worker.process().id()), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_that_misbehave_in_every_way_hurt_only_themselves_and_leave_nothing() {
    let site = Site::start();
    let mut worker = site.worker_with("one", json!({"slots": 6, "kill_after": "200ms"}));
    let client = site.client().await;
    let once =
        |command: Command| Template { max_attempts: 1, timeout_milliseconds: 3_000, ..Template::of_command(command) };
    let told_file = site.path("told");
    let of_shell = |script: &str| once(shell(script, &told_file));
    let of_program =
        |program: &Path| once(Command { program: program.to_str().unwrap().to_owned(), ..Command::default() });
    let fine = Template { max_attempts: 1, ..of_shell("cat; echo fine") };
    // Whatever is opened once and stays, is open.
    assert_eq!(run(&client, std::slice::from_ref(&fine)).await[0].state, TaskState::Succeeded);
    let process = worker.process().id();
    let open = || std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let open_before = open();

    let text = site.path("text");
    std::fs::write(&text, "not a program").unwrap();
    let mut large = shell("true", &told_file);
    large.environment.insert("LARGE".to_owned(), "x".repeat(140_000));
    let ways = [
        (of_shell("yes"), Ending::TimedOut, "timeout"),
        (of_shell("trap '' TERM; yes & yes >&2"), Ending::TimedOut, "timeout"),
        (of_shell("trap '' TERM; kill -STOP $$"), Ending::TimedOut, "timeout"),
        (of_shell(&format!("{STAY}{LEAVE}wait; exec ./stay \"$TOLD\"")), Ending::TimedOut, "timeout"),
        (of_shell("exec <&- >&- 2>&-; exit 4"), Ending::Exited, ""),
        (of_shell("head -c 3000000 /dev/urandom; kill -SEGV $$"), Ending::Signalled, ""),
        (of_shell("for i in 1 2 3 4 5 6 7 8 9; do setsid --fork sleep 1000; done; exit 3"), Ending::Exited, ""),
        (of_program(Path::new("/no/such/program")), Ending::Error, "is not there"),
        (of_program(site.root()), Ending::Error, "is a directory"),
        (of_program(&text), Ending::Error, "is not executable"),
        (once(large), Ending::Error, "on standard input or in files"),
    ];
    let mut templates: Vec<_> = ways.iter().map(|(template, _, _)| template.clone()).collect();
    templates.extend(std::iter::repeat_n(fine, 40));
    let results = run(&client, &templates).await;
    for (result, (_, ending, text)) in results.iter().zip(&ways) {
        let outcome = &result.outcome;
        assert!(result.state == TaskState::Failed && outcome.ending() == *ending, "{ending:?}: {outcome:?}");
        assert!(outcome.text.contains(text), "{text:?} is not in {:?}", outcome.text);
    }
    for result in &results[ways.len()..] {
        assert_eq!((result.state, &result.outcome.output[..]), (TaskState::Succeeded, &b"fine\n"[..]));
    }
    assert!(told(&told_file).len() == 3 && told(&told_file).iter().all(|id| parent_of_living(*id).is_none()));
    assert_eq!(children(process), [""; 0], "no process is left, and none to be reaped");
    assert_eq!(std::fs::read_dir(worker.state().join("scratch")).unwrap().count(), 0);
    wait_until("no descriptor stays open", || open() == open_before);
    assert!(!worker.process().has_ended());
}
