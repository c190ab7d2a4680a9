//! What a process has used so far, as the kernel counts it. Elsewhere than on Linux nothing is told.

use std::time::Duration;

/// CPU time of all its threads, in the program and in the kernel.
#[cfg(target_os = "linux")]
pub(crate) fn cpu_time(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = words.get(11)?.parse::<u64>().ok()? + words.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Bytes of memory that it occupies.
#[cfg(target_os = "linux")]
pub(crate) fn resident_bytes(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Bytes that it had written to disks.
#[cfg(target_os = "linux")]
pub(crate) fn written_bytes(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu_time(_process: u32) -> Option<Duration> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_bytes(_process: u32) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn written_bytes(_process: u32) -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_own_usage_is_seen_to_grow() {
        let own = std::process::id();
        let before = (cpu_time(own).unwrap(), resident_bytes(own).unwrap());
        let memory = vec![1_u8; 32 << 20];
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        while cpu_time(own).unwrap() < before.0 + Duration::from_millis(20) {
            assert!(std::time::Instant::now() < deadline, "the CPU time does not grow");
        }
        assert!(resident_bytes(own).unwrap() > before.1 + (16 << 20));
        assert!(written_bytes(own).is_some());
        drop(memory);
    }
}
