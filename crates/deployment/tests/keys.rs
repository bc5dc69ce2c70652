//! The key table, the types and the page say the same.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "clippy knows test functions, not their helpers")]

use std::collections::BTreeSet;

use deployment::{
    Document, Engine, Enrolment, Image, KEYS, Key, Keys, Kind, Limits, Listen, Network, Presence, Receipts, SECTIONS,
    Secrets, Template, Wires,
};
use toml::{Table, Value};

const FULL: &str = include_str!("full.toml");

fn full() -> Table {
    toml::from_str(FULL).expect("full.toml is TOML")
}

/// The dotted paths of all leaves, arrays of tables as `[]`.
fn leaves(table: &Table) -> BTreeSet<String> {
    fn add(at: &str, table: &Table, paths: &mut BTreeSet<String>) {
        for (name, value) in table {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            match value {
                Value::Table(inner) => add(&path, inner, paths),
                Value::Array(items) if items.iter().any(Value::is_table) => {
                    for item in items {
                        add(&format!("{path}[]"), item.as_table().expect("an array of tables"), paths);
                    }
                }
                _ => {
                    paths.insert(path);
                }
            }
        }
    }
    let mut paths = BTreeSet::new();
    add("", table, &mut paths);
    paths
}

/// The value at a dotted path, in the first table of an array of tables.
fn at<'table>(table: &'table mut Table, path: &str) -> (&'table mut Table, String) {
    let mut parts: Vec<&str> = path.split('.').collect();
    let name = parts.pop().expect("a path has a last part");
    let mut table = table;
    for part in parts {
        let value = table.get_mut(part.trim_end_matches("[]")).expect("full.toml has every table");
        table = match value {
            Value::Array(items) => items[0].as_table_mut().expect("an array of tables"),
            value => value.as_table_mut().expect("a table"),
        };
    }
    (table, name.to_owned())
}

fn parse(table: &Table) -> Result<Document, deployment::DocumentError> {
    deployment::parse(toml::to_string(table).expect("TOML").as_bytes())
}

fn literal(text: &str) -> Value {
    let mut table: Table = toml::from_str(&format!("value = {text}")).expect("a default is TOML");
    table.remove("value").expect("the value")
}

fn in_error(path: &str) -> String {
    path.replace("[]", "[0]")
}

#[test]
fn the_table_has_exactly_the_keys_that_the_types_have() {
    let document = deployment::parse(FULL.as_bytes()).expect("full.toml is a document");
    let typed = leaves(&Table::try_from(&document).expect("a document is a TOML table"));
    let table: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(typed, table);
    assert_eq!(leaves(&full()), table, "full.toml shows every key");
    assert_eq!(KEYS.len(), table.len(), "no key stands twice");
}

#[test]
fn a_document_with_every_key_arrives_unchanged_in_the_types() {
    let document = deployment::parse(FULL.as_bytes()).expect("full.toml is a document");
    assert_eq!(Table::try_from(&document).expect("a document is a TOML table"), full());
}

