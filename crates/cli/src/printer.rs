//! What commands print: one place that knows about terminals, colours, tables and JSON.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde_json::Value;
use task_messenger_client::{TaskState, TaskSummary};

use crate::failure::output_error;

/// Prints to standard output.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    json: bool,
    terminal: bool,
    coloured: bool,
}

impl Printer {
    /// For a command that was asked for JSON, or not.
    pub fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, terminal, coloured: terminal && !no_color }
    }

    /// Whether JSON is wanted.
    pub fn json(self) -> bool {
        self.json
    }

    /// Whether standard output is a terminal.
    pub fn terminal(self) -> bool {
        self.terminal
    }

    /// Whether there are colours.
    pub fn coloured(self) -> bool {
        self.coloured
    }

    /// Prints one JSON document.
    pub fn document(self, value: &Value) -> Result<()> {
        let text = if self.terminal { format!("{value:#}") } else { value.to_string() };
        self.line(&text)
    }

    /// Prints one line.
    pub fn line(self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Prints bytes as they are.
    pub fn bytes(self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(output_error)
    }

    /// Prints a table; without rows, `empty`.
    pub fn table(self, headers: &[&str], rows: Vec<Vec<Cell>>, empty: &str) -> Result<()> {
        if rows.is_empty() {
            return self.line(empty);
        }
        self.line(&self.render(headers, rows))
    }

    /// Prints names and what they are, one pair a line.
    pub fn pairs(self, pairs: &[(&str, String)]) -> Result<()> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned()).collect();
        self.line(&lines.join("\n"))
    }

    fn render(self, headers: &[&str], rows: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if !self.terminal {
            // Nothing is wrapped for whoever reads lines.
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        if self.coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(headers.iter().map(|header| Cell::new(header).add_attribute(Attribute::Bold)));
        table.add_rows(rows);
        if let Some(first) = table.column_mut(0) {
            first.set_padding((0, 1));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// A cell with a number, at the right.
pub fn number(value: impl Into<u64>) -> Cell {
    Cell::new(value.into()).set_alignment(CellAlignment::Right)
}

/// A cell with a task's state in its colour.
pub fn state_cell(task: &TaskSummary) -> Cell {
    let cell = Cell::new(crate::format::state_of(task));
    match task.state() {
        TaskState::Succeeded => cell.fg(Color::Green),
        TaskState::Failed | TaskState::Expired => cell.fg(Color::Red),
        TaskState::Running if !task.cancelling => cell.fg(Color::Cyan),
        TaskState::Running | TaskState::Cancelled => cell.fg(Color::Yellow),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_a_pipe_has_no_colours_and_wraps_nothing() {
        let printer = Printer { json: false, terminal: false, coloured: false };
        let state = |state: TaskState| {
            state_cell(&TaskSummary { state: state.into(), has_outcome: true, ..TaskSummary::default() })
        };
        let rows = vec![
            vec![number(12_u64), Cell::new("nightly"), state(TaskState::Failed)],
            vec![number(7_u64), Cell::new("x".repeat(200)), state(TaskState::Queued)],
        ];
        let text = printer.render(&["JOB", "NAME", "STATE"], rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["JOB", "NAME", "STATE"]);
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["12", "nightly", "failed"]);
        assert!(!text.contains('\u{1b}') && lines.iter().all(|line| !line.ends_with(' ')));
    }
}
