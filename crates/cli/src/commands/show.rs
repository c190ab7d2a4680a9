//! `show`: all about a job or a task.

use anyhow::Result;
use clap::Args;
use prost::Message;
use serde_json::{Value, json};
use task_messenger_client::{Client, JobNumber, JobSummary, Kind, TaskDetail, TaskId, Template};

use crate::{failure::Advised, format, id::Id, printer::Printer, session::SessionOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger show 12       job 12: how many of its tasks are in which state
  task-messenger show 12.345   one task: what it runs, where, how often it was tried

--json prints one object.";

/// The arguments of `show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The job or task
    #[arg(value_name = "JOB|TASK")]
    id: Id,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Shows.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = session.connect().await?;
    let printer = Printer::new(arguments.json);
    match arguments.id {
        Id::Job(job) => show_job(&find_job(&client, job).await?, printer)?,
        Id::Task(task) => show_task(task, &client.task(task).await?, printer)?,
    }
    Ok(0)
}

/// A job that must be there.
pub async fn find_job(client: &Client, job: JobNumber) -> Result<JobSummary> {
    let found = client.job_summary(job).await?;
    found.ok_or_else(|| Advised::new(format!("there is no job {job}"), "`task-messenger list` shows yours").into())
}

fn show_job(job: &JobSummary, printer: Printer) -> Result<()> {
    if printer.json() {
        return printer.document(&format::job_json(job));
    }
    let counts = job.counts.unwrap_or_default();
    let labels: Vec<String> = job.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    printer.pairs(&[
        ("job", job.job.to_string()),
        ("name", job.name.clone()),
        ("labels", labels.join(", ")),
        ("owner", job.owner.clone()),
        ("submitted", format::time(job.submitted_milliseconds)),
        ("tasks", format!("{}{}", job.tasks, if job.closed { "" } else { ", and more may come" })),
        ("states", format::counts_text(&counts)),
    ])
}

fn show_task(task: TaskId, detail: &TaskDetail, printer: Printer) -> Result<()> {
    let summary = detail.summary.clone().unwrap_or_default();
    let template = Template::decode(detail.template.clone()).ok();
    if printer.json() {
        let mut document = format::task_json(&summary);
        if let Value::Object(fields) = &mut document {
            fields.insert("job_name".to_owned(), json!(detail.job_name));
            fields.insert("payload_bytes".to_owned(), json!(detail.payload_bytes));
            fields.insert("submitted".to_owned(), format::time_json(detail.submitted_milliseconds));
            fields.insert("template".to_owned(), template.as_ref().map_or(Value::Null, template_json));
        }
        return printer.document(&document);
    }
    let template = template.unwrap_or_default();
    let limit = template.timeout().map_or_else(|| "none".to_owned(), format::duration);
    let mut pairs = vec![
        ("task", task.to_string()),
        ("job's name", detail.job_name.clone()),
        ("state", format::state_of(&summary)),
        ("runs", describe(&template)),
        ("payload", format::bytes(detail.payload_bytes)),
        (
            "attempts",
            format!("{}, failures {} of {}", summary.attempts, summary.failures, template.retry_policy().max_attempts),
        ),
        ("priority", template.priority.to_string()),
        ("slots", template.slots.max(1).to_string()),
        ("timeout", limit),
        ("submitted", format::time(detail.submitted_milliseconds)),
    ];
    if summary.crashes > 0 {
        pairs.push(("crashes", format!("workers died while it ran: {}", summary.crashes)));
    }
    if !summary.worker.is_empty() {
        pairs
            .push(("worker", format!("{}{}", summary.worker, if summary.started { "" } else { " (not started yet)" })));
    }
    printer.pairs(&pairs)
}

fn describe(template: &Template) -> String {
    match &template.kind {
        Some(Kind::Command(command)) => {
            let words = std::iter::once(&command.program).chain(&command.arguments);
            words.map(|word| quote(word)).collect::<Vec<_>>().join(" ")
        }
        Some(Kind::Skill(skill)) => format!("skill {}", skill.name),
        None => "what this version doesn't know".to_owned(),
    }
}

fn template_json(template: &Template) -> Value {
    let kind = match &template.kind {
        Some(Kind::Command(command)) => json!({
            "command": {
                "program": command.program,
                "arguments": command.arguments,
                "environment": command.environment,
                "payload": command.payload().as_str_name().to_lowercase(),
            }
        }),
        Some(Kind::Skill(skill)) => json!({ "skill": skill.name }),
        None => Value::Null,
    };
    json!({
        "kind": kind,
        "priority": template.priority,
        "slots": template.slots.max(1),
        "max_attempts": template.retry_policy().max_attempts,
        "timeout_seconds": template.timeout().map(|timeout| timeout.as_secs_f64()),
    })
}

/// A word as a shell would take it.
fn quote(word: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_./:=,@%+{}".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use task_messenger_client::Command;

    use super::*;

    #[test]
    fn a_command_is_shown_as_it_could_be_typed() {
        let arguments = ["-c", "echo 'hi' $HOME", "", "{}"].map(str::to_owned).to_vec();
        let command = Command { program: "sh".to_owned(), arguments, ..Command::default() };
        let template = Template::of_command(command);
        assert_eq!(describe(&template), r"sh -c 'echo '\''hi'\'' $HOME' '' {}");
        assert_eq!(template_json(&template)["kind"]["command"]["payload"], "none");
        assert_eq!(template_json(&Template::of_skill("dgemm"))["max_attempts"], 3);
    }
}
