//! `release.schema.json` as a test: the keywords it uses, and an error for every other one.

use serde_json::Value;

const SCHEMA: &str = include_str!("../../release.schema.json");

/// Checks a file against the schema in the tree.
pub fn check(file: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    valid(&schema, &schema, file, "")
}

fn valid(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let refused = |keyword: &str| Err(format!("{place}: {keyword}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "required" | "properties" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                valid(root, target, value, place)?;
                true
            }
            "const" => value == rule,
            "type" => is_of_type(value, rule.as_str().unwrap()),
            "pattern" => value.as_str().is_some_and(|text| matches(rule.as_str().unwrap(), text)),
            "minLength" => value.as_str().is_some_and(|text| text.chars().count() as u64 >= rule.as_u64().unwrap()),
            "minimum" => value.as_u64().is_some_and(|number| number >= rule.as_u64().unwrap()),
            "maximum" => value.as_u64().is_some_and(|number| number <= rule.as_u64().unwrap()),
            "minItems" => value.as_array().is_some_and(|list| list.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_some_and(|list| list.len() as u64 <= rule.as_u64().unwrap()),
            "items" => {
                for (number, item) in value.as_array().unwrap().iter().enumerate() {
                    valid(root, rule, item, &format!("{place}/{number}"))?;
                }
                true
            }
            "oneOf" => {
                let fits = |one: &&Value| valid(root, one, value, place).is_ok();
                rule.as_array().unwrap().iter().filter(fits).count() == 1
            }
            "propertyNames" => {
                let names = value.as_object().unwrap().keys();
                names.into_iter().all(|name| valid(root, rule, &Value::from(name.as_str()), place).is_ok())
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let Some(members) = value.as_object() else { return refused("type") };
                for (name, member) in members {
                    match known.and_then(|known| known.get(name)) {
                        Some(rule) => valid(root, rule, member, &format!("{place}/{name}"))?,
                        None if rule == &Value::Bool(false) => return Err(format!("{place}: {name} is unknown")),
                        None => valid(root, rule, member, &format!("{place}/{name}"))?,
                    }
                }
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                required.into_iter().all(|name| members.contains_key(name.as_str().unwrap()))
            }
            other => panic!("the test does not know the keyword {other}"),
        };
        if !holds {
            return refused(keyword);
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("the test does not know the type {other}"),
    }
}

/// The few patterns of the schema, by what they say.
fn matches(pattern: &str, text: &str) -> bool {
    let lower_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    match pattern {
        "^[0-9a-f]{64}$" => text.len() == 64 && lower_hex(text),
        "^[0-9a-f]{96}$" => text.len() == 96 && lower_hex(text),
        "^([0-9a-f]{40}|[0-9a-f]{64})$" => matches!(text.len(), 40 | 64) && lower_hex(text),
        "^0x[0-9a-f]+$" => text.strip_prefix("0x").is_some_and(|digits| !digits.is_empty() && lower_hex(digits)),
        "^[0-9][0-9A-Za-z.+-]{0,63}$" => measurements::release::check_version(text).is_ok(),
        "^[0-9A-Za-z_+-][0-9A-Za-z._+-]{0,127}$" => measurements::release::check_name(text).is_ok(),
        other => panic!("the test does not know the pattern {other}"),
    }
}
