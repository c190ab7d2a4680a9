//! What tests do to a daemon from outside. Without the feature `test-hooks`, which only tests switch on, nothing of it is
//! there.

/// Stands still for as long as the file exists that the variable `FREEZE_EVENT_LOOP` names.
#[cfg(feature = "test-hooks")]
pub fn freeze_point() {
    static FILE: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("FREEZE_EVENT_LOOP").map(Into::into));
    while file.as_ref().is_some_and(|file| file.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Nothing.
#[cfg(not(feature = "test-hooks"))]
#[inline]
pub fn freeze_point() {}
