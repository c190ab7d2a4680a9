//! The Rust client library of TaskMessenger.
