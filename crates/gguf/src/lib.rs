//! Bounded reader of GGUF model files: headers checked before llama.cpp sees a byte.
