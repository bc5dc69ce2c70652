//! From a typed request to a job, and from the job's events to an answer, whole or streamed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::http::StatusCode;
use hyper::body::Bytes;
use openai::{Candidate, FinishReason, Parameters, TokenLogprob, Usage};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Sleep;
use zeroize::Zeroizing;

use super::answer::{Answer, AnswerStream, json};
use super::error::ApiError;
use super::head::AnswerHead;
use super::receipts::Account;
use super::state::State;
use crate::inference::{Event, Failure, Finish, Job, Logprob, Sampling};

/// How much later than the job's deadline the answer is ended from here. The scheduler keeps deadlines by itself; this
/// is for one that stands still.
const GRACE: Duration = Duration::from_secs(2);

/// How an endpoint writes its answers. Each method gives one JSON document.
pub(super) trait Wire: Send + 'static {
    /// The first chunk, where the endpoint has one that carries no text.
    fn opening(&mut self) -> Option<Vec<u8>>;
    /// A chunk with text.
    fn piece(&mut self, text: &str, logprobs: &[Logprob]) -> Vec<u8>;
    /// The chunk that says why the answer ended.
    fn closing(&mut self, finish: FinishReason) -> Vec<u8>;
    /// The chunk with the token counts, where the request asked for it.
    fn usage(&mut self, usage: Usage) -> Option<Vec<u8>>;
    /// The answer in one piece.
    fn whole(&mut self, text: &str, logprobs: &[Logprob], finish: FinishReason, usage: Usage) -> Vec<u8>;
}

/// A prompt and what is asked of it.
pub(super) struct Order {
    /// The effective prompt.
    prompt: Zeroizing<String>,
    /// Whether special tokens in the prompt are parsed as such: where a template made it.
    parse_special: bool,
    /// Everything else.
    parameters: Parameters,
}

/// What the chunks of an answer have in common, and what the request wants in them.
pub(super) struct Style {
    /// What each begins with.
    pub head: AnswerHead,
    /// Whether they carry log probabilities.
    pub logprobs: bool,
    /// Whether a last one carries the token counts.
    pub include_usage: bool,
}

/// What an endpoint knows of a request once it is read.
pub(super) struct Asked<'r> {
    /// What the answer's id begins with.
    pub prefix: &'static str,
    /// The model's id.
    pub model: &'r str,
    /// Whether a chat template makes the prompt.
    pub template: bool,
    /// Everything else.
    pub parameters: Parameters,
}

/// Everything between a request that was read and the engine; `prompt` makes the effective prompt, once the model is known.
pub(super) fn prepared(
    state: &State,
    account: &Account,
    asked: Asked<'_>,
    prompt: impl FnOnce() -> Result<Zeroizing<String>, ApiError>,
) -> Result<(Order, Style), ApiError> {
    let Asked { prefix, model, template, parameters } = asked;
    account.asks_for(model);
    let model = state.find_model(model).ok_or(ApiError::ModelNotFound)?;
    let prompt = prompt()?;
    let style = Style {
        head: AnswerHead::new(prefix, model, state)?,
        logprobs: parameters.logprobs.is_some(),
        include_usage: parameters.stream.is_some_and(|stream| stream.include_usage),
    };
    account.answers_as(style.head.id(), template);
    Ok((Order { prompt, parse_special: template, parameters }, style))
}

/// Runs a job and answers with it, as a stream or in one piece, as the request asked.
pub(super) async fn answer(
    state: &State,
    order: Order,
    mut wire: impl Wire,
    account: &Arc<Account>,
) -> Result<Answer, ApiError> {
    let streamed = order.parameters.stream.is_some();
    let deadline = Instant::now() + state.request_budget();
    let mut events = start(state, order, deadline, account)?;
    let mut limit = Box::pin(tokio::time::sleep_until((deadline + GRACE).into()));
    let first = tokio::select! {
        event = events.recv() => event,
        () = &mut limit => return Err(ApiError::TimeBudget),
    };
    match first {
        None => return Err(ApiError::Engine),
        Some(Event::Failed(failure)) => return Err(failure.into()),
        // the scheduler says `Started` first; anything else would be lost here, and so is a fault
        Some(Event::Text { .. } | Event::Done { .. }) => return Err(ApiError::Engine),
        Some(Event::Started { .. }) => account.begins(),
    }
    if streamed {
        let queue = wire.opening().map(|chunk| event_frame(&chunk)).into_iter().collect();
        return Ok(Answer::events(Box::new(Stream {
            events,
            wire,
            queue,
            ended: false,
            limit,
            account: Arc::clone(account),
        })));
    }
    tokio::select! {
        answer = gather(events, wire, account) => answer,
        () = &mut limit => Err(ApiError::TimeBudget),
    }
}

