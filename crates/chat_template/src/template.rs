//! A compiled template and its rendering.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
};

use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::{CompileError, Date, MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES, RenderError, environment, json, source};

/// What a template knows beside the conversation.
#[derive(Debug, Clone)]
pub struct Constants {
    /// `bos_token`: the text of the token that begins a text, where the model has one.
    pub bos_token: Option<String>,
    /// `eos_token`: the text of the token that ends a text, where the model has one.
    pub eos_token: Option<String>,
    /// The day that `strftime_now` answers.
    pub date: Date,
}

/// A chat template, ready to render conversations. It holds nothing of them and can be shared between threads.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    constants: Constants,
}

const NAME: &str = "chat";

impl Template {
    /// Compiles the source of a template, and tries it on a short conversation to see that all it calls exists.
    ///
    /// # Errors
    /// [`CompileError`] if the source is longer than [`MAX_SOURCE_BYTES`], has a syntax error, or uses a filter, test
    /// or function that does not exist.
    pub fn compile(source: &str, constants: Constants) -> Result<Self, CompileError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(CompileError::TooLong { bytes: source.len() });
        }
        let mut environment = environment::new(constants.date).map_err(|error| CompileError::from_engine(&error))?;
        let source = source::rewrite(source);
        environment.add_template_owned(NAME, source).map_err(|error| CompileError::from_engine(&error))?;
        let template = Self { environment, constants };
        match template.write(&greeting(), None, &Json::Null, true, &mut io::sink()) {
            Err(error) if is_unknown_name(&error) => Err(CompileError::from_engine(&error)),
            // Anything else may be this conversation's fault: some models take no such conversation.
            _ => Ok(template),
        }
    }

    /// Renders a conversation to the prompt of the model.
    ///
    /// `messages` is the array of messages, `tools` the array of tools if there are any, `extra` an object of further
    /// variables (such as `enable_thinking`) or null; `extra` cannot replace the others.
    ///
    /// # Errors
    /// [`RenderError::Raised`] if the template itself refuses the conversation; the other variants if it fails with it
    /// or goes beyond a limit. No variant shows anything of the conversation unless asked for ([`crate::Raised`]).
    pub fn render(
        &self,
        messages: &Json,
        tools: Option<&Json>,
        extra: &Json,
        add_generation_prompt: bool,
    ) -> Result<Zeroizing<String>, RenderError> {
        let mut prompt = Bounded { bytes: Zeroizing::new(Vec::new()), overflowed: false };
        match self.write(messages, tools, extra, add_generation_prompt, &mut prompt) {
            Ok(()) => {}
            Err(_) if prompt.overflowed => return Err(RenderError::TooLong),
            Err(error) => return Err(RenderError::from_engine(&error)),
        }
        let bytes = std::mem::take(&mut *prompt.bytes);
        let broken = |_| RenderError::Failed { problem: "the prompt is not UTF-8".to_owned(), line: 0 };
        String::from_utf8(bytes).map(Zeroizing::new).map_err(broken)
    }

    fn write(
        &self,
        messages: &Json,
        tools: Option<&Json>,
        extra: &Json,
        add_generation_prompt: bool,
        out: &mut impl io::Write,
    ) -> Result<(), Error> {
        let token = |text: &Option<String>| text.as_ref().map_or(Value::UNDEFINED, Value::from);
        let none = Value::from(());
        let fixed = [
            ("messages", json::value(messages)),
            ("tools", tools.map_or(none.clone(), json::value)),
            ("documents", none),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("bos_token", token(&self.constants.bos_token)),
            ("eos_token", token(&self.constants.eos_token)),
        ];
        let further = extra.as_object().into_iter().flatten();
        let further = further.map(|(name, value)| (name.as_str(), json::value(value)));
        let variables: Value = further.chain(fixed).collect::<std::collections::BTreeMap<_, _>>().into();
        let template = self.environment.get_template(NAME)?;
        // The engine is a third party's: should it panic on some conversation, that is one failed request and not the
        // end of the server. Nothing it leaves half done is used again.
        let rendering = AssertUnwindSafe(|| template.render_captured_to(variables, out).map(drop));
        panic::catch_unwind(rendering)
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::InvalidOperation, "the template engine panicked")))
    }
}

/// The shortest conversation: one user message.
fn greeting() -> Json {
    serde_json::json!([{ "role": "user", "content": "Hello" }])
}

fn is_unknown_name(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction)
}

/// Collects a prompt up to [`MAX_OUTPUT_BYTES`].
struct Bounded {
    bytes: Zeroizing<Vec<u8>>,
    overflowed: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_OUTPUT_BYTES - self.bytes.len().min(MAX_OUTPUT_BYTES) {
            self.overflowed = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
