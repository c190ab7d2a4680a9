//! The manager: event loop, sessions of workers and clients, local administration.
