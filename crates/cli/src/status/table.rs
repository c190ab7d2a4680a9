//! The workers of a status screen: trouble first, as many as there is room for.

use console::{Alignment, Style, measure_text_width, pad_str, truncate_str};
use task_messenger_client::WorkerSummary;

use super::screen::Shape;
use crate::{
    format,
    worker_view::{self, Standing},
};

const HEADERS: [&str; COLUMNS] = ["NAME", "STATE", "SLOTS", "VERSION", "ADDRESS", "LAST HEARD"];
const COLUMNS: usize = 6;
const NAME: usize = 0;
const STATE: usize = 1;
const VERSION: usize = 3;
const ADDRESS: usize = 4;

/// Between two columns.
const GAP: usize = 2;

/// Columns that can be cut are not cut to less.
const LEAST: usize = 8;

/// How many characters all slots of a worker are.
const BAR: u32 = 5;

/// The table in at most so many lines, but with at least one worker.
pub(super) fn table(workers: &[WorkerSummary], lines: usize, shape: &Shape) -> Vec<String> {
    let mut sorted: Vec<&WorkerSummary> = workers.iter().collect();
    let unheard = u64::MAX;
    sorted.sort_by_cached_key(|worker| {
        let standing = worker_view::standing(worker);
        // Who was lost last comes first; who is there is found by name.
        let lost = matches!(standing, Standing::Silent | Standing::Gone);
        let heard = if lost { worker.last_heard_milliseconds.unwrap_or(unheard) } else { 0 };
        (standing, heard, worker.name.clone(), worker.worker)
    });
    let room = lines.saturating_sub(1);
    // The line that tells of the rest takes the place of one.
    let shown = if sorted.len() <= room { sorted.len() } else { room.saturating_sub(1).max(1) };
    let rows: Vec<[String; COLUMNS]> = sorted.iter().take(shown).map(|worker| cells(worker)).collect();
    let widths = widths(&rows, shape.width);

    let bold = shape.style(Style::new().bold());
    let mut table = vec![bold.apply_to(line(&HEADERS.map(str::to_owned), &widths, None)).to_string()];
    for (worker, row) in sorted.iter().zip(&rows) {
        table.push(line(row, &widths, Some(&shape.style(colour(worker_view::standing(worker))))));
    }
    if sorted.len() > shown {
        table.push(format!("… and {} more (task-messenger workers)", format::grouped((sorted.len() - shown) as u64)));
    }
    table
}

fn cells(worker: &WorkerSummary) -> [String; COLUMNS] {
    [
        format::one_line(&worker.name, 256),
        worker_view::state_and_mode(worker),
        slots(worker),
        format::one_line(worker_view::version(worker), 64),
        format::one_line(&worker.address, 64),
        worker_view::last_heard(worker),
    ]
}

/// How many of a worker's slots are used, as a bar and as numbers.
fn slots(worker: &WorkerSummary) -> String {
    let slots = worker.slots;
    if slots == 0 {
        return "-".to_owned();
    }
    // It may hold more than it runs.
    let used = worker.slots_used.min(slots);
    let part = (u64::from(used) * u64::from(BAR)).div_ceil(u64::from(slots)) as usize;
    let bar: String = (0..BAR as usize).map(|at| if at < part { '#' } else { '.' }).collect();
    format!("{bar} {used}/{slots}")
}

fn colour(standing: Standing) -> Style {
    match standing {
        Standing::Silent | Standing::Gone => Style::new().red(),
        Standing::Paused | Standing::Draining => Style::new().yellow(),
        Standing::Active => Style::new().green(),
        Standing::Away | Standing::Removed => Style::new().dim(),
    }
}

/// How wide each column is; 0: there is no room for it.
fn widths(rows: &[[String; COLUMNS]], limit: Option<usize>) -> [usize; COLUMNS] {
    let mut widths = HEADERS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    let Some(limit) = limit else { return widths };
    let total = |widths: &[usize; COLUMNS]| -> usize {
        widths.iter().filter(|width| **width > 0).map(|width| width + GAP).sum::<usize>() - GAP
    };
    for column in [VERSION, ADDRESS] {
        while total(&widths) > limit {
            let widest = [NAME, VERSION, ADDRESS].into_iter().max_by_key(|column| widths[*column]).unwrap_or(NAME);
            if widths[widest] <= LEAST {
                break;
            }
            widths[widest] -= 1;
        }
        if total(&widths) > limit {
            widths[column] = 0;
        }
    }
    widths
}

fn line(cells: &[String; COLUMNS], widths: &[usize; COLUMNS], colour: Option<&Style>) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate().filter(|(_, (_, width))| **width > 0) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        let cell = truncate_str(cell, *width, "…");
        let padded = pad_str(&cell, *width, Alignment::Left, None);
        match colour.filter(|_| column == STATE) {
            Some(colour) => line.push_str(&colour.apply_to(padded).to_string()),
            None => line.push_str(&padded),
        }
    }
    line.trim_end().to_owned()
}
