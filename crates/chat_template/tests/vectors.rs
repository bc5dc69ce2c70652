//! Every template gives, for every conversation, what jinja2 gives: the same bytes, the same refusal, or a failure.
//!
//! The vectors in the tree are written by `tests/templates/judge.py`, which also judges templates outside the tree
//! (see there); `LETHE_TEMPLATE_VECTORS` names its output.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use chat_template::{Constants, RenderError, Template};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/templates")
}

fn read(path: PathBuf) -> Value {
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// What came out, in the words of the vectors.
fn outcome(template: &Template, conversation: &Value, generation: bool) -> Value {
    let (messages, tools) = (&conversation["messages"], conversation.get("tools"));
    match template.render(messages, tools, &conversation["extra"], generation) {
        Ok(text) => json!({ "text": text.as_str() }),
        Err(RenderError::Raised(raised)) => json!({ "raised": raised.message() }),
        Err(error) => json!({ "failed": error.to_string() }),
    }
}

fn same(expected: &Value, found: &Value) -> bool {
    ["text", "raised"].iter().all(|key| expected.get(key) == found.get(key))
}

/// How a comparison ended.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    /// Where this crate renders something and Python failed with an error of its own: no model's user is worse off.
    lenient: usize,
    differing: usize,
}

/// Compares all cases of one file of vectors.
fn compare(vectors: &Value) -> Tally {
    let conversations = read(folder().join("conversations.json"));
    let conversations: BTreeMap<&str, &Value> = conversations
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["name"].as_str().expect("a name"), one))
        .collect();
    let constants = Constants {
        bos_token: vectors["bos_token"].as_str().map(str::to_owned),
        eos_token: vectors["eos_token"].as_str().map(str::to_owned),
        date: vectors["date"].as_str().expect("a date").parse().expect("a date"),
    };
    let mut tally = Tally::default();
    for vector in vectors["templates"].as_array().expect("a list") {
        let name = vector["name"].as_str().expect("a name");
        let source = match vector["source"].as_str() {
            Some(source) => source.to_owned(),
            None => fs::read_to_string(folder().join(name)).expect("our own template"),
        };
        let template = match (Template::compile(&source, constants.clone()), vector.get("compile")) {
            (Err(_), Some(_)) => continue,
            (Ok(_), Some(error)) => {
                eprintln!("{name}: compiles here, jinja2 says {error}");
                tally.cases += 1;
                tally.differing += 1;
                continue;
            }
            (Err(error), None) => {
                eprintln!("{name}: {error}");
                tally.cases += 1;
                tally.differing += 1;
                continue;
            }
            (Ok(template), None) => template,
        };
        for case in vector["cases"].as_array().expect("a list") {
            let conversation = case["conversation"].as_str().expect("a name");
            let generation = case["generation"].as_bool().expect("a bool");
            let found = outcome(&template, conversations[conversation], generation);
            tally.cases += 1;
            if case.get("failed").is_some() && found.get("failed").is_none() {
                tally.lenient += 1;
            } else if !same(case, &found) {
                tally.differing += 1;
                eprintln!("{name}, {conversation}, generation={generation}:\n  jinja2 {case}\n  here   {found}");
            }
        }
    }
    tally
}

#[test]
fn our_templates_render_as_jinja2_renders_them() {
    let tally = compare(&read(folder().join("vectors.json")));
    assert!(tally.cases > 400, "only {tally:?}");
    assert_eq!((tally.lenient, tally.differing), (0, 0), "{tally:?}");
}

#[test]
fn templates_named_by_the_environment_render_as_jinja2_renders_them() {
    let Some(path) = std::env::var_os("LETHE_TEMPLATE_VECTORS") else {
        eprintln!("skipped: LETHE_TEMPLATE_VECTORS names no file of tests/templates/judge.py");
        return;
    };
    let tally = compare(&read(PathBuf::from(path)));
    eprintln!("{tally:?}");
    assert_eq!(tally.differing, 0, "{tally:?}");
}
