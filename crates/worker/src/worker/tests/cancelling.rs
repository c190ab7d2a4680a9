//! Tasks that were cancelled.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};

use task_messenger_daemon::shutdown::Cause;
use task_messenger_protocol::messages::{CancelLeases, Command, Ping, Template, from_peer::Message};

use super::harness::{Place, exists, go, skills, text};
use crate::runners::skill::{SkillError, SkillRegistry};

#[tokio::test]
async fn what_waits_is_given_back_what_runs_is_ended_and_reported_and_the_rest_goes_on() {
    let place = Place::new(2);
    let files = ["a", "b", "c"].map(|name| place.path(name));
    let process = place.path("process");
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &place.held_up()).await;
            let script =
                format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done", text(&process));
            let arguments = vec!["-c".to_owned(), script];
            peer.define(
                2,
                &Template::of_command(Command { program: "sh".to_owned(), arguments, ..Command::default() }),
            )
            .await;
            peer.assign(2, 1, &[""]).await;
            peer.assign(1, 2, &[text(&files[0]), text(&files[1])]).await;
            let mut started = Vec::new();
            while started.len() < 2 {
                started.extend(peer.started().await);
            }
            assert_eq!(started, [1, 2]);
            exists(&process).await;
            exists(&files[0]).await;
            peer.say(CancelLeases { leases: vec![3, 99, 1] }).await;
            assert_eq!(peer.given_back().await, [3]);
            // It does not heed the request to end, and is killed.
            let (_, ended) = peer.outcomes().await;
            assert_eq!((ended.len(), ended[0].0, ended[0].1), (1, 1, 2));
            assert!(ended[0].2.text.contains("cancelled"), "{:?}", ended[0].2);
            let id = std::fs::read_to_string(&process).unwrap();
            assert!(!Path::new(&format!("/proc/{}", id.trim())).exists());
            peer.assign(1, 4, &[text(&files[2])]).await;
            assert_eq!(peer.started().await, [4], "its slot is free");

            // Cancelled twice, and once more when it is over: it is reported once.
            peer.say(CancelLeases { leases: vec![2] }).await;
            peer.say(CancelLeases { leases: vec![2] }).await;
            let (number, ended) = peer.outcomes().await;
            assert_eq!((ended.len(), ended[0].0, ended[0].1), (1, 2, 2));
            peer.say(CancelLeases { leases: vec![2] }).await;
            peer.take(number).await;
            go(&files[2]);
            let (_, ended) = peer.outcomes().await;
            assert_eq!((ended.len(), ended[0].0, ended[0].1), (1, 4, 1));
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
    assert!(!files[1].exists());
}

#[tokio::test]
async fn what_is_announced_and_not_yet_started_never_starts() {
    let mut place = Place::new(2);
    place.link_bytes = 1 << 10;
    let files = ["a", "b", "c"].map(|name| place.path(name));
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &place.held_up()).await;
            // Answers that nobody reads fill the link: the word of a start doesn't leave.
            for number in 0..1_000 {
                peer.say(Ping { number }).await;
            }
            peer.assign(1, 1, &files.each_ref().map(|file| text(file))).await;
            let turns = async || {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            };
            turns().await;
            peer.say(CancelLeases { leases: vec![1] }).await;
            turns().await;
            assert!(!files[1].exists(), "the word of it has left");
            let mut said = Vec::new();
            while !said.contains(&("given back", 1)) || !said.contains(&("started", 3)) {
                match peer.next_word().await {
                    Message::Started(started) => said.extend(started.leases.iter().map(|lease| ("started", *lease))),
                    Message::GivenBack(given) => said.extend(given.leases.iter().map(|lease| ("given back", *lease))),
                    Message::Pong(_) => (),
                    other => panic!("{other:?}"),
                }
            }
            said.sort_unstable();
            assert_eq!(said, [("given back", 1), ("started", 1), ("started", 2), ("started", 3)]);
            exists(&files[1]).await;
            exists(&files[2]).await;
            go(&files[1]);
            go(&files[2]);
            let mut left = 2;
            while left > 0 {
                left -= peer.outcomes().await.1.len();
            }
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
    assert!(!files[0].exists());
}

#[tokio::test]
async fn a_skill_that_heeds_it_ends_and_one_that_does_not_keeps_its_slot_until_it_returns() {
    static RELEASE: AtomicBool = AtomicBool::new(false);
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    let place = Place::new(2);
    let kill_after = place.config.kill_after.0;
    let work = skills(|input, context| {
        let over = || match input {
            b"heeds" => context.expired(),
            b"stubborn" => RELEASE.load(Ordering::Relaxed),
            _ => true,
        };
        RUNNING.fetch_add(1, Ordering::Relaxed);
        while !over() {
            std::thread::yield_now();
        }
        if context.cancelled() { Err(SkillError::new("stopped")) } else { Ok(Vec::new()) }
    });
    let exit = place
        .work(work, async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            peer.assign(1, 1, &["heeds", "stubborn"]).await;
            let mut started = Vec::new();
            while started.len() < 2 {
                started.extend(peer.started().await);
            }
            while RUNNING.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            peer.say(CancelLeases { leases: vec![1, 2] }).await;
            let (number, ended) = peer.outcomes().await;
            assert_eq!((ended.len(), ended[0].0, ended[0].1), (1, 1, 2));
            peer.take(number).await;
            // Others run meanwhile in the other slot, one after the other, for much longer than anything is waited for.
            let (since, mut lease) = (Instant::now(), 3);
            while since.elapsed() < 4 * kill_after {
                peer.assign(1, lease, &["", ""]).await;
                let mut left = 2;
                while left > 0 {
                    match peer.next_word().await {
                        Message::Outcomes(outcomes) => {
                            assert!(!outcomes.leases.contains(&2));
                            left -= outcomes.leases.len();
                            peer.take(outcomes.number).await;
                        }
                        Message::Started(_) => (),
                        other => panic!("{other:?}"),
                    }
                }
                lease += 2;
            }
            RELEASE.store(true, Ordering::Relaxed);
            let (_, ended) = peer.outcomes().await;
            assert_eq!((ended.len(), ended[0].0, ended[0].1), (1, 2, 2));
            trigger.request(Cause::Terminate);
        })
        .await;
    RELEASE.store(true, Ordering::Relaxed);
    assert_eq!(exit, 0);
}
