//! A manager that is away for long.

use std::time::Duration;

use task_messenger_daemon::shutdown::Cause;
use tokio::time::Instant;

use super::harness::{Place, skills};

/// The longest wait between two attempts.
const STEP: Duration = Duration::from_secs(15);

#[tokio::test(start_paused = true)]
async fn ten_minutes_without_a_manager_cost_one_back_off_step() {
    let mut place = Place::new(1);
    place.patience = Duration::from_hours(1);
    let exit = place
        .work(skills(|_, _| Ok(Vec::new())), async |mut manager, trigger| {
            let begin = Instant::now();
            let (mut attempts, mut last) = (0, begin);
            while begin.elapsed() < Duration::from_mins(10) {
                manager.refuse().await;
                assert!(last.elapsed() <= STEP, "{:?} without an attempt", last.elapsed());
                (attempts, last) = (attempts + 1, Instant::now());
            }
            // On average half of the longest wait lies between two.
            assert!((40..400).contains(&attempts), "{attempts} attempts in {:?}", begin.elapsed());
            let back = Instant::now();
            manager.resume(&[]).await;
            assert!(back.elapsed() <= STEP, "it came back after {:?}", back.elapsed());
            trigger.request(Cause::Terminate);
        })
        .await;
    assert_eq!(exit, 0);
}
