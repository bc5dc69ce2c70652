//! OpenAI's `POST /v1/responses`, the form that keeps nothing on a server.

use serde_json::{Map, Value, json};

use super::{
    Chat, Completion, Dialect, Event, Problem, Refused,
    chat::Usage,
    fields::{Field, Fields},
};

const NO_TOOLS: &str = "the appliance has no tools";
const STATELESS: &str = "nothing is kept from one request to the next; send the conversation in 'input'";
const TEXT_ONLY: &str = "only text is read here";

/// Reads a request.
///
/// # Errors
/// [`Refused`], which names the member at fault.
pub fn request(body: &[u8]) -> Result<(Chat, Responses), Refused> {
    let mut fields = Fields::body(body)?;
    let (mut chat, mut answer) = (Chat::default(), Responses::default());
    answer.model = fields.require("model")?.text()?;
    chat.set("model", answer.model.clone().into());
    if let Some(instructions) = fields.take("instructions") {
        let instructions = instructions.text()?;
        answer.instructions = instructions.clone().into();
        chat.say("system", vec![instructions]);
    }
    let input = fields.require("input")?;
    if input.is_text() {
        chat.say("user", vec![input.text()?]);
    } else {
        for item in input.array()? {
            read_item(item, &mut chat)?;
        }
    }
    for (name, chat_name) in [("temperature", "temperature"), ("top_p", "top_p")] {
        if let Some(field) = fields.take(name) {
            let number = field.number()?;
            answer.echoed.push((name, number.clone()));
            chat.set(chat_name, number);
        }
    }
    if let Some(most) = fields.take("max_output_tokens") {
        let most = most.whole_number()?;
        answer.echoed.push(("max_output_tokens", most.into()));
        chat.set("max_tokens", most.into());
    }
    if let Some(metadata) = fields.take("metadata") {
        answer.echoed.push(("metadata", metadata.opaque()?));
    }
    if let Some(parallel) = fields.take("parallel_tool_calls") {
        answer.echoed.push(("parallel_tool_calls", parallel.boolean()?.into()));
    }
    chat.streamed(fields.take("stream").map_or(Ok(false), Field::boolean)?);
    refuse_the_rest(fields)?;
    Ok((chat, answer))
}

fn refuse_the_rest(mut fields: Fields) -> Result<(), Refused> {
    // Who asks, and what to keep in a cache: nothing of that changes an answer, and nothing of it leaves this machine.
    fields.without_effect(&[
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    ]);
    fields.only("store", &[json!(false)], "nothing is stored")?;
    fields.refuse(&["previous_response_id", "conversation"], STATELESS)?;
    fields.refuse(&["prompt"], "no templates are stored")?;
    fields.only("background", &[json!(false)], STATELESS)?;
    fields.refuse(&["tools", "max_tool_calls"], NO_TOOLS)?;
    fields.only("tool_choice", &[json!("none"), json!("auto")], NO_TOOLS)?;
    fields.refuse(&["include"], "there is nothing else to include")?;
    fields.only("truncation", &[json!("disabled")], "what does not fit is refused, not cut")?;
    fields.only("service_tier", &[json!("auto"), json!("default")], "there is one tier")?;
    fields.only("top_logprobs", &[json!(0)], "ask /v1/chat/completions for them")?;
    let plain = "an answer is plain text";
    if let Some(text) = fields.take("text") {
        let mut text = text.object()?;
        text.only("format", &[json!({"type": "text"})], plain)?;
        text.only("verbosity", &[json!("medium")], plain)?;
        text.finish()?;
    }
    if let Some(reasoning) = fields.take("reasoning") {
        let mut reasoning = reasoning.object()?;
        reasoning.only("effort", &[json!("none")], "the appliance has no setting for reasoning")?;
        reasoning.finish()?;
    }
    if let Some(options) = fields.take("stream_options") {
        let mut options = options.object()?;
        options.only("include_obfuscation", &[json!(false)], "pieces are not padded here")?;
        options.finish()?;
    }
    fields.finish()
}

fn read_item(item: Field, chat: &mut Chat) -> Result<(), Refused> {
    let mut fields = item.object()?;
    match fields.take("type") {
        Some(kind) if kind.as_text() == Some("item_reference") => return Err(kind.unsupported(STATELESS)),
        Some(kind) if kind.as_text() != Some("message") => return Err(kind.unsupported("only messages are read here")),
        _ => {}
    }
    let role = fields.require("role")?;
    let role = match role.as_text() {
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("system" | "developer") => "system",
        _ => return Err(role.unsupported("user, assistant, system and developer speak")),
    };
    let content = fields.require("content")?;
    let texts = if content.is_array() {
        content.array()?.into_iter().map(part).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![content.text()?]
    };
    // What an answer of before carries when it comes back.
    fields.without_effect(&["id", "status", "phase"]);
    fields.finish()?;
    chat.say(role, texts);
    Ok(())
}

fn part(part: Field) -> Result<String, Refused> {
    let mut fields = part.object()?;
    let kind = fields.require("type")?;
    if !matches!(kind.as_text(), Some("input_text" | "output_text")) {
        return Err(kind.unsupported(TEXT_ONLY));
    }
    let text = fields.require("text")?.text()?;
    fields.without_effect(&["logprobs", "prompt_cache_breakpoint"]);
    fields.refuse(&["annotations"], TEXT_ONLY)?;
    fields.finish()?;
    Ok(text)
}

