//! Tasks that did not succeed: all are counted, the first ones are remembered.

use task_messenger_client::{JobNumber, TaskResult, TaskState};

use crate::format;

/// How many are listed.
const LISTED: usize = 20;

/// The longest reason that is listed, in characters.
const REASON: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct Failures {
    count: u64,
    first: Vec<(u32, String)>,
}

impl Failures {
    /// Takes note of a result; whether the task did not succeed.
    pub fn note(&mut self, result: &TaskResult) -> bool {
        if result.state == TaskState::Succeeded {
            return false;
        }
        self.count += 1;
        if self.first.len() < LISTED {
            let reason = match result.state {
                TaskState::Failed => {
                    let attempts = if result.attempts == 1 { "attempt" } else { "attempts" };
                    format!("{} after {} {attempts}", format::cause(result), result.attempts)
                }
                state => format::state(state).to_owned(),
            };
            // One line each, whatever a task says.
            self.first.push((result.index, format::one_line(&reason, REASON)));
        }
        true
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The list, for people; empty if there is nothing to list.
    pub fn text(&mut self, job: JobNumber) -> String {
        self.first.sort();
        let mut lines: Vec<String> = self
            .first
            .iter()
            .map(|(index, reason)| format!("  line {} (task {job}.{index}): {reason}", u64::from(*index) + 1))
            .collect();
        let more = self.count - self.first.len() as u64;
        if more > 0 {
            lines.push(format!("  and {more} more: `task-messenger list {job} --state failed`"));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use task_messenger_client::{Ending, Outcome};

    use super::*;

    #[test]
    fn the_list_is_bounded_and_in_order() {
        let mut failures = Failures::default();
        let outcome = Outcome { ending: Ending::Error.into(), text: "no\nprogram".to_owned(), ..Outcome::default() };
        for index in (0..30).rev() {
            let result = TaskResult { index, state: TaskState::Failed, attempts: 3, outcome: outcome.clone() };
            assert!(failures.note(&result));
        }
        let fine = TaskResult { index: 99, state: TaskState::Succeeded, attempts: 1, outcome: Outcome::default() };
        assert!(!failures.note(&fine));
        let text = failures.text(JobNumber(7));
        assert_eq!((failures.count(), text.lines().count()), (30, LISTED + 1));
        assert_eq!(text.lines().next(), Some("  line 11 (task 7.10): error: no program after 3 attempts"));
        assert!(text.ends_with("and 10 more: `task-messenger list 7 --state failed`"));
        assert_eq!(Failures::default().text(JobNumber(7)), "");
    }
}