#[test]
fn every_key_stands_in_a_table_that_is_listed() {
    let sections: BTreeSet<&str> = SECTIONS.iter().map(|section| section.path).collect();
    assert_eq!(sections.len(), SECTIONS.len());
    assert!(KEYS.iter().all(|key| sections.contains(key.section())));
    assert!(SECTIONS.iter().all(|section| section.parent().is_none_or(|parent| sections.contains(parent))));
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_types() {
    let mut document = Document {
        image: Image::default(),
        engine: Engine::default(),
        listen: Listen::default(),
        limits: Limits::default(),
        keys: Keys::default(),
        secrets: Secrets::default(),
        wires: Wires::default(),
        receipts: Receipts::default(),
        network: Network::default(),
        template: Template::default(),
        ..deployment::parse(FULL.as_bytes()).expect("full.toml is a document")
    };
    document.clients.enrolment = Enrolment::default();
    let mut typed = Table::try_from(&document).expect("a document is a TOML table");
    for key in KEYS.iter().filter(|key| key.section() != "model") {
        let (table, name) = at(&mut typed, key.path);
        match key.presence {
            Presence::Default(default) => assert_eq!(table.get(&name), Some(&literal(default)), "{}", key.path),
            Presence::Optional(_) | Presence::Beside { .. } => assert_eq!(table.get(&name), None, "{}", key.path),
            Presence::Required => {}
        }
    }
}

/// Takes away what a document may not have beside the key's default.
fn drop_company(key: &Key, document: &mut Table) {
    let (name, _) = key.path.split_once('.').unwrap_or(("version", ""));
    let clients = ("clients".to_owned(), literal("{access = \"anyone\"}"));
    match (key.path, document.get_mut(name).and_then(Value::as_table_mut)) {
        ("network.mode", Some(network)) => network.clear(),
        ("clients.enrolment", Some(clients)) => drop(clients.remove("enrolments")),
        ("secrets.operator_keys", Some(secrets)) => drop(secrets.remove("required")),
        ("wires.envelope", _) => drop(document.insert(clients.0, clients.1)),
        _ => {}
    }
}

#[test]
fn a_key_with_a_default_may_be_absent_or_written_out() {
    for key in KEYS.iter().filter(|key| matches!(key.presence, Presence::Default(_) | Presence::Optional(_))) {
        let mut without = full();
        drop_company(key, &mut without);
        let (table, name) = at(&mut without, key.path);
        table.remove(&name);
        let without = parse(&without).unwrap_or_else(|error| panic!("without {}: {error}", key.path));
        if let Presence::Default(default) = key.presence {
            let mut with = full();
            drop_company(key, &mut with);
            let (table, name) = at(&mut with, key.path);
            table.insert(name, literal(default));
            assert_eq!(parse(&with), Ok(without), "{}", key.path);
        }
    }
}

#[test]
fn a_required_key_that_is_absent_is_named() {
    for key in KEYS {
        let required = matches!(key.presence, Presence::Required | Presence::Beside { required: true, .. });
        let mut document = full();
        let (table, name) = at(&mut document, key.path);
        table.remove(&name);
        match parse(&document) {
            Err(deployment::DocumentError::Missing { key: named, allowed }) => {
                assert!(required, "{}", key.path);
                assert_eq!((named, allowed), (in_error(key.path), key.allowed()));
            }
            other => assert!(!required, "{}: {other:?}", key.path),
        }
    }
}

#[test]
fn a_key_of_another_type_is_named_with_what_is_expected() {
    for key in KEYS {
        for wrong in [if key.kind == Kind::Switch { "1" } else { "true" }, "{}", "1979-05-27", "[[]]"] {
            // A list holds no list: that error names its first item.
            let item = matches!(key.kind, Kind::List { .. }) && wrong == "[[]]";
            let mut document = full();
            let (table, name) = at(&mut document, key.path);
            table.insert(name, literal(wrong));
            let error = parse(&document).expect_err(key.path);
            assert!(matches!(error, deployment::DocumentError::Type { .. }), "{error:?}");
            assert_eq!(error.key(), Some(format!("{}{}", in_error(key.path), if item { "[0]" } else { "" }).as_str()));
        }
    }
}

#[test]
fn both_ends_of_every_range_are_accepted_and_what_lies_past_them_is_named() {
    let beyond = |key: &Key, value: Value| {
        let mut document = full();
        let (table, name) = at(&mut document, key.path);
        table.insert(name, value);
        parse(&document)
    };
    for key in KEYS {
        let (ends, past): ([Value; 2], [Value; 2]) = match key.kind {
            Kind::Integer { min, max } => ([min.into(), max.into()], [(min - 1).into(), (max + 1).into()]),
            Kind::Number { min, max } => ([min.into(), max.into()], [(min - 0.1).into(), (max + 0.1).into()]),
            _ => continue,
        };
        for value in ends {
            match beyond(key, value) {
                Ok(_) => {}
                // Allowed alone, though not beside its neighbours in full.toml.
                Err(deployment::DocumentError::Disagrees { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        for value in past {
            let error = beyond(key, value).expect_err(key.path);
            assert_eq!(error, deployment::DocumentError::Range { key: key.path.to_owned(), allowed: key.allowed() });
        }
        assert!(beyond(key, f64::NAN.into()).is_err() && beyond(key, f64::INFINITY.into()).is_err());
    }
}

#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == deployment::markdown(),
        "docs/configuration.md is out of date; run: \
         cargo run --release -p lethe-image -- config explain --markdown > docs/configuration.md"
    );
}
