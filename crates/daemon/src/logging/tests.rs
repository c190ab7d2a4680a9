use super::*;
use crate::config::{ByteSize, ConfigDuration};

#[test]
fn a_misspelt_level_is_no_level() {
    let problems = |level: &str| LogConfig { level: level.to_owned(), ..LogConfig::default() }.problems();
    for level in ["info", "off", "warn,rustls=debug", "error, task_messenger_manager::session=trace"] {
        assert_eq!(problems(level), []);
    }
    for level in ["", "verbose", "info,", "info,rustls", "rustls=loud", "=info", "INFO"] {
        assert_eq!(problems(level).len(), 1, "{level}");
    }
}

#[test]
fn a_rotation_within_its_limits_is_taken_and_any_other_is_refused_with_them() {
    let rotation = |size: &str, age: &str, keep| {
        let (size, age): (ByteSize, ConfigDuration) = (size.parse().unwrap(), age.parse().unwrap());
        let rotation = Rotation { size, age, keep, ..Rotation::default() };
        let problems = LogConfig { rotation, ..LogConfig::default() }.problems();
        problems.into_iter().map(|problem| (problem.path, problem.message)).collect::<Vec<_>>()
    };
    assert_eq!(LogConfig::default().problems(), []);
    assert_eq!(rotation("64KiB", "1min", 1), []);
    assert_eq!(rotation("1TiB", "1year", 10_000), []);
    let problem = |key: &str, allowed: &str| (format!("rotation.{key}"), format!("it must be {allowed}"));
    let all = [problem("size", "64KiB to 1TiB"), problem("age", "1m to 1year"), problem("keep", "1 to 10000")];
    assert_eq!(rotation("65535B", "59s", 0), all);
    assert_eq!(rotation("2TiB", "2years", 10_001), all);
}

#[test]
fn a_file_has_a_name() {
    for (file, problems) in [("", 1), ("/", 1), ("/var/log/..", 1), ("manager.log", 0), ("/var/log/manager.log", 0)] {
        let config = LogConfig { file: Some(file.into()), ..LogConfig::default() };
        assert_eq!(config.problems().len(), problems, "{file:?}");
    }
}
