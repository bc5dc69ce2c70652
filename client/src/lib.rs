#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod address;
pub mod answer;
pub mod appliance;
pub mod attestation;
pub mod call;
pub mod chat;
pub mod collateral;
pub mod connection;
pub mod error;
pub mod exit;
mod line;
pub mod operator;
pub mod pin;
pub mod program;
pub mod proxy;
pub mod receipts;
pub mod retry;
pub mod sealed;
pub mod sse;
pub mod terminal;
pub mod tls;
pub mod token;
pub mod translate;
pub mod tunnel;