/// Answers of `/v1/responses`.
#[derive(Debug, Default)]
pub struct Responses {
    model: String,
    instructions: Value,
    echoed: Vec<(&'static str, Value)>,
    number: u64,
    id: String,
    created: u64,
    text: String,
    started: bool,
    finish: Option<Status>,
    usage: Option<Usage>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }

    fn of(finish: Option<&str>) -> Self {
        if finish == Some("length") { Self::Incomplete } else { Self::Completed }
    }
}

impl Responses {
    /// For errors before a request was read.
    #[must_use]
    pub fn without_request() -> Self {
        Self::default()
    }

    fn part(&self) -> Value {
        json!({"type": "output_text", "text": self.text, "annotations": [], "logprobs": []})
    }

    fn item(&self, status: Status) -> Value {
        let content = if status == Status::InProgress { json!([]) } else { json!([self.part()]) };
        // A failed answer leaves an incomplete message.
        let status = if status == Status::Failed { Status::Incomplete } else { status };
        json!({
            "id": self.item_id(),
            "type": "message",
            "role": "assistant",
            "status": status.name(),
            "content": content,
        })
    }

    fn item_id(&self) -> String {
        format!("msg_{}", self.id)
    }

    fn response(&self, status: Status, error: Option<&Problem>) -> Value {
        let cut = (status == Status::Incomplete).then(|| json!({"reason": "max_output_tokens"}));
        let output = if status == Status::InProgress { json!([]) } else { json!([self.item(status)]) };
        let mut response = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status.name(),
            "background": false,
            "error": error.map(|problem| json!({"code": "server_error", "message": problem.message})),
            "incomplete_details": cut,
            "instructions": self.instructions,
            "max_output_tokens": null,
            "metadata": {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": false,
            "previous_response_id": null,
            "store": false,
            "temperature": null,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": null,
            "truncation": "disabled",
            "usage": self.usage.map(counts),
        });
        for (name, value) in &self.echoed {
            if let Some(member) = response.get_mut(*name) {
                *member = value.clone();
            }
        }
        response
    }

    fn event(&mut self, name: &'static str, data: Value) -> Event {
        let mut members =
            Map::from_iter([("type".to_owned(), name.into()), ("sequence_number".to_owned(), self.number.into())]);
        if let Value::Object(rest) = data {
            members.extend(rest);
        }
        self.number += 1;
        Event { name, data: members.into() }
    }

    /// An event about the one part of the one message.
    fn part_event(&mut self, name: &'static str, data: Value) -> Event {
        let mut members = json!({"item_id": self.item_id(), "output_index": 0, "content_index": 0});
        if let (Value::Object(members), Value::Object(rest)) = (&mut members, data) {
            members.extend(rest);
        }
        self.event(name, members)
    }

    fn start(&mut self, piece: &Completion) -> Vec<Event> {
        if std::mem::replace(&mut self.started, true) {
            return Vec::new();
        }
        self.id.clone_from(&piece.id);
        self.created = piece.created;
        let response = json!({"response": self.response(Status::InProgress, None)});
        let item = self.item(Status::InProgress);
        let part = self.part();
        vec![
            self.event("response.created", response.clone()),
            self.event("response.in_progress", response),
            self.event("response.output_item.added", json!({"output_index": 0, "item": item})),
            self.part_event("response.content_part.added", json!({"part": part})),
        ]
    }
}

impl Dialect for Responses {
    fn whole(&mut self, completion: &Completion) -> Value {
        self.id.clone_from(&completion.id);
        self.created = completion.created;
        completion.text().clone_into(&mut self.text);
        self.usage = completion.usage;
        self.response(Status::of(completion.finish()), None)
    }

    fn piece(&mut self, piece: &Completion) -> Vec<Event> {
        let mut events = self.start(piece);
        if !piece.text().is_empty() {
            self.text += piece.text();
            events.push(self.part_event("response.output_text.delta", json!({"delta": piece.text(), "logprobs": []})));
        }
        if piece.finish().is_some() {
            self.finish = Some(Status::of(piece.finish()));
        }
        self.usage = piece.usage.or(self.usage);
        events
    }

    fn end(&mut self) -> Option<Vec<Event>> {
        let status = self.finish.filter(|_| self.started)?;
        let (text, part, item) = (self.text.clone(), self.part(), self.item(status));
        let response = json!({"response": self.response(status, None)});
        let last = if status == Status::Completed { "response.completed" } else { "response.incomplete" };
        Some(vec![
            self.part_event("response.output_text.done", json!({"text": text, "logprobs": []})),
            self.part_event("response.content_part.done", json!({"part": part})),
            self.event("response.output_item.done", json!({"output_index": 0, "item": item})),
            self.event(last, response),
        ])
    }

    fn failed(&mut self, problem: &Problem) -> Vec<Event> {
        let error = json!({"code": problem.code, "message": problem.message, "param": problem.param});
        let mut events = vec![self.event("error", error)];
        if self.started {
            let response = json!({"response": self.response(Status::Failed, Some(problem))});
            events.push(self.event("response.failed", response));
        }
        events
    }

    fn error(&self, problem: &Problem) -> Value {
        let kind = match problem.status {
            401 => "authentication_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": problem.message, "type": kind, "param": problem.param, "code": problem.code}})
    }
}

fn counts(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
