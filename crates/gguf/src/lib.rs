//! Bounded reader of GGUF model files: every table is checked before llama.cpp sees a byte.
//!
//! llama.cpp is fast and trusting: a broken file can end it with an assertion, an uncaught C++ exception or a read
//! outside the file. This crate reads the same tables first, in safe Rust, and refuses what the loader or the compute
//! graph would stumble over: lying counts and lengths, duplicate keys, tensors and tokens, unknown types, tensors outside
//! the file, hyperparameters that trip an assertion, tokenizers that throw while tokenizing, architectures the engine was
//! never tried with. It allocates only in proportion to bytes it has really seen.
//!
//! Format: `gguf.h`, `gguf.cpp`, `llama-model-loader.cpp`, `llama-model.cpp` and `llama-vocab.cpp` of llama.cpp, as
//! shipped by llama-cpp-sys-2 0.1.161.

#![forbid(unsafe_code)]

mod architecture;
mod cursor;
mod header;
mod hyperparameters;
mod metadata;
mod reader;
mod refused;
mod tensor_type;
mod tensors;
mod value;
mod vocabulary;
mod working_set;

pub use architecture::{Architecture, supported_architectures};
pub use header::{Header, Share};
pub use hyperparameters::Attention;
pub use reader::{check, check_head, check_reader};
pub use refused::Refused;
pub use working_set::Load;

/// Most bytes that everything before the tensor data may take: tokens, merges and a template fit many times over.
pub const MAX_HEADER_BYTES: u64 = 128 << 20;
/// Most key/value pairs; real files have fewer than a hundred.
pub const MAX_PAIRS: u64 = 4096;
/// Most tensors; the largest published models have a few thousand.
pub const MAX_TENSORS: u64 = 65_536;
/// Most tokens in a vocabulary; the largest published ones have about 262,000.
pub const MAX_TOKENS: u64 = 1 << 20;
/// Longest text of one token, in bytes.
pub const MAX_TOKEN_BYTES: u64 = 4096;
/// Longest chat template, in bytes.
pub const MAX_CHAT_TEMPLATE_BYTES: usize = 256 << 10;
/// Largest `general.alignment`, in bytes.
pub const MAX_ALIGNMENT: u32 = 1 << 20;
/// Longest metadata key, in bytes.
pub const MAX_KEY_BYTES: u64 = 255;
