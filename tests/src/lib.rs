//! What the boot tests share: guests started straight from a QEMU command line, documents, and a wire to a guest.
//!
//! A guest is started here, and not by `lethe-image boot`, where the test needs what that program would refuse to start: a
//! broken document, a foreign initrd, a network that is ours.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

pub mod disk;
pub mod document;
pub mod foreign;
pub mod guest;
pub mod machine;
pub mod program;
pub mod scan;
