//! The program `lethe-image`: builds the one measured file, boots it in a virtual machine and looks after the machines.
#![forbid(unsafe_code)]

pub mod build;
pub mod cli;
pub mod config;
pub mod digest;
pub mod disk;
pub mod firmware;
pub mod host_check;
pub mod kernel;
pub mod machine;
pub mod measure;
pub mod progress;
pub mod release;
pub mod report;
pub mod reproduce;
