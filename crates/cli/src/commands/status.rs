//! `status`: how the manager and its fleet are, once or again and again.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use console::Term;
use jiff::tz::TimeZone;

use crate::{
    printer::Printer,
    session::SessionOptions,
    status::{self, Picture, Shape},
};

const EXAMPLES: &str = "\
Examples:
  task-messenger status
  task-messenger status --watch              again every 2 seconds, until Ctrl-C
  task-messenger status --watch 0.5
  task-messenger status --json | jq .tasks.queued
  task-messenger status --json --watch 60 >> status.jsonl

The numbers of jobs and of tasks by state are of the caller's own; an administrator's are of all. What is said of the queue's
limits, of rates, of the store and of the workers is so for all. Rates are those of the last ten seconds.

--json prints one object, with --watch one a line. A key's end says in what unit it is: _seconds, _bytes, _tasks, _per_second.
With --watch a manager that goes away is waited for. Ctrl-C ends with exit code 0; a manager that can't be reached at first,
with 69.";

/// The arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Show it again every so many seconds, from 0.2 to 3600
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = parse_interval)]
    watch: Option<Duration>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.2..=3_600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds from 0.2 to 3600 is wanted".to_owned())
}

/// Shows.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let printer = Printer::new(arguments.json);
    if let Some(every) = arguments.watch {
        status::watch(session.connect_to_watch().await?, printer, every).await?;
        return Ok(0);
    }
    let picture = Picture::ask(&session.connect().await?).await?;
    if printer.json() {
        printer.document(&status::document(&picture))?;
        return Ok(0);
    }
    let shape = match Term::stdout().size_checked().filter(|_| printer.terminal()) {
        Some((height, width)) => Shape {
            width: Some(width.into()),
            // Something is written below it.
            height: usize::from(height).saturating_sub(2),
            coloured: printer.coloured(),
            zone: TimeZone::system(),
        },
        None => Shape::plain(),
    };
    printer.line(&status::render(&picture, &[], &shape).join("\n"))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_of_seconds_within_bounds() {
        assert_eq!(parse_interval("0.2"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_interval("3600"), Ok(Duration::from_hours(1)));
        for wrong in ["0.1", "3600.1", "-1", "NaN", "inf", "2s", ""] {
            assert!(parse_interval(wrong).unwrap_err().contains("0.2 to 3600"), "{wrong}");
        }
    }
}
