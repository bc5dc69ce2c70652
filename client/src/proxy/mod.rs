//! A local OpenAI endpoint in front of a verified appliance.
//!
//! It verifies before it listens, forwards only over connections that prove the verified key, and fails closed: when the
//! appliance shows another key, requests are answered with an error object and nothing of them leaves this machine.

mod answer;
mod gate;
mod guard;
mod headers;
mod server;

pub use gate::Gate;
pub use guard::{Guard, Stranger};
pub use server::{Door, Proxy, Settings};
