//! What people attach to a job, to find it again.

use std::collections::BTreeMap;

use crate::limits::{LABEL_KEY, LABEL_VALUE, LABELS};

/// Values by key, in the order of the keys.
pub type Labels = BTreeMap<String, String>;

/// Whether a job may have these; if not, why.
pub fn check(labels: &Labels) -> Result<(), String> {
    if labels.len() > LABELS {
        return Err(format!("a job has at most {LABELS} labels; these are {}", labels.len()));
    }
    for (key, value) in labels {
        if key.is_empty() || key.len() > LABEL_KEY || value.len() > LABEL_VALUE {
            return Err(format!(
                "a label's key has 1 to {LABEL_KEY} bytes and its value at most {LABEL_VALUE}; these are {} and {}",
                key.len(),
                value.len()
            ));
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return Err("a label has no control characters".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_few_short_and_printable() {
        let labels = |count: usize, key: usize, value: usize| -> Labels {
            let label = |index: usize| (format!("{index:0key$}"), "v".repeat(value));
            (0..count).map(label).collect()
        };
        assert_eq!(check(&labels(LABELS, LABEL_KEY, LABEL_VALUE)), Ok(()));
        assert!(check(&labels(LABELS + 1, 2, 0)).unwrap_err().contains("at most 16"));
        assert!(check(&labels(1, LABEL_KEY + 1, 0)).unwrap_err().contains("65 and 0"));
        assert!(check(&labels(1, 1, LABEL_VALUE + 1)).unwrap_err().contains("1 and 257"));
        for (key, value) in [("", "v"), ("k\n", "v"), ("k", "\u{1b}")] {
            assert!(check(&Labels::from([(key.to_owned(), value.to_owned())])).is_err(), "{key:?} {value:?}");
        }
    }
}
