//! Request and response types of the OpenAI-compatible API.
