//! A worker that speaks the protocol and lies, takes what it can't hold, or says too much.

use task_messenger_client::{EncodedTemplate, JobOptions, LoneOptions, TaskState, Template};
use task_messenger_protocol::{
    credential::token_proof,
    link::{Connected, connect, hello},
    messages::{
        Enrol, GivenBack, Outcomes, Resume, Started, Window, WorkerProof, from_manager::Message, hello::Credential,
    },
    secret::Secret,
    token::Token,
    values::ValuesBuilder,
};
use tokio::time::timeout;

use crate::harness::{DEADLINE, Held, Site, json, until};

/// A worker without a program: what it says is up to the test.
struct Liar {
    link: Connected,
}

impl Liar {
    /// Enrols, and resumes with these claims.
    async fn resume(site: &Site, resume: Resume) -> Self {
        let token = Token::parse(&site.token("worker")).unwrap();
        let addresses = [site.address().to_string()];
        let secret = Secret::random().unwrap();
        let joining = hello("liar 1.0", &[], Credential::Token(token_proof(token.number, &token.secret)));
        let mut joining = Self { link: connect(&addresses, &token.trust, &joining).await.unwrap() };
        let secret_hash = secret.hash().0.to_vec().into();
        joining.link.writer.push(Enrol { request: 1, name: "liar".to_owned(), secret_hash }).unwrap();
        joining.link.writer.flush().await.unwrap();
        let Some(Message::Enrolled(enrolled)) = joining.next().await else { panic!("it is not enrolled") };
        let proof = WorkerProof { worker: enrolled.worker, secret: secret.expose().to_vec().into() };
        let own = hello("liar 1.0", &enrolled.store, Credential::Worker(proof));
        let mut liar = Self { link: connect(&addresses, &token.trust, &own).await.unwrap() };
        let resume = Resume { incarnation: vec![7; 16].into(), slots: 1, accepts_commands: true, ..resume };
        liar.link.writer.push(resume).unwrap();
        liar.link.writer.flush().await.unwrap();
        liar
    }

    /// The next message that is no sign of life.
    async fn next(&mut self) -> Option<Message> {
        loop {
            match timeout(DEADLINE, self.link.reader.next()).await.expect("the manager says something").unwrap() {
                Some(Message::Ping(_) | Message::Pong(_) | Message::DefineTemplate(_)) => {}
                other => return other,
            }
        }
    }

