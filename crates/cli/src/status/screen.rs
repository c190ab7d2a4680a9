//! How everything is, on one screen.

use std::time::Duration;

use console::{Style, measure_text_width, truncate_str};
use jiff::tz::TimeZone;
use task_messenger_client::{Counts, QueueStatus, Status, Trouble, WorkerSummary};

use super::{Picture, table::table};
use crate::format::{bytes, duration, grouped, one_line, percent, rate, time_in};

/// Where the text of a row begins.
const INDENT: usize = 10;

/// Lines of a screen that nobody measured.
const LINES: usize = 40;

/// From here on a queue is nearly full, as a part of its limit.
const NEARLY_FULL: f64 = 0.8;

/// What the screen has to fit.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Columns; `None`: nothing is wrapped or cut.
    pub width: Option<usize>,
    /// Lines.
    pub height: usize,
    /// Whether there are colours.
    pub coloured: bool,
    /// Where times are told.
    pub zone: TimeZone,
}

impl Shape {
    /// For whoever reads lines.
    pub fn plain() -> Self {
        Self { width: None, height: LINES, coloured: false, zone: TimeZone::system() }
    }

    pub(super) fn style(&self, style: Style) -> Style {
        style.force_styling(self.coloured)
    }
}

/// The screen's lines below a heading.
pub fn render(picture: &Picture, heading: &[String], shape: &Shape) -> Vec<String> {
    let mut rows = Rows { lines: Vec::new(), shape };
    for line in heading {
        rows.lines.extend(rows.wrapped(line, 0));
    }
    let status = &picture.status;
    let counts = status.tasks.unwrap_or_default();
    rows.manager(picture);
    rows.queue(status, &counts);
    rows.finished(status, &counts);
    rows.store(status);
    rows.fleet(status, &picture.workers);
    let Rows { mut lines, .. } = rows;
    if !picture.workers.is_empty() {
        lines.push(String::new());
        let room = shape.height.saturating_sub(lines.len());
        lines.extend(table(&picture.workers, room, shape));
    }
    if let Some(width) = shape.width {
        for line in &mut lines {
            if measure_text_width(line) > width {
                *line = truncate_str(line, width, "…").into_owned();
            }
        }
    }
    lines
}

/// The upper part of the screen: names, and what there is to say.
struct Rows<'a> {
    lines: Vec<String>,
    shape: &'a Shape,
}

