//! The scheduler of TaskMessenger as a pure state machine: no clock, no files, no network.
