//! Messages of a conversation.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::limits::MAX_TEXT_FIELD_BYTES;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions. OpenAI's role `developer`, which chat templates of open models do not know, is read as this one.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The name that chat templates use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. The text parts of an array are joined with line feeds, as llama-server and vLLM do.
    pub content: Zeroizing<String>,
    /// Name of the speaker, for templates that use it.
    pub name: Option<Zeroizing<String>>,
    /// For [`Role::Tool`]: the call that is answered, for templates that use it.
    pub tool_call_id: Option<Zeroizing<String>>,
}

impl fmt::Debug for Message {
    /// Shows sizes only: a message holds a client's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("role", &self.role).field("content_bytes", &self.content.len()).finish()
    }
}

impl Message {
    /// The value a chat template sees: `role`, `content`, and `name` and `tool_call_id` where the client sent them.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut members = Map::new();
        members.insert("role".to_owned(), Value::from(self.role.name()));
        members.insert("content".to_owned(), Value::from(self.content.as_str()));
        if let Some(name) = &self.name {
            members.insert("name".to_owned(), Value::from(name.as_str()));
        }
        if let Some(id) = &self.tool_call_id {
            members.insert("tool_call_id".to_owned(), Value::from(id.as_str()));
        }
        Value::Object(members)
    }

    /// Reads the `messages` array.
    pub(crate) fn read_all(field: Field) -> Result<Vec<Self>, Refusal> {
        let empty = field.out_of_range("an array of at least one message".to_owned());
        let messages = field.array()?.into_iter().map(Self::read).collect::<Result<Vec<_>, _>>()?;
        if messages.is_empty() { Err(empty) } else { Ok(messages) }
    }

    fn read(field: Field) -> Result<Self, Refusal> {
        let mut fields = field.object()?;
        let role = read_role(&fields.require("role")?)?;
        // what a client sends back of an assistant's message it got from elsewhere; `null` is harmless and passes
        fields.refuse_unsupported(&["tool_calls", "function_call", "refusal", "audio", "annotations"])?;
        let content = read_content(fields.require("content")?)?;
        let name = fields.take("name").map(|name| name.short_string(MAX_TEXT_FIELD_BYTES)).transpose()?;
        let tool_call_id = match role {
            Role::Tool => fields.take("tool_call_id").map(|id| id.short_string(MAX_TEXT_FIELD_BYTES)).transpose()?,
            Role::System | Role::User | Role::Assistant => None,
        };
        fields.finish()?;
        Ok(Self { role, content, name, tool_call_id })
    }
}

fn read_role(field: &Field) -> Result<Role, Refusal> {
    match field.as_str() {
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some("tool") => Ok(Role::Tool),
        Some(_) => Err(field.out_of_range("system, developer, user, assistant or tool".to_owned())),
        None => Err(field.wrong_type("a string")),
    }
}

fn read_content(field: Field) -> Result<Zeroizing<String>, Refusal> {
    if !field.is_array() {
        return if field.is_string() { field.string() } else { Err(field.wrong_type("a string or an array of parts")) };
    }
    let empty = field.out_of_range("a string or an array of at least one part".to_owned());
    let texts = field.array()?.into_iter().map(read_part).collect::<Result<Vec<_>, _>>()?;
    if texts.is_empty() {
        return Err(empty);
    }
    // one allocation of the right size: a growing string would leave copies behind
    let mut joined = Zeroizing::new(String::with_capacity(texts.iter().map(|text| text.len() + 1).sum()));
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            joined.push('\n');
        }
        joined.push_str(text);
    }
    Ok(joined)
}

fn read_part(field: Field) -> Result<Zeroizing<String>, Refusal> {
    let mut fields: Fields = field.object()?;
    let kind = fields.require("type")?;
    match kind.as_str() {
        Some("text") => {}
        Some(_) => return Err(kind.unsupported_value("\"text\"")),
        None => return Err(kind.wrong_type("a string")),
    }
    let text = fields.require("text")?.string()?;
    fields.finish()?;
    Ok(text)
}
