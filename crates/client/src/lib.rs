//! The Rust client library of TaskMessenger: submit tasks, follow their results, ask, administer.
//!
//! A [`Client`] owns one link to the manager, which a task of its own keeps up: after a cut it connects again, sends what
//! was not acknowledged, and asks for the results that are missing. Callers see a slower answer, never a repeated task or
//! result. It needs a tokio runtime of either flavour, which must go on running while results are worked on: a caller that
//! blocks its only thread for longer than the manager's silence limit loses the link for a moment.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use task_messenger_client::{Client, ClientCredential, EncodedTemplate, JobOptions, Target, Template};
//!
//! let credential = ClientCredential::load("client.json".as_ref())?;
//! let client = Client::connect(&credential).await?;
//! let template = EncodedTemplate::new(&Template::of_skill("string-reversal"))?;
//! let mut job = client.job(JobOptions::default())?;
//! for word in ["one", "two", "three"] {
//!     job.push(&template, format!("\"{word}\"").as_bytes()).await?;
//! }
//! let submitted = job.finish().await?;
//! let mut results = client.follow(Target::Job(submitted.job))?;
//! while let Some(result) = results.next().await? {
//!     println!("{}: {:?}", result.index, result.outcome.output);
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod error;
mod job;
mod job_key;
mod link;
mod options;
mod queries;
mod ranges;
mod results;
mod state;
mod template;

pub use client::{Client, LinkStatus};
pub use error::{Error, ExitCode};
pub use job::{JobWriter, Opened, Submitted};
pub use job_key::JobKey;
pub use link::Connector;
pub use options::{ClientOptions, JobOptions, LoneOptions, Times, WhenFull};
pub use queries::{JobFilter, JobPages, Named, TaskPages};
pub use results::{FollowOptions, ResultBatch, Results, Target, TaskResult};
pub use template::EncodedTemplate;

pub use task_messenger_protocol::{
    credential::{ClientCredential, CredentialError},
    ids::{JobNumber, TaskId},
    messages::{
        Changed, Command, Counts, JobSummary, Outcome, QueueStatus, Rates, Readiness, Role, Status, StoreStatus,
        TaskDetail, TaskState, TaskSummary, Template, TokenCreated, TokenSummary, Totals, Trouble, WorkerContact,
        WorkerMode, WorkerSummary, command::Use, outcome::Ending, template::Kind,
    },
};
