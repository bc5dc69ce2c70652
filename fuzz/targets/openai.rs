//! The body of a request: a request within its limits, or a refusal that names its field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openai::{ChatRequest, CompletionRequest, Limits};

const LIMITS: Limits = Limits { max_tokens: 4096, max_temperature: 2.0, max_stop: 4, max_top_logprobs: 20 };

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = ChatRequest::parse(data, &LIMITS) {
        assert!(!request.messages.is_empty());
        assert_eq!(request.template_messages().as_array().map(Vec::len), Some(request.messages.len()));
    }
    let _ = CompletionRequest::parse(data, &LIMITS);
});
