//! What both daemons of TaskMessenger share: configuration, logging, shutdown.
