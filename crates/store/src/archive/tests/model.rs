//! What the archive is to hold, kept plainly.

use std::collections::{BTreeMap, BTreeSet};

use task_messenger_core::query::JobFilter;

use super::*;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) watermark: RecordNumber,
    pub(super) jobs: BTreeMap<JobNumber, ArchivedJob>,
    pub(super) purged: BTreeSet<JobNumber>,
    pub(super) tasks: BTreeMap<TaskNumber, ArchivedTask>,
    pub(super) templates: BTreeMap<TemplateNumber, ArchivedTemplate>,
}

impl Model {
    pub(super) fn append(&mut self, batch: &Batch) {
        if batch.watermark < self.watermark {
            return;
        }
        self.watermark = batch.watermark;
        for job in &batch.jobs {
            self.jobs.insert(job.number, job.clone());
        }
        for task in &batch.tasks {
            self.tasks.entry(task.number).or_insert_with(|| task.clone());
        }
        for template in &batch.templates {
            self.templates.insert(template.number, template.clone());
        }
        self.purged.extend(batch.purged.iter().filter(|job| self.jobs.contains_key(job)));
        for Delivered { job, first_index, last_index } in &batch.delivered {
            for task in self.tasks.values_mut() {
                task.delivered |= task.id.job == *job && (first_index..=last_index).contains(&&task.id.index);
            }
        }
        self.drop_templates();
    }

