//! `POST /v1/chat/completions`.

use std::sync::Arc;

use openai::{
    ChatChoice, ChatChunk, ChatCompletion, ChatLogprobs, ChatRequest, ChunkChoice, Delta, FinishReason, Usage,
};

use super::answer::{Answer, Bodied, json, no_query};
use super::call::Call;
use super::error::ApiError;
use super::generation::{self, Asked, Order, Style, Wire, token_logprobs};
use super::receipts::Account;
use super::state::State;
use crate::inference::Logprob;

/// Answers a chat request.
pub(super) async fn answer(
    state: &State,
    call: &Call,
    body: Bodied,
    account: &Arc<Account>,
) -> Result<Answer, ApiError> {
    no_query(call.query.as_deref())?;
    let (order, style) = prepare(state, &body.bytes, account)?;
    // the body is wiped before the answer begins
    drop(body);
    generation::answer(state, order, ChatWire(style), account).await
}

/// Everything before the engine: bytes in, effective prompt out.
fn prepare(state: &State, body: &[u8], account: &Account) -> Result<(Order, Style), ApiError> {
    let chat = ChatRequest::parse(body, &state.field_limits())?;
    let messages = chat.template_messages();
    let asked = Asked { prefix: "chatcmpl-", model: &chat.model, template: true, parameters: chat.parameters };
    generation::prepared(state, account, asked, || {
        let template = state.template().ok_or(ApiError::NoChatTemplate)?;
        Ok(template.render(&messages)?)
    })
}

/// How chat answers are written.
struct ChatWire(Style);

impl ChatWire {
    fn chunk(&self, delta: Delta<'_>, logprobs: Option<ChatLogprobs<'_>>, finish: Option<FinishReason>) -> Vec<u8> {
        json(&ChatChunk {
            head: self.0.head.of("chat.completion.chunk"),
            choices: vec![ChunkChoice { index: 0, delta, logprobs, finish_reason: finish }],
            usage: self.0.include_usage.then_some(None),
        })
    }
}

impl Wire for ChatWire {
    fn opening(&mut self) -> Option<Vec<u8>> {
        Some(self.chunk(Delta { role: Some("assistant"), content: Some("") }, None, None))
    }

    fn piece(&mut self, text: &str, logprobs: &[Logprob]) -> Vec<u8> {
        let logprobs = self.0.logprobs.then(|| ChatLogprobs(token_logprobs(logprobs)));
        self.chunk(Delta { role: None, content: Some(text) }, logprobs, None)
    }

    fn closing(&mut self, finish: FinishReason) -> Vec<u8> {
        self.chunk(Delta::default(), None, Some(finish))
    }

    fn usage(&mut self, usage: Usage) -> Option<Vec<u8>> {
        self.0.include_usage.then(|| {
            json(&ChatChunk {
                head: self.0.head.of("chat.completion.chunk"),
                choices: Vec::new(),
                usage: Some(Some(usage)),
            })
        })
    }

    fn whole(&mut self, text: &str, logprobs: &[Logprob], finish: FinishReason, usage: Usage) -> Vec<u8> {
        let logprobs = self.0.logprobs.then(|| ChatLogprobs(token_logprobs(logprobs)));
        json(&ChatCompletion {
            head: self.0.head.of("chat.completion"),
            choices: [ChatChoice::new(text, logprobs, finish)],
            usage,
        })
    }
}
