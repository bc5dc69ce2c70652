//! Wiping of freed heap memory, for Rust, C and C++ alike.
