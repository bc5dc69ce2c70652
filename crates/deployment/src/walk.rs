//! Holds a TOML table against the key table: unknown keys, types, ranges, missing keys.

use toml::{Table, Value};

use crate::error::{DocumentError, shown};
use crate::key::{Key, Kind, Presence, Section};
use crate::keys::{KEYS, SECTIONS};

/// Everything that is wrong with `document`, unknown keys first: a typo explains the key that is missing after it.
pub(crate) fn walk(document: &Table) -> Vec<DocumentError> {
    let mut findings = Findings::default();
    for section in SECTIONS.iter().filter(|section| section.parent().is_none()) {
        findings.table(section, "", document);
    }
    findings.unknown.append(&mut findings.others);
    findings.unknown
}

#[derive(Default)]
struct Findings {
    unknown: Vec<DocumentError>,
    others: Vec<DocumentError>,
}

impl Findings {
    /// Judges one table; `at` is its path with indices.
    fn table(&mut self, section: &Section, at: &str, table: &Table) {
        for name in table.keys() {
            let known =
                keys_of(section).any(|key| key.name() == name) || children_of(section).any(|s| s.name() == name);
            if !known {
                self.unknown.push(DocumentError::Unknown { key: join(at, &shown(name)) });
            }
        }
        for key in keys_of(section) {
            let path = join(at, key.name());
            match table.get(key.name()) {
                Some(value) => {
                    self.value(key, &path, value);
                    self.company(key, &path, table);
                }
                None if is_due(key, table) => {
                    self.others.push(DocumentError::Missing { key: path, allowed: key.allowed() });
                }
                None => {}
            }
        }
        for child in children_of(section) {
            self.child(child, &join(at, child.name()), table.get(child.name()));
        }
    }

    /// Judges a table within a table. An absent one is judged as empty, so that its required keys are missed.
    fn child(&mut self, section: &Section, at: &str, value: Option<&Value>) {
        match value {
            None if section.repeated() => {}
            None => self.table(section, at, &Table::new()),
            Some(Value::Table(table)) if !section.repeated() => self.table(section, at, table),
            Some(Value::Array(entries)) if section.repeated() => self.entries(section, at, entries),
            Some(other) => {
                let allowed =
                    if section.repeated() { "tables, each under its own [[" } else { "a table under its own [" };
                let close = if section.repeated() { "]]" } else { "]" };
                let allowed = format!("{allowed}{at}{close}");
                self.others.push(DocumentError::Type { key: at.to_owned(), found: type_name(other), allowed });
            }
        }
    }

    /// Judges an array of tables; past the most there may be, no entry is looked at.
    fn entries(&mut self, section: &Section, at: &str, entries: &[Value]) {
        if entries.len() > section.max {
            let allowed = format!("at most {} tables", section.max);
            self.others.push(DocumentError::Range { key: at.to_owned(), allowed });
            return;
        }
        for (index, entry) in entries.iter().enumerate() {
            let at = format!("{at}[{index}]");
            match entry {
                Value::Table(table) => self.table(section, &at, table),
                other => self.others.push(DocumentError::Type {
                    key: at,
                    found: type_name(other),
                    allowed: "a table".to_owned(),
                }),
            }
        }
    }

    fn value(&mut self, key: &Key, path: &str, value: &Value) {
        let in_range = match (key.kind, value) {
            (Kind::Integer { min, max }, Value::Integer(number)) => (min..=max).contains(number),
            (Kind::Number { min, max }, Value::Float(number)) => (min..=max).contains(number),
            // Sound for every range of the table: they are far below 2^53.
            (Kind::Number { min, max }, Value::Integer(number)) => (min..=max).contains(&(*number as f64)),
            (Kind::Switch, Value::Boolean(_)) => true,
            (Kind::Choice(words), Value::String(text)) => words.contains(&text.as_str()),
            (Kind::Text(rule), Value::String(text)) => rule.accepts(text),
            (Kind::List { item, max }, Value::Array(items)) => {
                if items.len() <= max {
                    self.items(item, path, items);
                }
                items.len() <= max
            }
            (_, other) => {
                let (key, found, allowed) = (path.to_owned(), type_name(other), key.allowed());
                self.others.push(DocumentError::Type { key, found, allowed });
                return;
            }
        };
        if !in_range {
            self.others.push(DocumentError::Range { key: path.to_owned(), allowed: key.allowed() });
        }
    }

    fn items(&mut self, rule: crate::Rule, path: &str, items: &[Value]) {
        for (index, item) in items.iter().enumerate() {
            let (key, allowed) = (format!("{path}[{index}]"), rule.allowed().to_owned());
            match item {
                Value::String(text) if rule.accepts(text) => {}
                Value::String(_) => self.others.push(DocumentError::Range { key, allowed }),
                other => self.others.push(DocumentError::Type { key, found: type_name(other), allowed }),
            }
        }
    }

    /// Refuses a key that is written although the key it belongs to says otherwise.
    fn company(&mut self, key: &Key, path: &str, table: &Table) {
        if let Presence::Beside { key: other, value, unwritten, .. } = key.presence
            && written(table, other, unwritten).is_some_and(|found| found != value)
        {
            let key = path.to_owned();
            self.others.push(DocumentError::Disagrees { key, reason: "only beside mode = \"static\"" });
        }
    }
}

/// Whether an absent key should be there.
fn is_due(key: &Key, table: &Table) -> bool {
    match key.presence {
        Presence::Required => true,
        Presence::Beside { key: other, value, unwritten, required: true } => {
            written(table, other, unwritten) == Some(value)
        }
        Presence::Beside { .. } | Presence::Default(_) | Presence::Optional(_) => false,
    }
}

/// The word a key of the table has; absent where it is no text, which is a finding of its own.
fn written<'table>(table: &'table Table, name: &str, unwritten: &'static str) -> Option<&'table str> {
    table.get(name).map_or(Some(unwritten), Value::as_str)
}

fn keys_of(section: &Section) -> impl Iterator<Item = &'static Key> {
    let path = section.path;
    KEYS.iter().filter(move |key| key.section() == path)
}

fn children_of(section: &Section) -> impl Iterator<Item = &'static Section> {
    let path = section.path;
    SECTIONS.iter().filter(move |child| child.parent() == Some(path))
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a TOML date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
