//! What must hold between values that are each allowed alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::document::{Access, Clients, Document, Enrolment, Network, Secrets};
use crate::error::DocumentError;

/// Everything in which the values of `document` disagree.
pub(crate) fn disagreements(document: &Document) -> Vec<DocumentError> {
    let mut found = Vec::new();
    names(document, &mut found);
    clients(&document.clients, document.secrets.required, &mut found);
    secrets(&document.secrets, &mut found);
    if document.clients.access.takes_devices() && !document.wires.envelope {
        found.push(disagrees("wires.envelope", "off, while clients.access lets devices in, which have no other wire"));
    }
    if document.engine.stall_exit_s < document.engine.stall_unready_s {
        found.push(disagrees("engine.stall_exit_s", "less than engine.stall_unready_s"));
    }
    if document.keys.grace_seconds > document.keys.epoch_seconds {
        found.push(disagrees("keys.grace_seconds", "more than keys.epoch_seconds"));
    }
    network(&document.network, &mut found);
    found
}

fn names(document: &Document, found: &mut Vec<DocumentError>) {
    let model = std::iter::once(("model.name".to_owned(), document.model.name.as_str()));
    let aliases = document.model.aliases.iter().enumerate();
    let aliases = aliases.map(|(index, alias)| (format!("model.aliases[{index}]"), alias.as_str()));
    distinct(model.chain(aliases), found);

    // DNS compares without case, and one IPv6 address has many spellings.
    let spelling = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    };
    let names = document.listen.names.iter().enumerate();
    distinct(names.map(|(index, name)| (format!("listen.names[{index}]"), spelling(name))), found);
}

fn secrets(secrets: &Secrets, found: &mut Vec<DocumentError>) {
    let keys = secrets.operator_keys.iter().enumerate();
    distinct(keys.map(|(index, key)| (format!("secrets.operator_keys[{index}]"), key)), found);
    if secrets.required && secrets.operator_keys.is_empty() {
        found.push(disagrees("secrets.operator_keys", "empty, while secrets.required = true waits for an operator"));
    }
}

fn clients(clients: &Clients, brought: bool, found: &mut Vec<DocumentError>) {
    each_once("clients.tokens", "sha256", clients.tokens.iter().map(|token| (&token.name, token.sha256)), found);
    each_once("clients.devices", "id", clients.devices.iter().map(|device| (&device.name, device.id)), found);
    each_once(
        "clients.enrolments",
        "sha256",
        clients.enrolments.iter().map(|token| (&token.name, token.sha256)),
        found,
    );
    tokens(clients, brought, found);
    devices(clients, brought, found);
}

fn each_once<'a>(
    list: &str,
    digest: &str,
    entries: impl Iterator<Item = (&'a String, [u8; 32])> + Clone,
    found: &mut Vec<DocumentError>,
) {
    let at = |index: usize, key: &str| format!("{list}[{index}].{key}");
    distinct(entries.clone().enumerate().map(|(index, (name, _))| (at(index, "name"), name)), found);
    distinct(entries.enumerate().map(|(index, (_, value))| (at(index, digest), value)), found);
}

/// `brought`: tokens come from an operator later.
fn tokens(clients: &Clients, brought: bool, found: &mut Vec<DocumentError>) {
    let reason = match (clients.access, clients.tokens.is_empty()) {
        (Access::Token | Access::Both, true) if brought => return,
        (Access::Token, true) => "empty, while clients.access = \"token\" needs at least one",
        (Access::Both, true) => "empty, while clients.access = \"both\" needs at least one",
        (Access::Anyone, false) => "not empty, while clients.access = \"anyone\" would ignore it",
        (Access::Device, false) => "not empty, while clients.access = \"device\" would ignore it",
        (Access::Token | Access::Both, false) | (Access::Anyone | Access::Device, true) => return,
    };
    found.push(disagrees("clients.tokens", reason));
}

fn devices(clients: &Clients, brought: bool, found: &mut Vec<DocumentError>) {
    let (devices, enrolments) = (!clients.devices.is_empty(), !clients.enrolments.is_empty());
    let (list, reason) = match (clients.access.takes_devices().then_some(clients.enrolment), devices, enrolments) {
        (None, true, _) => ("clients.devices", "not empty, while clients.access lets no device in"),
        (None, false, true) => ("clients.enrolments", "not empty, while clients.access lets no device in"),
        (Some(Enrolment::List), false, _) => {
            ("clients.devices", "empty, while clients.enrolment = \"list\" needs at least one")
        }
        (Some(Enrolment::Any), true, _) => {
            ("clients.devices", "not empty, while clients.enrolment = \"any\" would ignore it")
        }
        (Some(Enrolment::Any | Enrolment::List), _, true) => {
            ("clients.enrolments", "not empty, while clients.enrolment is not \"token\"")
        }
        (Some(Enrolment::Token), _, false) if !brought => {
            ("clients.enrolments", "empty, while clients.enrolment = \"token\" needs at least one")
        }
        _ => return,
    };
    found.push(disagrees(list, reason));
}

fn network(network: &Network, found: &mut Vec<DocumentError>) {
    let Network::Static { address, prefix_bits, gateway } = network else { return };
    if address.is_ipv4() && *prefix_bits > 32 {
        found.push(disagrees("network.prefix_bits", "over 32, while network.address is an IPv4 address"));
    }
    if let Some(gateway) = gateway {
        if gateway.is_ipv4() != address.is_ipv4() {
            found.push(disagrees("network.gateway", "of another family than network.address"));
        }
        if gateway == address {
            found.push(DocumentError::Twice { key: "network.gateway".to_owned(), other: "network.address".to_owned() });
        }
    }
}

/// Reports every value that stood under an earlier key already.
fn distinct<T: Ord>(values: impl Iterator<Item = (String, T)>, found: &mut Vec<DocumentError>) {
    let mut seen: BTreeMap<T, String> = BTreeMap::new();
    for (key, value) in values {
        match seen.get(&value) {
            Some(other) => found.push(DocumentError::Twice { key, other: other.clone() }),
            None => {
                seen.insert(value, key);
            }
        }
    }
}

fn disagrees(key: &str, reason: &'static str) -> DocumentError {
    DocumentError::Disagrees { key: key.to_owned(), reason }
}
