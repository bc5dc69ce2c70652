//! Builds, boots and measures images.
