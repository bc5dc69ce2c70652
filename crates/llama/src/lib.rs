//! The one safe door to llama.cpp.
