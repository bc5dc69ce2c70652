//! The door to the model's chat template.

use std::sync::Arc;

use chat_template::{CompileError, Constants, Date, DateError, RenderError, Template};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::inference::ModelFacts;

/// Why a conversation was not rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderFailure {
    /// The template called `raise_exception`: the conversation is not one it takes.
    #[error("the template refuses the conversation")]
    Refused {
        /// The template's reason, where it is written in the template as it stands and so holds nothing of a client.
        words: Option<String>,
    },
    /// The template fails with this conversation, or goes beyond a limit of the template engine.
    #[error("the template fails with the conversation")]
    Failed,
}

/// A compiled chat template.
pub trait Render: Send + Sync + 'static {
    /// The effective prompt for `messages`, with the beginning of the assistant's answer.
    ///
    /// # Errors
    /// [`RenderFailure`].
    fn render(&self, messages: &Value) -> Result<Zeroizing<String>, RenderFailure>;
}

/// Why a model's template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template does not compile.
    #[error("the model's chat template cannot be used")]
    Compile(#[source] CompileError),
    /// The document's date is none.
    #[error("template.date is not a date")]
    Date(#[source] DateError),
}

/// The model's own template.
struct ModelTemplate {
    template: Template,
    source: String,
}

/// Compiles the chat template of a model; `None` where it has none. `date` (`YYYY-MM-DD`) is the document's.
///
/// # Errors
/// [`TemplateError`]; the model cannot be served with a template that does not work.
pub fn model_template(facts: &ModelFacts, date: &str) -> Result<Option<Arc<dyn Render>>, TemplateError> {
    let Some(source) = facts.chat_template.clone() else { return Ok(None) };
    let token = |text: &String| if text.is_empty() { None } else { Some(text.clone()) };
    let date = date.parse::<Date>().map_err(TemplateError::Date)?;
    let constants = Constants { bos_token: token(&facts.bos_token), eos_token: token(&facts.eos_token), date };
    let template = Template::compile(&source, constants).map_err(TemplateError::Compile)?;
    Ok(Some(Arc::new(ModelTemplate { template, source })))
}

impl Render for ModelTemplate {
    fn render(&self, messages: &Value) -> Result<Zeroizing<String>, RenderFailure> {
        self.template.render(messages, None, &Value::Null, true).map_err(|error| match error {
            RenderError::Raised(raised) => RenderFailure::Refused { words: self.own_words(raised.message()) },
            RenderError::Failed { .. } | RenderError::TooManySteps | RenderError::TooLong => RenderFailure::Failed,
        })
    }
}

impl ModelTemplate {
    /// `message`, if it is written in the template word by word: what templates put together holds a client's text.
    fn own_words(&self, message: &str) -> Option<String> {
        const MOST: usize = 300;
        let plain = (8..=MOST).contains(&message.len()) && message.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (plain && self.source.contains(message)).then(|| message.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(template: Option<&str>) -> ModelFacts {
        ModelFacts {
            architecture: "llama".to_owned(),
            chat_template: template.map(str::to_owned),
            bos_token: "<s>".to_owned(),
            eos_token: String::new(),
            vocabulary: 2,
            context_tokens: 8,
        }
    }

    fn compiled(template: &str) -> Arc<dyn Render> {
        model_template(&facts(Some(template)), "2026-01-01").expect("compiles").expect("a template")
    }

    #[test]
    fn a_conversation_is_rendered_with_the_models_own_tokens() {
        let template = compiled("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}");
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(template.render(&messages).expect("prompt").as_str(), "<s>[user]hi");
    }

    #[test]
    fn a_model_without_a_template_has_none_and_a_broken_one_is_refused() {
        assert!(model_template(&facts(None), "2026-01-01").expect("no template").is_none());
        assert!(matches!(model_template(&facts(Some("{% for")), "2026-01-01"), Err(TemplateError::Compile(_))));
        assert!(matches!(model_template(&facts(Some("x")), "yesterday"), Err(TemplateError::Date(_))));
    }

    #[test]
    fn a_refusal_keeps_the_templates_words_and_drops_the_clients() {
        let messages = json!([{"role": "user", "content": "MARK"}]);
        let fixed = compiled("{{ raise_exception('roles must alternate') }}");
        let words = Some("roles must alternate".to_owned());
        assert_eq!(fixed.render(&messages).expect_err("refused"), RenderFailure::Refused { words });
        let mixed = compiled("{{ raise_exception('bad message: ' + messages[0].content) }}");
        assert_eq!(mixed.render(&messages).expect_err("refused"), RenderFailure::Refused { words: None });
    }
}
