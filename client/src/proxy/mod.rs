//! A local OpenAI endpoint in front of verified appliances.
//!
//! It verifies before it listens, forwards only over connections that prove a verified key, and fails closed: when an
//! appliance shows another key that is not proven, nothing is sent to it. With several appliances ([`Nodes`]) it spreads
//! requests, and asks another one while no byte of an answer has been passed on.

mod answer;
mod breaker;
mod ending;
mod gate;
mod guard;
mod headers;
mod intake;
mod node;
mod nodes;
mod passing;
mod relay;
mod server;
mod status;
mod translating;
mod watch;

pub use breaker::{Breaker, BreakerSettings, BreakerState, Entry};
pub use gate::Gate;
pub use guard::{Guard, Stranger};
pub use node::{Counters, Health, Lease, Node, NodeNotice, NodeState};
pub use nodes::{Balance, Missing, NoNode, NodeSettings, Nodes};
pub use passing::Passing;
pub use relay::Failure;
pub use server::{Door, Proxy, Settings};
pub use translating::Api;
