//! A verdict for people.

use evidence::Verdict;
use serde_json::{Map, Value};

use super::Judgement;

/// What was checked, the claims, the verdict.
pub fn report(judgement: &Judgement) -> String {
    let mut lines = format!("{:<15}{}\n", "evidence", judgement.platform);
    if let Some(policy) = &judgement.policy {
        lines += &format!("{:<15}{}\n", "policy", plain(policy));
    }
    lines += &format!("{:<15}{}\n\n", "time", judgement.at);
    match &judgement.verdict {
        Verdict::Accepted { claims } => {
            lines += &aligned(claims);
            lines += &format!("\n{:<15}accepted\n", "verdict");
        }
        Verdict::Refused(refusal) => {
            let rule = refusal.rule();
            lines += &format!("{:<15}{rule}: {}\n", "rule", rule.text());
            lines += &format!("{:<15}{}\n", "reason", plain(refusal.reason()));
            lines += &format!("\n{:<15}refused\n", "verdict");
        }
    }
    lines
}

/// One line a claim, the values below one another.
fn aligned(claims: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    for (name, value) in claims {
        flatten(&plain(name), value, &mut pairs);
    }
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    pairs.iter().map(|(name, value)| format!("{name:<width$}{value}\n")).collect()
}

/// Members of objects get lines of their own; lists stay on theirs.
fn flatten(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (member, value) in members {
                flatten(&format!("{name}.{}", plain(member)), value, pairs);
            }
        }
        Value::String(text) => pairs.push((name.to_owned(), plain(text))),
        Value::Array(list) if list.iter().all(|value| !value.is_object() && !value.is_array()) => {
            let values: Vec<String> =
                list.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), plain)).collect();
            pairs.push((name.to_owned(), if values.is_empty() { "none".to_owned() } else { values.join(", ") }));
        }
        Value::Null => pairs.push((name.to_owned(), "none".to_owned())),
        other => pairs.push((name.to_owned(), plain(&other.to_string()))),
    }
}

/// Text that evidence or a file chose, kept on one line: it must not look like a line of ours.
fn plain(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_aligned_and_objects_have_lines_of_their_own() {
        let claims =
            json!({"a": 1, "bits": {"debug": 0, "more": {"x": "y"}}, "list": ["p", 2], "none": [], "null": null});
        let text = aligned(claims.as_object().unwrap());
        assert_eq!(
            text,
            "a            1\nbits.debug   0\nbits.more.x  y\nlist         p, 2\nnone         none\nnull         none\n"
        );
    }

    #[test]
    fn a_claim_cannot_add_a_line() {
        let claims = json!({"csp_id": "x\n\nverdict        accepted", "a\nb": {"c\nd": 1}});
        let text = aligned(claims.as_object().unwrap());
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("x\\n\\nverdict"), "{text}");
    }
}
