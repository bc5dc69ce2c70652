//! The one safe door to llama.cpp.
//!
//! Model ownership and metadata go through `llama-cpp-2`. Loading, vocabulary, context, thread pool, batches and memory
//! go through `llama-cpp-sys-2` of the same family, because the binding keeps its pointers private and so cannot attach a thread
//! pool (without one ggml starts threads for every token), set an abort callback, or switch weight repacking off.
//!
//! What a caller may rely on:
//! - **Nothing llama.cpp says reaches a log.** Its log callback drops every line; an abort or an uncaught C++ exception
//!   prints one fixed line and ends the process through [`Backend::init`]'s hook, without a backtrace or a child process.
//! - **Weights lie in memory once.** A model is mapped in place, or, where it is laid out anew for the processor
//!   ([`LoadOptions::repack`]), read, so that the memfd it came from can be let go.
//! - **A released sequence leaves no keys and values behind.** Each sequence has its own slice of the cache
//!   (`kv_unified = false`), and [`Context::release`] overwrites the rows it used with zeros;
//!   [`Context::clear_scratch`] does the same to activations and logits, [`Context::clear`] to everything. What kernels keep for each
//!   thread (a few kilobytes of quantised activations of the last rows computed) stays until the next prompt overwrites it.

mod backend;
mod batch;
mod context;
mod cuts;
mod decode_error;
mod kernels;
mod model;
mod pool;
mod rows;
mod vocabulary;

pub use backend::{Backend, EndHook};
pub use batch::{Batch, Row};
pub use context::{Context, ContextError, ContextOptions, Signals, Wiping};
pub use decode_error::DecodeError;
pub use kernels::Kernels;
pub use model::{LoadError, LoadOptions, Model};
pub use vocabulary::{TokenizeError, Vocabulary};
