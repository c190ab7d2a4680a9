//! Tables for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::{
    machine::Machine,
    record::{Cpu, EndToEnd, Mark, Memory, Throughput},
    statistics::Spread,
};

/// Prints what was found from end to end.
pub(crate) fn print(machine: &Machine, found: &EndToEnd) {
    println!("{}", describe(machine));
    if machine.keeps_files_in_memory() {
        println!(
            "Files on this file system are in memory: nothing here is durable. --dir names a directory on a disk."
        );
    }
    if let Some(baseline) = found.baseline {
        println!(
            "By itself the machine does: TCP echo p50 {} µs, {} messages/s; durable write of 4 KiB p50 {} µs.",
            with_spread(baseline.echo_p50, 1),
            with_spread(baseline.echo_per_second, 0),
            with_spread(baseline.sync_p50, 0),
        );
    }
    if !found.throughput.is_empty() {
        println!("\nTasks that do nothing, 100 bytes each, 10,000 in flight; CPU in µs a task:");
        println!("{}", throughput(&found.throughput));
    }
    if let Some(latency) = found.latency {
        let mut table = table(["one task in flight", "p50 µs", "p99 µs"]);
        table.add_row([
            "a job of its own".to_owned(),
            with_spread(latency.lone_p50, 0),
            with_spread(latency.lone_p99, 0),
        ]);
        table.add_row([
            "the next of a job".to_owned(),
            with_spread(latency.streamed_p50, 0),
            with_spread(latency.streamed_p99, 0),
        ]);
        println!("\nFrom submit to result, durable, 1 worker, {} tasks each:\n{}", latency.tasks, right(table));
    }
    if let Some(memory) = &found.memory {
        println!("\n{}", queue(memory));
    }
    if let Some(history) = &found.history {
        println!(
            "\nA new manager, 4 workers: {} tasks/s; behind {} finished tasks and more: {} tasks/s. Killed with {} queued \
             tasks, it is ready again after {} s.",
            with_spread(history.fresh_per_second, 0),
            history.finished,
            with_spread(history.later_per_second, 0),
            history.queued,
            with_spread(history.start_seconds, 2),
        );
    }
    if let Some(watched) = &found.watched {
        println!(
            "\nOne task after the other, p99: {} µs; beside {} idle and slow HTTP connections: {} µs.",
            with_spread(watched.quiet_p99, 0),
            watched.connections,
            with_spread(watched.crowded_p99, 0),
        );
    }
}

/// Prints what is wanted, and whether it is so.
pub(crate) fn print_marks(marks: &[Mark]) {
    println!("\n{}", table_of_marks(marks));
}

fn describe(machine: &Machine) -> String {
    let Machine { system, kernel, processor, cores, file_system, load_before, load_after, .. } = machine;
    let load = match (load_before, load_after) {
        (Some(before), Some(after)) => format!("; load {before:.1} before, {after:.1} after"),
        _ => String::new(),
    };
    format!("{system} {kernel}, {cores} × {processor}, {file_system}{load}")
}

fn throughput(cases: &[Throughput]) -> Table {
    let mut table =
        table(["durability", "workers", "tasks/s", "of echo", "client", "manager", "workers (each)", "written B"]);
    for case in cases {
        let [client, manager, workers] = columns(&case.cpu);
        table.add_row([
            case.durability.to_owned(),
            case.workers.to_string(),
            with_spread(case.tasks_per_second, 0),
            format!("{:.2} %", 100.0 * case.share_of_echo.median),
            client,
            manager,
            workers,
            case.written_bytes_per_task.map_or_else(unknown, |bytes| format!("{:.0}", bytes.median)),
        ]);
    }
    right(table)
}

/// Client, manager, and all workers with each of them.
fn columns(cpu: &Cpu) -> [String; 3] {
    let one = |spread: Option<Spread>| spread.map_or_else(unknown, |spread| format!("{:.1}", spread.median));
    let each: Option<Vec<f64>> = cpu.workers.iter().map(|worker| worker.map(|spread| spread.median)).collect();
    let workers = each.map_or_else(unknown, |each| {
        let words: Vec<String> = each.iter().map(|each| format!("{each:.1}")).collect();
        format!("{:.1} ({})", each.iter().sum::<f64>(), words.join(" "))
    });
    [one(cpu.client), one(cpu.manager), workers]
}

fn queue(memory: &Memory) -> String {
    let mebibytes =
        |bytes: Option<u64>| bytes.map_or_else(unknown, |bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
    let [client, manager, workers] = columns(&memory.backlog_cpu);
    format!(
        "{} queued: submitted at {:.0}/s; the manager grew from {} to {}, {} MiB of it the payloads' budget.\n\
         With that queue, 4 workers: {:.0} tasks/s in and out (CPU in µs a task: client {client}, manager {manager}, \
         workers {workers}), {:.0}/s while it was emptied; {:.0}/s with 10,000 in flight.",
        memory.tasks,
        memory.submitted_per_second,
        mebibytes(memory.empty_bytes),
        mebibytes(memory.queued_bytes),
        memory.budget_bytes >> 20,
        memory.backlog_per_second,
        memory.drained_per_second,
        memory.empty_per_second,
    )
}

fn table_of_marks(marks: &[Mark]) -> Table {
    let mut table = table(["mark", "wanted", "found", ""]);
    for mark in marks {
        let digits = usize::from(mark.wanted < 1_000.0);
        let bound = if mark.at_least { "≥" } else { "≤" };
        let apart = 100.0 * (mark.found - mark.wanted).abs() / mark.wanted;
        let verdict = if mark.holds { format!("ok, by {apart:.0} %") } else { format!("MISSED by {apart:.0} %") };
        table.add_row([
            mark.name.clone(),
            format!("{bound} {:.digits$} {}", mark.wanted, mark.unit),
            format!("{:.digits$} {}", mark.found, mark.unit),
            verdict,
        ]);
    }
    right(table)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// Everything but the first column, set to the right.
fn right(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn with_spread(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ±{:.0} %", spread.median, spread.percent())
}

fn unknown() -> String {
    "–".to_owned()
}
