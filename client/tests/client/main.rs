//! The client against an appliance of this process that can be told to misbehave.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod chat;
mod check;
mod fake;
mod gateway;
mod hardware;
mod nodes;
mod notary;
mod program;
mod proxy;
mod receipts;
mod releases;
mod reply;
mod sealed;
mod secrets;
mod tpm2;
mod translations;
mod unix;
mod vendors;
mod verify;
