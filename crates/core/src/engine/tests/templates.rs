//! Templates and jobs take a bounded amount of memory, and give it back.

use std::{sync::Arc, time::Duration};

use super::environment::{CALLER, CLIENT, Environment, assigned, template, values};
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, SessionNumber},
    input::{Input, Named, Resume, Submit},
    labels::Labels,
    limits::Limits,
    record::{Caller, JobKey, Record},
    state::State,
    template::{Kind, Template},
};

const HOUR: Duration = Duration::from_hours(1);
const ADMIN: Caller = Caller { admin: true, ..CALLER };

fn with_worker(retain: Option<Duration>) -> Environment {
    // The worker may be silent all the while.
    let mut environment = Environment::with(Limits { retain, lease_grace: 100 * HOUR, ..Limits::default() });
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 100, &[]);
    environment
}

fn numbers(environment: &Environment) -> Vec<u32> {
    let mut numbers: Vec<_> = environment.engine.state().templates.iter().map(|(number, _)| number.0).collect();
    numbers.sort_unstable();
    numbers
}

fn purge(environment: &mut Environment) {
    environment.input(Input::Purge { session: CLIENT, request: 1, caller: ADMIN, older_than: Duration::ZERO });
}

#[test]
fn templates_leave_with_the_last_of_their_tasks_and_their_numbers_are_not_used_again() {
    let mut environment = with_worker(Some(HOUR));
    let run = |environment: &mut Environment, key: u8, priorities: &[i32]| {
        for (at, priority) in (0..).zip(priorities) {
            let given = assigned(&environment.submit(key, at, 1, &template(*priority, 1, 1)));
            environment.report(1, &[(given[0].1, true)]);
        }
        environment.close(key);
    };
    run(&mut environment, 1, &[1, 2]);
    environment.pass(HOUR / 2);
    run(&mut environment, 2, &[2, 3]);
    let bytes = environment.engine.state().templates.bytes();
    assert_eq!(numbers(&environment), [0, 1, 2]);
    environment.pass(HOUR / 2);
    assert_eq!(numbers(&environment), [1, 2], "the first went with its job, the second is still used");
    assert_eq!(environment.engine.state().templates.bytes(), bytes / 3 * 2);
    environment.restart();
    environment.pass(HOUR);
    assert_eq!((numbers(&environment), environment.engine.state().templates.bytes()), (vec![], 0));

    // What comes again is new, also for a manager that knows a snapshot only.
    let mut restored = State::default();
    environment.engine.state().image().parts().for_each(|part| restored.restore(part));
    assert_eq!((restored.templates.next().0, environment.engine.state().templates.next().0), (3, 3));
    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    environment.submit(3, 0, 1, &template(2, 1, 1));
    assert_eq!(numbers(&environment), [3]);
}

#[test]
fn a_template_whose_tasks_were_lost_with_the_manager_is_forgotten() {
    let mut environment = with_worker(None);
    environment.submit(1, 0, 1, &template(7, 1, 1));
    let added = |(record, _): &(Record, _)| matches!(record, Record::TemplateAdded { .. });
    let records = environment.log.0.iter().position(added).expect("it was added") + 1;
    environment.restart_with(records);
    assert_eq!(environment.engine.state().templates.iter().count(), 0);
}

#[test]
fn what_workers_know_of_a_kind_of_work_is_not_taken_for_another_kind_that_follows_it() {
    let mut environment = with_worker(None);
    let of_skill = |name: &str| {
        let body = name.to_owned().into();
        Arc::new(Template { kind: Kind::Skill(name.to_owned()), body, ..(*template(0, 1, 1)).clone() })
    };
    let worker = environment.enrol(2);
    let resume = |skill: &str| Resume { slots: 1, window: 1, skills: [skill.to_owned()].into(), ..Resume::default() };
    let session = SessionNumber(2);
    environment.input(Input::Resume { session, worker, resume: resume("one") });
    let given = assigned(&environment.submit(1, 0, 1, &of_skill("one")));
    environment.report(2, &[(given[0].1, true)]);
    environment.close(1);
    purge(&mut environment);
    assert_eq!(numbers(&environment), [0; 0]);
    assert_eq!(assigned(&environment.submit(2, 0, 1, &of_skill("two"))), [], "the worker can't do it");
    assert_eq!(assigned(&environment.submit(3, 0, 1, &of_skill("one"))).len(), 1);
}

#[test]
fn what_jobs_and_templates_take_in_memory_is_bounded_and_free_again_with_them() {
    let limits = Limits { descriptions: 10_000, ..Limits::default() };
    let mut environment = Environment::with(limits);
    let submit = |environment: &mut Environment, key: u8, name: &str, priority: i32| -> Option<Refusal> {
        let submit = Submit {
            key: JobKey([key; 16]),
            name: name.to_owned(),
            idempotency: None,
            labels: Labels::new(),
            first_index: 0,
            template: template(priority, 1, 1),
            payloads: values(1),
            last: true,
            delay: None,
            deadline: None,
        };
        let effects = environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit });
        effects.into_iter().find_map(|effect| match effect {
            Effect::Refused { refusal, .. } => Some(refusal),
            _ => None,
        })
    };
    let full = (1..=100).find(|key| submit(&mut environment, *key, "", 0).is_some()).expect("it is full");
    let refused = submit(&mut environment, full, "", 0);
    assert!(matches!(refused, Some(Refusal::Exhausted { limit: 10_000, .. })), "{refused:?}");
    assert!((15..30).contains(&full), "{full} jobs of about 400 bytes");
    assert_eq!(submit(&mut environment, 1, "", 0), None, "a repeated submit adds nothing");
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named: Named::Job(JobNumber(1)) });
    purge(&mut environment);
    assert!(submit(&mut environment, full, &"n".repeat(256), 0).is_some(), "its name is too long for that room");
    assert!(submit(&mut environment, full, "", 1).is_some(), "a new template needs room too");
    assert_eq!(submit(&mut environment, full, "", 0), None);
}

#[test]
fn a_kind_of_work_is_known_until_the_last_template_of_it_goes() {
    let mut environment = with_worker(None);
    let state = |environment: &Environment| {
        let templates = &environment.engine.state().templates;
        let mut classes: Vec<u32> = templates.iter().map(|(number, _)| templates.class(number).0).collect();
        classes.sort_unstable();
        (classes, templates.reused())
    };
    let run = |environment: &mut Environment, key: u8, priority: i32, slots: u32| {
        let given = assigned(&environment.submit(key, 0, 1, &template(priority, slots, 1)));
        environment.report(1, &[(given[0].1, true)]);
    };
    // The first of two templates of one kind goes; a third template of another kind must not take the kind's place.
    run(&mut environment, 1, 1, 1);
    environment.close(1);
    run(&mut environment, 2, 2, 1);
    purge(&mut environment);
    run(&mut environment, 3, 3, 2);
    assert_eq!(state(&environment), (vec![0, 1], 0));
    environment.close(2);
    purge(&mut environment);
    run(&mut environment, 4, 4, 3);
    assert_eq!(state(&environment), (vec![0, 1], 1), "the place of the first kind is free and taken");
}
