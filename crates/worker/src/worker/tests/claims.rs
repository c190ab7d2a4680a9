//! Everything that a worker holds fits into one `Resume`.

use task_messenger_daemon::shutdown::Cause;
use task_messenger_protocol::messages::{OutcomesTaken, Template, from_peer::Message};

use super::harness::{Peer, Place, skills};

/// Hands out as much as the worker wants, and takes nothing of what ends, until it wants nothing more; the next lease.
async fn fill(peer: &mut Peer) -> u64 {
    let (mut lease, mut held) = (1, 0_u64);
    while peer.window > 0 {
        let more = u64::from(peer.window).saturating_sub(held);
        if more > 0 {
            peer.assign(1, lease, &vec![""; more as usize]).await;
            (lease, held) = (lease + more, held + more);
        }
        match peer.next().await {
            Message::Outcomes(outcomes) => held -= outcomes.leases.len() as u64,
            Message::GivenBack(given) => held -= given.leases.len() as u64,
            Message::Window(window) => peer.window = window.slots,
            _ => (),
        }
        assert!(lease < 10_000, "it takes ever more");
    }
    lease
}

#[tokio::test]
async fn a_worker_whose_outcomes_nobody_takes_stops_before_it_holds_more_than_it_can_claim() {
    let place = Place::new(2);
    let exit = place
        .work(skills(|_, _| Ok(Vec::new())), async |mut manager, trigger| {
            manager.message_bytes = 16 << 10;
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            let handed_out = fill(&mut peer).await - 1;
            drop(peer);
            let mut peer = manager.resume(&[]).await;
            let claimed = peer.resume.leases.len() as u64;
            println!("{claimed} of {handed_out} tasks are claimed");
            assert!((200..=630).contains(&claimed), "{claimed}");
            let mut ended = 0;
            while ended < claimed {
                match peer.next().await {
                    Message::Outcomes(outcomes) => {
                        ended += outcomes.leases.len() as u64;
                        peer.take(outcomes.number).await;
                    }
                    Message::Window(window) => peer.window = window.slots,
                    Message::Started(_) | Message::Ping(_) => (),
                    other => panic!("{other:?}"),
                }
            }
            while peer.window == 0 {
                if let Message::Window(window) = peer.next().await {
                    peer.window = window.slots;
                }
            }
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}

#[tokio::test]
async fn a_manager_that_takes_shorter_messages_than_before_hears_as_much_as_fits_and_gets_all_outcomes() {
    let place = Place::new(2);
    let exit = place
        .work(skills(|_, _| Ok(Vec::new())), async |mut manager, trigger| {
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            peer.assign(1, 1, &vec![""; 2_000]).await;
            let mut ended = 0;
            while ended < 2_000 {
                if let Message::Outcomes(outcomes) = peer.next_word().await {
                    ended += outcomes.leases.len();
                }
            }
            drop(peer);
            manager.message_bytes = 16 << 10;
            let mut peer = manager.resume(&[]).await;
            let claimed = peer.resume.leases.len();
            assert!((500..=630).contains(&claimed), "{claimed}");
            let mut ended = Vec::new();
            while ended.len() < 2_000 {
                let Message::Outcomes(outcomes) = peer.next_word().await else { continue };
                ended.extend(outcomes.leases);
                peer.say(OutcomesTaken { number: outcomes.number }).await;
            }
            ended.sort_unstable();
            assert!(ended.iter().copied().eq(1..=2_000));
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
    assert!(!place.path("outbox").exists() || std::fs::metadata(place.path("outbox")).unwrap().len() == 0);
}
