//! What the process itself takes of its machine, where the system tells it (Linux).

use super::Sample;

/// Adds what is known.
#[cfg(target_os = "linux")]
pub(crate) fn measure(sample: &mut Sample) {
    use std::time::Duration;

    use rustix::{
        process::{Resource, getrlimit},
        time::{ClockId, clock_gettime},
    };

    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let spent = Duration::try_from(spent).unwrap_or_default();
    sample.seconds_counter("process_cpu_seconds", "Time of processors that the process has used.", spent);
    if let Some(resident) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        sample.gauge("process_resident_memory_bytes", "Memory of the process that is not swapped out.", resident);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        // One of them is for looking.
        let open = descriptors.count().saturating_sub(1);
        sample.gauge("process_open_descriptors", "Open files and connections of the process.", open as f64);
    }
    let most = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |most| most as f64);
    sample.gauge("process_limit_descriptors", "The most of them that the system allows.", most);
}

/// The system doesn't tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn measure(_: &mut Sample) {}

/// From the text of `/proc/PID/status`.
#[cfg(target_os = "linux")]
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes as f64 * 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_what_it_takes() {
        let mut sample = Sample::new();
        measure(&mut sample);
        let text = sample.encode(false).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("task_messenger_process_{name} ")));
            line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
        };
        assert!(value("cpu_seconds_total") > 0.0, "{text}");
        assert!((1e5..1e12).contains(&value("resident_memory_bytes")), "{text}");
        assert!((3.0..value("limit_descriptors")).contains(&value("open_descriptors")), "{text}");
    }

    #[test]
    fn resident_memory_is_found_in_its_line() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nVmData:\t 1 kB\n"), Some(2_097_152.0));
        assert_eq!(resident_bytes("Name:\tVmRSS\n"), None);
    }
}
