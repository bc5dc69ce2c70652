//! Predictions for people and for programs.

use measurements::authenticode::Digests;
use measurements::register::{Bank, Candidate, Expected, Prediction};
use serde_json::{Map, Value, json};

/// A digest, or one in each bank, for both readers.
pub(super) trait Shown: Bank {
    fn json(&self) -> Value;
    /// One line for each bank.
    fn lines(&self) -> Vec<String>;
}

impl Shown for [u8; 48] {
    fn json(&self) -> Value {
        hex::encode(self).into()
    }

    fn lines(&self) -> Vec<String> {
        vec![hex::encode(self)]
    }
}

impl Shown for Digests {
    fn json(&self) -> Value {
        json!({ "sha256": hex::encode(self.sha256), "sha384": hex::encode(self.sha384) })
    }

    fn lines(&self) -> Vec<String> {
        vec![format!("sha256 {}", hex::encode(self.sha256)), format!("sha384 {}", hex::encode(self.sha384))]
    }
}

/// A prediction as JSON: `values`, or `unpredictable`.
pub(super) fn json<D: Shown>(prediction: &Prediction<D>) -> Value {
    match prediction {
        Prediction::Values(candidates) => json!({ "values": candidates.iter().map(candidate).collect::<Vec<_>>() }),
        Prediction::Unpredictable { reason, judge, events } => {
            json!({ "unpredictable": { "reason": reason, "judge": judge, "events": listed(events) } })
        }
    }
}

fn candidate<D: Shown>(candidate: &Candidate<D>) -> Value {
    json!({ "when": candidate.when, "value": candidate.value.json(), "events": listed(&candidate.events) })
}

fn listed<D: Shown>(events: &[Expected<D>]) -> Vec<Value> {
    events.iter().map(event).collect()
}

/// An event as JSON.
pub(super) fn event<D: Shown>(event: &Expected<D>) -> Value {
    json!({ "type": event.kind.to_string(), "what": event.what, "digest": event.digest.json() })
}

/// A prediction as text: the value under each condition with its events, or the reason and the advice.
pub(super) fn text<D: Shown>(name: &str, prediction: &Prediction<D>) -> String {
    match prediction {
        Prediction::Values(candidates) => {
            candidates.iter().map(|candidate| value(name, candidates.len() > 1, candidate)).collect()
        }
        Prediction::Unpredictable { reason, judge, events } => {
            let mut text = format!("{name}  unpredictable: {reason}\n  judge it so: {judge}\n");
            events.iter().for_each(|event| text.push_str(&event_text(event)));
            text
        }
    }
}

fn value<D: Shown>(name: &str, is_one_of_several: bool, candidate: &Candidate<D>) -> String {
    let mut text = String::new();
    for line in candidate.value.lines() {
        text.push_str(&format!("{name}  {line}\n"));
    }
    if is_one_of_several || candidate.when != "always" {
        text.push_str(&format!("  if {}\n", candidate.when));
    }
    candidate.events.iter().for_each(|event| text.push_str(&event_text(event)));
    text
}

/// The digest is that of the first bank: it is enough to find the event in a log.
fn event_text<D: Shown>(event: &Expected<D>) -> String {
    let digest = event.digest.lines().into_iter().next().unwrap_or_default();
    format!("    {digest}  {}\n", event.what)
}

/// JSON with its keys in the order they are given, and a line break at the end.
pub(super) fn document(entries: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let object: Map<String, Value> = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    format!("{:#}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use measurements::event_log::EventType;

    #[test]
    fn a_value_is_shown_with_its_condition_and_its_events() {
        let event = Expected::of(EventType::SEPARATOR, "separator", &[0; 4]);
        let candidate = Candidate::of("the sun shines", vec![event]);
        let prediction: Prediction<[u8; 48]> = Prediction::Values(vec![candidate]);
        let text = text("rtmr1", &prediction);
        assert!(text.starts_with("rtmr1  518923b0f955d08d"), "{text}");
        assert!(text.contains("\n  if the sun shines\n    394341b7182cd227"), "{text}");
        let json = json(&prediction);
        assert_eq!(json["values"][0]["when"], "the sun shines");
        assert_eq!(json["values"][0]["events"][0]["type"], "EV_SEPARATOR");
    }

    #[test]
    fn what_is_not_predicted_has_a_reason_and_an_advice_and_no_value() {
        let prediction: Prediction<Digests> =
            Prediction::Unpredictable { reason: "who knows".to_owned(), judge: "look".to_owned(), events: Vec::new() };
        assert_eq!(text("pcr0", &prediction), "pcr0  unpredictable: who knows\n  judge it so: look\n");
        let json = json(&prediction);
        assert!(json["values"].is_null());
        assert_eq!(json["unpredictable"]["reason"], "who knows");
    }
}
