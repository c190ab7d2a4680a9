//! Administrators: they drain, pause and remove workers, and revoke the token that workers join with, each time making
//! another. In the end they put everything right.

use std::time::Duration;

use task_messenger_core::{
    ids::{SessionNumber, WorkerNumber},
    input::Input,
    record::{Role, SecretHash, WorkerMode},
};

use crate::{
    manager::Manager,
    stage::{Event, Stage},
};

/// The session that administrators speak in, on the manager's own machine.
pub(crate) const LOCAL: SessionNumber = SessionNumber(0);

/// All administrators.
#[derive(Debug, Default)]
pub(crate) struct Administrator {
    requests: u64,
}

impl Administrator {
    /// Does something, and will again.
    pub(crate) fn act(&mut self, stage: &mut Stage, manager: &mut Manager) {
        let pause = if stage.calm { Duration::from_millis(300) } else { stage.delay(50_000, 3_000_000) };
        stage.after(pause, Event::Administer);
        if !manager.is_running() {
            return;
        }
        if stage.calm {
            self.put_right(stage, manager);
        } else if stage.scenario.administrated {
            self.do_something(stage, manager);
        }
    }

    fn do_something(&mut self, stage: &mut Stage, manager: &mut Manager) {
        let workers = manager.reference.workers_let_in();
        if workers.is_empty() {
            return;
        }
        let worker = WorkerNumber(stage.random.pick(&workers));
        let (session, request) = (LOCAL, self.next_request());
        let set = |mode| Input::SetWorker { session, request, worker, mode };
        let input = match stage.random.below(100) {
            0..25 => set(WorkerMode::Paused),
            25..50 => set(WorkerMode::Draining),
            50..85 => set(WorkerMode::Active),
            85..95 => Input::RemoveWorker { session, request, worker },
            _ => {
                let with_workers = stage.random.percent(50);
                let Some(token) = stage.model.join else { return self.make_token(stage, manager) };
                manager.receive(stage, Input::RevokeToken { session, request, token, with_workers });
                return self.make_token(stage, manager);
            }
        };
        manager.receive(stage, input);
    }

    fn put_right(&mut self, stage: &mut Stage, manager: &mut Manager) {
        for worker in manager.reference.workers_held_up() {
            let (request, worker) = (self.next_request(), WorkerNumber(worker));
            let mode = WorkerMode::Active;
            manager.receive(stage, Input::SetWorker { session: LOCAL, request, worker, mode });
        }
        if stage.model.join.is_none() {
            self.make_token(stage, manager);
        }
    }

    fn make_token(&mut self, stage: &mut Stage, manager: &mut Manager) {
        // Clients' tokens come first, so that their numbers are known.
        if stage.model.tokens_told() <= stage.scenario.clients {
            return;
        }
        let request = self.next_request();
        let input = Input::CreateToken {
            session: LOCAL,
            request,
            role: Role::Worker,
            label: format!("join {request}"),
            owner: "workers".to_owned(),
            expires_in: None,
            hash: SecretHash([200; 32]),
        };
        manager.receive(stage, input);
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        1_000_000 + self.requests
    }
}
