//! `lethe-image config check`: everything an appliance would refuse in a document, at once.

use std::path::{Path, PathBuf};

use deployment::{Access, Clients, Document, DocumentError, Enrolment, Network};
use serde_json::json;

use super::{like, read_document, without_indices};
use crate::report::advise;

/// What `config check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lethe-image config check lethe.toml && echo accepted\n\n\
                        Exit status: 0 accepted, 2 refused or not readable.")]
pub(super) struct Args {
    /// The document; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON: accepted, faults, and the document with its defaults
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let bytes = read_document(&args.file)?;
    let faults = deployment::faults(&bytes);
    let document = deployment::parse(&bytes).ok();
    if args.json {
        println!("{}", render_json(&bytes, document.as_ref(), &faults));
    } else if let Some(document) = &document {
        print!("{}", render(&args.file, document));
    } else {
        eprint!("{}", render_faults(&args.file, &faults));
    }
    match faults.first() {
        None => Ok(()),
        Some(first) => Err(advise(summary(&args.file, faults.len()), advice(first)).usage().into()),
    }
}

fn summary(file: &Path, faults: usize) -> String {
    let faults = if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") };
    format!("{}: an appliance would refuse this document: {faults}", file.display())
}

/// What to do about a fault.
fn advice(fault: &DocumentError) -> String {
    match (fault, fault.key()) {
        (DocumentError::Unknown { key }, _) => match like(key) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "`lethe-image config explain` lists every key".to_owned(),
        },
        (_, Some(key)) => {
            let key = without_indices(key);
            format!("`lethe-image config explain {key}` says what it may be")
        }
        (_, None) => "`lethe-image config new` writes a document that is accepted".to_owned(),
    }
}

fn render_faults(file: &Path, faults: &[DocumentError]) -> String {
    faults.iter().map(|fault| format!("{}: {fault}\n", file.display())).collect()
}

fn render(file: &Path, document: &Document) -> String {
    let (model, engine) = (&document.model, &document.engine);
    let access = access(&document.clients);
    let network = match &document.network {
        Network::Dhcp => "DHCP".to_owned(),
        Network::Static { address, prefix_bits, .. } => format!("{address}/{prefix_bits}"),
    };
    format!(
        "{}: accepted\n  model    {} ({} bytes, sha256 {})\n  engine   {} sequences of {} tokens\n  \
         listen   {}\n  clients  {access}\n  network  {network}\n",
        file.display(),
        model.name,
        model.size_bytes,
        hex::encode(model.sha256),
        engine.parallel_sequences,
        engine.context_tokens,
        document.listen.address,
    )
}

fn access(clients: &Clients) -> String {
    let tokens = match clients.tokens.len() {
        1 => "1 bearer token".to_owned(),
        tokens => format!("{tokens} bearer tokens"),
    };
    let devices = match clients.enrolment {
        Enrolment::Any => "any device".to_owned(),
        Enrolment::List => format!("{} devices", clients.devices.len()),
        Enrolment::Token => {
            format!("{} devices and {} enrolment tokens", clients.devices.len(), clients.enrolments.len())
        }
    };
    match clients.access {
        Access::Anyone => "anyone who reaches the port".to_owned(),
        Access::Token => tokens,
        Access::Device => devices,
        Access::Both => format!("{tokens}, {devices}"),
    }
}

fn render_json(bytes: &[u8], document: Option<&Document>, faults: &[DocumentError]) -> serde_json::Value {
    let faults: Vec<_> =
        faults.iter().map(|fault| json!({ "key": fault.key(), "message": fault.to_string() })).collect();
    json!({
        "accepted": document.is_some(),
        "faults": faults,
        "sha256": hex::encode(deployment::digest_sha256(bytes)),
        "document": document,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "\
version = 1
model = { name = \"tiny\", sha256 = \"0707070707070707070707070707070707070707070707070707070707070707\", size_bytes = 9 }
clients = { access = \"anyone\" }
";

    fn file(text: &str) -> (tempfile::TempDir, Args) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lethe.toml");
        std::fs::write(&file, text).unwrap();
        (directory, Args { file, json: false })
    }

    #[test]
    fn an_accepted_document_is_summed_up() {
        let (_directory, args) = file(MINIMAL);
        run(&args).unwrap();
        let document = deployment::parse(MINIMAL.as_bytes()).unwrap();
        let text = render(Path::new("lethe.toml"), &document);
        assert!(text.starts_with("lethe.toml: accepted\n  model    tiny (9 bytes, sha256 0707"), "{text}");
        assert!(text.contains("  clients  anyone who reaches the port\n"), "{text}");
    }

    #[test]
    fn a_refused_document_is_an_error_of_the_command_line_with_every_fault_listed() {
        let text = MINIMAL.replace("= 9", "= 0") + "limit = 1\n";
        let (_directory, args) = file(&text);
        let error = run(&args).unwrap_err();
        assert!(error.to_string().ends_with("an appliance would refuse this document: 2 faults"), "{error}");
        let faults = deployment::faults(text.as_bytes());
        assert_eq!(render_faults(Path::new("f"), &faults).lines().count(), 2);
        assert_eq!(advice(&faults[0]), "did you mean limits?");
        assert_eq!(advice(&faults[1]), "`lethe-image config explain model.size_bytes` says what it may be");
    }

    #[test]
    fn json_tells_programs_the_same() {
        let read = |text: &str| {
            let bytes = text.as_bytes();
            render_json(bytes, deployment::parse(bytes).ok().as_ref(), &deployment::faults(bytes))
        };
        let accepted = read(MINIMAL);
        assert_eq!(accepted["accepted"], true);
        assert_eq!(accepted["document"]["limits"]["connections"], 256, "defaults are shown");
        assert_eq!(accepted["document"]["network"]["mode"], "dhcp");
        let refused = read(&MINIMAL.replace("access", "acces"));
        assert_eq!((&refused["accepted"], &refused["document"]), (&false.into(), &serde_json::Value::Null));
        assert_eq!(refused["faults"][0]["key"], "clients.acces");
        assert_eq!(refused["faults"][1]["key"], "clients.access");
    }
}
