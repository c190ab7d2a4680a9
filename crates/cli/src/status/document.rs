//! How everything is, for programs.

use serde_json::{Value, json};

use super::Picture;
use crate::{format, worker_view};

/// One object. What the manager does not say is null.
pub fn document(picture: &Picture) -> Value {
    let status = &picture.status;
    let counts = status.tasks.unwrap_or_default();
    let troubles = status.readiness.iter().flat_map(|readiness| &readiness.troubles).map(|trouble| {
        json!({
            "name": trouble.name,
            "required": trouble.required,
            "since": format::time_json(trouble.since_milliseconds),
            "detail": trouble.detail,
            "advice": trouble.advice,
        })
    });
    let (queue, rates, totals, storage) = (&status.queue, &status.rates, &status.totals, &status.storage);
    json!({
        "time": format::time_json(picture.taken_milliseconds),
        "software": status.software,
        "store": format::hex(&status.store),
        "durability": status.durability,
        "ready": status.readiness.as_ref().map(|readiness| readiness.ready),
        "troubles": troubles.collect::<Value>(),
        "started": format::time_json(picture.started_milliseconds()),
        "uptime_seconds": format::seconds(status.uptime_milliseconds),
        "jobs": status.jobs,
        "tasks": format::counts_json(&counts),
        "dead_letters": counts.failed,
        "queued_bytes": status.queued_bytes,
        "queue_tasks": queue.map(|queue| queue.tasks),
        "queue_bytes": queue.map(|queue| queue.bytes),
        "queue_limit_tasks": queue.map(|queue| queue.limit_tasks),
        "queue_limit_bytes": queue.map(|queue| queue.limit_bytes),
        "oldest_queued_seconds": queue.and_then(|queue| queue.oldest_milliseconds).map(format::seconds),
        "submitted_per_second": rates.map(|rates| rates.submitted),
        "ended_per_second": rates.map(|rates| rates.ended),
        "since_start": totals.map(|totals| json!({
            "submitted": totals.submitted,
            "ended": totals.ended,
            "leases": totals.leases,
            "retried": totals.retried,
            "leases_lost": totals.leases_lost,
        })),
        "disk_free_bytes": storage.map(|storage| storage.disk_free_bytes),
        "disk_reserve_bytes": storage.map(|storage| storage.disk_reserve_bytes),
        "disk_reserve_wanted_bytes": storage.map(|storage| storage.disk_reserve_wanted_bytes),
        "journal_bytes": storage.map(|storage| storage.journal_bytes),
        "archive_tasks": storage.map(|storage| storage.archive_tasks),
        "archive_bytes": storage.map(|storage| storage.archive_bytes),
        "archive_lag_tasks": storage.map(|storage| storage.archive_lag_tasks),
        "workers_connected": status.workers_connected,
        "workers_enrolled": status.workers_enrolled,
        "slots": status.slots,
        "slots_used": status.slots_used,
        "workers": picture.workers.iter().map(worker_view::worker_json).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use task_messenger_client::{QueueStatus, Rates, Readiness, Status, Trouble, WorkerSummary};

    use super::*;

    #[test]
    fn what_is_known_is_there_in_the_units_of_its_key_and_what_is_not_is_null() {
        let older = document(&Picture::default());
        for key in ["ready", "queue_tasks", "submitted_per_second", "since_start", "disk_free_bytes"] {
            assert_eq!(older.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!((&older["troubles"], &older["workers"]), (&json!([]), &json!([])));
        let trouble = Trouble {
            name: "disk".to_owned(),
            required: true,
            since_milliseconds: 1_500,
            detail: "it is full".to_owned(),
            advice: "make room".to_owned(),
        };
        let status = Status {
            uptime_milliseconds: 2_500,
            readiness: Some(Readiness { ready: false, troubles: vec![trouble] }),
            queue: Some(QueueStatus { tasks: 3, oldest_milliseconds: Some(700), ..QueueStatus::default() }),
            rates: Some(Rates { submitted: 1.5, ended: 0.25 }),
            ..Status::default()
        };
        let workers = vec![WorkerSummary { last_heard_milliseconds: Some(1_250), ..WorkerSummary::default() }];
        let document = document(&Picture { status, workers, taken_milliseconds: 10_000 });
        assert_eq!(document["ready"], false);
        let since = json!("1970-01-01T00:00:01.5Z");
        assert_eq!((&document["troubles"][0]["since"], &document["troubles"][0]["name"]), (&since, &json!("disk")));
        assert_eq!(
            (&document["uptime_seconds"], &document["started"]),
            (&json!(2.5), &json!("1970-01-01T00:00:07.5Z"))
        );
        assert_eq!((&document["queue_tasks"], &document["oldest_queued_seconds"]), (&json!(3), &json!(0.7)));
        assert_eq!((&document["submitted_per_second"], &document["ended_per_second"]), (&json!(1.5), &json!(0.25)));
        assert_eq!(document["workers"][0]["last_heard_seconds"], json!(1.25));
    }
}
