//! The server over loopback, with a scripted engine behind it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "helpers of tests"
)]

mod access;
mod answers;
mod certificates;
mod client;
mod devices;
mod ehbp;
mod engine;
mod envelope;
mod epochs;
mod failures;
mod hostile;
mod limits;
mod ohttp;
mod receipts;
mod refusals;
mod secrets;
mod server;
mod traffic;
