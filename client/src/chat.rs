//! Chat completions: one request, and an answer that comes in pieces or whole.

use std::collections::VecDeque;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    appliance::Appliance,
    call::Call,
    connection::AnswerBody,
    error::{Error, NetworkError, ServerError},
    sse, terminal,
};

/// Longest answer, in bytes, streamed or whole.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What.
    pub content: String,
}

/// What is asked. Members that are `None` are left to the appliance.
#[derive(Debug, Clone, Serialize)]
pub struct Question {
    /// Which model.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Most tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Randomness of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Start of the random numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    question: &'a Question,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// What is known at the end of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ending {
    /// Why it ended: `stop`, `length`, …
    pub finish_reason: Option<String>,
    /// Token counts, as the appliance gave them.
    pub usage: Option<Value>,
}

/// A piece of an answer, streamed or whole. Both forms of `choices[]` are read, and nothing else is.
#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Value>,
    error: Option<ErrorObject>,
}

/// One of `choices[]`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Choice {
    #[serde(alias = "delta")]
    message: Option<Content>,
    /// Why the answer ended, if it has.
    pub(crate) finish_reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Content {
    content: Option<String>,
}

impl Choice {
    /// The text, empty where there is none.
    pub(crate) fn text(&self) -> &str {
        self.message.as_ref().and_then(|message| message.content.as_deref()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(default)]
    message: String,
}

impl Ending {
    /// Takes the text of a piece and notes the rest.
    fn absorb(&mut self, piece: Piece) -> Result<String, ServerError> {
        if let Some(error) = piece.error {
            return Err(ServerError::InStream(terminal::one_line(&error.message, 500)));
        }
        if piece.usage.is_some() {
            self.usage = piece.usage;
        }
        let Some(choice) = piece.choices.into_iter().next() else { return Ok(String::new()) };
        let text = choice.text().to_owned();
        if choice.finish_reason.is_some() {
            self.finish_reason = choice.finish_reason;
        }
        Ok(text)
    }
}

/// An answer that is coming. Dropping it tells the appliance to stop.
pub struct AnswerStream {
    body: AnswerBody,
    parser: sse::Parser,
    waiting: VecDeque<sse::Event>,
    ending: Ending,
    done: bool,
    text_bytes: usize,
}

impl AnswerStream {
    /// The next piece of text, or `None` after the last. The text is the server's: show it with [`terminal::harmless`].
    ///
    /// # Errors
    /// [`ServerError::Truncated`] if the stream ends without `[DONE]`, and as the network and the server fail.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        while !self.done {
            while let Some(event) = self.waiting.pop_front() {
                if let Some(text) = self.take(&event)? {
                    return Ok(Some(text));
                }
                if self.done {
                    return Ok(None);
                }
            }
            match self.body.next().await? {
                Some(bytes) => self.waiting.extend(self.parser.push(&bytes).map_err(malformed)?),
                None => return Err(ServerError::Truncated.into()),
            }
        }
        Ok(None)
    }

    /// What is known after the last piece. Reads the connection to its end of this answer, so that it can be used again.
    pub async fn finish(mut self) -> Ending {
        if self.done {
            // Whatever follows [DONE] is nothing to us; a server that goes on talking loses the connection.
            while let Ok(Some(more)) = self.body.next().await {
                self.text_bytes += more.len();
                if self.text_bytes > MAX_ANSWER_BYTES {
                    break;
                }
            }
        }
        self.ending
    }

    fn take(&mut self, event: &sse::Event) -> Result<Option<String>, Error> {
        if event.data == "[DONE]" {
            self.done = true;
            return Ok(None);
        }
        let piece: Piece = serde_json::from_str(&event.data)
            .map_err(|_| ServerError::Malformed("an event is not a piece of an answer"))?;
        let text = self.ending.absorb(piece)?;
        self.text_bytes += text.len();
        if self.text_bytes > MAX_ANSWER_BYTES {
            return Err(ServerError::TooLarge { what: "the answer", limit: MAX_ANSWER_BYTES }.into());
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

fn malformed(error: sse::SseError) -> Error {
    ServerError::Malformed(match error {
        sse::SseError::TooLong => "an event of the stream is too long",
        sse::SseError::NotUtf8 => "the stream is not UTF-8",
    })
    .into()
}

impl Appliance {
    /// Asks for an answer in pieces. Attempts are repeated only until the head of the answer is here.
    ///
    /// # Errors
    /// As [`Appliance::ask`].
    pub async fn answer_stream(&self, question: &Question) -> Result<AnswerStream, Error> {
        let body = self.ask_question(question, true).await?;
        Ok(AnswerStream {
            body,
            parser: sse::Parser::default(),
            waiting: VecDeque::new(),
            ending: Ending::default(),
            done: false,
            text_bytes: 0,
        })
    }

    /// Asks for an answer in one piece.
    ///
    /// # Errors
    /// As [`Appliance::ask`]; [`ServerError::Malformed`] if the answer is none.
    pub async fn answer(&self, question: &Question) -> Result<(String, Ending), Error> {
        let mut body = self.ask_question(question, false).await?;
        let bytes = body.collect_up_to("the answer", MAX_ANSWER_BYTES).await?;
        let piece: Piece =
            serde_json::from_slice(&bytes).map_err(|_| ServerError::Malformed("its answer is not a completion"))?;
        if piece.choices.is_empty() && piece.error.is_none() {
            return Err(ServerError::Malformed("its answer has no choice").into());
        }
        let mut ending = Ending::default();
        let text = ending.absorb(piece)?;
        Ok((text, ending))
    }

    async fn ask_question(&self, question: &Question, stream: bool) -> Result<AnswerBody, Error> {
        let stream_options = stream.then_some(StreamOptions { include_usage: true });
        let json = serde_json::to_vec(&Body { question, stream, stream_options })
            .map_err(|_| NetworkError::UnusableRequest)?;
        self.ask(Call::post_json("/v1/chat/completions"), Bytes::from(json)).await
    }
}
