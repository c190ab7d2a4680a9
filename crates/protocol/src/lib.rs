//! What goes over a link of TaskMessenger: messages, frames, handshake, tokens, TLS.
