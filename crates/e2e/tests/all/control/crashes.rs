//! Tasks that kill their workers, as people see them.

use super::{show, submit};
use crate::harness::{Site, json, wait_until};

#[test]
fn a_crash_is_shown_and_a_task_that_kills_every_worker_is_a_dead_letter_without_an_outcome() {
    let site = Site::start();
    let mut worker = site.worker("one");
    site.log_in();
    // The worker is its parent. Once there is a file, it behaves.
    let file = site.path("once");
    let script = format!("test -e {0} || {{ touch {0}; kill -KILL $PPID; sleep 600; }}", file.display());
    let once = submit(&site, &[], &["sh", "-c", &script]);
    worker.wait();
    worker.start();
    site.run(&["wait", &once]).ended_with(0);
    let shown = show(&site, &once);
    let counts = (&shown["state"], &shown["crashes"], &shown["failures"], &shown["has_outcome"]);
    assert_eq!(counts, (&json!("succeeded"), &json!(1), &json!(0), &json!(true)), "{shown}");
    assert!(site.run(&["show", &once]).text().contains("workers died while it ran: 1"));

    let map =
        site.invoke(&["map", "--max-attempts", "1", "--", "sh", "-c", "kill -KILL $PPID; sleep 600"], Some(b"a\n"));
    let waits = {
        wait_until("it is there", || site.run(&["list", "--json"]).json().as_array().unwrap().len() == 2);
        site.invoke(&["wait", "2.0"], None)
    };
    for _ in 0..3 {
        worker.wait();
        worker.start();
    }
    let died = "the workers that ran it alone died";
    map.wait().ended_with(1).saying(&["line 1 (task 2.0)", died]);
    assert_eq!(waits.wait().ended_with(1).text(), format!("task 2.0 is failed: {died}\n"));
    let shown = show(&site, "2.0");
    let counts = (&shown["state"], &shown["crashes"], &shown["failures"], &shown["has_outcome"]);
    assert_eq!(counts, (&json!("failed"), &json!(2), &json!(1), &json!(false)), "{shown}");
    for question in [["show", "2.0"], ["list", "2"]] {
        let said = site.run(&question).ended_with(0);
        assert!(said.text().contains(&format!("failed: {died}")), "{said}");
    }
    site.run(&["result", "2.0"]).ended_with(1).saying(&[died]);
    let result = site.run(&["result", "2.0", "--json"]).ended_with(1).json();
    assert_eq!((&result["ending"], &result["code"]), (&json!("workers_died"), &json!(null)));
    assert!(site.run(&["results", "2"]).ended_with(1).text().contains(died));
    // The neighbours of such a task are another matter; the worker itself is well.
    site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
}
