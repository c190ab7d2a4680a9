//! Against a manager made for it, over memory.

mod absence;
mod cancelling;
mod claims;
mod harness;
mod stopping;
mod waiting;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use task_messenger_daemon::{config::ConfigDuration, shutdown::Cause};
use task_messenger_protocol::messages::{Command, Goodbye, Reason, Template, from_peer::Message, outcome::Ending};

use self::harness::{Place, decode, exists, go, skills, text};
use crate::runners::skill::{SkillError, SkillRegistry};

#[tokio::test]
async fn a_start_is_told_before_the_outcome_and_each_outcome_says_how_it_ended() {
    let place = Place::new(2);
    let exit = place
        .work(SkillRegistry::with_built_in(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            let resume = &peer.resume;
            assert_eq!(
                (resume.slots, resume.window, resume.accepts_commands, resume.name.as_str()),
                (2, 2, true, "one")
            );
            assert!(resume.skills.contains(&"dgemm".to_owned()) && resume.incarnation.len() == 16);
            peer.define(1, &Template::of_skill("string-reversal")).await;
            peer.define(2, &Template::of_skill("unheard-of")).await;
            peer.assign(1, 10, &[r#"{"text":"abc"}"#, "no JSON"]).await;
            let mut started = Vec::new();
            let mut ended = Vec::new();
            while ended.len() < 2 {
                match peer.next_word().await {
                    Message::Started(more) => started.extend(more.leases),
                    Message::Outcomes(outcomes) => ended.extend(decode(outcomes)),
                    other => panic!("{other:?}"),
                }
                assert!(ended.iter().all(|(lease, ..)| started.contains(lease)));
            }
            ended.sort_by_key(|(lease, ..)| *lease);
            let short: Vec<_> =
                ended.iter().map(|(lease, status, outcome)| (*lease, *status, outcome.ending())).collect();
            assert_eq!(short, [(10, 1, Ending::Exited), (11, 2, Ending::Error)]);
            assert_eq!(ended[0].2.output, r#"{"text":"cba"}"#);

            peer.assign(2, 20, &[""]).await;
            assert_eq!(peer.started().await, [20]);
            let (number, ended) = peer.outcomes().await;
            assert_eq!(ended[0].2.text, "this worker has no skill named \"unheard-of\"");
            peer.take(number).await;
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_lost_link_loses_nothing_and_what_the_manager_drops_is_stopped() {
    let place = Place::new(2);
    let files: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| place.path(name)).collect();
    let payloads: Vec<&str> = files.iter().map(|file| text(file)).collect();
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(5, &place.held_up()).await;
            peer.assign(5, 100, &payloads[..2]).await;
            assert_eq!(peer.started().await, [100, 101]);
            exists(&files[0]).await;
            exists(&files[1]).await;
            peer.assign(5, 102, &payloads[2..]).await;
            drop(peer);

            // While the manager is away, a task ends: its outcome goes into the file.
            let peer = manager.accept().await;
            assert_eq!(peer.resume.ended, [false; 3]);
            let mut held: Vec<_> = peer.resume.leases.iter().zip(&peer.resume.indexes).collect();
            held.sort();
            assert_eq!(held, [(&100, &0), (&101, &1), (&102, &0)]);
            assert_eq!(peer.resume.jobs, [7; 3]);
            go(&files[0]);
            exists(&place.path("outbox")).await;
            assert!(!files[2].exists(), "nothing starts until the manager has answered");
            drop(peer);

            let mut peer = manager.resume(&[101]).await;
            let ended = peer.resume.leases.iter().zip(&peer.resume.ended).find(|(lease, _)| **lease == 100);
            assert_eq!(ended, Some((&100, &true)));
            let (mut started, mut ended) = (Vec::new(), Vec::new());
            while started.is_empty() || ended.is_empty() {
                match peer.next_word().await {
                    Message::Started(more) => started.extend(more.leases),
                    Message::Outcomes(outcomes) => ended.push((outcomes.number, decode(outcomes))),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(started, [102], "the first one's slot is free, and the second is stopped");
            assert_eq!((ended[0].0, ended[0].1[0].0, ended[0].1[0].2.output.trim_ascii_end()), (1, 100, &b"7.0"[..]));
            exists(&files[2]).await;
            drop(peer);

            // It was not taken: it comes again, under the first number of this session.
            let mut peer = manager.resume(&[]).await;
            assert!(!peer.resume.leases.contains(&101), "what was dropped is forgotten");
            let mut words = (peer.next_word().await, peer.next_word().await);
            if matches!(words.0, Message::Outcomes(_)) {
                words = (words.1, words.0);
            }
            let (Message::Started(_), Message::Outcomes(outcomes)) = words else { panic!("{words:?}") };
            assert_eq!((outcomes.number, outcomes.leases), (1, vec![100]));
            peer.take(1).await;
            go(&files[2]);
            let (number, ended) = peer.outcomes().await;
            assert_eq!((number, ended[0].0, ended[0].1), (2, 102, 1));
            trigger.request(Cause::Terminate);
            // The worker leaves without the last word having been taken; it keeps it.
            drop(peer);
        })
        .await;
    assert_eq!(exit, 0);

    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            assert_eq!((&peer.resume.leases[..], &peer.resume.ended[..]), (&[102][..], &[true][..]));
            let (number, ended) = peer.outcomes().await;
            assert_eq!(ended[0].2.output.trim_ascii_end(), b"7.0");
            peer.take(number).await;
            trigger.request(Cause::Terminate);
            peer.is_left().await;
        })
        .await;
    assert_eq!(exit, 0);
    assert_eq!(fs::metadata(place.path("outbox")).unwrap().len(), 0);
}

#[tokio::test]
async fn a_stop_gives_back_what_waits_and_lets_finish_what_runs() {
    let place = Place::new(1);
    let files: Vec<PathBuf> = ["a", "b"].iter().map(|name| place.path(name)).collect();
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &place.held_up()).await;
            peer.assign(1, 1, &[text(&files[0]), text(&files[1])]).await;
            assert_eq!(peer.started().await, [1]);
            exists(&files[0]).await;
            trigger.request(Cause::Terminate);
            assert_eq!(peer.given_back().await, [2]);
            peer.assign(1, 3, &[""]).await;
            assert_eq!(peer.given_back().await, [3], "nothing new is taken");
            assert_eq!(peer.window, 0);
            go(&files[0]);
            let (number, ended) = peer.outcomes().await;
            assert_eq!((ended[0].0, ended[0].1), (1, 1));
            peer.take(number).await;
            peer.is_left().await;
        })
        .await;
    assert_eq!(exit, 0);
    assert!(!files[1].exists());
}

