//! The client: verify, chat, proxy.
