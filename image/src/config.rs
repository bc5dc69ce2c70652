//! `lethe-image config`: writes, checks, digests and explains deployment documents.

mod check;
mod digest;
mod new;

use std::fs::File;
use std::io::{Read as _, stdin};
use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;
use deployment::{KEYS, MAX_BYTES, SECTIONS};

use crate::report::advise;

const EXAMPLES: &str = "\
Examples:
  lethe-image config new --model model.gguf --anyone --out lethe.toml
  lethe-image config new --model model.gguf --token alice=SHA256 --out lethe.toml
  lethe-image config check lethe.toml
  lethe-image config digest lethe.toml --json
  lethe-image config explain limits.body_bytes";

/// Least likeness, from 0 to 1, at which a key is worth a \"did you mean\".
const LIKENESS: f64 = 0.6;

/// Write, check, digest and explain deployment documents
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented document for a model
    New(new::Args),
    /// List everything that is wrong with a document
    Check(check::Args),
    /// Print the digests that bind a document to a machine
    Digest(digest::Args),
    /// Explain a key, a table, or all of them
    Explain(ExplainArgs),
}

#[derive(Debug, clap::Args)]
struct ExplainArgs {
    /// A key (limits.body_bytes) or a table (limits); all keys without it
    #[arg(value_name = "KEY", conflicts_with = "markdown")]
    key: Option<String>,
    /// Print the page docs/configuration.md
    #[arg(long)]
    markdown: bool,
}

/// Does what `lethe-image config …` asks.
///
/// # Errors
/// What went wrong, with advice; a document that is refused counts as a wrong command line.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Digest(args) => digest::run(&args),
        Command::Explain(args) => {
            print!("{}", explain(&args)?);
            Ok(())
        }
    }
}

fn explain(args: &ExplainArgs) -> anyhow::Result<String> {
    if args.markdown {
        return Ok(deployment::markdown());
    }
    let key = args.key.as_deref().unwrap_or_default();
    deployment::explain(key).ok_or_else(|| {
        let help = match like(key) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "`lethe-image config explain` lists every key".to_owned(),
        };
        advise(format!("there is no key or table {key}"), help).usage().into()
    })
}

/// The bytes of a document, `-` being standard input; one byte over the limit is enough to be refused for it.
pub(crate) fn read_document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let most = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.with_context(|| {
        let help = "name a deployment document; `lethe-image config new` writes one";
        advise(format!("cannot read {}", path.display()), help).usage()
    })?;
    Ok(bytes)
}

/// The key or table whose path is most like `path`, if any is like it.
fn like(path: &str) -> Option<String> {
    let known = KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().map(|section| section.path));
    let known = known.filter(|known| !known.is_empty()).map(|known| known.replace("[]", ""));
    let path = without_indices(path);
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(&path, &known), known))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .map(|(_, known)| known)
}

/// The key that an error names, without the indices of lists and arrays of tables.
fn without_indices(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str) -> ExplainArgs {
        ExplainArgs { key: Some(key.to_owned()), markdown: false }
    }

    #[test]
    fn a_key_is_explained_and_a_misspelt_one_is_guessed() {
        assert!(explain(&asked("limits.body_bytes")).unwrap().contains("integer from 1024"));
        assert_eq!(like("limits.body_bites").as_deref(), Some("limits.body_bytes"));
        assert_eq!(like("clients.tokens[12].sha265").as_deref(), Some("clients.tokens.sha256"));
        assert_eq!(
            explain(&asked("limits.body_bites")).unwrap_err().to_string(),
            "there is no key or table limits.body_bites"
        );
        assert_eq!(like("operator.key"), None);
    }

    #[test]
    fn indices_are_no_part_of_a_key() {
        assert_eq!(without_indices("clients.tokens[12].sha256"), "clients.tokens.sha256");
        assert_eq!(without_indices("model.aliases[3]"), "model.aliases");
        assert_eq!(without_indices("limits"), "limits");
    }

    #[test]
    fn without_a_key_every_key_is_explained_and_the_page_is_generated() {
        let all = explain(&ExplainArgs { key: None, markdown: false }).unwrap();
        assert!(KEYS.iter().all(|key| all.contains(key.path)));
        assert!(
            explain(&ExplainArgs { key: None, markdown: true }).unwrap().starts_with("# The deployment document\n")
        );
    }

    #[test]
    fn a_file_that_never_ends_is_read_to_one_byte_over_the_limit() {
        assert_eq!(read_document(Path::new("/dev/zero")).unwrap().len(), MAX_BYTES + 1);
        let error = read_document(Path::new("/nonexistent/lethe.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/lethe.toml");
    }
}
