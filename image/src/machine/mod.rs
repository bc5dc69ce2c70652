//! Virtual machines on this computer: described, started, watched, listed, stopped.
//!
//! A running machine is one supervisor (`lethe-image boot`, in the foreground or in a session of its own) with QEMU and
//! perhaps swtpm as children that the kernel kills when the supervisor dies. The supervisor holds the lock of the
//! machine's directory for as long as it lives: whether a machine runs is a question to the kernel, not to a pid file.

pub mod accel;
pub mod arguments;
pub mod boot;
pub mod console;
pub mod delete;
pub mod description;
pub mod detach;
pub mod disks;
mod error;
pub mod events;
pub mod inputs;
pub mod list;
pub mod logs;
pub mod name;
pub(crate) mod plan;
pub mod process;
pub mod record;
pub mod signals;
pub mod stop;
pub mod store;
pub mod supervise;
pub mod tee;
pub mod tiny_guest;
pub mod tools;
pub mod tpm;

pub use error::Error;
