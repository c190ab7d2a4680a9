//! With skills made for it.

use std::sync::mpsc;

use tokio::time::timeout;

use super::*;

const NAME: TaskName = TaskName { job: 1, index: 0 };

struct Function<F>(F);

impl<F: Fn(&[u8], &SkillContext) -> Result<Vec<u8>, SkillError> + Send + Sync> Skill for Function<F> {
    fn name(&self) -> &'static str {
        "function"
    }

    fn run(&self, input: &[u8], context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        self.0(input, context)
    }
}

fn skill(
    function: impl Fn(&[u8], &SkillContext) -> Result<Vec<u8>, SkillError> + Send + Sync + 'static,
) -> Arc<dyn Skill> {
    Arc::new(Function(function))
}

fn task(skill: &Arc<dyn Skill>, lease: u64, payload: &'static [u8]) -> SkillTask {
    let payload = Bytes::from_static(payload);
    SkillTask { lease, name: NAME, attempt: 1, skill: Arc::clone(skill), payload, timeout: None }
}

/// All outcomes by lease once every lane is idle.
async fn finish(pool: &mut SkillPool, mut lanes: usize) -> Vec<(u64, u8, Outcome)> {
    let mut found = Vec::new();
    while lanes > 0 {
        timeout(Duration::from_secs(5), pool.ready()).await.expect("the lanes are done");
        for report in pool.collect() {
            lanes -= usize::from(report.idle);
            let FinishedTasks { leases, statuses, outcomes, .. } = report.finished;
            for ((lease, status), (_, value)) in leases.into_iter().zip(statuses).zip(outcomes.iter()) {
                let task_messenger_protocol::values::Value::Inline(bytes) = value else { panic!("{value:?}") };
                found.push((lease, status, Outcome::decode(bytes).unwrap()));
            }
        }
    }
    found
}

#[tokio::test]
async fn outcomes_say_how_each_task_ended() {
    let mut pool = SkillPool::new(1, 8);
    let echo = skill(|input, _| match input {
        b"error" => Err(SkillError::new("did not like it")),
        b"panic" => panic!("on purpose"),
        other => Ok(other.to_vec()),
    });
    let payloads: [&[u8]; 4] = [b"fine", b"error", b"panic", b"far too long"];
    let tasks = payloads.into_iter().zip(1..).map(|(payload, lease)| task(&echo, lease, payload)).collect();
    assert!(pool.submit(tasks).is_ok());
    let outcomes = finish(&mut pool, 1).await;
    let short: Vec<_> = outcomes
        .iter()
        .map(|(lease, status, outcome)| (*lease, *status, outcome.ending(), outcome.text.as_str()))
        .collect();
    assert_eq!(
        short,
        [
            (1, 1, Ending::Exited, ""),
            (2, 2, Ending::Error, "did not like it"),
            (3, 2, Ending::Panicked, "the skill panicked: on purpose"),
            (4, 2, Ending::Error, "the output has 12 bytes; at most 8 are allowed"),
        ]
    );
    assert_eq!(outcomes[0].2.output, &b"fine"[..]);
}

#[tokio::test]
async fn what_a_lane_has_not_begun_can_be_taken_back_and_what_runs_can_be_stopped() {
    let mut pool = SkillPool::new(2, 8);
    let (begin, begun) = mpsc::channel();
    let begin = Mutex::new(begin);
    let until_stopped = skill(move |_, context| {
        begin.lock().unwrap().send(()).unwrap();
        while !context.expired() {
            thread::yield_now();
        }
        if context.cancelled() { Ok(Vec::new()) } else { Err(SkillError::new("late")) }
    });
    let lane = pool.submit((1..=4).map(|lease| task(&until_stopped, lease, b"")).collect()).ok().unwrap();
    begun.recv().unwrap();
    assert_eq!(pool.running(lane).map(|running| (running.lease, running.queued)), Some((1, 3)));
    let deadline = SkillTask { timeout: Some(Duration::from_millis(50)), ..task(&until_stopped, 9, b"") };
    let other = pool.submit([deadline].into()).ok().unwrap();
    assert_ne!(other, lane, "a lane that works gets nothing more");
    begun.recv().unwrap();
    assert!(pool.submit([task(&until_stopped, 10, b"")].into()).is_err(), "there are only two lanes");

    assert!(pool.stop(lane, 3));
    let taken: Vec<_> = pool.take_back(lane).into_iter().map(|task| task.lease).collect();
    assert_eq!(taken, [2, 4]);
    assert!(!pool.stop(lane, 1));
    let mut outcomes = finish(&mut pool, 2).await;
    outcomes.sort_by_key(|(lease, ..)| *lease);
    let short: Vec<_> = outcomes.iter().map(|(lease, status, outcome)| (*lease, *status, outcome.ending())).collect();
    assert_eq!(short, [(1, 1, Ending::Exited), (9, 2, Ending::TimedOut)]);
}

#[tokio::test]
async fn a_lane_works_since_it_began_with_what_it_was_given_together() {
    let mut pool = SkillPool::new(1, 8);
    let (begin, begun) = mpsc::channel();
    let begin = Mutex::new(begin);
    let until_stopped = skill(move |_, context| {
        begin.lock().unwrap().send(Instant::now()).unwrap();
        while !context.expired() {
            thread::yield_now();
        }
        Ok(Vec::new())
    });
    let runs_since = |lease: u64, tasks: &[u64], pool: &mut SkillPool| {
        if !tasks.is_empty() {
            pool.submit(tasks.iter().map(|lease| task(&until_stopped, *lease, b"")).collect()).ok().unwrap();
        }
        let began = begun.recv().unwrap();
        let running = pool.running(0).unwrap();
        assert_eq!(running.lease, lease);
        pool.stop(0, lease);
        (running.lane_since, began)
    };
    let (first, began) = runs_since(1, &[1, 2], &mut pool);
    assert!(first <= began);
    assert_eq!(runs_since(2, &[], &mut pool).0, first, "not since the one that runs began");
    finish(&mut pool, 1).await;
    assert!(runs_since(3, &[3], &mut pool).0 > began);
    finish(&mut pool, 1).await;
}

#[tokio::test]
async fn every_one_of_many_short_tasks_comes_back_once() {
    let mut pool = SkillPool::new(3, 8);
    let nothing = skill(|_, _| Ok(Vec::new()));
    let mut next = 0;
    let mut seen = std::collections::BTreeSet::new();
    let mut working = 0;
    while seen.len() < 30_000 {
        while next < 30_000 && working < 3 {
            let batch = next..30_000.min(next + 1 + next % 97);
            next = batch.end;
            pool.submit(batch.map(|lease| task(&nothing, lease, b"")).collect()).ok().unwrap();
            working += 1;
        }
        timeout(Duration::from_secs(5), pool.ready()).await.expect("the lanes go on");
        for report in pool.collect() {
            working -= usize::from(report.idle);
            for lease in report.finished.leases {
                assert!(seen.insert(lease), "{lease} came twice");
            }
        }
    }
    assert_eq!(working, 0);
}
