//! XML, as far as a manifest has it: elements, attributes, namespaces, text.
//!
//! Whatever could make two readers see two documents is refused: document types and with them entities and defaults,
//! comments, processing instructions, CDATA sections, names outside of ASCII, `xml:` attributes. What is left has one tree,
//! and [`super::canonical`] writes it.
//!
//! Source: W3C XML 1.0 (fifth edition), Namespaces in XML 1.0 (third edition).

use std::{borrow::Cow, collections::BTreeMap};

/// Largest document, in bytes. NVIDIA's have 20 to 26 KB.
const MAX_BYTES: usize = 256 << 10;
/// Most elements inside one another. NVIDIA's have six.
const MAX_DEPTH: usize = 16;
/// Most attributes of an element, declarations of namespaces included. NVIDIA's have thirteen.
const MAX_ATTRIBUTES: usize = 96;
/// Most namespaces in scope. NVIDIA's have five.
const MAX_NAMESPACES: usize = 16;
/// Longest name of a namespace, in bytes. NVIDIA's have 91.
const MAX_NAMESPACE_BYTES: usize = 256;
/// Longest reference, in bytes, without its `&` and with its `;`: `&#x10ffff;`.
const MAX_REFERENCE_BYTES: usize = 9;

/// Why a document was not read.
pub(super) type Read<T> = Result<T, &'static str>;

/// Prefixes with the names of their namespaces. The default namespace has the empty prefix.
pub(super) type Namespaces<'a> = BTreeMap<&'a str, &'a str>;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Empty if there is none.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    /// Name of its namespace; empty if it is in none.
    pub(super) namespace: &'a str,
    /// What it declares.
    pub(super) declared: Namespaces<'a>,
    /// The rest of its attributes, as written.
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) children: Vec<Node<'a>>,
}

/// An attribute that declares no namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    /// Empty without a prefix: the default namespace is not an attribute's.
    pub(super) namespace: &'a str,
    pub(super) value: Cow<'a, str>,
}

/// What an element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node<'a> {
    Text(Cow<'a, str>),
    Element(Element<'a>),
}

impl<'a> Element<'a> {
    /// Whether the element has this name.
    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.local == local
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, namespace: &str, local: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|it| it.namespace == namespace && it.local == local);
        found.map(|it| it.value.as_ref())
    }

    /// The elements inside; nothing if there is text between them that is more than white space.
    pub(super) fn elements(&self) -> Option<Vec<&Element<'a>>> {
        let mut elements = Vec::new();
        for node in &self.children {
            match node {
                Node::Element(element) => elements.push(element),
                Node::Text(text) => text.trim_matches(is_space).is_empty().then_some(())?,
            }
        }
        Some(elements)
    }

    /// The text inside; nothing if there is an element.
    pub(super) fn text(&self) -> Option<String> {
        let part = |node: &Node<'a>| match node {
            Node::Text(text) => Some(text.to_string()),
            Node::Element(_) => None,
        };
        self.children.iter().map(part).collect()
    }

    /// Whether this element, or one inside, is of this namespace.
    pub(super) fn has(&self, namespace: &str) -> bool {
        let inside = |node: &Node<'a>| matches!(node, Node::Element(element) if element.has(namespace));
        self.namespace == namespace || self.children.iter().any(inside)
    }
}

/// A document's text with line ends as XML 1.0 §2.11 has them, if it is UTF-8, not too large, and all characters are XML's.
pub(super) fn text(bytes: &[u8]) -> Read<Cow<'_, str>> {
    if bytes.len() > MAX_BYTES {
        return Err("the manifest is too large");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the manifest is not UTF-8")?;
    if !text.chars().all(is_character) {
        return Err("the manifest has characters that XML has not");
    }
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() })
}

/// Reads a document. `text` comes from [`text`].
pub(super) fn read(text: &str) -> Read<Element<'_>> {
    let mut reader = Reader { rest: text };
    reader.declaration()?;
    reader.space();
    let root = reader.element(&Namespaces::new(), 1)?;
    reader.space();
    if reader.rest.is_empty() { Ok(root) } else { Err("something follows the root element") }
}

/// XML 1.0 §2.2. A byte order mark is not taken.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' ' | '\r')
}

/// An attribute as written: its two names and its raw value.
struct Written<'a> {
    prefix: &'a str,
    local: &'a str,
    raw: &'a str,
}