#[tokio::test]
async fn what_outlasts_the_grace_is_ended_and_given_back() {
    let mut place = Place::new(2);
    place.config.shutdown.grace = ConfigDuration(Duration::from_millis(100));
    let file = place.path("a");
    let work = skills(|_, context| {
        while !context.expired() {
            std::thread::yield_now();
        }
        Err(SkillError::new("stopped"))
    });
    let exit = place
        .work(work, async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &place.held_up()).await;
            peer.define(2, &Template::of_skill("function")).await;
            peer.assign(1, 1, &[text(&file)]).await;
            peer.assign(2, 2, &[""]).await;
            exists(&file).await;
            trigger.request(Cause::Terminate);
            let mut given_back = Vec::new();
            while given_back.len() < 2 {
                match peer.next_word().await {
                    Message::GivenBack(given) => given_back.extend(given.leases),
                    Message::Started(_) => (),
                    other => panic!("{other:?}"),
                }
            }
            given_back.sort_unstable();
            assert_eq!(given_back, [1, 2]);
            peer.is_left().await;
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_skill_that_outlasts_the_grace_and_cannot_be_stopped_is_given_back_and_charged_to_nobody() {
    static RELEASE: AtomicBool = AtomicBool::new(false);
    let mut place = Place::new(1);
    place.config.shutdown.grace = ConfigDuration(Duration::from_millis(100));
    let work = skills(|_, _| {
        while !RELEASE.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    });
    let exit = place
        .work(work, async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            peer.assign(1, 1, &[""]).await;
            assert_eq!(peer.started().await, [1]);
            trigger.request(Cause::Terminate);
            assert_eq!(peer.given_back().await, [1]);
            peer.is_left().await;
        })
        .await;
    RELEASE.store(true, Ordering::Relaxed);
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_revoked_worker_ends_its_tasks_and_itself() {
    let place = Place::new(1);
    let process = place.path("process");
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, _trigger| {
            let mut peer = manager.resume(&[]).await;
            let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", process.display());
            let arguments = vec!["-c".to_owned(), script];
            let command = Command { program: "sh".to_owned(), arguments, ..Command::default() };
            peer.define(1, &Template::of_command(command)).await;
            peer.assign(1, 1, &[""]).await;
            exists(&process).await;
            peer.say(Goodbye { reason: Reason::Unauthenticated.into(), text: "revoked".to_owned() }).await;
        })
        .await;
    assert_eq!(exit, 78);
    let process = fs::read_to_string(process).unwrap();
    assert!(!Path::new(&format!("/proc/{}", process.trim())).exists());
}

#[tokio::test]
async fn a_skill_that_cannot_be_stopped_fails_and_has_the_worker_started_again() {
    static RELEASE: AtomicBool = AtomicBool::new(false);
    let place = Place::new(1);
    let work = skills(|_, _| {
        while !RELEASE.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    });
    let exit = place
        .work(work, async |mut manager, _trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template { timeout_milliseconds: 50, ..Template::of_skill("function") }).await;
            peer.assign(1, 1, &["", ""]).await;
            assert_eq!(peer.started().await, [1]);
            let (mut given_back, mut outcome) = (Vec::new(), None);
            while given_back.is_empty() || outcome.is_none() {
                match peer.next_word().await {
                    Message::GivenBack(given) => given_back.extend(given.leases),
                    Message::Outcomes(outcomes) => {
                        peer.take(outcomes.number).await;
                        outcome = decode(outcomes).pop();
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(given_back, [2]);
            let (lease, status, outcome) = outcome.unwrap();
            assert_eq!((lease, status, outcome.ending()), (1, 2, Ending::TimedOut));
        })
        .await;
    RELEASE.store(true, Ordering::Relaxed);
    assert_eq!(exit, 1);
}

#[tokio::test]
async fn a_silent_manager_is_left_and_one_that_answers_is_not() {
    let place = Place::new(1);
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            manager.silence = Duration::from_millis(300);
            let mut peer = manager.resume(&[]).await;
            let mut pings = 0;
            while pings < 6 {
                if let Message::Ping(ping) = peer.next().await {
                    pings += 1;
                    peer.say(task_messenger_protocol::messages::Pong { number: ping.number }).await;
                }
            }
            peer.is_left().await;
            let mut peer = manager.resume(&[]).await;
            peer.say(Goodbye { reason: Reason::Restarting.into(), text: String::new() }).await;
            manager.resume(&[]).await;
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}
