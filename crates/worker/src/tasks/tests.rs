use super::*;
use crate::runners::skill::built_in::StringReversal;

fn template(work: Work, slots: u32) -> Rc<Template> {
    Rc::new(Template { work, slots, timeout: None, measure: Cell::default() })
}

fn command(slots: u32) -> Rc<Template> {
    template(Work::Command(Arc::default()), slots)
}

fn add(tasks: &mut Tasks, lease: u64, template: &Rc<Template>) {
    let held = Held {
        name: TaskName { job: 1, index: 0 },
        attempt: 1,
        template: Rc::clone(template),
        payload: Bytes::new(),
        stage: Stage::Waiting,
        since: Instant::now(),
        stopping: None,
    };
    tasks.add(lease, held);
}

fn started(tasks: &mut Tasks) -> Vec<(Vec<u64>, u32)> {
    std::iter::from_fn(|| tasks.next_unit()).map(|unit| (unit.leases, unit.slots)).collect()
}

#[test]
fn nothing_starts_before_a_wide_task_that_came_first() {
    let mut tasks = Tasks::new(4);
    let (narrow, wide, widest) = (command(1), command(3), command(9));
    for (lease, template) in [(1, &narrow), (2, &narrow), (3, &wide), (4, &narrow), (5, &widest), (6, &narrow)] {
        add(&mut tasks, lease, template);
    }
    assert_eq!(started(&mut tasks), [(vec![1], 1), (vec![2], 1)], "two slots are free, the next one needs three");
    tasks.release(1);
    assert_eq!(started(&mut tasks), [(vec![3], 3)]);
    tasks.release(1);
    assert_eq!(started(&mut tasks), [(vec![4], 1)]);
    tasks.release(3);
    assert_eq!(started(&mut tasks), [], "one that is too wide waits for the whole worker");
    tasks.release(1);
    assert_eq!(started(&mut tasks), [(vec![5], 4)]);
}

#[test]
fn short_skill_tasks_start_together_and_share_what_is_free() {
    let mut tasks = Tasks::new(2);
    let skill = template(Work::Skill(Arc::new(StringReversal)), 1);
    (1..=3).for_each(|lease| add(&mut tasks, lease, &skill));
    assert_eq!(started(&mut tasks), [(vec![1], 1), (vec![2], 1)], "nothing is known of them yet");
    tasks.release(2);
    skill.record(2, Duration::from_micros(20));
    (4..=8).for_each(|lease| add(&mut tasks, lease, &skill));
    add(&mut tasks, 9, &command(1));
    assert_eq!(started(&mut tasks), [(vec![3, 4, 5, 6], 1), (vec![7, 8], 1)]);
    tasks.put_back([7, 8].into_iter());
    tasks.release(1);
    assert_eq!(started(&mut tasks), [(vec![7, 8], 1)], "what did not start comes before what came later");
    skill.record(10, Duration::from_millis(10));
    assert_eq!(tasks.shed(1), [0; 0], "one slot's worth may wait");
    assert_eq!(tasks.shed(0), [9]);
    assert!(tasks.waiting_since().is_none() && tasks.get(9).is_none());
}
