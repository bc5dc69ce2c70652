//! Writes a new document, with every key, its meaning and its default in it.

use std::fmt::Write as _;

use toml::Value;

use crate::document::{Access, Clients, Image, Model, Token};
use crate::error::DocumentError;
use crate::explain::header;
use crate::key::{Key, Presence, Section};
use crate::keys::{KEYS, SECTIONS};
use crate::parse::parse;

/// Longest line of a comment, in characters.
const LINE_CHARS: usize = 110;

const OPENING: &str = "\
# Deployment document of a Lethe appliance. It is public: it holds digests, never secrets.
# Its digest is taken over the exact bytes of this file, comments too: `lethe-image config digest FILE`.
# A line that begins with # and a key shows a default; take the # away to change it.
";

/// What a new document cannot take from a default.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The model.
    pub model: Model,
    /// The image it is for.
    pub image: Image,
    /// Who may ask.
    pub clients: Clients,
    /// Context window of one sequence, in tokens; absent: the default.
    pub context_tokens: Option<u32>,
}

impl Draft {
    /// The commented document.
    ///
    /// Devices are for the operator to add by hand.
    ///
    /// # Errors
    /// What [`parse`] says of it: a draft whose values are not allowed gives no document.
    pub fn to_toml(&self) -> Result<String, DocumentError> {
        let mut text = OPENING.to_owned();
        for section in SECTIONS {
            match section.path {
                "clients.tokens[]" => write_entries(&mut text, section, &self.clients.tokens),
                _ if section.repeated() => write_entries(&mut text, section, &[]),
                _ => write_table(&mut text, section, |key| self.value(key)),
            }
        }
        parse(text.as_bytes())?;
        Ok(text)
    }

    fn value(&self, key: &Key) -> Option<Value> {
        let access = match self.clients.access {
            Access::Token => "token",
            Access::Device => "device",
            Access::Both => "both",
            Access::Anyone => "anyone",
        };
        let aliases = || self.model.aliases.iter().cloned().map(Value::from).collect();
        match key.path {
            "version" => Some(1.into()),
            "model.name" => Some(self.model.name.as_str().into()),
            "model.aliases" => (!self.model.aliases.is_empty()).then(|| Value::Array(aliases())),
            "model.sha256" => Some(hex::encode(self.model.sha256).into()),
            // What does not fit is far out of range, and its replacement too.
            "model.size_bytes" => Some(i64::try_from(self.model.size_bytes).unwrap_or(i64::MAX).into()),
            "image.manifest_sha256" => self.image.manifest_sha256.map(|digest| hex::encode(digest.0).into()),
            "engine.context_tokens" => self.context_tokens.map(|tokens| i64::from(tokens).into()),
            "clients.access" => Some(access.into()),
            _ => None,
        }
    }
}

fn write_entries(text: &mut String, section: &Section, tokens: &[Token]) {
    for token in tokens {
        write_table(text, section, |key| match key.name() {
            "name" => Some(token.name.as_str().into()),
            "sha256" => Some(hex::encode(token.sha256).into()),
            _ => None,
        });
    }
    if tokens.is_empty() {
        let _ = write!(text, "\n# {}\n#{}\n", section.meaning, header(section));
        for key in KEYS.iter().filter(|key| key.section() == section.path) {
            let _ = writeln!(text, "#{} = \"\"", key.name());
        }
    }
}

fn write_table(text: &mut String, section: &Section, value: impl Fn(&Key) -> Option<Value>) {
    if !section.path.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n# {}\n{}\n", section.meaning, header(section));
    }
    for key in KEYS.iter().filter(|key| key.section() == section.path) {
        text.push('\n');
        write_comment(text, key.meaning);
        write_comment(text, &format!("Allowed: {}.", key.allowed()));
        let name = key.name();
        let _ = match (value(key), key.presence) {
            (Some(value), _) => writeln!(text, "{name} = {value}"),
            (None, Presence::Default(default)) => writeln!(text, "#{name} = {default}"),
            (None, Presence::Optional(without)) => writeln!(text, "#{name} =   # absent: {without}"),
            (None, Presence::Required | Presence::Beside { .. }) => writeln!(text, "#{name} ="),
        };
    }
}

fn write_comment(text: &mut String, words: &str) {
    let mut line = "#".to_owned();
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > LINE_CHARS {
            text.push_str(&line);
            text.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{
        Document, Engine, Keys, Limits, Listen, ManifestDigest, Network, Receipts, Secrets, Template, Wires,
    };

    fn clients(access: Access, tokens: Vec<Token>) -> Clients {
        Clients { tokens, ..Clients::of(access) }
    }

    fn draft() -> Draft {
        Draft {
            model: Model { name: "acme/tiny-1".to_owned(), aliases: Vec::new(), sha256: [7; 32], size_bytes: 131_072 },
            image: Image::default(),
            clients: clients(Access::Anyone, Vec::new()),
            context_tokens: None,
        }
    }

    fn token(name: &str, byte: u8) -> Token {
        Token { name: name.to_owned(), sha256: [byte; 32] }
    }

    #[test]
    fn a_draft_reads_back_as_what_it_was_given_and_defaults() {
        let text = draft().to_toml().expect("an allowed draft");
        let expected = Document {
            version: 1,
            model: draft().model,
            image: Image::default(),
            engine: Engine::default(),
            listen: Listen::default(),
            clients: draft().clients,
            limits: Limits::default(),
            keys: Keys::default(),
            secrets: Secrets::default(),
            wires: Wires::default(),
            receipts: Receipts::default(),
            network: Network::default(),
            template: Template::default(),
        };
        assert_eq!(parse(text.as_bytes()), Ok(expected));
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }

    #[test]
    fn tokens_aliases_and_context_are_written() {
        let mut draft = draft();
        draft.model.aliases = vec!["tiny".to_owned(), "t".to_owned()];
        draft.clients = clients(Access::Token, vec![token("alice", 1), token("ci", 2)]);
        draft.context_tokens = Some(512);
        draft.image.manifest_sha256 = Some(ManifestDigest([3; 32]));
        let document = parse(draft.to_toml().expect("an allowed draft").as_bytes()).expect("a document");
        assert_eq!((document.model, document.image, document.clients), (draft.model, draft.image, draft.clients));
        assert_eq!(document.engine.context_tokens, 512);
    }

    #[test]
    fn every_default_line_may_lose_its_mark() {
        let text = draft().to_toml().expect("an allowed draft");
        let keys = KEYS.iter().filter(|key| matches!(key.presence, Presence::Default(_)));
        let text = keys
            .fold(text, |text, key| text.replace(&format!("\n#{} = ", key.name()), &format!("\n{} = ", key.name())));
        assert_eq!(parse(text.as_bytes()), parse(draft().to_toml().expect("an allowed draft").as_bytes()));
    }

    #[test]
    fn a_draft_with_a_forbidden_value_gives_no_document() {
        let mut bad_name = draft();
        bad_name.model.name = "a\"\nversion = 2 # ".to_owned();
        assert_eq!(bad_name.to_toml().expect_err("a bad name").key(), Some("model.name"));
        let mut nobody = draft();
        nobody.clients.access = Access::Token;
        assert_eq!(nobody.to_toml().expect_err("no token").key(), Some("clients.tokens"));
        let mut huge = draft();
        huge.model.size_bytes = u64::MAX;
        assert_eq!(huge.to_toml().expect_err("a huge model").key(), Some("model.size_bytes"));
    }
}
