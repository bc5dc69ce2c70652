//! The lines of a policy and where each comes from.

use evidence::Policy;
use toml::{Table, Value};

use crate::terminal::one_line;

/// Longest list that is printed on one line, in characters.
const LINE_CHARACTERS: usize = 80;

/// A policy that the verifier has read, for people: its own lines over those of the policies it extends.
pub struct Lines {
    name: String,
    about: String,
    extends: Option<String>,
    sections: Vec<(String, Vec<Line>)>,
}

struct Line {
    name: String,
    is: Value,
    because: String,
    /// Name of the policy that has it.
    from: String,
    /// What the extended policy says instead.
    was: Option<Value>,
}

impl Lines {
    /// Of the text from which that policy was read.
    pub fn of(policy: &Policy, text: &str) -> Self {
        let own: Table = text.parse().unwrap_or_default();
        let extends = own.get("extends").and_then(Value::as_str).map(str::to_owned);
        let mut lines = Self { name: policy.name.clone(), about: policy.about.clone(), extends, sections: Vec::new() };
        // From the policy at the bottom upwards, so that later lines replace earlier ones.
        for table in chain(own).iter().rev() {
            lines.put(table);
        }
        lines
    }

    fn put(&mut self, table: &Table) {
        let from = table.get("name").and_then(Value::as_str).unwrap_or_default();
        for (section, new) in table.iter().filter_map(|(section, value)| Some((section, value.as_table()?))) {
            let place = self.sections.iter().position(|(name, _)| name == section).unwrap_or_else(|| {
                self.sections.push((section.clone(), Vec::new()));
                self.sections.len() - 1
            });
            let Some((_, lines)) = self.sections.get_mut(place) else { continue };
            for (name, value) in new {
                let Some(line) = Line::read(name, value, from) else { continue };
                match lines.iter_mut().find(|line| line.name == *name) {
                    Some(old) => *old = Line { was: Some(old.is.clone()), ..line },
                    None => lines.push(line),
                }
            }
        }
    }

    /// The whole policy as TOML that can be read back; a comment names the policy a line was taken from.
    pub fn toml(&self) -> String {
        let string = |text: &str| Value::from(text).to_string();
        let mut text = format!("name = {}\nabout = {}\n", string(&self.name), string(&self.about));
        for (section, lines) in &self.sections {
            text += &format!("\n[{section}]\n");
            for line in lines {
                let (name, is, because) = (&line.name, long(&line.is), string(&line.because));
                text += &format!("{name} = {{ is = {is}, because = {because} }}");
                let taken = line.from != self.name;
                text += &if taken { format!("  # {}\n", one_line(&line.from, usize::MAX)) } else { "\n".to_owned() };
            }
        }
        text
    }

    /// What it is and what it changes.
    pub fn summary(&self) -> String {
        let mut text = format!("{:<15}{}\n", "policy", one_line(&self.name, usize::MAX));
        text += &format!("{:<15}{}\n", "about", one_line(&self.about, usize::MAX));
        text += &format!("{:<15}{}\n", "extends", self.extends.as_deref().unwrap_or("nothing: it is complete"));
        for (section, lines) in &self.sections {
            for line in lines.iter().filter(|line| line.from == self.name) {
                if let Some(was) = &line.was {
                    let (name, is, because) = (&line.name, &line.is, one_line(&line.because, usize::MAX));
                    text += &format!("{:<15}{section}.{name} is {is}, was {was}: {because}\n", "replaces");
                }
            }
        }
        text + &format!("\n{:<15}valid\n", "verdict")
    }
}

impl Line {
    fn read(name: &str, value: &Value, from: &str) -> Option<Self> {
        let table = value.as_table()?;
        let because = table.get("because")?.as_str()?.to_owned();
        Some(Self { name: name.to_owned(), is: table.get("is")?.clone(), because, from: from.to_owned(), was: None })
    }
}

/// A policy and those it extends, in that order.
fn chain(own: Table) -> Vec<Table> {
    let mut tables = vec![own];
    // The verifier has read it, so that the chain is finite and short.
    while let Some(text) =
        tables.last().and_then(|table| table.get("extends")).and_then(Value::as_str).and_then(Policy::embedded_text)
    {
        tables.push(text.parse().unwrap_or_default());
    }
    tables
}

/// A value; a long list has a line for each element.
fn long(value: &Value) -> String {
    let text = value.to_string();
    match value {
        Value::Array(list) if text.chars().count() > LINE_CHARACTERS => {
            let elements: String = list.iter().map(|element| format!("    {element},\n")).collect();
            format!("[\n{elements}]")
        }
        _ => text,
    }
}