/// A position in a document.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Passes over white space; whether there was any.
    fn space(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(is_space);
        let some = rest.len() != self.rest.len();
        self.rest = rest;
        some
    }

    /// Passes over `literal` if it comes next.
    fn take(&mut self, literal: &str) -> bool {
        let rest = self.rest.strip_prefix(literal);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// What comes before `end`; `end` itself is passed over too.
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (found, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(found)
    }

    /// The XML declaration, if there is one: version 1.0, UTF-8.
    fn declaration(&mut self) -> Read<()> {
        const OTHER: &str = "the manifest is declared as something else than XML 1.0 in UTF-8";
        if !self.take("<?xml") {
            return Ok(());
        }
        if !self.space() {
            return Err(OTHER);
        }
        let mut words = self.until("?>").ok_or(OTHER)?.split(is_space).filter(|word| !word.is_empty()).peekable();
        let mut says = |name: &str, values: &[&str]| {
            let is = |word: &&str| {
                let forms =
                    |value: &&str| *word == format!("{name}=\"{value}\"") || *word == format!("{name}='{value}'");
                values.iter().any(forms)
            };
            words.next_if(is).is_some()
        };
        let version = says("version", &["1.0"]);
        says("encoding", &["UTF-8", "utf-8"]);
        says("standalone", &["yes", "no"]);
        if version && words.next().is_none() { Ok(()) } else { Err(OTHER) }
    }

    /// The element that comes next, with everything inside.
    fn element(&mut self, outer: &Namespaces<'a>, depth: usize) -> Read<Element<'a>> {
        if depth > MAX_DEPTH {
            return Err("elements are nested too deep");
        }
        if self.rest.starts_with("<!") || self.rest.starts_with("<?") {
            return Err("there is a document type, a comment, a CDATA section or a processing instruction");
        }
        if !self.take("<") {
            return Err("an element is missing");
        }
        let (prefix, local) = self.name()?;
        let written = self.attributes()?;
        let empty = self.take("/>");
        if !empty && !self.take(">") {
            return Err("a tag has no end");
        }
        let declared = declared(&written)?;
        let mut scope = Cow::Borrowed(outer);
        if !declared.is_empty() {
            scope.to_mut().extend(&declared);
        }
        if scope.len() > MAX_NAMESPACES {
            return Err("too many namespaces are declared");
        }
        let namespace =
            if prefix.is_empty() { scope.get("").copied().unwrap_or_default() } else { find(&scope, prefix)? };
        let attributes = attributes(&written, &scope)?;
        let children = if empty { Vec::new() } else { self.children((prefix, local), &scope, depth)? };
        Ok(Element { prefix, local, namespace, declared, attributes, children })
    }

    /// Everything up to the end tag with this name, and that tag.
    fn children(&mut self, name: (&str, &str), scope: &Namespaces<'a>, depth: usize) -> Read<Vec<Node<'a>>> {
        let mut children = Vec::new();
        loop {
            let end = self.rest.find('<').ok_or("an element has no end")?;
            let (raw, rest) = self.rest.split_at(end);
            self.rest = rest;
            if raw.contains("]]>") {
                return Err("]]> stands in text");
            }
            if !raw.is_empty() {
                children.push(Node::Text(resolved(raw)?));
            }
            if self.take("</") {
                let other = self.name()? != name;
                self.space();
                return if other || !self.take(">") { Err("an end tag is another element's") } else { Ok(children) };
            }
            children.push(Node::Element(self.element(scope, depth + 1)?));
        }
    }

    /// The attributes of a tag, up to its end; no name twice.
    fn attributes(&mut self) -> Read<Vec<Written<'a>>> {
        let mut written: Vec<Written<'a>> = Vec::new();
        loop {
            let separated = self.space();
            if self.rest.starts_with(['/', '>']) {
                return Ok(written);
            }
            if !separated || written.len() == MAX_ATTRIBUTES {
                return Err("a tag is malformed, or has too many attributes");
            }
            let (prefix, local) = self.name()?;
            self.space();
            if !self.take("=") {
                return Err("an attribute has no value");
            }
            self.space();
            let quote = if self.take("\"") { "\"" } else { "'" };
            if quote == "'" && !self.take(quote) {
                return Err("the value of an attribute is not quoted");
            }
            let raw = self.until(quote).ok_or("the value of an attribute has no end")?;
            if raw.contains('<') {
                return Err("< stands in the value of an attribute");
            }
            if written.iter().any(|it| it.prefix == prefix && it.local == local) {
                return Err("an element has an attribute twice");
            }
            written.push(Written { prefix, local, raw });
        }
    }

    /// A name: its prefix, or nothing, and its local part.
    fn name(&mut self) -> Read<(&'a str, &'a str)> {
        let first = self.part()?;
        if self.take(":") { Ok((first, self.part()?)) } else { Ok(("", first)) }
    }

    /// A name without a colon, in ASCII.
    fn part(&mut self) -> Read<&'a str> {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let (part, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        if !part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err("a name is malformed, or not ASCII");
        }
        self.rest = rest;
        Ok(part)
    }
}

