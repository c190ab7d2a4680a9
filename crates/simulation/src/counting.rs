//! What new records add to the totals.

use task_messenger_core::record::{Loss, Record, Verdict};

use crate::totals::Totals;

/// Counts what a new record says.
pub(crate) fn count(record: &Record, totals: &mut Totals) {
    totals.records += 1;
    match record {
        Record::JobOpened { .. } => totals.jobs += 1,
        Record::Submitted { payloads, .. } => totals.tasks += u64::from(payloads.count()),
        Record::Dispatched { tasks, .. } => totals.dispatched += tasks.len() as u64,
        Record::Finished { ends, .. } => {
            for (_, verdict) in ends {
                match verdict {
                    Verdict::Succeeded => totals.succeeded += 1,
                    Verdict::Failed => totals.dead_letters += 1,
                    Verdict::Retry { .. } => totals.retries += 1,
                    Verdict::Cancelled => totals.cancelled_running += 1,
                }
            }
        }
        Record::Released { leases, .. } => totals.released += leases.len() as u64,
        Record::WorkerLost { silent, ends, .. } => {
            totals.deaths += 1;
            if *silent {
                totals.silenced += ends.len() as u64;
            }
            for (_, loss) in ends {
                match loss {
                    Loss::Unstarted => totals.released += 1,
                    Loss::Crashed => totals.crashes += 1,
                    Loss::Failed => {
                        totals.charged_deaths += 1;
                        totals.dead_by_death += 1;
                    }
                    Loss::Retry { .. } => totals.charged_deaths += 1,
                }
            }
        }
        Record::Cancelled { .. } => totals.cancels += 1,
        Record::Requeued { .. } => totals.run_again += 1,
        Record::Due { .. } => totals.due += 1,
        Record::Expired { .. } => totals.deadlines += 1,
        Record::Readopted { leases, .. } => totals.readopted += leases.len() as u64,
        _ => {}
    }
}
