//! Dispatches: PID 1 boots, any other process is a command line.

fn main() {}