    async fn report(&mut self, number: u64, leases: Vec<u64>, outcome: &[u8]) {
        let mut outcomes = ValuesBuilder::default();
        for _ in &leases {
            outcomes.push(outcome);
        }
        let outcomes = outcomes.take().bytes().clone();
        let statuses = vec![1; leases.len()].into();
        self.link.writer.push(Outcomes { number, leases, statuses, outcomes }).unwrap();
        // The manager may close before it has taken all.
        let _ = self.link.writer.flush().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_speaks_of_leases_it_never_had_changes_nothing() {
    let site = Site::start();
    let _worker = site.worker("one");
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let template = EncodedTemplate::new(&held.template()).unwrap();
    let task = client.submit_one(&template, b"a", LoneOptions::default()).await.unwrap();
    held.wait_for_starts(1);

    // The lease of the task that runs is among them.
    let leases: Vec<u64> = (1..=1_000).chain([u64::MAX]).collect();
    let (jobs, indexes) = (vec![1; leases.len()], vec![0; leases.len()]);
    let claims =
        Resume { leases: leases.clone(), jobs, indexes, ended: vec![false; leases.len()], ..Resume::default() };
    let mut liar = Liar::resume(&site, claims).await;
    let Some(Message::Resumed(resumed)) = liar.next().await else { panic!("it is not resumed") };
    assert_eq!(resumed.dropped, leases);

    liar.link.writer.push(Started { leases: leases.clone() }).unwrap();
    liar.report(1, leases.clone(), b"").await;
    let Some(Message::OutcomesTaken(taken)) = liar.next().await else { panic!("the outcomes are not answered") };
    assert_eq!(taken.number, 1);
    liar.link.writer.push(GivenBack { leases }).unwrap();
    liar.report(2, vec![1, 1, 1], b"").await;
    let Some(Message::OutcomesTaken(_)) = liar.next().await else { panic!("the outcomes are not answered") };

    let summary = client.task(task).await.unwrap().summary.unwrap();
    assert_eq!((summary.state(), summary.attempts, &summary.worker[..]), (TaskState::Running, 1, "one"));
    held.let_go();
    let result = client.result(task).await.unwrap();
    assert_eq!((result.state, result.attempts, held.starts().len()), (TaskState::Succeeded, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_takes_all_it_can_get_and_vanishes_costs_nobody_a_failure() {
    let site = Site::start_with(json!({"lease": {"grace": "2s"}, "link": {"silence": "2s"}}));
    let client = site.client().await;
    let mut liar = Liar::resume(&site, Resume { window: u32::MAX, ..Resume::default() }).await;
    liar.link.writer.push(Window { slots: u32::MAX }).unwrap();
    liar.link.writer.flush().await.unwrap();
    let Some(Message::Resumed(_)) = liar.next().await else { panic!("it is not resumed") };
    let mut job = client.job(JobOptions::default()).unwrap();
    let template = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
    let fits_liar = EncodedTemplate::new(&Held::new(&site.path("held")).template()).unwrap();
    for _ in 0..1_000 {
        job.push(&fits_liar, b"a").await.unwrap();
    }
    let submitted = job.finish().await.unwrap();
    let Some(Message::Assign(_)) = liar.next().await else { panic!("it got nothing") };
    drop(liar);

    let _worker = site.worker("one");
    Held::new(&site.path("held")).let_go();
    let mut results = client.follow(task_messenger_client::Target::Job(submitted.job)).unwrap();
    let mut count = 0;
    while let Some(result) = timeout(DEADLINE, results.next()).await.unwrap().unwrap() {
        assert_eq!(result.state, TaskState::Succeeded);
        count += 1;
    }
    assert_eq!(count, 1_000);
    let mut pages = client.tasks(submitted.job, None, 0);
    loop {
        let page = pages.next(1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|task| task.failures == 0 && task.crashes == 0), "{page:?}");
    }
    let task = client.submit_one(&template, br#"{"text":"abc"}"#, LoneOptions::default()).await.unwrap();
    assert_eq!(client.result(task).await.unwrap().state, TaskState::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_result_over_the_limit_ends_the_session_of_its_worker_and_the_task_runs_elsewhere() {
    let site =
        Site::start_with(json!({"limits": {"outcome": "1MiB"}, "lease": {"grace": "1s"}, "link": {"silence": "1s"}}));
    let client = site.client().await;
    let mut liar = Liar::resume(&site, Resume { window: 1, ..Resume::default() }).await;
    let Some(Message::Resumed(_)) = liar.next().await else { panic!("it is not resumed") };
    let held = Held::new(&site.path("held"));
    held.let_go();
    let template = EncodedTemplate::new(&held.template()).unwrap();
    let task = client.submit_one(&template, b"a", LoneOptions::default()).await.unwrap();
    let Some(Message::Assign(assign)) = liar.next().await else { panic!("it got nothing") };
    liar.report(1, vec![assign.first_lease], &vec![0; (1 << 20) + 1]).await;
    let gone = async {
        while let Ok(Some(message)) = liar.link.reader.next().await {
            drop(message);
        }
    };
    timeout(DEADLINE, gone).await.expect("the manager closes the session");
    site.wait_for_log(&["WARN", "broke the protocol", "outcomes", "1048577"]);

    let _worker = site.worker("one");
    until("the task is done", || async {
        client.task(task).await.unwrap().summary.unwrap().state() == TaskState::Succeeded
    })
    .await;
}
