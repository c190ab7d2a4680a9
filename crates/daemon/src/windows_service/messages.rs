//! The numbers of events and their texts: the programs' build scripts put them into the programs, where Event Viewer looks.

/// The service has started.
pub(crate) const STARTED: u32 = 0x4000_0001;
/// It was asked to stop.
pub(crate) const STOPPING: u32 = 0x4000_0002;
/// It can't work as it is set up: its configuration, a credential that is missing or revoked, a store that is newer.
pub(crate) const CONFIGURATION: u32 = 0xC000_0010;
/// It has ended, or did not start, for another reason.
pub(crate) const FAILED: u32 = 0xC000_0011;

/// Ascending. The two highest bits are the severity (MS-DTYP 2.1, as of an NTSTATUS); `%1` is what is told.
#[allow(dead_code, reason = "only the build scripts need them")]
pub(crate) const MESSAGES: [(u32, &str); 4] = [
    (STARTED, "The service has started: %1\r\n"),
    (STOPPING, "The service stops: %1\r\n"),
    (CONFIGURATION, "The service can't work as it is set up: %1\r\n"),
    (FAILED, "The service has failed: %1\r\n"),
];
