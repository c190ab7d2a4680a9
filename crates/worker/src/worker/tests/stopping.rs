//! How long a stop takes when nothing of it goes well.

use std::{fs, time::Duration};

use task_messenger_daemon::{
    config::ConfigDuration,
    shutdown::{Cause, Trigger},
};
use task_messenger_protocol::messages::Template;
use tokio::time::{Instant, pause, resume};

use super::{
    super::{stop::longest_stop, watching::EXTENSION},
    harness::{Place, exists, skills, text},
};

/// The default.
const GRACE: Duration = Duration::from_mins(1);
const KILL_AFTER: ConfigDuration = ConfigDuration(Duration::from_secs(10));
/// How long the system leaves the process.
const LEFT: Duration = Duration::from_secs(5);

/// How long a stop takes of a worker whose skill can't be stopped, and whose manager takes no outcome.
async fn stop(ask: impl AsyncFnOnce(&Trigger)) -> Duration {
    let mut place = Place::new(1);
    place.config.kill_after = KILL_AFTER;
    place.patience = Duration::from_hours(1);
    let work = skills(|payload, _| {
        if payload == b"end" {
            return Ok(Vec::new());
        }
        fs::write(str::from_utf8(payload).unwrap(), "").unwrap();
        loop {
            std::thread::park();
        }
    });
    let hangs = place.path("hangs");
    let mut took = Duration::ZERO;
    let exit = place
        .work(work, async |mut manager, trigger| {
            manager.silence = Duration::from_hours(1);
            let mut peer = manager.resume(&[]).await;
            peer.define(1, &Template::of_skill("function")).await;
            peer.assign(1, 1, &["end"]).await;
            peer.started().await;
            peer.outcomes().await;
            peer.assign(1, 2, &[text(&hangs)]).await;
            peer.started().await;
            exists(&hangs).await;
            pause();
            let begin = Instant::now();
            ask(&trigger).await;
            while let Ok(Some(_)) = peer.reader.next().await {}
            took = begin.elapsed();
            resume();
        })
        .await;
    assert_eq!(exit, 0);
    took
}

#[tokio::test]
async fn a_stop_takes_no_longer_than_service_managers_are_told() {
    let told = longest_stop(GRACE, KILL_AFTER.0);
    let took = stop(async |trigger| trigger.request(Cause::Terminate)).await;
    assert!(took + EXTENSION <= told + Duration::from_secs(1), "{took:?} of {told:?}");
    assert!(took + EXTENSION + Duration::from_secs(1) > told, "the worst of it: {took:?} of {told:?}");
}

#[tokio::test]
async fn all_is_said_before_the_system_ends_the_process() {
    let took = stop(async |trigger| trigger.request(Cause::Closing)).await;
    assert!(took < LEFT, "{took:?}");
    // It may come while tasks still go on, and while they are ended.
    for before in [GRACE / 2, GRACE + KILL_AFTER.0 / 10] {
        let took = stop(async |trigger| {
            trigger.request(Cause::Interrupt);
            tokio::time::sleep(before).await;
            trigger.request(Cause::Closing);
        })
        .await;
        assert!(took > before && took < before + LEFT, "after {before:?}: {took:?}");
    }
}
