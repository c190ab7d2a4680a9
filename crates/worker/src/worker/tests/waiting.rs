//! How much waits here, and for how long.

use std::time::{Duration, Instant};

use task_messenger_daemon::{
    config::ConfigDuration,
    shutdown::{Cause, Trigger},
};
use task_messenger_protocol::messages::{TakeBack, Template, from_peer::Message};

use super::harness::{Manager, Peer, Place, decode, exists, go, skills, text};
use crate::{
    runners::skill::{SkillContext, SkillError, SkillRegistry},
    worker::{TICK, stop::WAITING_PATIENCE},
};

/// Hands out quick tasks of template 1 until the worker wants many; the next lease.
async fn hand_out_quick_ones(peer: &mut Peer) -> u64 {
    let mut lease = 1;
    while peer.window < 1_000 {
        peer.assign(1, lease, &[""; 50]).await;
        lease += 50;
        take_ends(peer, 50).await;
        assert!(lease < 100_000, "the window stays at {}", peer.window);
    }
    lease
}

/// Takes the outcomes of so many, but for those that come back because the machine is slow.
async fn take_ends(peer: &mut Peer, count: usize) {
    let mut left = count;
    while left > 0 {
        match peer.next_word().await {
            Message::Outcomes(outcomes) => {
                left -= outcomes.leases.len();
                peer.take(outcomes.number).await;
            }
            Message::GivenBack(given) => left -= given.leases.len(),
            _ => (),
        }
    }
}

/// A worker with two slots finds tasks quick, and then gets 500 that are not: all but what runs is given back.
async fn changes_its_mind(work: fn(&[u8], &SkillContext) -> Result<Vec<u8>, SkillError>, next: &str) {
    let mut place = Place::new(2);
    place.config.shutdown.grace = ConfigDuration(Duration::ZERO);
    place.waiting_patience = WAITING_PATIENCE;
    let exit = place
        .work(skills(work), async |mut manager: Manager, trigger: Trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            let lease = hand_out_quick_ones(&mut peer).await;
            peer.assign(1, lease, &vec![next; 500]).await;
            let (mut given_back, mut ended, since) = (0, 0, Instant::now());
            while given_back + ended < 498 {
                match peer.next().await {
                    Message::Window(window) => peer.window = window.slots,
                    Message::GivenBack(given) => {
                        assert_eq!(peer.window, 2, "what is given back would come again");
                        given_back += given.leases.len();
                    }
                    Message::Outcomes(outcomes) => {
                        ended += outcomes.leases.len();
                        peer.take(outcomes.number).await;
                    }
                    Message::Started(_) | Message::Ping(_) => (),
                    other => panic!("{other:?}"),
                }
            }
            println!("{given_back} of 500 were given back and {ended} had ended after {:?}", since.elapsed());
            assert!(given_back >= 450, "only {given_back} were given back, and {ended} ended here");
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn what_waits_behind_long_tasks_is_given_back() {
    let work = |input: &[u8], context: &SkillContext| {
        while input == b"slow" && !context.expired() {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    };
    changes_its_mind(work, "slow").await;
}

#[tokio::test]
async fn what_waits_for_too_long_is_given_back_though_tasks_end_all_the_while() {
    let work = |input: &[u8], _: &SkillContext| {
        if input == b"slow" {
            // As long as the worker takes from one look at what runs to the next.
            std::thread::sleep(TICK);
        }
        Ok(Vec::new())
    };
    changes_its_mind(work, "slow").await;
}

#[tokio::test]
async fn commands_that_come_after_quick_skills_do_not_wait_here() {
    let mut place = Place::new(2);
    place.waiting_patience = WAITING_PATIENCE;
    let exit = place
        .work(skills(|_, _| Ok(Vec::new())), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            peer.define(2, &place.held_up()).await;
            let lease = hand_out_quick_ones(&mut peer).await;
            let files: Vec<_> = (0..500).map(|number| place.path(&number.to_string())).collect();
            let payloads: Vec<&str> = files.iter().map(|file| text(file)).collect();
            peer.assign(2, lease, &payloads).await;
            assert_eq!(peer.started().await, [lease, lease + 1]);
            let given_back = peer.given_back().await;
            assert_eq!((peer.window, given_back), (2, (lease + 2..lease + 500).collect()));
            go(&files[0]);
            go(&files[1]);
            take_ends(&mut peer, 2).await;

            // Quick ones again: it soon wants as many as before.
            let mut next = lease + 500;
            while peer.window < 1_000 {
                peer.assign(1, next, &[""; 50]).await;
                next += 50;
                take_ends(&mut peer, 50).await;
                assert!(next < lease + 100_000, "the window stays at {}", peer.window);
            }
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn what_is_taken_back_is_given_back_unless_it_has_started() {
    let place = Place::new(1);
    let files = ["a", "b", "c"].map(|name| place.path(name));
    let exit = place
        .work(SkillRegistry::empty(), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &place.held_up()).await;
            peer.assign(1, 1, &files.each_ref().map(|file| text(file))).await;
            assert_eq!(peer.started().await, [1]);
            exists(&files[0]).await;
            peer.say(TakeBack { leases: vec![77, 2, 1] }).await;
            assert_eq!(peer.given_back().await, [2], "neither what runs nor what it never had");
            go(&files[0]);
            let mut words = Vec::new();
            while words.len() < 2 {
                match peer.next_word().await {
                    Message::Outcomes(outcomes) => words.extend(decode(outcomes).iter().map(|(lease, ..)| *lease)),
                    Message::Started(started) => words.extend(started.leases),
                    other => panic!("{other:?}"),
                }
            }
            words.sort_unstable();
            assert_eq!(words, [1, 3], "one goes on to its end, the next starts");
            peer.say(TakeBack { leases: vec![2, 3] }).await;
            go(&files[2]);
            assert_eq!(peer.outcomes().await.1[0].0, 3, "nothing is said of what has started meanwhile");
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
    assert!(!files[1].exists());
}