/// Hands the job over.
fn start(state: &State, order: Order, deadline: Instant, account: &Account) -> Result<Receiver<Event>, ApiError> {
    /// Events beside those of tokens.
    const MARGIN: usize = 16;
    let Order { prompt, parse_special, parameters } = order;
    // room for every event, so that a client that reads slowly never makes the scheduler wait
    let tokens = usize::try_from(parameters.max_tokens).unwrap_or(usize::MAX / 2);
    let (sender, events) = mpsc::channel(tokens.saturating_add(MARGIN));
    let sampling = Sampling {
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k,
        min_p: parameters.min_p,
        seed: match parameters.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|_| ApiError::Internal)?,
        },
        presence_penalty: parameters.presence_penalty,
        frequency_penalty: parameters.frequency_penalty,
        repeat_penalty: parameters.repeat_penalty,
        logit_bias: parameters.logit_bias,
        logprobs: parameters.logprobs,
    };
    let job = Job {
        prompt,
        parse_special,
        max_tokens: parameters.max_tokens,
        stop: parameters.stop,
        ignore_eos: parameters.ignore_eos,
        sampling,
        deadline,
        events: sender,
    };
    account.submits(&job);
    state.submit().submit(job)?;
    Ok(events)
}

/// Collects the whole answer.
async fn gather(mut events: Receiver<Event>, mut wire: impl Wire, account: &Account) -> Result<Answer, ApiError> {
    let mut pieces: Vec<Zeroizing<String>> = Vec::new();
    let mut tokens: Vec<Logprob> = Vec::new();
    loop {
        match events.recv().await {
            Some(Event::Started { .. }) => {}
            Some(Event::Text { text, logprobs }) => {
                pieces.push(text);
                tokens.extend(logprobs);
            }
            Some(Event::Done { finish, usage, .. }) => {
                account.ends(usage, finish);
                let text = joined(&pieces);
                let body = wire.whole(&text, &tokens, reason(finish), counts(usage));
                return Ok(Answer::of_json(StatusCode::OK, body.into()));
            }
            Some(Event::Failed(failure)) => return Err(failure.into()),
            None => return Err(Failure::Engine.into()),
        }
    }
}

/// One string of the right size from the start: a growing one would leave copies behind.
fn joined(pieces: &[Zeroizing<String>]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
    for piece in pieces {
        text.push_str(piece);
    }
    text
}

const fn reason(finish: Finish) -> FinishReason {
    match finish {
        Finish::Stop => FinishReason::Stop,
        // clients know no word for a time budget; to them it is one more limit of length
        Finish::Length | Finish::Time => FinishReason::Length,
    }
}

const fn counts(usage: crate::inference::Usage) -> Usage {
    Usage::new(usage.prompt_tokens, usage.completion_tokens)
}

/// The engine's log probabilities as the API's types see them.
pub(super) fn token_logprobs(logprobs: &[Logprob]) -> Vec<TokenLogprob<'_>> {
    fn view(candidate: &crate::inference::Candidate) -> Candidate<'_> {
        Candidate { bytes: candidate.bytes.as_slice(), logprob: candidate.logprob }
    }
    logprobs
        .iter()
        .map(|entry| TokenLogprob { chosen: view(&entry.chosen), top: entry.top.iter().map(view).collect() })
        .collect()
}

/// A server-sent event with one JSON document.
fn event_frame(json: &[u8]) -> Bytes {
    [b"data: ", json, b"\n\n"].concat().into()
}

/// A streamed answer.
struct Stream<W> {
    events: Receiver<Event>,
    wire: W,
    queue: VecDeque<Bytes>,
    ended: bool,
    limit: Pin<Box<Sleep>>,
    account: Arc<Account>,
}

impl<W: Wire> Stream<W> {
    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Started { .. }) => {}
            Some(Event::Text { text, logprobs }) => {
                if !text.is_empty() || !logprobs.is_empty() {
                    self.queue.push_back(event_frame(&self.wire.piece(&text, &logprobs)));
                }
            }
            Some(Event::Done { finish, usage, .. }) => {
                self.account.ends(usage, finish);
                self.queue.push_back(event_frame(&self.wire.closing(reason(finish))));
                self.queue.extend(self.wire.usage(counts(usage)).map(|chunk| event_frame(&chunk)));
                self.queue.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                self.end();
            }
            Some(Event::Failed(failure)) => self.fail(failure.into()),
            None => self.fail(ApiError::Engine),
        }
    }

    /// Ends the stream with an error event and without `[DONE]`.
    fn fail(&mut self, error: ApiError) {
        self.queue.push_back(event_frame(&json(&error.body())));
        self.end();
    }

    fn end(&mut self) {
        self.events.close();
        self.ended = true;
    }
}

impl<W: Wire> AnswerStream for Stream<W> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(frame) = self.queue.pop_front() {
                return Poll::Ready(Some(frame));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.events.poll_recv(context) {
                Poll::Ready(event) => self.take(event),
                Poll::Pending => match self.limit.as_mut().poll(context) {
                    Poll::Ready(()) => self.fail(ApiError::TimeBudget),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}
