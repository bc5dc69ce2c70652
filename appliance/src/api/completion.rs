//! `POST /v1/completions`.

use std::sync::Arc;

use openai::{Completion, CompletionChoice, CompletionLogprobs, CompletionRequest, FinishReason, Usage};

use super::answer::{Answer, Bodied, json, no_query};
use super::call::Call;
use super::error::ApiError;
use super::generation::{self, Asked, Style, Wire, token_logprobs};
use super::receipts::Account;
use super::state::State;
use crate::inference::Logprob;

/// Answers a completion request.
pub(super) async fn answer(
    state: &State,
    call: &Call,
    body: Bodied,
    account: &Arc<Account>,
) -> Result<Answer, ApiError> {
    no_query(call.query.as_deref())?;
    let CompletionRequest { model, prompt, parameters } = CompletionRequest::parse(&body.bytes, &state.field_limits())?;
    // the body is wiped before the answer begins
    drop(body);
    let asked = Asked { prefix: "cmpl-", model: &model, template: false, parameters };
    let (order, style) = generation::prepared(state, account, asked, || Ok(prompt))?;
    generation::answer(state, order, CompletionWire { style, offset: 0 }, account).await
}

/// How completions are written.
struct CompletionWire {
    style: Style,
    /// Characters of the answer so far.
    offset: usize,
}

impl CompletionWire {
    fn choice<'a>(
        &mut self,
        text: &'a str,
        logprobs: &'a [Logprob],
        finish_reason: Option<FinishReason>,
    ) -> CompletionChoice<'a> {
        let logprobs = self.style.logprobs.then(|| {
            let logprobs = CompletionLogprobs { tokens: token_logprobs(logprobs), offset: self.offset };
            self.offset += logprobs.characters();
            logprobs
        });
        CompletionChoice { index: 0, text, logprobs, finish_reason }
    }

    fn chunk(&self, choice: CompletionChoice<'_>) -> Vec<u8> {
        json(&Completion {
            head: self.style.head.of("text_completion"),
            choices: vec![choice],
            usage: self.style.include_usage.then_some(None),
        })
    }
}

impl Wire for CompletionWire {
    fn opening(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn piece(&mut self, text: &str, logprobs: &[Logprob]) -> Vec<u8> {
        let choice = self.choice(text, logprobs, None);
        self.chunk(choice)
    }

    fn closing(&mut self, finish: FinishReason) -> Vec<u8> {
        self.chunk(CompletionChoice { index: 0, text: "", logprobs: None, finish_reason: Some(finish) })
    }

    fn usage(&mut self, usage: Usage) -> Option<Vec<u8>> {
        let usage = self.style.include_usage.then_some(Some(usage))?;
        Some(json(&Completion { head: self.style.head.of("text_completion"), choices: Vec::new(), usage: Some(usage) }))
    }

    fn whole(&mut self, text: &str, logprobs: &[Logprob], finish: FinishReason, usage: Usage) -> Vec<u8> {
        let choice = self.choice(text, logprobs, Some(finish));
        json(&Completion {
            head: self.style.head.of("text_completion"),
            choices: vec![choice],
            usage: Some(Some(usage)),
        })
    }
}
