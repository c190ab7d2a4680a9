//! `store check`: reads everything.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use task_messenger_store::check::{Checked, check};

use super::{
    StoreCommandError,
    format::bytes,
    held::Held,
    progress::{Progress, Unit},
    write_pairs,
};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  task-messenger-manager store check
  task-messenger-manager store check --state-dir /var/lib/task-messenger/manager
  task-messenger-manager store check --json | jq -r '.findings[] | \"\\(.file) \\(.offset) \\(.problem)\"'

A start reads what it needs; this reads all: every block of every segment, every snapshot, every value that is needed, large
ones with their checksums, and the archive. The manager must be stopped; nothing is changed, also not what is found damaged.
Whether this program knows the formats at all, as before an upgrade, is what --check-state says; then the manager may run.

Exit codes: 0 nothing is wrong; 78 something is, or there is no store; 1 a manager runs, or the store can't be held.";

/// The arguments of `store check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const ADVICE: &str = "start nothing on it yet; put back what is missing or damaged, or all of it, from a backup that was \
                      made while the manager was stopped; where only values are damaged, `store export` writes the rest";

pub(super) fn run(config: &Config, arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let held = Held::take(config)?;
    let mut progress = Progress::new(Unit::Bytes, false);
    let checked = check(&held.disk, Some(&held.directory), &mut |looked| progress.set(looked.done, looked.total));
    drop(progress);
    let written = if arguments.json { writeln!(out, "{}", document(&checked)) } else { write(&checked, out) };
    if !checked.is_whole() {
        let count = checked.findings.len() as u64 + checked.more_findings;
        let findings = if count == 1 { "1 finding".to_owned() } else { format!("{count} findings") };
        // What was found counts, whether anybody reads it or not.
        return Err(StoreCommandError::Damaged { directory: held.directory, findings, advice: ADVICE }.into());
    }
    Ok(written?)
}

fn write(checked: &Checked, out: &mut impl Write) -> std::io::Result<()> {
    let Checked { segments, blocks, records, last, snapshots, values, large_values, unneeded_files, .. } = checked;
    let archive = match checked.archived_tasks {
        Some(tasks) => format!("{tasks} tasks, {}", bytes(checked.archive_bytes)),
        None if checked.archive_bytes > 0 => format!("{}, can't be read", bytes(checked.archive_bytes)),
        None => "none".to_owned(),
    };
    let mut pairs = vec![
        ("store", checked.store.map_or_else(|| "unknown".to_owned(), |id| id.to_string())),
        ("journal", format!("{segments} segments, {}", bytes(checked.journal_bytes))),
        ("blocks", format!("{blocks}, with {records} records up to {last}")),
        ("snapshots", format!("{snapshots}, {}", bytes(checked.snapshot_bytes))),
        ("values", format!("{values} that are needed, at their places")),
        ("large values", format!("{large_values}, {}", bytes(checked.large_value_bytes))),
        ("archive", archive),
    ];
    if *unneeded_files > 0 {
        pairs.push(("left over", format!("{unneeded_files} files of large values that the next start removes")));
    }
    write_pairs(&pairs, out)?;
    for finding in &checked.findings {
        let place = finding.offset.map_or_else(String::new, |offset| format!(", offset {offset}"));
        writeln!(out, "FOUND  {}{place}: {}", finding.file, finding.problem)?;
    }
    if checked.more_findings > 0 {
        writeln!(out, "FOUND  {} more", checked.more_findings)?;
    }
    if checked.is_whole() {
        writeln!(out, "nothing is wrong")?;
    }
    Ok(())
}

fn document(checked: &Checked) -> Value {
    let findings: Vec<Value> = checked
        .findings
        .iter()
        .map(|finding| json!({ "file": finding.file, "offset": finding.offset, "problem": finding.problem }))
        .collect();
    json!({
        "store": checked.store.map(|id| id.to_string()),
        "whole": checked.is_whole(),
        "journal": {
            "segments": checked.segments,
            "bytes": checked.journal_bytes,
            "blocks": checked.blocks,
            "records": checked.records,
            "last_record": checked.last.0,
        },
        "snapshots": { "count": checked.snapshots, "bytes": checked.snapshot_bytes },
        "values": checked.values,
        "large_values": { "count": checked.large_values, "bytes": checked.large_value_bytes },
        "archive": checked.archived_tasks.map(|tasks| json!({ "tasks": tasks, "bytes": checked.archive_bytes })),
        "unneeded_files": checked.unneeded_files,
        "findings": findings,
        "more_findings": checked.more_findings,
    })
}