    /// Removes tasks, and jobs that are left with none and are at their end; the files of the tasks.
    pub(super) fn remove(&mut self, goes: impl Fn(&ArchivedTask) -> bool) -> BTreeSet<u64> {
        let (gone, left): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.tasks).into_iter().partition(|(_, task)| goes(task));
        self.tasks = left;
        let touched: BTreeSet<JobNumber> = gone.values().map(|task| task.id.job).collect();
        for job in touched {
            let is_over = self.jobs[&job].ended.is_some() || self.purged.contains(&job);
            if self.kept(job) == 0 && is_over {
                self.remove_job(job);
            }
        }
        self.drop_templates();
        gone.values().flat_map(files_of).collect()
    }

    pub(super) fn remove_older_than(&mut self, time: WallTime) -> BTreeSet<u64> {
        let files = self.remove(|task| task.finished < time);
        let over: Vec<_> = self
            .jobs
            .values()
            .filter(|job| job.ended.is_some_and(|ended| ended < time))
            .map(|job| job.number)
            .collect();
        for job in over {
            if self.kept(job) == 0 {
                self.remove_job(job);
            }
        }
        files
    }

    pub(super) fn shrink_to(&mut self, tasks: u64, bytes: u64) -> BTreeSet<u64> {
        let (mut tasks_left, mut bytes_left) = (self.tasks.len() as u64, self.bytes());
        let mut goes = BTreeSet::new();
        for task in self.tasks.values().filter(|task| task.delivered) {
            if tasks_left > tasks || bytes_left > bytes {
                tasks_left -= 1;
                bytes_left -= task.kept_bytes();
                goes.insert(task.number);
            }
        }
        self.remove(|task| goes.contains(&task.number))
    }

    pub(super) fn remove_purged(&mut self) -> BTreeSet<u64> {
        let purged = self.purged.clone();
        let files = self.remove(|task| purged.contains(&task.id.job));
        for job in purged {
            self.remove_job(job);
        }
        files
    }

    pub(super) fn kept(&self, job: JobNumber) -> u64 {
        self.tasks.values().filter(|task| task.id.job == job).count() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.tasks.values().map(ArchivedTask::kept_bytes).sum()
    }

    pub(super) fn totals(&self, owner: Option<OwnerNumber>) -> Totals {
        let is_of_owner = |job: &JobNumber| owner.is_none_or(|owner| self.jobs[job].owner == owner);
        let jobs = self.jobs.keys().filter(|job| is_of_owner(job)).count() as u64;
        let mut totals = Totals { jobs, ..Totals::default() };
        for task in self.tasks.values().filter(|task| is_of_owner(&task.id.job)) {
            totals.bytes += task.kept_bytes();
            let FinalCounts { succeeded, failed, cancelled, expired } = &mut totals.tasks;
            *match task.state {
                TaskState::Succeeded => succeeded,
                TaskState::Failed => failed,
                TaskState::Cancelled => cancelled,
                _ => expired,
            } += 1;
        }
        totals
    }

    pub(super) fn files(&self) -> BTreeSet<u64> {
        self.tasks.values().flat_map(files_of).collect()
    }

    /// Asks the archive everything, and holds the answers against what there should be.
    pub(super) fn check(&self, archive: &Archive) {
        assert_eq!(archive.watermark(), self.watermark);
        let reader = archive.reader();
        assert_eq!(archive.totals(), self.totals(None));
        assert_eq!(archive.totals().tasks.total(), self.tasks.len() as u64);
        for owner in [None, Some(OwnerNumber(0)), Some(OwnerNumber(1)), Some(OwnerNumber(9))] {
            assert_eq!(reader.totals(owner).unwrap(), self.totals(owner));
        }
        let owners = [0, 1, 2].map(OwnerNumber).map(|owner| (owner, self.totals(Some(owner))));
        let owners: Vec<_> = owners.into_iter().filter(|(_, totals)| totals.jobs > 0).collect();
        assert_eq!(reader.totals_by_owner().unwrap(), owners);
        assert_eq!(reader.files().unwrap().into_iter().collect::<BTreeSet<_>>(), self.files());
        for number in 0..6 {
            let expected = self.templates.get(&TemplateNumber(number)).cloned();
            assert_eq!(reader.template(TemplateNumber(number)).unwrap(), expected);
        }
        for number in 0..8 {
            self.check_job(&reader, JobNumber(number));
        }
        self.check_listings(&reader);
        check_sums(archive);
    }

    fn check_job(&self, reader: &Reader, number: JobNumber) {
        let job = self.jobs.get(&number).filter(|_| !self.purged.contains(&number));
        let kept = self.kept(number);
        assert_eq!(reader.job(number).unwrap(), job.map(|job| KeptJob { job: job.clone(), kept }));
        if let Some(key) = self.jobs.get(&number).and_then(|job| job.key) {
            let owner = self.jobs[&number].owner;
            assert_eq!(reader.job_with_key(owner, key).unwrap(), job.map(|job| job.number));
            assert_eq!(reader.job_with_key(owner.next(), key).unwrap(), None);
        }
        let mut tasks: Vec<_> =
            self.tasks.values().filter(|task| job.is_some() && task.id.job == number).cloned().collect();
        tasks.sort_by_key(|task| task.id.index);
        for hidden in self.tasks.values().filter(|task| job.is_none() && task.id.job == number) {
            assert_eq!(reader.task(hidden.id).unwrap(), None);
        }
        for task in &tasks {
            assert_eq!(reader.task(task.id).unwrap().as_ref(), Some(task));
        }
        assert_eq!(reader.task(TaskId { job: number, index: 77_777 }).unwrap(), None);
        for state in [None, Some(TaskState::Succeeded), Some(TaskState::Failed), Some(TaskState::Expired)] {
            let expected: Vec<_> = tasks
                .iter()
                .filter(|task| state.is_none_or(|state| state == task.state))
                .map(|task| ArchivedTask { payload: None, outcome: None, ..task.clone() })
                .collect();
            assert_eq!(pages(3, |from| reader.tasks(number, state, from, 3).unwrap()), expected);
        }
        let expected: Vec<_> = tasks.into_iter().map(|task| ArchivedTask { payload: None, ..task }).collect();
        assert_eq!(pages(2, |from| reader.results(number, from, 2, u64::MAX).unwrap()), expected);
        let small_page = |from| {
            let page = reader.results(number, from, 100, 1).unwrap();
            let with_bytes = |task: &&ArchivedTask| task.outcome.as_ref().is_some_and(|outcome| !outcome.is_empty());
            assert!(page.tasks.iter().filter(with_bytes).count() <= 1);
            page
        };
        assert_eq!(pages(100, small_page), expected);
    }

    fn check_listings(&self, reader: &Reader) {
        let filter = JobFilter::default();
        let all = JobQuestion { owner: None, before: None, name_contains: None, filter: filter.clone(), limit: 2 };
        let label = ("label 1".to_owned(), "\"1\"".to_owned());
        let of = |state| JobFilter { state: Some(state), ..JobFilter::default() };
        let ends = [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled, TaskState::Expired].map(of);
        let late = JobFilter { since: Some(WallTime(3000)), ..filter.clone() };
        let labelled = JobFilter { labels: [label].into(), ..filter };
        let other_questions = [
            all.clone(),
            JobQuestion { owner: Some(OwnerNumber(1)), limit: 1, ..all.clone() },
            JobQuestion { filter: of(TaskState::Running), ..all.clone() },
            JobQuestion { filter: late, name_contains: Some("JOB".to_owned()), ..all.clone() },
            JobQuestion { filter: labelled, ..all.clone() },
            JobQuestion { name_contains: Some("b 4".to_owned()), ..all.clone() },
        ];
        let by_end = ends.map(|filter| JobQuestion { filter, ..all.clone() });
        for mut question in other_questions.into_iter().chain(by_end) {
            let JobFilter { state, since, labels } = &question.filter;
            let matches = |job: &&ArchivedJob| {
                question.owner.is_none_or(|owner| owner == job.owner)
                    && state.is_none_or(|state| has_some(&job.counts, state))
                    && since.is_none_or(|since| job.opened >= since)
                    && question
                        .name_contains
                        .as_ref()
                        .is_none_or(|part| job.name.to_lowercase().contains(&part.to_lowercase()))
                    && labels.iter().all(|label| job.labels.iter().any(|other| other == label))
                    && !self.purged.contains(&job.number)
            };
            let expected: Vec<_> = self
                .jobs
                .values()
                .rev()
                .filter(matches)
                .map(|job| KeptJob { job: job.clone(), kept: self.kept(job.number) })
                .collect();
            let mut found = Vec::new();
            loop {
                let page = reader.jobs(&question).unwrap();
                assert!(page.jobs.len() <= question.limit as usize);
                found.extend(page.jobs);
                if page.next.is_none() {
                    break;
                }
                question.before = page.next;
            }
            assert_eq!(found, expected);
        }
    }

    fn remove_job(&mut self, job: JobNumber) {
        self.jobs.remove(&job);
        self.purged.remove(&job);
    }

    fn drop_templates(&mut self) {
        let used: BTreeSet<_> = self.tasks.values().map(|task| task.template).collect();
        self.templates.retain(|number, _| used.contains(number));
    }
}

