//! The client's process: submits, follows, checks every result, and measures.

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use task_messenger_client::{
    Client, ClientCredential, EncodedTemplate, JobOptions, JobWriter, LoneOptions, Results, Target, Template,
};

use crate::{
    check::Checker,
    exit_code, noop,
    plan::{Alone, CpuPerTask, Event, Faults, Load, Plan, Streamed, Times, Watched},
    statistics::percentile,
    usage,
};

/// From the first result to the start of the clock: until workers know how much to ask for.
const WARM_UP: Duration = Duration::from_millis(700);
/// Tasks alone before the clock starts.
const WARM_UP_ALONE: u32 = 50;
/// How long workers may take to be there.
const WORKERS: Duration = Duration::from_secs(30);

/// Does what the standard input says.
pub(crate) fn run() -> ExitCode {
    // As a task of its own, which another task of the same thread can wake without a system call.
    let measured = async |plan| tokio::spawn(execute(plan)).await?;
    exit_code(read().and_then(|plan: Plan| crate::block_on(measured(plan))))
}

fn read<T: DeserializeOwned>() -> Result<T> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    serde_json::from_str(&line).context("what came over the standard input is not understood")
}

fn tell(event: &Event) -> Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

async fn execute(plan: Plan) -> Result<()> {
    let client = Client::connect(&ClientCredential::load(&plan.credential)?).await?;
    let template = EncodedTemplate::new(&Template::of_skill(noop::NAME))?;
    let event = match plan.load {
        Load::Stream { in_flight, window_milliseconds } => {
            let stream = Stream::begin(&client, template, in_flight).await?;
            let watched: Watched = read()?;
            wait_for_workers(&client, plan.workers).await?;
            Event::Streamed(stream.measure(&watched, Duration::from_millis(window_milliseconds)).await?)
        }
        Load::Alone { tasks } => {
            wait_for_workers(&client, plan.workers).await?;
            Event::Alone(alone(&client, &template, tasks).await?)
        }
    };
    tell(&event)
}

