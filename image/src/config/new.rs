//! `lethe-image config new`: a commented document for a model, with what its file says filled in.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::ArgGroup;
use deployment::{Access, Clients, Draft, Engine, Image, ManifestDigest, Model, Rule, Token};

use crate::progress::Progress;
use crate::release::Manifest;
use crate::report::advise;

const EXAMPLES: &str = "\
Examples:
  lethe-image config new --model model.gguf --anyone --out lethe.toml
  lethe-image config new --model model.gguf --anyone --manifest out/lethe.manifest.json --out lethe.toml
  lethe-image config new --model model.gguf --name Qwen/Qwen2.5-1.5B-Instruct --token alice=SHA256 --out lethe.toml

`lethe token new` makes a token and prints its SHA-256.";

/// What `config new` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("access").args(["token", "anyone"]).required(true))]
pub(super) struct Args {
    /// The model, a GGUF file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Id of the model in requests [default: the name in the file, or of the file]
    #[arg(long)]
    name: Option<String>,
    /// Another id of the model; may be repeated
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Name the image that the document is for by its lethe.manifest.json: verifiers then refuse images with another manifest beside it
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Accept the bearer token with this SHA-256; may be repeated
    #[arg(long, value_name = "NAME=SHA256", value_parser = token)]
    token: Vec<Token>,
    /// Serve anyone who reaches the port, without a token
    #[arg(long)]
    anyone: bool,
    /// Where to write the document; an existing file is never overwritten [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let progress = Progress::on_stderr();
    let text = write(args, progress)?;
    let Some(out) = &args.out else {
        return io::stdout().write_all(text.as_bytes()).context("cannot write the document");
    };
    // Created only now: a failure leaves no empty file behind.
    let mut file = File::options().write(true).create_new(true).open(out).with_context(|| {
        advise(format!("cannot create {}", out.display()), "choose another file or move the existing one away").usage()
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    progress.finished("Wrote", format_args!("{}", out.display()));
    Ok(())
}

/// The text of the document.
fn write(args: &Args, progress: Progress) -> anyhow::Result<String> {
    let cannot_read =
        || advise(format!("cannot read the model {}", args.model.display()), "name a GGUF file with --model").usage();
    let header = head(&args.model, progress).with_context(cannot_read)?;
    let image = Image { manifest_sha256: args.manifest.as_deref().map(manifest).transpose()? };
    let (size_bytes, sha256) = pin(&args.model, progress).with_context(cannot_read)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name(&args.model, header.as_ref().and_then(|header| header.name.as_deref())),
    };
    let draft = Draft {
        model: Model { name, aliases: args.aliases.clone(), sha256, size_bytes },
        image,
        clients: Clients {
            tokens: args.token.clone(),
            ..Clients::of(if args.anyone { Access::Anyone } else { Access::Token })
        },
        context_tokens: header.and_then(|header| context(header.context_length)),
    };
    draft.to_toml().with_context(|| {
        advise("these values give no document", "`lethe-image config explain model` says what a name may be").usage()
    })
}

/// The tables at the head of a model; absent, with a warning, if an appliance would refuse them.
fn head(path: &Path, progress: Progress) -> io::Result<Option<gguf::Header>> {
    match gguf::check_reader(File::open(path)?) {
        Ok(header) => Ok(Some(header)),
        Err(gguf::Refused::Read(error)) => Err(error),
        Err(refused) => {
            let path = path.display();
            progress.warning(format_args!("an appliance would refuse the model {path}: {refused}"));
            Ok(None)
        }
    }
}

/// Longest manifest that is read, in bytes.
const MANIFEST_MAX_BYTES: u64 = 64 * 1024;

/// Digest of the manifest of an image that takes a document from outside.
fn manifest(path: &Path) -> anyhow::Result<ManifestDigest> {
    let help = "name the lethe.manifest.json that lies beside the image";
    let wrong = || advise(format!("{} is no manifest of an image", path.display()), help).usage();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(wrong)?;
    file.take(MANIFEST_MAX_BYTES + 1).read_to_end(&mut bytes).with_context(wrong)?;
    ensure!(bytes.len() as u64 <= MANIFEST_MAX_BYTES, wrong());
    Manifest::parse(&bytes, path)?.takes_documents()?;
    Ok(ManifestDigest(crate::digest::of(bytes.as_slice()).context("cannot hash the manifest")?.0))
}

/// Size and SHA-256 of a file.
fn pin(path: &Path, progress: Progress) -> io::Result<(u64, [u8; 32])> {
    let file = File::open(path)?;
    let (sha256, size) = crate::digest::of(progress.reader("Hashing", file.metadata()?.len(), file))?;
    Ok((size, sha256))
}

/// The name that a file gives itself if requests can use it, else the file's own name made so that they can.
fn name(path: &Path, own: Option<&str>) -> String {
    if let Some(own) = own.filter(|own| Rule::ModelName.accepts(own)) {
        return own.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-+:@".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(allowed).collect();
    let name: String = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).chars().take(128).collect();
    if name.is_empty() { "model".to_owned() } else { name }
}

/// The context to write: the model's own where it is shorter than the default.
fn context(trained: u32) -> Option<u32> {
    (trained < Engine::default().context_tokens).then_some(trained)
}

/// `NAME=SHA256`; the document judges the name.
fn token(text: &str) -> Result<Token, String> {
    let (name, digest) = text.split_once('=').ok_or("expected NAME=SHA256")?;
    if digest.starts_with(deployment::token::PREFIX) {
        return Err("this is a token, which belongs in no document; give its SHA-256".to_owned());
    }
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digest, &mut sha256).map_err(|_| "a SHA-256 has 64 hexadecimal digits")?;
    Ok(Token { name: name.to_owned(), sha256 })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// Of an image of ours, as the client's tests have it.
    const MANIFEST: &str = include_str!("../../../client/tests/client/tpm2/data/manifest.json");
    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models/tiny-random-llama.gguf");

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from(["new"].iter().chain(arguments)).map(|cli| cli.args)
    }

    fn document(arguments: &[&str]) -> deployment::Document {
        let text = write(&parse(arguments).unwrap(), Progress::silent()).unwrap();
        deployment::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_document_of_a_model_pins_its_size_digest_and_context() {
        let document = document(&["--model", TINY, "--anyone"]);
        let bytes = std::fs::read(TINY).unwrap();
        assert_eq!(document.model.size_bytes, bytes.len() as u64);
        assert_eq!(document.model.sha256, crate::digest::of(bytes.as_slice()).unwrap().0);
        assert_eq!(document.model.name, "tiny-random-llama");
        let trained = gguf::check(&bytes).unwrap().context_length;
        assert_eq!(document.engine.context_tokens, trained.min(4096));
        assert_eq!(document.clients.access, Access::Anyone);
    }

    #[test]
    fn names_and_tokens_are_taken_from_the_command_line() {
        let token = format!("alice={}", "ab".repeat(32));
        let document =
            document(&["--model", TINY, "--name", "acme/t", "--alias", "t", "--alias", "u", "--token", &token]);
        assert_eq!((document.model.name.as_str(), document.model.aliases.len()), ("acme/t", 2));
        assert_eq!(document.clients.tokens, [Token { name: "alice".to_owned(), sha256: [0xab; 32] }]);
        assert_eq!(document.clients.access, Access::Token);
    }

    #[test]
    fn an_image_is_named_by_the_manifest_that_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let made = || serde_json::from_str::<serde_json::Value>(MANIFEST).unwrap();
        let text = made().to_string();
        let named = document(&["--model", TINY, "--anyone", "--manifest", &file("good", &text)]);
        let digest = crate::digest::of(text.as_bytes()).unwrap().0;
        assert_eq!(named.image.manifest_sha256, Some(ManifestDigest(digest)));
        assert_eq!(document(&["--model", TINY, "--anyone"]).image.manifest_sha256, None);
        let changed = |member: &str, value: serde_json::Value| {
            let mut made = made();
            made[member] = value;
            made.to_string()
        };
        let none = "no manifest of an image";
        for (text, reason) in [
            ("no JSON".to_owned(), none),
            ("{\"format\": 1}".to_owned(), none),
            (changed("format", 2.into()), "format 2"),
            (changed("variant", "unmended-initrd".into()), "made for tests"),
            (changed("file", serde_json::Value::Null), none),
            (text + &" ".repeat(64 * 1024), none),
            (
                changed(
                    "document",
                    serde_json::json!({"sha256": "ab".repeat(32), "sha384": "cd".repeat(48), "size": 1}),
                ),
                "takes no other",
            ),
        ] {
            let args = parse(&["--model", TINY, "--anyone", "--manifest", &file("bad", &text)]).unwrap();
            let error = format!("{:#}", write(&args, Progress::silent()).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn who_may_ask_must_be_said_and_only_once() {
        let token = format!("alice={}", "ab".repeat(32));
        assert!(parse(&["--model", TINY]).is_err());
        assert!(parse(&["--model", TINY, "--anyone", "--token", &token]).is_err());
        assert!(parse(&["--anyone"]).is_err());
    }

    #[test]
    fn a_token_is_given_by_its_digest_never_by_itself() {
        let secret = format!("alice={}", *deployment::token::text(&[1; 32]));
        for (text, reason) in [("alice", "NAME=SHA256"), ("alice=ab", "64 hex"), (&secret, "belongs in no document")] {
            assert!(token(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn values_that_no_document_may_have_are_an_error_that_names_the_key() {
        let args = parse(&["--model", TINY, "--name", "a b", "--anyone"]).unwrap();
        let error = write(&args, Progress::silent()).unwrap_err();
        assert!(format!("{error:#}").contains("model.name: not allowed"), "{error:#}");
    }

    #[test]
    fn a_file_that_is_no_model_still_gets_a_document() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("_not a model.bin");
        std::fs::write(&path, b"nothing of a GGUF").unwrap();
        let document = document(&["--model", path.to_str().unwrap(), "--anyone"]);
        assert_eq!((document.model.name.as_str(), document.model.size_bytes), ("not-a-model", 17));
        assert_eq!(document.engine.context_tokens, Engine::default().context_tokens);
    }

    #[test]
    fn a_missing_or_empty_model_gives_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty.gguf");
        for make in [false, true] {
            if make {
                std::fs::write(&path, b"").unwrap();
            }
            let args = parse(&["--model", path.to_str().unwrap(), "--anyone"]).unwrap();
            assert!(write(&args, Progress::silent()).is_err());
        }
    }

    #[test]
    fn an_existing_document_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("lethe.toml");
        let args = parse(&["--model", TINY, "--anyone", "--out", out.to_str().unwrap()]).unwrap();
        run(&args).unwrap();
        let first = std::fs::read(&out).unwrap();
        assert!(deployment::parse(&first).is_ok());
        assert!(run(&args).is_err());
        assert_eq!(std::fs::read(&out).unwrap(), first);
    }

    #[test]
    fn a_name_of_its_own_is_taken_only_if_requests_can_use_it() {
        let path = Path::new("/models/SmolLM2-135M-Instruct.Q4_1.gguf");
        assert_eq!(name(path, Some("acme/Smol-1")), "acme/Smol-1");
        assert_eq!(name(path, Some("Smollm2 135M 8k")), "SmolLM2-135M-Instruct.Q4_1");
        assert_eq!(name(path, None), "SmolLM2-135M-Instruct.Q4_1");
        assert_eq!(name(Path::new("/"), None), "model");
        assert!(Rule::ModelName.accepts(&name(Path::new(&"é".repeat(300)), None)));
    }
}
