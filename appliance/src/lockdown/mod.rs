//! What the appliance gives up before it reads the first byte of a request.

pub mod memory;
