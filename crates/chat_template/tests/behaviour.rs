//! What a template may and may not do, and what errors tell.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use chat_template::{CompileError, Constants, MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES, RenderError, Template};
use serde_json::{Value, json};

fn constants() -> Constants {
    Constants { bos_token: Some("<s>".to_owned()), eos_token: None, date: "2026-01-01".parse().expect("a day") }
}

fn template(source: &str) -> Template {
    Template::compile(source, constants()).unwrap_or_else(|error| panic!("{error}"))
}

fn render(source: &str, messages: &Value) -> Result<String, RenderError> {
    template(source).render(messages, None, &Value::Null, true).map(|text| text.to_string())
}

const SECRET: &str = "the patient is well";

#[test]
fn a_refusal_of_the_template_reaches_the_client_and_no_log() {
    let messages = json!([{ "role": "user", "content": SECRET }]);
    let error = render("{{ raise_exception('no ' ~ messages[0].content) }}", &messages).expect_err("raised");
    let RenderError::Raised(raised) = &error else { panic!("{error:?}") };
    assert_eq!(raised.message(), format!("no {SECRET}"));
    assert!(!format!("{error} {error:?}").contains(SECRET));
}

#[test]
fn failures_tell_kind_and_line_but_nothing_of_the_conversation() {
    let messages = json!([{ "role": "user", "content": SECRET }]);
    for source in [
        "\n{{ messages[0].content + 1 }}",
        "\n{{ messages[0].content.nothing() }}",
        "\n{{ messages[0][messages[0].content].deeper }}",
        "\n{{ messages[0].content() }}",
        "\n{{ messages.append(messages[0].content) }}",
        "\n{{ messages[0].update({'role': 'x'}) }}",
        "\n{{ messages[0] | tojson(messages[0].content, 1, 2, 3, 4) }}",
        "\n{% include messages[0].content %}",
    ] {
        let error = render(source, &messages).expect_err(source);
        assert!(matches!(error, RenderError::Failed { line: 2, .. }), "{source}: {error:?}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_when_it_is_compiled() {
    for source in [
        "{% if %}",
        "{{ x | nosuchfilter }}",
        "{% if x is nosuchtest %}{% endif %}",
        "{{ nosuchfunction() }}",
        "{% for x in y %}",
        "{{ 'open }}",
        "{{ 'a b' | split }}",
        "{{ debug() }}",
    ] {
        assert!(matches!(Template::compile(source, constants()), Err(CompileError::Syntax { .. })), "{source}");
    }
    let long = "x".repeat(MAX_SOURCE_BYTES);
    assert!(Template::compile(&long, constants()).is_ok());
    assert!(matches!(Template::compile(&(long + "x"), constants()), Err(CompileError::TooLong { .. })));
}

#[test]
fn rendering_is_bounded() {
    let loops = "{% for a in range(90000) %}{% for b in range(90000) %}{% set c = a * b %}{% endfor %}{% endfor %}";
    assert!(matches!(render(loops, &json!([])), Err(RenderError::TooManySteps)));
    let text = json!([{ "role": "user", "content": "x".repeat(1 << 20) }]);
    let seventeen = "{% for i in range(17) %}{{ messages[0].content }}{% endfor %}";
    assert!(matches!(render(seventeen, &text), Err(RenderError::TooLong)));
    let sixteen = seventeen.replace("17", "16");
    assert_eq!(render(&sixteen, &text).expect("fits").len(), MAX_OUTPUT_BYTES);
    assert!(render("{{ 'x' * 999999999999 }}", &json!([])).is_err());
    assert!(render("{{ messages[0].content.replace('', messages[0].content) }}", &text).is_err());
    assert!(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", &json!([])).is_err());
}

#[test]
fn operations_that_have_no_answer_fail_without_a_panic() {
    for source in [
        "{{ 1 % 0 }}",
        "{{ 1 // 0 }}",
        "{{ 5 is divisibleby 0 }}",
        "{{ [][::0] }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ [1] | batch(0) | list }}",
        "{{ [1] | slice(0) | list }}",
        "{{ 'x' | center(99999999999) }}",
        "{{ range(1, 2, 0) }}",
        "{{ '%*d' | format(1) }}",
    ] {
        let _ = render(source, &json!([]));
    }
    assert_eq!(render("[{{ [][::-1] }}{{ ''[::-1] }}]", &json!([])).expect("empty"), "[[]]");
}

#[test]
fn variables_of_the_request_cannot_replace_those_of_the_server() {
    let source = "{{ messages | length }}{{ bos_token }}{{ add_generation_prompt }}{{ tools }}{{ mood }}";
    let extra =
        json!({ "messages": [1, 2, 3], "bos_token": "evil", "add_generation_prompt": 7, "tools": 1, "mood": "!" });
    let text = template(source).render(&json!([1]), None, &extra, false).expect("renders");
    assert_eq!(text.as_str(), "1<s>FalseNone!");
}

#[test]
fn missing_tokens_are_undefined() {
    assert_eq!(render("{{ eos_token is defined }}{{ eos_token }}", &json!([])).expect("renders"), "False");
}

#[test]
fn keys_keep_the_order_and_the_meaning_the_client_gave_them() {
    let messages = json!([{ "z": 1, "a": { "y": [], "b": null }, "\u{1}__minijinja_ValueHandle": 7 }]);
    let text = render("{{ messages[0] | tojson }}", &messages).expect("renders");
    assert_eq!(text, "{\"z\": 1, \"a\": {\"y\": [], \"b\": null}, \"\\u0001__minijinja_ValueHandle\": 7}");
}

#[test]
fn one_template_serves_many_threads() {
    let template = template("{% for m in messages %}{{ m }}{% endfor %}");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let template = &template;
            scope.spawn(move || {
                let text = template.render(&json!([number]), None, &Value::Null, false).expect("renders");
                assert_eq!(text.as_str(), number.to_string());
            });
        }
    });
}
