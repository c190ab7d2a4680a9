//! What the demo ends with.

use std::{collections::BTreeSet, fmt, time::Duration};

use comfy_table::{CellAlignment, Table, presets};

use super::{
    checker::Findings,
    work::{Answer, Question},
};

/// The demo's figures.
pub(super) struct Report {
    total: u64,
    /// Every task that was answered, by job and index.
    answered: BTreeSet<(&'static str, u32)>,
    again: u64,
    latencies: Vec<Duration>,
    killed: Option<(String, u64, u64)>,
    cut: Option<(String, u64, Duration)>,
    cancelled: u64,
    retried: u64,
    elapsed: Duration,
    findings: Findings,
}

impl Report {
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            answered: BTreeSet::new(),
            again: 0,
            latencies: Vec::new(),
            killed: None,
            cut: None,
            cancelled: 0,
            retried: 0,
            elapsed: Duration::ZERO,
            findings: Findings::default(),
        }
    }

    pub(super) fn count(&mut self, answer: &Answer) {
        let job = match &answer.question {
            Question::File(_) => "",
            Question::Skill(batch) => batch.name,
        };
        self.answered.insert((job, answer.result.index));
        if answer.result.attempts > 1 {
            self.again += 1;
        }
        self.latencies.push(answer.latency);
    }

    pub(super) fn done(&self) -> u64 {
        self.answered.len() as u64
    }

    pub(super) fn killed(&mut self, worker: String, held: u64, open: u64) {
        self.killed = Some((worker, held, open));
    }

    pub(super) fn cut(&mut self, worker: String, held: u64, time: Duration) {
        self.cut = Some((worker, held, time));
    }

    pub(super) fn cancelled(&mut self, tasks: u64) {
        self.cancelled = tasks;
    }

    pub(super) fn retried(&mut self, tasks: u64) {
        self.retried = tasks;
    }

    pub(super) fn finish(&mut self, elapsed: Duration, findings: Findings) {
        self.elapsed = elapsed;
        self.findings = findings;
        self.latencies.sort_unstable();
    }

    /// Whether everything was answered, and rightly, also what had been cancelled in between.
    pub(super) fn is_right(&self) -> bool {
        self.done() == self.total && self.findings.wrong == 0 && self.cancelled > 0 && self.cancelled == self.retried
    }

    fn percentile(&self, percent: usize) -> String {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        let latency = self.latencies.get(at).copied().unwrap_or_default();
        format!("{:.1} ms", latency.as_secs_f64() * 1_000.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_BORDERS_ONLY);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("tasks", self.total.to_string());
        row("answered", self.done().to_string());
        row("right", self.findings.right.to_string());
        row("wrong", self.findings.wrong.to_string());
        if self.findings.changed > 0 {
            row("not comparable (the file changed meanwhile)", self.findings.changed.to_string());
        }
        if let Some((worker, held, open)) = &self.killed {
            row(&format!("held by {worker} when it was killed"), format!("{held} tasks"));
            row("kept by the manager when it was killed", format!("{open} tasks"));
        }
        if let Some((worker, held, time)) = &self.cut {
            row(&format!("held by {worker} when its link was cut for {} s", time.as_secs()), format!("{held} tasks"));
        }
        row("cancelled", self.cancelled.to_string());
        row("retried after that", self.retried.to_string());
        row("run again", self.again.to_string());
        row("rate", format!("{:.0} tasks/s", self.total as f64 / self.elapsed.as_secs_f64()));
        row("from submit to result, p50", self.percentile(50));
        row("from submit to result, p99", self.percentile(99));
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")?;
        for example in &self.findings.examples {
            write!(f, "\nwrong: {example}")?;
        }
        Ok(())
    }
}