impl Rows<'_> {
    fn manager(&mut self, picture: &Picture) {
        let status = &picture.status;
        let ready = status.readiness.as_ref().map(|readiness| {
            if readiness.ready {
                self.paint(Style::new().green().bold(), "READY")
            } else {
                self.paint(Style::new().red().bold(), "NOT READY")
            }
        });
        let durability = format!("durability {}", status.durability);
        let parts = ready.into_iter().chain([one_line(&status.software, 100), one_line(&durability, 100)]);
        self.row("manager", &parts.collect::<Vec<_>>().join(", "));
        for trouble in status.readiness.iter().flat_map(|readiness| &readiness.troubles) {
            self.trouble(trouble);
        }
        let up = duration(Duration::from_millis(status.uptime_milliseconds));
        self.more(&format!("up since {} ({up})", self.time(picture.started_milliseconds())));
    }

    fn trouble(&mut self, trouble: &Trouble) {
        let colour = if trouble.required { Style::new().red() } else { Style::new().yellow() };
        let name = self.paint(colour, &one_line(&trouble.name, 100));
        let since = self.time(trouble.since_milliseconds);
        self.more(&format!("{name} since {since}: {}", one_line(&trouble.detail, 1_000)));
        if !trouble.advice.is_empty() {
            self.more(&format!("what to do: {}", one_line(&trouble.advice, 1_000)));
        }
    }

    fn queue(&mut self, status: &Status, counts: &Counts) {
        let Counts { queued, running, scheduled, waiting, .. } = *counts;
        let mut parts = vec![format!("{} queued", grouped(queued)), format!("{} running", grouped(running))];
        parts.extend((scheduled > 0).then(|| format!("{} scheduled", grouped(scheduled))));
        parts.extend((waiting > 0).then(|| format!("{} waiting for others", grouped(waiting))));
        self.row("queue", &parts.join(", "));
        if let Some(queue) = &status.queue {
            self.more(&self.limits(queue));
            if let Some(oldest) = queue.oldest_milliseconds {
                self.more(&format!("the oldest queued one has waited for {}", duration(Duration::from_millis(oldest))));
            }
        } else {
            self.more(&format!("payloads: {}", bytes(status.queued_bytes)));
        }
        if let Some(rates) = &status.rates {
            self.row("rates", &format!("{} submitted/s, {} ended/s", rate(rates.submitted), rate(rates.ended)));
        }
    }

    fn limits(&self, queue: &QueueStatus) -> String {
        let QueueStatus { tasks, limit_tasks, limit_bytes, .. } = *queue;
        let part = |amount: u64, limit: u64| {
            let part = amount as f64 / limit.max(1) as f64;
            let text = percent(part);
            if part < NEARLY_FULL { text } else { self.paint(Style::new().red().bold(), &text) }
        };
        format!(
            "{} of {} tasks ({}), {} of {} ({})",
            grouped(tasks),
            grouped(limit_tasks),
            part(tasks, limit_tasks),
            bytes(queue.bytes),
            bytes(limit_bytes),
            part(queue.bytes, limit_bytes),
        )
    }

    fn finished(&mut self, status: &Status, counts: &Counts) {
        let Counts { succeeded, failed, cancelled, expired, .. } = *counts;
        self.row(
            "finished",
            &format!(
                "{} succeeded, {} cancelled, {} expired; {} {}",
                grouped(succeeded),
                grouped(cancelled),
                grouped(expired),
                grouped(status.jobs),
                if status.jobs == 1 { "job" } else { "jobs" }
            ),
        );
        let dead = if failed == 0 {
            "no dead letters".to_owned()
        } else {
            let letters = if failed == 1 { "dead letter" } else { "dead letters" };
            let count = self.paint(Style::new().red().bold(), &format!("{} {letters}", grouped(failed)));
            format!("{count}: task-messenger list --state failed")
        };
        self.row("failed", &dead);
        if let Some(totals) = status.totals.filter(|totals| totals.retried + totals.leases_lost > 0) {
            self.more(&format!(
                "since the start: {} tried again, {} leases lost",
                grouped(totals.retried),
                grouped(totals.leases_lost)
            ));
        }
    }

    fn store(&mut self, status: &Status) {
        let Some(storage) = &status.storage else { return };
        let (reserve, wanted) = (storage.disk_reserve_bytes, storage.disk_reserve_wanted_bytes);
        let reserve_text = format!("{} of {}", bytes(reserve), bytes(wanted));
        let reserve_text =
            if reserve < wanted { self.paint(Style::new().red().bold(), &reserve_text) } else { reserve_text };
        self.row("store", &format!("{} free on the disk, reserve {reserve_text}", bytes(storage.disk_free_bytes)));
        self.more(&format!(
            "journal {}; archive {} tasks in {}, {} behind",
            bytes(storage.journal_bytes),
            grouped(storage.archive_tasks),
            bytes(storage.archive_bytes),
            grouped(storage.archive_lag_tasks)
        ));
    }

    fn fleet(&mut self, status: &Status, workers: &[WorkerSummary]) {
        if workers.is_empty() {
            let advice = "task-messenger-manager token create --role worker makes the token that one joins with";
            return self.row("workers", &format!("none; {advice}"));
        }
        self.row(
            "workers",
            &format!(
                "{} of {} connected, {} of {} slots used",
                grouped(status.workers_connected.into()),
                grouped(workers.len() as u64),
                grouped(status.slots_used),
                grouped(status.slots)
            ),
        );
    }

    fn row(&mut self, name: &str, text: &str) {
        let mut lines = self.wrapped(text, INDENT);
        if let Some(first) = lines.first_mut() {
            let name = self.paint(Style::new().bold(), &format!("{name:INDENT$}"));
            *first = format!("{name}{}", first.get(INDENT..).unwrap_or_default());
        }
        self.lines.extend(lines);
    }

    fn more(&mut self, text: &str) {
        self.lines.extend(self.wrapped(text, INDENT));
    }

    /// The text in lines of the screen's width, each moved in.
    fn wrapped(&self, text: &str, indent: usize) -> Vec<String> {
        let room = self.shape.width.map_or(usize::MAX, |width| width.saturating_sub(indent));
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= room => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines.iter().map(|line| format!("{:indent$}{line}", "")).collect()
    }

    fn paint(&self, style: Style, text: &str) -> String {
        self.shape.style(style).apply_to(text).to_string()
    }

    fn time(&self, milliseconds: u64) -> String {
        time_in(milliseconds, &self.shape.zone)
    }
}

#[cfg(test)]
mod tests;
