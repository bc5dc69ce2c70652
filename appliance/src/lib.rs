//! The measured binary: PID 1 and server.
#![deny(unsafe_code)]
// every step of the tree is reached from `main.rs` through this library, so that tests can reach it too

pub mod api;
pub mod boot;
pub mod host;
pub mod identity;
pub mod inference;
pub mod lockdown;
pub mod process;
