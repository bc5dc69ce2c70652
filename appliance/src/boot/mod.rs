//! PID 1: the steps of a boot, in order. Each takes the proof of the one it needs.

pub mod console;
pub mod disks;
pub mod document;
#[cfg(test)]
mod fake;
pub mod model;
pub mod mounts;
pub mod network;
pub mod platform;
mod refused;
mod system;

pub use refused::Refused;
pub use system::{Disk, Linux, System};
