//! Canonical XML 1.1 without comments, for the documents that [`super::xml`] reads: the bytes that are signed.
//!
//! Source: W3C Canonical XML 1.1, §2.3 (processing model) and §2.4 (a subset of a document: namespaces in scope at its top).

use super::xml::{Element, Namespaces, Node};

/// An element and everything inside, in canonical form. `outer` are the namespaces in scope around it: none for a document,
/// what its ancestors declare for a part of one.
pub(super) fn canonical(element: &Element<'_>, outer: &Namespaces<'_>) -> String {
    let mut scope = outer.clone();
    scope.extend(&element.declared);
    let mut text = String::new();
    write(element, &scope, &scope, &mut text);
    text
}

/// `scope` is what is in scope at the element, `new` what its tag says of that: everything at the top, below what differs
/// from the parent.
fn write<'a>(element: &Element<'a>, scope: &Namespaces<'a>, new: &Namespaces<'a>, text: &mut String) {
    text.push('<');
    name(element.prefix, element.local, text);
    // Both maps are ordered by prefix, the empty one first, as the namespace nodes of canonical XML are.
    for (prefix, namespace) in new {
        text.push(' ');
        let (prefix, local) = if prefix.is_empty() { ("", "xmlns") } else { ("xmlns", *prefix) };
        attribute(prefix, local, namespace, text);
    }
    let mut attributes: Vec<_> = element.attributes.iter().collect();
    attributes.sort_by_key(|it| (it.namespace, it.local));
    for it in attributes {
        text.push(' ');
        attribute(it.prefix, it.local, &it.value, text);
    }
    text.push('>');
    for node in &element.children {
        match node {
            Node::Text(content) => escape(content, "&<>\r", text),
            Node::Element(child) => below(child, scope, text),
        }
    }
    text.push_str("</");
    name(element.prefix, element.local, text);
    text.push('>');
}

/// An element whose parent has been written.
fn below<'a>(element: &Element<'a>, outer: &Namespaces<'a>, text: &mut String) {
    if element.declared.is_empty() {
        return write(element, outer, &Namespaces::new(), text);
    }
    let differs = |(prefix, namespace): &(&&'a str, &&'a str)| outer.get(*prefix) != Some(*namespace);
    let new = element.declared.iter().filter(differs).map(|(prefix, namespace)| (*prefix, *namespace)).collect();
    let mut scope = outer.clone();
    scope.extend(&element.declared);
    write(element, &scope, &new, text);
}

fn name(prefix: &str, local: &str, text: &mut String) {
    if !prefix.is_empty() {
        text.push_str(prefix);
        text.push(':');
    }
    text.push_str(local);
}

fn attribute(prefix: &str, local: &str, value: &str, text: &mut String) {
    name(prefix, local, text);
    text.push_str("=\"");
    escape(value, "&<\"\t\n\r", text);
    text.push('"');
}

/// Writes text with some characters by reference.
fn escape(content: &str, characters: &str, text: &mut String) {
    for c in content.chars() {
        match c {
            _ if !characters.contains(c) => text.push(c),
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\t' => text.push_str("&#x9;"),
            '\n' => text.push_str("&#xA;"),
            '\r' => text.push_str("&#xD;"),
            other => text.push(other),
        }
    }
}
