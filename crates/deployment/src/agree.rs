//! What must hold between values that are each allowed alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::document::{Access, Document, Network};
use crate::error::DocumentError;

/// Everything in which the values of `document` disagree.
pub(crate) fn disagreements(document: &Document) -> Vec<DocumentError> {
    let mut found = Vec::new();
    names(document, &mut found);
    tokens(document, &mut found);
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

fn tokens(document: &Document, found: &mut Vec<DocumentError>) {
    let tokens = || document.clients.tokens.iter().enumerate();
    distinct(tokens().map(|(index, token)| (format!("clients.tokens[{index}].name"), &token.name)), found);
    distinct(tokens().map(|(index, token)| (format!("clients.tokens[{index}].sha256"), token.sha256)), found);
    match (document.clients.access, document.clients.tokens.is_empty()) {
        (Access::Token, true) => {
            found.push(disagrees("clients.tokens", "empty, while clients.access = \"token\" needs at least one"));
        }
        (Access::Anyone, false) => {
            found.push(disagrees("clients.tokens", "not empty, while clients.access = \"anyone\" would ignore it"));
        }
        (Access::Token, false) | (Access::Anyone, true) => {}
    }
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
