//! Why a file was refused: a short stable code for the console, a reason for people, the offset for whoever repairs it.

use std::io;

/// Why a model file was refused.
///
/// No variant carries content of the file beyond names that are checked to be short printable ASCII.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: the magic is missing")]
    Magic,
    /// A version this reader does not know (2 and 3 are known; big-endian files look like a huge version).
    #[error("GGUF version {version} is not supported (2 and 3 are)")]
    Version {
        /// The number in the file.
        version: u32,
    },
    /// The file ends before something it announces.
    #[error("the file ends early: {needed} more bytes are announced at byte {offset}, {left} are left")]
    Truncated {
        /// Where the announced bytes begin.
        offset: u64,
        /// How many bytes are announced.
        needed: u64,
        /// How many bytes the file has from there.
        left: u64,
    },
    /// The tables before the tensor data are larger than [`crate::MAX_HEADER_BYTES`], or than the window given.
    #[error("the tables before the tensor data are larger than {limit} bytes")]
    HeaderSize {
        /// Where reading stopped.
        offset: u64,
        /// The limit or the window, in bytes.
        limit: u64,
    },
    /// Bytes follow the last tensor and its padding.
    #[error("{bytes} bytes follow the last tensor, which ends at byte {offset}")]
    Trailing {
        /// Where the last tensor ends.
        offset: u64,
        /// How many bytes follow.
        bytes: u64,
    },
    /// A count is above its limit.
    #[error("{count} {what} at byte {offset}: at most {limit} are accepted")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The number in the file.
        count: u64,
        /// The most accepted.
        limit: u64,
        /// Where the count stands.
        offset: u64,
    },
    /// A text is longer than its limit.
    #[error("{what} of {length} bytes at byte {offset}: at most {limit} are accepted")]
    Length {
        /// What kind of text it is.
        what: &'static str,
        /// The length in the file, in bytes.
        length: u64,
        /// The longest accepted, in bytes.
        limit: u64,
        /// Where the text stands.
        offset: u64,
    },
    /// A text is not UTF-8.
    #[error("a text at byte {offset} is not UTF-8")]
    Utf8 {
        /// Where the text stands.
        offset: u64,
    },
    /// A key is empty, has characters outside printable ASCII, or stands twice.
    #[error("the key at byte {offset} {problem}")]
    Key {
        /// What is wrong with it.
        problem: &'static str,
        /// Where it stands.
        offset: u64,
    },
    /// A value has a type the format does not know, or an array of arrays.
    #[error("value type {number} at byte {offset} is unknown here")]
    ValueType {
        /// The number in the file.
        number: u32,
        /// Where it stands.
        offset: u64,
    },
    /// A key that llama.cpp needs is missing.
    #[error("the key {key} is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A key has a value of the wrong type, or one outside its range.
    #[error("the key {key} at byte {offset} {problem}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with its value.
        problem: &'static str,
        /// Where the value stands.
        offset: u64,
    },
    /// `general.architecture` is not on the list of [`crate::supported_architectures`].
    #[error("architecture {name:?} is not supported")]
    Architecture {
        /// The name in the file, cut to 64 characters.
        name: String,
        /// Where the value stands.
        offset: u64,
    },
    /// The file is one part of a model split over several files.
    #[error("the file is part of a split model ({parts} parts): merge it first (llama-gguf-split --merge)")]
    Split {
        /// `split.count`.
        parts: u64,
        /// Where the value stands.
        offset: u64,
    },
    /// A tensor's name or shape is not acceptable.
    #[error("tensor {index} at byte {offset} {problem}")]
    Tensor {
        /// Its number in the table, from 0.
        index: u64,
        /// What is wrong with it.
        problem: &'static str,
        /// Where its description stands.
        offset: u64,
    },
    /// A tensor has a type that does not exist or that cannot be computed with.
    #[error("tensor {index} at byte {offset} has type {number}: {problem}")]
    TensorType {
        /// Its number in the table, from 0.
        index: u64,
        /// The ggml type in the file.
        number: u32,
        /// What is wrong with it.
        problem: &'static str,
        /// Where its description stands.
        offset: u64,
    },
    /// A tensor does not begin where the one before it ends.
    #[error("the data of tensor {index} begins at {found} instead of {expected}, relative to the data section")]
    TensorOffset {
        /// Its number in the table, from 0.
        index: u64,
        /// The offset in the file.
        found: u64,
        /// The only offset llama.cpp accepts.
        expected: u64,
        /// Where its description stands.
        offset: u64,
    },
    /// The tokenizer would make llama.cpp abort, at loading or while tokenizing.
    #[error("the tokenizer table at byte {offset}: {problem}")]
    Tokenizer {
        /// What is wrong with it.
        problem: &'static str,
        /// Where the table stands.
        offset: u64,
    },
    /// The file could not be read.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
}

impl Refused {
    /// Short stable code for the line `lethe: refused: <code> <reason>`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Magic => "gguf-magic",
            Self::Version { .. } => "gguf-version",
            Self::Truncated { .. } => "gguf-truncated",
            Self::HeaderSize { .. } => "gguf-header-size",
            Self::Trailing { .. } => "gguf-trailing",
            Self::Count { .. } => "gguf-count",
            Self::Length { .. } => "gguf-length",
            Self::Utf8 { .. } => "gguf-utf8",
            Self::Key { .. } => "gguf-key",
            Self::ValueType { .. } => "gguf-value-type",
            Self::Missing { .. } => "gguf-missing",
            Self::Value { .. } => "gguf-value",
            Self::Architecture { .. } => "gguf-architecture",
            Self::Split { .. } => "gguf-split",
            Self::Tensor { .. } => "gguf-tensor",
            Self::TensorType { .. } => "gguf-tensor-type",
            Self::TensorOffset { .. } => "gguf-tensor-offset",
            Self::Tokenizer { .. } => "gguf-tokenizer",
            Self::Read(_) => "gguf-read",
        }
    }

    /// Byte of the file where the trouble stands; `None` where there is no one place (a missing key, a read error).
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Magic => Some(0),
            Self::Version { .. } => Some(4),
            Self::Missing { .. } | Self::Read(_) => None,
            Self::Truncated { offset, .. }
            | Self::HeaderSize { offset, .. }
            | Self::Trailing { offset, .. }
            | Self::Count { offset, .. }
            | Self::Length { offset, .. }
            | Self::Utf8 { offset }
            | Self::Key { offset, .. }
            | Self::ValueType { offset, .. }
            | Self::Value { offset, .. }
            | Self::Architecture { offset, .. }
            | Self::Split { offset, .. }
            | Self::Tensor { offset, .. }
            | Self::TensorType { offset, .. }
            | Self::TensorOffset { offset, .. }
            | Self::Tokenizer { offset, .. } => Some(*offset),
        }
    }
}