async fn wait_for_workers(client: &Client, wanted: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let connected = client.workers().await?.iter().filter(|worker| worker.connected).count();
        if connected >= wanted {
            return Ok(());
        }
        if start.elapsed() > WORKERS {
            bail!("{connected} of {wanted} workers are there after {} s", WORKERS.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A job with many tasks in flight.
struct Stream {
    template: EncodedTemplate,
    writer: JobWriter,
    results: Results,
    checker: Checker,
    in_flight: u32,
    pushed: u32,
    messages: u64,
}

impl Stream {
    /// Submits the first tasks, and tells when they are in the queue.
    async fn begin(client: &Client, template: EncodedTemplate, in_flight: u32) -> Result<Self> {
        let start = Instant::now();
        let mut writer = client.job(JobOptions::default())?;
        let checker = Checker::new(writer.key());
        for index in 0..in_flight {
            writer.push(&template, &checker.payload(index)).await?;
        }
        let job = writer.job_number().await?;
        while writer.accepted()? < in_flight {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tell(&Event::Queued { tasks_per_second: f64::from(in_flight) / start.elapsed().as_secs_f64() })?;
        let results = client.follow(Target::Job(job))?;
        Ok(Self { template, writer, results, checker, in_flight, pushed: in_flight, messages: 0 })
    }

    /// Keeps as many in flight for the time of the warm-up and the window, then takes the rest.
    async fn measure(mut self, watched: &Watched, window: Duration) -> Result<Streamed> {
        self.next().await?;
        self.keep_up(WARM_UP).await?;
        let (before, messages) = (Sample::take(watched, self.checker.count()), self.messages);
        self.keep_up(window).await?;
        let (after, messages) = (Sample::take(watched, self.checker.count()), self.messages - messages);
        let Self { writer, mut results, mut checker, pushed, .. } = self;
        writer.finish().await?;
        while let Some(batch) = results.next_batch().await? {
            batch.iter().for_each(|result| checker.check(&result));
        }
        let rest = checker.count() - after.results;
        Ok(Streamed {
            tasks: pushed.into(),
            tasks_per_second: after.per_task(&before).recip() * 1e6,
            drained_per_second: rest as f64 / after.at.elapsed().as_secs_f64(),
            cpu: after.cpu_since(&before),
            written_bytes_per_task: after.written_since(&before),
            results_per_message: (after.results - before.results) as f64 / messages.max(1) as f64,
            faults: checker.finish(pushed),
        })
    }

    async fn keep_up(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            while u64::from(self.pushed) - self.checker.count() < u64::from(self.in_flight) {
                self.writer.push(&self.template, &self.checker.payload(self.pushed)).await?;
                self.pushed += 1;
            }
            self.next().await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<()> {
        let batch = self.results.next_batch().await?.context("the job ended before its last task was submitted")?;
        batch.iter().for_each(|result| self.checker.check(&result));
        self.messages += 1;
        Ok(())
    }
}

/// How far everything was at a moment.
struct Sample {
    at: Instant,
    results: u64,
    client: Option<Duration>,
    manager: Option<Duration>,
    workers: Vec<Option<Duration>>,
    written: Option<u64>,
}

impl Sample {
    fn take(watched: &Watched, results: u64) -> Self {
        Self {
            at: Instant::now(),
            results,
            client: usage::cpu_time(std::process::id()),
            manager: usage::cpu_time(watched.manager),
            workers: watched.workers.iter().map(|worker| usage::cpu_time(*worker)).collect(),
            written: usage::written_bytes(watched.manager),
        }
    }

    fn tasks(&self, before: &Self) -> f64 {
        (self.results - before.results).max(1) as f64
    }

    /// Microseconds a task.
    fn per_task(&self, before: &Self) -> f64 {
        (self.at - before.at).as_secs_f64() * 1e6 / self.tasks(before)
    }

    fn cpu_since(&self, before: &Self) -> CpuPerTask {
        let since = |after: Option<Duration>, before: Option<Duration>, tasks: f64| {
            Some(after?.saturating_sub(before?).as_secs_f64() * 1e6 / tasks)
        };
        let tasks = self.tasks(before);
        CpuPerTask {
            client: since(self.client, before.client, tasks),
            manager: since(self.manager, before.manager, tasks),
            workers: self
                .workers
                .iter()
                .zip(&before.workers)
                .map(|(after, before)| since(*after, *before, tasks))
                .collect(),
        }
    }

    fn written_since(&self, before: &Self) -> Option<f64> {
        Some(self.written?.saturating_sub(before.written?) as f64 / self.tasks(before))
    }
}

/// One task at a time, in both ways in turns, so that both see the same machine.
async fn alone(client: &Client, template: &EncodedTemplate, tasks: u32) -> Result<Alone> {
    let mut writer = client.job(JobOptions::default())?;
    let mut checker = Checker::new(writer.key());
    writer.push(template, &checker.payload(0)).await?;
    let mut results = client.follow(Target::Job(writer.job_number().await?))?;
    checker.check(&results.next().await?.context("the job ended early")?);

    let (mut lone, mut streamed) = (Vec::new(), Vec::new());
    let mut faults = Faults::default();
    for index in 1..=tasks + WARM_UP_ALONE {
        let warm = index > WARM_UP_ALONE;
        let payload = checker.payload(index);
        let began = Instant::now();
        writer.push(template, &payload).await?;
        let result = results.next().await?.context("the job ended early")?;
        streamed.extend(warm.then(|| began.elapsed()));
        checker.check(&result);

        let began = Instant::now();
        let task = client.submit_one(template, &payload, LoneOptions::default()).await?;
        let result = client.result(task).await?;
        lone.extend(warm.then(|| began.elapsed()));
        faults.wrong += u64::from(result.outcome.output != payload[..noop::OUTPUT_BYTES]);
    }
    writer.finish().await?;
    while let Some(result) = results.next().await? {
        checker.check(&result);
    }
    let of_job = checker.finish(tasks + WARM_UP_ALONE + 1);
    faults = Faults { wrong: faults.wrong + of_job.wrong, ..of_job };
    let times = |times: &mut [Duration]| Times { p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
    let tasks = 1 + 2 * u64::from(tasks + WARM_UP_ALONE);
    Ok(Alone { tasks, lone: times(&mut lone), streamed: times(&mut streamed), faults })
}
