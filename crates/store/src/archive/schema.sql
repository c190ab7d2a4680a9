-- One row: what the file is. `format` stands there in every version.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    format INTEGER NOT NULL,
    store TEXT NOT NULL,
    watermark INTEGER NOT NULL
) STRICT;

-- Whose jobs there are, and how much of theirs is kept here.
CREATE TABLE owners (
    owner INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

-- Jobs with tasks here, or at their end. `kept` counts the tasks that are here, the others all that it ever had. `labels`
-- is a JSON object.
CREATE TABLE jobs (
    job INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    key BLOB,
    opened INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    ended INTEGER,
    digest INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    purged INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_by_owner ON jobs (owner, job);
CREATE INDEX jobs_by_key ON jobs (owner, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_without_tasks ON jobs (ended) WHERE kept = 0;
CREATE INDEX jobs_purged ON jobs (job) WHERE purged = 1;

-- What tasks share. `tasks` counts those that are here; `program` is a command's program or a skill's name.
CREATE TABLE templates (
    template INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    program TEXT NOT NULL,
    priority INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    backoff_first INTEGER NOT NULL,
    backoff_longest INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Tasks at their end, by their number among all tasks. `payload_bytes` and `outcome_bytes` are lengths, whether the value is
-- kept or not; `bytes` is that of both that are kept; `files` is how many of those lie in files of their own (then the
-- column is NULL, and the table `files` has a row).
CREATE TABLE tasks (
    task INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    task_index INTEGER NOT NULL,
    state INTEGER NOT NULL,
    template INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    submitted INTEGER,
    finished INTEGER NOT NULL,
    payload_bytes INTEGER NOT NULL,
    outcome_bytes INTEGER,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    payload BLOB,
    outcome BLOB
) STRICT;
CREATE UNIQUE INDEX tasks_by_index ON tasks (job, task_index);

-- Values in files of their own. `part` is 0 for a payload, 1 for an outcome.
CREATE TABLE files (
    task INTEGER NOT NULL,
    part INTEGER NOT NULL,
    file INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (task, part)
) WITHOUT ROWID, STRICT;

-- What is known of each run of 8,192 task numbers, so that old and delivered tasks are found without an index over all.
-- No task of it ended before `oldest`.
CREATE TABLE spans (
    span INTEGER PRIMARY KEY,
    tasks INTEGER NOT NULL,
    undelivered INTEGER NOT NULL,
    oldest INTEGER NOT NULL
) STRICT;

-- For people.
CREATE VIEW job_list AS
SELECT
    jobs.job,
    owners.name AS owner,
    jobs.name,
    jobs.labels,
    strftime('%Y-%m-%dT%H:%M:%fZ', jobs.opened / 1000.0, 'unixepoch') AS opened,
    strftime('%Y-%m-%dT%H:%M:%fZ', jobs.ended / 1000.0, 'unixepoch') AS ended,
    jobs.tasks,
    jobs.succeeded,
    jobs.failed,
    jobs.cancelled,
    jobs.expired,
    jobs.kept
FROM jobs
LEFT JOIN owners ON owners.owner = jobs.owner
WHERE jobs.purged = 0;

CREATE VIEW task_list AS
SELECT
    tasks.job || '.' || tasks.task_index AS name,
    tasks.job,
    tasks.task_index,
    CASE tasks.state WHEN 5 THEN 'succeeded' WHEN 6 THEN 'failed' WHEN 7 THEN 'cancelled' WHEN 8 THEN 'expired' END
        AS state,
    templates.kind,
    templates.program,
    tasks.attempts,
    tasks.failures,
    strftime('%Y-%m-%dT%H:%M:%fZ', tasks.submitted / 1000.0, 'unixepoch') AS submitted,
    strftime('%Y-%m-%dT%H:%M:%fZ', tasks.finished / 1000.0, 'unixepoch') AS finished,
    tasks.delivered,
    tasks.payload_bytes,
    tasks.outcome_bytes,
    tasks.payload,
    tasks.outcome
FROM tasks
LEFT JOIN templates ON templates.template = tasks.template;
