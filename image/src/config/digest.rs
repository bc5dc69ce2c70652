//! `lethe-image config digest`: the values that platforms compare with a document.

use std::path::PathBuf;

use serde_json::json;

use super::read_document;
use crate::progress::Progress;

/// What `config digest` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lethe-image config digest lethe.toml")]
pub(super) struct Args {
    /// The document; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let bytes = read_document(&args.file)?;
    // The digest of what an appliance refuses is still a digest; but nobody should pin it unknowingly.
    if let Err(error) = deployment::parse(&bytes) {
        let file = args.file.display();
        Progress::on_stderr().warning(format_args!("{file}: an appliance would refuse this document: {error}"));
    }
    print!("{}", render(&bytes, args.json));
    Ok(())
}

fn render(bytes: &[u8], as_json: bool) -> String {
    let sha256 = hex::encode(deployment::digest_sha256(bytes));
    let sha384 = hex::encode(deployment::digest_sha384(bytes));
    if as_json {
        format!("{}\n", json!({ "size_bytes": bytes.len(), "sha256": sha256, "sha384": sha384 }))
    } else {
        format!("sha256 {sha256}  (SEV-SNP HOST_DATA; extended into TPM PCR 12)\nsha384 {sha384}  (TDX MRCONFIGID)\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4 example "abc".
    #[test]
    fn both_digests_are_printed_for_people_and_programs() {
        let text = render(b"abc", false);
        assert!(
            text.starts_with("sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  ("),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&render(b"abc", true)).unwrap();
        assert_eq!(json["sha384"].as_str().map(str::len), Some(96));
        assert_eq!(json["size_bytes"], 3);
    }

    #[test]
    fn a_comment_changes_the_digest() {
        assert_ne!(render(b"version = 1", true), render(b"version = 1 #", true));
    }
}