/// Whether some tasks of a job with these counts are in `state`.
fn has_some(counts: &FinalCounts, state: TaskState) -> bool {
    let FinalCounts { succeeded, failed, cancelled, expired } = *counts;
    let of = [
        (TaskState::Succeeded, succeeded),
        (TaskState::Failed, failed),
        (TaskState::Cancelled, cancelled),
        (TaskState::Expired, expired),
    ];
    of.iter().any(|(other, count)| *other == state && *count > 0)
}

fn files_of(task: &ArchivedTask) -> Vec<u64> {
    let file = |value: &Value| match value {
        Value::External { file, .. } => Some(*file),
        Value::Inline(_) => None,
    };
    [&task.payload, &task.outcome].into_iter().flatten().filter_map(file).collect()
}

fn pages(limit: usize, ask: impl Fn(u32) -> TaskPage) -> Vec<ArchivedTask> {
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let page = ask(from);
        assert!(page.tasks.len() <= limit);
        found.extend(page.tasks);
        match page.next_index {
            Some(next) => {
                assert!(next > from, "pages go on");
                from = next;
            }
            None => return found,
        }
    }
}

/// Holds the sums in the file against its rows.
fn check_sums(archive: &Archive) {
    let wrong = [
        "SELECT count(*) FROM (SELECT span, tasks, undelivered FROM spans
             EXCEPT SELECT task >> 13, count(*), sum(delivered = 0) FROM tasks GROUP BY 1)",
        "SELECT count(*) FROM (SELECT task >> 13, count(*), sum(delivered = 0) FROM tasks GROUP BY 1
             EXCEPT SELECT span, tasks, undelivered FROM spans)",
        "SELECT count(*) FROM tasks JOIN spans ON span = task >> 13 WHERE finished < oldest",
        "SELECT count(*) FROM jobs WHERE kept <> (SELECT count(*) FROM tasks WHERE tasks.job = jobs.job)",
        "SELECT count(*) FROM templates
             WHERE tasks <> (SELECT count(*) FROM tasks WHERE tasks.template = templates.template)",
        "SELECT count(*) FROM owners WHERE jobs <> (SELECT count(*) FROM jobs WHERE jobs.owner = owners.owner)",
        "SELECT count(*) FROM owners WHERE jobs = 0",
        "SELECT count(*) FROM tasks LEFT JOIN jobs USING (job) LEFT JOIN templates USING (template)
             WHERE jobs.job IS NULL OR templates.template IS NULL",
        "SELECT count(*) FROM files LEFT JOIN tasks USING (task) WHERE tasks.task IS NULL",
    ];
    for question in wrong {
        let count: i64 = archive.connection.query_row(question, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{question}");
    }
}
