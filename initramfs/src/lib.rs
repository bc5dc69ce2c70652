//! The root file system of an image: a reviewed list, and a deterministic `newc` cpio archive made from it.
//!
//! A list says everything about the file system except the bytes of its files, which it names (`${APPLIANCE}`) and the
//! builder supplies. There is nowhere to say a time, an owner other than root, or a link, so none of them can differ
//! between two builds.
#![forbid(unsafe_code)]

mod archive;
mod list;
mod parse;

pub use archive::{ArchiveError, Contents};
pub use list::{Entry, Kind, List, ListError};
pub use parse::{ParseError, Reason};

/// The reviewed list of every image.
pub const BASE: &str = include_str!("../initramfs.list");

/// The lines an image with a baked deployment document has besides [`BASE`].
pub const DOCUMENT: &str = include_str!("../document.list");
