//! The server: from sockets to typed jobs and back.
//!
//! [`serve`] owns the sockets; [`route::route`] is the whole surface; [`answer`] turns a request's bytes into an answer without
//! knowing the socket, so that a wire with a request inside of a request can call it for the inner one.

mod activity;
mod answer;
mod attestation;
mod auth;
mod body;
mod call;
mod chat;
mod completion;
mod connection;
mod devices;
mod epochs;
mod error;
mod event;
mod generation;
mod head;
mod health;
mod http;
mod listen;
mod models;
mod operator;
mod query;
mod rate;
mod receipts;
mod route;
mod sealed;
mod secrets;
mod shape;
mod state;
mod template;

pub use answer::{Answer, AnswerBody, AnswerStream, Bodied, answer};
pub use call::{Body, Call, Tenant, Wire};
pub use error::ApiError;
pub use event::{Console, Event, EventSink, Outcome, RequestId};
pub use listen::{Listener, serve};
pub use receipts::Slip;
pub use route::{Route, route};
pub use state::{Parts, State};
pub use template::{Render, RenderFailure, TemplateError, model_template};
