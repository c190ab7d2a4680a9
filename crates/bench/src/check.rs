//! Payloads that tell which task they are of, and whether every one of them came back once and right.

use task_messenger_client::{JobKey, TaskResult, TaskState};

use crate::{noop::OUTPUT_BYTES, plan::Faults};

/// The length of a payload.
pub(crate) const PAYLOAD_BYTES: usize = 100;

/// What is known of a job's results. Each job has numbers of its own, so that a result of another job is seen.
pub(crate) struct Checker {
    salt: u64,
    /// A bit an index.
    seen: Vec<u64>,
    count: u64,
    faults: Faults,
}

impl Checker {
    pub(crate) fn new(job: JobKey) -> Self {
        let salt = job.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self { salt, seen: Vec::new(), count: 0, faults: Faults::default() }
    }

    /// The payload of a task. What the skill returns of it is its front.
    pub(crate) fn payload(&self, index: u32) -> [u8; PAYLOAD_BYTES] {
        let mut payload = [index as u8; PAYLOAD_BYTES];
        payload[..OUTPUT_BYTES].copy_from_slice(&self.number(index));
        payload
    }

    fn number(&self, index: u32) -> [u8; OUTPUT_BYTES] {
        self.salt.wrapping_add(index.into()).to_le_bytes()
    }

    /// Notes a result.
    pub(crate) fn check(&mut self, result: &TaskResult) {
        let right = result.state == TaskState::Succeeded && result.outcome.output == self.number(result.index)[..];
        if !right {
            self.faults.wrong += 1;
        }
        let (word, bit) = (result.index as usize / 64, 1 << (result.index % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.faults.doubled += 1;
            return;
        }
        self.seen[word] |= bit;
        self.count += 1;
    }

    /// How many tasks have a result.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What was wrong, given that this many tasks were submitted.
    pub(crate) fn finish(mut self, tasks: u32) -> Faults {
        let within =
            |index: &u32| self.seen.get(*index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
        let found = (0..tasks).filter(within).count() as u64;
        self.faults.lost = u64::from(tasks) - found;
        // A result of a task that was never submitted.
        self.faults.wrong += self.count - found;
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use task_messenger_client::Outcome;

    use super::*;

    fn result(checker: &Checker, index: u32) -> TaskResult {
        let output = checker.payload(index)[..OUTPUT_BYTES].to_vec().into();
        let outcome = Outcome { output, ..Outcome::default() };
        TaskResult { index, state: TaskState::Succeeded, attempts: 1, outcome }
    }

    #[test]
    fn lost_doubled_and_wrong_results_are_each_found() {
        let mut checker = Checker::new(JobKey([9; 16]));
        for index in [2, 0, 100, 3] {
            checker.check(&result(&checker, index));
        }
        checker.check(&result(&checker, 3));
        let foreign = result(&Checker::new(JobKey([8; 16])), 1);
        checker.check(&foreign);
        checker.check(&TaskResult { state: TaskState::Failed, ..result(&checker, 4) });
        assert_eq!(checker.count(), 6);
        // Index 5 is lost, 100 was never submitted.
        assert_eq!(checker.finish(6), Faults { lost: 1, doubled: 1, wrong: 3 });
    }
}
