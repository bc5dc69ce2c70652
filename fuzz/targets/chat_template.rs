//! A conversation under one of our templates, or a template of the input's own: text or an error, never a panic.
//!
//! The first byte chooses the template; the rest is JSON, or a source, a zero byte and JSON.

#![no_main]

use std::sync::OnceLock;

use chat_template::{Constants, Template};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SOURCES: &[&str] = &[
    include_str!("../../tests/templates/chatml.jinja"),
    include_str!("../../tests/templates/turns.jinja"),
    include_str!("../../tests/templates/tools.jinja"),
    include_str!("../../tests/templates/macros.jinja"),
    include_str!("../../tests/templates/thinking.jinja"),
    include_str!("../../tests/templates/generation.jinja"),
    include_str!("../../tests/templates/texts.jinja"),
    include_str!("../../tests/templates/values.jinja"),
    include_str!("../../tests/templates/undefined.jinja"),
    include_str!("../../tests/templates/loops.jinja"),
    include_str!("../../tests/templates/spaces.jinja"),
];

fn constants() -> Constants {
    Constants {
        bos_token: Some("<s>".to_owned()),
        eos_token: Some("</s>".to_owned()),
        date: "2026-01-01".parse().expect("a day"),
    }
}

fn templates() -> &'static [Template] {
    static TEMPLATES: OnceLock<Vec<Template>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        SOURCES.iter().map(|source| Template::compile(source, constants()).expect("our own compile")).collect()
    })
}

fn render(template: &Template, json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
    let (messages, tools) = match &value {
        Value::Object(fields) => (fields.get("messages").unwrap_or(&value), fields.get("tools")),
        _ => (&value, None),
    };
    for generation in [false, true] {
        let once = template.render(messages, tools, &value, generation).map(|text| text.to_string());
        let again = template.render(messages, tools, &value, generation).map(|text| text.to_string());
        assert_eq!(once.map_err(|error| error.to_string()), again.map_err(|error| error.to_string()));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    if let Some(template) = templates().get(usize::from(*choice)) {
        render(template, rest);
        return;
    }
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (source, json) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(b"[]"));
    let Ok(source) = std::str::from_utf8(source) else { return };
    if let Ok(template) = Template::compile(source, constants()) {
        render(&template, json);
    }
});
