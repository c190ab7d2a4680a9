use super::*;

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
fn a_file_has_a_name() {
    for (file, problems) in [("", 1), ("/", 1), ("/var/log/..", 1), ("manager.log", 0), ("/var/log/manager.log", 0)] {
        let config = LogConfig { file: Some(file.into()), ..LogConfig::default() };
        assert_eq!(config.problems().len(), problems, "{file:?}");
    }
}
