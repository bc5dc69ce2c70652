//! Checks what `boot` was given before a machine is started: a clear error now saves a boot that would be refused.

mod content;
mod document;
#[cfg(test)]
mod fixture;
mod memory;
mod network;

pub use content::{check_model, digest_disk, digest_image, existing_file};
pub use document::{document_on_disk, parse_document, read_document};
pub use memory::{MemoryMib, memory_for};
pub use network::network;
