//! Anthropic's `POST /v1/messages`.

use serde_json::{Map, Value, json};

use super::{
    Chat, Completion, Dialect, Event, Problem, Refused,
    chat::Usage,
    fields::{Field, Fields},
};

const NO_TOOLS: &str = "the appliance has no tools";
const TEXT_ONLY: &str = "only text is read here";

/// Reads a request.
///
/// # Errors
/// [`Refused`], which names the member at fault.
pub fn request(body: &[u8]) -> Result<(Chat, Messages), Refused> {
    let mut fields = Fields::body(body)?;
    let mut chat = Chat::default();
    let model = fields.require("model")?.text()?;
    chat.set("model", model.clone().into());
    chat.set("max_tokens", fields.require("max_tokens")?.whole_number()?.into());
    if let Some(system) = fields.take("system") {
        chat.say("system", texts(system)?);
    }
    for message in fields.require("messages")?.array()? {
        read_message(message, &mut chat)?;
    }
    if chat.last_role() == Some("assistant") {
        let why = "an answer cannot be continued here; let the last message be the user's";
        return Err(Refused::Unsupported { param: "messages".to_owned(), why });
    }
    for name in ["temperature", "top_p", "top_k"] {
        if let Some(field) = fields.take(name) {
            chat.set(name, field.number()?);
        }
    }
    if let Some(stops) = fields.take("stop_sequences") {
        let stops = stops.array()?.into_iter().map(Field::text).collect::<Result<Vec<_>, _>>()?;
        if !stops.is_empty() {
            chat.set("stop", stops.into());
        }
    }
    chat.streamed(fields.take("stream").map_or(Ok(false), Field::boolean)?);
    refuse_the_rest(fields)?;
    Ok((chat, Messages { model, ..Messages::default() }))
}

fn refuse_the_rest(mut fields: Fields) -> Result<(), Refused> {
    // Whom to bill, what to keep in a cache: nothing of that changes an answer, and nothing of it leaves this machine.
    fields.without_effect(&["metadata", "service_tier", "cache_control"]);
    let no_tool = [json!({"type": "none"}), json!({"type": "auto"})];
    fields.refuse(&["tools", "mcp_servers"], NO_TOOLS)?;
    fields.only("tool_choice", &no_tool, NO_TOOLS)?;
    fields.only("thinking", &[json!({"type": "disabled"})], "the appliance has no setting for thinking")?;
    fields.only("speed", &[json!("standard")], "there is one speed")?;
    fields.only("output_config", &[json!({})], "the appliance has no setting for effort or format")?;
    fields.refuse(&["container", "context_management", "inference_geo", "diagnostics"], "the appliance has none")?;
    fields.finish()
}

fn read_message(message: Field, chat: &mut Chat) -> Result<(), Refused> {
    let mut fields = message.object()?;
    let role = fields.require("role")?;
    let role = match role.as_text() {
        Some("user") => "user",
        Some("assistant") => "assistant",
        _ => return Err(role.unsupported("user and assistant speak; instructions are in 'system'")),
    };
    let texts = texts(fields.require("content")?)?;
    fields.finish()?;
    chat.say(role, texts);
    Ok(())
}

/// Text, or blocks of it.
fn texts(content: Field) -> Result<Vec<String>, Refused> {
    if content.is_text() { Ok(vec![content.text()?]) } else { content.array()?.into_iter().map(block).collect() }
}

fn block(block: Field) -> Result<String, Refused> {
    let mut fields = block.object()?;
    let kind = fields.require("type")?;
    match kind.as_text() {
        Some("text") => {}
        Some("tool_use" | "tool_result") => return Err(kind.unsupported(NO_TOOLS)),
        _ => return Err(kind.unsupported(TEXT_ONLY)),
    }
    let text = fields.require("text")?.text()?;
    fields.without_effect(&["cache_control"]);
    fields.refuse(&["citations"], TEXT_ONLY)?;
    fields.finish()?;
    Ok(text)
}

/// Answers of `/v1/messages`.
#[derive(Debug, Default)]
pub struct Messages {
    model: String,
    started: bool,
    stop_reason: Option<&'static str>,
    usage: Usage,
}

impl Messages {
    /// For errors before a request was read.
    #[must_use]
    pub fn without_request() -> Self {
        Self::default()
    }

    fn message(&self, completion: &Completion, content: Value, usage: Usage) -> Value {
        json!({
            "id": completion.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": self.stop_reason,
            "stop_sequence": null,
            "usage": counts(usage),
        })
    }

    fn start(&mut self, piece: &Completion) -> Vec<Event> {
        if std::mem::replace(&mut self.started, true) {
            return Vec::new();
        }
        let message = self.message(piece, json!([]), Usage::default());
        let block = json!({"type": "text", "text": ""});
        vec![
            event("message_start", json!({"message": message})),
            event("content_block_start", json!({"index": 0, "content_block": block})),
            event("ping", json!({})),
        ]
    }
}

impl Dialect for Messages {
    fn whole(&mut self, completion: &Completion) -> Value {
        self.stop_reason = Some(stop_reason(completion.finish()));
        let text = completion.text();
        let content = if text.is_empty() { json!([]) } else { json!([{"type": "text", "text": text}]) };
        self.message(completion, content, completion.usage.unwrap_or_default())
    }

    fn piece(&mut self, piece: &Completion) -> Vec<Event> {
        let mut events = self.start(piece);
        if !piece.text().is_empty() {
            let delta = json!({"type": "text_delta", "text": piece.text()});
            events.push(event("content_block_delta", json!({"index": 0, "delta": delta})));
        }
        if piece.finish().is_some() {
            self.stop_reason = Some(stop_reason(piece.finish()));
        }
        self.usage = piece.usage.unwrap_or(self.usage);
        events
    }

    fn end(&mut self) -> Option<Vec<Event>> {
        let delta = json!({"stop_reason": self.stop_reason.filter(|_| self.started)?, "stop_sequence": null});
        Some(vec![
            event("content_block_stop", json!({"index": 0})),
            event("message_delta", json!({"delta": delta, "usage": counts(self.usage)})),
            event("message_stop", json!({})),
        ])
    }

    fn failed(&mut self, problem: &Problem) -> Vec<Event> {
        vec![Event { name: "error", data: self.error(problem) }]
    }

    fn error(&self, problem: &Problem) -> Value {
        let kind = match problem.status {
            400 | 405 | 415 | 421 | 422 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 | 504 => "timeout_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 | 529 => "overloaded_error",
            _ => "api_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": problem.message}})
    }
}

/// Whether the model or a stop sequence ended an answer, the appliance does not say.
fn stop_reason(finish: Option<&str>) -> &'static str {
    if finish == Some("length") { "max_tokens" } else { "end_turn" }
}

fn counts(usage: Usage) -> Value {
    json!({"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens})
}

/// An event, whose data names it too.
fn event(name: &'static str, data: Value) -> Event {
    let mut members = Map::from_iter([("type".to_owned(), name.into())]);
    if let Value::Object(rest) = data {
        members.extend(rest);
    }
    Event { name, data: members.into() }
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