/// The namespaces that a tag declares. None is taken back, none has a relative name, and nobody declares `xml`.
fn declared<'a>(written: &[Written<'a>]) -> Read<Namespaces<'a>> {
    let mut declared = Namespaces::new();
    for it in written {
        let prefix = match (it.prefix, it.local) {
            ("", "xmlns") => "",
            ("xmlns", "xml" | "xmlns") => return Err("a reserved prefix is declared"),
            ("xmlns", prefix) => prefix,
            _ => continue,
        };
        let absolute = it.raw.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let plain = it.raw.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'"' | b'\''));
        if !absolute || !plain || it.raw.len() > MAX_NAMESPACE_BYTES {
            return Err("the name of a namespace is not an absolute address");
        }
        declared.insert(prefix, it.raw);
    }
    Ok(declared)
}

/// The attributes that declare nothing, each once: two prefixes can stand for one namespace.
fn attributes<'a>(written: &[Written<'a>], scope: &Namespaces<'a>) -> Read<Vec<Attribute<'a>>> {
    let mut attributes: Vec<Attribute<'a>> = Vec::new();
    for it in written.iter().filter(|it| it.prefix != "xmlns" && (it.prefix, it.local) != ("", "xmlns")) {
        let namespace = if it.prefix.is_empty() { "" } else { find(scope, it.prefix)? };
        if attributes.iter().any(|known| known.namespace == namespace && known.local == it.local) {
            return Err("an element has an attribute twice");
        }
        // XML 1.0 §3.3.3: white space as written becomes a space, white space by reference stays.
        let spaced: Cow<'a, str> =
            if it.raw.contains(['\t', '\n']) { it.raw.replace(['\t', '\n'], " ").into() } else { it.raw.into() };
        let value = match spaced {
            Cow::Borrowed(raw) => resolved(raw)?,
            Cow::Owned(raw) => resolved(&raw)?.into_owned().into(),
        };
        attributes.push(Attribute { prefix: it.prefix, local: it.local, namespace, value });
    }
    Ok(attributes)
}

/// The namespace that a prefix stands for. `xml` stands for none here: canonical XML passes its attributes on to what is
/// signed inside.
fn find<'a>(scope: &Namespaces<'a>, prefix: &str) -> Read<&'a str> {
    scope.get(prefix).copied().ok_or("a prefix is not declared")
}

/// Text with its references resolved: the five names that XML has, and characters by number.
fn resolved(raw: &str) -> Read<Cow<'_, str>> {
    let Some((before, mut rest)) = raw.split_once('&') else { return Ok(raw.into()) };
    let mut text = before.to_owned();
    loop {
        let (name, tail) = rest.split_once(';').ok_or("a reference has no end")?;
        text.push(character(name).ok_or("a reference is to something else than a character")?);
        match tail.split_once('&') {
            Some((before, next)) => {
                text.push_str(before);
                rest = next;
            }
            None => {
                text.push_str(tail);
                return Ok(text.into());
            }
        }
    }
}

/// The character that a reference names.
fn character(name: &str) -> Option<char> {
    (name.len() < MAX_REFERENCE_BYTES).then_some(())?;
    let numbered = |digits: &str, radix: u32| {
        let well_formed = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        let number = well_formed.then(|| u32::from_str_radix(digits, radix).ok())??;
        char::from_u32(number).filter(|c| is_character(*c))
    };
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix('#')?.strip_prefix('x') {
            Some(digits) => numbered(digits, 16),
            None => numbered(name.strip_prefix('#')?, 10),
        },
    }
}
