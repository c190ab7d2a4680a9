//! What logs say of errors: the newest one, whichever log it is in.

use std::time::SystemTime;

/// So many more lines are taken of an error.
const LINES: usize = 5;

/// The end of a log file, and when it was written to last.
pub(super) struct End {
    pub(super) text: String,
    pub(super) written: SystemTime,
}

/// The newest line that tells of an error. One without a time of its own is taken to be as new as its file.
pub(super) fn newest_error<'a>(ends: impl IntoIterator<Item = &'a End>) -> Option<String> {
    let last = |end: &'a End| {
        let lines: Vec<&str> = end.text.lines().collect();
        let at = lines.iter().rposition(|line| is_error(line))?;
        let (line, behind) = lines.split_at_checked(at).and_then(|(_, lines)| lines.split_first())?;
        // What is wrong with a configuration comes in lines of its own.
        let more = behind.iter().copied().take_while(|line| line.starts_with(' ')).take(LINES).map(str::trim);
        let text = std::iter::once(line.trim()).chain(more).collect::<Vec<_>>().join(" ");
        Some((time_of(line).unwrap_or(end.written), text))
    };
    let mut newest: Option<(SystemTime, String)> = None;
    for found in ends.into_iter().filter_map(last) {
        if newest.as_ref().is_none_or(|(when, _)| found.0 > *when) {
            newest = Some(found);
        }
    }
    newest.map(|(_, line)| line)
}

/// As [`crate::exit::report`] and the log write errors, and Rust a panic.
fn is_error(line: &str) -> bool {
    let is_report = line.split(' ').take(2).any(|word| word == "error:");
    is_report || line.contains("ERROR") || line.contains("panicked at")
}

/// The time at the beginning of a line of text, or in one of JSON.
fn time_of(line: &str) -> Option<SystemTime> {
    let word = line.split(' ').next().unwrap_or_default();
    let in_json = || line.split_once(r#""timestamp":""#)?.1.split('"').next();
    let parse = |text: &str| humantime::parse_rfc3339(text).ok();
    parse(word).or_else(|| parse(in_json()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn end(text: &str, written: u64) -> End {
        End { text: text.to_owned(), written: SystemTime::UNIX_EPOCH + Duration::from_secs(written) }
    }

    #[test]
    fn the_newest_error_is_told_whichever_log_it_is_in() {
        let log = "2026-11-28T10:00:00.000001Z ERROR x: the old one\n2026-11-28T12:00:00.000001Z  INFO x: ready\n";
        let log = end(log, 1_795_000_000);
        let service = end("2026-11-28T11:00:00Z error: the new one\n", 1_795_000_000);
        let told = newest_error([&log, &service]);
        assert_eq!(told.as_deref(), Some("2026-11-28T11:00:00Z error: the new one"));
        assert_eq!(newest_error([&service, &log]), told);

        let json = end(r#"{"timestamp":"2026-11-28T11:30:00.5Z","level":"ERROR","message":"later"}"#, 0);
        assert!(newest_error([&service, &json]).unwrap().contains("later"));

        let more = end("error: wrong:\n  one thing\n  another\nthe next start\n", 4_000_000_000);
        assert_eq!(newest_error([&service, &more]).as_deref(), Some("error: wrong: one thing another"));

        // A panic says no time.
        let panic = end("thread 'main' panicked at src/x.rs:1:1:\nexplicit\n", 4_000_000_000);
        assert!(newest_error([&service, &panic]).unwrap().contains("panicked"));
        assert_eq!(newest_error([&end("all is well\n", 0)]), None);
        assert_eq!(newest_error([]), None);
    }
}
