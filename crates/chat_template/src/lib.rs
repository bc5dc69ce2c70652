//! Chat templates of model files, rendered as Hugging Face's jinja2 renders them.
//!
//! A model's authors wrote and tested its template with `transformers`, which compiles it with Python's jinja2 in one
//! particular configuration (`_compile_jinja_template` in `chat_template_utils.py`): an immutable sandbox,
//! `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`, a `tojson` that neither escapes HTML nor sorts,
//! `raise_exception` and `strftime_now`. One space of difference changes what the model answers. So this crate sets
//! minijinja up to give the same bytes; `tests/templates/judge.py` compares the two.
//!
//! What differs on purpose: `strftime_now` answers a date that the deployment document fixes, never a clock's, and
//! rendering is bounded in steps and in output.
//!
//! Known to differ, none of it met in published templates but the last: floating-point numbers inside `~` and `join`
//! are written by Rust; `'%s' % x` is no formatting (the filter `format` is); a key that a dictionary lacks is never one
//! of its methods (`d['items']`); where Python fails with a `TypeError` because something is `None`, minijinja sometimes
//! goes on as if it were empty; filters for HTML and prose (`striptags`, `urlize`, `wordwrap`, …) do not exist; `safe` does
//! not make `+` escape the other side.

#![forbid(unsafe_code)]

mod arguments;
mod collection_methods;
mod date;
mod environment;
mod error;
mod json;
mod numbers;
mod python;
mod slice;
mod source;
mod template;
mod text_methods;

pub use date::{Date, DateError};
pub use error::{CompileError, Raised, RenderError};
pub use template::{Constants, Template};

/// Longest source of a template, in bytes; published ones have at most some 30,000.
pub const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Longest prompt a template may make, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// Steps of the template engine one rendering may take; a message takes some hundred.
pub const MAX_STEPS: u64 = 5_000_000;
